import EdgeCore

@testable import EdgeUpstream

/// A balancer that expectations may change, with its own time.
final class TestBalancer {
    private(set) var balancer: Balancer
    var now = Instant(nanoseconds: 1_000_000_000)
    private var seats: [RankedMember?] = []

    init(
        _ policy: BalancePolicy = .roundRobin, weights: [Int] = [1, 1, 1], turn: Int = 0,
        slowStart: Duration = .zero, sticky: Bool = false
    ) {
        balancer = Balancer(seed: 7, turn: turn)
        balancer.configure(policy, slowStart: slowStart, sticky: sticky)
        update(weights.enumerated().map { Self.member($0, weight: $1) })
    }

    static func member(
        _ number: Int, weight: Int = 1, rank: MemberRank = .preferred, state: MemberState = .up,
        rampedFrom: Instant = Instant(nanoseconds: 0)
    ) -> RankedMember {
        RankedMember(
            address: SocketAddress(ipv4: 0x0A00_0000 + UInt32(number), port: 80), weight: weight,
            rank: rank, state: state, rampedFrom: rampedFrom)
    }

    func update(_ members: [RankedMember?]) {
        seats = members
        balancer.update(members, now: now)
    }

    /// Changes one member and tells the balancer.
    func change(_ index: Int, _ body: (inout RankedMember) -> Void) {
        guard var member = seats[index] else { return }
        body(&member)
        seats[index] = member
        update(seats)
    }

    func next(
        key: UInt64 = 0, bound: Int = -1, isUsable: (Int) -> Bool = { _ in true }
    ) -> Int? {
        balancer.next(key: key, bound: bound, now: now, isUsable: isUsable)
    }

    func next(without: Set<Int>) -> Int? { next { !without.contains($0) } }

    func began(_ member: Int) { balancer.began(member) }
    func ended(_ member: Int) { balancer.ended(member) }
    func load(_ member: Int) -> Int { balancer.load(member) }
    func stickyToken(_ member: Int) -> UInt64 { balancer.stickyToken(member) }
    func member(forToken token: UInt64) -> Int? { balancer.member(forToken: token) }
    func advance(_ span: Duration) { now = now.advanced(by: span) }

    func answered(_ member: Int, after latency: Duration) {
        balancer.answered(member, latency: latency.nanoseconds, now: now)
    }

    /// Members of so many choices.
    func choices(_ count: Int, key: UInt64 = 0) -> [Int] {
        (0..<count).compactMap { _ in next(key: key) }
    }

    /// How often each member was chosen.
    static func counts(_ choices: [Int], members: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: members)
        for choice in choices { counts[choice] += 1 }
        return counts
    }
}
