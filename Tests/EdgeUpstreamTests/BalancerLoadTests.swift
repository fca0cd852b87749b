import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Balancer: least requests") struct BalancerLoadTests {
    @Test("Nobody gets a request while another would have fewer for its weight", arguments: 1...4)
    func least(seed: UInt64) {
        seeded(seed) { random in
            let weights = [1, 2, 5, 5, 40].shuffled(using: &random)
            let balancer = TestBalancer(.leastRequests, weights: weights)
            var underWay: [Int] = []
            for _ in 0..<3000 {
                if random.chance(9, of: 20), !underWay.isEmpty {
                    let index = Int.random(in: 0..<underWay.count, using: &random)
                    balancer.ended(underWay.takeOut(index))
                    continue
                }
                let out = Set((0..<5).filter { _ in random.chance(1, of: 5) })
                guard let choice = balancer.next(without: out) else {
                    #expect(out.count == 5)
                    continue
                }
                // (load + 1) / weight, both multiplied by both weights; idle ones take turns.
                for other in 0..<5 where !out.contains(other) && balancer.load(choice) > 0 {
                    #expect(
                        (balancer.load(choice) + 1) * weights[other]
                            <= (balancer.load(other) + 1) * weights[choice], "\(random)")
                }
                #expect(!out.contains(choice))
                balancer.began(choice)
                underWay.append(choice)
            }
        }
    }

    @Test("Weights are kept with any number of requests at a time", arguments: [1, 8, 80, 400])
    func distribution(concurrency: Int) {
        seeded(5) { random in
            let balancer = TestBalancer(.leastRequests, weights: [1, 2, 5])
            var underWay: [Int] = []
            var counts = [0, 0, 0]
            for _ in 0..<16_000 {
                if underWay.count == concurrency {
                    let index = Int.random(in: 0..<underWay.count, using: &random)
                    balancer.ended(underWay.takeOut(index))
                }
                guard let choice = balancer.next() else { continue }
                counts[choice] += 1
                balancer.began(choice)
                underWay.append(choice)
            }
            let parts = counts.map { Double($0) / 16_000 }
            // With one request per unit of weight, turns of idle members count more.
            let tolerance = concurrency == 8 ? 0.06 : 0.02
            for (part, ideal) in zip(parts, [0.125, 0.25, 0.625]) {
                #expect(abs(part - ideal) < tolerance, "\(parts)")
            }
        }
    }

    @Test("Members with the same load take turns")
    func ties() {
        let balancer = TestBalancer(.leastRequests)
        for member in 0..<3 { balancer.began(member) }

        #expect(balancer.choices(6) == [0, 1, 2, 0, 1, 2])
    }

    @Test("A member that hangs gets no more than the others have under way")
    func hanging() {
        let balancer = TestBalancer(.leastRequests)
        var counts = [0, 0, 0]

        for _ in 0..<300 {
            guard let choice = balancer.next() else { continue }
            counts[choice] += 1
            balancer.began(choice)
            if choice != 1 { balancer.ended(choice) }
        }

        #expect(counts[1] == 1)
    }
}

extension [Int] {
    /// Takes an element out, in no order.
    mutating func takeOut(_ index: Int) -> Int {
        swapAt(index, count - 1)
        return removeLast()
    }
}
