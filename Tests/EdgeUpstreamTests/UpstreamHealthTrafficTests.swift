import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Verdicts of traffic") struct UpstreamHealthTrafficTests {
    private typealias Row = (requests: Int, failures: Int, milliseconds: UInt64)

    /// Members that checks have found up, and are asked no more of here.
    private static func pool(
        _ count: Int, change: (inout UpstreamConfiguration) -> Void = { _ in }
    ) -> HealthPool {
        let pool = HealthPool(
            HealthPool.configuration((1...count).map { HealthPool.server($0) }, change: change))
        for number in 1...count { pool.pass(number, number) }
        return pool
    }

    @Test(
        "A refused connection and a host that is gone count at once",
        arguments: [MemberObservation.connectRefused, .unreachable])
    func conclusive(_ observation: MemberObservation) {
        let pool = Self.pool(3)

        pool.observe(2, observation)

        #expect(pool.state(2) == .ejected)
        #expect(pool.preferred == [1, 3])
        #expect(pool.rank(2) == .never)
        #expect(pool.report(2)?.failure == observation.reason)
    }

    @Test(
        "Other failures to connect count as three within ten seconds",
        arguments: [MemberObservation.connectTimedOut, .connectFailed, .tlsFailed])
    func strikes(_ observation: MemberObservation) {
        let pool = Self.pool(3)

        pool.observe(2, observation)
        pool.wait(.seconds(6))
        pool.observe(2, observation)
        pool.wait(.seconds(6))
        pool.observe(2, observation)
        #expect(pool.state(2) == .up, "the first was twelve seconds ago")
        pool.wait(.seconds(1))
        pool.observe(2, observation)

        #expect(pool.state(2) == .ejected)
    }

    @Test("One is enough for a member that has not worked since it joined or came back")
    func noSuccess() {
        let pool = HealthPool(1, 2) { $0.health = nil }
        pool.observe(2, .connectTimedOut)
        #expect(pool.state(2) == .ejected)

        pool.wait(.seconds(3))
        #expect(pool.state(2) == .up)
        pool.summarise([2: (requests: 1, failures: 0, milliseconds: 1)])
        pool.observe(2, .connectTimedOut)
        #expect(pool.state(2) == .up)
        pool.observe(2, .connectTimedOut)
        pool.observe(2, .connectTimedOut)
        #expect(pool.state(2) == .ejected)
        pool.wait(.seconds(5))
        #expect(pool.state(2) == .up)
        pool.observe(2, .connectTimedOut)

        #expect(pool.state(2) == .ejected)
    }

    @Test("A passed check ends an ejection for connections, if it began after it")
    func passEnds() {
        let pool = Self.pool(2)
        pool.wait(.seconds(10))
        #expect(pool.due() == [1, 2])
        pool.wait(.milliseconds(300))

        pool.observe(2, .connectRefused)
        pool.pass(2)
        #expect(pool.state(2) == .ejected, "that check was older")
        #expect(pool.due() == [2])
        pool.pass(2)

        #expect(pool.state(2) == .up)
    }

    @Test("A passed check does not end an ejection for failed requests")
    func passEndsNotAll() {
        let pool = Self.pool(2)

        pool.observe(2, .consecutiveFailures(5))
        pool.pass(2)
        #expect(pool.state(2) == .ejected)
        pool.wait(.milliseconds(2201))

        #expect(pool.state(2) == .up)
    }

    @Test("Fewer failures in a row than configured do not count")
    func consecutive() {
        let pool = Self.pool(2)

        pool.observe(2, .consecutiveFailures(4))
        #expect(pool.state(2) == .up)
        pool.observe(2, .consecutiveFailures(5))

        #expect(pool.state(2) == .ejected)
    }

    @Test("Ejections double, a little more at random, up to the longest")
    func backOff() {
        let pool = Self.pool(2) { $0.ejection?.last = .seconds(30) }
        var spans: [UInt64] = []

        for _ in 0..<6 {
            pool.observe(2, .consecutiveFailures(5))
            guard let until = pool.report(2)?.ejectedUntil else { break }
            #expect(pool.nextDue <= until)
            spans.append(until.nanoseconds(since: pool.now) / 1_000_000)
            pool.now = until
            pool.wait(.zero)
            #expect(pool.state(2) == .up)
        }

        let bases: [UInt64] = [2000, 4000, 8000, 16000, 30000, 30000]
        #expect(spans.count == bases.count)
        for (span, base) in zip(spans, bases) {
            #expect((base...base * 11 / 10).contains(span))
        }
        #expect(pool.report(2)?.ejections == 6)
    }

    @Test("Ejections are forgotten after ten times as long without")
    func forgiveness() {
        func secondSpan(after gap: Duration) -> UInt64 {
            let pool = Self.pool(2)
            pool.observe(2, .consecutiveFailures(5))
            pool.wait(.milliseconds(2200))
            pool.wait(gap)
            pool.observe(2, .consecutiveFailures(5))
            let until = pool.report(2)?.ejectedUntil ?? pool.now
            return until.nanoseconds(since: pool.now) / 1_000_000
        }

        #expect((4000...4400).contains(secondSpan(after: .seconds(19))))
        #expect((2000...2200).contains(secondSpan(after: .seconds(21))))
    }

    @Test("At most the configured share is out for failed requests")
    func share() {
        let pool = Self.pool(5)

        for number in 1...5 { pool.observe(number, .consecutiveFailures(5)) }

        #expect(pool.preferred == [3, 4, 5])
    }

    @Test("One of two may always be out, and never the only one")
    func smallPools() {
        let two = Self.pool(2) { $0.ejection?.sharePercent = 10 }
        let one = Self.pool(1)

        two.observe(1, .consecutiveFailures(5))
        two.observe(2, .consecutiveFailures(5))
        one.observe(1, .consecutiveFailures(5))
        one.observe(1, .connectRefused)

        #expect(two.preferred == [2])
        #expect(one.preferred == [1])
        #expect(one.state(1) == .up)
    }

    @Test("Dead hosts are taken out beyond the share, but never the last member")
    func connectivityBeyondShare() {
        let pool = Self.pool(4)

        for number in 1...4 { pool.observe(number, .connectRefused) }

        #expect(pool.preferred == [4])
        #expect(pool.state(4) == .up)
    }

    @Test("When members leave, those of the rest that are out too many come back")
    func shareAfterLeaving() {
        let pool = Self.pool(4)
        pool.observe(1, .consecutiveFailures(5))
        pool.wait(.seconds(1))
        pool.observe(2, .consecutiveFailures(5))
        #expect(pool.preferred == [3, 4])

        pool.reconfigure(HealthPool.configuration([HealthPool.server(1), HealthPool.server(2)]))

        #expect(pool.preferred == [1], "it would have been back first")
        #expect(pool.state(2) == .ejected)
    }

    @Test("A member that fails too many of its requests is ejected; too few say nothing")
    func failureRate() {
        let pool = Self.pool(3)
        let bad: Row = (requests: 10, failures: 6, milliseconds: 1)
        let good: Row = (requests: 10, failures: 4, milliseconds: 1)

        pool.summarise([1: bad, 2: good])
        #expect(pool.state(1) == .up)
        pool.summarise([1: bad, 2: good])

        #expect(pool.state(1) == .ejected)
        #expect(pool.state(2) == .up)
        #expect(pool.report(1)?.failure == "60 % of its requests failed")
    }

    @Test("What is older than ten seconds does not count")
    func window() {
        let pool = Self.pool(2)
        let bad: Row = (requests: 12, failures: 12, milliseconds: 1)

        pool.summarise([1: bad])
        pool.wait(.seconds(10))
        pool.summarise([1: bad])

        #expect(pool.state(1) == .up)
    }

    @Test("A member that is several times as slow as the others is ejected, where asked for")
    func latency() {
        let rows: [Int: Row] = [
            1: (requests: 30, failures: 0, milliseconds: 10),
            2: (requests: 30, failures: 0, milliseconds: 12),
            3: (requests: 30, failures: 0, milliseconds: 61),
        ]
        let pool = Self.pool(3) { $0.ejection?.latencyFactor = 5 }
        let indifferent = Self.pool(3)

        pool.summarise(rows)
        indifferent.summarise(rows)

        #expect(pool.preferred == [1, 2])
        #expect(indifferent.preferred == [1, 2, 3])
    }

    @Test("A member that comes back begins with nothing held against it")
    func freshStart() {
        let pool = Self.pool(2)
        let bad: Row = (requests: 20, failures: 20, milliseconds: 1)
        pool.summarise([1: bad])
        #expect(pool.state(1) == .ejected)
        pool.summarise([1: bad])

        pool.wait(.milliseconds(2200))
        pool.summarise([1: (requests: 20, failures: 1, milliseconds: 1)])

        #expect(pool.state(1) == .up)
    }

    @Test("Without an ejection policy traffic takes nobody out, but has them checked")
    func noPolicy() {
        let pool = Self.pool(2) { $0.ejection = nil }
        _ = pool.due()
        pool.pass(1, 2)
        pool.wait(.milliseconds(200))

        pool.observe(1, .connectRefused)
        pool.observe(2, .consecutiveFailures(50))
        pool.summarise([1: (requests: 100, failures: 100, milliseconds: 1)])

        #expect(pool.preferred == [1, 2])
        #expect(pool.due() == [1])
    }

    @Test("A member that comes back begins slowly; one that is new does not")
    func slowStart() {
        let pool = Self.pool(2) { $0.slowStart = .seconds(30) }
        let none = Instant(nanoseconds: 0)
        #expect(pool.member(1)?.rampedFrom == none)

        pool.fail(1)
        pool.wait(.seconds(5))
        pool.pass(1, 1)
        #expect(pool.member(1)?.rampedFrom == pool.now)
        pool.observe(2, .consecutiveFailures(5))
        pool.wait(.seconds(5))

        #expect(pool.member(2)?.rampedFrom == pool.now)
        #expect(pool.preferred == [1, 2])
    }
}
