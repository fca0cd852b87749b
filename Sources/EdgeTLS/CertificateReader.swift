internal import EdgeX509
internal import Glibc

/// Makes entries from the files of one folder: reads, decodes and outlines, with buffers that are
/// used again for each file.
struct CertificateReader {
    private let folder: String
    private let descriptor: Int32
    private let now: Int64
    private var chains: ChainTable
    private var text: [UInt8] = []
    private var keyText: [UInt8] = []
    private var keyBytes: [UInt8] = []
    private var chainBytes: [UInt8] = []

    private static let fileBytesMax = 1 << 20
    private static let certificatesMax = 16

    /// - Parameter descriptor: the folder, open as long as the reader is used.
    init(folder: String, descriptor: Int32, chains: ChainTable, now: Int64) {
        self.now = now
        self.folder = folder
        self.descriptor = descriptor
        self.chains = chains
    }

    /// Whether the entry's files are what they were when they were read.
    func isUnchanged(_ entry: CertificateEntry, _ file: CertificateFile) -> Bool {
        guard file.isSettled, entry.folder == folder,
            FileStamp(entry.name, in: descriptor) == file.stamp
        else { return false }
        guard let keyStamp = file.keyStamp else { return true }
        return FileStamp(Self.keyName(entry.name), in: descriptor) == keyStamp
    }

    private static func keyName(_ name: String) -> String { String(name.dropLast(4)) + ".key" }

    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// - Throws: what is wrong with the file or its key.
    mutating func read(
        _ name: String
    ) throws(CertificateProblem) -> (CertificateEntry, CertificateFile) {
        let isPair = name.hasSuffix(".crt")
        let keyName = isPair ? Self.keyName(name) : name
        let stamp = try load(name, isSecret: !isPair, into: \.text)
        var keyStamp: FileStamp?
        if isPair { keyStamp = try load(keyName, isSecret: true, into: \.keyText) }
        let keyOutline = try findKey(in: isPair ? keyText : text, keyName, isPair: isPair)
        let certificates = try findCertificates(path(name))
        guard let (index, leaf) = try pair(keyOutline, certificates, path(name)) else {
            throw CertificateProblem(
                file: path(keyName),
                reason: "the key belongs to none of the certificates in \(path(name))",
                hint: "certificate and key must be a pair")
        }
        var block: [UInt8] = []
        block.reserveCapacity(leaf.byteCount + keyBytes.count)
        block += certificates[index].prefix(leaf.byteCount)
        block += keyBytes
        let entry = CertificateEntry(
            folder: folder, name: name, key: Self.kind(leaf.algorithm), outline: leaf,
            bytes: block, keyForm: keyOutline.form, chain: chain(certificates, without: index))
        var hasName = false
        entry.forEachName { _ in hasName = true }
        guard hasName else {
            throw CertificateProblem(
                file: path(name), reason: "the certificate has no DNS name",
                hint: "clients only look at the subject alternative name")
        }
        let isSettled = stamp.isSettled(at: now) && keyStamp?.isSettled(at: now) ?? true
        return (entry, CertificateFile(stamp: stamp, keyStamp: keyStamp, isSettled: isSettled))
    }

    private static func kind(_ algorithm: KeyAlgorithm) -> CertificateEntry.KeyKind {
        switch algorithm {
        case .ecdsa: .ecdsa
        case .rsa: .rsa
        case .ed25519: .ed25519
        case .other: .other
        }
    }

    // MARK: - Blocks

    /// Decodes the first private key of the text into `keyBytes`.
    private mutating func findKey(
        in text: [UInt8], _ name: String, isPair: Bool
    ) throws(CertificateProblem) -> PrivateKeyOutline {
        var reader = PEMReader()
        let span = text.span
        var reason = "there is none"
        do throws(X509Violation) {
            search: while let block = try reader.next(span) {
                switch block.kind(span) {
                case .certificate, .other: continue
                case .encryptedKey: throw .encrypted
                case .privateKey(let form):
                    keyBytes.removeAll(keepingCapacity: true)
                    try block.decode(span, into: &keyBytes)
                    return try PrivateKeyOutline(keyBytes.span, form: form)
                }
            }
        } catch {
            reason = error.text
        }
        throw CertificateProblem(
            file: path(name), reason: "no usable private key: \(reason)",
            hint: isPair
                ? "an unencrypted PEM key is expected"
                : "a .pem file holds certificate, chain and unencrypted key; else use .crt and .key"
        )
    }

    /// The DER of every certificate in `text`.
    private func findCertificates(_ path: String) throws(CertificateProblem) -> [[UInt8]] {
        var reader = PEMReader()
        let span = text.span
        var found: [[UInt8]] = []
        do throws(X509Violation) {
            while found.count < Self.certificatesMax, let block = try reader.next(span) {
                guard block.kind(span) == .certificate else { continue }
                var bytes: [UInt8] = []
                try block.decode(span, into: &bytes)
                found.append(bytes)
            }
        } catch {
            throw damaged(path, found.count, error)
        }
        guard !found.isEmpty else {
            throw CertificateProblem(
                file: path, reason: "no certificate in this file",
                hint: "a half-written or damaged PEM file is not used")
        }
        return found
    }

    private func damaged(
        _ path: String, _ index: Int, _ violation: X509Violation
    ) -> CertificateProblem {
        CertificateProblem(
            file: path, reason: "certificate \(index + 1): \(violation.text)",
            hint: "a half-written or damaged PEM file is not used")
    }

    // MARK: - Which of them

    /// The certificate that the key is for. All are outlined, so that none is sent that is damaged.
    private func pair(
        _ key: PrivateKeyOutline, _ certificates: [[UInt8]], _ file: String
    ) throws(CertificateProblem) -> (Int, CertificateOutline)? {
        var outlines: [CertificateOutline] = []
        for (index, bytes) in certificates.enumerated() {
            do throws(X509Violation) {
                outlines.append(try CertificateOutline(bytes.span))
            } catch {
                throw damaged(file, index, error)
            }
        }
        for (index, outline) in outlines.enumerated() {
            let bytes = certificates[index]
            if key.isPair(keyBytes.span, with: outline, bytes.span) { return (index, outline) }
        }
        // The key does not say its public half, or not in the same form: OpenSSL can tell.
        let checker = CertificateChecker()
        for (index, outline) in outlines.enumerated()
        where checker.isPair(certificates[index], keyBytes) {
            return (index, outline)
        }
        return nil
    }

    private mutating func chain(
        _ certificates: [[UInt8]], without leaf: Int
    ) -> CertificateChain {
        chainBytes.removeAll(keepingCapacity: true)
        var ends: [Int] = []
        for (index, bytes) in certificates.enumerated() where index != leaf {
            chainBytes += bytes
            ends.append(chainBytes.count)
        }
        return chains.chain(chainBytes, ends: ends)
    }

    // MARK: - Files

    private mutating func load(
        _ name: String, isSecret: Bool, into buffer: WritableKeyPath<Self, [UInt8]>
    ) throws(CertificateProblem) -> FileStamp {
        let path = path(name)
        // Not blocking: a FIFO in place of a file must not stop the control thread.
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            let reason = String(cString: strerror(errno))
            throw CertificateProblem(
                file: path, reason: "cannot be read: \(reason)",
                hint: "the proxy's user needs to: chgrp edged \(path); chmod 0640 \(path)")
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= Self.fileBytesMax
        else {
            throw CertificateProblem(
                file: path, reason: "not a regular file of at most 1 MiB",
                hint: "PEM files are a few KiB")
        }
        if isSecret, status.st_mode & 0o007 != 0 {
            throw CertificateProblem(
                file: path,
                reason: "a private key that everybody may read (mode "
                    + "0\(String(status.st_mode & 0o777, radix: 8)))",
                hint: "chmod 0640 \(path)")
        }
        let size = Int(status.st_size)
        self[keyPath: buffer] = [UInt8](unsafeUninitializedCapacity: size) { bytes, filled in
            while filled < size {
                // Not empty, so there is a base address: filled < size.
                let count = Glibc.read(file, bytes.baseAddress! + filled, size - filled)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { break }
                filled += count
            }
        }
        return FileStamp(status)
    }
}
