internal import CEdge
package import EdgeSystem
internal import Glibc

/// Where lines of the access log go, and the descriptor for it. One thread's at a time.
package struct AccessLogFile: ~Copyable {
    package enum Target: Sendable, Equatable {
        case standardOutput
        case file(String)

        package var name: String {
            switch self {
            case .standardOutput: "standard output"
            case .file(let path): path
            }
        }
    }

    /// What pipes take without blocking once they are writable (PIPE_BUF).
    private static let pieceMax = 4096

    let target: Target
    private var descriptor: FileDescriptor
    /// Not a regular file: may have no room, and is written in pieces.
    private var isStream: Bool
    /// What was written last was cut in the middle of a line.
    private var isCut = false

    /// Opens it for appending, and makes it if there is none.
    package init(_ target: Target) throws(SystemError) {
        self.target = target
        descriptor = try Self.open(target, creates: true)
        isStream = Self.isStream(descriptor.raw)
    }

    /// Whether it could be opened; makes no file.
    package static func check(_ target: Target) throws(SystemError) {
        guard case .file(let path) = target else { return }
        do throws(SystemError) {
            _ = try open(target, creates: false)
        } catch {
            guard error.code == ENOENT else { throw error }
            let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
            guard access(folder, W_OK | X_OK) == 0 else {
                throw SystemError(errnoOf: "access_log: no file can be made in", subject: folder)
            }
        }
    }

    private static func open(_ target: Target, creates: Bool) throws(SystemError) -> FileDescriptor
    {
        let number: Int32
        switch target {
        case .standardOutput: number = fcntl(1, F_DUPFD_CLOEXEC, 3)
        case .file(let path):
            // A named pipe that nobody reads is refused (ENXIO) and not waited for.
            let flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
            number = Glibc.open(path, creates ? flags | O_CREAT : flags, 0o640)
        }
        guard number >= 0 else {
            let hint = errno == ENXIO ? "nobody reads this pipe" : nil
            throw SystemError(errnoOf: "access_log: open", subject: target.name, hint: hint)
        }
        return FileDescriptor(owning: number)
    }

    private static func isStream(_ descriptor: Int32) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) != 0 || status.st_mode & S_IFMT != S_IFREG
    }

    /// Opens the same path anew, for what has been moved away. On failure the old file goes on.
    mutating func reopen() throws(SystemError) {
        guard case .file = target else { return }
        descriptor = try Self.open(target, creates: true)
        isStream = Self.isStream(descriptor.raw)
        isCut = false
    }

    /// Writes whole lines.
    ///
    /// - Parameter mayWait: asked at least once a second while there is no room.
    /// - Returns: how many bytes were written, and errno if that is not all.
    mutating func write(
        _ bytes: UnsafeRawPointer, count: Int, mayWait: () -> Bool
    ) -> (written: Int, error: Int32) {
        if isCut {
            var end: UInt8 = 0x0A
            guard awaitRoom(mayWait) else { return (0, EAGAIN) }
            guard Glibc.write(descriptor.raw, &end, 1) == 1 else { return (0, errno) }
            isCut = false
        }
        var written = 0
        while written < count {
            let piece = isStream ? min(count - written, Self.pieceMax) : count - written
            guard awaitRoom(mayWait) else { return (cut(bytes, written), EAGAIN) }
            let result = Glibc.write(descriptor.raw, bytes + written, piece)
            if result > 0 {
                written += result
            } else if errno != EINTR && errno != EAGAIN {
                let number = result == 0 ? EIO : errno
                return (cut(bytes, written), number)
            }
        }
        return (written, 0)
    }

    /// Remembers whether the last line written is whole.
    private mutating func cut(_ bytes: UnsafeRawPointer, _ written: Int) -> Int {
        isCut =
            written > 0 && bytes.load(fromByteOffset: written - 1, as: UInt8.self) != 0x0A
        return written
    }

    /// Regular files have room until a write says otherwise.
    private func awaitRoom(_ mayWait: () -> Bool) -> Bool {
        guard isStream else { return true }
        while true {
            var entry = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
            // An error counts as room: the write says what it is.
            if poll(&entry, 1, 1_000) > 0 { return true }
            guard mayWait() else { return false }
        }
    }
}
