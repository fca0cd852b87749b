import EdgeCore
import Testing

@testable import EdgeVRRP

/// Single events, with the times that the design promises for them.
@Suite("Failover gaps of a simulated pair")
struct GapTests {
    /// A pair of which node 0 is master, and all is quiet.
    private static func settled(_ setup: PairSetup, seed: UInt64 = 1) -> PairSimulation {
        var pair = PairSimulation(setup: setup, seed: seed)
        pair.run(for: .seconds(3))
        if pair.nodes[1].holds {
            pair.feed(.yield(isForced: true), to: 1)
            pair.run(for: .seconds(3))
        }
        pair.rules.transitions = 0
        pair.rules.takeOvers = 0
        pair.rules.unheldMax = 0
        pair.rules.doubleMax = 0
        return pair
    }

    /// Runs on, and says how long nobody held the addresses from now on.
    private static func gap(_ pair: inout PairSimulation, within span: Duration) -> Duration {
        pair.rules.emptyMax = 0
        pair.checkRules()
        pair.run(for: span)
        return Duration(nanoseconds: pair.rules.emptyMax)
    }

    /// 3 × interval + skew + 15 ms: at most, for every seed.
    private static func limit(_ setup: PairSetup) -> Duration {
        setup.masterDown + .milliseconds(15)
    }

    private static func setup(_ milliseconds: Int) -> PairSetup {
        PairSetup(interval: .milliseconds(milliseconds), hiccup: .milliseconds(2))
    }

    @Test("a master without power is replaced in time", arguments: [100, 20, 10])
    func power(milliseconds: Int) {
        let setup = Self.setup(milliseconds)
        for seed in 1...8 as ClosedRange<UInt64> {
            var pair = Self.settled(setup, seed: seed)
            pair.cutPower(0, for: .seconds(60))

            let gap = Self.gap(&pair, within: .seconds(2))

            #expect(gap <= Self.limit(setup), "seed \(seed)")
            #expect(gap > setup.interval * 2)
            #expect(pair.nodes[1].isHolder)
            #expect(pair.rules.takeOvers == 1)
        }
    }

    @Test("a master whose link is cut and healed costs one gap, and stays a backup")
    func link() {
        let setup = Self.setup(20)
        var pair = Self.settled(setup)
        pair.setCarrier(0, false)
        let gap = Self.gap(&pair, within: .seconds(15))
        #expect(gap <= Self.limit(setup))

        pair.setCarrier(0, true)
        let healing = Self.gap(&pair, within: .seconds(5))

        #expect(healing == .zero)
        #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)
        #expect(pair.rules.takeOvers == 1)
        #expect(pair.rules.broken == nil)
    }

    @Test("a guardian that is stopped and goes on gives the addresses up once, for good")
    func stopped() {
        for seed in 1...8 as ClosedRange<UInt64> {
            var pair = Self.settled(Self.setup(20), seed: seed)
            pair.stall(0, for: .seconds(1))
            pair.run(for: .seconds(10))

            #expect(pair.rules.takeOvers == 1, "seed \(seed)\n\(pair.trace.text)")
            #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)
        }
    }

    @Test("a backup that is stopped for any time moves nothing")
    func stoppedBackup() {
        for milliseconds in [30, 100, 300, 3_000] {
            var pair = Self.settled(Self.setup(20))
            pair.stall(1, for: .milliseconds(milliseconds))
            pair.run(for: .seconds(5))

            #expect(pair.rules.transitions == 0, "\(milliseconds) ms\n\(pair.trace.text)")
        }
    }

    @Test("a planned handover leaves no gap, and both hold for a moment at most")
    func planned() {
        for seed in 1...8 as ClosedRange<UInt64> {
            let setup = Self.setup(20)
            var pair = Self.settled(setup, seed: seed)
            pair.feed(.yield(isForced: false), to: 0)

            let gap = Self.gap(&pair, within: .seconds(2))

            #expect(gap == .zero, "seed \(seed)\n\(pair.trace.text)")
            #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)
            #expect(pair.rules.doubleMax < 5_000_000)
            #expect(pair.rules.takeOvers == 1)
        }
    }

    @Test("a stop of the master's service leaves no gap")
    func stop() {
        var pair = Self.settled(Self.setup(20))
        pair.feed(.stop, to: 0)

        #expect(Self.gap(&pair, within: .seconds(2)) == .zero)
        #expect(pair.nodes[1].isHolder)
        #expect(pair.nodes[0].election.state == .initialize)
    }

    @Test("a proxy that dies moves the addresses without a gap, and its return moves nothing")
    func proxy() {
        var pair = Self.settled(Self.setup(20))
        pair.setStanding(0, Standing(fitness: .unfit(.proxyNotServing, answers: false)))
        #expect(Self.gap(&pair, within: .seconds(2)) == .zero)
        #expect(pair.nodes[1].isHolder)

        pair.setStanding(0, Standing(fitness: .fit))
        pair.run(for: .seconds(20))

        #expect(pair.rules.takeOvers == 1)
    }

    @Test("an upgrade in place moves nothing", arguments: [10, 30, 50])
    func upgrade(milliseconds: Int) {
        for seed in 1...3 as ClosedRange<UInt64> {
            for interval in [10, 20, 100] {
                var pair = Self.settled(
                    PairSetup(interval: .milliseconds(interval)), seed: seed)
                pair.upgrade(0, silence: .milliseconds(milliseconds))
                pair.run(for: .seconds(2))
                pair.upgrade(1, silence: .milliseconds(milliseconds))
                pair.run(for: .seconds(2))

                #expect(pair.rules.transitions == 0, "seed \(seed)\n\(pair.trace.text)")
            }
        }
    }

    @Test(
        "a preferred node that reboots over and over moves the addresses once",
        arguments: [true, false])
    func rebootLoop(hasPresence: Bool) {
        for seed in 1...(SimulationTests.isLong ? 5 : 2) as ClosedRange<UInt64> {
            var setup = Self.setup(20)
            setup.hasPresence = hasPresence
            var pair = Self.settled(setup, seed: seed)
            for _ in 0..<(SimulationTests.isLong ? 20 : 8) {
                pair.cutPower(0, for: .milliseconds(500))
                pair.run(
                    for: .milliseconds(Int.random(in: 600...3_000, using: &pair.random)))
            }

            #expect(pair.rules.takeOvers == 1, "seed \(seed)\n\(pair.trace.text)")
            #expect(pair.nodes[1].isHolder)
        }
    }

    @Test("a preferred node that preempts is damped in its loop")
    func preemptingLoop() {
        var setup = Self.setup(20)
        setup.preemption = .after(.seconds(1))
        var pair = Self.settled(setup)
        for _ in 0..<20 {
            pair.cutPower(0, for: .milliseconds(500))
            pair.run(for: .milliseconds(900))
        }

        #expect(pair.rules.takeOvers == 1)
    }

    @Test("busy machines move nothing: turns up to 35 ms late, at 20 ms")
    func busy() {
        let minutes = SimulationTests.isLong ? 10 : 1
        var setup = Self.setup(20)
        setup.hiccup = .milliseconds(35)
        setup.lossPercent = 1
        var pair = Self.settled(setup)
        pair.run(for: .seconds(60 * minutes))

        #expect(pair.rules.transitions == 0, "\(pair.trace.text)")
        #expect(pair.steps > 2_000)
    }

    @Test("addresses that a dead guardian leaves behind are fought for by nobody")
    func leftBehind() {
        var pair = Self.settled(Self.setup(20))
        pair.kill(0, for: .milliseconds(400))
        pair.run(for: .seconds(10))

        #expect(pair.rules.takeOvers == 1)
        #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)
        #expect(pair.lastAnnouncer == 1)
    }

    @Test("a pair that starts at once has one master, and the higher one")
    func coldStart() {
        for seed in 1...8 as ClosedRange<UInt64> {
            var pair = PairSimulation(setup: Self.setup(20), seed: seed)
            pair.run(for: .seconds(1))

            #expect(pair.nodes[0].isHolder && !pair.nodes[1].isHolder)
            #expect(pair.rules.takeOvers == 1, "seed \(seed)\n\(pair.trace.text)")
        }
    }

    @Test("a filter that swallows VRRP leaves one master, through its death and back")
    func filtered() {
        for seed in 1...(SimulationTests.isLong ? 8 : 2) as ClosedRange<UInt64> {
            for priorities in [[101, 100], [100, 101], [100, 100]] as [[UInt8]] {
                var setup = Self.setup(20)
                setup.priorities = priorities
                var pair = Self.settled(setup, seed: seed)
                pair.isVRRPCut = true
                pair.noteImpairment()
                pair.run(for: .seconds(3))
                #expect(pair.nodes.filter(\.isHolder).count == 1, "\(pair.trace.text)")
                pair.rules.isStill = true
                pair.run(for: .seconds(20))
                pair.rules.isStill = false
                #expect(pair.rules.broken == nil)
                guard let holder = pair.nodes.first(where: \.isHolder)?.index else { continue }
                #expect(pair.lastAnnouncer == holder)

                // Presence is what its death is known by, as long as the filter is there.
                pair.cutPower(holder, for: .seconds(1))
                let gap = Self.gap(&pair, within: .milliseconds(900))
                #expect(gap <= setup.presenceInterval * 3 + Self.limit(setup))
                pair.run(for: .seconds(5))
                #expect(pair.nodes.filter(\.isHolder).count == 1, "\(pair.trace.text)")

                pair.isVRRPCut = false
                pair.run(for: .seconds(5))
                guard let last = pair.nodes.first(where: \.isHolder)?.index else { continue }
                pair.cutPower(last, for: .seconds(60))
                let healed = Self.gap(&pair, within: .seconds(2))
                #expect(healed <= Self.limit(setup), "seed \(seed)\n\(pair.trace.text)")
                #expect(pair.rules.broken == nil)
            }
        }
    }

    @Test(
        "a filter that swallows one node's VRRP leaves one master, through deaths and back",
        arguments: [[101, 100], [100, 101], [100, 100]] as [[UInt8]], [0, 1])
    func mutedOne(priorities: [UInt8], muted: Int) {
        for seed in 1...(SimulationTests.isLong ? 20 : 1) as ClosedRange<UInt64> {
            var setup = Self.setup(100)
            setup.priorities = priorities
            var pair = Self.settled(setup, seed: seed)
            func settles(_ what: String) {
                pair.run(for: .seconds(8))
                #expect(
                    pair.nodes.filter(\.isHolder).count == 1, "\(what)\n\(pair.trace.text)")
                #expect(pair.nodes.first(where: \.isHolder)?.index == pair.lastAnnouncer)
                pair.rules.isStill = true
                pair.run(for: .seconds(5))
                pair.rules.isStill = false
                #expect(pair.rules.broken == nil, "\(what)\n\(pair.trace.text)")
            }
            pair.mutedNode = muted
            pair.noteImpairment()
            settles("muted")
            for index in [0, 1, 0] {
                pair.cutPower(index, for: .seconds(2))
                settles("\(index) was away")
            }
            pair.mutedNode = nil
            settles("healed")
        }
    }

    @Test("one that can't be heard leaves the addresses to the other, also when it is heard again")
    func oneWay() {
        var pair = Self.settled(Self.setup(20))
        pair.nodes[0].isOutCut = true
        pair.noteImpairment()
        pair.run(for: .seconds(5))
        #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)

        pair.nodes[0].isOutCut = false
        pair.run(for: .seconds(10))

        #expect(pair.nodes[1].isHolder && !pair.nodes[0].isHolder)
        #expect(pair.rules.takeOvers == 1)
    }
}
