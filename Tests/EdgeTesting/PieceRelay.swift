internal import CEdge
package import EdgeCore
internal import Foundation

/// Between a client and a server, one connection after the other: what the client sends first goes
/// on in segments of a chosen size, behind bytes that the client knows nothing of. One thread; must
/// be stopped.
package final class PieceRelay: @unchecked Sendable {
    // Sendable: `isStopped` and `isRunning` are guarded by `lock`; the rest is constant.
    package let address: SocketAddress
    private let listener: Int32
    private let target: SocketAddress
    private let options: Options
    private let lock = NSCondition()
    private var isStopped = false
    private var isRunning = true

    package struct Options: Sendable {
        /// Where the server sees the connection come from; nil: the kernel's choice.
        package var source: SocketAddress?
        /// Where both sides are.
        package var namespace: String?
        /// Goes before the client's first bytes, and with them.
        package var preamble: [UInt8] = []
        /// Bytes per segment.
        package var piece = Int.max
        /// After each; the server has read a piece before the next comes.
        package var pause: Duration = .microseconds(100)

        package init() {}
    }

    package init(to target: SocketAddress, _ options: Options) throws {
        self.target = target
        self.options = options
        listener = try TestSocket.listen(on: .loopback(), namespace: options.namespace)
        address = try TestSocket.localAddress(of: listener)
        Thread.detachNewThread { [self] in
            serve()
            lock.lock()
            isRunning = false
            lock.broadcast()
            lock.unlock()
        }
    }

    /// Ends the connection and waits for the thread.
    package func stop() {
        lock.lock()
        isStopped = true
        let deadline = Date(timeIntervalSinceNow: 5)
        while isRunning, lock.wait(until: deadline) {}
        lock.unlock()
    }

    private var isOver: Bool {
        lock.lock()
        defer { lock.unlock() }
        return isStopped
    }

    private func serve() {
        defer { close(listener) }
        while !isOver {
            guard Self.wait(listener, milliseconds: 20) else { continue }
            let client = accept(listener, nil, nil)
            guard client >= 0 else { continue }
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            _ = fcntl(client, F_SETFD, FD_CLOEXEC)
            defer { close(client) }
            guard
                let server = try? TestSocket.startConnect(
                    to: target, from: options.source, namespace: options.namespace)
            else { continue }
            defer { close(server) }
            relay(client, server)
        }
    }

    private func relay(_ client: Int32, _ server: Int32) {
        guard Self.wait(server, milliseconds: 3000, for: Int16(POLLOUT)),
            let first = first(client)
        else { return }
        let bytes = options.preamble + first
        for start in stride(from: 0, to: bytes.count, by: min(options.piece, bytes.count)) {
            let end = min(start + min(options.piece, bytes.count), bytes.count)
            guard Self.send(server, Array(bytes[start..<end])) else { return }
            Thread.sleep(forTimeInterval: options.pause.seconds)
        }
        var isClientOpen = true
        while !isOver {
            var both = [
                pollfd(fd: isClientOpen ? client : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: server, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&both, 2, 20) > 0 else { continue }
            if both[1].revents != 0 {
                guard let bytes = Self.receive(server), Self.send(client, bytes) else { return }
            }
            if both[0].revents != 0 {
                if let bytes = Self.receive(client) {
                    guard Self.send(server, bytes) else { return }
                } else {
                    isClientOpen = false
                    shutdown(server, Int32(SHUT_WR))
                }
            }
        }
    }

    /// What the client says first; nil if it is gone.
    private func first(_ client: Int32) -> [UInt8]? {
        while !isOver {
            if Self.wait(client, milliseconds: 20) { return Self.receive(client) }
        }
        return nil
    }

    private static func wait(
        _ descriptor: Int32, milliseconds: Int32, for events: Int16 = Int16(POLLIN)
    ) -> Bool {
        var one = pollfd(fd: descriptor, events: events, revents: 0)
        return poll(&one, 1, milliseconds) > 0
    }

    /// - Returns: nil at the end.
    private static func receive(_ descriptor: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    private static func send(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                done += count
            } else if errno != EAGAIN || !wait(descriptor, milliseconds: 3000, for: Int16(POLLOUT))
            {
                return false
            }
        }
        return true
    }
}
