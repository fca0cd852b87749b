package import EdgeCore

/// One worker's choice among the members of an upstream, by the policy of its configuration.
///
/// Pure and the worker's own: told of members by the control thread, of requests by the data path.
/// Indices are the caller's (`MemberTable`): they stay while a member has connections. Every choice
/// is O(members), whatever their number; nothing is allocated but in `update`.
package struct Balancer: Sendable {
    var seats: [Seat] = []
    var generator: SplitMix64
    /// Where a tie is broken next.
    var cursor: Int
    private let keys: KeyedHash
    private var policy = BalancePolicy.roundRobin
    private var rampNanoseconds: UInt64 = 0
    private var isSticky = false
    /// Some share is less than its whole weight, and was computed a moment ago.
    private var isRamping = false
    private var hasFallback = false
    /// Turns to pass before the first request.
    private var turnsAhead: Int

    /// - Parameters:
    ///   - seed: the key of sticky tokens and of the hash policy. The same for all workers, or a
    ///     client's cookie would mean another member on each; the same over restarts and nodes if
    ///     keys are to keep their members over those. Who knows it can tell addresses from tokens.
    ///   - turn: the worker's number, so that not all of them begin with the same member.
    package init(seed: UInt64, turn: Int = 0) {
        keys = KeyedHash(seed: seed)
        generator = SplitMix64(seed: seed ^ UInt64(truncatingIfNeeded: turn) << 32)
        cursor = max(turn, 0)
        turnsAhead = max(turn, 0) % 1024
    }

    // MARK: - Told by the control thread

    /// - Parameter slowStart: how long a member's share grows from a tenth to the whole, from
    ///   `rampedFrom` on.
    package mutating func configure(_ policy: BalancePolicy, slowStart: Duration, sticky: Bool) {
        self.policy = policy
        rampNanoseconds = slowStart.nanoseconds
        isSticky = sticky
        isRamping = true
    }

    /// Takes the newest members.
    ///
    /// - Parameter members: by index; nil: an index without a current member. What is known of a
    ///   member whose address stays at its index stays, also while it is away.
    package mutating func update(_ members: [RankedMember?], now: Instant) {
        while seats.count < members.count { seats.append(Seat()) }
        hasFallback = false
        for index in seats.indices {
            guard index < members.count, let member = members[index] else {
                seats[index].vacate()
                continue
            }
            seats[index].seat(member, token: keys.hash(member: member.address))
            hasFallback = hasFallback || member.rank == .fallback
        }
        isRamping = true
        refreshShares(now: now)
        settleCredits()
        if turnsAhead > 0, let field = gather(.preferred, isUsable: { _ in true }), field.count > 1
        {
            for _ in 0..<turnsAhead { _ = chooseInTurn(field) }
            turnsAhead = 0
        }
    }

    // MARK: - Choice

    /// The member for a request; nil: none that `isUsable` allows. Preferred members first, then
    /// fallbacks.
    ///
    /// - Parameters:
    ///   - key: hash of what the policy's key is made from (`KeyedHash`); 0: the request has none,
    ///     and takes the next turn. For the other policies without meaning.
    ///   - bound: the member that the request's cookie names, -1: none. It is taken if it may be.
    ///   - isUsable: asked at most twice per member, only of members that may be chosen.
    // hot: no allocation, O(members)
    package mutating func next(
        key: UInt64 = 0, bound: Int = -1, now: Instant, isUsable: (Int) -> Bool
    ) -> Int? {
        if isSticky, bound >= 0, bound < seats.count, seats[bound].takesBound, isUsable(bound) {
            return bound
        }
        if isRamping { refreshShares(now: now) }
        var candidates = gather(.preferred, isUsable: isUsable)
        if candidates == nil, hasFallback {
            candidates = gather(.fallback, isUsable: isUsable)
        }
        guard let field = candidates else { return nil }
        switch policy {
        case .roundRobin: return chooseInTurn(field)
        case .leastRequests: return chooseLeastLoaded(field)
        case .fastest: return chooseFastest(field, now: now)
        case .hash: return key == 0 ? chooseInTurn(field) : chooseByHash(field, key: key)
        }
    }

    // MARK: - Told by the data path

    /// A request (or a TCP connection) is under way to the member. Each is ended once.
    package mutating func began(_ member: Int) { seats[member].load += 1 }

    /// The head of an answer is there, or has failed to come: a member that lets requests time out
    /// is slow, too. Errors that come fast should not be told, lest they attract more requests.
    ///
    /// - Parameter latency: nanoseconds from the request's last byte.
    package mutating func answered(_ member: Int, latency: UInt64, now: Instant) {
        guard policy == .fastest else { return }
        seats[member].latency.add(latency, now: now)
    }

    package mutating func ended(_ member: Int) {
        invariant(seats[member].load > 0, "a request that ended had begun")
        seats[member].load -= 1
    }

    /// Requests under way.
    package func load(_ member: Int) -> Int { seats[member].load }

    // MARK: - Sticky clients

    /// What a client's cookie says of the member: a keyed hash of its address, the same on all
    /// workers. Never 0.
    package func stickyToken(_ member: Int) -> UInt64 { seats[member].token }

    /// The member that a cookie names; nil: none of the current ones. Whether it may be used is
    /// `next`'s to say.
    // hot: no allocation, O(members)
    package func member(forToken token: UInt64) -> Int? {
        for index in seats.indices where seats[index].token == token && seats[index].weight > 0 {
            return index
        }
        return nil
    }

    // MARK: - Private

    /// Makes the usable members of a rank the candidates; nil if there are none.
    private mutating func gather(_ rank: MemberRank, isUsable: (Int) -> Bool) -> Field? {
        var field = Field()
        for index in seats.indices {
            guard seats[index].rank == rank, isUsable(index) else {
                seats[index].part = 0
                continue
            }
            let share = seats[index].share
            seats[index].part = share
            field.count += 1
            field.total += share
            field.load += seats[index].load
            field.last = index
            field.smallest = min(field.smallest, share)
            field.largest = max(field.largest, share)
        }
        return field.count > 0 ? field : nil
    }

    private mutating func refreshShares(now: Instant) {
        isRamping = false
        for index in seats.indices where seats[index].ramp(now: now, over: rampNanoseconds) {
            isRamping = true
        }
    }

    /// After a change of members: those that stay keep what is due to them, within one round of the
    /// new weights, and newcomers stand in the middle.
    private mutating func settleCredits() {
        var total = 0
        var sum = 0
        var count = 0
        for seat in seats where seat.weight > 0 {
            total += seat.share
            sum += seat.credit
            count += 1
        }
        guard count > 0 else { return }
        let mean = sum / count
        for index in seats.indices {
            let credit = seats[index].weight > 0 ? seats[index].credit - mean : 0
            seats[index].credit = min(max(credit, -total), total)
        }
    }
}
