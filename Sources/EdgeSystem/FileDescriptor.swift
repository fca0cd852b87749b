internal import CEdge
internal import EdgeCore
internal import Glibc

/// One owned descriptor: closed exactly once, when its owner lets go of it.
package struct FileDescriptor: ~Copyable, Sendable {
    /// The number, for calls; do not close it.
    package let raw: Int32

    /// Takes ownership of an open descriptor.
    package init(owning raw: Int32) {
        invariant(raw >= 0, "an owned descriptor is open")
        self.raw = raw
    }

    deinit { Glibc.close(raw) }

    /// Gives ownership away: the caller closes it.
    package consuming func release() -> Int32 {
        let number = raw
        discard self
        return number
    }

    /// A second descriptor for the same open file, close-on-exec.
    package func duplicate() throws(SystemError) -> FileDescriptor {
        let copy = fcntl(raw, F_DUPFD_CLOEXEC, 3)
        guard copy >= 0 else { throw SystemError(errnoOf: "fcntl(F_DUPFD_CLOEXEC)") }
        return FileDescriptor(owning: copy)
    }
}

/// Several owned descriptors, such as came with one message: what is not taken is closed.
package final class OwnedDescriptors {
    private var numbers: [Int32]

    package init(_ numbers: [Int32] = []) { self.numbers = numbers }

    deinit { for number in numbers { Glibc.close(number) } }

    package var count: Int { numbers.count }

    /// The numbers, still owned here.
    package var borrowed: [Int32] { numbers }

    package func append(_ descriptor: consuming FileDescriptor) {
        numbers.append(descriptor.release())
    }

    /// Gives ownership of all to the caller, in order; nothing is left.
    package func take() -> [Int32] {
        defer { numbers = [] }
        return numbers
    }
}

/// Flags of descriptors, and pairs of sockets.
package enum Descriptor {
    package static func setNonBlocking(_ fd: Int32) throws(SystemError) {
        let flags = fcntl(fd, F_GETFL)
        guard flags >= 0, fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 else {
            throw SystemError(errnoOf: "fcntl(F_SETFL)")
        }
    }

    /// Without it (`false`) the descriptor is inherited by a program that is started.
    package static func setCloseOnExec(_ fd: Int32, _ isSet: Bool = true) throws(SystemError) {
        guard fcntl(fd, F_SETFD, isSet ? FD_CLOEXEC : 0) == 0 else {
            throw SystemError(errnoOf: "fcntl(F_SETFD)")
        }
    }

    /// Two connected message sockets, non-blocking and close-on-exec. The caller owns both.
    package static func socketPair() throws(SystemError) -> (Int32, Int32) {
        var pair: [Int32] = [-1, -1]
        let kind =
            Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &pair) == 0 else {
            throw SystemError(errnoOf: "socketpair")
        }
        return (pair[0], pair[1])
    }

    /// Writes everything to a blocking descriptor or a memfd.
    package static func writeAll(_ fd: Int32, _ bytes: [UInt8]) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(fd, $0.baseAddress! + offset, bytes.count - offset)
            }
            if count > 0 {
                offset += count
            } else if errno != EINTR {
                throw SystemError(errnoOf: "write")
            }
        }
    }

    /// Reads a file from its start, at most `byteCountMax` bytes; nil if it is longer than that.
    package static func readAll(
        _ fd: Int32, byteCountMax: Int
    ) throws(SystemError) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 14)
        while bytes.count <= byteCountMax {
            let count = pread(fd, &chunk, chunk.count, bytes.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError(errnoOf: "pread") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        return nil
    }
}

/// Anonymous files in memory.
package enum MemoryFile {
    /// A zero-filled file that may not be resized; two processes map it.
    package static func make(name: String, byteCount: Int) throws(SystemError) -> FileDescriptor {
        let file = try create(name)
        guard ftruncate(file.raw, byteCount) == 0 else { throw SystemError(errnoOf: "ftruncate") }
        try seal(file.raw, CE_SEAL_SHRINK | CE_SEAL_GROW | CE_SEAL_SEAL)
        return file
    }

    /// A file with these bytes that nobody can change any more.
    package static func makeSealed(
        name: String, _ bytes: [UInt8]
    ) throws(SystemError) -> FileDescriptor {
        let file = try create(name)
        try Descriptor.writeAll(file.raw, bytes)
        try seal(file.raw, CE_SEAL_SHRINK | CE_SEAL_GROW | CE_SEAL_WRITE | CE_SEAL_SEAL)
        return file
    }

    /// Whether nobody, its maker included, can change the file.
    package static func isSealed(_ fd: Int32) -> Bool {
        let needed = CE_SEAL_SHRINK | CE_SEAL_GROW | CE_SEAL_WRITE
        let seals = fcntl(fd, CE_F_GET_SEALS)
        return seals >= 0 && seals & needed == needed
    }

    private static func create(_ name: String) throws(SystemError) -> FileDescriptor {
        let fd = ce_memfd_create(name, CE_MFD_CLOEXEC | CE_MFD_ALLOW_SEALING)
        guard fd >= 0 else { throw SystemError(errnoOf: "memfd_create", subject: name) }
        return FileDescriptor(owning: fd)
    }

    private static func seal(_ fd: Int32, _ seals: Int32) throws(SystemError) {
        guard fcntl(fd, CE_F_ADD_SEALS, seals) == 0 else {
            throw SystemError(errnoOf: "fcntl(F_ADD_SEALS)")
        }
    }
}
