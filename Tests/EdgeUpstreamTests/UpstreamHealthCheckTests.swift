import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Verdicts of checks") struct UpstreamHealthCheckTests {
    private static let refused = CheckOutcome.failed(reason: "connection refused")

    private static let exclusive: @Sendable (inout UpstreamConfiguration) -> Void = {
        $0.health = HealthPolicy(kind: .activeMember(HealthPolicy.Request()))
    }

    @Test("At the very start members that nobody knows are used, and checked at once")
    func start() {
        let pool = HealthPool(1, 2)

        #expect(pool.preferred == [1, 2])
        #expect(pool.state(1) == .unknown)
        #expect(pool.due() == [1, 2])
        #expect(pool.due().isEmpty)
    }

    @Test("One pass makes an unknown member up, and those that nobody knows step back")
    func firstPass() {
        let pool = HealthPool(1, 2)

        pool.pass(1)

        #expect(pool.state(1) == .up)
        #expect(pool.preferred == [1])
        #expect(pool.numbers(.fallback) == [2])
    }

    @Test("Only so many failures in a row make a member down")
    func fall() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)

        pool.check(1, Self.refused)
        pool.check(1, Self.refused)
        pool.pass(1)
        pool.check(1, Self.refused)
        pool.check(1, Self.refused)
        #expect(pool.state(1) == .up)
        pool.check(1, Self.refused)

        #expect(pool.state(1) == .down)
        #expect(pool.rank(1) == .never)
        #expect(pool.report(1)?.failure == "connection refused")
    }

    @Test("Only so many passes in a row make a down member up again")
    func rise() {
        let pool = HealthPool(1, 2) { $0.health?.rise = 3 }
        pool.pass(1, 2)
        pool.fail(1)

        pool.pass(1, 1)
        pool.check(1, Self.refused)
        pool.pass(1, 1)
        #expect(pool.state(1) == .down)
        pool.pass(1)

        #expect(pool.state(1) == .up)
        #expect(pool.preferred == [1, 2])
    }

    @Test("An unknown member that never passes is down after as many failures")
    func unknownFalls() {
        let pool = HealthPool(1, 2)
        pool.pass(2)

        pool.fail(1)

        #expect(pool.state(1) == .down)
    }

    @Test("Checks come at the interval, give or take a tenth")
    func interval() {
        let pool = HealthPool(1)
        _ = pool.due()
        pool.pass(1, 1)
        var spans: Set<UInt64> = []

        for _ in 0..<200 {
            spans.insert(pool.nextDue.nanoseconds(since: pool.now))
            pool.now = pool.nextDue
            #expect(pool.due() == [1])
            pool.pass(1)
        }

        #expect(spans.allSatisfy { (1_800_000_000...2_200_000_000).contains($0) })
        #expect(spans.count > 190)
    }

    @Test("After a failure checks come fast, until the verdict stands")
    func fastInterval() {
        let pool = HealthPool(1)
        _ = pool.due()
        func span() -> UInt64 { pool.nextDue.nanoseconds(since: pool.now) / 1_000_000 }
        pool.pass(1)
        #expect((450...550).contains(span()), "one pass is not two")
        pool.pass(1)
        #expect((1800...2200).contains(span()))

        pool.check(1, Self.refused)
        #expect((450...550).contains(span()))
        pool.check(1, Self.refused)
        pool.check(1, Self.refused)
        #expect((1800...2200).contains(span()), "down stands")
        pool.pass(1)

        #expect((450...550).contains(span()), "on the way up")
    }

    @Test("A check that is never answered is begun anew, and not before")
    func lostCheck() {
        let pool = HealthPool(1)
        #expect(pool.due() == [1])

        pool.wait(.seconds(7))
        #expect(pool.due().isEmpty)
        pool.wait(.seconds(1))

        #expect(pool.due() == [1])
    }

    @Test("An alive member stays up, and its remedy is said once until it is gone")
    func remedy() {
        let pool = HealthPool(1, 2)
        _ = pool.takeNews()
        let alive = CheckOutcome.alive(remedy: "give a token")

        pool.check(1, alive)
        pool.check(1, alive)
        pool.check(2, alive)
        #expect(pool.state(1) == .up)
        #expect(pool.takeNews().filter(\.isRemedy).map(\.reason) == ["give a token"])
        pool.check(1, Self.refused)
        pool.check(1, alive)
        #expect(pool.takeNews().allSatisfy { !$0.isRemedy })
        pool.pass(1, 2)
        #expect(pool.report(1)?.remedy == nil)
        pool.check(1, alive)

        #expect(pool.takeNews().filter(\.isRemedy).count == 1)
        #expect(pool.report(1)?.remedy == "give a token")
    }

    @Test("A standby is never used while a member is up")
    func standby() {
        let pool = HealthPool(1, 2, 3, change: Self.exclusive)

        pool.pass(1)
        pool.check(2, .standby)
        pool.check(3, .standby)

        #expect(pool.preferred == [1])
        #expect(pool.numbers(.never) == [2, 3])
        #expect(pool.state(2) == .standby)
    }

    @Test("The member that answers has the traffic at once, and the one that stopped has none")
    func promotion() {
        let pool = HealthPool(1, 2, change: Self.exclusive)
        pool.pass(1)
        pool.check(2, .standby)

        pool.check(1, Self.refused)
        #expect(pool.preferred == [1], "one failure, and nobody else answers")
        pool.pass(2)

        #expect(pool.preferred == [2])
        #expect(pool.state(1) == .down)
    }

    @Test("An active member that fails after another has answered is down with one failure")
    func succession() {
        let pool = HealthPool(1, 2, change: Self.exclusive)
        pool.pass(1)
        pool.check(2, .standby)

        pool.pass(2)
        pool.check(1, Self.refused)

        #expect(pool.preferred == [2])
        #expect(pool.state(1) == .down)
    }

    @Test("A member that says it is a standby loses the traffic at once")
    func demotion() {
        let pool = HealthPool(1, 2, change: Self.exclusive)
        pool.pass(1)
        pool.check(2, .standby)

        pool.check(1, .standby)
        #expect(pool.preferred == [1, 2], "nobody is up: they are all there is")
        pool.pass(2)

        #expect(pool.preferred == [2])
        #expect(pool.rank(1) == .never)
    }

    @Test("When the active member fails, its standbys are asked at once")
    func standbyAsked() {
        let pool = HealthPool(1, 2, change: Self.exclusive)
        _ = pool.due()
        pool.pass(1, 1)
        pool.check(2, .standby)
        pool.wait(.milliseconds(300))

        pool.check(1, Self.refused)

        #expect(pool.due() == [2])
    }

    @Test("What traffic has met makes a check due at once, five times a second at most")
    func hurry() {
        let pool = HealthPool(1, 2)
        _ = pool.due()
        pool.pass(1, 2, 1, 2)
        pool.wait(.milliseconds(100))

        pool.observe(1, .connectTimedOut)
        #expect(pool.due().isEmpty)
        pool.wait(.milliseconds(100))
        #expect(pool.due() == [1])
        pool.observe(1, .connectTimedOut)
        #expect(pool.due().isEmpty, "one is under way")
        pool.pass(1)
        #expect(pool.due().isEmpty)
        pool.wait(.milliseconds(200))

        #expect(pool.due() == [1])
    }

    @Test("Traffic cannot bring up a member that is down by its checks")
    func trafficIsNoVerdict() {
        let pool = HealthPool(1, 2)
        pool.pass(1, 2)
        pool.fail(1)

        pool.observe(1, .connectRefused)
        pool.summarise([1: (requests: 1000, failures: 0, milliseconds: 1)])
        pool.wait(.seconds(600))

        #expect(pool.state(1) == .down)
        #expect(pool.report(1)?.ejections == 0)
    }

    @Test("Outcomes for strangers, or without checks, change nothing")
    func strangers() {
        let pool = HealthPool(1, 2)
        let unchecked = HealthPool(1, 2) { $0.health = nil }
        let version = pool.version

        pool.check(9, Self.refused)
        pool.observe(9, .connectRefused)
        pool.summarise([9: (requests: 1, failures: 1, milliseconds: 1)])
        unchecked.check(1, Self.refused)

        #expect(pool.version == version)
        #expect(unchecked.state(1) == .up)
        #expect(unchecked.due().isEmpty)
        #expect(unchecked.nextDue == .never)
    }

    @Test("News tell each change once, with its reason")
    func news() {
        let pool = HealthPool(1, 2)
        #expect(pool.takeNews().isEmpty)

        pool.pass(1)
        pool.fail(1)
        let news = pool.takeNews()

        #expect(news.map(\.old) == [.unknown, .up])
        #expect(news.map(\.new) == [.up, .down])
        #expect(news.last?.reason == "connection refused")
        #expect(news.allSatisfy { $0.address == HealthPool.address(1) && $0.source.isEmpty })
        #expect(pool.takeNews().isEmpty)
    }

    @Test("News that nobody takes are dropped, the oldest first")
    func newsBound() {
        let pool = HealthPool(1, 2)

        for _ in 0..<300 {
            pool.check(1, .standby)
            pool.pass(1)
        }
        let news = pool.takeNews()

        #expect(news.count == UpstreamHealth.newsMax)
        #expect(news.last?.new == .up)
    }
}
