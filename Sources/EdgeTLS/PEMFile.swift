internal import CEdge
internal import Glibc

/// Reads certificates and keys from PEM files with OpenSSL: for the few files that are named one by
/// one. Folders of them are indexed by `CertificateFolder`.
enum PEMFile {
    private static let fileBytesMax = 1 << 20

    /// A pipe or a device in a file's place is refused, and nobody waits for its other end.
    static func read(
        _ path: String, secret: Bool, upTo byteCountMax: Int = fileBytesMax
    ) throws(CertificateProblem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw CertificateProblem(
                .unreadable, file: path, reason: "cannot be read: \(reason)",
                hint: "the proxy's user needs to: chgrp edged \(path); chmod 0640 \(path)")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= byteCountMax
        else {
            throw CertificateProblem(
                .unreadable, file: path,
                reason: "not a regular file of at most \(byteCountMax >> 20) MiB",
                hint: "PEM files are a few KiB")
        }
        if secret, status.st_mode & 0o007 != 0 {
            throw CertificateProblem(
                .mode, file: path,
                reason: "a private key that everybody may read (mode "
                    + "0\(String(status.st_mode & 0o777, radix: 8)))",
                hint: "chmod 0640 \(path)")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + filled, $0.count - filled)
            }
            guard count > 0 else { break }
            filled += count
        }
        return Array(bytes.prefix(filled))
    }

    static func parseKey(_ pem: [UInt8]) -> OpaquePointer? {
        guard let bio = BIO_new_mem_buf(pem, Int32(pem.count)) else { return nil }
        defer { BIO_free(bio) }
        // The callback refuses: an encrypted key must not wait for a password on a terminal.
        return PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in -1 }, nil)
    }

    /// What is wrong with a block that OpenSSL was to read.
    struct Damage: Error {
        let text: String
    }

    /// All blocks of a kind. OpenSSL itself stops at the first bad one as if it were the end.
    ///
    /// - Parameters:
    ///   - what: the kind, in messages.
    ///   - read: nil: an error, or there is no other.
    /// - Returns: the caller owns them.
    /// - Throws: the first block that is damaged, or that there are more than `countMax`.
    static func parseAll(
        _ pem: [UInt8], _ what: String, upTo countMax: Int,
        read: (OpaquePointer) -> OpaquePointer?, free: (OpaquePointer) -> Void
    ) throws(Damage) -> [OpaquePointer] {
        guard let bio = BIO_new_mem_buf(pem, Int32(pem.count)) else { return [] }
        defer { BIO_free(bio) }
        ERR_clear_error()
        var result: [OpaquePointer] = []
        while result.count <= countMax, let block = read(bio) { result.append(block) }
        let last = ERR_peek_last_error()
        let isWhole = last == 0 || isEnd(last)
        let text = TLSFailure.takeErrorText()
        guard isWhole, result.count <= countMax else {
            for block in result { free(block) }
            throw Damage(
                text: isWhole
                    ? "more than \(countMax) blocks" : "\(what) \(result.count + 1): \(text)")
        }
        return result
    }

    /// Whether an error of OpenSSL's says that there is no other block.
    private static func isEnd(_ error: UInt) -> Bool {
        ce_err_lib(error) == ERR_LIB_PEM && ce_err_reason(error) == PEM_R_NO_START_LINE
    }

    static func parseCertificates(
        _ pem: [UInt8], file: String
    ) throws(CertificateProblem) -> [OpaquePointer] {
        guard let bio = BIO_new_mem_buf(pem, Int32(pem.count)) else { return [] }
        defer { BIO_free(bio) }
        var result: [OpaquePointer] = []
        while result.count < 16, let certificate = PEM_read_bio_X509(bio, nil, nil, nil) {
            result.append(certificate)
        }
        let last = ERR_peek_last_error()
        let atEnd = last == 0 || isEnd(last)
        let text = TLSFailure.takeErrorText()
        guard atEnd, !result.isEmpty else {
            let count = result.count
            for certificate in result { X509_free(certificate) }
            throw CertificateProblem(
                atEnd ? .noCertificate : .damaged, file: file,
                reason: atEnd
                    ? "no certificate in this file" : "certificate \(count + 1): \(text)",
                hint: "a half-written or damaged PEM file is not used")
        }
        return result
    }

    static func der(_ certificate: OpaquePointer) -> [UInt8] {
        collect { i2d_X509(certificate, $0) }
    }

    static func derKey(_ key: OpaquePointer) -> [UInt8] {
        collect { i2d_PrivateKey(key, $0) }
    }

    /// Runs an `i2d` function twice: for the size, then for the bytes.
    private static func collect(
        _ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32
    ) -> [UInt8] {
        let size = encode(nil)
        guard size > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: Int(size))
        bytes.withUnsafeMutableBufferPointer {
            var start = $0.baseAddress
            _ = encode(&start)
        }
        return bytes
    }
}
