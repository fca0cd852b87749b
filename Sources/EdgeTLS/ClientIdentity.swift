internal import CEdge
internal import EdgeX509

/// The certificate that we show to an upstream that asks for one, as read and checked once; each
/// worker makes its own objects from it. Compared by identity: one object per distinct content.
package final class ClientIdentity: Sendable {
    package let certificateFile: String
    package let keyFile: String
    /// For keys that are kept longer than this object.
    package let number = ObjectNumber()
    let leaf: [UInt8]
    /// The issuers sent along, in the file's order.
    private let chain: [[UInt8]]
    private let privateKey: [UInt8]

    private init(
        certificateFile: String, keyFile: String, leaf: [UInt8], chain: [[UInt8]],
        privateKey: [UInt8]
    ) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.leaf = leaf
        self.chain = chain
        self.privateKey = privateKey
    }

    /// The same certificates and key, read from the same files.
    package func isEquivalent(to other: ClientIdentity) -> Bool {
        certificateFile == other.certificateFile && keyFile == other.keyFile
            && leaf == other.leaf && chain == other.chain && privateKey == other.privateKey
    }

    /// Why whoever is shown it will refuse it at a time (Unix seconds); nil: its dates are right.
    package func problem(at seconds: Int64) -> CertificateProblem? {
        let outline: CertificateOutline
        do throws(X509Violation) {
            let der = leaf
            outline = try CertificateOutline(der.span)
        } catch {
            // OpenSSL has read it: what its dates are is the peer's to judge.
            return nil
        }
        let hint = "whom it is shown to will refuse it"
        if outline.notAfter < seconds {
            return CertificateProblem(
                .expired, file: certificateFile,
                reason: "expired on \(CertificateClock.day(outline.notAfter))", hint: hint)
        }
        if outline.notBefore > seconds {
            return CertificateProblem(
                .notYetValid, file: certificateFile,
                reason: "not valid before \(CertificateClock.day(outline.notBefore))", hint: hint)
        }
        return nil
    }

    /// - Parameter key: PEM file of the key; the certificates' own file if they are in one.
    /// - Throws: if a file can't be read or is damaged, if others may read the key, or if the key
    ///   belongs to none of the certificates.
    package static func load(
        certificate: String, key: String
    ) throws(CertificateProblem) -> ClientIdentity {
        let pem = try PEMFile.read(certificate, secret: certificate == key)
        let keyPEM =
            certificate == key ? pem : try PEMFile.read(key, secret: true)
        guard let privateKey = PEMFile.parseKey(keyPEM) else {
            throw CertificateProblem(
                .noKey, file: key, reason: "no usable private key: \(TLSFailure.takeErrorText())",
                hint: "an unencrypted PEM key is expected")
        }
        defer { EVP_PKEY_free(privateKey) }
        let chain = try PEMFile.parseCertificates(pem, file: certificate)
        defer { for certificate in chain { X509_free(certificate) } }
        let leaf = chain.firstIndex { X509_check_private_key($0, privateKey) == 1 }
        ERR_clear_error()
        guard let leaf else {
            throw CertificateProblem(
                .mismatch, file: key,
                reason: "the key belongs to none of the certificates in \(certificate)",
                hint: "certificate and key must be a pair")
        }
        return ClientIdentity(
            certificateFile: certificate, keyFile: key, leaf: PEMFile.der(chain[leaf]),
            chain: chain.enumerated().filter { $0.offset != leaf }
                .map { PEMFile.der($0.element) },
            privateKey: PEMFile.derKey(privateKey))
    }

    /// Gives it to a context of the calling thread.
    func install(in context: OpaquePointer, _ library: OpaquePointer) throws(TLSFailure) {
        guard let certificate = Self.certificate(leaf, library),
            let key = Self.key(privateKey, library), let issuers = ce_sk_x509_new()
        else { throw .library("client certificate \(certificateFile)") }
        defer {
            X509_free(certificate)
            EVP_PKEY_free(key)
            ce_sk_x509_free(issuers)
        }
        for der in chain {
            if let issuer = Self.certificate(der, library) { _ = ce_sk_x509_push(issuers, issuer) }
        }
        guard SSL_CTX_use_cert_and_key(context, certificate, key, issuers, 1) == 1 else {
            throw .library("client certificate \(certificateFile)")
        }
    }

    private static func certificate(_ der: [UInt8], _ library: OpaquePointer) -> OpaquePointer? {
        var result = X509_new_ex(library, nil)
        return der.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_X509(&result, &start, $0.count)
        }
    }

    private static func key(_ der: [UInt8], _ library: OpaquePointer) -> OpaquePointer? {
        der.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_AutoPrivateKey_ex(nil, &start, $0.count, library, nil)
        }
    }
}
