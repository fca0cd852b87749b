import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Who comes up most")
struct TopTableTests {
    @Test("What fits is counted exactly, with the first and the last time")
    func exact() {
        var table = TopTable<Int>(capacity: 4)
        for (index, key) in [1, 2, 1, 3, 1, 2].enumerated() {
            table.note(key, now: at(UInt64(index)))
        }

        #expect(table.sorted.map(\.key) == [1, 2, 3])
        #expect(table.sorted.map(\.count) == [3, 2, 1])
        #expect(table.sorted.allSatisfy { $0.surplus == 0 })
        #expect(table.sorted[0].first == at(0))
        #expect(table.sorted[0].last == at(4))
        table.forget(before: at(4))
        #expect(table.sorted.map(\.key) == [1, 2])
    }

    @Test("In any stream, counts are never too low and at most their surplus too high")
    func bounds() {
        var random = SplitMix64(seed: 7)
        var table = TopTable<UInt64>(capacity: 32)
        var truth: [UInt64: UInt64] = [:]
        for step in 0..<50_000 as Range<UInt64> {
            // Few are frequent, many are rare.
            let key = random.next() % 3 == 0 ? random.next() % 10 : random.next() % 5_000
            truth[key, default: 0] += 1
            table.note(key, now: at(step))
        }

        #expect(table.rows.count == 32)
        for row in table.rows {
            let count = truth[row.key] ?? 0
            #expect(row.count >= count && row.count - row.surplus <= count)
        }
        for (key, count) in truth where count > 50_000 / 32 {
            #expect(table.rows.contains { $0.key == key })
        }
        #expect(Set(table.sorted.prefix(10).map(\.key)) == Set(0..<10))
    }

    @Test("A tally is told under the policies' names, by the network that is one client")
    func tally() throws {
        var wide = try policy("wide") { $0.rates[.requests] = try RateLimit(1, per: .seconds(9)) }
        wide.ipv6Bits = 48
        let plans = LimitPlans([wide], places: [LimitPlace(policies: [0])])
        var tally = LimitTally()
        let nothing = tally.take(plans)
        #expect(nothing == nil)

        for low in 0..<3 as Range<UInt64> {
            let client = SocketAddress(ipv6High: 0x2001_0DB8_0000_0000 + low, low: 1, port: 1)
            tally.refused(client, by: 0, of: plans, now: at(0))
        }
        tally.refused(SocketAddress(ipv4: 0xC000_0201, port: 1), by: -1, of: plans, now: at(1))
        // From before a reload: it has no name any more.
        tally.refused(SocketAddress(ipv4: 1, port: 1), by: 1, of: plans, now: at(1))
        tally.admitted(0, plans.caller(SocketAddress(ipv4: 1, port: 1)), by: plans)

        let taken = tally.take(plans)
        let news = try #require(taken)
        #expect(news.policies.map(\.name) == ["wide"])
        #expect(news.policies[0].figures.refused == 3)
        #expect(news.policies[0].figures.admitted == 1)
        #expect(
            news.refused.map { "\($0.key.client) \($0.key.policy) \($0.count)" }
                == ["2001:db8::/48 wide 3", "192.0.2.1  1"])
        let rest = tally.take(plans)
        #expect(rest == nil)
    }
}

@Suite("One client's standing")
struct ClientStandingTests {
    @Test("What is left of each limit is told, and a reset forgives all of it")
    func reset() throws {
        let own = try policy("own") {
            $0.rates[.requests] = try RateLimit(4, per: .seconds(8))
            $0.errors = LimitPolicy.Errors(
                limit: try RateLimit(3, per: .seconds(60)), statuses: [404...404], ban: .seconds(9))
            $0.scope = .site
        }
        let all = try policy("all") { $0.ceiling = try RateLimit(10, per: .seconds(10)) }
        let bench = try PlanBench(
            [own, all],
            places: [
                LimitPlace(site: 1, policies: [0, 1]), LimitPlace(site: 2, policies: [0, 1]),
            ])
        let client = SocketAddress(ipv4: 0xC000_0201, port: 0)
        let caller = bench.plans.caller(client)
        for _ in 0..<4 { #expect(bench.charge(now: at(0)).isAdmitted) }
        // Beyond half of the ceiling parts are counted.
        for _ in 0..<3 { #expect(bench.charge(2, plan: 1, now: at(0)).isAdmitted) }
        #expect(bench.charge(plan: 1, now: at(0)).isAdmitted)
        _ = bench.plans.noteAnswer(
            0, status: 404, caller, now: at(0), in: bench.rates.table, bans: bench.bans)

        let before = bench.plans.limits(of: client, now: at(0), in: bench.rates.table)

        #expect(before.map(\.thing) == ["errors", "requests"])
        #expect(before.map(\.remaining) == [2, 0])
        #expect(before[1].places == 2)
        #expect((1_999_000_000...2_001_000_000).contains(before[1].wait))
        // Two sites' requests, the errors, and his part of the ceiling.
        #expect(bench.plans.reset(client, now: at(0), in: bench.rates.table) == 4)
        let after = bench.plans.limits(of: client, now: at(0), in: bench.rates.table)
        #expect(after.map(\.remaining) == [3, 4])
        #expect(bench.plans.reset(client, now: at(0), in: bench.rates.table) == 0)
        // Another client's debts stand.
        let other = SocketAddress(ipv4: 0xC000_0202, port: 0)
        #expect(
            bench.plans.limits(of: other, now: at(0), in: bench.rates.table).map(\.remaining)
                == [3, 1])
    }

    @Test("Only the named policy's debts are forgiven")
    func one() throws {
        let first = try policy("a") { $0.rates[.requests] = try RateLimit(4, per: .seconds(8)) }
        let second = try policy("b") { $0.rates[.requests] = try RateLimit(6, per: .seconds(8)) }
        let bench = try PlanBench([first, second])
        let client = SocketAddress(ipv4: 0xC000_0201, port: 0)
        _ = bench.charge(now: at(0))

        #expect(bench.plans.reset(client, policy: 1, now: at(0), in: bench.rates.table) == 1)

        #expect(
            bench.plans.limits(of: client, now: at(0), in: bench.rates.table).map(\.remaining)
                == [3, 6])
    }

    @Test("A client is an IPv4 address or the /64 of an IPv6 address, or the network that is said")
    func networks() throws {
        #expect(ClientNetwork("192.0.2.1").map { "\($0)" } == "192.0.2.1")
        #expect(ClientNetwork("192.0.2.0/24").map { "\($0)" } == "192.0.2.0/24")
        #expect(ClientNetwork("2001:db8::1:2:3").map { "\($0)" } == "2001:db8::/64")
        #expect(ClientNetwork("2001:db8::/48").map { "\($0)" } == "2001:db8::/48")
        #expect(ClientNetwork("::ffff:192.0.2.1").map { "\($0)" } == "192.0.2.1")
        #expect(ClientNetwork("192.0.2.1/24") == nil)
        #expect(ClientNetwork("here") == nil)
        let network = try #require(ClientNetwork("2001:db8::/64"))
        #expect(network.contains(SocketAddress(ipv6High: 0x2001_0DB8_0000_0000, low: 9, port: 1)))
        #expect(!network.contains(SocketAddress(ipv6High: 0x2001_0DB8_0000_0001, low: 9, port: 1)))
        #expect(network == ClientNetwork(try #require(SocketAddress("[2001:db8::7]:9"))))
    }
}
