package import EdgeCore

/// How often names are asked for.
package struct NameTiming: Sendable, Equatable {
    /// Bounds of a TTL.
    package var floor: Duration = .seconds(1)
    package var ceiling: Duration = .seconds(60)
    /// After a failure: doubled from the first to the last.
    package var retryMin: Duration = .seconds(1)
    package var retryMax: Duration = .seconds(30)
    /// Between two queries for one name, however urgent (`hurry`).
    package var hurryInterval: Duration = .milliseconds(500)
    /// Before a server is asked again, or the next one; c-ares doubles it on the second round.
    package var tryTimeout: Duration = .seconds(1)
    /// From sending until the name counts as timed out, however many servers and tries.
    package var queryDeadline: Duration = .seconds(3)

    package init() {}
    package init(floor: Duration, ceiling: Duration) {
        self.floor = floor
        self.ceiling = max(floor, ceiling)
    }
}

/// One name and its addresses. Sans-IO: it is told what time it is and what came back, and says
/// when to ask next. DNS is never fatal here: only a valid, non-empty answer changes the set.
///
///     waiting ──ask──► asking ──answered──► waiting (TTL, or back-off after a failure)
///        ▲  hurry: sooner │ hurry: once more afterwards
///     literal: an address, never asked
///
/// This is the place where "health disposes" will come in: the set of `answered` is a proposal.
package struct NameMachine: Sendable {
    package enum Activity: Sendable, Equatable {
        case literal
        case waiting(until: Instant)
        case asking(since: Instant, onceMore: Bool)
    }

    /// What the addresses are worth.
    package enum State: String, Sendable, CaseIterable {
        /// No answer so far.
        case unresolved
        /// The newest answer was good.
        case fresh
        /// Last-known-good: queries since have failed.
        case stale
    }

    /// Addresses kept per name; what sorts behind is left out.
    package static let addressesMax = 64

    package let name: String
    package private(set) var activity: Activity
    /// Canonical order, ports 0.
    package private(set) var addresses: [SocketAddress] = []
    package private(set) var lastGood: Instant?
    /// Of the newest answer: nil if both families were fine.
    package private(set) var lastFailure: QueryFailure?
    /// Answers without any address since the last good one.
    package private(set) var failures = 0
    private var lastAsked: Instant?

    package init(name: String, now: Instant) {
        self.name = name
        if let literal = Self.literal(name) {
            activity = .literal
            addresses = [literal]
            lastGood = now
        } else {
            activity = .waiting(until: now)
        }
    }

    package var state: State {
        if addresses.isEmpty { return .unresolved }
        return failures == 0 ? .fresh : .stale
    }

    /// When to ask; `.never` while asking and for literals.
    package var due: Instant {
        switch activity {
        case .waiting(let until): until
        case .asking, .literal: .never
        }
    }

    // MARK: - Events

    /// The query is sent.
    package mutating func asked(now: Instant) {
        switch activity {
        case .waiting:
            activity = .asking(since: now, onceMore: false)
            lastAsked = now
        case .asking, .literal: break  // Already under way; never to be asked.
        }
    }

    /// The query has ended. An answer that nobody waits for is as good as any.
    ///
    /// - Returns: whether `addresses` is another set than before.
    package mutating func answered(
        _ answer: NameAnswer, now: Instant, timing: NameTiming, random: inout SplitMix64
    ) -> Bool {
        let onceMore: Bool
        switch activity {
        case .literal: return false
        case .waiting: onceMore = false
        case .asking(_, let again): onceMore = again
        }
        let before = addresses
        let delay: UInt64
        if let good = Self.merge(answer, known: addresses) {
            addresses = good.addresses
            lastGood = now
            failures = 0
            lastFailure = Self.partialFailure(answer)
            let ttl = min(Duration.seconds(Int64(good.ttl)), timing.ceiling).nanoseconds
            delay = max(Self.jittered(ttl, &random), timing.floor.nanoseconds)
        } else {
            let failure = Self.failure(answer)
            lastFailure = failure
            if failure == .cancelled {
                delay = 0
            } else {
                failures += 1
                delay = Self.jittered(Self.backOff(failures: failures, timing: timing), &random)
            }
        }
        activity = .waiting(until: now.advanced(byNanoseconds: delay))
        if onceMore { hurry(now: now, timing: timing) }
        return addresses != before
    }

    /// Somebody failed to connect to an address of this name: ask soon, but not more often than
    /// `hurryInterval`. While a query is out, ask once more after it.
    package mutating func hurry(now: Instant, timing: NameTiming) {
        switch activity {
        case .literal: break
        case .asking(let since, _): activity = .asking(since: since, onceMore: true)
        case .waiting(let until):
            let earliest = lastAsked.map { $0.advanced(by: timing.hurryInterval) } ?? now
            activity = .waiting(until: min(until, max(now, earliest)))
        }
    }

    // MARK: - Decisions

    /// The new set if the answer has any address at all. The addresses of a family whose query
    /// failed stay; those of a family that is validly empty go.
    private static func merge(
        _ answer: NameAnswer, known: [SocketAddress]
    ) -> (addresses: [SocketAddress], ttl: UInt32)? {
        var set: Set<SocketAddress> = []
        var ttl = UInt32.max
        for (family, isIPv4) in [(answer.ipv4, true), (answer.ipv6, false)] {
            guard case .addresses(let list, let familyTTL) = family else { continue }
            let usable = list.filter { $0.isIPv4 == isIPv4 && $0.isConnectable }
            guard !usable.isEmpty else { continue }
            set.formUnion(usable.map { $0.with(port: 0) })
            ttl = min(ttl, familyTTL)
        }
        guard !set.isEmpty else { return nil }
        for (family, isIPv4) in [(answer.ipv4, true), (answer.ipv6, false)] {
            guard case .failed = family else { continue }
            set.formUnion(known.filter { $0.isIPv4 == isIPv4 })
        }
        let sorted = set.sorted(by: SocketAddress.canonicalOrder)
        return (Array(sorted.prefix(addressesMax)), ttl)
    }

    private static func partialFailure(_ answer: NameAnswer) -> QueryFailure? {
        if case .failed(let failure) = answer.ipv4 { return failure }
        if case .failed(let failure) = answer.ipv6 { return failure }
        return nil
    }

    private static func failure(_ answer: NameAnswer) -> QueryFailure {
        if let failure = partialFailure(answer) { return failure }
        return answer == NameAnswer(ipv4: .empty, ipv6: .empty) ? .empty : .unusableAddresses
    }

    /// Up to a tenth sooner, so that names learnt together are not asked together for ever.
    private static func jittered(_ span: UInt64, _ random: inout SplitMix64) -> UInt64 {
        span - random.next(upperBound: span / 10 + 1)
    }

    private static func backOff(failures: Int, timing: NameTiming) -> UInt64 {
        let first = timing.retryMin.nanoseconds
        let doublings = min(failures - 1, 16)
        return min(first << UInt64(doublings), timing.retryMax.nanoseconds)
    }

    /// An address in itself, or `localhost` (RFC 6761 §6.3: never asked of a server), which is
    /// 127.0.0.1 here.
    private static func literal(_ name: String) -> SocketAddress? {
        if let address = SocketAddress(address: name, port: 0) { return address }
        let name = name.lowercased()
        guard name == "localhost" || name.hasSuffix(".localhost") else { return nil }
        return SocketAddress(ipv4: 0x7F00_0001, port: 0)
    }
}
