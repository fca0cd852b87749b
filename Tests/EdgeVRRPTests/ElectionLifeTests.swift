import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Election: starting, stopping, links")
struct ElectionLifeTests {
    @Test(
        "an interval that was heard once is forgotten with the link, the address, a stop, a take-over"
    )
    func forgottenInterval() {
        let changes: [(inout ElectionBench) -> Void] = [
            {
                $0.feed(.link(isUp: false))
                $0.feed(.link(isUp: true))
            },
            {
                $0.feed(.localAddress(.ipv4, nil))
                $0.feed(.localAddress(.ipv4, ElectionBench.own))
            },
            {
                $0.feed(.stop)
                $0.feed(.start)
            },
        ]
        for change in changes {
            var bench = ElectionBench.backup()
            bench.hear(priority: 200, centiseconds: 4_095)
            change(&bench)
            bench.run(for: .seconds(2))
            #expect(bench.state == .master)
        }
        var bench = ElectionBench.backup()
        bench.hear(priority: 200, centiseconds: 4_095)
        bench.run(for: .seconds(150))
        #expect(bench.state == .master)
        #expect(bench.machine.masterDownNanoseconds < 400_000_000)
    }

    @Test("nothing is sent and nothing taken before all is prepared")
    func unprepared() {
        var bench = ElectionBench()
        bench.feed(.start)
        bench.run(for: .seconds(20))
        #expect(bench.state == .fault)
        bench.feed(.localAddress(.ipv4, ElectionBench.own))
        bench.feed(.link(isUp: true))
        bench.feed(.standing(Standing(fitness: .fit)))
        bench.feed(.readiness(.listeners))
        bench.run(for: .seconds(20))
        #expect(bench.state == .initialize)
        #expect(bench.machine.status(now: bench.now).holdBack == .notPrepared)
        // Nor does it ask for a time that is over, again and again.
        #expect(bench.machine.nextDeadline > bench.now)
        #expect(bench.sent.isEmpty && !bench.actions.contains(.putAddressesOn))

        bench.feed(.readiness(.all))
        bench.run(for: .seconds(1))

        #expect(bench.state == .master)
    }

    @Test("a node that sees no peer waits for the boot gate, and no longer")
    func gate() {
        var bench = ElectionBench(ElectionBench.settings { $0.bootGate = .seconds(5) })
        bench.begin()
        bench.run(for: .milliseconds(4_999))
        #expect(bench.state == .backup)
        #expect(bench.machine.status(now: bench.now).holdBack == .bootGate)

        bench.run(for: .milliseconds(2))

        #expect(bench.state == .master)
    }

    @Test("the sight of a peer opens the gate: an advertisement, or its guardian's word")
    func sight() {
        for isPresence in [true, false] {
            var bench = ElectionBench(ElectionBench.settings { $0.bootGate = .seconds(50) })
            bench.begin()
            if isPresence {
                bench.peer(state: .initialize, isReady: false)
            } else {
                bench.hear(priority: 9)
            }
            bench.run(for: .milliseconds(500))
            #expect(bench.state == .master)
        }
    }

    @Test("one family's address is awaited until the gate opens")
    func tentative() {
        var bench = ElectionBench(
            ElectionBench.settings {
                $0.families.append(
                    FamilySettings(family: .ipv6, addresses: [.linkLocal(routerID: 51)]))
            })
        bench.feed(.localAddress(.ipv4, ElectionBench.own))
        bench.feed(.link(isUp: true))
        bench.feed(.readiness(.all))
        bench.feed(.standing(Standing(fitness: .fit)))
        bench.feed(.start)
        bench.run(for: .milliseconds(999))
        #expect(bench.state == .initialize)

        bench.run(for: .milliseconds(500))

        #expect(bench.state == .master)
        #expect(!bench.actions.contains(.send(.ipv6, priority: 100, centiseconds: 10)))
        bench.feed(.localAddress(.ipv6, ElectionBench.own6))
        bench.run(for: .milliseconds(100))
        #expect(bench.actions.contains(.send(.ipv6, priority: 100, centiseconds: 10)))
    }

    @Test("without a link the addresses are off at once, and nothing is sent")
    func linkDown() {
        var bench = ElectionBench.master()

        bench.feed(.link(isUp: false))

        #expect(bench.state == .fault)
        #expect(bench.actions.first == .takeAddressesOff)
        #expect(bench.sent.isEmpty)
        #expect(bench.machine.nextDeadline == .never)
    }

    @Test("when the link is back the boot gate begins again, and the other keeps what it has")
    func linkUp() {
        var bench = ElectionBench.master()
        bench.feed(.link(isUp: false))
        bench.pass(.seconds(15))
        bench.clear()
        bench.feed(.link(isUp: true))
        #expect(bench.state == .backup)
        #expect(bench.machine.status(now: bench.now).holdBack == .bootGate)

        bench.run(for: .seconds(10), hearing: 90)

        #expect(bench.state == .backup)
        #expect(bench.sent.isEmpty)
    }

    @Test("the last address to speak from is a link too")
    func noAddress() {
        var bench = ElectionBench.master()
        bench.feed(.localAddress(.ipv4, nil))
        #expect(bench.state == .fault)
        #expect(bench.machine.status(now: bench.now).holdBack == .noAddress)

        bench.feed(.localAddress(.ipv4, ElectionBench.own))
        bench.run(for: .seconds(2))

        #expect(bench.state == .master)
    }

    @Test("a backup stops at once, a master when another has the addresses")
    func stop() {
        var backup = ElectionBench.backup()
        backup.feed(.stop)
        #expect(backup.actions.last == .stopped)

        var master = ElectionBench.master()
        master.peer()
        master.clear()
        master.feed(.stop)
        #expect(master.sent == [0])
        #expect(!master.actions.contains(.takeAddressesOff))
        #expect(master.machine.status(now: master.now).presence(now: master.now).asksToTakeOver)
        master.pass(.milliseconds(5))
        master.hear(priority: 90)

        #expect(master.actions.contains(.takeAddressesOff))
        #expect(master.actions.last == .stopped)
        #expect(master.cause == .gaveWay(.stop))
        #expect(master.announced.isEmpty)
    }

    @Test("a master whose peer is dead stops at once; one that nobody follows stops in time")
    func stopAlone() {
        var known = ElectionBench.master()
        known.peer(timeout: .seconds(1))
        known.run(for: .seconds(2))
        known.feed(.stop)
        #expect(known.actions.last == .stopped)

        var unknown = ElectionBench.master()
        unknown.feed(.stop)
        #expect(unknown.state == .master)
        unknown.run(for: .milliseconds(700))
        #expect(unknown.actions.last == .stopped)
        #expect(unknown.sent == [0, 0])
    }

    @Test("what was stopped can be started again")
    func restart() {
        var bench = ElectionBench.backup()
        bench.feed(.stop)
        bench.run(for: .seconds(5), hearing: 9)
        #expect(bench.state == .initialize)
        bench.feed(.start)
        bench.run(for: .seconds(2))

        #expect(bench.state == .master)
    }

    @Test(
        "events that say nothing new do nothing",
        arguments: [
            .link(isUp: true), .start, .readiness(.all), .standing(Standing(fitness: .fit)),
            .endPause,
            .localAddress(.ipv4, ElectionBench.own), .timer,
        ] as [ElectionMachine.Event])
    func idle(event: ElectionMachine.Event) {
        var backup = ElectionBench.backup()
        #expect(backup.feed(event).isEmpty)
        var master = ElectionBench.master()
        #expect(master.feed(event).isEmpty)
    }

    @Test("settings change without a change of state")
    func reconfigured() {
        var bench = ElectionBench.master()
        let actions = bench.machine.reconfigure(
            ElectionBench.settings {
                $0.priority = 120
                $0.interval = .milliseconds(20)
            }, now: bench.now)

        #expect(bench.state == .master)
        #expect(actions.contains(.putAddressesOn))
        #expect(actions.contains(.send(.ipv4, priority: 120, centiseconds: 2)))
        bench.run(for: .milliseconds(100))
        #expect((4...6).contains(bench.sent.count))
    }

    @Test("the history of states is kept, and bounded")
    func history() {
        var bench = ElectionBench.backup()
        for _ in 0..<30 {
            bench.feed(.link(isUp: false))
            bench.feed(.link(isUp: true))
        }
        let status = bench.machine.status(now: bench.now)

        #expect(status.history.count == ElectionMachine.historyMax)
        #expect(status.history.last?.to == .backup)
        #expect(status.cause == .prepared)
    }

    @Test("fewer announcements than are due after a take-over: the rest is not made up")
    func fewerAnnouncements() {
        var bench = ElectionBench.backup()
        bench.run(for: .milliseconds(450))
        #expect(bench.state == .master)
        bench.clear()

        bench.actions += bench.machine.reconfigure(
            ElectionBench.settings { $0.announcements.repeats = 1 }, now: bench.now)
        bench.run(for: .seconds(10))

        #expect(bench.state == .master)
        #expect(bench.announced.count { $0 == .repetition } <= 1)
    }
}
