package import EdgeCore

/// The pair link as one node sees it: who connects and when again, greeting, heart-beat, silence,
/// duplicates, bounds. Sans-IO: told what happened and when, it says what to do. The transport
/// numbers its connections and has verified each peer's certificate before it tells of one.
///
///     with the lower number:  waiting ─▶ connecting ─┐
///                                ▲                   ├─▶ greeting ─ hello ─▶ open
///     with the higher:        listening ─────────────┘       └─ lost, late, bad ─▶ waiting, or
///                                                                               listening
///
/// Only the node with the lower number connects, so two links never cross. If there is a second one
/// all the same, its peer has lost the first: the newest to say hello stays.
package struct PairMachine: Sendable {
    /// Who is at the two ends.
    package struct Ends: Sendable, Equatable {
        /// As the certificates say (`PinnedIdentity.number`); not equal.
        package var node: UInt64
        package var peer: UInt64
        /// Random, another for each process.
        package var boot: UInt64
        package var name: String
        package var software: String
        package var versions: ClosedRange<UInt16> = PairMachine.versions

        package init(node: UInt64, peer: UInt64, boot: UInt64, name: String, software: String) {
            self.node = node
            self.peer = peer
            self.boot = boot
            self.name = name
            self.software = software
        }
    }

    package enum Action: Sendable, Equatable {
        /// Begin a connection; answered with `connected` or `connectFailed`.
        case connect
        case send(link: Int, PairMessage)
        /// Close it as soon as what was sent is out; nothing of it is told any more.
        case close(link: Int)
        /// State is to be sent anew: the peer knows nothing.
        case opened(PairHello)
        case closed(PairLoss)
        /// From the peer, of any kind but those that are the machine's own.
        case deliver(PairMessage)
    }

    package enum Phase: Sendable, Equatable {
        case waiting, connecting, listening, greeting, open, stopped
    }

    /// Spoken by this program.
    package static let versions: ClosedRange<UInt16> = 1...1
    /// Connections that are known at once; the oldest that has not said hello leaves.
    package static let linksMax = 3

    package let ends: Ends
    package let timing: PairTiming
    var links: [Int: PairLinkState] = [:]
    /// The one that has said hello.
    package private(set) var open: Int?
    package private(set) var peer: PairHello?
    /// That is spoken on the open link.
    package private(set) var version: UInt16?
    /// When the open link was opened, or the last one was lost.
    package private(set) var since: Instant
    package private(set) var lastLoss: PairLoss?
    package private(set) var counts = Counts()
    private var isConnecting = false
    private var isStopped = false
    private var retryAt: Instant = .never
    private var attempts = 0
    private var lastPing: UInt64 = 0
    private var random: SplitMix64

    /// Since the start.
    package struct Counts: Sendable, Equatable {
        package var opened = 0
        package var lost = 0
        package var received = 0
        package var sent = 0
        /// Messages of types that are not known here.
        package var skipped = 0
        package var violations = 0

        package init() {}
    }

    package init(ends: Ends, timing: PairTiming = PairTiming(), now: Instant, seed: UInt64) {
        invariant(ends.node != ends.peer, "a node is not its own peer")
        self.ends = ends
        self.timing = timing
        since = now
        random = SplitMix64(seed: seed)
    }

    /// Whether this node connects; else it listens.
    package var connects: Bool { ends.node < ends.peer }

    /// Whether a connection's handshake was told of, and its end was not.
    package func knows(_ link: Int) -> Bool { links[link] != nil }

    package var phase: Phase {
        if isStopped { return .stopped }
        if open != nil { return .open }
        if !links.isEmpty { return .greeting }
        if isConnecting { return .connecting }
        return connects ? .waiting : .listening
    }

    // MARK: - Events

    package mutating func start(now: Instant) -> [Action] {
        guard connects else { return [] }
        isConnecting = true
        return [.connect]
    }

    /// A connection's handshake is done, in either direction.
    package mutating func connected(_ link: Int, now: Instant, wall: UInt64) -> [Action] {
        guard !isStopped else { return [.close(link: link)] }
        isConnecting = false
        var actions: [Action] = []
        while links.count >= Self.linksMax {
            let oldest = links.filter { $0.key != open }.min { $0.value.began < $1.value.began }
            guard let oldest else { break }
            links[oldest.key] = nil
            actions.append(.close(link: oldest.key))
        }
        links[link] = PairLinkState(now: now, timing)
        let hello = PairHello(
            versions: ends.versions, node: ends.node, boot: ends.boot, wall: wall,
            name: ends.name, software: ends.software)
        send(.hello(hello), on: link, &actions)
        return actions
    }

    package mutating func connectFailed(_ reason: String, now: Instant) -> [Action] {
        guard isConnecting else { return [] }
        isConnecting = false
        lastLoss = .transport(reason)
        retry(now)
        return []
    }

    /// A connection ended, and not by `close`.
    package mutating func lost(_ link: Int, _ reason: String, now: Instant) -> [Action] {
        return end(link, .transport(reason), now: now)
    }

    /// What came on a link is no message.
    package mutating func violated(
        _ link: Int, _ violation: PairViolation, now: Instant
    ) -> [Action] {
        guard links[link] != nil else { return [] }
        counts.violations += 1
        return end(link, .violation(violation), farewell: .violation, now: now)
    }

    /// - Parameter wall: nanoseconds since 1970, at `now`.
    package mutating func received(
        _ link: Int, _ item: PairFrames.Item, now: Instant, wall: UInt64
    ) -> [Action] {
        guard links[link] != nil else { return [] }
        links[link]?.heardAt = now
        guard links[link]?.admits(item.byteCount, now: now, timing) == true else {
            return violated(link, .tooMuch, now: now)
        }
        counts.received += 1
        guard case .message(let message, _) = item else {
            counts.skipped += 1
            return link == open ? [] : violated(link, .order(.hello), now: now)
        }
        if case .farewell(let reason) = message {
            return end(link, .farewell(reason), now: now)
        }
        guard link == open else {
            guard case .hello(let hello) = message else {
                return violated(link, .order(message.kind), now: now)
            }
            return greeted(link, hello, now: now, wall: wall)
        }
        var actions: [Action] = []
        switch message {
        case .hello: return violated(link, .order(.hello), now: now)
        case .ping(let number): send(.pong(number: number, wall: wall), on: link, &actions)
        case .pong(let number, let theirs):
            links[link]?.clock.answered(number, now: now, wall: wall, theirs: theirs)
        case .ticketKeys, .names, .troubled, .fingerprints, .order, .orderResult, .farewell,
            .costs, .debts, .textKey, .bans, .refusals:
            actions.append(.deliver(message))
        }
        return actions
    }

    /// Time has passed.
    package mutating func advance(now: Instant, wall: UInt64) -> [Action] {
        // Our own lateness is not the peer's silence: what it said may still be unread.
        let isLate = now.nanoseconds(since: nextDue) > timing.heartbeat.nanoseconds * 2
        if isLate { for link in links.keys { links[link]?.excuse(now, timing) } }
        var actions: [Action] = []
        for (link, state) in links.sorted(by: { $0.key < $1.key }) {
            if link == open {
                if now >= state.heardAt.advanced(by: timing.silence) {
                    actions += end(link, .silent, now: now)
                } else if now >= state.pingAt {
                    lastPing += 1
                    links[link]?.pingAt = now.advanced(by: timing.heartbeat)
                    links[link]?.clock.asked(lastPing, now: now)
                    send(.ping(number: lastPing), on: link, &actions)
                }
            } else if now >= state.greetBy {
                actions += end(link, .noHello, now: now)
            }
        }
        if now >= retryAt, !isConnecting, !isStopped {
            retryAt = .never
            isConnecting = true
            actions.append(.connect)
        }
        return actions
    }

    /// When `advance` has something to do.
    package var nextDue: Instant {
        var due = isConnecting ? .never : retryAt
        for (link, state) in links {
            due = min(
                due,
                link == open
                    ? min(state.pingAt, state.heardAt.advanced(by: timing.silence))
                    : state.greetBy)
        }
        return due
    }

    /// Sends to the peer; nothing happens while there is none.
    package mutating func send(_ message: PairMessage) -> [Action] {
        var actions: [Action] = []
        if let open { send(message, on: open, &actions) }
        return actions
    }

    /// Ends everything.
    package mutating func stop(_ reason: PairFarewell = .stopping, now: Instant) -> [Action] {
        isStopped = true
        retryAt = .never
        isConnecting = false
        var actions: [Action] = []
        for link in links.keys.sorted() {
            actions += end(link, .stopped, farewell: reason, now: now)
        }
        return actions
    }

    // MARK: - Links

    private mutating func greeted(
        _ link: Int, _ hello: PairHello, now: Instant, wall: UInt64
    ) -> [Action] {
        guard hello.node == ends.peer else { return violated(link, .identity, now: now) }
        let common = min(hello.versions.upperBound, ends.versions.upperBound)
        guard hello.versions.contains(common), ends.versions.contains(common) else {
            return end(link, .versions(hello.versions), farewell: .versions, now: now)
        }
        var actions: [Action] = []
        if let old = open { actions += end(old, .replaced, farewell: .replaced, now: now) }
        open = link
        peer = hello
        version = common
        since = now
        lastLoss = nil
        counts.opened += 1
        links[link]?.openedAt = now
        links[link]?.clock = PairClock(guess: hello.wall, wall: wall)
        actions.append(.opened(hello))
        return actions
    }

    private mutating func end(
        _ link: Int, _ loss: PairLoss, farewell: PairFarewell? = nil, now: Instant
    ) -> [Action] {
        guard let state = links[link] else { return [] }
        var actions: [Action] = []
        if let farewell { send(.farewell(farewell), on: link, &actions) }
        links[link] = nil
        actions.append(.close(link: link))
        guard link == open || open == nil else { return actions }
        lastLoss = loss
        let wasOpen = link == open
        if wasOpen {
            open = nil
            version = nil
            counts.lost += 1
            let held = now.nanoseconds(since: state.openedAt ?? now)
            since = now
            if held >= timing.stable.nanoseconds { attempts = 0 }
            actions.append(.closed(loss))
        }
        if links.isEmpty { retry(now, isUnfit: loss.isUnfit) }
        return actions
    }

    private mutating func retry(_ now: Instant, isUnfit: Bool = false) {
        guard connects, !isStopped else { return }
        let first = timing.retryMin.nanoseconds
        let span =
            isUnfit
            ? timing.retryUnfit.nanoseconds
            : min(first << UInt64(min(attempts, 20)), timing.retryMax.nanoseconds)
        attempts += 1
        let less = random.next() % max(span / 2, 1)
        retryAt = now.advanced(byNanoseconds: span - less)
    }

    private mutating func send(_ message: PairMessage, on link: Int, _ actions: inout [Action]) {
        counts.sent += 1
        actions.append(.send(link: link, message))
    }
}

/// One connection, from its handshake's end.
struct PairLinkState: Sendable {
    let began: Instant
    var heardAt: Instant
    var pingAt: Instant
    /// When the peer has to have said hello.
    var greetBy: Instant
    var openedAt: Instant?
    var clock = PairClock()
    private var windowEnd: Instant
    private var bytes = 0
    private var messages = 0

    init(now: Instant, _ timing: PairTiming) {
        began = now
        heardAt = now
        greetBy = now.advanced(by: timing.greeting)
        // The first at once, for the clocks.
        pingAt = now
        windowEnd = now.advanced(by: timing.window)
    }

    /// We were not there for a while: the peer has a little longer.
    mutating func excuse(_ now: Instant, _ timing: PairTiming) {
        heardAt = now
        greetBy = max(greetBy, now.advanced(by: timing.heartbeat))
    }

    /// Counts an item of the peer's.
    ///
    /// - Returns: false if it is one too many.
    mutating func admits(_ byteCount: Int, now: Instant, _ timing: PairTiming) -> Bool {
        if now >= windowEnd {
            windowEnd = now.advanced(by: timing.window)
            bytes = 0
            messages = 0
        }
        bytes += byteCount
        messages += 1
        return bytes <= timing.bytesMax && messages <= timing.messagesMax
    }
}
