internal import EdgeCore
package import EdgeSystem
internal import Glibc

/// The admin server: HTTP/1.1 on the control thread, for people and `edgectl` over a Unix socket
/// and, read-only, for Prometheus and probes over loopback TCP. At most `connectionsMax` at once;
/// one more is told 503.
package final class ControlServer {
    package static let connectionsMax = 32
    /// For each of: a request to come, an answer to be taken, the next request.
    package static let stageDeadline: Duration = .seconds(5)
    /// Without descriptors the listeners rest this long.
    private static let acceptPause: Duration = .seconds(1)
    private static let acceptsPerTurnMax = 16

    private enum Listener { case unixSocket, tcp, probe }

    private let loop: PollLoop
    /// Owned by whoever owns the server; asked only while it is there.
    private weak var target: (any ControlTarget)?
    private let stageDeadline: Duration
    private var listeners: [Int32: Listener] = [:]
    private var connections: [UInt64: ControlConnection] = [:]
    private var nextID: UInt64 = 0
    private var pause: TimerID?

    package init(
        loop: PollLoop, target: any ControlTarget,
        stageDeadline: Duration = ControlServer.stageDeadline
    ) {
        self.loop = loop
        self.target = target
        self.stageDeadline = stageDeadline
    }

    deinit { close() }

    // MARK: - Verbs

    /// Serves these listening sockets, which stay the caller's to close (after `close()` or
    /// another `listen`), and no other.
    ///
    /// - Parameters:
    ///   - unixSockets: everything, with peer credentials.
    ///   - tcpSockets: `/metrics`, `/livez` and `/readyz` only.
    ///   - probeSockets: `/livez` and `/readyz` only.
    package func listen(
        unixSockets: [Int32], tcpSockets: [Int32], probeSockets: [Int32] = []
    ) throws(SystemError) {
        stopListening()
        for descriptor in unixSockets { listeners[descriptor] = .unixSocket }
        for descriptor in tcpSockets { listeners[descriptor] = .tcp }
        for descriptor in probeSockets { listeners[descriptor] = .probe }
        for descriptor in listeners.keys { try Descriptor.setNonBlocking(descriptor) }
        try watchListeners()
    }

    /// Stops listening and closes every connection, answered or not.
    package func close() {
        stopListening()
        for connection in connections.values { connection.close() }
        connections = [:]
    }

    /// Open connections.
    package var connectionCount: Int { connections.count }

    /// Takes no more connections; those there are go on.
    package func stopListening() {
        if let pause { loop.cancel(pause) }
        pause = nil
        for descriptor in listeners.keys { loop.unwatch(descriptor) }
        listeners = [:]
    }

    private func watchListeners() throws(SystemError) {
        for (descriptor, kind) in listeners {
            try loop.watch(descriptor, events: .readable) { [weak self] _ in
                self?.acceptAll(descriptor, kind)
            }
        }
    }

    // MARK: - Accepting

    private func acceptAll(_ listener: Int32, _ kind: Listener) {
        for _ in 0..<Self.acceptsPerTurnMax {
            if let connection = UnixSocket.accept(listener) {
                accepted(connection.release(), kind)
                continue
            }
            switch errno {
            case EAGAIN: return
            case EINTR, ECONNABORTED, EPROTO: continue
            default: return rest(SystemError(errnoOf: "accept4"))
            }
        }
    }

    /// Out of descriptors or memory: a level-triggered listener would spin.
    private func rest(_ error: SystemError) {
        Log.warning("admin: \(error)")
        for descriptor in listeners.keys { loop.unwatch(descriptor) }
        if let pause { loop.cancel(pause) }
        pause = loop.schedule(after: Self.acceptPause) { [weak self] in
            guard let self else { return }
            pause = nil
            do throws(SystemError) {
                try watchListeners()
            } catch {
                rest(error)
            }
        }
    }

    private func accepted(_ descriptor: Int32, _ kind: Listener) {
        let origin: ControlRoute.Origin
        switch kind {
        case .tcp: origin = .tcp
        case .probe: origin = .probe
        case .unixSocket:
            guard let peer = PeerCredentials(socket: descriptor) else {
                Log.warning("admin: a connection without credentials")
                Glibc.close(descriptor)
                return
            }
            origin = .unixSocket(peer)
        }
        let isFull = connections.count >= Self.connectionsMax
        // Those that are only told 503 are bounded too.
        guard connections.count < 2 * Self.connectionsMax else {
            Glibc.close(descriptor)
            return
        }
        nextID += 1
        let id = nextID
        let connection = ControlConnection(
            loop: loop, descriptor: descriptor, deadline: stageDeadline,
            answer: { [weak self] request, reply in
                guard let target = self?.target else {
                    return reply(.error(503, "the daemon is stopping"))
                }
                ControlRoute.answer(request, from: origin, target: target, reply: reply)
            },
            didClose: { [weak self] in self?.connections[id] = nil })
        connections[id] = connection
        if isFull {
            connection.refuse(.error(503, "too many admin connections"))
        } else {
            connection.start()
        }
    }
}

extension PeerCredentials {
    /// Of the process that connected; nil if the kernel does not say.
    init?(socket: Int32) {
        guard let peer = try? UnixSocket.peer(socket), peer.processID > 0 else { return nil }
        self.init(pid: peer.processID, uid: peer.userID, gid: peer.groupID)
    }
}
