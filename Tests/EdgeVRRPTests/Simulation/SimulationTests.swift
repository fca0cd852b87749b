import EdgeCore
import Foundation
import Testing

@testable import EdgeVRRP

/// Thousands of small catastrophes. `EDGED_LONG=1` runs millions of steps; `EDGE_TEST_SEED=n` repeats
/// one run.
@Suite("Failover in simulated storms")
struct SimulationTests {
    static let environment = ProcessInfo.processInfo.environment
    static let isLong = environment["EDGED_LONG"] != nil
    static let seed = environment["EDGE_TEST_SEED"].flatMap { UInt64($0) }

    static func setup(seed: UInt64) -> PairSetup {
        var random = SplitMix64(seed: seed ^ 0x5EED)
        func draw<Value>(_ values: [Value]) -> Value {
            values[Int.random(in: 0..<values.count, using: &random)]
        }
        let interval = draw([10, 20, 20, 100])
        return PairSetup(
            interval: .milliseconds(interval),
            priorities: draw([[101, 100], [100, 101], [100, 100], [200, 50], [254, 1]]),
            families: draw([[.ipv4], [.ipv6], [.ipv4, .ipv6], [.ipv4, .ipv6]]),
            preemption: draw([.never, .never, .always, .after(.milliseconds(500))]),
            hasPresence: draw([true, true, true, false]), lossPercent: draw([0, 0, 1, 2]),
            hiccup: .milliseconds(draw([0, 0, interval / 2, interval + interval / 2])))
    }

    /// Storms with calms between, until `steps` are over.
    static func weather(seed: UInt64, steps: Int) -> PairSimulation {
        let setup = setup(seed: seed)
        var pair = PairSimulation(setup: setup, seed: seed)
        let settle =
            setup.masterDown * 8 + setup.presenceInterval * 6 + .milliseconds(2_500)
            + setup.hiccup * 8
        while pair.steps < steps, pair.rules.broken == nil {
            for _ in 0..<Int.random(in: 1...12, using: &pair.random) {
                pair.strike()
                pair.run(for: setup.interval * Int.random(in: 1...30, using: &pair.random))
            }
            // Without presence an unfit holder asks now and then whether somebody else is there.
            for index in pair.nodes.indices where !setup.hasPresence {
                pair.setStanding(index, Standing(fitness: .fit))
            }
            pair.calm()
            pair.run(for: setup.interval * 200 + settle)
            guard pair.rules.broken == nil else { break }
            pair.checkSettled()
            pair.rules.isStill = true
            pair.run(for: setup.interval * 100)
            pair.rules.isStill = false
        }
        return pair
    }

    static func report(_ pair: PairSimulation, seed: UInt64) -> Comment {
        """
        seed \(seed) (EDGE_TEST_SEED=\(seed) repeats it), step \(pair.steps): \
        \(pair.rules.broken ?? "")
        \(pair.setup)
        \(pair.trace.text)
        """
    }

    @Test(
        "in every weather at most one holds for long, somebody holds, and in calm nothing moves",
        arguments: seed.map { [$0] } ?? Array(1...(isLong ? 400 : 40)))
    func weather(seed: UInt64) {
        let pair = Self.weather(seed: seed, steps: Self.isLong ? 25_000 : 4_000)

        #expect(pair.rules.broken == nil, Self.report(pair, seed: seed))
        #expect(pair.rules.takeOvers > 0)
    }
}
