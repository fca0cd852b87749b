import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Election: our own lateness is nobody's silence")
struct ElectionTimeTests {
    @Test("a backup that was stopped hears what has queued before it judges")
    func queued() {
        var bench = ElectionBench.backup()
        let before = bench.now
        bench.pass(.seconds(30))
        // The last of what the kernel has kept.
        bench.hear(priority: 200, at: bench.now.advanced(byNanoseconds: 0))
        bench.feed(.timer)
        #expect(bench.state == .backup)
        #expect(before < bench.now)
    }

    @Test("a backup whose socket overflowed while it was stopped listens once more")
    func overflow() {
        var bench = ElectionBench.backup()
        bench.pass(.seconds(30))
        bench.feed(.timer)
        #expect(bench.state == .backup)
        #expect(bench.machine.counters.latenessForgiven == 1)
        bench.run(for: .milliseconds(100))
        bench.hear(priority: 200)
        bench.run(for: .milliseconds(300))
        #expect(bench.state == .backup)
    }

    @Test("lateness is forgiven within bounds: a silent master is replaced by a busy backup too")
    func bounded() {
        var bench = ElectionBench.backup()
        let start = bench.now
        var turns = 0
        while bench.state == .backup, turns < 100 {
            turns += 1
            bench.now = bench.machine.nextDeadline.advanced(by: .milliseconds(50))
            bench.feed(.timer)
        }

        #expect(bench.state == .master)
        #expect(bench.now.nanoseconds(since: start) < 1_000_000_000)
    }

    @Test("a few milliseconds are not called late")
    func slack() {
        var bench = ElectionBench.backup()
        bench.run(for: .milliseconds(300))
        bench.now = bench.machine.nextDeadline.advanced(by: .milliseconds(2))
        bench.feed(.timer)

        #expect(bench.state == .master)
        #expect(bench.machine.counters.latenessForgiven == 0)
    }

    @Test("packets count from when they were received, not from when they were read")
    func kernelTime() {
        var bench = ElectionBench.backup()
        let last = bench.now.advanced(by: .milliseconds(10))
        bench.pass(.milliseconds(90))
        bench.hear(priority: 200, at: last)
        bench.run(for: .milliseconds(282))

        #expect(bench.state == .master)
    }

    @Test("a master that was stopped and hears its successor leaves; at most one transition")
    func stoppedMaster() {
        var bench = ElectionBench.master { $0.priority = 200 }
        bench.pass(.seconds(2))
        bench.hear(priority: 50, at: bench.now.advanced(byNanoseconds: 0))
        bench.feed(.timer)

        #expect(bench.state == .backup)
        #expect(bench.cause == .wasSilent(by: ElectionBench.other))
        #expect(bench.sent.isEmpty && bench.announced.isEmpty)
        bench.run(for: .seconds(30), hearing: 50)
        #expect(bench.state == .backup)
    }

    @Test("a master that was stopped listens before it speaks, and goes on if nobody is there")
    func listens() {
        var bench = ElectionBench.master()
        bench.pass(.seconds(2))
        bench.feed(.timer)
        #expect(bench.sent.isEmpty)
        #expect(bench.state == .master)

        bench.run(for: .milliseconds(150))

        #expect(bench.sent == [100])
        bench.run(for: .seconds(1))
        #expect(bench.sent.count == 11)
    }

    @Test("a master that listens leaves for any other that speaks")
    func listensAndHears() {
        var bench = ElectionBench.master { $0.priority = 200 }
        bench.pass(.seconds(2))
        bench.feed(.timer)
        bench.pass(.milliseconds(50))

        bench.hear(priority: 1)

        #expect(bench.state == .backup)
        #expect(bench.sent.isEmpty)
    }

    @Test("a master that was late by less than its peers wait fights as usual")
    func shortSilence() {
        var bench = ElectionBench.master { $0.priority = 200 }
        bench.pass(.milliseconds(300))
        bench.hear(priority: 50)

        #expect(bench.state == .master)
        #expect(bench.sent == [200])
    }

    @Test("who preempts at once fights after any silence")
    func preempting() {
        var bench = ElectionBench.master {
            $0.priority = 200
            $0.preemption = .always
        }
        bench.pass(.seconds(2))
        bench.hear(priority: 50)

        #expect(bench.state == .master)
        #expect(bench.sent == [200])
    }

    @Test("a rival that never hears us is left alone with the addresses")
    func deaf() {
        var bench = ElectionBench.master()
        bench.run(for: .seconds(3), hearing: 50)

        #expect(bench.state == .backup)
        #expect(bench.transitions.last?.cause == .unheard(by: ElectionBench.other))
        #expect(bench.transitions.count == 1)
    }

    @Test("one that is not heard takes the addresses back ever more seldom, and not for ever so")
    func deafAgain() {
        var bench = ElectionBench.master { $0.preemption = .after(.seconds(2)) }
        bench.run(for: .seconds(100))
        bench.clear()
        bench.run(for: .seconds(1800), hearing: 90)
        // After one minute, two, four, eight, and so on.
        let tries = bench.transitions.count { $0.to == .master }
        #expect((3...5).contains(tries), "\(tries)")

        // A master for minutes has been heard.
        bench.run(for: .seconds(4000))
        #expect(bench.state == .master)
        bench.run(for: .seconds(10), hearing: 90)
        #expect(bench.state == .backup)
        bench.clear()
        bench.run(for: .seconds(65), hearing: 90)
        #expect(bench.transitions.contains { $0.to == .master })
    }

    @Test("long intervals do not hide from one that is not heard how often it was not")
    func deafSlowly() {
        var bench = ElectionBench.master {
            $0.preemption = .after(.seconds(2))
            $0.interval = .seconds(10)
        }
        bench.run(for: .seconds(200))
        bench.clear()
        for _ in 0..<720 {
            bench.hear(priority: 90, centiseconds: 1_000)
            bench.run(for: .seconds(10))
        }
        // It takes it about two minutes to be found deaf, and then waits one, two, four, ...
        let tries = bench.transitions.count { $0.to == .master }
        #expect((3...7).contains(tries), "\(tries)")
    }

    @Test("a rival with other addresses is no reason to leave ours alone")
    func stranger() {
        var bench = ElectionBench.master()
        for _ in 0..<50 {
            bench.hear(priority: 50, addressesDiffer: true)
            bench.run(for: .milliseconds(100))
        }

        #expect(bench.state == .master)
    }

    @Test("an announced pause is waited for, and the usual interval is back after it")
    func pause() {
        var bench = ElectionBench.master { $0.interval = .milliseconds(20) }
        bench.feed(.announcePause(.milliseconds(50)))
        // (50 + 2 × 20) / 3 = 30 ms.
        #expect(bench.actions == [.send(.ipv4, priority: 100, centiseconds: 3)])
        bench.clear()
        bench.run(for: .milliseconds(20))
        #expect(bench.actions == [.send(.ipv4, priority: 100, centiseconds: 3)])
        bench.clear()

        bench.feed(.endPause)

        #expect(bench.actions == [.send(.ipv4, priority: 100, centiseconds: 2)])
    }

    @Test("a pause that never came is over by itself")
    func forgottenPause() {
        var bench = ElectionBench.master { $0.interval = .milliseconds(20) }
        bench.feed(.announcePause(.milliseconds(50)))
        bench.run(for: .milliseconds(400))
        bench.clear()
        bench.run(for: .milliseconds(20))

        #expect(bench.actions == [.send(.ipv4, priority: 100, centiseconds: 2)])
    }

    @Test("a successor goes on as master and speaks at once")
    func resumed() {
        var bench = ElectionBench.master()
        bench.feed(.announcePause(.milliseconds(50)))
        let record = bench.machine.export()
        var next = ElectionMachine(settings: ElectionBench.settings(), now: bench.now)
        bench.pass(.milliseconds(40))
        let actions = next.resume(
            record, localAddresses: [.ipv4: ElectionBench.own], readiness: .all,
            standing: Standing(fitness: .fit), now: bench.now)

        #expect(next.state == .master)
        #expect(actions.first == .putAddressesOn)
        #expect(actions.contains(.send(.ipv4, priority: 100, centiseconds: 10)))
        #expect(next.counters == record.counters || next.counters.takeOvers == 1)
        #expect(!actions.contains { if case .transition = $0 { true } else { false } })
        #expect(next.since == bench.machine.since)
    }

    @Test("a successor that took longer than announced listens first")
    func resumedLate() {
        var bench = ElectionBench.master()
        bench.feed(.announcePause(.milliseconds(50)))
        let record = bench.machine.export()
        bench.machine = ElectionMachine(settings: ElectionBench.settings(), now: bench.now)
        bench.pass(.seconds(3))
        let actions = bench.machine.resume(
            record, localAddresses: [.ipv4: ElectionBench.own], readiness: .all,
            standing: Standing(fitness: .fit), now: bench.now)
        bench.clear()
        #expect(!actions.contains(.send(.ipv4, priority: 100, centiseconds: 10)))
        bench.hear(priority: 1)

        #expect(bench.state == .backup)
    }

    @Test("a backup's successor waits for the interval that was adopted")
    func resumedBackup() {
        var bench = ElectionBench.backup()
        bench.hear(priority: 200, centiseconds: 100)
        let record = bench.machine.export()
        bench.machine = ElectionMachine(settings: ElectionBench.settings(), now: bench.now)
        _ = bench.machine.resume(
            record, localAddresses: [.ipv4: ElectionBench.own], readiness: .all,
            standing: Standing(fitness: .fit), now: bench.now)
        bench.run(for: .seconds(3))
        #expect(bench.state == .backup)
        bench.run(for: .seconds(1))
        #expect(bench.state == .master)
    }
}
