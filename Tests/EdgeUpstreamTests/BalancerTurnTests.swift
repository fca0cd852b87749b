import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Balancer: round-robin") struct BalancerTurnTests {
    /// The furthest that a member's count in any run of successive choices is from its part.
    private static func worstWindow(_ choices: [Int], weights: [Int]) -> Double {
        let total = Double(weights.reduce(0, +))
        var worst = 0.0
        for (member, weight) in weights.enumerated() {
            // Counts ahead of the part after each choice: a window is the difference of two.
            var ahead = 0.0
            var (least, most) = (0.0, 0.0)
            for choice in choices {
                ahead += (choice == member ? 1 : 0) - Double(weight) / total
                least = min(least, ahead)
                most = max(most, ahead)
            }
            worst = max(worst, most - least)
        }
        return worst
    }

    @Test("Members take turns")
    func rotation() {
        let balancer = TestBalancer()

        #expect(balancer.choices(7) == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test(
        "Weights are kept to about one request in any run of requests",
        arguments: [
            [1, 2, 5], [1, 1, 1, 1], [5, 1, 1], [1, 1], [3, 2], [256, 1], [10, 10, 1],
        ])
    func weights(weights: [Int]) {
        let balancer = TestBalancer(weights: weights)

        let choices = balancer.choices(weights.reduce(0, +) * 20)

        #expect(Self.worstWindow(choices, weights: weights) < 1.2)
        let counts = TestBalancer.counts(choices, members: weights.count)
        #expect(counts == weights.map { $0 * 20 })
    }

    @Test("Many members of any weights stay within two requests of their parts")
    func manyWeights() {
        var random = SplitMix64(seed: 11)
        for _ in 0..<50 {
            let weights = (0..<Int.random(in: 2...30, using: &random)).map { _ in
                Int.random(in: 1...256, using: &random)
            }
            let balancer = TestBalancer(weights: weights)

            let worst = Self.worstWindow(balancer.choices(2000), weights: weights)

            #expect(worst < 2, "weights \(weights)")
        }
    }

    @Test("Beyond 64 members nobody is forgotten", arguments: [65, 130])
    func hundred(count: Int) {
        let balancer = TestBalancer(weights: [Int](repeating: 1, count: count))

        let counts = TestBalancer.counts(balancer.choices(3 * count), members: count)

        #expect(counts.allSatisfy { $0 == 3 })
        #expect(balancer.next(without: Set(0..<(count - 1))) == count - 1)
    }

    @Test("Workers begin with different members")
    func differentStarts() {
        let firsts = (0..<4).map { TestBalancer(weights: [1, 1, 1, 1], turn: $0).next() }

        #expect(Set(firsts).count == 4)
    }

    @Test("A second attempt goes elsewhere, and no member pays for it more than the others")
    func exclusion() {
        let balancer = TestBalancer(weights: [1, 1, 1, 1])
        var random = SplitMix64(seed: 3)
        var counts = [0, 0, 0, 0]

        for _ in 0..<4000 {
            guard let first = balancer.next() else { return #expect(Bool(false)) }
            counts[first] += 1
            guard Int.random(in: 0..<3, using: &random) == 0 else { continue }
            guard let second = balancer.next(without: [first]) else {
                return #expect(Bool(false))
            }
            #expect(second != first)
            counts[second] += 1
        }

        let total = counts.reduce(0, +)
        #expect(counts.allSatisfy { abs($0 - total / 4) <= total / 400 }, "\(counts)")
    }

    @Test("What one failing member sends on is shared by all others")
    func failover() {
        let balancer = TestBalancer(weights: [1, 1, 1, 1])
        var counts = [0, 0, 0, 0]

        for _ in 0..<1200 {
            guard var choice = balancer.next() else { continue }
            if choice == 2 { choice = balancer.next(without: [2]) ?? 2 }
            counts[choice] += 1
        }

        #expect(counts[2] == 0)
        #expect([0, 1, 3].allSatisfy { abs(counts[$0] - 400) <= 2 }, "\(counts)")
    }

    @Test("A member that had no room does not catch up what it has missed")
    func noBurst() {
        let balancer = TestBalancer()
        for _ in 0..<1000 { _ = balancer.next(without: [1]) }

        let counts = TestBalancer.counts(balancer.choices(9), members: 3)

        #expect(counts.allSatisfy { $0 >= 2 && $0 <= 4 })
    }

    @Test("Members that come and go leave the others' turns even")
    func comeAndGo() {
        let balancer = TestBalancer()
        let all = (0..<3).map { TestBalancer.member($0) }
        var counts = [0, 0, 0]

        for round in 0..<3000 {
            balancer.update(round % 2 == 0 ? all + [TestBalancer.member(9)] : all)
            if let choice = balancer.next(), choice < 3 { counts[choice] += 1 }
        }

        let mean = counts.reduce(0, +) / 3
        #expect(counts.allSatisfy { abs($0 - mean) <= 3 }, "\(counts)")
    }

    @Test("A newcomer gets its part at once and no more")
    func newcomer() {
        let balancer = TestBalancer()
        _ = balancer.choices(1001)
        balancer.update((0..<4).map { TestBalancer.member($0) })

        let counts = TestBalancer.counts(balancer.choices(40), members: 4)

        #expect(counts.allSatisfy { abs($0 - 10) <= 1 }, "\(counts)")
    }

    @Test("Weights that shrink leave no debt behind")
    func shrinkingWeights() {
        let balancer = TestBalancer(weights: [256, 256])
        _ = balancer.choices(101)
        balancer.update((0..<2).map { TestBalancer.member($0) })

        let counts = TestBalancer.counts(balancer.choices(20), members: 2)

        #expect(counts.allSatisfy { abs($0 - 10) <= 1 }, "\(counts)")
    }

    @Test("Without members there is nobody")
    func nobody() {
        let balancer = TestBalancer(weights: [])

        #expect(balancer.next() == nil)
        balancer.update([nil, nil])
        #expect(balancer.next() == nil)
    }

    @Test("An index beyond the newest members is nobody's")
    func shorterUpdate() {
        let balancer = TestBalancer()
        balancer.update([TestBalancer.member(0)])

        #expect(balancer.choices(3) == [0, 0, 0])
    }
}
