import CEdge
import Glibc

extension ConfigurationBundle {
    private static let seals =
        CE_SEAL_SEAL | CE_SEAL_SHRINK | CE_SEAL_GROW | CE_SEAL_WRITE

    /// A memfd with the encoded bundle that nobody can change any more; the caller closes it.
    package func sealed() throws(ConfigError) -> Int32 {
        let descriptor = ce_memfd_create("edged-config", CE_MFD_CLOEXEC | CE_MFD_ALLOW_SEALING)
        guard descriptor >= 0 else { throw Self.systemError("memfd_create") }
        do throws(ConfigError) {
            try Self.write(encode(), to: descriptor)
            guard fcntl(descriptor, CE_F_ADD_SEALS, Self.seals) == 0 else {
                throw Self.systemError("sealing")
            }
        } catch {
            _ = close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Reads a sealed descriptor from its beginning, whatever its offset; it stays open.
    ///
    /// - Throws: also if the descriptor is not sealed: its bytes could change after the check.
    package init(descriptor: Int32) throws(ConfigError) {
        let found = fcntl(descriptor, CE_F_GET_SEALS, 0)
        guard found >= 0, found & Self.seals == Self.seals else {
            throw Self.error("the configuration's descriptor is not sealed")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.systemError("fstat") }
        let count = Int(status.st_size)
        guard (0...Self.encodedBytesMax).contains(count) else {
            throw Self.error("the configuration bundle is too large")
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        defer { buffer.deallocate() }
        var offset = 0
        while offset < count {
            // Not empty, so there is a base address: offset < count.
            let moved = pread(
                descriptor, buffer.baseAddress! + offset, count - offset, off_t(offset))
            if moved < 0, errno == EINTR { continue }
            guard moved > 0 else { throw Self.systemError("pread") }
            offset += moved
        }
        try self.init(decoding: UnsafeRawBufferPointer(buffer))
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(ConfigError) {
        var offset = 0
        while offset < bytes.count {
            let moved = bytes.withUnsafeBytes {
                // Not empty, so there is a base address: offset < count.
                Glibc.write(descriptor, $0.baseAddress! + offset, $0.count - offset)
            }
            if moved < 0, errno == EINTR { continue }
            guard moved > 0 else { throw systemError("writing the configuration bundle") }
            offset += moved
        }
    }

    private static func systemError(_ what: String) -> ConfigError {
        error("\(what) failed: \(String(cString: strerror(errno)))")
    }
}
