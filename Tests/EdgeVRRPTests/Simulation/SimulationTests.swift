import EdgeCore
import Foundation
import Testing

@testable import EdgeVRRP

/// Thousands of small catastrophes. `EDGED_LONG=1` runs millions of steps; `EDGE_TEST_SEED=n`
/// repeats one run.
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
        var setup = PairSetup(
            interval: .milliseconds(interval),
            priorities: draw([[101, 100], [100, 101], [100, 100], [200, 50], [254, 1]]),
            families: draw([[.ipv4], [.ipv6], [.ipv4, .ipv6], [.ipv4, .ipv6]]),
            preemption: draw([.never, .never, .always, .after(.milliseconds(500))]),
            hasPresence: draw([true, true, true, false]), lossPercent: draw([0, 0, 1, 2]),
            hiccup: .milliseconds(draw([0, 0, interval / 2, interval + interval / 2])))
        // Three words in a row are lost some time in a million; six are not.
        if setup.families.count == 1 { setup.lossPercent = 0 }
        return setup
    }

    /// Storms with calms between, until `steps` are over.
    static func weather(seed: UInt64, steps: Int, reloads: Bool = false) -> PairSimulation {
        var setup = setup(seed: seed)
        setup.reloads = reloads
        var pair = PairSimulation(setup: setup, seed: seed)
        let settle =
            setup.masterDown * 8 + setup.presenceInterval * 6 + .milliseconds(2_500)
            + setup.hiccup * 8
        while pair.steps < steps, pair.rules.broken == nil {
            for _ in 0..<Int.random(in: 2...30, using: &pair.random) {
                pair.strike()
                // Mostly the next blow comes before the last one has been dealt with.
                let intervals = pair.chance(15) ? 100...250 : 1...30
                pair.run(for: setup.interval * Int.random(in: intervals, using: &pair.random))
            }
            // Without presence an unfit holder asks now and then whether somebody else is there.
            for index in pair.nodes.indices where !setup.hasPresence {
                pair.setStanding(index, Standing(fitness: .fit))
            }
            pair.calm()
            pair.run(for: setup.interval * 200 + settle)
            guard pair.rules.broken == nil else { break }
            pair.checkSettled()
            // What an administrator has moved is taken back some time, by who preempts.
            pair.rules.isStill = !pair.nodes.contains {
                setup.preemption != .never && $0.election.isPreemptBlocked(now: pair.now)
            }
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
        arguments: seed.map { [$0] } ?? Array(1...(isLong ? 400 : 16)))
    func weather(seed: UInt64) {
        let pair = Self.weather(
            seed: seed, steps: Self.isLong ? 25_000 : 4_000,
            reloads: seed % 2 == 0)

        #expect(pair.rules.broken == nil, Self.report(pair, seed: seed))
        #expect(pair.rules.takeOvers > 0)
    }

    @Test("the storms see every reason to move, and both sides of conflicts")
    func variety() {
        var causes: Set<String> = []
        var sum = ElectionCounters()
        for seed in 101...130 as ClosedRange<UInt64> {
            let pair = Self.weather(seed: seed, steps: 3_000)
            causes.formUnion(pair.rules.causes.keys)
            for counters in pair.nodes.map(\.election.counters) {
                sum.conflictsWon += counters.conflictsWon
                sum.handoversFailed += counters.handoversFailed
                sum.latenessForgiven += counters.latenessForgiven
                sum.takeOversDeferred += counters.takeOversDeferred
            }
        }
        let wanted = [
            TransitionCause.started, .prepared, .linkDown, .linkUp, .masterSilent, .masterLeft,
            .asked, .preempted, .gaveWay(.operatorAsked), .gaveWay(.fitness),
            .gaveWay(.maintenance), .notAnswering,
        ].map(\.description)

        for cause in wanted where cause != "started" {
            #expect(causes.contains(cause), "no storm has seen: \(cause)")
        }
        for part in [
            "higher rank", "while this node was stopped", "does not hear", "by its presence",
        ] {
            #expect(causes.contains { $0.contains(part) }, "no storm has seen: \(part)")
        }
        #expect(sum.conflictsWon > 0 && sum.handoversFailed > 0)
        #expect(sum.latenessForgiven > 0 && sum.takeOversDeferred > 0)
    }
}
