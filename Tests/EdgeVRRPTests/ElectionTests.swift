import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Election: as RFC 9568 says")
struct ElectionTests {
    @Test("a backup takes over three intervals and its skew after the last word, not earlier")
    func masterDown() {
        var bench = ElectionBench.backup()
        // Priority 100: 3 × 100 ms + 156/256 × 100 ms.
        bench.run(for: .microseconds(360_937))
        #expect(bench.state == .backup)

        bench.run(for: .microseconds(1))

        #expect(bench.state == .master)
        #expect(bench.cause == .masterSilent)
        #expect(
            bench.actions.prefix(3) == [
                .send(.ipv4, priority: 100, centiseconds: 10), .putAddressesOn,
                .announce(.takeOver),
            ])
    }

    @Test("skew and wait follow from priority and interval", arguments: [1, 2, 10, 100, 4095])
    func spans(centiseconds: UInt16) {
        let interval = UInt64(centiseconds) * 10_000_000
        #expect(ElectionMachine.skew(centiseconds: centiseconds, priority: 255) == interval / 256)
        #expect(ElectionMachine.skew(centiseconds: centiseconds, priority: 0) == interval)
        #expect(
            ElectionMachine.masterDown(centiseconds: centiseconds, priority: 128)
                == 3 * interval + interval / 2)
    }

    @Test("a backup waits by the interval that its master names")
    func adopted() {
        var bench = ElectionBench.backup()
        bench.hear(priority: 200, centiseconds: 100)

        bench.run(for: .seconds(3))
        #expect(bench.state == .backup)
        bench.run(for: .milliseconds(700))
        #expect(bench.state == .master)
        // As master it has its own again.
        #expect(bench.sent.count <= 3)
        #expect(bench.actions.contains(.send(.ipv4, priority: 100, centiseconds: 10)))
    }

    @Test("a shorter interval counts from the first word that names it")
    func shortened() {
        var bench = ElectionBench.backup()
        bench.hear(priority: 200, centiseconds: 4095)
        bench.pass(.milliseconds(10))
        bench.hear(priority: 200, centiseconds: 10)

        bench.run(for: .milliseconds(400))

        #expect(bench.state == .master)
    }

    @Test("priority 0 is answered after the skew")
    func left() {
        var bench = ElectionBench.backup()
        bench.hear(priority: 0)

        bench.run(for: .milliseconds(60))
        #expect(bench.state == .backup)
        bench.run(for: .milliseconds(2))

        #expect(bench.state == .master)
        #expect(bench.cause == .masterLeft)
    }

    @Test("another master that comes after priority 0 is followed")
    func followed() {
        var bench = ElectionBench.backup()
        bench.hear(priority: 0)
        bench.pass(.milliseconds(20))
        bench.hear(priority: 50)

        bench.run(for: .milliseconds(300))

        #expect(bench.state == .backup)
    }

    @Test("a master advertises every interval, on time over any number of them")
    func rhythm() {
        var bench = ElectionBench.master()
        bench.run(for: .seconds(100))

        #expect((999...1_001).contains(bench.sent.count))
        #expect(bench.sent.allSatisfy { $0 == 100 })
    }

    @Test("lateness of single turns does not add up")
    func drift() {
        var bench = ElectionBench.master()
        var count = 0
        let end = bench.now.advanced(by: .seconds(10))
        while bench.now < end {
            bench.now = bench.machine.nextDeadline.advanced(by: .milliseconds(40))
            bench.feed(.timer)
            count += 1
            #expect(count < 1_000)
        }

        #expect((98...102).contains(bench.sent.count))
    }

    @Test("a master leaves for a higher priority at once, and announces nothing")
    func outranked() {
        var bench = ElectionBench.master()

        bench.hear(priority: 101)

        #expect(bench.state == .backup)
        #expect(bench.actions.first == .takeAddressesOff)
        #expect(bench.announced.isEmpty && bench.sent.isEmpty)
        bench.run(for: .milliseconds(300), hearing: 101)
        #expect(bench.state == .backup)
    }

    @Test("of equal priorities the greater address stays")
    func equals() {
        var loser = ElectionBench.master()
        loser.hear(priority: 100, from: ElectionBench.other)
        #expect(loser.state == .backup)

        var winner = ElectionBench.master()
        winner.hear(priority: 100, from: SocketAddress(ipv4: 0xC0A8_010A, port: 0))
        #expect(winner.state == .master)
    }

    @Test("of two families the first decides between equals, in whichever a word comes")
    func oneFate() {
        var bench = ElectionBench.master {
            $0.families.append(FamilySettings(family: .ipv6, addresses: [.linkLocal(routerID: 51)]))
        }
        #expect(Set(bench.machine.speakingFamilies) == [.ipv4, .ipv6])
        let lower = SocketAddress(ipv4: 0xC0A8_010A, port: 0)
        bench.hear(priority: 100, from: lower)
        // Greater than ours, but IPv4 has decided.
        bench.hear(priority: 100, from: ElectionBench.other6)

        #expect(bench.state == .master)
    }

    @Test("a word in either family keeps a backup waiting, silence in both ends the wait")
    func eitherFamily() {
        var bench = ElectionBench.backup {
            $0.families.append(FamilySettings(family: .ipv6, addresses: [.linkLocal(routerID: 51)]))
        }
        for _ in 0..<20 {
            bench.hear(priority: 200, from: ElectionBench.other6)
            bench.run(for: .milliseconds(100))
        }
        #expect(bench.state == .backup)

        bench.run(for: .milliseconds(300))

        #expect(bench.state == .master)
        #expect(bench.actions.contains(.send(.ipv6, priority: 100, centiseconds: 10)))
        #expect(bench.actions.contains(.send(.ipv4, priority: 100, centiseconds: 10)))
    }

    @Test("a lower priority is told who is master, and announced against until it is quiet")
    func conflict() {
        var bench = ElectionBench.master()
        bench.run(for: .milliseconds(2_000))
        bench.clear()

        for _ in 0..<3 {
            bench.hear(priority: 50)
            bench.run(for: .milliseconds(100))
        }
        bench.run(for: .milliseconds(500))

        #expect(bench.state == .master)
        #expect(bench.announced.filter { $0 == .conflict }.count == 3)
        #expect(bench.announced.contains(.conflictOver))
        #expect(bench.machine.counters.conflictsWon == 1)
        #expect((8...11).contains(bench.sent.count))
        #expect(bench.machine.status(now: bench.now).rival == nil)
    }

    @Test("priority 0 of another master is answered at once")
    func masterHearsZero() {
        var bench = ElectionBench.master()
        bench.pass(.milliseconds(10))

        bench.hear(priority: 0)

        #expect(bench.sent == [100])
        #expect(bench.state == .master)
    }

    @Test("any number of zeros delays the next advertisement by nothing, and makes no flood")
    func masterHearsZeros() {
        for count in [1, 3, 1_000] {
            var bench = ElectionBench.master()
            bench.pass(.milliseconds(1))
            for _ in 0..<count { bench.hear(priority: 0) }

            #expect(bench.machine.nextDeadline <= bench.now.advanced(by: .milliseconds(100)))
            #expect((1...2).contains(bench.sent.count))
            bench.clear()
            bench.run(for: .seconds(1))
            #expect((10...11).contains(bench.sent.count))
        }
    }

    @Test("a zero right after an advertisement of ours is answered too, a moment later")
    func zeroAfterAdvertisement() {
        var bench = ElectionBench.master()
        bench.pass(.milliseconds(10))
        bench.hear(priority: 0)
        bench.clear()
        bench.pass(.microseconds(100))
        bench.hear(priority: 0)
        #expect(bench.sent.isEmpty)

        bench.run(for: .milliseconds(1))

        #expect(bench.sent == [100])
    }

    @Test("no preemption by default, always if wanted")
    func preemption() {
        var never = ElectionBench.backup()
        never.run(for: .seconds(10), hearing: 50)
        #expect(never.state == .backup)

        var always = ElectionBench.backup { $0.preemption = .always }
        always.run(for: .seconds(1), hearing: 50)
        #expect(always.state == .master)
        #expect(always.transitions.last?.cause == .preempted)
    }

    @Test("preemption after a time waits for that time as a fit backup")
    func preemptAfter() {
        var bench = ElectionBench.backup { $0.preemption = .after(.seconds(5)) }
        bench.run(for: .seconds(4), hearing: 50)
        bench.feed(.standing(Standing(fitness: .degraded(.names))))
        bench.feed(.standing(Standing(fitness: .fit)))
        bench.run(for: .milliseconds(4_900), hearing: 50)
        #expect(bench.state == .backup)

        bench.run(for: .seconds(1), hearing: 50)

        #expect(bench.state == .master)
        #expect(bench.transitions.last?.cause == .preempted)
    }

    @Test("the owner is master as soon as it may be")
    func owner() {
        var bench = ElectionBench(ElectionBench.settings { $0.priority = 255 })
        bench.begin()
        bench.hear(priority: 254)
        bench.run(for: .milliseconds(1))

        #expect(bench.state == .master)
        #expect(bench.cause == .owner)
        #expect(bench.sent == [255])
    }

    @Test("addresses are announced at once, repeatedly, and refreshed every minute")
    func announcements() {
        var bench = ElectionBench.backup()
        bench.run(for: .milliseconds(361))
        bench.run(for: .seconds(200))

        #expect(bench.announced.first == .takeOver)
        #expect(bench.announced.filter { $0 == .repetition }.count == 6)
        #expect(bench.announced.filter { $0 == .refresh }.count == 3)
    }

    @Test("other addresses in an advertisement change nothing but a counter")
    func addressesDiffer() {
        var bench = ElectionBench.backup()
        bench.run(for: .milliseconds(200))
        bench.hear(priority: 200, addressesDiffer: true)
        bench.run(for: .milliseconds(300))

        #expect(bench.state == .backup)
        #expect(bench.machine.counters.addressListsDiffering == 1)
    }

    @Test("families that the instance does not have are nobody's business")
    func otherFamily() {
        var bench = ElectionBench.backup()
        bench.run(for: .milliseconds(200))
        bench.hear(priority: 200, from: ElectionBench.other6)
        bench.run(for: .milliseconds(200))

        #expect(bench.state == .master)
    }
}
