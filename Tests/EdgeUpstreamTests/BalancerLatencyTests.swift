import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Balancer: fastest") struct BalancerLatencyTests {
    /// Members with a latency each, and requests at even distances, in milliseconds.
    private final class Site {
        let balancer: TestBalancer
        var latencies: [Int]
        private var milliseconds = 0
        /// Requests that are answered in a millisecond to come.
        private var due: [Int: [(member: Int, latency: Int)]] = [:]
        private var random: SeededRandom

        init(_ latencies: [Int], weights: [Int]? = nil, seed: UInt64 = 1) {
            self.latencies = latencies
            balancer = TestBalancer(
                .fastest, weights: weights ?? latencies.map { _ in 1 }, turn: Int(seed))
            random = SeededRandom(seed: seed)
        }

        /// Counts of requests per member over a time, one request every `gap` milliseconds.
        func run(seconds: Int, gap: Int = 2, jitter: Bool = false) -> [Int] {
            var counts = latencies.map { _ in 0 }
            for _ in 0..<(seconds * 1000) {
                milliseconds += 1
                balancer.advance(.milliseconds(1))
                for (member, latency) in due.removeValue(forKey: milliseconds) ?? [] {
                    balancer.answered(member, after: .milliseconds(latency))
                    balancer.ended(member)
                }
                guard milliseconds % gap == 0, let choice = balancer.next() else { continue }
                counts[choice] += 1
                balancer.began(choice)
                var latency = latencies[choice]
                if jitter { latency = Int.random(in: latency / 2...latency, using: &random) }
                due[milliseconds + latency, default: []].append((choice, latency))
            }
            return counts
        }
    }

    @Test(
        "A member ten times slower gets less than 15 % of the requests",
        arguments: [[10, 100], [10, 10, 100], [10, 10, 10, 10, 100, 10]], [1, 2, 40])
    func slowMember(latencies: [Int], gap: Int) {
        let site = Site(latencies)
        _ = site.run(seconds: 5, gap: gap)

        let counts = site.run(seconds: 60, gap: gap)

        let slow = latencies.firstIndex(of: 100) ?? 0
        let part = Double(counts[slow]) / Double(counts.reduce(0, +))
        #expect(part < 0.15, "\(counts)")
        // And is asked now and then: about once in 23 s.
        #expect(counts[slow] >= 1, "\(counts)")
    }

    @Test("A slow member that recovers has its part again within half a minute", arguments: [2, 3])
    func recovery(members: Int) {
        let site = Site([100] + [Int](repeating: 10, count: members - 1))
        _ = site.run(seconds: 40)
        site.latencies[0] = 10
        _ = site.run(seconds: 30)

        let counts = site.run(seconds: 10)

        let part = Double(counts[0]) / Double(counts.reduce(0, +))
        #expect(part > 0.6 / Double(members), "\(counts)")
    }

    @Test("A member that becomes slow loses its requests with the first slow answer")
    func peak() {
        let site = Site([10, 10, 10])
        _ = site.run(seconds: 10)
        site.latencies[2] = 500
        _ = site.run(seconds: 1)

        let counts = site.run(seconds: 5)

        #expect(Double(counts[2]) / Double(counts.reduce(0, +)) < 0.02, "\(counts)")
    }

    @Test("Members of equal speed share by weight, one at a time and many", arguments: [1, 40])
    func weights(gap: Int) {
        let site = Site([20, 20, 20], weights: [1, 2, 5])
        _ = site.run(seconds: 5, gap: gap)

        let counts = site.run(seconds: gap == 1 ? 30 : 400, gap: gap)

        let total = Double(counts.reduce(0, +))
        for (count, ideal) in zip(counts, [0.125, 0.25, 0.625]) {
            #expect(abs(Double(count) / total - ideal) < 0.02, "\(counts)")
        }
    }

    @Test("Equal members whose answers vary have about equal parts")
    func jitter() {
        let site = Site([20, 20, 20, 20])

        let counts = site.run(seconds: 60, gap: 2, jitter: true)

        let mean = counts.reduce(0, +) / 4
        #expect(counts.allSatisfy { abs($0 - mean) < mean / 5 }, "\(counts)")
    }

    @Test("A member that nothing is known of is asked at once, and once until it answers")
    func unknown() {
        let balancer = TestBalancer(.fastest, weights: [1, 1])
        for member in 0..<2 { balancer.answered(member, after: .milliseconds(10)) }
        balancer.update((0..<3).map { TestBalancer.member($0) })
        var counts = [0, 0, 0]

        for _ in 0..<200 {
            guard let choice = balancer.next() else { continue }
            counts[choice] += 1
            balancer.began(choice)
            if choice < 2 { balancer.ended(choice) }
        }

        #expect(counts[2] == 1, "\(counts)")
    }

    @Test("A member that never answers is asked only now and then")
    func silent() {
        let balancer = TestBalancer(.fastest, weights: [1, 1])
        var counts = [0, 0]

        for _ in 0..<6000 {
            balancer.advance(.milliseconds(10))
            guard let choice = balancer.next() else { continue }
            counts[choice] += 1
            balancer.began(choice)
            if choice == 0 { balancer.answered(0, after: .milliseconds(5)) }
            balancer.ended(choice)
        }

        #expect(counts[1] <= 3, "\(counts)")
    }

    @Test("What is known of a member stays over updates, and goes with its address")
    func statistics() {
        let balancer = TestBalancer(.fastest, weights: [1, 1])
        balancer.answered(0, after: .milliseconds(1))
        balancer.answered(1, after: .milliseconds(500))

        balancer.update([TestBalancer.member(0), nil])
        balancer.update((0..<2).map { TestBalancer.member($0, weight: 2) })
        #expect(balancer.choices(20).allSatisfy { $0 == 0 })

        balancer.update([TestBalancer.member(0), TestBalancer.member(7)])
        #expect(balancer.choices(20).contains(1))
    }
}
