import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Suspicious answers of DNS") struct UpstreamHealthSuspicionTests {
    @Test("A suspicious address never displaces one that works, even if its check passes")
    func suspicious() {
        let pool = HealthPool.named()
        pool.propose(1, 2)
        pool.pass(1, 2)

        pool.propose(99, suspicious: true)
        pool.pass(99)

        #expect(pool.preferred == [1, 2])
        #expect(pool.rank(99) == .never)
        pool.propose(1, 2)
        #expect(pool.everyone == [1, 2])
    }

    @Test("A suspicious address is used when nothing else is usable")
    func suspiciousAlone() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(99, suspicious: true)

        pool.fail(1)
        #expect(pool.preferred == [1], "it worked once; the other was never seen working")
        #expect(pool.rank(99) == .fallback)
        pool.pass(99)
        #expect(pool.preferred == [99])
        pool.pass(1, 1)

        #expect(pool.preferred == [1])
        #expect(pool.rank(99) == .never)
    }

    @Test("A suspicious address that a good answer has as well is like any other")
    func suspicionLifted() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)
        pool.propose(2, suspicious: true)
        pool.pass(2)

        pool.propose(2)

        #expect(pool.everyone == [2])
        #expect(pool.state(2) == .up)
    }

    @Test("Also a suspicious address that works stays until a proposed one does")
    func suspicionOutlived() {
        let pool = HealthPool.named()
        pool.propose(98, suspicious: true)
        pool.propose(99, suspicious: true)
        pool.pass(99)
        #expect(pool.preferred == [99])

        pool.propose(2)
        #expect(pool.everyone == [2, 99])
        pool.fail(2)
        #expect(pool.preferred == [99])
        pool.pass(2, 2)

        #expect(pool.everyone == [2])
    }

    @Test("A foreign address each time does not fill the memory")
    func manyForeign() {
        let pool = HealthPool.named()
        pool.propose(1)
        pool.pass(1)

        for number in 100..<1000 { pool.propose(number, suspicious: true) }

        #expect(pool.health.ranked.count <= UpstreamHealth.addressesMax)
        #expect(pool.preferred == [1])
    }
}
