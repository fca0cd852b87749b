import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Plans of limits")
struct PlanTests {
    @Test("The third limit refuses, and the first two are as before")
    func allOrNothing() throws {
        let wide = try policy("wide") {
            $0.key = .everybody
            $0.rates[.requests] = try RateLimit(3, per: .seconds(100))
        }
        let own = try policy("own") { $0.rates[.requests] = try RateLimit(100, per: .seconds(1)) }
        let net = try policy("net") {
            $0.ipv4Bits = 24
            $0.ipv6Bits = 48
            $0.rates[.requests] = try RateLimit(50, per: .seconds(1))
        }
        let bench = try PlanBench([wide, own, net])
        // Narrow to wide, whatever the order of the file.
        #expect(bench.plans.limits.map(\.policy) == [1, 2, 0])
        for client in 1...3 as ClosedRange<UInt32> {
            #expect(bench.charge(client, now: at(0)).isAdmitted)
        }
        let before = (bench.debt(0, now: at(0)), bench.debt(1, now: at(0)))

        let refused = bench.charge(1, now: at(0))

        #expect(refused.refusedBy == 2)
        #expect(refused.debt == bench.plans.limits[2].rate.span)
        #expect(before == (bench.debt(0, now: at(0)), bench.debt(1, now: at(0))))
        #expect(bench.journal.count == 5)
        #expect(bench.charge(1, plan: -1, now: at(0)).isAdmitted)
    }

    @Test("What is left is told of the limit that has the least left")
    func tightest() throws {
        let short = try policy("a") { $0.rates[.requests] = try RateLimit(10, per: .seconds(1)) }
        let long = try policy("b") { $0.rates[.requests] = try RateLimit(100, per: .seconds(100)) }
        let bench = try PlanBench([short, long])

        let verdict = bench.charge(cost: 4, now: at(0))

        #expect(verdict.tightest == 0)
        #expect(bench.plans.limits[0].rate.remaining(debt: verdict.debt) == 6)
    }

    @Test("Shadow limits refuse nothing and tell what they would have refused")
    func shadow() throws {
        let watched = try policy("watched") {
            $0.rates[.requests] = try RateLimit(2, per: .seconds(100))
            $0.counts[.connections] = 1
            $0.isShadow = true
        }
        let bench = try PlanBench([watched])

        let verdicts = (0..<5).map { _ in bench.charge(now: at(0)) }

        #expect(verdicts.allSatisfy { $0.isAdmitted })
        #expect(verdicts.map { $0.shadow } == [-1, -1, 0, 0, 0])
        var held = HeldCounts()
        let caller = bench.plans.caller(SocketAddress(ipv4: 1, port: 1))
        let counts = (0..<3).map { _ in
            bench.plans.enter(0, .connections, caller, in: bench.counts, held: &held)
        }
        #expect(counts.allSatisfy { $0.isAdmitted })
        #expect(counts.map(\.shadow) == [-1, 0, 0])
        #expect(bench.counts.total == 3)
        bench.plans.leave(&held, in: bench.counts)
        #expect(bench.counts.total == 0)
    }

    @Test("What shadow mode has watched does not hit the client when it is enforced")
    func enforced() throws {
        func limited(_ isShadow: Bool) throws -> LimitPolicy {
            try policy("a") {
                $0.rates[.requests] = try RateLimit(10, per: .seconds(10))
                $0.rates[.download] = try RateLimit(10, per: .seconds(10))
                $0.isShadow = isShadow
            }
        }
        let bench = try PlanBench([limited(true)])
        for _ in 0..<1_000 { _ = bench.charge(now: at(0)) }
        let caller = bench.plans.caller(SocketAddress(ipv4: 0xC000_0201, port: 9))
        for _ in 0..<1_000 {
            _ = bench.plans.spend(
                0, .download, caller, amount: 1, now: at(0), in: bench.rates.table,
                journal: &bench.journal)
        }
        var told: UInt32 = 0
        bench.journal.drain { told += $0.cost }
        #expect(told == 20)

        let places = [LimitPlace(policies: [0])]
        bench.plans = try LimitPlans(
            [limited(false)], places: places, succeeding: bench.plans, now: at(0))

        #expect(!bench.charge(now: at(0)).isAdmitted)
        #expect(bench.charge(now: at(1_100)).isAdmitted)
        let wait = bench.plans.wait(0, .download, caller, now: at(0), in: bench.rates.table)
        #expect(wait <= 10_100_000_000)
    }

    @Test("Who is refused by a ceiling keeps his part of it")
    func sharesKept() throws {
        let limited = try policy("a") { $0.ceiling = try RateLimit(4, per: .seconds(4)) }
        let bench = try PlanBench([limited])
        // One client uses it up until the ceiling itself refuses him, whatever his part allows.
        for client in 10..<14 as Range<UInt32> { _ = bench.charge(client, now: at(0)) }
        let refused = (0..<50).map { _ in bench.charge(1, now: at(0)) }
        #expect(refused.allSatisfy { !$0.isAdmitted && !$0.isUnfair })
    }

    @Test("A policy in shadow mode denies nobody who is on its list")
    func shadowList() throws {
        let watched = try policy("watched") {
            $0.denied = [try #require(CIDR("192.0.2.0/28"))]
            $0.isShadow = true
        }
        let bench = try PlanBench([watched])

        let foe = bench.plans.caller(SocketAddress(ipv4: 0xC000_0208, port: 0))
        #expect(bench.plans.standing(0, foe, now: at(0), in: bench.bans) == .welcome)
    }

    @Test("Who is on the list of allowed is never limited, who is on that of denied never served")
    func lists() throws {
        let limited = try policy("limited") {
            $0.rates[.requests] = try RateLimit(1, per: .seconds(100))
            $0.allowFiles = ["friends"]
            $0.denied = [try #require(CIDR("192.0.2.0/28"))]
        }
        let bench = try PlanBench([limited])
        bench.plans = LimitPlans(
            [limited], files: ["friends": AddressRanges([try #require(CIDR("192.0.2.7"))])],
            places: [LimitPlace(policies: [0])])

        for _ in 0..<3 { #expect(bench.charge(7, now: at(0)).isAdmitted) }
        let friend = bench.plans.caller(SocketAddress(ipv4: 0xC000_0207, port: 0))
        let foe = bench.plans.caller(SocketAddress(ipv4: 0xC000_0208, port: 0))
        let other = bench.plans.caller(SocketAddress(ipv4: 0xC000_0228, port: 0))
        #expect(bench.plans.standing(0, friend, now: at(0), in: bench.bans) == .welcome)
        #expect(bench.plans.standing(0, foe, now: at(0), in: bench.bans) == .denied(policy: 0))
        #expect(bench.plans.standing(0, other, now: at(0), in: bench.bans) == .welcome)
        #expect(bench.plans.standing(-1, foe, now: at(0), in: bench.bans) == .welcome)
        #expect(bench.charge(40, now: at(0)).isAdmitted)
        #expect(!bench.charge(40, now: at(0)).isAdmitted)
    }

    @Test("Too many answers that count ban for a while, other answers don't")
    func bans() throws {
        let limited = try policy("limited") {
            $0.errors = LimitPolicy.Errors(
                limit: try RateLimit(3, per: .seconds(10)), statuses: [401...401, 404...404],
                ban: .seconds(60))
        }
        let bench = try PlanBench([limited])
        let caller = bench.plans.caller(SocketAddress(ipv4: 5, port: 0))
        func answer(_ status: UInt16, _ now: UInt64) -> UInt64 {
            bench.plans.noteAnswer(
                0, status: status, caller, now: at(now), in: bench.rates.table, bans: bench.bans)
        }

        for _ in 0..<9 { #expect(answer(200, 0) == 0 && answer(403, 0) == 0) }
        #expect([404, 401, 404].allSatisfy { answer($0, 0) == 0 })
        #expect(bench.plans.standing(0, caller, now: at(0), in: bench.bans) == .welcome)
        #expect(answer(404, 0) == 1)

        guard
            case .banned(0, let left) = bench.plans.standing(
                0, caller, now: at(1_000), in: bench.bans)
        else { throw TestFailure() }
        #expect((58_900_000_000...59_010_000_000).contains(left))
        #expect(answer(404, 2_000) == 0)
        #expect(bench.plans.standing(0, caller, now: at(61_000), in: bench.bans) == .welcome)
        let key = bench.bans.key(LimitPlans.generalBan, LimitSubject(client: caller.address))
        bench.bans.ban(key, for: .seconds(5), now: at(70_000))
        guard
            case .banned(-1, _) = bench.plans.standing(
                0, caller, now: at(71_000), in: bench.bans)
        else { throw TestFailure() }
    }

    @Test("Concurrent connections are counted per client, all limits or none")
    func concurrency() throws {
        let own = policy("own") { $0.counts[.connections] = 2 }
        let net = policy("net") {
            $0.counts[.connections] = 3
            $0.ipv4Bits = 24
            $0.ipv6Bits = 48
        }
        let bench = try PlanBench([own, net])
        func enter(_ client: UInt32) -> (Int32, HeldCounts) {
            var held = HeldCounts()
            let caller = bench.plans.caller(SocketAddress(ipv4: 0xC000_0200 + client, port: 0))
            let refused = bench.plans.enter(
                0, .connections, caller, in: bench.counts, held: &held)
            return (refused.refusedBy, held)
        }

        let first = (0..<3).map { _ in enter(1) }
        #expect(first.map(\.0) == [-1, -1, 0])
        #expect(first[2].1.isEmpty)
        let second = (0..<2).map { _ in enter(2) }
        #expect(second.map(\.0) == [-1, 1])

        for (_, held) in first + second {
            var held = held
            bench.plans.leave(&held, in: bench.counts)
        }
        #expect(enter(2).0 == -1 && enter(2).0 == -1)
    }

    @Test("A reload with another rate goes on with what has been used; an unchanged one goes on")
    func reload() throws {
        let old = try policy("a") { $0.rates[.requests] = try RateLimit(120, per: .seconds(10)) }
        let new = try policy("a") { $0.rates[.requests] = try RateLimit(60, per: .seconds(10)) }
        let bench = try PlanBench([old])
        for _ in 0..<50 { _ = bench.charge(now: at(0)) }
        let places = [LimitPlace(policies: [0])]

        bench.plans = LimitPlans([new], places: places, succeeding: bench.plans, now: at(0))
        let passed = (0..<30).filter { _ in bench.charge(now: at(0)).isAdmitted }

        #expect(passed.count == 10)
        bench.plans = LimitPlans([new], places: places, succeeding: bench.plans, now: at(0))
        #expect(!bench.charge(now: at(0)).isAdmitted)
        // Long after, nobody asks for what was before.
        #expect(bench.charge(2, now: at(90_000)).isAdmitted)
    }

    @Test("What was used up under a former rate counts over as many plans as are made meanwhile")
    func reloadAgain() throws {
        func limited(_ quantity: UInt64) throws -> LimitPolicy {
            try policy("a") { $0.rates[.requests] = try RateLimit(quantity, per: .seconds(1_000)) }
        }
        let bench = try PlanBench([try limited(100)])
        let places = [LimitPlace(policies: [0])]
        for client: UInt32 in 1...3 {
            for _ in 0..<100 { _ = bench.charge(client, now: at(0)) }
        }
        func use(_ quantity: UInt64) throws {
            bench.plans = LimitPlans(
                [try limited(quantity)], places: places, succeeding: bench.plans, now: at(0))
        }
        // Another rate, and then the same one again: a file of blocks has changed.
        try use(90)
        try use(90)
        #expect(!bench.charge(1, now: at(0)).isAdmitted)
        try use(80)
        #expect(!bench.charge(2, now: at(0)).isAdmitted)
        try use(100)
        #expect(!bench.charge(3, now: at(0)).isAdmitted)
        // A client who is reset is so of all of them.
        let client = SocketAddress(ipv4: 0xC000_0202, port: 0)
        _ = bench.plans.reset(client, now: at(0), in: bench.rates.table)
        #expect(bench.charge(2, now: at(0)).isAdmitted)
        #expect(bench.plans.former.count <= LimitCompiler.formerMax)
    }

    @Test("Bytes are spent whatever the limit, and the wait keeps the rate")
    func bytes() throws {
        let limited = try policy("a") {
            $0.rates[.download] = try RateLimit(1_000_000, per: .seconds(1), burst: 100_000)
        }
        let bench = try PlanBench([limited])
        let caller = bench.plans.caller(SocketAddress(ipv4: 5, port: 0))
        var now: UInt64 = 0
        var moved: UInt64 = 0

        while now < 10_000_000_000 {
            moved += 16_384
            let pause = bench.plans.spend(
                0, .download, caller, amount: 16_384, now: Instant(nanoseconds: now),
                in: bench.rates.table, journal: &bench.journal)
            #expect(
                bench.plans.wait(
                    0, .download, caller, now: Instant(nanoseconds: now), in: bench.rates.table)
                    == pause.nanoseconds)
            now += pause.nanoseconds
        }

        #expect((10_000_000...10_150_000).contains(moved), "\(moved)")
    }

    @Test("A transfer's turn is 50 ms of its slowest limit, and none without one")
    func turns() throws {
        let slow = try policy("slow") {
            $0.rates[.download] = try RateLimit(100_000, per: .seconds(1))
            $0.rates[.upload] = try RateLimit(1_000_000_000, per: .seconds(1), burst: 300)
        }
        let fast = try policy("fast") {
            $0.rates[.download] = try RateLimit(1 << 40, per: .seconds(1_000))
        }
        let watched = try policy("watched") {
            $0.isShadow = true
            $0.rates[.upload] = try RateLimit(1, per: .seconds(1))
        }
        let friend = SocketAddress(ipv4: 7, port: 0)
        let lenient = try policy("lenient") {
            $0.allowed = [CIDR("0.0.0.7")].compactMap { $0 }
            $0.rates[.upload] = try RateLimit(1, per: .seconds(1))
        }
        let bench = try PlanBench(
            [slow, fast, watched, lenient],
            places: [
                LimitPlace(policies: [1, 0]), LimitPlace(policies: [1]), LimitPlace(policies: [2]),
                LimitPlace(policies: [3]),
            ])
        func turn(_ plan: Int32, _ thing: LimitedThing) -> Int {
            bench.plans.turn(plan, thing, bench.plans.caller(friend))
        }

        // Intervals are rounded up.
        #expect((4_980...5_000).contains(turn(0, .download)))
        #expect(turn(0, .upload) == 300)
        #expect((54_900_000...54_976_000).contains(turn(1, .download)), "\(turn(1, .download))")
        #expect(turn(1, .upload) == 0)
        #expect(turn(2, .upload) == .max)
        #expect(turn(3, .upload) == 0)
        #expect(turn(-1, .upload) == 0)
    }

    @Test("A debt in bytes is taken over by another rate")
    func bytesReloaded() throws {
        let old = try policy("a") {
            $0.rates[.download] = try RateLimit(1_000, per: .seconds(1))
        }
        let new = try policy("a") {
            $0.rates[.download] = try RateLimit(100, per: .seconds(1))
        }
        let bench = try PlanBench([old])
        let address = SocketAddress(ipv4: 5, port: 0)
        let first = bench.plans.spend(
            0, .download, bench.plans.caller(address), amount: 3_000, now: at(0),
            in: bench.rates.table, journal: &bench.journal)
        #expect((1_990_000_000...2_010_000_000).contains(first.nanoseconds))

        bench.plans = LimitPlans(
            [new], places: [LimitPlace(policies: [0])], succeeding: bench.plans, now: at(0))
        let wait = bench.plans.wait(
            0, .download, bench.plans.caller(address), now: at(0), in: bench.rates.table)
        let after = bench.plans.spend(
            0, .download, bench.plans.caller(address), amount: 100, now: at(0),
            in: bench.rates.table, journal: &bench.journal)

        #expect((28_900_000_000...29_200_000_000).contains(wait), "\(wait)")
        #expect((29_900_000_000...30_200_000_000).contains(after.nanoseconds))
    }

    @Test("A scope counts apart, the same policy elsewhere counts together")
    func scopes() throws {
        let site = try policy("site") {
            $0.scope = .site
            $0.rates[.requests] = try RateLimit(1, per: .seconds(100))
        }
        let all = try policy("all") { $0.rates[.requests] = try RateLimit(3, per: .seconds(100)) }
        let bench = try PlanBench(
            [site, all],
            places: [
                LimitPlace(site: LimitHash.stable("a"), policies: [0, 1]),
                LimitPlace(site: LimitHash.stable("b"), policies: [1, 0, 1]),
                LimitPlace(policies: [1]),
            ])

        #expect(bench.charge(plan: 0, now: at(0)).isAdmitted)
        #expect(!bench.charge(plan: 0, now: at(0)).isAdmitted)
        #expect(bench.charge(plan: 1, now: at(0)).isAdmitted)
        #expect(!bench.charge(plan: 1, now: at(0)).isAdmitted)
        #expect(bench.charge(plan: 2, now: at(0)).isAdmitted)
        #expect(!bench.charge(plan: 2, now: at(0)).isAdmitted)
    }

    @Test("A field's value decides, without one the address")
    func texts() throws {
        let limited = try policy("key") {
            $0.key = .field("x-api-key")
            $0.rates[.requests] = try RateLimit(1, per: .seconds(100))
        }
        let bench = try PlanBench([limited])
        #expect(bench.plans.texts == [.field(Array("x-api-key".utf8))])

        #expect(bench.charge(1, now: at(0), text: 77).isAdmitted)
        #expect(!bench.charge(2, now: at(0), text: 77).isAdmitted)
        #expect(bench.charge(2, now: at(0), text: 78).isAdmitted)
        #expect(bench.charge(1, now: at(0)).isAdmitted)
        #expect(!bench.charge(1, now: at(0)).isAdmitted)
    }
}

struct TestFailure: Error {}
