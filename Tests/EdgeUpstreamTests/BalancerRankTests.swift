import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Balancer: ranks, sticky clients and slow start") struct BalancerRankTests {
    static let policies: [BalancePolicy] = [
        .roundRobin, .leastRequests, .fastest, .hash(.client),
    ]

    private static func ranked(_ policy: BalancePolicy, _ ranks: [MemberRank]) -> TestBalancer {
        let balancer = TestBalancer(policy, weights: [], sticky: true)
        balancer.update(ranks.enumerated().map { TestBalancer.member($0, rank: $1) })
        return balancer
    }

    // MARK: - Ranks

    @Test("A backup is chosen only when no preferred member is left", arguments: policies)
    func fallback(policy: BalancePolicy) {
        let balancer = Self.ranked(policy, [.fallback, .preferred, .fallback, .preferred])

        let normal = (1...200).compactMap { balancer.next(key: $0) }
        let retried = (1...200).compactMap { balancer.next(key: $0) { $0 != 1 } }
        let left = (1...200).compactMap { balancer.next(key: $0) { $0 % 2 == 0 } }

        #expect(Set(normal) == [1, 3] && normal.count == 200)
        #expect(Set(retried) == [3] && retried.count == 200)
        #expect(Set(left) == [0, 2] && left.count == 200)
    }

    @Test("A draining member has only the clients that are bound to it", arguments: policies)
    func boundOnly(policy: BalancePolicy) {
        let balancer = Self.ranked(policy, [.preferred, .boundOnly])

        let unbound = (1...100).compactMap { balancer.next(key: $0) }

        #expect(unbound.allSatisfy { $0 == 0 } && unbound.count == 100)
        #expect(balancer.next(bound: 1) == 1)
        #expect(balancer.next { $0 == 1 } == nil)
    }

    @Test("A member in maintenance has nobody, whatever a cookie says", arguments: policies)
    func never(policy: BalancePolicy) {
        let balancer = Self.ranked(policy, [.never, .preferred, .never])

        #expect((1...100).allSatisfy { balancer.next(key: $0) == 1 })
        #expect(balancer.next(bound: 0) == 1)
        #expect(balancer.next { $0 != 1 } == nil)
    }

    @Test("Every member beyond the 64th is found when it is the only one", arguments: policies)
    func alone(policy: BalancePolicy) {
        let balancer = TestBalancer(policy, weights: [Int](repeating: 3, count: 130))

        for index in 0..<130 {
            #expect(balancer.next(key: 5) { $0 == index } == index)
        }
        #expect(balancer.next(key: 5) { _ in false } == nil)
    }

    @Test("Members may be asked for twice at most, and none that is out", arguments: policies)
    func questions(policy: BalancePolicy) {
        let balancer = Self.ranked(policy, [.preferred, .fallback, .never, .boundOnly, .preferred])
        var asked = [0, 0, 0, 0, 0]

        _ = balancer.next(key: 1, bound: 0) { index in
            asked[index] += 1
            return false
        }

        #expect(asked == [2, 1, 0, 0, 1])
    }

    // MARK: - Sticky clients

    @Test("A cookie brings a client back, as long as its member can be used")
    func bound() {
        let balancer = Self.ranked(.roundRobin, [.preferred, .preferred, .fallback])

        #expect((0..<10).allSatisfy { _ in balancer.next(bound: 1) == 1 })
        #expect(balancer.next(bound: 1) { $0 != 1 } == 0)
        #expect(balancer.next(bound: 2) == 2)
        #expect(balancer.next(bound: 99) != nil)
    }

    @Test("A cookie does not lead to a backup that nobody has seen working")
    func boundToUnknown() {
        let balancer = TestBalancer(sticky: true)
        balancer.update([
            TestBalancer.member(0),
            TestBalancer.member(1, rank: .fallback, state: .unknown),
        ])

        #expect(balancer.next(bound: 1) == 0)
        #expect(balancer.next(bound: 1) { $0 == 1 } == 1)
    }

    @Test("Without a sticky policy a cookie means nothing")
    func notSticky() {
        let balancer = TestBalancer()

        let choices = (0..<6).compactMap { _ in balancer.next(bound: 1) }

        #expect(choices == [0, 1, 2, 0, 1, 2])
    }

    @Test("A token names the same member on every worker, and each member has its own")
    func tokens() {
        let weights = [Int](repeating: 1, count: 100)
        let one = TestBalancer(weights: weights, turn: 0, sticky: true)
        let other = TestBalancer(weights: weights, turn: 1, sticky: true)

        let tokens = (0..<100).map { one.stickyToken($0) }

        #expect(Set(tokens).count == 100)
        #expect(tokens.map { other.member(forToken: $0) } == (0..<100).map { $0 })
        #expect(one.member(forToken: 0) == nil)
    }

    @Test("The token of a member that has left names nobody, also at an index used again")
    func leftToken() {
        let balancer = TestBalancer(sticky: true)
        let token = balancer.stickyToken(1)

        balancer.update([TestBalancer.member(0), nil, TestBalancer.member(2)])
        #expect(balancer.member(forToken: token) == nil)
        balancer.update([0, 9, 2].map { TestBalancer.member($0) })
        #expect(balancer.member(forToken: token) == nil)
        balancer.update([0, 9, 2, 1].map { TestBalancer.member($0) })
        #expect(balancer.member(forToken: token) == 3)
    }

    // MARK: - Load

    @Test("Requests under way are counted over updates, also those of a member that has left")
    func loads() {
        let balancer = TestBalancer()
        balancer.began(1)
        balancer.began(1)

        balancer.update([TestBalancer.member(0), nil, TestBalancer.member(2)])
        balancer.ended(1)

        #expect(balancer.load(1) == 1)
        #expect(balancer.load(0) == 0)
        balancer.ended(1)
        #expect(balancer.load(1) == 0)
    }

    // MARK: - Slow start

    /// The part of 2,000 requests, one after the other, that the second of two members gets.
    private static func part(_ policy: BalancePolicy, after elapsed: Duration) -> Double {
        let balancer = TestBalancer(policy, weights: [], slowStart: .seconds(10))
        balancer.update([
            TestBalancer.member(0), TestBalancer.member(1, rampedFrom: balancer.now),
        ])
        balancer.advance(elapsed)
        var count = 0
        for key in 1...2000 {
            let choice = balancer.next(key: UInt64(key)) ?? 0
            balancer.began(choice)
            balancer.answered(choice, after: .milliseconds(1))
            balancer.ended(choice)
            count += choice
        }
        return Double(count) / 2000
    }

    @Test("A member that comes back begins with a tenth of its weight", arguments: policies)
    func rampStart(policy: BalancePolicy) {
        #expect(abs(Self.part(policy, after: .zero) - 0.1 / 1.1) < 0.02)
    }

    @Test("Its part grows with the time", arguments: policies)
    func rampMiddle(policy: BalancePolicy) {
        #expect(abs(Self.part(policy, after: .seconds(5)) - 0.55 / 1.55) < 0.03)
    }

    @Test("At the end of the slow start it has all of it", arguments: policies)
    func rampEnd(policy: BalancePolicy) {
        #expect(abs(Self.part(policy, after: .seconds(10)) - 0.5) < 0.03)
    }

    @Test("No slow start without a moment it began at, and none if it is off")
    func noRamp() {
        let balancer = TestBalancer(weights: [1, 1], slowStart: .seconds(10))
        let off = TestBalancer(weights: [])
        off.update([TestBalancer.member(0), TestBalancer.member(1, rampedFrom: off.now)])

        #expect(TestBalancer.counts(balancer.choices(20), members: 2) == [10, 10])
        #expect(TestBalancer.counts(off.choices(20), members: 2) == [10, 10])
    }

    @Test("Under load, too, a member in its slow start has only its part of the requests")
    func rampUnderLoad() {
        let balancer = TestBalancer(.leastRequests, weights: [], slowStart: .seconds(10))
        balancer.update([
            TestBalancer.member(0), TestBalancer.member(1, rampedFrom: balancer.now),
        ])

        for _ in 0..<110 { balancer.next().map { balancer.began($0) } }

        #expect(balancer.load(1) == 10)
    }
}
