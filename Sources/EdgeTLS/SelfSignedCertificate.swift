internal import CEdge

/// A new key (EC P-256) with a certificate that it signs itself: what one node of a pair shows the
/// other. Its dates are for readers; whoever pins it looks at its bytes.
package struct SelfSignedCertificate: Sendable {
    package let certificatePEM: [UInt8]
    package let keyPEM: [UInt8]
    package let fingerprint: PinnedIdentity.Fingerprint

    private static let lifetimeSeconds = 20 * 365 * 86_400
    /// A clock that is a little wrong must not make it one from the future.
    private static let backdatedSeconds = 86_400

    /// - Parameter name: the certificate's common name; cut to 64 characters.
    package init(name: String) throws(TLSFailure) {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else {
            throw .library("EVP_PKEY_CTX_new_id")
        }
        defer { EVP_PKEY_CTX_free(context) }
        var made: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1,
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1,
            EVP_PKEY_keygen(context, &made) == 1, let key = made
        else { throw .library("EVP_PKEY_keygen") }
        defer { EVP_PKEY_free(key) }
        let certificate = try Self.sign(name, key)
        defer { X509_free(certificate) }
        guard let fingerprint = PinnedIdentity.Fingerprint(der: PEMFile.der(certificate)) else {
            throw .library("SHA-256")
        }
        self.fingerprint = fingerprint
        certificatePEM = try Self.pem { PEM_write_bio_X509($0, certificate) }
        keyPEM = try Self.pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    private static func sign(
        _ name: String, _ key: OpaquePointer
    ) throws(TLSFailure) -> OpaquePointer {
        guard let certificate = X509_new() else { throw .library("X509_new") }
        var serial = [UInt8](repeating: 0, count: 16)
        guard RAND_bytes(&serial, 16) == 1 else {
            X509_free(certificate)
            throw .library("RAND_bytes")
        }
        // Positive, and of full length (RFC 5280 §4.1.2.2).
        serial[0] = serial[0] & 0x7F | 0x40
        let number = BN_bin2bn(serial, 16, nil)
        defer { BN_free(number) }
        let subject = X509_get_subject_name(certificate)
        guard X509_set_version(certificate, 2) == 1,
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil,
            X509_gmtime_adj(X509_getm_notBefore(certificate), -backdatedSeconds) != nil,
            X509_gmtime_adj(X509_getm_notAfter(certificate), lifetimeSeconds) != nil,
            X509_set_pubkey(certificate, key) == 1,
            X509_NAME_add_entry_by_txt(
                subject, "CN", MBSTRING_UTF8, String(name.prefix(64)), -1, -1, 0) == 1,
            X509_set_issuer_name(certificate, subject) == 1,
            X509_sign(certificate, key, EVP_sha256()) > 0
        else {
            X509_free(certificate)
            throw .library("X509_sign")
        }
        return certificate
    }

    private static func pem(_ write: (OpaquePointer) -> Int32) throws(TLSFailure) -> [UInt8] {
        guard let bio = BIO_new(BIO_s_mem()) else { throw .library("BIO_new") }
        defer { BIO_free(bio) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        guard write(bio) == 1 else { throw .library("PEM_write_bio") }
        let count = BIO_read(bio, &bytes, Int32(bytes.count))
        guard count > 0 else { throw .library("BIO_read") }
        return Array(bytes.prefix(Int(count)))
    }
}
