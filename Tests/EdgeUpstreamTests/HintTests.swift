import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("What another node finds down") struct HintTests {
    @Test("A member that another node finds down is checked soon, and nothing else changes")
    func soon() {
        let pool = HealthPool(1, 2)
        _ = pool.health.takeDueChecks(now: pool.now)
        pool.pass(1, 2)
        pool.wait(.milliseconds(900))
        _ = pool.health.takeDueChecks(now: pool.now)
        pool.pass(1, 2)
        pool.wait(.milliseconds(300))
        let due = pool.health.takeDueChecks(now: pool.now)
        #expect(due.isEmpty)

        pool.health.hint(HealthPool.address(2), now: pool.now)

        #expect(pool.state(2) == .up)
        #expect(pool.preferred == [1, 2])
        #expect(
            pool.health.nextDue.nanoseconds(since: pool.now) <= 1_000_000_000, "not much later")
        pool.wait(.seconds(1))
        let asked = pool.health.takeDueChecks(now: pool.now)
        #expect(asked.contains(HealthPool.address(2)))
        pool.pass(2)
        #expect(pool.state(2) == .up, "the verdict is our own")
    }

    @Test("A hint of a stranger, or of a member that is down here too, changes nothing")
    func nothing() {
        let pool = HealthPool(1)
        let due = pool.health.nextDue

        pool.health.hint(HealthPool.address(9), now: pool.now)

        #expect(pool.health.nextDue == due)
    }
}
