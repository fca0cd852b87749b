import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("The arithmetic of a limit")
struct RateLimitTests {
    @Test("A burst of the number itself passes at once, and not one more")
    func burst() throws {
        for quantity in [1, 7, 120, 1_000, 4_999] as [UInt64] {
            let bench = try RateBench()
            let limit = try RateLimit(quantity, per: .seconds(10))
            let key = bench.table.key(of: 1)

            let passed = (0..<quantity + 5).filter { _ in
                bench.table.admit(key, limit, now: at(100)).isAdmitted
            }

            #expect(passed.count == Int(quantity))
        }
    }

    @Test("500 per second for 20 seconds against 120 per 10s: 360, one more or less")
    func flood() throws {
        let bench = try RateBench()
        let limit = try RateLimit(120, per: .seconds(10))
        let key = bench.table.key(of: 1)

        let passed = (0..<10_000 as Range<UInt64>).filter {
            bench.table.admit(key, limit, now: at(1_000 + $0 * 2)).isAdmitted
        }

        #expect((359...361).contains(passed.count), "\(passed.count)")
    }

    @Test("Refused requests that are counted keep a flood out until it stops for a period")
    func countRefused() throws {
        let bench = try RateBench()
        let limit = try RateLimit(120, per: .seconds(10))
        let key = bench.table.key(of: 1)
        func admits(_ milliseconds: UInt64) -> Bool {
            bench.table.admit(key, limit, now: at(milliseconds), charge: .always).isAdmitted
        }

        let passed = (0..<10_000 as Range<UInt64>).filter { admits($0 * 2) }

        // 0.24 s of the rate come while the burst is used up.
        #expect((120...123).contains(passed.count), "\(passed.count)")
        #expect(!admits(20_000 + 9_900))
        #expect(admits(20_000 + 10_300))
    }

    @Test("What is watched only is charged and never refused")
    func unconditional() throws {
        let bench = try RateBench()
        let limit = try RateLimit(2, per: .seconds(1))
        let key = bench.table.key(of: 1)

        let decisions = (0..<4).map { _ in
            bench.table.admit(key, limit, now: at(5), charge: .unconditionally)
        }

        #expect(decisions.allSatisfy { $0.isAdmitted })
        #expect(decisions[3].debt == 2 * limit.span)
    }

    @Test("Numbers for people: what is left, how long until one passes, and until all is back")
    func numbers() throws {
        let bench = try RateBench()
        let limit = try RateLimit(120, per: .seconds(10))
        let key = bench.table.key(of: 1)

        let first = bench.table.admit(key, limit, now: at(0))
        #expect(limit.remaining(debt: first.debt) == 119)
        for _ in 0..<119 { _ = bench.table.admit(key, limit, now: at(0)) }
        let refused = bench.table.admit(key, limit, now: at(0))

        #expect(!refused.isAdmitted)
        #expect(limit.remaining(debt: refused.debt) == 0)
        let wait = try #require(limit.wait(debt: refused.debt, cost: 1))
        #expect((83_333_000...83_335_000).contains(wait), "\(wait)")
        let reset = RateLimit.nanoseconds(refused.debt)
        #expect((10_000_000_000...10_001_000_000).contains(reset), "\(reset)")
        #expect(limit.wait(debt: 0, cost: 121) == nil)
        #expect(limit.remaining(debt: 0) == 120)
    }

    @Test("A rate is never higher than said, and hardly lower")
    func precision() throws {
        for (quantity, period) in [
            (1, 3600), (120, 10), (1_900, 1), (2_000, 1), (7_000, 1), (1_048_576, 1),
            (10_000_000, 1), (1_000_000_000_000, 1), (999_999_999_999, 7),
        ] as [(UInt64, Int64)] {
            let limit = try RateLimit(quantity, per: .seconds(period), burst: 1)
            let exact = Double(period) * 1e9 / Double(quantity)
            let used = Double(limit.interval) * 512 / 1_048_576

            #expect(used >= exact * (1 - 1e-9))
            #expect(used <= exact * 1.001 + 0.001, "\(quantity) per \(period)s")
        }
    }

    @Test("Bytes at 10 MB/s in pieces of any size: never more, and at most 0.1 % less")
    func bytes() throws {
        let bench = try RateBench()
        let limit = try RateLimit(10_000_000, per: .seconds(1), burst: 1_000_000)
        let key = bench.table.key(of: 1)
        var random = SplitMix64(seed: 3)
        var passed: UInt64 = 0

        for step in 0..<200_000 as Range<UInt64> {
            let size = UInt32.random(in: 1_000...65_536, using: &random)
            if bench.table.admit(key, limit, cost: size, now: Instant(nanoseconds: step * 50_000))
                .isAdmitted
            {
                passed += UInt64(size)
            }
        }

        // 10 s and the burst.
        #expect(passed <= 101_000_000)
        #expect(passed >= 100_000_000 * 999 / 1000, "\(passed)")
    }

    @Test("Limits that cannot be held are refused")
    func refusals() throws {
        #expect(throws: RateLimit.Failure.empty) { try RateLimit(0, per: .seconds(1)) }
        #expect(throws: RateLimit.Failure.empty) { try RateLimit(1, per: .zero) }
        #expect(throws: RateLimit.Failure.empty) { try RateLimit(1, per: .seconds(1), burst: 0) }
        #expect(throws: RateLimit.Failure.tooLong) { try RateLimit(1, per: .seconds(90_000)) }
        #expect(throws: RateLimit.Failure.tooLong) {
            try RateLimit(10, per: .seconds(3600), burst: 1_000)
        }
        #expect(throws: RateLimit.Failure.tooFast) {
            try RateLimit(1 << 60, per: .nanoseconds(1), burst: 1)
        }
        #expect(throws: Never.self) { try RateLimit(100, per: .seconds(3600 * 20)) }
    }

    @Test("A limit that has changed finds as many requests used as before")
    func rescaling() throws {
        let old = try RateLimit(120, per: .seconds(10))
        let new = try RateLimit(60, per: .seconds(10))
        let bench = try RateBench()
        let key = bench.table.key(of: 1)
        for _ in 0..<50 { _ = bench.table.admit(key, old, now: at(0)) }

        let debt = new.rescaled(debt: bench.table.debt(key, now: at(0)), from: old)

        #expect(new.remaining(debt: debt) == 10)
        #expect(new.rescaled(debt: 0, from: old) == 0)
        let fast = try RateLimit(1_000_000, per: .seconds(1))
        let slow = try RateLimit(1, per: .seconds(3600))
        #expect(slow.rescaled(debt: fast.span, from: fast) == CellTable.valueMax)
    }
}
