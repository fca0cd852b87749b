internal import EdgeX509
internal import Glibc

/// Makes entries from the files of one folder: reads, decodes, outlines and judges. What costs
/// arithmetic is left to `CertificateChecker`.
struct CertificateReader {
    private let folder: String
    private let descriptor: Int32
    private let now: Int64
    private var chains: ChainTable

    private static let fileBytesMax = 1 << 20
    private static let modulusBitsMin = 2_048

    /// - Parameters:
    ///   - descriptor: the folder, open as long as the reader is used.
    ///   - now: nanoseconds since 1970.
    init(folder: String, descriptor: Int32, chains: ChainTable, now: Int64) {
        self.now = now
        self.folder = folder
        self.descriptor = descriptor
        self.chains = chains
    }

    /// Whether the entry's files are what they were when they were read.
    func isUnchanged(_ entry: CertificateEntry, _ file: CertificateFile) -> Bool {
        isUnchanged(entry, file, CertificateDrop(name: entry.name, keyName: file.keyName))
    }

    func isUnchanged(
        _ entry: CertificateEntry, _ file: CertificateFile, _ drop: CertificateDrop
    ) -> Bool {
        entry.folder == folder && file.isUnchanged(drop, in: descriptor)
    }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// - Throws: what is wrong with the file or its key.
    mutating func read(_ drop: CertificateDrop) throws(CertificateProblem) -> CertificateEntry {
        let (main, mode) = try text(drop.name)
        if main.hasKey { try requirePrivate(drop.name, mode) }
        var keys = main
        var keyName = drop.name
        if !main.hasKey, let other = drop.keyName {
            let (text, mode) = try text(other, isKey: true)
            try requirePrivate(other, mode)
            keys = text
            keyName = other
        }
        guard !main.certificates.isEmpty else {
            throw CertificateProblem(
                .noCertificate, file: path(drop.name), reason: "no certificate in this file",
                hint: "a half-written or damaged PEM file is not used")
        }
        let outlines = try outlines(main, drop.name)
        let pair = try pair(keys, keyName, main, outlines, drop)
        let certificates = main.certificates.map(\.bytes)
        guard let order = ChainOrder.order(certificates, outlines, leaf: pair.leaf) else {
            throw CertificateProblem(
                .chain, file: path(drop.name), line: main.certificates[pair.leaf].line,
                reason: "none of the other certificates in this file has issued certificate "
                    + "\(pair.leaf + 1)",
                hint: "the chain is another certificate's, or an old one: use that which the "
                    + "authority gave with this certificate")
        }
        try requireStrength(main, outlines, drop.name)
        return try entry(drop, outlines[pair.leaf], certificates, pair, order, main)
    }

    private mutating func entry(
        _ drop: CertificateDrop, _ leaf: CertificateOutline, _ certificates: [[UInt8]],
        _ pair: Pair, _ order: [Int], _ text: CertificateText
    ) throws(CertificateProblem) -> CertificateEntry {
        var block: [UInt8] = []
        block.reserveCapacity(leaf.byteCount + pair.key.count)
        block += certificates[pair.leaf].prefix(leaf.byteCount)
        block += pair.key
        var chainBytes: [UInt8] = []
        var ends: [Int] = []
        for index in order {
            chainBytes += certificates[index]
            ends.append(chainBytes.count)
        }
        let entry = CertificateEntry(
            folder: folder, name: drop.name, key: Self.kind(leaf.algorithm), outline: leaf,
            bytes: block, keyForm: pair.form, chain: chains.chain(chainBytes, ends: ends))
        var hasName = false
        entry.forEachName { _ in hasName = true }
        guard hasName else {
            throw CertificateProblem(
                .noName, file: path(drop.name), line: text.certificates[pair.leaf].line,
                reason: "the certificate has no DNS name",
                hint: "clients only look at the subject alternative name")
        }
        return entry
    }

    private static func kind(_ algorithm: KeyAlgorithm) -> CertificateEntry.KeyKind {
        switch algorithm {
        case .ecdsa: .ecdsa
        case .rsa: .rsa
        case .ed25519: .ed25519
        case .other: .other
        }
    }

    // MARK: - Certificates

    /// Of all, so that none is sent that is damaged.
    private func outlines(
        _ text: CertificateText, _ name: String
    ) throws(CertificateProblem) -> [CertificateOutline] {
        var result: [CertificateOutline] = []
        for (index, part) in text.certificates.enumerated() {
            do throws(X509Violation) {
                result.append(try CertificateOutline(part.bytes.span))
            } catch {
                throw damaged(name, part.line, "certificate \(index + 1)", error)
            }
        }
        return result
    }

    private func damaged(
        _ name: String, _ line: Int, _ what: String, _ violation: X509Violation
    ) -> CertificateProblem {
        CertificateProblem(
            violation == .openBlock ? .unfinished : .damaged, file: path(name), line: line,
            reason: "\(what): \(violation.text)",
            hint: "a half-written or damaged PEM file is not used")
    }

    private func requireStrength(
        _ text: CertificateText, _ outlines: [CertificateOutline], _ name: String
    ) throws(CertificateProblem) {
        for (index, outline) in outlines.enumerated() {
            let part = text.certificates[index]
            let bytes = part.bytes
            if let bits = outline.modulusBits(bytes.span), bits < Self.modulusBitsMin {
                throw CertificateProblem(
                    .weak, file: path(name), line: part.line,
                    reason: "certificate \(index + 1): an RSA key of \(bits) bits",
                    hint: "clients refuse fewer than 2048 bits; P-256 is faster and stronger")
            }
            // Nobody looks at the signature of a root.
            guard let digest = outline.brokenDigest,
                !bytes[outline.issuer].elementsEqual(bytes[outline.subject])
            else { continue }
            throw CertificateProblem(
                .weak, file: path(name), line: part.line,
                reason: "certificate \(index + 1): signed with \(digest.rawValue)",
                hint: "clients refuse it; have it issued anew with SHA-256")
        }
    }

    // MARK: - Keys

    private struct Pair {
        /// The index of the certificate that the key is for.
        let leaf: Int
        let key: [UInt8]
        let form: PrivateKeyOutline.Form
    }

    private func pair(
        _ keys: CertificateText, _ keyName: String, _ main: CertificateText,
        _ outlines: [CertificateOutline], _ drop: CertificateDrop
    ) throws(CertificateProblem) -> Pair {
        var usable: [(bytes: [UInt8], form: PrivateKeyOutline.Form)] = []
        for (part, form) in keys.keys {
            let key: PrivateKeyOutline
            do throws(X509Violation) {
                key = try PrivateKeyOutline(part.bytes.span, form: form)
            } catch {
                throw noKey(.damaged, keyName, part.line, error.text, drop)
            }
            usable.append((part.bytes, form))
            for (index, outline) in outlines.enumerated() {
                let bytes = main.certificates[index].bytes
                if key.isPair(part.bytes.span, with: outline, bytes.span) {
                    return Pair(leaf: index, key: part.bytes, form: form)
                }
            }
        }
        // The key does not say its public half, or not in the same form: OpenSSL can tell.
        let checker = CertificateChecker()
        for (bytes, form) in usable {
            for index in outlines.indices
            where checker.isPair(main.certificates[index].bytes, bytes) {
                return Pair(leaf: index, key: bytes, form: form)
            }
        }
        if let line = keys.encryptedKeyLine, usable.isEmpty {
            throw noKey(.encryptedKey, keyName, line, X509Violation.encrypted.text, drop)
        }
        guard !usable.isEmpty else {
            throw noKey(.noKey, keyName, nil, "there is none", drop)
        }
        throw CertificateProblem(
            .mismatch, file: path(keyName),
            reason: "the key belongs to none of the certificates in \(path(drop.name))",
            hint: "certificate and key must be a pair")
    }

    private func noKey(
        _ cause: CertificateProblem.Cause, _ name: String, _ line: Int?, _ reason: String,
        _ drop: CertificateDrop
    ) -> CertificateProblem {
        let hint: String
        switch cause {
        case .encryptedKey:
            hint = "nobody is there to type a password: openssl pkey -in KEY -out PLAIN"
        default:
            hint =
                name == drop.name
                ? "a .pem file holds certificate, chain and unencrypted key; else use .crt and .key"
                : "an unencrypted PEM key is expected"
        }
        return CertificateProblem(
            cause, file: path(name), line: line, reason: "no usable private key: \(reason)",
            hint: hint)
    }

    // MARK: - Files

    private func text(
        _ name: String, isKey: Bool = false
    ) throws(CertificateProblem) -> (CertificateText, mode: mode_t) {
        let (bytes, mode) = try load(name, isKey: isKey)
        do throws(CertificateText.Damage) {
            return (try CertificateText(bytes.span), mode)
        } catch {
            throw damaged(name, error.line, error.what, error.violation)
        }
    }

    private func requirePrivate(_ name: String, _ mode: mode_t) throws(CertificateProblem) {
        guard mode & 0o007 != 0 else { return }
        throw CertificateProblem(
            .mode, file: path(name),
            reason: "a private key that everybody may read (mode "
                + "0\(String(mode & 0o777, radix: 8)))",
            hint: "chmod 0640 \(path(name))")
    }

    private func load(
        _ name: String, isKey: Bool
    ) throws(CertificateProblem) -> (bytes: [UInt8], mode: mode_t) {
        let path = path(name)
        // Not blocking: a FIFO in place of a file must not stop the thread.
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            let code = errno
            let reason = String(cString: strerror(code))
            throw CertificateProblem(
                isKey && code == ENOENT ? .noKey : .unreadable, file: path,
                reason: "cannot be read: \(reason)",
                hint: code == ENOENT
                    ? isKey ? "certificate and key come as a pair" : "a link leads to nothing"
                    : "the proxy's user needs to: chgrp edged \(path); chmod 0640 \(path)")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= Self.fileBytesMax
        else {
            throw CertificateProblem(
                .unreadable, file: path, reason: "not a regular file of at most 1 MiB",
                hint: "PEM files are a few KiB")
        }
        let size = Int(status.st_size)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { bytes, filled in
            while filled < size {
                // Not empty, so there is a base address: filled < size.
                let count = Glibc.read(file, bytes.baseAddress! + filled, size - filled)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { break }
                filled += count
            }
        }
        return (bytes, status.st_mode)
    }
}
