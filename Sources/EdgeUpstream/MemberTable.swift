package import EdgeCore

/// One worker's view of an upstream's members: who there is, who is next, how many connections each
/// has, and what traffic has shown of them since it was last told. Shared by the upstream's pools.
/// Pure: unused connections are the pools' (`IdleConnections`), verdicts the control thread's.
///
/// A member keeps its index as long as it has connections, also after it has left the
/// configuration, so that slots may hold indices over reloads.
package struct MemberTable: Sendable {
    package struct Member: Sendable {
        package let address: SocketAddress
        /// Part of the newest snapshot; others only finish what they have.
        package fileprivate(set) var isCurrent: Bool
        package fileprivate(set) var rank: MemberRank
        /// Connections in any state, of all pools.
        package fileprivate(set) var connectionCount = 0
        /// Those of them that are unused.
        package fileprivate(set) var idleCount = 0
        /// Requests that have failed in a row.
        package fileprivate(set) var failuresInRow = 0
        /// What the control thread has not been told.
        fileprivate var summary: MemberSummary
        /// When it was last told of a failed connection.
        fileprivate var toldAt = Instant(nanoseconds: 0)
        /// How long a connection usually takes.
        package fileprivate(set) var clock: ConnectClock
        /// When it last began an answer.
        fileprivate var answeredAt = Instant(nanoseconds: 0)
        /// Back after it was out.
        fileprivate var trial = MemberTrial()
    }

    package private(set) var members: [Member] = []
    private var balancer: Balancer
    /// Connections in use per member; 0: no limit.
    package var useMax = 0
    /// Members that have something to tell.
    private var hasSummaries = false
    /// Moving average of the time to an answer, over all members, nanoseconds; 0: none has come.
    private var usualLatency: UInt64 = 0
    /// Some member may be on trial.
    private var hasTrials = false

    /// - Parameters:
    ///   - seed: the same for all workers, or a client's cookie meant another member on each.
    ///   - turn: the worker's number.
    package init(seed: UInt64 = 0, turn: Int = 0) { balancer = Balancer(seed: seed, turn: turn) }

    // MARK: - Who there is

    /// How members share the traffic from now on.
    package mutating func configure(
        _ policy: BalancePolicy, slowStart: Duration, sticky: Bool, useMax: Int
    ) {
        balancer.configure(policy, slowStart: slowStart, sticky: sticky)
        self.useMax = useMax
    }

    /// Replaces the members; what is known of those that stay is kept.
    package mutating func update(_ ranked: [RankedMember], now: Instant) {
        var current = [RankedMember?](repeating: nil, count: members.count)
        var isPlaced = [Bool](repeating: false, count: ranked.count)
        for (place, member) in ranked.enumerated() {
            guard let index = members.firstIndex(where: { $0.address == member.address }),
                current[index] == nil
            else { continue }
            current[index] = member
            isPlaced[place] = true
        }
        for index in members.indices { members[index].isCurrent = current[index] != nil }
        for (place, member) in ranked.enumerated()
        where !isPlaced[place] && !current.contains(where: { $0?.address == member.address }) {
            let fresh = Member(
                address: member.address, isCurrent: true, rank: member.rank,
                summary: Self.nothing(member.address), clock: ConnectClock())
            let free = members.indices.first {
                !members[$0].isCurrent && members[$0].connectionCount == 0
            }
            if let free {
                members[free] = fresh
                current[free] = member
            } else {
                members.append(fresh)
                current.append(member)
            }
        }
        for index in members.indices {
            let rank = current[index]?.rank ?? .never
            if members[index].rank == .never, rank != .never {
                members[index].trial.begin(now: now)
                hasTrials = true
            }
            members[index].rank = rank
        }
        balancer.update(current, now: now)
    }

    /// Whether connections to the member may be kept for later requests.
    ///
    /// Mutating, as `hasRoom`, so that a class lends the table instead of copying it: both are
    /// asked for each request.
    package mutating func isKept(_ index: Int) -> Bool { Self.isKept(members[index]) }

    private static func isKept(_ member: Member) -> Bool {
        member.isCurrent && member.rank != .never
    }

    package var hasCurrentMember: Bool { members.contains { $0.isCurrent } }

    /// Some member may be given requests at all.
    package var hasUsableMember: Bool {
        members.contains { $0.isCurrent && $0.rank != .never }
    }

    package static func bit(_ index: Int) -> UInt64 { 1 << UInt64(min(index, 63)) }

    // MARK: - Who is next

    /// What a request asks of the choice.
    package struct Choice: Sendable {
        /// Members tried before: bit n is member n (members beyond 63 share the last bit).
        package var tried: UInt64
        /// Members that have room without one more connection.
        package var shared: UInt64
        /// For `BalancePolicy.hash`.
        package var key: UInt64
        /// The member that the client is bound to; -1: none.
        package var bound: Int

        package init(
            tried: UInt64 = 0, shared: UInt64 = 0, key: UInt64 = 0, bound: Int = -1
        ) {
            self.tried = tried
            self.shared = shared
            self.key = key
            self.bound = bound
        }
    }

    /// The next member for a request that was not tried yet and has room; nil when there is none.
    /// Fallback members have their turn when the preferred ones have been tried, not when they are
    /// only full.
    // hot: once per request; no allocation.
    package mutating func next(_ choice: Choice, now: Instant) -> Int? {
        let lowest = lowestRank(choice)
        guard lowest != .never else { return nil }
        let found = hasTrials ? choose(choice, lowest, sparesTrials: true, now: now) : nil
        let next = found ?? choose(choice, lowest, sparesTrials: false, now: now)
        if hasTrials, let next { members[next].trial.chosen(now: now) }
        return next
    }

    /// - Parameter sparesTrials: members on trial have had their request of this second.
    private mutating func choose(
        _ choice: Choice, _ lowest: MemberRank, sparesTrials: Bool, now: Instant
    ) -> Int? {
        let (members, useMax) = (members, useMax)
        return balancer.next(key: choice.key, bound: choice.bound, now: now) { index in
            Self.isCandidate(index, choice, lowest, members)
                && (Self.hasRoom(members[index], useMax) || choice.shared & Self.bit(index) != 0)
                && !(sparesTrials && index != choice.bound
                    && members[index].trial.isSpared(now: now))
        }
    }

    private static func isUntried(_ index: Int, _ choice: Choice, _ members: [Member]) -> Bool {
        members[index].isCurrent && choice.tried & bit(index) == 0
    }

    /// Members that only serve clients bound to them are nobody else's.
    private static func isCandidate(
        _ index: Int, _ choice: Choice, _ lowest: MemberRank, _ members: [Member]
    ) -> Bool {
        members[index].rank <= lowest && isUntried(index, choice, members)
            && (members[index].rank != .boundOnly || index == choice.bound)
    }

    /// The best rank among those not tried; a bound member is as good as any for its client.
    private func lowestRank(_ choice: Choice) -> MemberRank {
        var lowest = MemberRank.never
        for index in members.indices where Self.isUntried(index, choice, members) {
            if index == choice.bound, members[index].rank == .boundOnly { return .boundOnly }
            if members[index].rank == .boundOnly { continue }
            lowest = min(lowest, members[index].rank)
        }
        return lowest
    }

    /// One more connection of the member may be used; counts the unused ones as room, because a
    /// new one is opened only if there are none.
    package mutating func hasRoom(_ index: Int) -> Bool {
        Self.hasRoom(members[index], useMax)
    }

    private static func hasRoom(_ member: Member, _ useMax: Int) -> Bool {
        useMax == 0 || member.connectionCount - member.idleCount < useMax
    }

    /// A member that `next` would consider will have room once a connection is given back.
    package func isWorthWaiting(_ choice: Choice) -> Bool {
        guard useMax > 0 else { return false }
        let lowest = lowestRank(choice)
        guard lowest != .never else { return false }
        return members.indices.contains {
            Self.isCandidate($0, choice, lowest, members) && !Self.hasRoom(members[$0], useMax)
        }
    }

    /// `next` would find somebody.
    package func hasRoom(_ choice: Choice) -> Bool {
        let lowest = lowestRank(choice)
        guard lowest != .never else { return false }
        return members.indices.contains {
            Self.isCandidate($0, choice, lowest, members)
                && (Self.hasRoom(members[$0], useMax) || choice.shared & Self.bit($0) != 0)
        }
    }

    /// The member that a cookie's value names; nil if there is none such now.
    package func member(forToken token: UInt64) -> Int? {
        balancer.member(forToken: token).flatMap { Self.isKept(members[$0]) ? $0 : nil }
    }

    /// What a cookie calls the member; 0: it has left, or is given nothing more.
    package func token(of index: Int) -> UInt64 {
        Self.isKept(members[index]) ? balancer.stickyToken(index) : 0
    }

    // MARK: - Connections

    package mutating func opened(_ member: Int) { members[member].connectionCount += 1 }

    /// - Precondition: the connection is not among the unused ones.
    package mutating func closed(_ member: Int) {
        invariant(members[member].connectionCount > 0, "a closed connection was opened")
        members[member].connectionCount -= 1
    }

    /// A connection of the member's has become unused, or is no longer.
    package mutating func noteIdle(_ member: Int, _ change: Int) {
        members[member].idleCount += change
        invariant(members[member].idleCount >= 0, "a used connection was unused before")
    }

    /// One connection more would be more than the member may have: an unused one has to go first.
    package func needsRoom(_ member: Int) -> Bool {
        useMax > 0 && members[member].connectionCount >= useMax && members[member].idleCount > 0
    }

    package mutating func connected(_ member: Int, after span: UInt64) {
        members[member].clock.connected(after: span)
    }

    // MARK: - What traffic shows

    package mutating func began(_ member: Int) { balancer.began(member) }
    package mutating func ended(_ member: Int) { balancer.ended(member) }

    /// Requests under way.
    package func load(_ member: Int) -> Int { balancer.load(member) }

    /// An answer's head has come.
    ///
    /// - Parameters:
    ///   - latency: nanoseconds since the request's last byte.
    ///   - isFailure: its status counts as one.
    /// - Returns: how many have failed in a row, if this is one.
    package mutating func answered(
        _ member: Int, latency: UInt64, isFailure: Bool, now: Instant
    ) -> Int {
        members[member].answeredAt = now
        if !isFailure {
            balancer.answered(member, latency: latency, now: now)
            let sample = max(latency, 1)
            usualLatency =
                usualLatency == 0 ? sample : usualLatency - usualLatency / 8 + sample / 8
            members[member].trial.end()
        }
        members[member].summary.latencySum &+= latency
        return note(member, isFailure: isFailure)
    }

    /// A request has waited at the member ten times as long as is usual with all of them, a second
    /// at least, and the member has answered nobody meanwhile.
    ///
    /// - Parameter sent: its last byte.
    package func isHanging(_ member: Int, since sent: Instant, now: Instant) -> Bool {
        guard usualLatency > 0, members[member].answeredAt <= sent else { return false }
        let usual = min(usualLatency, .max / 16)
        return now.nanoseconds(since: sent) >= max(10 * usual, Self.hangMin)
    }

    /// Nanoseconds: less is never too long.
    package static let hangMin: UInt64 = 1_000_000_000

    /// The member is back after it was out, and has not answered yet: one failure is enough.
    package func isOnTrial(_ member: Int, now: Instant) -> Bool {
        members[member].trial.isOn(now: now)
    }

    /// It does what can be expected of it (a server of relayed connections never answers).
    package mutating func endTrial(_ member: Int) { members[member].trial.end() }

    /// A request has failed before an answer.
    ///
    /// - Returns: how many have failed in a row.
    package mutating func failed(_ member: Int) -> Int { note(member, isFailure: true) }

    private mutating func note(_ member: Int, isFailure: Bool) -> Int {
        hasSummaries = true
        members[member].summary.requests += 1
        guard isFailure else {
            members[member].failuresInRow = 0
            return 0
        }
        members[member].summary.failures += 1
        members[member].failuresInRow += 1
        return members[member].failuresInRow
    }

    /// Whether the control thread should hear of one more failed connection: not more often than
    /// every 50 ms and member.
    package mutating func shouldTell(_ member: Int, now: Instant) -> Bool {
        guard now.nanoseconds(since: members[member].toldAt) >= 50_000_000 else { return false }
        members[member].toldAt = now
        return true
    }

    /// What has been seen since the last call; empty if nothing.
    package mutating func takeSummaries() -> [MemberSummary] {
        guard hasSummaries else { return [] }
        hasSummaries = false
        var result: [MemberSummary] = []
        for index in members.indices where members[index].summary.requests > 0 {
            result.append(members[index].summary)
            members[index].summary = Self.nothing(members[index].address)
        }
        return result
    }

    private static func nothing(_ address: SocketAddress) -> MemberSummary {
        MemberSummary(address: address, requests: 0, failures: 0, latencySum: 0)
    }
}
