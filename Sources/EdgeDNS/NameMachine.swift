package import EdgeCore

/// One name and its addresses. Sans-IO: it is told what time it is and what came back, and says
/// when to ask next. DNS is never fatal here: only a valid, non-empty answer that does not look
/// wrong changes the set; one that looks wrong is kept beside it (`suspects`). The set is a
/// proposal: the health of its members decides what is used.
package struct NameMachine: Sendable {
    package typealias Activity = QuerySchedule.Activity
    package typealias State = NameState

    /// Addresses kept per name; what sorts behind is left out.
    package static let addressesMax = 64

    package let name: String
    package private(set) var schedule: QuerySchedule
    package private(set) var confirmation = Confirmation()
    /// The last that were believed. Canonical order, ports 0.
    package private(set) var addresses: [SocketAddress] = []
    /// What the newest answer says, if that looks wrong; also while queries fail afterwards.
    package private(set) var suspects: [SocketAddress] = []
    /// Of the newest answer: nil if both families were fine.
    package private(set) var lastFailure: QueryFailure?
    /// Whether somebody has answered or failed to since the start.
    package private(set) var isAnswered = false
    /// Whether there was something on disk at the start.
    package private(set) var isRestored = false
    /// Whether an answer was believed since the start.
    private var hasAnswer = false
    private var suspectedSince: Instant?

    package init(name: String, now: Instant) {
        self.name = name
        let literal = Self.literal(name)
        schedule = QuerySchedule(isLiteral: literal != nil, now: now)
        guard let literal else { return }
        addresses = [literal]
        confirmation.confirmed(now: now)
        isAnswered = true
    }

    package var activity: Activity { schedule.activity }
    package var due: Instant { schedule.due }
    package var failures: Int { schedule.failures }
    /// When `addresses` were confirmed, or taken from disk.
    package var lastGood: Instant? { confirmation.at }

    package var state: State {
        if !suspects.isEmpty { return .suspicious }
        if addresses.isEmpty { return .unresolved }
        if confirmation.isExpired { return .expired }
        return confirmation.isNewest ? .fresh : .stale
    }

    // MARK: - Events

    /// Last-known-good from disk, before the first answer. No effect on what is known already.
    package mutating func restore(_ known: [SocketAddress], age: Duration, now: Instant) {
        guard addresses.isEmpty, !schedule.isLiteral else { return }
        addresses = Self.canonical(known)
        guard !addresses.isEmpty else { return }
        isRestored = true
        confirmation.restored(age: age, now: now)
    }

    /// What somebody else has heard of the name: good for as long as nobody has answered here, and
    /// nothing better is remembered. It then proposes no less than what was there, for it confirms
    /// nothing.
    ///
    /// - Returns: whether `addresses` is another set than before.
    package mutating func suggest(_ known: [SocketAddress], age: Duration, now: Instant) -> Bool {
        let before = addresses
        let isBetter = confirmation.age(now: now).map { age + Self.clearlyNewer < $0 } ?? true
        guard !hasAnswer, !schedule.isLiteral, isBetter, !Self.canonical(known).isEmpty else {
            return false
        }
        addresses = []
        restore(known, age: age, now: now)
        return addresses != before
    }

    /// Less is no reason to believe another instead of oneself.
    private static let clearlyNewer = Duration.seconds(60)

    package mutating func asked(now: Instant) { schedule.asked(now: now) }

    /// The query has ended. An answer that nobody waits for is as good as any.
    ///
    /// - Parameter isSuspicious: whether the answer looks wrong; it then replaces nothing, until it
    ///   has stood for `believedAfter`.
    /// - Returns: whether `addresses` is another set than before.
    package mutating func answered(
        _ answer: NameAnswer, isSuspicious: Bool = false, now: Instant, timing: NameTiming,
        random: inout SplitMix64
    ) -> Bool {
        guard !schedule.isLiteral else { return false }
        let answer = answer.usable
        let before = addresses
        if isSuspicious, let set = suspect(answer, now: now, timing: timing) {
            suspects = set.addresses
            confirmation.missed()
            lastFailure = Self.partialFailure(answer)
            schedule.succeeded(ttl: set.ttl, now: now, timing: timing, random: &random)
        } else if let good = Self.merge(answer, known: addresses) {
            addresses = good.addresses
            suspects = []
            suspectedSince = nil
            hasAnswer = true
            confirmation.confirmed(now: now)
            lastFailure = Self.partialFailure(answer)
            schedule.succeeded(ttl: good.ttl, now: now, timing: timing, random: &random)
        } else {
            let failure = answer.failure ?? .unusableAddresses
            lastFailure = failure
            if failure != .cancelled { confirmation.missed() }
            schedule.failed(failure, now: now, timing: timing, random: &random)
        }
        isAnswered = isAnswered || lastFailure != .cancelled
        confirmation.advance(now: now, timing: timing)
        return addresses != before
    }

    package mutating func hurry(now: Instant, timing: NameTiming) {
        schedule.hurry(now: now, timing: timing)
    }

    /// Time has passed, or another configuration is in use.
    package mutating func advance(now: Instant, timing: NameTiming) {
        confirmation.advance(now: now, timing: timing)
        schedule.bound(now: now, timing: timing)
    }

    // MARK: - Decisions

    /// The set of an answer that looks wrong; nil if it has none, is what is believed already, or
    /// has stood long enough.
    private mutating func suspect(
        _ answer: NameAnswer, now: Instant, timing: NameTiming
    ) -> (addresses: [SocketAddress], ttl: UInt32)? {
        guard let set = Self.merge(answer, known: []),
            Self.merge(answer, known: addresses)?.addresses != addresses
        else { return nil }
        guard set.addresses == suspects, let since = suspectedSince else {
            suspectedSince = now
            return set
        }
        return now >= since.advanced(by: timing.believedAfter) ? nil : set
    }

    /// The new set if the answer, which has usable addresses only, has any. The addresses of a
    /// family whose query failed stay; those of a family that is validly empty go.
    private static func merge(
        _ answer: NameAnswer, known: [SocketAddress]
    ) -> (addresses: [SocketAddress], ttl: UInt32)? {
        var set: Set<SocketAddress> = []
        var ttl = UInt32.max
        for case .addresses(let list, let familyTTL) in [answer.ipv4, answer.ipv6] {
            set.formUnion(list.map { $0.with(port: 0) })
            ttl = min(ttl, familyTTL)
        }
        guard !set.isEmpty else { return nil }
        for (family, isIPv4) in [(answer.ipv4, true), (answer.ipv6, false)] {
            guard case .failed = family else { continue }
            set.formUnion(known.filter { $0.isIPv4 == isIPv4 })
        }
        return (canonical(set), ttl)
    }

    /// Sorted, without ports and repetitions, at most `addressesMax`.
    static func canonical(_ addresses: some Sequence<SocketAddress>) -> [SocketAddress] {
        let set = Set(addresses.lazy.filter(\.isConnectable).map { $0.with(port: 0) })
        return Array(set.sorted(by: SocketAddress.canonicalOrder).prefix(addressesMax))
    }

    private static func partialFailure(_ answer: NameAnswer) -> QueryFailure? {
        if case .failed(let failure) = answer.ipv4 { return failure }
        if case .failed(let failure) = answer.ipv6 { return failure }
        return nil
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
