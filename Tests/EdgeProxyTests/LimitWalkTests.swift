import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeLimits
@testable import EdgeProxy

/// Whatever happens to connections and requests, what they hold of limits is given back exactly
/// once: at the end of each life nothing is counted.
@Suite("Limits: random walk") struct LimitWalkTests {
    private final class Walk {
        let guarded: GuardedBench
        var random: SeededRandom
        var epoch: UInt64 = 1
        private var seen = 0
        private var clients: [Int32] = []

        var bench: Bench { guarded.bench }

        init(_ random: SeededRandom) throws {
            var random = random
            guarded = try GuardedBench(Self.policies(&random))
            self.random = random
            guarded.bench.ring.disorder = SeededRandom(seed: random.seed &+ 1)
        }

        static func policies(_ random: inout SeededRandom) -> [LimitPolicy] {
            ["a", "b", "c"].prefix(Int(random.next() % 4)).map { name in
                GuardedBench.policy(name) {
                    if random.chance(1, of: 2) { $0.counts[.connections] = number(4, &random) + 1 }
                    if random.chance(1, of: 2) { $0.counts[.requests] = number(3, &random) + 1 }
                    if random.chance(1, of: 3), let rate = try? RateLimit(5, per: .seconds(2)) {
                        $0.rates[random.chance(1, of: 2) ? .connections : .requests] = rate
                    }
                    if random.chance(1, of: 4) { $0.isShadow = true }
                    if random.chance(1, of: 3) { $0.ipv4Bits = 24 }
                    if random.chance(1, of: 4) { $0.key = .everybody }
                }
            }
        }

        private static func number(_ limit: UInt64, _ random: inout SeededRandom) -> UInt32 {
            UInt32(random.next() % limit)
        }

        private func number(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

        func step() {
            for _ in 0..<(1 + number(3)) { event() }
            bench.turn(after: random.chance(1, of: 8) ? .milliseconds(number(4_000)) : .zero)
            clients += bench.ring.accepted.dropFirst(seen)
            seen = bench.ring.accepted.count
            clients.removeAll { bench.ring.isClosed($0) }
        }

        private func event() {
            let client = clients.randomElement(using: &random) ?? -1
            let upstream = bench.ring.opened.filter { !bench.ring.isClosed($0) }
                .randomElement(using: &random)
            switch number(16) {
            case 0...2:
                let listeners = [Bench.listener, Bench.listener, Bench.tcpListener]
                bench.ring.incoming(
                    listeners[number(3)], [GuardedBench.clients[number(4)]])
            case 3...6: bench.ring.receives(client, bench.get())
            case 7: bench.ring.receives(client, RequestTests.upgrade(bench))
            case 8:
                bench.ring.receives(
                    client,
                    "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9\r\n\r\n")
            case 9: bench.ring.ends(client)
            case 10: bench.ring.fails(client, 104)
            case 11:
                if let upstream { bench.ring.receives(upstream, RequestTests.switching) }
            case 12:
                if let upstream {
                    if random.chance(1, of: 2) {
                        bench.ring.ends(upstream)
                    } else {
                        bench.ring.fails(upstream, 104)
                    }
                }
            case 13:
                if random.chance(1, of: 3) {
                    epoch += 1
                    guarded.apply(epoch, Self.policies(&random))
                }
            default: if let upstream { bench.ring.receives(upstream, Bench.ok) }
            }
        }

        /// All that is open ends.
        func end() {
            bench.ring.disorder = nil
            for _ in 0..<4 {
                for descriptor in bench.ring.openDescriptors { bench.ring.ends(descriptor) }
                bench.pass(.seconds(100))
            }
            bench.expectEmpty()
        }
    }

    @Test("At the end of any life every count is zero", arguments: 0..<12)
    func leaks(seed: UInt64) throws {
        let walk = try Walk(SeededRandom(seed: 0x6C65_616B &+ seed))
        var most: UInt64 = 0
        for _ in 0..<150 {
            walk.step()
            most = max(most, walk.guarded.memory.counts.total)
            // No more than there is to be counted, by three policies.
            let open = walk.bench.worker.downstreamSlots.used + walk.bench.worker.exchangeSlots.used
            #expect(walk.guarded.memory.counts.total <= UInt64(3 * open))
        }

        walk.end()

        #expect(walk.guarded.memory.counts.total == 0, "most \(most)")
    }
}
