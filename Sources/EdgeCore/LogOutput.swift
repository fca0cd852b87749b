internal import Glibc

/// Standard error for lines that must never wait: a reader that has stopped would stop whoever
/// logs. What has no room is lost and counted.
///
/// Its own flags stay as they are, for they are shared with whoever started us: a pipe is opened
/// anew, a socket (the journal's) is asked per call, and of anything else room is asked for first.
struct LogOutput {
    private enum Way {
        case socket
        /// An open file of our own, or one that never waits.
        case plain
        /// Asked for room first.
        case asked
    }

    private let descriptor: Int32
    private let way: Way
    /// Lines that were lost, and not told of yet.
    private(set) var lostCount = 0

    /// Where descriptors of ours begin: those below are handed over by number.
    private static let lowestOwn: Int32 = 10
    /// MSG_DONTWAIT | MSG_NOSIGNAL
    private static let sendFlags: Int32 = 0x4040

    init(_ descriptor: Int32) {
        var status = stat()
        let kind = fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0
        switch kind {
        case S_IFSOCK: (self.descriptor, way) = (descriptor, .socket)
        case S_IFREG: (self.descriptor, way) = (descriptor, .plain)
        case S_IFIFO:
            if let own = Self.openAnew(descriptor) {
                (self.descriptor, way) = (own, .plain)
            } else {
                (self.descriptor, way) = (descriptor, .asked)
            }
        default: (self.descriptor, way) = (descriptor, .asked)
        }
    }

    /// Needs the rights of whoever made the pipe.
    private static func openAnew(_ descriptor: Int32) -> Int32? {
        let flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY
        let opened = open("/proc/self/fd/\(descriptor)", flags)
        guard opened >= 0 else { return nil }
        defer { close(opened) }
        let own = fcntl(opened, F_DUPFD_CLOEXEC, lowestOwn)
        return own >= 0 ? own : nil
    }

    /// Writes a line, or loses it.
    mutating func write(_ line: String) {
        var bytes = ContiguousArray(line.utf8)
        if bytes.withUnsafeMutableBytes({ put($0) }) {
            let lost = lostCount
            guard lost > 0 else { return }
            lostCount = 0
            write("… \(lost) lines before this one were lost: nobody took them\n")
        } else {
            lostCount += 1
        }
    }

    private func put(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        switch way {
        case .socket:
            return send(descriptor, bytes.baseAddress, bytes.count, Self.sendFlags) == bytes.count
        case .plain: return Glibc.write(descriptor, bytes.baseAddress, bytes.count) == bytes.count
        case .asked:
            var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&entry, 1, 0) > 0, entry.revents & Int16(POLLOUT) != 0 else { return false }
            return Glibc.write(descriptor, bytes.baseAddress, bytes.count) == bytes.count
        }
    }
}
