internal import CEdge
internal import Foundation

/// A certificate authority in memory: mints intermediates and leaves in well under a millisecond
/// (RSA takes tens). Nothing it makes is secret. Any thread may use it.
package final class CertificateMint: @unchecked Sendable {
    // Sendable: both pointers are set once and only read; OpenSSL counts references atomically.
    private let key: OpaquePointer
    private let certificate: OpaquePointer

    /// The authority's own certificate.
    package let certificatePEM: String
    /// The root that a peer must trust to believe this authority.
    package let rootPEM: String
    /// What a server sends after its own certificate: the intermediates, root left out.
    private let chainPEM: String

    package enum KeyKind: Sendable {
        case ecdsaP256, rsa2048
        /// Too short for anybody.
        case rsa1024
    }

    /// What is signed.
    package enum Digest: Sendable {
        case sha256, sha1, md5
    }

    /// When a certificate is valid, in seconds from now.
    package struct Validity: Sendable {
        package var from: Int
        package var until: Int
        package init(from: Int, until: Int) {
            self.from = from
            self.until = until
        }
        package static let current = Validity(from: -3600, until: 30 * 86_400)
        package static let expired = Validity(from: -7 * 86_400, until: -3600)
        package static let notYet = Validity(from: 86_400, until: 30 * 86_400)
    }

    /// A self-signed root.
    package convenience init(
        name: String = "Edge Test Root", key kind: KeyKind = .ecdsaP256,
        validity: Validity = .current
    ) throws {
        try self.init(name: name, kind: kind, validity: validity, parent: nil)
    }

    private init(
        name: String, kind: KeyKind, validity: Validity, parent: CertificateMint?
    ) throws {
        let newKey = try makeKey(kind)
        let made = try makeCertificate(
            name: name, key: newKey, validity: validity,
            issuer: parent.map { ($0.certificate, $0.key) },
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE"),
                (NID_key_usage, "critical,keyCertSign,cRLSign"),
            ])
        let text = try pem { PEM_write_bio_X509($0, made) }
        key = newKey
        certificate = made
        certificatePEM = text
        rootPEM = parent?.rootPEM ?? text
        chainPEM = parent.map { text + $0.chainPEM } ?? ""
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    /// A list of what this authority has revoked, as PEM text.
    ///
    /// - Parameters:
    ///   - authorities: those below this one that are revoked as well.
    ///   - validity: `until` is when the next one is due.
    package func revocations(
        of revoked: [MintedCertificate], authorities: [CertificateMint] = [],
        validity: Validity = .current
    ) throws -> String {
        guard let list = X509_CRL_new() else { throw openSSLError("X509_CRL_new") }
        defer { X509_CRL_free(list) }
        X509_CRL_set_version(list, 1)
        X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate))
        for (offset, set) in [
            (validity.from, X509_CRL_set1_lastUpdate), (validity.until, X509_CRL_set1_nextUpdate),
        ] {
            guard let moment = ASN1_TIME_adj(nil, time(nil), 0, offset) else {
                throw openSSLError("ASN1_TIME_adj")
            }
            _ = set(list, moment)
            ASN1_STRING_free(moment)
        }
        for text in revoked.map(\.certificatePEM) + authorities.map(\.certificatePEM) {
            let source = Array(text.utf8)
            let bio = BIO_new_mem_buf(source, Int32(source.count))
            defer { BIO_free(bio) }
            guard let parsed = PEM_read_bio_X509(bio, nil, nil, nil),
                let entry = X509_REVOKED_new()
            else { throw openSSLError("revoked certificate") }
            X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(parsed))
            X509_REVOKED_set_revocationDate(entry, X509_getm_notBefore(parsed))
            X509_CRL_add0_revoked(list, entry)
            X509_free(parsed)
        }
        guard X509_CRL_sign(list, key, EVP_sha256()) > 0 else { throw openSSLError("sign CRL") }
        return try pem { PEM_write_bio_X509_CRL($0, list) }
    }

    /// An authority below this one; its leaves carry the chain.
    package func intermediate(
        name: String = "Edge Test Intermediate", key kind: KeyKind = .ecdsaP256,
        validity: Validity = .current
    ) throws -> CertificateMint {
        try CertificateMint(name: name, kind: kind, validity: validity, parent: self)
    }

    /// A certificate for servers and clients.
    ///
    /// - Parameter names: host names, wildcards (`*.home.example`) and IP addresses; the first is
    ///   the subject's common name too.
    package func leaf(
        _ names: String..., key kind: KeyKind = .ecdsaP256, validity: Validity = .current,
        digest: Digest = .sha256
    ) throws -> MintedCertificate {
        try leaf(names: names, key: kind, validity: validity, digest: digest)
    }

    package func leaf(
        names: [String], key kind: KeyKind = .ecdsaP256, validity: Validity = .current,
        digest: Digest = .sha256
    ) throws -> MintedCertificate {
        let leafKey = try makeKey(kind)
        defer { EVP_PKEY_free(leafKey) }
        let alternatives = names.map { (isAddress($0) ? "IP:" : "DNS:") + $0 }
        var extensions: [(Int32, String)] = [
            (NID_basic_constraints, "critical,CA:FALSE"),
            (NID_key_usage, "critical,digitalSignature,keyEncipherment"),
            (NID_ext_key_usage, "serverAuth,clientAuth"),
        ]
        if !names.isEmpty {
            extensions.append((NID_subject_alt_name, alternatives.joined(separator: ",")))
        }
        let made = try makeCertificate(
            name: names.first ?? "nameless", key: leafKey, validity: validity,
            issuer: (certificate, key), extensions: extensions, digest: digest)
        defer { X509_free(made) }
        return MintedCertificate(
            certificatePEM: try pem { PEM_write_bio_X509($0, made) }, chainPEM: chainPEM,
            keyPEM: try pem { PEM_write_bio_PrivateKey($0, leafKey, nil, nil, 0, nil, nil) },
            rootPEM: rootPEM, fingerprint: fingerprint(made))
    }
}

/// A leaf with its key, as PEM text.
package struct MintedCertificate: Sendable {
    package let certificatePEM: String
    /// Intermediates only; empty for a leaf of a root.
    package let chainPEM: String
    package let keyPEM: String
    package let rootPEM: String
    /// SHA-256 of the DER form, lower-case hex: what a client can compare.
    package let fingerprint: String

    /// Leaf, chain and key in one text, as HAProxy and edged read it.
    package var bundlePEM: String { certificatePEM + chainPEM + keyPEM }

    /// Writes `NAME.pem` (leaf + chain + key) and returns its path.
    @discardableResult
    package func writeBundle(
        _ name: String, in directory: String, mode: UInt32 = 0o640
    ) throws -> String {
        let path = "\(directory)/\(name).pem"
        try writeFile(path, bundlePEM, mode: mode)
        return path
    }

    /// Writes `NAME.crt` (leaf + chain) and `NAME.key`; returns both paths.
    @discardableResult
    package func writePair(
        _ name: String, in directory: String, mode: UInt32 = 0o640
    ) throws -> (certificate: String, key: String) {
        let certificate = "\(directory)/\(name).crt"
        let key = "\(directory)/\(name).key"
        try writeFile(key, keyPEM, mode: mode)
        try writeFile(certificate, certificatePEM + chainPEM, mode: mode)
        return (certificate, key)
    }
}

// MARK: - OpenSSL

/// The oldest entry of OpenSSL's error queue as an error; empties the queue.
func openSSLError(_ what: String) -> KitError {
    let code = ERR_get_error()
    ERR_clear_error()
    var text = [CChar](repeating: 0, count: 256)
    ERR_error_string_n(code, &text, text.count)
    return KitError("\(what): " + text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
}

private func isAddress(_ text: String) -> Bool {
    var storage = in6_addr()
    return inet_pton(AF_INET, text, &storage) == 1 || inet_pton(AF_INET6, text, &storage) == 1
}

private func makeKey(_ kind: CertificateMint.KeyKind) throws -> OpaquePointer {
    let type = kind == .ecdsaP256 ? EVP_PKEY_EC : EVP_PKEY_RSA
    guard let context = EVP_PKEY_CTX_new_id(type, nil) else { throw openSSLError("key context") }
    defer { EVP_PKEY_CTX_free(context) }
    var key: OpaquePointer?
    guard EVP_PKEY_keygen_init(context) == 1 else { throw openSSLError("keygen") }
    let configured =
        kind == .ecdsaP256
        ? EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1)
        : EVP_PKEY_CTX_set_rsa_keygen_bits(context, kind == .rsa1024 ? 1024 : 2048)
    guard configured == 1, EVP_PKEY_keygen(context, &key) == 1, let key else {
        throw openSSLError("keygen")
    }
    return key
}

extension CertificateMint.Digest {
    fileprivate var method: OpaquePointer? {
        switch self {
        case .sha256: EVP_sha256()
        case .sha1: EVP_sha1()
        case .md5: EVP_md5()
        }
    }
}

private func makeCertificate(
    name: String, key: OpaquePointer, validity: CertificateMint.Validity,
    issuer: (certificate: OpaquePointer, key: OpaquePointer)?, extensions: [(Int32, String)],
    digest: CertificateMint.Digest = .sha256
) throws -> OpaquePointer {
    guard let made = X509_new() else { throw openSSLError("X509_new") }
    do {
        X509_set_version(made, 2)
        var serial = [UInt8](repeating: 0, count: 16)
        RAND_bytes(&serial, 16)
        serial[0] = serial[0] & 0x7F | 0x01
        let number = BN_bin2bn(serial, 16, nil)
        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made))
        BN_free(number)
        X509_gmtime_adj(X509_getm_notBefore(made), validity.from)
        X509_gmtime_adj(X509_getm_notAfter(made), validity.until)
        X509_set_pubkey(made, key)
        let subject = X509_get_subject_name(made)
        // A common name holds 64 characters at most; the names that count are alternatives.
        X509_NAME_add_entry_by_txt(
            subject, "CN", MBSTRING_UTF8, String(name.prefix(64)), -1, -1, 0)
        X509_set_issuer_name(made, issuer.map { X509_get_subject_name($0.certificate) } ?? subject)
        let identifiers = [
            (NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid"),
        ]
        for (nid, value) in identifiers + extensions {
            try addExtension(nid, value, to: made, issuer: issuer?.certificate ?? made)
        }
        guard X509_sign(made, issuer?.key ?? key, digest.method) > 0 else {
            throw openSSLError("sign \(name)")
        }
        return made
    } catch {
        X509_free(made)
        throw error
    }
}

private func addExtension(
    _ nid: Int32, _ value: String, to certificate: OpaquePointer, issuer: OpaquePointer
) throws {
    var context = X509V3_CTX()
    X509V3_set_ctx(&context, issuer, certificate, nil, nil, 0)
    guard let made = X509V3_EXT_nconf_nid(nil, &context, nid, value) else {
        throw openSSLError("extension \(value)")
    }
    defer { X509_EXTENSION_free(made) }
    guard X509_add_ext(certificate, made, -1) == 1 else { throw openSSLError("add extension") }
}

private func pem(_ write: (OpaquePointer) -> Int32) throws -> String {
    guard let sink = BIO_new(BIO_s_mem()) else { throw openSSLError("BIO_new") }
    defer { BIO_free(sink) }
    guard write(sink) == 1 else { throw openSSLError("PEM") }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while bytes.count < 1 << 20 {
        let count = BIO_read(sink, &piece, 4096)
        guard count > 0 else { break }
        bytes += piece[..<Int(count)]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// SHA-256 of a certificate's DER form in lower-case hex.
func fingerprint(_ certificate: OpaquePointer) -> String {
    var digest = [UInt8](repeating: 0, count: 32)
    var count: UInt32 = 0
    X509_digest(certificate, EVP_sha256(), &digest, &count)
    return hex(digest)
}

/// Two lower-case digits per byte.
package func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
