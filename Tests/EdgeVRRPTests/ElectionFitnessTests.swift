import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Election: fitness and handover")
struct ElectionFitnessTests {
    static let dead = Standing(fitness: .unfit(.proxyNotServing, answers: false))
    static let ailing = Standing(fitness: .unfit(.trackedInterface, answers: true))

    @Test(
        "an unfit master gives way to a fit peer at once, and keeps the addresses until it has them"
    )
    func unfit() {
        var bench = ElectionBench.master()
        bench.peer()
        bench.clear()
        bench.feed(.standing(Self.ailing))
        #expect(bench.sent == [0])
        #expect(bench.actions.contains(.tellPeers))
        #expect(!bench.actions.contains(.takeAddressesOff))
        bench.pass(.milliseconds(5))
        bench.hear(priority: 90)

        #expect(bench.state == .backup)
        #expect(bench.cause == .gaveWay(.fitness))
        #expect(bench.actions.contains(.takeAddressesOff))
        #expect(bench.announced.isEmpty)
    }

    @Test("a degraded master gives way after a while, and not if the peer gets the same trouble")
    func degraded() {
        var bench = ElectionBench.master()
        bench.peer(timeout: .seconds(60))
        bench.feed(.standing(Standing(fitness: .degraded(.names))))
        bench.run(for: .seconds(2))
        #expect(!bench.sent.contains(0))
        bench.peer(.degraded(.names), timeout: .seconds(60))
        bench.run(for: .seconds(20))
        #expect(!bench.sent.contains(0))

        bench.peer(timeout: .seconds(60))
        bench.run(for: .milliseconds(3_001))

        #expect(bench.sent.contains(0))
    }

    @Test("what is down for both moves nothing")
    func both() {
        for standing in [Self.ailing, Self.dead] {
            var bench = ElectionBench.master()
            bench.peer(standing.fitness, timeout: .seconds(60))
            bench.clear()
            bench.feed(.standing(Self.ailing))
            bench.run(for: .seconds(10))
            #expect(!bench.sent.contains(0))
            #expect(bench.state == .master)
        }
    }

    @Test("an unfit node alone keeps the addresses while its proxy answers anything")
    func alone() {
        var bench = ElectionBench.master()
        bench.peer(timeout: .seconds(1))
        bench.run(for: .seconds(2))
        bench.feed(.standing(Self.ailing))
        bench.run(for: .seconds(60))
        #expect(bench.state == .master)
        #expect(!bench.sent.contains(0))

        bench.feed(.standing(Self.dead))
        bench.run(for: .seconds(1))

        #expect(bench.state == .backup)
        #expect(bench.cause == .notAnswering)
        bench.run(for: .seconds(60))
        #expect(bench.state == .backup)
        bench.feed(.standing(Standing(fitness: .fit)))
        bench.run(for: .milliseconds(1))
        #expect(bench.state == .master)
    }

    @Test("an unfit backup leaves the addresses to a fit peer as long as that lives")
    func unfitBackup() {
        var bench = ElectionBench.backup()
        bench.feed(.standing(Self.ailing))
        bench.peer(state: .master, timeout: .seconds(5))
        bench.run(for: .milliseconds(4_900))
        #expect(bench.state == .backup)

        bench.run(for: .milliseconds(200))

        #expect(bench.state == .master)
    }

    @Test("a dead proxy's node never takes over")
    func deadBackup() {
        var bench = ElectionBench.backup()
        bench.feed(.standing(Self.dead))
        bench.run(for: .seconds(60))

        #expect(bench.state == .backup)
    }

    @Test("a fit backup takes over from a silent master in time, whatever its presence says")
    func presenceDelaysNothing() {
        var bench = ElectionBench.backup()
        bench.peer(state: .master, priority: 200, timeout: .seconds(5))
        bench.run(for: .milliseconds(361))

        #expect(bench.state == .master)
    }

    @Test("of two backups the fitter or higher goes first, by one step and not for ever")
    func courtesy() {
        var higher = ElectionBench.backup()
        higher.peer(priority: 101, timeout: .seconds(60))
        higher.run(for: .milliseconds(361))
        #expect(higher.state == .backup)
        higher.run(for: .milliseconds(100))
        #expect(higher.state == .master)

        var fitter = ElectionBench.backup()
        fitter.feed(.standing(Standing(fitness: .degraded(.names))))
        fitter.peer(priority: 1, timeout: .seconds(60))
        fitter.run(for: .milliseconds(361))
        #expect(fitter.state == .backup)
        fitter.run(for: .milliseconds(361))
        #expect(fitter.state == .master)
    }

    @Test("without a word of presence fitness is a matter of priority")
    func priorities() {
        var bench = ElectionBench.master()
        bench.feed(.standing(Standing(fitness: .degraded(.names))))
        bench.run(for: .milliseconds(100))
        #expect(bench.sent == [50])
        bench.peer()
        bench.run(for: .milliseconds(100))
        #expect(bench.sent == [50, 100])
    }

    @Test(
        "an unfit master that knows no guardian asks with priority 0 now and then, ever less often")
    func asks() {
        var bench = ElectionBench.master()
        bench.feed(.standing(Self.ailing))
        bench.run(for: .seconds(9))
        #expect(bench.sent.filter { $0 == 0 }.count == 2)
        #expect(bench.state == .master)
        bench.run(for: .seconds(300))

        #expect((8...14).contains(bench.sent.filter { $0 == 0 }.count))
        #expect(bench.state == .master)
        #expect(bench.transitions.isEmpty)
        // Somebody is there at last.
        bench.run(for: .seconds(300))
        while bench.machine.status(now: bench.now).isHandingOver == false {
            bench.run(for: .milliseconds(100))
        }
        bench.hear(priority: 90)
        #expect(bench.state == .backup)
    }

    @Test("an administrator's wish is granted if the peer is ready, or if it is forced")
    func yield() {
        var bench = ElectionBench.master()
        bench.feed(.yield(isForced: false))
        #expect(bench.actions == [.yieldRefused(.noPeer)])
        bench.peer(isReady: false)
        bench.clear()
        bench.feed(.yield(isForced: false))
        #expect(
            bench.actions == [.yieldRefused(.peerNotReady(Standing(fitness: .fit), .backup))])
        bench.peer(.degraded(.names))
        bench.clear()
        bench.feed(.yield(isForced: false))
        #expect(bench.sent.isEmpty)
        bench.peer(Self.ailing.fitness)
        bench.clear()
        bench.feed(.yield(isForced: false))
        #expect(bench.sent.isEmpty)
        bench.peer()
        bench.clear()
        bench.feed(.yield(isForced: false))
        #expect(bench.sent == [0])
        #expect(bench.feed(.yield(isForced: false)) == [.yieldRefused(.underWay)])
        bench.hear(priority: 90)

        #expect(bench.actions.contains(.yieldEnded(isMoved: true)))
        #expect(bench.state == .backup)
        #expect(bench.feed(.yield(isForced: true)) == [.yieldRefused(.notMaster)])
    }

    @Test("a handover that nobody takes ends where it began")
    func failed() {
        var bench = ElectionBench.master()
        bench.feed(.yield(isForced: true))
        bench.run(for: .milliseconds(562))

        #expect(bench.actions.contains(.yieldEnded(isMoved: false)))
        #expect(bench.state == .master)
        #expect(bench.sent == [0, 0, 100])
        #expect(!bench.actions.contains(.takeAddressesOff))
        #expect(bench.transitions.isEmpty)
    }

    @Test("what an administrator has moved is not preempted back at once")
    func notBack() {
        var bench = ElectionBench.master { $0.preemption = .always }
        bench.feed(.yield(isForced: true))
        bench.pass(.milliseconds(5))
        bench.hear(priority: 50)
        bench.run(for: .seconds(50), hearing: 50)
        #expect(bench.state == .backup)
        bench.run(for: .seconds(15), hearing: 50)
        #expect(bench.state == .master)
    }

    @Test("a backup that is asked takes over at once, unless it is in no state to")
    func asked() {
        var bench = ElectionBench.backup()
        bench.peer(state: .master, asks: true)
        #expect(bench.state == .master)
        #expect(bench.cause == .asked)

        for standing in [Self.ailing, Standing(fitness: .fit, isInMaintenance: true)] {
            var other = ElectionBench.backup()
            other.feed(.standing(standing))
            other.peer(state: .master, asks: true)
            #expect(other.state == .backup)
        }
    }

    @Test("a drained node gives way, does not come back, and holds if it is the only one")
    func drained() {
        let drained = Standing(fitness: .fit, isInMaintenance: true)
        var bench = ElectionBench.master()
        bench.peer(timeout: .seconds(600))
        bench.feed(.standing(drained))
        #expect(bench.machine.status(now: bench.now).isHandingOver)
        bench.hear(priority: 90)
        #expect(bench.cause == .gaveWay(.maintenance))
        bench.run(for: .seconds(60))
        #expect(bench.state == .backup)
        bench.run(for: .seconds(600))
        #expect(bench.state == .master)
    }

    @Test("a preferred node that is less fit does not preempt")
    func preferredButIll() {
        var bench = ElectionBench.backup { $0.preemption = .always }
        bench.feed(.standing(Standing(fitness: .degraded(.names))))
        bench.peer(state: .master, timeout: .seconds(60))
        bench.run(for: .seconds(5), hearing: 50)

        #expect(bench.state == .backup)
    }

    @Test("many moves are damped: by choice later and later, from a silent master never")
    func damping() {
        var bench = ElectionBench.backup { $0.preemption = .always }
        var times: [Instant] = []
        for _ in 0..<6 {
            var turns = 0
            while bench.state == .backup, turns < 10_000 {
                turns += 1
                bench.run(for: .milliseconds(100), hearing: 50)
            }
            times.append(bench.now)
            bench.hear(priority: 200)
            // Who has left is forgotten by preemption.
            bench.run(for: .seconds(1), hearing: 200)
        }
        let gaps = zip(times.dropFirst(), times).map { $0.nanoseconds(since: $1) / 1_000_000_000 }
        #expect(gaps[0] < 5 && gaps[1] < 5)
        #expect(gaps[3] >= 29 && gaps[4] >= 59)
        #expect(bench.machine.status(now: bench.now).dampedUntil != nil)

        bench.clear()
        bench.run(for: .milliseconds(400))

        #expect(bench.state == .master)
    }

    @Test("while damped, a master whose guardian lives is not overridden for lost words")
    func dampedButAlive() {
        var bench = ElectionBench.backup()
        for _ in 0..<4 {
            bench.run(for: .seconds(1))
            bench.hear(priority: 200)
        }
        #expect(bench.machine.damper.isHeld(now: bench.now))
        bench.peer(state: .master, priority: 200, timeout: .seconds(2))
        bench.run(for: .milliseconds(1_900))
        #expect(bench.state == .backup)
        bench.run(for: .milliseconds(200))
        #expect(bench.state == .master)
    }

    @Test("where only present peers are trusted, a stranger's word neither helps nor harms")
    func trust() {
        var bench = ElectionBench(ElectionBench.settings { $0.trustsPresentPeersOnly = true })
        bench.begin()
        bench.run(for: .seconds(3), hearing: 250)
        #expect(bench.state == .master)
        #expect(bench.machine.counters.advertisementsDistrusted == 30)
        bench.peer()
        bench.hear(priority: 250)
        #expect(bench.state == .backup)
    }

    @Test("where presence is trusted, its loss makes no second master of a backup")
    func vouched() {
        var bench = ElectionBench.backup { $0.trustsPresentPeersOnly = true }
        bench.peer(state: .master, priority: 200, timeout: .seconds(1))
        bench.hear(priority: 200)
        bench.run(for: .seconds(5), hearing: 200)
        #expect(bench.state == .backup)
        #expect(bench.machine.counters.advertisementsDistrusted > 30)

        // Neither a long interval nor a zero of an untrusted sender changes the wait.
        bench.hear(priority: 200, centiseconds: 4_095)
        bench.hear(priority: 0)
        bench.run(for: .milliseconds(300))
        #expect(bench.state == .backup)
        bench.run(for: .milliseconds(100))
        #expect(bench.state == .master)
        // As master it yields to nobody who is not present.
        bench.run(for: .seconds(5), hearing: 200)
        #expect(bench.state == .master)
    }

    @Test("who was never vouched for keeps no backup waiting")
    func notVouched() {
        let stranger = SocketAddress(ipv4: 0xC0A8_010E, port: 0)
        var bench = ElectionBench.backup { $0.trustsPresentPeersOnly = true }
        bench.peer(state: .master, priority: 200, timeout: .seconds(1))
        bench.hear(priority: 200)
        bench.hear(priority: 250, from: stranger)
        bench.pass(.seconds(1))
        for _ in 0..<10 {
            bench.hear(priority: 250, from: stranger)
            bench.run(for: .milliseconds(100))
        }

        #expect(bench.state == .master)
    }

    @Test("an edged peer that another implementation has replaced is forgotten after ten minutes")
    func replacedPeer() {
        let degraded = Standing(fitness: .degraded(.names))
        var bench = ElectionBench.backup()
        bench.peer()
        bench.feed(.standing(degraded))
        bench.run(for: .seconds(590), hearing: 200)
        #expect(bench.machine.priority == 100)
        bench.run(for: .seconds(11), hearing: 200)
        #expect(bench.machine.priority == 50)
        bench.peer()
        #expect(bench.machine.priority == 100)

        // Silence alone says nothing of who was there.
        var alone = ElectionBench.master()
        alone.peer()
        alone.feed(.standing(degraded))
        alone.run(for: .seconds(1_200))
        #expect(alone.machine.priority == 100)
    }

    @Test("a peer that has held the addresses unheard is announced against")
    func unheardHolder() {
        var bench = ElectionBench.master()
        bench.peer(sinceMilliseconds: 100_000)
        bench.run(for: .seconds(1))
        bench.peer(sinceMilliseconds: 101_000)
        bench.clear()
        bench.peer(sinceMilliseconds: 10)
        #expect(bench.announced == [.conflictOver])
    }
}
