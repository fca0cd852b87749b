internal import CEdge
internal import Glibc

/// The CAs that a peer's certificate must chain to, and what they have revoked, as read and checked
/// once; each worker makes its own context from it. Compared by identity: one object per distinct
/// file content.
package final class ClientTrust: Sendable {
    /// PEM files that trust is read from.
    package struct Files: Hashable, Sendable {
        package let authorities: String
        /// Lists of revoked certificates, of each authority that issues any; nil: not looked at.
        package let revocations: String?

        package init(authorities: String, revocations: String? = nil) {
            self.authorities = authorities
            self.revocations = revocations
        }
    }

    private static let countMax = 4096

    /// PEM bytes; nil: the system's store.
    let pem: [UInt8]?
    let revocations: [UInt8]?
    /// Chain and name are checked; false only for `verify: none`.
    package let verifies: Bool
    package let files: Files?
    /// For keys that are kept longer than this object.
    package let number = ObjectNumber()
    /// When the first of the lists of revoked certificates should have been replaced, in seconds
    /// since 1970; nil: never, or there is none.
    package let revocationsEnd: Int64?
    /// From when on the last of them is valid; nil as above.
    package let revocationsStart: Int64?

    private init(
        pem: [UInt8]?, verifies: Bool, files: Files? = nil, revocations: [UInt8]? = nil,
        revocationsStart: Int64? = nil, revocationsEnd: Int64? = nil
    ) {
        self.pem = pem
        self.verifies = verifies
        self.files = files
        self.revocations = revocations
        self.revocationsStart = revocationsStart
        self.revocationsEnd = revocationsEnd
    }

    package static let system = ClientTrust(pem: nil, verifies: true)
    package static let unverified = ClientTrust(pem: nil, verifies: false)
    /// Nobody is believed: in place of files that cannot be used.
    package static let nobody = ClientTrust(pem: [], verifies: true)

    /// SHA-256 of the files' content; empty without one.
    package var digest: [UInt8] {
        guard let pem else { return [] }
        let all = pem + (revocations ?? [])
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_Q_digest(nil, "SHA256", nil, all, all.count, &digest, nil) == 1 else { return [] }
        return digest
    }

    /// The same CAs and revocations, read from the same files.
    package func isEquivalent(to other: ClientTrust) -> Bool {
        pem == other.pem && revocations == other.revocations && verifies == other.verifies
            && files == other.files
    }

    package static func load(_ path: String) throws(TLSFailure) -> ClientTrust {
        try load(Files(authorities: path))
    }

    /// - Throws: `.authority` if a file can't be read or holds nothing of its kind.
    package static func load(_ files: Files) throws(TLSFailure) -> ClientTrust {
        let bytes = try read(files.authorities)
        try requireWhole(bytes, files.authorities)
        let certificates = try parse(bytes, files.authorities)
        defer { for certificate in certificates { X509_free(certificate) } }
        guard !certificates.isEmpty else {
            throw .authority(
                file: files.authorities, reason: "no PEM certificate in this file")
        }
        guard let path = files.revocations else {
            return ClientTrust(pem: bytes, verifies: true, files: files)
        }
        let revoked = try read(path)
        try requireWhole(revoked, path)
        let lists: [OpaquePointer]
        do throws(PEMFile.Damage) {
            lists = try RevocationList.parse(revoked)
        } catch {
            throw .authority(file: path, reason: error.text)
        }
        defer { for list in lists { X509_CRL_free(list) } }
        guard !lists.isEmpty else {
            throw .authority(
                file: path, reason: "no PEM list of revoked certificates in this file")
        }
        return ClientTrust(
            pem: bytes, verifies: true, files: files, revocations: revoked,
            revocationsStart: lists.compactMap(RevocationList.start(of:)).max(),
            revocationsEnd: lists.compactMap(RevocationList.end(of:)).min())
    }

    /// OpenSSL reads as far as it can: half a file would be trusted as if it were the whole.
    private static func requireWhole(_ pem: [UInt8], _ path: String) throws(TLSFailure) {
        do throws(CertificateText.Damage) {
            _ = try CertificateText(pem.span, wantsKeys: false)
        } catch {
            throw .authority(
                file: path, reason: "line \(error.line): \(error.what): \(error.violation.text)")
        }
    }

    private static func read(_ path: String) throws(TLSFailure) -> [UInt8] {
        do throws(CertificateProblem) {
            return try PEMFile.read(path, secret: false, upTo: 16 << 20)
        } catch {
            throw .authority(file: path, reason: error.reason)
        }
    }

    /// Adds the CAs to a context of the calling thread.
    func install(in context: OpaquePointer) throws(TLSFailure) {
        guard verifies else { return }
        guard let pem else {
            guard SSL_CTX_set_default_verify_paths(context) == 1 else {
                throw .library("SSL_CTX_set_default_verify_paths")
            }
            return
        }
        let store = SSL_CTX_get_cert_store(context)
        let certificates = try Self.parse(pem, files?.authorities ?? "")
        defer { for certificate in certificates { X509_free(certificate) } }
        for certificate in certificates {
            guard X509_STORE_add_cert(store, certificate) == 1 else {
                throw .library("X509_STORE_add_cert")
            }
        }
        if let revocations, let store { try RevocationList.install(revocations, in: store) }
        ERR_clear_error()
    }

    /// Tells clients whose certificates are believed (RFC 8446 §4.2.4).
    func announce(in context: OpaquePointer) throws(TLSFailure) {
        guard let pem else { return }
        let certificates = try Self.parse(pem, files?.authorities ?? "")
        defer { for certificate in certificates { X509_free(certificate) } }
        for certificate in certificates {
            guard SSL_CTX_add_client_CA(context, certificate) == 1 else {
                throw .library("SSL_CTX_add_client_CA")
            }
        }
        ERR_clear_error()
    }

    /// - Throws: `.authority`: the first block that is damaged, or that there are too many.
    private static func parse(
        _ pem: [UInt8], _ path: String
    ) throws(TLSFailure) -> [OpaquePointer] {
        do throws(PEMFile.Damage) {
            return try PEMFile.parseAll(
                pem, "certificate", upTo: countMax,
                read: { PEM_read_bio_X509($0, nil, nil, nil) }, free: { X509_free($0) })
        } catch {
            throw .authority(file: path, reason: error.text)
        }
    }
}
