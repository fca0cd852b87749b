import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Who takes traffic") struct UpstreamHealthRankTests {
    private static let backups = HealthPool.configuration([
        HealthPool.server(1), HealthPool.server(2, isBackup: true),
        HealthPool.server(3, isBackup: true),
    ])

    @Test("Backups stand behind others, and take their place when none is left")
    func backup() {
        let pool = HealthPool(Self.backups)
        #expect(pool.preferred == [1])

        pool.pass(2)
        #expect(pool.preferred == [1], "not asked yet, and nothing speaks against it")
        pool.pass(1, 3)
        #expect(pool.numbers(.fallback) == [2, 3])
        pool.fail(1)
        #expect(pool.preferred == [2, 3])
        pool.pass(1, 1)

        #expect(pool.preferred == [1])
    }

    @Test("A new member whose check fails is no reason to leave a backup that works")
    func failingNewcomer() {
        let pool = HealthPool(Self.backups)
        pool.pass(2)

        pool.check(1, .failed(reason: "timeout"))

        #expect(pool.preferred == [2])
        #expect(pool.numbers(.fallback) == [1, 3])
    }

    @Test("With all down, those that worked last are used, and are down all the same")
    func failOpen() {
        let pool = HealthPool(1, 2, 3)
        pool.pass(1, 2, 3)
        pool.fail(1)
        pool.wait(.seconds(60))
        pool.pass(2, 3)
        #expect(!pool.health.isFailingOpen)

        pool.fail(2, 3)

        #expect(pool.preferred == [2, 3])
        #expect(pool.rank(1) == .never)
        #expect(pool.state(2) == .down)
        #expect(pool.health.isFailingOpen)
        pool.pass(1, 1)
        #expect(pool.preferred == [1])
        #expect(!pool.health.isFailingOpen)
    }

    @Test("With all down that never worked, all are tried")
    func failOpenUnseen() {
        let pool = HealthPool(1, 2)

        pool.fail(1, 2)

        #expect(pool.preferred == [1, 2])
    }

    @Test("With all down and no fail-open nobody is used")
    func failClosed() {
        let pool = HealthPool(1, 2) { $0.failsOpen = false }
        pool.pass(1, 2)

        pool.fail(1, 2)

        #expect(pool.numbers(.never) == [1, 2])
        #expect(!pool.health.isFailingOpen)
    }

    @Test("An ejected member that passes its checks is better than one that is down")
    func failOpenEjected() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        pool.observe(1, .consecutiveFailures(5))
        pool.wait(.seconds(1))
        pool.fail(2)
        pool.wait(.milliseconds(500))
        pool.pass(1)
        #expect(pool.state(1) == .ejected)

        pool.wait(.seconds(5))

        #expect(pool.preferred == [1])
    }

    @Test("A drained member serves whoever is bound to it, one in maintenance nobody")
    func admin() {
        let pool = HealthPool(1, 2, 3)
        pool.pass(1, 2, 3)

        #expect(pool.administer(1, .drain))
        #expect(pool.administer(2, .maint))
        #expect(!pool.administer(9, .drain))

        #expect(pool.rank(1) == .boundOnly)
        #expect(pool.state(1) == .draining)
        #expect(pool.rank(2) == .never)
        #expect(pool.state(2) == .maintenance)
        #expect(pool.preferred == [3])
        #expect(pool.administer(1, .ready))
        #expect(pool.administer(2, .ready))
        #expect(pool.preferred == [1, 2, 3])
    }

    @Test("Behind an administrator's word the verdict goes on")
    func verdictBehindAdmin() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        _ = pool.administer(1, .drain)

        pool.fail(1)
        #expect(pool.state(1) == .draining)
        #expect(pool.rank(1) == .never, "nobody can be served by it")
        _ = pool.administer(1, .ready)

        #expect(pool.state(1) == .down)
    }

    @Test("Members in maintenance are not used, even if all others are down")
    func maintenanceStaysOut() {
        let pool = HealthPool(1, 2, 3)
        pool.pass(1, 2, 3)
        _ = pool.administer(1, .maint)
        _ = pool.administer(2, .drain)

        pool.fail(3)
        #expect(pool.preferred == [3])
        _ = pool.administer(3, .maint)

        #expect(pool.preferred.isEmpty)
    }

    @Test("A reload keeps verdicts, statistics and the administrator's word")
    func reload() {
        let pool = HealthPool(1, 2, 3)
        pool.pass(1, 2, 3)
        _ = pool.administer(1, .drain)
        pool.fail(2)

        pool.reconfigure(
            HealthPool.configuration([
                HealthPool.server(4), HealthPool.server(2, weight: 7), HealthPool.server(1),
            ]))

        #expect(pool.everyone == [4, 2, 1])
        #expect(pool.state(4) == .unknown)
        #expect(pool.preferred == [4])
        #expect(pool.state(2) == .down)
        #expect(pool.member(2)?.weight == 7)
        #expect(pool.report(2)?.checksFailed == 3)
        #expect(pool.state(1) == .draining)
    }

    @Test("A reload keeps the addresses of names that stay, in their new place")
    func reloadOfNames() {
        let other = HealthPool.named("other.example")
        let pool = HealthPool(HealthPool.configuration([HealthPool.name, other]))
        pool.propose(1)
        pool.propose(2, for: other)
        pool.pass(1, 2)

        pool.reconfigure(HealthPool.configuration([other, HealthPool.server(5), HealthPool.name]))
        #expect(pool.everyone == [2, 5, 1])
        #expect(pool.preferred == [2, 1])
        pool.reconfigure(HealthPool.configuration([HealthPool.name]))

        #expect(pool.everyone == [1])
    }

    @Test("Without checks from a reload on, nothing speaks against members that were down")
    func checksSwitchedOff() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        pool.fail(1)

        pool.reconfigure(
            HealthPool.configuration([HealthPool.server(1), HealthPool.server(2)]) {
                $0.health = nil
            })

        #expect(pool.preferred == [1, 2])
        #expect(pool.nextDue == .never)
    }

    @Test("Other checks from a reload on are made at once, and until then the verdicts stand")
    func checksChanged() {
        let pool = HealthPool(1, 2)
        _ = pool.due()
        pool.pass(1, 2)
        let configuration = HealthPool.configuration([
            HealthPool.server(1), HealthPool.server(2),
        ]) { $0.health?.kind = .tls }

        pool.reconfigure(configuration)
        #expect(pool.preferred == [1, 2])
        #expect(pool.due() == [1, 2])
        pool.pass(1, 2)
        pool.reconfigure(configuration)

        #expect(pool.due().isEmpty)
    }

    @Test("Ejections end with the policy that made them")
    func ejectionSwitchedOff() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        pool.observe(1, .consecutiveFailures(5))

        pool.reconfigure(
            HealthPool.configuration([HealthPool.server(1), HealthPool.server(2)]) {
                $0.ejection = nil
            })

        #expect(pool.preferred == [1, 2])
    }

    @Test("The version grows when something changes for workers, and only then")
    func version() {
        let pool = HealthPool(1, 2)
        let first = pool.version

        pool.check(1, .failed(reason: "timeout"))
        #expect(pool.version == first + 1, "behind the one that has not failed")
        pool.check(1, .failed(reason: "timeout"))
        pool.wait(.seconds(1))
        pool.summarise([1: (requests: 5, failures: 0, milliseconds: 1)])
        #expect(pool.version == first + 1)
        pool.pass(1)

        #expect(pool.version == first + 2)
    }
}
