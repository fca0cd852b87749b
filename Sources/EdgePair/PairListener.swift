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

    private static let retry = Duration.seconds(2)
    private static let acceptsMax = 8

    /// - Parameter accepted: takes over the socket, non-blocking.
    init(
        loop: PollLoop, address: SocketAddress, peer: SocketAddress,
        accepted: @escaping (Int32) -> Void
    ) {
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
            for socket in made.sockets {
                try loop.watch(socket, events: .readable) { [weak self] _ in
                    self?.acceptAll(socket)
                }
            }
            group = made
            problem = nil
        } catch {
            let text = "\(error)"
            if problem != text { Log.warning("pair: \(text)") }
            problem = text
            timer = loop.schedule(after: Self.retry) { [weak self] in self?.listen() }
        }
    }

    private func acceptAll(_ listener: Int32) {
        for _ in 0..<Self.acceptsMax {
            var storage = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let socket = ce_accept4(
                listener, &storage, &size,
                Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
            guard socket >= 0 else { return }
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
