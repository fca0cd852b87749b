internal import EdgeCore
internal import Glibc

/// One blocking connection to a Unix socket with a deadline for all it does. The descriptor is
/// non-blocking and every wait is a poll(2) with what is left.
final class ControlSocket {
    let descriptor: Int32
    private let deadline: Instant

    init(path: String, deadline: Instant) throws(ControlFailure) {
        self.deadline = deadline
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard !path.isEmpty, path.utf8.count < room else {
            throw .unreachable("'\(path)' is not usable as a socket path")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw .unreachable("socket: \(errorText(errno))") }
        try connect(to: address, path: path)
    }

    private func connect(to address: sockaddr_un, path: String) throws(ControlFailure) {
        var address = address
        while true {
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if result == 0 { return }
            switch errno {
            case EINTR: continue
            case EAGAIN:  // The backlog is full: Unix sockets have no connect in progress.
                guard Instant.now() < deadline else { throw .unreachable("the backlog is full") }
                usleep(10_000)
            default: throw .unreachable("\(path): \(errorText(errno))")
            }
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func send(_ bytes: [UInt8]) throws(ControlFailure) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + offset, bytes.count - offset,
                    Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                offset += count
            } else if errno == EAGAIN {
                try wait(for: Int16(POLLOUT))
            } else if errno != EINTR {
                throw .unreachable("send: \(errorText(errno))")
            }
        }
    }

    /// The next bytes; empty at the end of the stream.
    func receive() throws(ControlFailure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress!, $0.count, 0)
            }
            if count >= 0 { return Array(buffer[..<count]) }
            if errno == EAGAIN {
                try wait(for: Int16(POLLIN))
            } else if errno != EINTR {
                throw .unreachable("receive: \(errorText(errno))")
            }
        }
    }

    private func wait(for events: Int16) throws(ControlFailure) {
        let left = deadline.nanoseconds(since: .now())
        guard left > 0 else { throw .unreachable("no answer in time") }
        var item = pollfd(fd: descriptor, events: events, revents: 0)
        _ = poll(&item, 1, Int32(clamping: left / 1_000_000 + 1))
    }
}

func errorText(_ code: Int32) -> String {
    guard let text = strerror(code) else { return "error \(code)" }
    return String(cString: text)
}
