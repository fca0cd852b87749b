internal import CEdge
internal import Glibc

/// The CAs that an upstream's certificate must chain to, as read and checked once; each worker
/// makes its own context from it. Compared by identity: one object per distinct file content.
package final class ClientTrust: Sendable {
    /// PEM bytes; nil: the system's store.
    let pem: [UInt8]?
    /// Chain and name are checked; false only for `verify: none`.
    package let verifies: Bool
    package let file: String?
    /// For keys that are kept longer than this object.
    package let number = ObjectNumber()

    private init(pem: [UInt8]?, verifies: Bool, file: String?) {
        self.pem = pem
        self.verifies = verifies
        self.file = file
    }

    package static let system = ClientTrust(pem: nil, verifies: true, file: nil)
    package static let unverified = ClientTrust(pem: nil, verifies: false, file: nil)

    /// SHA-256 of the file's content; empty without one.
    package var digest: [UInt8] {
        guard let pem else { return [] }
        var digest = [UInt8](repeating: 0, count: 32)
        guard EVP_Q_digest(nil, "SHA256", nil, pem, pem.count, &digest, nil) == 1 else { return [] }
        return digest
    }

    /// The same CAs, read from the same file.
    package func isEquivalent(to other: ClientTrust) -> Bool {
        pem == other.pem && verifies == other.verifies && file == other.file
    }

    /// - Throws: `.authority` if the file can't be read or holds no certificate.
    package static func load(_ path: String) throws(TLSFailure) -> ClientTrust {
        guard let bio = BIO_new_file(path, "r") else {
            throw .authority(file: path, reason: "cannot be read: \(TLSFailure.takeErrorText())")
        }
        defer { BIO_free(bio) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65536)
        while bytes.count < 16 << 20 {
            let count = BIO_read(bio, &block, Int32(block.count))
            guard count > 0 else { break }
            bytes.append(contentsOf: block.prefix(Int(count)))
        }
        let certificates = parse(bytes)
        let text = TLSFailure.takeErrorText()
        defer { for certificate in certificates { X509_free(certificate) } }
        guard !certificates.isEmpty else {
            throw .authority(file: path, reason: "no PEM certificate in this file: \(text)")
        }
        return ClientTrust(pem: bytes, verifies: true, file: path)
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
        for certificate in Self.parse(pem) {
            defer { X509_free(certificate) }
            guard X509_STORE_add_cert(store, certificate) == 1 else {
                throw .library("X509_STORE_add_cert")
            }
        }
        ERR_clear_error()
    }

    /// Tells clients whose certificates are believed (RFC 8446 §4.2.4).
    func announce(in context: OpaquePointer) throws(TLSFailure) {
        guard let pem else { return }
        for certificate in Self.parse(pem) {
            defer { X509_free(certificate) }
            guard SSL_CTX_add_client_CA(context, certificate) == 1 else {
                throw .library("SSL_CTX_add_client_CA")
            }
        }
        ERR_clear_error()
    }

    private static func parse(_ pem: [UInt8]) -> [OpaquePointer] {
        guard let bio = BIO_new_mem_buf(pem, Int32(pem.count)) else { return [] }
        defer { BIO_free(bio) }
        var result: [OpaquePointer] = []
        while result.count < 4096, let certificate = PEM_read_bio_X509(bio, nil, nil, nil) {
            result.append(certificate)
        }
        return result
    }
}
