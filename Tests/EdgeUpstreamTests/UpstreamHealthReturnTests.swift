import EdgeCore
import Testing

@testable import EdgeUpstream

/// What must not be lost, or last for ever, when members come and go.
@Suite("Members that come back") struct UpstreamHealthReturnTests {
    @Test("An address that DNS leaves out for a while is in maintenance when it is back")
    func wordSurvivesAbsence() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)
        #expect(pool.administer(1, .maint))

        pool.propose(2)
        #expect(pool.everyone == [2])
        pool.propose(1, 2)
        pool.pass(1)

        #expect(pool.state(1) == .maintenance)
        #expect(pool.rank(1) == .never)
        #expect(pool.administer(1, .ready))
        pool.propose(2)
        pool.propose(1, 2)
        pool.pass(1)
        #expect(pool.state(1) == .up)
    }

    @Test("An address that the configuration leaves out begins anew")
    func wordEndsWithItsServer() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)
        _ = pool.administer(1, .maint)
        pool.propose(2)

        pool.reconfigure(HealthPool.configuration([HealthPool.server(2)]))
        pool.reconfigure(HealthPool.configuration([HealthPool.server(2), HealthPool.name]))
        pool.propose(1)
        pool.pass(1)

        #expect(pool.state(1) == .up)
    }

    @Test("With nobody to fail open to, the last that passes its checks is back from its ejection")
    func closedPoolKeepsTheLast() {
        let pool = HealthPool(1, 2) { $0.failsOpen = false }
        pool.pass(1, 2)
        pool.observe(1, .consecutiveFailures(5))
        #expect(pool.preferred == [2])

        pool.fail(2)

        #expect(pool.state(1) == .up)
        #expect(pool.preferred == [1])
        pool.observe(1, .consecutiveFailures(10))
        #expect(pool.preferred == [1])
    }

    @Test(
        "A member that passes its checks and is of no use to traffic does not come and go for ever")
    func noFlapping() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        var ejections = 0

        // Each time it is back, the first connection is refused.
        let end = pool.now.advanced(by: .seconds(120))
        while pool.now < end {
            if pool.rank(1) == .preferred {
                pool.observe(1, .connectRefused)
                ejections += 1
            }
            for number in pool.due() { pool.pass(number) }
            pool.wait(.milliseconds(100))
        }

        #expect(ejections <= 8)
        #expect(pool.preferred == [2])
    }

    @Test("Ejections that traffic has answered between are ended by each passed check")
    func passesEndOthers() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)

        for _ in 0..<20 {
            pool.observe(1, .unreachable)
            #expect(pool.state(1) == .ejected)
            pool.wait(.milliseconds(300))
            _ = pool.due()
            pool.pass(1)
            #expect(pool.state(1) == .up)
            pool.summarise([1: (10, 0, 5)])
        }
    }

    @Test("A check that could not be made changes nothing and is made again soon")
    func notChecked() {
        let pool = HealthPool(1)
        pool.pass(1, 1)
        pool.wait(.seconds(3))
        #expect(pool.due() == [1])
        let version = pool.version

        pool.health.notChecked(HealthPool.address(1), now: pool.now)

        #expect(pool.version == version && pool.report(1)?.checksFailed == 0)
        pool.wait(.milliseconds(2200))
        #expect(pool.due() == [1])
        // What traffic has met meanwhile is not forgotten for it.
        pool.observe(1, .connectRefused)
        pool.health.notChecked(HealthPool.address(1), now: pool.now)
        pool.wait(.milliseconds(200))
        #expect(pool.due() == [1])
    }

    @Test("Addresses that are not confirmed for too long leave, also the last one that works")
    func expired() {
        let other = HealthPool.named("other.example")
        let pool = HealthPool(HealthPool.configuration([HealthPool.name, other]))
        pool.propose(1, 2)
        pool.propose(2, for: other)
        pool.pass(1, 2)

        pool.health.propose(.expired, for: HealthPool.name, now: pool.now)
        #expect(pool.everyone == [2], "another name has that one as well")
        pool.health.propose(.expired, for: other, now: pool.now)

        #expect(pool.everyone.isEmpty)
        #expect(pool.health.report.map(\.state) == [.unresolved, .unresolved])
        pool.propose(1)
        #expect(pool.preferred == [1])
    }
}
