import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Balancer: consistent hash") struct BalancerHashTests {
    private static func balancer(weights: [Int], turn: Int = 0) -> TestBalancer {
        TestBalancer(.hash(.client), weights: weights, turn: turn)
    }

    /// The members of keys 1 to 10,000.
    private static func map(_ balancer: TestBalancer) -> [Int] {
        (1...10_000).map { balancer.next(key: $0) ?? -1 }
    }

    private static func differences(_ one: [Int], _ other: [Int]) -> [(from: Int, to: Int)] {
        zip(one, other).filter { $0 != $1 }.map { (from: $0, to: $1) }
    }

    @Test("A key has the same member, at any time and on every worker")
    func constant() {
        let one = Self.map(Self.balancer(weights: [1, 2, 1, 3]))
        let second = Self.balancer(weights: [1, 2, 1, 3], turn: 5)
        _ = Self.map(second)

        #expect(Self.differences(one, Self.map(second)).isEmpty)
    }

    @Test("Keys spread evenly", arguments: [2, 3, 8, 16])
    func even(count: Int) {
        let balancer = Self.balancer(weights: [Int](repeating: 1, count: count))

        let counts = TestBalancer.counts(Self.map(balancer), members: count)

        let mean = 10_000 / count
        #expect(counts.allSatisfy { abs($0 - mean) <= mean / 10 }, "\(counts)")
    }

    @Test("Keys spread by weight")
    func weighted() {
        let counts = TestBalancer.counts(
            Self.map(Self.balancer(weights: [1, 2, 5])), members: 3)

        for (count, ideal) in zip(counts, [0.125, 0.25, 0.625]) {
            #expect(abs(Double(count) / 10_000 - ideal) < 0.02, "\(counts)")
        }
    }

    @Test(
        "A member that goes gives away its own keys only",
        arguments: [[1, 1, 1, 1], [1, 2, 5, 3]])
    func removal(weights: [Int]) {
        let balancer = Self.balancer(weights: weights)
        let before = Self.map(balancer)
        balancer.update(
            weights.enumerated().map { $0 == 2 ? nil : TestBalancer.member($0, weight: $1) })

        let changes = Self.differences(before, Self.map(balancer))

        #expect(changes.count == before.count { $0 == 2 })
        #expect(changes.allSatisfy { $0.from == 2 })
        #expect(Set(changes.map(\.to)) == [0, 1, 3])
    }

    @Test("A newcomer takes its part and nothing else moves")
    func addition() {
        let balancer = Self.balancer(weights: [1, 1, 1])
        let before = Self.map(balancer)
        balancer.update((0..<4).map { TestBalancer.member($0) })

        let changes = Self.differences(before, Self.map(balancer))

        #expect(changes.allSatisfy { $0.to == 3 })
        #expect(abs(changes.count - 2500) < 250)
    }

    @Test("A weight that changes moves keys to or from that member only")
    func reweighting() {
        let balancer = Self.balancer(weights: [1, 1, 1])
        let before = Self.map(balancer)
        balancer.change(1) { $0.weight = 2 }

        let changes = Self.differences(before, Self.map(balancer))

        #expect(changes.allSatisfy { $0.to == 1 })
        #expect(changes.count > 1000)
    }

    @Test("Without its member a key has always the same other one")
    func next() {
        let balancer = Self.balancer(weights: [1, 1, 1, 1])
        for key in 1...500 as ClosedRange<UInt64> {
            guard let first = balancer.next(key: key) else { continue }

            let second = balancer.next(key: key) { $0 != first }

            #expect(second != first)
            #expect(balancer.next(key: key) { $0 != first } == second)
        }
    }

    @Test("No member has more than a quarter above its part, even if all clients are one")
    func boundedLoad() {
        let weights = [1, 2, 5, 2]
        let balancer = Self.balancer(weights: weights)
        seeded(2) { random in
            var underWay: [Int] = []
            for step in 0..<4000 {
                if random.chance(9, of: 20), !underWay.isEmpty {
                    let index = Int.random(in: 0..<underWay.count, using: &random)
                    balancer.ended(underWay.takeOut(index))
                    continue
                }
                let key: UInt64 = step % 2 == 0 ? 77 : .random(in: 1...9, using: &random)
                guard let choice = balancer.next(key: key) else {
                    #expect(Bool(false), "somebody always has room")
                    continue
                }
                balancer.began(choice)
                underWay.append(choice)
                let part = Double(underWay.count * weights[choice]) / 10
                let most = max((1.25 * part).rounded(.up), Double(Balancer.loadAlways))
                #expect(Double(balancer.load(choice)) <= most, "\(random)")
            }
        }
    }

    @Test("A few requests of one client stay together")
    func fewRequests() {
        let balancer = Self.balancer(weights: [1, 1, 1, 1])
        var members: Set<Int> = []

        for _ in 0..<Balancer.loadAlways {
            guard let choice = balancer.next(key: 3) else { continue }
            members.insert(choice)
            balancer.began(choice)
        }

        #expect(members.count == 1)
        #expect(balancer.next(key: 3).map { members.contains($0) } == false)
    }

    @Test("Requests without a key take turns")
    func noKey() {
        let balancer = Self.balancer(weights: [1, 1, 1])

        #expect(balancer.choices(6, key: 0) == [0, 1, 2, 0, 1, 2])
    }
}
