package import EdgeCore

/// Keeps up presence with the other nodes' guardians: when messages are due, which are believed,
/// and who is live. Pure: datagrams and a time in, datagrams out.
///
/// A message is believed if its code is right and it was made for us, now: for each peer there is a
/// random *challenge*, renewed every few intervals, that the peer's messages echo. A boot of the
/// peer's that we do not know yet must echo the newest challenge, and its first message renews
/// it: what was recorded of an earlier boot echoes an older one. Within a boot numbers only rise.
/// A first word, which can't echo anything, is answered at once with our challenge, at most once
/// in `greetingSpacing`.
///
///     nobody ── first word: greeted ──► greeted ── echoes our challenge ──► live
///     live ── nothing for `timeout` ──► gone ── echoes a challenge ──► live
package struct PresenceMachine: Sendable {
    package struct Configuration: Sendable, Equatable {
        package var nodeName: String
        package var bootID: UInt64
        package var programVersion: String
        package var peers: [SocketAddress]
        package var interval: Duration
        package var timeout: Duration

        package init(
            nodeName: String, bootID: UInt64, programVersion: String, peers: [SocketAddress],
            interval: Duration, timeout: Duration
        ) {
            self.nodeName = nodeName
            self.bootID = bootID
            self.programVersion = programVersion
            self.peers = peers
            self.interval = interval
            self.timeout = timeout
        }
    }

    /// What a message says of this node; asked for when one is sent.
    package struct Content: Sendable, Equatable {
        package var standing: Standing
        package var configurationFingerprint: UInt64
        package var instances: [PresenceMessage.Instance]

        package init(
            standing: Standing, configurationFingerprint: UInt64,
            instances: [PresenceMessage.Instance]
        ) {
            self.standing = standing
            self.configurationFingerprint = configurationFingerprint
            self.instances = instances
        }
    }

    package struct Datagram: Sendable, Equatable {
        package let destination: SocketAddress
        package let bytes: [UInt8]
    }

    /// A peer as it was believed last.
    package struct Peer: Sendable, Equatable {
        /// Where its messages come from.
        package internal(set) var address: SocketAddress
        package internal(set) var message: PresenceMessage
        package internal(set) var heardAt: Instant
        package internal(set) var liveUntil: Instant
        package internal(set) var firstHeardAt: Instant
        /// Its civil clock minus ours when the message came, delays of the network included,
        /// nanoseconds.
        package internal(set) var clockDifference: Int64
        /// Boots seen of it, the first included.
        package internal(set) var boots: Int
        /// Whether its number is greater than ours.
        let goesFirst: Bool

        /// What it says of one instance.
        package func report(routerID: UInt8) -> PeerReport {
            let instance = message.instances.first { $0.routerID == routerID }
            return PeerReport(
                nodeID: message.nodeID, nodeName: message.nodeName, bootID: message.bootID,
                heardAt: heardAt, liveUntil: liveUntil,
                standing: instance?.standing ?? message.standing, instance: instance,
                goesFirst: goesFirst)
        }
    }

    /// Per configured address: what we have challenged it with.
    struct Challenge: Sendable {
        var newest: UInt64
        var previous: UInt64
        var renewAt: Instant
        /// To echo: the newest challenge of the node behind the address.
        var heard: UInt64 = 0
        var greetedAt: Instant?
        /// To echo to somebody whose word can't be believed yet; nil: nobody waits for one.
        var greeting: UInt64?
    }

    package internal(set) var configuration: Configuration
    package internal(set) var peers: [Peer] = []
    package internal(set) var refusals: [PresenceRefusal: UInt64] = [:]
    package internal(set) var sentCount: UInt64 = 0
    package internal(set) var heardCount: UInt64 = 0
    /// Of the next message. Kept over an upgrade in place, which keeps the boot.
    package internal(set) var sequence: UInt64

    var challenges: [SocketAddress: Challenge] = [:]
    private var random: SplitMix64
    private var nextMessage: Instant
    /// What messages carry and must carry from now on; nil: nothing.
    package var authenticator: PresenceAuthenticator?

    package static let peersMax = 8
    static let greetingSpacing = Duration.milliseconds(10)
    /// A challenge is renewed after so many intervals and good for as many more.
    static let challengeIntervals = 8

    /// - Parameter seed: from the system's random numbers. Challenges must be new, not secret: they
    ///   travel in the open, and only the pair's secret can answer them.
    /// - Parameter sequence: of the first message; after an upgrade in place what `sequence` was.
    package init(
        configuration: Configuration, authenticator: PresenceAuthenticator?, seed: UInt64,
        sequence: UInt64 = 1, now: Instant
    ) {
        self.configuration = configuration
        self.authenticator = authenticator
        self.sequence = sequence
        random = SplitMix64(seed: seed)
        nextMessage = now
        for peer in configuration.peers { challenges[peer] = makeChallenge(now: now) }
    }

    /// When `messages` is to be called.
    package var nextDeadline: Instant { configuration.peers.isEmpty ? .never : nextMessage }

    // MARK: - Sending

    /// What is to be sent at `now`: to every peer if a message is due or `isUrgent`, else to those
    /// that wait for a greeting.
    ///
    /// - Parameter wallClock: CLOCK_REALTIME, nanoseconds.
    package mutating func messages(
        _ content: Content, isUrgent: Bool = false, wallClock: UInt64, now: Instant
    ) -> [Datagram] {
        let isDue = isUrgent || now >= nextMessage
        if isDue { nextMessage = now.advanced(by: configuration.interval) }
        var datagrams: [Datagram] = []
        for address in configuration.peers {
            guard var challenge = challenges[address] else { continue }
            if isDue, now >= challenge.renewAt { renew(&challenge, now: now) }
            let greeting = challenge.greeting
            challenge.greeting = nil
            challenges[address] = challenge
            var echoes: [UInt64] = isDue ? [challenge.heard] : []
            if let greeting, !echoes.contains(greeting) { echoes.append(greeting) }
            for echo in echoes {
                let message = message(
                    content, challenge: challenge.newest, echo: echo, wallClock: wallClock,
                    now: now)
                datagrams.append(
                    Datagram(
                        destination: address,
                        bytes: message.encode(authenticator: authenticator)))
            }
        }
        return datagrams
    }

    private mutating func message(
        _ content: Content, challenge: UInt64, echo: UInt64, wallClock: UInt64, now: Instant
    ) -> PresenceMessage {
        defer {
            sequence += 1
            sentCount += 1
        }
        return PresenceMessage(
            nodeName: configuration.nodeName, bootID: configuration.bootID, sequence: sequence,
            challenge: challenge, echo: echo, wallClock: wallClock, monotonic: now.nanoseconds,
            standing: content.standing,
            configurationFingerprint: content.configurationFingerprint,
            programVersion: configuration.programVersion, instances: content.instances)
    }

    private mutating func makeChallenge(now: Instant) -> Challenge {
        let first = freshWord()
        return Challenge(
            newest: first, previous: first,
            renewAt: now.advanced(by: configuration.interval * Self.challengeIntervals))
    }

    /// Never 0, which says "none".
    private mutating func freshWord() -> UInt64 { random.next() | 1 }

    private mutating func renew(_ challenge: inout Challenge, now: Instant) {
        challenge.previous = challenge.newest
        challenge.newest = freshWord()
        challenge.renewAt = now.advanced(
            by: configuration.interval * Self.challengeIntervals)
    }

    // MARK: - Hearing

    /// Reads a datagram.
    ///
    /// - Parameter receivedAt: when the kernel received it.
    /// - Returns: the peer, with what it says now; feed `report(routerID:)` to every instance.
    ///   After any call ask `messages` for greetings if `wantsToGreet`.
    /// - Throws: why it says nothing; counted.
    package mutating func receive(
        _ bytes: [UInt8], from source: SocketAddress, receivedAt: Instant, wallClock: UInt64,
        now: Instant
    ) throws(PresenceRefusal) -> Peer {
        do throws(PresenceRefusal) {
            let message = try PresenceMessage(decoding: bytes, authenticator: authenticator)
            let peer = try believe(
                message, from: source, receivedAt: receivedAt, wallClock: wallClock, now: now)
            heardCount += 1
            return peer
        } catch {
            refusals[error, default: 0] += 1
            throw error
        }
    }

    /// Whether somebody waits for our challenge.
    package var wantsToGreet: Bool { challenges.values.contains { $0.greeting != nil } }

    package func isLive(_ peer: Peer, now: Instant) -> Bool { now < peer.liveUntil }

    private mutating func believe(
        _ message: PresenceMessage, from source: SocketAddress, receivedAt: Instant,
        wallClock: UInt64, now: Instant
    ) throws(PresenceRefusal) -> Peer {
        guard message.nodeID != PresenceMessage.nodeID(of: configuration.nodeName) else {
            throw .ownNode
        }
        guard let address = place(of: source), var challenge = challenges[address] else {
            throw .sourceUnknown
        }
        let known = peers.firstIndex { $0.message.nodeID == message.nodeID }
        let isKnownBoot = known.map { peers[$0].message.bootID == message.bootID } ?? false
        if let known, isKnownBoot, message.sequence <= peers[known].message.sequence {
            throw .replayed
        }
        let isFresh = message.echo == challenge.newest
        guard isFresh || isKnownBoot && message.echo == challenge.previous else {
            greet(message, &challenge, now: now)
            challenges[address] = challenge
            throw .unechoed
        }
        challenge.heard = message.challenge
        // Nothing that was recorded before this boot's first message may echo what comes next.
        if !isKnownBoot {
            renew(&challenge, now: now)
            challenge.greeting = message.challenge
        }
        challenges[address] = challenge
        return try remember(
            message, at: known, isKnownBoot: isKnownBoot, from: address, receivedAt: receivedAt,
            wallClock: wallClock)
    }

    /// A word that echoes nothing of ours may be recorded: it is told our challenge in a datagram
    /// of its own, and nothing of it is kept.
    private func greet(
        _ message: PresenceMessage, _ challenge: inout Challenge, now: Instant
    ) {
        if let last = challenge.greetedAt,
            now.nanoseconds(since: last) < Self.greetingSpacing.nanoseconds
        {
            return
        }
        challenge.greetedAt = now
        challenge.greeting = message.challenge
    }

    private mutating func remember(
        _ message: PresenceMessage, at known: Int?, isKnownBoot: Bool, from address: SocketAddress,
        receivedAt: Instant, wallClock: UInt64
    ) throws(PresenceRefusal) -> Peer {
        let liveUntil = receivedAt.advanced(by: configuration.timeout)
        let difference = Int64(truncatingIfNeeded: message.wallClock &- wallClock)
        guard let known else {
            // Nodes may have been renamed; one that is live is not given up.
            if peers.count == Self.peersMax {
                guard let gone = peers.firstIndex(where: { $0.liveUntil <= receivedAt }) else {
                    throw .tooManyPeers
                }
                peers.remove(at: gone)
            }
            let peer = Peer(
                address: address, message: message, heardAt: receivedAt, liveUntil: liveUntil,
                firstHeardAt: receivedAt, clockDifference: difference, boots: 1,
                goesFirst: message.nodeID > PresenceMessage.nodeID(of: configuration.nodeName))
            peers.append(peer)
            return peer
        }
        var peer = peers[known]
        peer.address = address
        peer.message = message
        peer.heardAt = receivedAt
        peer.liveUntil = liveUntil
        peer.clockDifference = difference
        if !isKnownBoot { peer.boots += 1 }
        peers[known] = peer
        return peer
    }

    /// The configured address that a datagram came from: ports may differ, scopes too.
    private func place(of source: SocketAddress) -> SocketAddress? {
        configuration.peers.first { $0.bare == source.bare }
    }
}
