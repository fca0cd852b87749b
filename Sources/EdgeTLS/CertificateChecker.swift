internal import CEdge
internal import EdgeX509

/// Finds out whether OpenSSL can use what was only indexed. One per thread; uses OpenSSL's own
/// library context.
package final class CertificateChecker {
    package enum Depth: Sendable {
        /// Parses all of it and compares the pair: about 250 µs.
        case whole
        /// Parses the key, about 30 µs: damage within a key is what the index cannot see. Whether
        /// it is a pair, and the certificate's structure, are known from the index.
        case key
    }

    private let parser = CertificateParser(library: nil)

    package init() {}

    /// Sets the entry's verdict.
    ///
    /// - Returns: what is wrong; nil if nothing is.
    package func problem(of entry: CertificateEntry, depth: Depth) -> CertificateProblem? {
        let isSound: Bool
        switch depth {
        case .whole:
            let chain = ParsedChain(entry.chain, parser: parser)
            isSound =
                chain.flatMap {
                    ParsedCertificate(entry, chain: $0, parser: parser)
                } != nil
        case .key: isSound = isKeySound(entry)
        }
        entry.verdict = isSound ? .sound : .unusable
        guard !isSound else { return nil }
        return .unusable(entry, TLSFailure.takeErrorText())
    }

    private func isKeySound(_ entry: CertificateEntry) -> Bool {
        let key = entry.bytes.withUnsafeBufferPointer {
            parser.privateKey(
                UnsafeBufferPointer(rebasing: $0[entry.leafCount...]), entry.key, entry.keyForm)
        }
        EVP_PKEY_free(key)
        return key != nil
    }

    /// Whether the key is the certificate's; false too if OpenSSL cannot read either.
    func isPair(_ certificate: [UInt8], _ key: [UInt8]) -> Bool {
        let leaf = certificate.withUnsafeBufferPointer { parser.certificate($0) }
        let secret = key.withUnsafeBufferPointer { parser.anyPrivateKey($0) }
        defer {
            X509_free(leaf)
            EVP_PKEY_free(secret)
            ERR_clear_error()
        }
        guard let leaf, let secret else { return false }
        return X509_check_private_key(leaf, secret) == 1
    }
}

extension CertificateProblem {
    static func unusable(_ entry: CertificateEntry, _ reason: String) -> CertificateProblem {
        CertificateProblem(
            .unusable, file: entry.file, reason: "OpenSSL cannot use this certificate: \(reason)",
            hint: "openssl x509 and openssl pkey say more; have it issued anew")
    }
}
