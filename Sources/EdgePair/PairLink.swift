package import EdgeCore
package import EdgeSystem
package import EdgeTLS
internal import Glibc

/// The link to the other node: the machine joined to sockets, TLS and time on the control thread's
/// loop. Nothing waits for it: messages go out when there is a link, and what the peer should know
/// is sent anew when there is one again.
package final class PairLink {
    package struct Settings: Sendable, Equatable {
        /// Where this node listens, or connects from.
        package var own: SocketAddress
        /// Where the other node listens, or connects from.
        package var peer: SocketAddress
        package var name: String
        package var software: String
        package var timing: PairTiming

        package init(
            own: SocketAddress, peer: SocketAddress, name: String, software: String,
            timing: PairTiming = PairTiming()
        ) {
            self.own = own
            self.peer = peer
            self.name = name
            self.software = software
            self.timing = timing
        }
    }

    /// Called on the loop's thread; not within `init`, `send` and `close`.
    package struct Handlers {
        /// There is a link: what the peer should know is sent now.
        package var opened: (PairHello) -> Void
        package var closed: (PairLoss) -> Void
        package var received: (PairMessage) -> Void

        package init(
            opened: @escaping (PairHello) -> Void, closed: @escaping (PairLoss) -> Void,
            received: @escaping (PairMessage) -> Void
        ) {
            self.opened = opened
            self.closed = closed
            self.received = received
        }
    }

    package let settings: Settings
    package let identity: PinnedIdentity
    package private(set) var machine: PairMachine
    private let loop: PollLoop
    private let tls: PinnedTLS
    private let handlers: Handlers
    private var connections: [Int: PairConnection] = [:]
    private var lastConnection = 0
    private var listener: PairListener?
    private var timer: TimerID?
    private var isClosed = false
    /// Of a listener that is closed.
    private var strangersBefore = 0
    private var lastFailure: String?
    /// Connections that did not get to the end of the handshake.
    package private(set) var failedHandshakes = 0

    /// Accepted connections whose handshake is not done; the oldest leaves.
    private static let halfOpenMax = 4

    /// Begins at once: connects, or listens.
    ///
    /// - Parameter seed: of the jitter and of what tells this process from the next.
    /// - Throws: if OpenSSL can't use the certificate.
    package init(
        _ settings: Settings, identity: PinnedIdentity, loop: PollLoop, seed: UInt64,
        handlers: Handlers
    ) throws(TLSFailure) {
        self.settings = settings
        self.identity = identity
        self.loop = loop
        self.handlers = handlers
        tls = try PinnedTLS(identity)
        machine = PairMachine(
            ends: PairMachine.Ends(
                node: identity.own.number, peer: identity.peer.number, boot: seed,
                name: settings.name, software: settings.software),
            timing: settings.timing, now: .now(), seed: seed)
        if !machine.connects {
            listener = PairListener(loop: loop, address: settings.own, peer: settings.peer) {
                [weak self] in self?.accepted($0)
            }
        }
        perform(machine.start(now: .now()))
    }

    deinit { tearDown() }

    // MARK: - Use

    package var isOpen: Bool { machine.open != nil }

    /// Bytes that the other node has not taken yet.
    package var unsent: Int { machine.open.flatMap { connections[$0]?.held.unsent } ?? 0 }

    /// - Returns: false if there is no link.
    @discardableResult
    package func send(_ message: PairMessage) -> Bool {
        guard isOpen else { return false }
        perform(machine.send(message))
        return true
    }

    /// Says farewell, and lets go of everything; no handler is called any more.
    package func close(_ reason: PairFarewell = .stopping) {
        guard !isClosed else { return }
        perform(machine.stop(reason, now: .now()))
        tearDown()
    }

    private func tearDown() {
        isClosed = true
        if let timer { loop.cancel(timer) }
        timer = nil
        strangersBefore = strangers
        listener?.close()
        listener = nil
        for connection in connections.values { connection.close() }
        connections = [:]
    }

    // MARK: - What is known

    /// Where it listens, with the kernel's port if 0 was asked for; nil: it connects, or cannot.
    package var boundAddress: SocketAddress? { listener?.boundAddress }

    /// Why there is no link, as a sentence; nil: there is one, or nothing has failed yet.
    package var problem: String? {
        guard !isOpen else { return nil }
        return listener?.problem ?? lastFailure ?? machine.lastLoss?.description
    }

    /// Connections that were closed because they came from elsewhere.
    package var strangers: Int { strangersBefore + (listener?.strangers ?? 0) }

    /// Connections whose handshake is under way.
    package var halfOpen: Int {
        connections.values.reduce(0) { $0 + ($1.phase == .handshaking ? 1 : 0) }
    }

    // MARK: - Connections

    private func accepted(_ socket: Int32) {
        let half = connections.filter { $0.value.phase == .handshaking }
        if half.count >= Self.halfOpenMax, let oldest = half.min(by: { $0.key < $1.key }) {
            failedHandshakes += 1
            oldest.value.close()
            connections[oldest.key] = nil
        }
        let (number, connection) = makeConnection()
        do throws(SystemError) {
            try connection.accept(socket)
        } catch {
            connections[number] = nil
            Log.error("pair: \(error)")
        }
    }

    private func connect() {
        let (number, connection) = makeConnection()
        do throws(SystemError) {
            try connection.connect(from: settings.own, to: settings.peer)
        } catch {
            connections[number] = nil
            // Not at once: this may be within an action of the machine's.
            let words = "\(error)"
            loop.schedule(at: loop.now) { [weak self] in self?.failed(words) }
        }
    }

    private func failed(_ reason: String) {
        failedHandshakes += 1
        say(reason)
        perform(machine.connectFailed(reason, now: .now()))
    }

    private func makeConnection() -> (Int, PairConnection) {
        lastConnection += 1
        let number = lastConnection
        let connection = PairConnection(
            loop: loop, tls: tls,
            handlers: .init(
                secured: { [weak self] in
                    guard let self else { return }
                    perform(machine.connected(number, now: .now(), wall: WallClock.now()))
                },
                received: { [weak self] item in
                    guard let self else { return }
                    perform(
                        machine.received(number, item, now: .now(), wall: WallClock.now()))
                },
                violated: { [weak self] violation in
                    guard let self else { return }
                    perform(machine.violated(number, violation, now: .now()))
                },
                ended: { [weak self] in self?.ended(number, $0) }))
        connections[number] = connection
        return (number, connection)
    }

    private func ended(_ number: Int, _ reason: String) {
        connections[number] = nil
        if machine.knows(number) {
            perform(machine.lost(number, reason, now: .now()))
        } else if machine.connects {
            failed(reason)
        } else {
            failedHandshakes += 1
            say(reason)
        }
    }

    /// A reason that stays is said once.
    private func say(_ reason: String) {
        guard lastFailure != reason else { return }
        lastFailure = reason
        Log.warning("pair: no link", ["peer": "\(settings.peer)", "reason": reason])
    }

    // MARK: - The machine's wishes

    private func perform(_ actions: [PairMachine.Action]) {
        for action in actions {
            switch action {
            case .connect: connect()
            case .send(let link, let message): connections[link]?.send(message)
            case .close(let link): connections.removeValue(forKey: link)?.close()
            case .opened(let hello):
                lastFailure = nil
                if !isClosed { handlers.opened(hello) }
            case .closed(let loss): if !isClosed, loss != .stopped { handlers.closed(loss) }
            case .deliver(let message): if !isClosed { handlers.received(message) }
            }
        }
        schedule()
    }

    private func schedule() {
        if let timer { loop.cancel(timer) }
        timer = nil
        let due = machine.nextDue
        guard due != .never, !isClosed else { return }
        timer = loop.schedule(at: due) { [weak self] in
            guard let self else { return }
            timer = nil
            perform(machine.advance(now: .now(), wall: WallClock.now()))
        }
    }
}
