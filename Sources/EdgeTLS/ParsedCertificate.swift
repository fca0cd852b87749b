internal import CEdge
internal import EdgeX509

/// Makes OpenSSL objects of DER in one library context. Keys go through decoders for one type that
/// are made once: 27 µs instead of 460 for a P-256 key.
final class CertificateParser {
    private let library: OpaquePointer?
    /// By algorithm and form; nil inside: there is none for the pair.
    private var decoders: [DecoderKind: KeyDecoder] = [:]

    private struct DecoderKind: Hashable {
        let isRSA: Bool
        /// RFC 5958, as opposed to the algorithm's own form.
        let isGeneral: Bool
        let isPublic: Bool
    }

    /// - Parameter library: nil is OpenSSL's own, which all threads may use.
    init(library: OpaquePointer?) { self.library = library }

    /// The caller owns it.
    func certificate(_ der: UnsafeBufferPointer<UInt8>) -> OpaquePointer? {
        var result = X509_new_ex(library, nil)
        var start = der.baseAddress
        return d2i_X509(&result, &start, der.count)
    }

    /// The caller owns it.
    func privateKey(
        _ der: UnsafeBufferPointer<UInt8>, _ kind: CertificateEntry.KeyKind,
        _ form: PrivateKeyOutline.Form
    ) -> OpaquePointer? {
        if kind == .ecdsa || kind == .rsa {
            let decoder = decoder(
                DecoderKind(
                    isRSA: kind == .rsa, isGeneral: form == .pkcs8, isPublic: false))
            if let key = decoder.decode(der) { return key }
            ERR_clear_error()
        }
        return anyPrivateKey(der)
    }

    /// Of any algorithm and form, slowly. The caller owns it.
    func anyPrivateKey(_ der: UnsafeBufferPointer<UInt8>) -> OpaquePointer? {
        var start = der.baseAddress
        return d2i_AutoPrivateKey_ex(nil, &start, der.count, library, nil)
    }

    private func decoder(_ kind: DecoderKind) -> KeyDecoder {
        if let known = decoders[kind] { return known }
        let made = KeyDecoder(
            structure: kind.isGeneral ? "PrivateKeyInfo" : "type-specific",
            algorithm: kind.isRSA ? "RSA" : "EC", library)
        decoders[kind] = made
        return made
    }
}

/// OpenSSL's decoder for private keys of one algorithm in one form.
private final class KeyDecoder {
    private var context: OpaquePointer?
    /// Where the decoder puts what it has made; its address is the decoder's.
    private let result: UnsafeMutablePointer<OpaquePointer?>

    init(structure: String, algorithm: String, _ library: OpaquePointer?) {
        result = .allocate(capacity: 1)
        result.initialize(to: nil)
        context = OSSL_DECODER_CTX_new_for_pkey(
            result, "DER", structure, algorithm, CE_EVP_PKEY_KEYPAIR, library, nil)
    }

    deinit {
        OSSL_DECODER_CTX_free(context)
        result.deallocate()
    }

    func decode(_ der: UnsafeBufferPointer<UInt8>) -> OpaquePointer? {
        guard let context else { return nil }
        var start = der.baseAddress
        var rest = der.count
        result.pointee = nil
        let status = OSSL_DECODER_from_data(context, &start, &rest)
        defer { result.pointee = nil }
        guard status == 1, let key = result.pointee else {
            EVP_PKEY_free(result.pointee)
            return nil
        }
        return key
    }
}

/// A certificate, its chain and key as OpenSSL objects of one worker.
final class ParsedCertificate {
    private let leaf: OpaquePointer
    private let key: OpaquePointer
    private let chain: ParsedChain

    /// - Returns: nil, with the reason in OpenSSL's error queue, if OpenSSL cannot use it.
    init?(_ entry: CertificateEntry, chain: ParsedChain, parser: CertificateParser) {
        let made = entry.bytes.withUnsafeBufferPointer { bytes -> (OpaquePointer, OpaquePointer)? in
            let der = UnsafeBufferPointer(rebasing: bytes[..<entry.leafCount])
            guard let leaf = parser.certificate(der) else { return nil }
            let secret = UnsafeBufferPointer(rebasing: bytes[entry.leafCount...])
            guard let key = parser.privateKey(secret, entry.key, entry.keyForm) else {
                X509_free(leaf)
                return nil
            }
            return (leaf, key)
        }
        guard let (leaf, key) = made else { return nil }
        guard X509_check_private_key(leaf, key) == 1 else {
            X509_free(leaf)
            EVP_PKEY_free(key)
            return nil
        }
        self.leaf = leaf
        self.key = key
        self.chain = chain
    }

    deinit {
        X509_free(leaf)
        EVP_PKEY_free(key)
    }

    func attach(to session: OpaquePointer) -> Bool {
        SSL_use_cert_and_key(session, leaf, key, chain.stack, 1) == 1
    }
}

/// Issuers as OpenSSL objects of one worker, shared by all certificates that are sent with them.
final class ParsedChain {
    fileprivate let stack: OpaquePointer

    /// - Returns: nil, with the reason in OpenSSL's error queue, if one of them is damaged.
    init?(_ chain: CertificateChain, parser: CertificateParser) {
        guard let stack = ce_sk_x509_new() else { return nil }
        var start = 0
        for end in chain.ends {
            let parsed = chain.bytes.withUnsafeBufferPointer {
                parser.certificate(UnsafeBufferPointer(rebasing: $0[start..<end]))
            }
            guard let parsed, ce_sk_x509_push(stack, parsed) > 0 else {
                X509_free(parsed)
                ce_sk_x509_free(stack)
                return nil
            }
            start = end
        }
        self.stack = stack
    }

    deinit { ce_sk_x509_free(stack) }
}
