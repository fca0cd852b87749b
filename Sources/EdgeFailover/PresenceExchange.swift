internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// Presence on the wire: the machine, its sockets and its timer. One thread, the failover's.
final class PresenceExchange {
    private unowned let driver: FailoverDriver
    private let loop: PollLoop
    private var machine: PresenceMachine?
    private var authenticatedBy: [[UInt8]] = []
    private var sockets: [PresenceSocket] = []
    private var timer: (id: TimerID, due: Instant)?
    private var isSendDue = false
    private var isFrozen = false
    private var told: [Standing] = []
    private var sendFailures: UInt64 = 0
    private var hasFailed = false
    private let bootID: UInt64
    private let firstSequence: UInt64
    private var localTried: [SocketAddress] = []
    /// Sockets could not be opened, and will be tried again.
    private var retryTimer: TimerID?
    /// Sockets that were opened, or could not be.
    private(set) var attempts: UInt64 = 0
    private var isFiltering = false
    /// Datagrams of others than the configured peers: their code was not even computed.
    private var strangers: UInt64 = 0

    /// Datagrams read in a row, and how long the next have to wait then: nobody keeps the thread
    /// busy by sending.
    private static let packetsPerTurn = 8
    private static let floodPause = Duration.milliseconds(1)
    /// How long the kernel then drops what comes from others than the peers, uncounted.
    private static let floodSpan = Duration.seconds(10)

    /// - Parameter handover: the boot that goes on; nil: a new one.
    init(driver: FailoverDriver, _ handover: FailoverHandover.Presence?) {
        self.driver = driver
        loop = driver.loop
        bootID = handover?.bootID ?? Self.randomWord()
        firstSequence = handover?.sequence ?? 1
    }

    deinit {
        if let timer { loop.cancel(timer.id) }
        if let retryTimer { loop.cancel(retryTimer) }
        closeSockets()
    }

    // MARK: - Settings

    /// Begins, goes on or ends as the driver's settings say.
    func apply() {
        let settings = driver.settings
        let configuration = PresenceMachine.Configuration(
            nodeName: settings.nodeName, bootID: bootID,
            programVersion: driver.options.programVersion, peers: settings.presence.peers,
            interval: settings.presenceInterval, timeout: settings.presenceTimeout)
        let secrets = driver.options.secret.map { [$0] + driver.options.acceptedSecrets } ?? []
        let authenticator = PresenceAuthenticator(secrets: secrets)
        if machine?.configuration != configuration {
            machine = PresenceMachine(
                configuration: configuration, authenticator: authenticator,
                seed: Self.randomWord(), sequence: machine?.sequence ?? firstSequence, now: .now())
        } else if authenticatedBy != secrets {
            // Who is believed stays so until its time is over.
            machine?.authenticator = authenticator
        }
        authenticatedBy = secrets
        openSockets()
        sendSoon()
    }

    /// One per family of the peers.
    private func openSockets() {
        let settings = driver.settings.presence
        var wanted: [SocketAddress] = []
        for peer in settings.peers {
            var local = peer.isIPv4 ? SocketAddress(ipv4: 0, port: peer.port) : .anyIPv6(peer.port)
            if let named = settings.local, named.isIPv4 == peer.isIPv4 { local = named }
            if !wanted.contains(where: { $0.isIPv4 == local.isIPv4 }) { wanted.append(local) }
        }
        for socket in sockets where isFiltering { socket.admitOnly(settings.peers) }
        guard wanted != localTried || sockets.count < wanted.count else { return }
        localTried = wanted
        closeSockets()
        for local in wanted {
            attempts += 1
            do throws(SystemError) {
                let socket = try PresenceSocket(local: local)
                try loop.watch(socket.descriptor, events: .readable) { [weak self] _ in
                    self?.read(socket)
                }
                if isFiltering { socket.admitOnly(settings.peers) }
                sockets.append(socket)
                hasFailed = false
            } catch {
                if !hasFailed { driver.log(.error, "failover: presence: \(error)") }
                hasFailed = true
                retrySoon()
            }
        }
    }

    private func retrySoon() {
        guard retryTimer == nil else { return }
        retryTimer = loop.schedule(after: .seconds(1)) { [weak self] in
            self?.retryTimer = nil
            self?.openSockets()
        }
    }

    private func closeSockets() {
        for socket in sockets { loop.unwatch(socket.descriptor) }
        sockets = []
    }

    // MARK: - Sending

    /// Once for all that has changed in this turn.
    func sendSoon() {
        guard !isSendDue else { return }
        isSendDue = true
        loop.schedule(at: loop.now) { [weak self] in
            guard let self else { return }
            isSendDue = false
            send(isUrgent: true)
        }
    }

    func standingMayHaveChanged() {
        if told != driver.standings { sendSoon() }
    }

    private func send(isUrgent: Bool) {
        guard var machine, !isFrozen else { return }
        let now = Instant.now()
        let standing = driver.worstStanding
        told = driver.standings
        let content = PresenceMachine.Content(
            standing: standing,
            configurationFingerprint: driver.options.configurationFingerprint,
            instances: driver.instances.filter { !$0.isLeaving }
                .prefix(PresenceMessage.instancesMax).map { $0.status.presence(now: now) })
        let datagrams = machine.messages(
            content, isUrgent: isUrgent, wallClock: WallClock.now(), now: now)
        self.machine = machine
        for datagram in datagrams {
            let socket = sockets.first { $0.isIPv4 == datagram.destination.isIPv4 }
            let code = socket?.send(datagram.bytes, to: datagram.destination) ?? ENOTCONN
            // A peer that is not running refuses; that is not ours.
            if code != 0, code != ECONNREFUSED { sendFailures += 1 }
        }
        reschedule()
    }

    private func reschedule() {
        let due = machine?.nextDeadline ?? .never
        guard due != timer?.due else { return }
        if let timer { loop.cancel(timer.id) }
        timer = nil
        guard due != .never, !isFrozen else { return }
        let id = loop.schedule(at: due) { [weak self] in
            self?.timer = nil
            self?.send(isUrgent: false)
        }
        timer = (id, due)
    }

    // MARK: - Hearing

    private func read(_ socket: PresenceSocket) {
        let isMore = socket.receive(max: Self.packetsPerTurn) { packet in
            guard var machine, !isFrozen else { return }
            guard machine.configuration.peers.contains(where: { $0.bare == packet.source.bare })
            else {
                strangers += 1
                return
            }
            let peer: PresenceMachine.Peer?
            do throws(PresenceRefusal) {
                peer = try machine.receive(
                    packet.bytes, from: packet.source, receivedAt: packet.receivedAt,
                    wallClock: WallClock.now(), now: .now())
            } catch {
                // Counted by the machine.
                peer = nil
            }
            self.machine = machine
            if let peer { driver.heard(peer) }
        }
        if machine?.wantsToGreet == true { send(isUrgent: false) }
        if isMore, loop.isWatched(socket.descriptor) { pause(socket) }
    }

    private func pause(_ socket: PresenceSocket) {
        filter()
        loop.change(socket.descriptor, events: [])
        loop.schedule(after: Self.floodPause) { [weak self] in
            guard let self, sockets.contains(where: { $0 === socket }) else { return }
            loop.change(socket.descriptor, events: .readable)
        }
    }

    /// More comes than is read, so that the kernel drops some, and not only rubbish: for a while
    /// it is told what rubbish is.
    private func filter() {
        guard !isFiltering else { return }
        isFiltering = true
        for socket in sockets { socket.admitOnly(driver.settings.presence.peers) }
        loop.schedule(after: Self.floodSpan) { [weak self] in
            guard let self else { return }
            isFiltering = false
            for socket in sockets { socket.admitAll() }
        }
    }

    // MARK: - Another program

    func freeze() {
        isFrozen = true
        if let timer { loop.cancel(timer.id) }
        timer = nil
    }

    func thaw() {
        isFrozen = false
        sendSoon()
    }

    var handover: FailoverHandover.Presence? {
        machine.map { .init(bootID: bootID, sequence: $0.sequence) }
    }

    // MARK: - Status

    var peers: [PresenceMachine.Peer] { machine?.peers ?? [] }

    func add(to figures: inout FailoverStatus.Figures) {
        figures.presenceSent = machine?.sentCount ?? 0
        figures.presenceHeard = machine?.heardCount ?? 0
        figures.presenceRefusals = machine?.refusals ?? [:]
        if strangers > 0 { figures.presenceRefusals[.sourceUnknown, default: 0] += strangers }
        figures.presenceSendFailures = sendFailures
    }

    /// From the system's random numbers.
    private static func randomWord() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}

extension SocketAddress {
    fileprivate static func anyIPv6(_ port: UInt16) -> SocketAddress {
        SocketAddress(ipv6High: 0, low: 0, port: port)
    }
}
