internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// Where the node with the higher number awaits the other: on its own address, for the peer's
/// address alone. Whoever else connects is closed and counted. The address may come later than
/// we do: it is tried again.
final class PairListener {
    private let loop: PollLoop
    private let address: SocketAddress
    private let peer: SocketAddress
    private let accepted: (Int32) -> Void
    private var group: ListenerGroup?
    private var timer: TimerID?
    /// Closed because they came from elsewhere.
    private(set) var strangers = 0
    /// Why nothing can connect; nil: it can.
    private(set) var problem: String?
    private var saidStranger = false
    private let accept: Accept

    /// accept4(2) of a listening socket: the new one, or -1 and errno.
    typealias Accept = (
        Int32, UnsafeMutablePointer<sockaddr_storage>, UnsafeMutablePointer<socklen_t>
    ) -> Int32

    private static let retry = Duration.seconds(2)
    /// Without descriptors or memory it rests this long.
    private static let pause = Duration.milliseconds(100)
    private static let acceptsMax = 8

    /// - Parameter accepted: takes over the socket, non-blocking.
    init(
        loop: PollLoop, address: SocketAddress, peer: SocketAddress,
        accept: @escaping Accept = {
            ce_accept4($0, $1, $2, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
        }, accepted: @escaping (Int32) -> Void
    ) {
        self.accept = accept
        self.loop = loop
        self.address = address
        self.peer = peer
        self.accepted = accepted
        listen()
    }

    deinit { close() }

    func close() {
        if let timer { loop.cancel(timer) }
        timer = nil
        for socket in group?.sockets ?? [] { loop.unwatch(socket) }
        group = nil
    }

    /// With the port that the kernel gave, if it was to choose.
    var boundAddress: SocketAddress? { group?.address }

    private func listen() {
        timer = nil
        do throws(SystemError) {
            let made = try ListenerGroup(address: address, count: 1)
            try made.listen()
            try watch(made)
            group = made
            problem = nil
        } catch {
            say(error)
            timer = loop.schedule(after: Self.retry) { [weak self] in self?.listen() }
        }
    }

    private func watch(_ group: ListenerGroup) throws(SystemError) {
        for socket in group.sockets {
            try loop.watch(socket, events: .readable) { [weak self] _ in self?.acceptAll(socket) }
        }
    }

    private func say(_ error: SystemError) {
        let text = "\(error)"
        if problem != text { Log.warning("pair: \(text)") }
        problem = text
    }

    /// Out of descriptors or memory: a level-triggered listener would spin.
    private func rest(_ error: SystemError) {
        guard let group else { return }
        say(error)
        for socket in group.sockets { loop.unwatch(socket) }
        if let timer { loop.cancel(timer) }
        timer = loop.schedule(after: Self.pause) { [weak self] in
            guard let self, let group = self.group else { return }
            timer = nil
            do throws(SystemError) {
                try watch(group)
            } catch {
                rest(error)
            }
        }
    }

    private func acceptAll(_ listener: Int32) {
        for _ in 0..<Self.acceptsMax {
            var storage = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let socket = accept(listener, &storage, &size)
            guard socket >= 0 else {
                switch errno {
                case EAGAIN: return
                case EINTR, ECONNABORTED, EPROTO: continue
                default: return rest(SystemError(errnoOf: "accept4"))
                }
            }
            problem = nil
            let source = SocketAddress(kernel: &storage, byteCount: Int(size))
            guard let source, source.with(port: 0) == peer.with(port: 0) else {
                strangers += 1
                Glibc.close(socket)
                if !saidStranger {
                    saidStranger = true
                    Log.warning(
                        "pair: a connection from elsewhere is closed",
                        ["from": source.map { "\($0)" } ?? "?", "peer": peer.addressText])
                }
                continue
            }
            accepted(socket)
        }
    }
}
