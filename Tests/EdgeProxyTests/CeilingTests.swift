import EdgeCore
import EdgeHTTP
import EdgeLimits
import EdgeTesting
import Testing

@testable import EdgeProxy

/// Ceilings: what all clients together may ask for, in fair parts.
@Suite("Ceilings of workers") struct CeilingTests {
    /// 100 requests/s for everybody; requests that pass are redirected.
    private static func options() throws -> Bench.Options {
        var policy = LimitPolicy(name: "all")
        policy.ceiling = try RateLimit(100, per: .seconds(1))
        var options = try Shaping.options(policy)
        let target = try TextTemplate([.text(Array("/x".utf8))], view: [])
        options.routing = Shaping.routing(redirect: (target, 302))
        return options
    }

    @Test("Of a saturated view each client has its part, and who asks for little is never refused")
    func fair() throws {
        let options = try Self.options()
        let benches = [try Bench(options), try Bench(options)]
        // On either worker: five that ask for 100 requests/s each, the last one for 5.
        let addresses = (0..<6).map { SocketAddress(ipv4: 0xC633_6401 + UInt32($0), port: 1) }
        let clients = benches.map { bench in addresses.map { bench.client(from: $0) } }
        var passed = [Int](repeating: 0, count: 6)
        var asked = 0
        var random = SeededRandom(seed: 5)

        for round in 0..<2_000 {
            for (index, bench) in benches.enumerated() {
                // What is left over is the first one's: nobody always is.
                for client in 0..<5 where random.chance(1, of: 2) {
                    bench.ring.receives(clients[index][client], bench.get())
                }
                if round % 40 == 20 * index {
                    bench.ring.receives(clients[index][5], bench.get())
                    asked += 1
                }
                bench.quietTurn(after: .milliseconds(10))
                bench.quietTurn(after: .zero)
                for client in 0..<6 {
                    let answer = bench.ring.takeSent(to: clients[index][client])
                    if answer.hasPrefix("HTTP/1.1 302") { passed[client] += 1 }
                }
            }
        }

        let greedy = passed.prefix(5)
        let mean = Double(greedy.reduce(0, +)) / 5
        #expect(passed[5] == asked && asked == 100, "\(passed)")
        #expect(passed.reduce(0, +) <= 2_101, "\(passed)")
        // Most of what there is is used.
        #expect(passed.reduce(0, +) >= 1_700, "\(passed)")
        for count in greedy { #expect(abs(Double(count) - mean) < 0.2 * mean, "\(passed)") }
        for bench in benches { bench.inspect() }
    }

    @Test("A view that is not saturated refuses nobody, however unequal its clients are")
    func idle() throws {
        let bench = try Bench(Self.options())
        let client = bench.client()
        var passed = 0

        for _ in 0..<900 {
            bench.ring.receives(client, bench.get())
            bench.quietTurn(after: .milliseconds(11))
            bench.quietTurn(after: .zero)
            if bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 302") { passed += 1 }
        }

        #expect(passed == 900)
    }
}
