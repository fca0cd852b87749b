internal import Glibc

/// Looks at files that are read later, for what would go wrong then.
enum SecretFile {
    private static let bytesMax = 64 << 10

    /// - Returns: what is wrong with it, with the way out; nil: it can be used.
    static func problem(_ path: String) -> String? {
        // Not blocking: a FIFO in place of a file must not stop the daemon.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            return "\(path): cannot be read: \(reason) (the proxy's user needs to)"
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            (1...bytesMax).contains(Int(status.st_size))
        else { return "\(path): not a file of 1 byte to 64 KiB" }
        guard status.st_mode & 0o007 == 0 else {
            let mode = String(status.st_mode & 0o777, radix: 8)
            return "\(path): a token that everybody may read (mode 0\(mode)) (chmod 0640 \(path))"
        }
        return nil
    }
}
