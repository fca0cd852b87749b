internal import CEdge
internal import Glibc

/// Reads a folder of certificates: `name.pem` (certificate, chain and key in any order) or
/// `name.crt` with `name.key`. Control thread only; takes about 1 ms per certificate.
package enum CertificateFolder {
    private static let fileBytesMax = 1 << 20
    private static let filesMax = 100_000

    /// - Throws: every problem found, in the order of file names; an empty or missing folder too.
    package static func load(_ directory: String) throws(CertificateFolderError)
        -> CertificateStore
    {
        let names = try list(directory)
        var entries: [CertificateStore.Entry] = []
        var problems: [CertificateProblem] = []
        for name in names where name.hasSuffix(".pem") || name.hasSuffix(".crt") {
            let path = directory + "/" + name
            do {
                let keyPath = name.hasSuffix(".crt") ? String(path.dropLast(4)) + ".key" : path
                entries.append(try entry(certificates: path, key: keyPath))
            } catch {
                problems.append(error)
            }
        }
        if problems.isEmpty, entries.isEmpty {
            problems.append(
                CertificateProblem(
                    file: directory, reason: "no certificate in this folder",
                    hint: "put name.pem, or name.crt and name.key, there"))
        }
        guard problems.isEmpty else { throw CertificateFolderError(problems: problems) }
        return CertificateStore(entries: entries)
    }

    private static func list(_ directory: String) throws(CertificateFolderError) -> [String] {
        guard let handle = opendir(directory) else {
            let reason = String(cString: strerror(errno))
            throw CertificateFolderError(problems: [
                CertificateProblem(
                    file: directory, reason: "cannot be opened: \(reason)",
                    hint: "certificates: directory: names it; the proxy's user must be able to "
                        + "read it")
            ])
        }
        defer { closedir(handle) }
        var names: [String] = []
        while names.count < filesMax, let item = readdir(handle) {
            let name = withUnsafeBytes(of: &item.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    // MARK: - One certificate

    private static func entry(
        certificates: String, key: String
    ) throws(CertificateProblem) -> CertificateStore.Entry {
        let pem = try read(certificates, secret: certificates == key)
        let keyPEM = certificates == key ? pem : try read(key, secret: true)
        guard let privateKey = parseKey(keyPEM) else {
            throw CertificateProblem(
                file: key, reason: "no usable private key: \(TLSFailure.takeErrorText())",
                hint: certificates == key
                    ? "a .pem file holds certificate, chain and unencrypted key; else use "
                        + ".crt and .key" : "an unencrypted PEM key is expected")
        }
        defer { EVP_PKEY_free(privateKey) }
        let chain = try parseCertificates(pem, file: certificates)
        defer { for certificate in chain { X509_free(certificate) } }
        guard let leaf = chain.firstIndex(where: { X509_check_private_key($0, privateKey) == 1 })
        else {
            ERR_clear_error()
            throw CertificateProblem(
                file: key, reason: "the key belongs to none of the certificates in \(certificates)",
                hint: "certificate and key must be a pair")
        }
        ERR_clear_error()
        let names = dnsNames(of: chain[leaf])
        guard !names.isEmpty else {
            throw CertificateProblem(
                file: certificates, reason: "the certificate has no DNS name",
                hint: "clients only look at the subject alternative name")
        }
        return CertificateStore.Entry(
            file: certificates, names: names, key: kind(of: privateKey),
            notBefore: seconds(X509_get0_notBefore(chain[leaf])),
            notAfter: seconds(X509_get0_notAfter(chain[leaf])),
            leaf: der(chain[leaf]),
            chain: chain.enumerated().filter { $0.offset != leaf }.map { der($0.element) },
            privateKey: derKey(privateKey))
    }

    static func read(_ path: String, secret: Bool) throws(CertificateProblem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw CertificateProblem(
                file: path, reason: "cannot be read: \(reason)",
                hint: "the proxy's user needs to: chgrp edged \(path); chmod 0640 \(path)")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= fileBytesMax
        else {
            throw CertificateProblem(
                file: path, reason: "not a regular file of at most 1 MiB",
                hint: "PEM files are a few KiB")
        }
        if secret, status.st_mode & 0o007 != 0 {
            throw CertificateProblem(
                file: path,
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
        let atEnd =
            last == 0
            || (ce_err_lib(last) == ERR_LIB_PEM && ce_err_reason(last) == PEM_R_NO_START_LINE)
        let text = TLSFailure.takeErrorText()
        guard atEnd, !result.isEmpty else {
            let count = result.count
            for certificate in result { X509_free(certificate) }
            throw CertificateProblem(
                file: file,
                reason: atEnd
                    ? "no certificate in this file" : "certificate \(count + 1): \(text)",
                hint: "a half-written or damaged PEM file is not used")
        }
        return result
    }

    private static func dnsNames(of certificate: OpaquePointer) -> [String] {
        guard let list = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else {
            ERR_clear_error()
            return []
        }
        let names = OpaquePointer(list)
        defer { GENERAL_NAMES_free(names) }
        var result: [String] = []
        for index in 0..<ce_sk_name_num(names) {
            guard let name = ce_sk_name_value(names, index), ce_name_is_dns(name) == 1 else {
                continue
            }
            var count: Int32 = 0
            guard let bytes = ce_name_bytes(name, &count) else { continue }
            let text = String(
                decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
            // A name with control or space bytes could only ever match by mistake.
            if text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) { result.append(text.lowercased()) }
        }
        return result
    }

    private static func kind(of key: OpaquePointer) -> CertificateStore.Entry.KeyKind {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_EC: .ecdsa
        case EVP_PKEY_RSA: .rsa
        case EVP_PKEY_ED25519: .ed25519
        default: .other
        }
    }

    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return 0 }
        return Int64(timegm(&parts))
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

/// Everything that is wrong with a certificate folder.
package struct CertificateFolderError: Error, Equatable {
    package let problems: [CertificateProblem]
}
