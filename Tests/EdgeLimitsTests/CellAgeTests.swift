import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Time in a table")
struct CellAgeTests {
    private static let hour: UInt64 = 3_600_000

    @Test("A debt is over once and for all: no time later brings it back", arguments: [0, 1, 77])
    func wrap(base: UInt64) throws {
        let limit = try RateLimit(1, per: .seconds(3600))
        var random = SplitMix64(seed: base)
        // 78 h is where 39 bits of 512 ns begin again.
        for hours in 1..<400 as Range<UInt64> {
            let one = try RateBench(keys: 1, base: base * 1_000_000)
            let key = one.table.key(of: 5)
            #expect(one.table.admit(key, limit, now: at(base + 10)).isAdmitted)
            #expect(!one.table.admit(key, limit, now: at(base + 20)).isAdmitted)
            let later = base + hours * Self.hour + random.next() % Self.hour + 10
            #expect(one.table.debt(key, now: at(later)) == 0, "after \(hours) h")
            #expect(one.table.admit(key, limit, now: at(later)).isAdmitted, "after \(hours) h")
        }
    }

    @Test("A long debt lasts as long as it should, over the ends of ages")
    func long() throws {
        let limit = try RateLimit(23, per: .seconds(23 * 3600))
        for start in stride(from: 0 as UInt64, to: 200, by: 7) {
            let bench = try RateBench(keys: 1)
            let key = bench.table.key(of: 5)
            let begin = start * Self.hour
            #expect(bench.table.admit(key, limit, cost: 23, now: at(begin)).isAdmitted)
            for hours in 1...23 as ClosedRange<UInt64> {
                let now = at(begin + hours * Self.hour + 1_000)
                #expect(bench.table.admit(key, limit, now: now).isAdmitted, "\(start) \(hours)")
                #expect(!bench.table.admit(key, limit, now: now).isAdmitted, "\(start) \(hours)")
            }
        }
    }

    @Test("Every decision is the reference's over a year of long pauses", arguments: 0..<4)
    func year(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let bench = try RateBench(keys: 16, seed: seed)
        let limit = try RateLimit(20, per: .seconds(20 * 3600))
        var models = (0..<20).map { _ in ReferenceLimit(limit) }
        var now: UInt64 = 0

        for step in 0..<40_000 {
            let pause: UInt64 = step % 50 == 0 ? 90 * Self.hour : step % 7 == 0 ? 3_000_000 : 9_000
            now += random.next() % pause
            let client = Int(random.next() % 20)
            let cost = UInt32(1 + random.next() % 4)
            let key = bench.table.key(of: UInt64(client))

            let decision = bench.table.admit(key, limit, cost: cost, now: at(now))

            #expect(decision.isAdmitted == models[client].admit(cost: cost, at(now)), "\(step)")
        }
        #expect(bench.table.table.count(.evicted) == 0)
    }

    @Test("A thread whose clock is behind at the end of an age decides as the others")
    func behind() throws {
        let bench = try RateBench(keys: 1)
        let limit = try RateLimit(3, per: .seconds(10))
        let key = bench.table.key(of: 5)
        let end: UInt64 = ((5 << 35) - (1 << 32)) << 9
        let late = Instant(nanoseconds: end + 1_000_000)
        let early = Instant(nanoseconds: end - 1_000_000)

        #expect(bench.table.admit(key, limit, now: late).isAdmitted)
        #expect(bench.table.admit(key, limit, now: early).isAdmitted)
        #expect(bench.table.admit(key, limit, now: late).isAdmitted)

        #expect(!bench.table.admit(key, limit, now: early).isAdmitted)
        #expect(!bench.table.admit(key, limit, now: late).isAdmitted)
        #expect(bench.table.table.count(.inserted) == 1)
    }

    @Test("A time before the table was made is its beginning")
    func before() throws {
        let bench = try RateBench(keys: 1, base: 50_000_000_000)
        let limit = try RateLimit(1, per: .seconds(10))
        let key = bench.table.key(of: 5)

        #expect(bench.table.admit(key, limit, now: at(0)).isAdmitted)
        #expect(!bench.table.admit(key, limit, now: at(50_000)).isAdmitted)
    }
}
