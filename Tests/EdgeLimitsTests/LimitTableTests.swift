import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("The table of limits")
struct LimitTableTests {
    @Test("Every decision is the reference's, for random keys, costs and times", arguments: 0..<8)
    func model(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let base = random.next() >> 12
        let bench = try RateBench(keys: 4096, base: base, seed: seed)
        let limits = try [
            RateLimit(120, per: .seconds(10)), RateLimit(3, per: .milliseconds(7)),
            RateLimit(5_000, per: .seconds(1), burst: 40), RateLimit(1, per: .seconds(3600)),
        ]
        var models: [UInt64: ReferenceLimit] = [:]
        var elapsed: UInt64 = 0

        for step in 0..<60_000 {
            elapsed += random.next() % (step % 100 == 0 ? 5_000_000_000 : 2_000_000)
            let number = Int(random.next() % 4)
            let client = random.next() % 200
            let limit = limits[number]
            let cost = random.next() % 8 == 0 ? UInt32(random.next() % 5) : 1
            let key = bench.table.key(of: client, limit: UInt64(number))
            let now = Instant(nanoseconds: base + elapsed)
            let past = Instant(nanoseconds: elapsed)
            let name = UInt64(number) << 32 | client
            var model = models[name] ?? ReferenceLimit(limit)

            if random.next() % 16 == 0 {
                bench.table.merge(key, limit, cost: cost, now: now)
                model.merge(cost: cost, past)
            } else {
                let decision = bench.table.admit(key, limit, cost: cost, now: now)
                #expect(decision.isAdmitted == model.admit(cost: cost, past), "step \(step)")
            }
            let debt = min(model.debt(past), CellTable.valueMax)
            #expect(bench.table.debt(key, now: now) == debt, "step \(step)")
            models[name] = model
            if debt == CellTable.valueMax { break }
        }
        #expect(bench.table.table.count(.evicted) == 0)
    }

    @Test("In any interval at most the burst and the rate pass", arguments: 0..<6)
    func property(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let quantity = 1 + random.next() % 50
        let burst = 1 + random.next() % 80
        let period = 1_000_000 * (1 + random.next() % 3_000)
        let bench = try RateBench()
        let limit = try RateLimit(
            quantity, per: Duration(nanoseconds: period), burst: burst)
        let key = bench.table.key(of: 1)
        var times: [UInt64] = []
        var now: UInt64 = 0

        for _ in 0..<20_000 {
            now += random.next() % (2 * period / quantity / 3 + 1)
            if random.next() % 500 == 0 { now += period * 3 }
            if bench.table.admit(key, limit, now: Instant(nanoseconds: now)).isAdmitted {
                times.append(now)
            }
        }

        // The n-th after the first one of an interval is no earlier than GCRA says.
        var worst: Double = 0
        var debt = 0.0
        var last = times.first ?? 0
        for time in times {
            debt = max(0, debt - Double(time - last) * Double(quantity) / Double(period)) + 1
            last = time
            worst = max(worst, debt)
        }
        #expect(times.count > 500)
        // One tick of 512 ns is what an instant may be off.
        #expect(worst <= Double(burst) + 512 * Double(quantity) / Double(period) + 1e-6)
        #expect(worst >= Double(burst) - 1)
    }

    @Test("A refund leaves the debt that was there before")
    func refund() throws {
        let bench = try RateBench()
        let limit = try RateLimit(10, per: .seconds(1))
        let key = bench.table.key(of: 1)
        _ = bench.table.admit(key, limit, cost: 3, now: at(10))
        let before = bench.table.debt(key, now: at(20))

        _ = bench.table.admit(key, limit, cost: 5, now: at(20))
        bench.table.refund(key, limit, cost: 5, now: at(20))

        #expect(bench.table.debt(key, now: at(20)) == before)
        bench.table.refund(key, limit, cost: 9, now: at(20))
        #expect(bench.table.debt(key, now: at(20)) == 0)
        bench.table.refund(bench.table.key(of: 2), limit, now: at(20))
        #expect(bench.table.table.count(.inserted) == 1)
    }

    @Test("The other node's debt is taken as a maximum, however often it is told")
    func raise() throws {
        let bench = try RateBench()
        let limit = try RateLimit(10, per: .seconds(1))
        let key = bench.table.key(of: 1)

        for _ in 0..<3 { bench.table.raise(key, toDebt: limit.span / 2, now: at(10)) }

        #expect(bench.table.debt(key, now: at(10)) == limit.span / 2)
        _ = bench.table.admit(key, limit, now: at(10))
        let more = bench.table.debt(key, now: at(10))
        bench.table.raise(key, toDebt: limit.span / 2, now: at(10))
        #expect(bench.table.debt(key, now: at(10)) == more)
        bench.table.reset(key, now: at(10))
        #expect(bench.table.debt(key, now: at(10)) == 0)
    }

    @Test("What was inherited counts once, for a key that has no cell")
    func inheritance() throws {
        let bench = try RateBench()
        let limit = try RateLimit(10, per: .seconds(1))
        let key = bench.table.key(of: 1)
        let half = limit.span / 2

        let first = bench.table.admit(key, limit, now: at(0), initialDebt: half)
        let second = bench.table.admit(key, limit, now: at(0), initialDebt: half)

        #expect(first.debt == half + limit.ticks(1))
        #expect(second.debt == half + 2 * limit.ticks(1))
    }

    @Test("A full bucket forgives who owes least, counts it, and limits the others on")
    func full() throws {
        // One bucket.
        let bench = try RateBench(keys: 1)
        #expect(bench.table.table.layout.bucketCount == 1)
        let limit = try RateLimit(100, per: .seconds(100))
        let keys = (0..<15).map { bench.table.key(of: $0) }
        for (index, key) in keys.enumerated() {
            let decision = bench.table.admit(key, limit, cost: UInt32(10 + index), now: at(0))
            #expect(decision.isAdmitted)
        }
        #expect(bench.table.table.count(.evicted) == 0)

        let extra = bench.table.key(of: 15)
        for _ in 0..<100 { #expect(bench.table.admit(extra, limit, now: at(0)).isAdmitted) }
        #expect(!bench.table.admit(extra, limit, now: at(0)).isAdmitted)

        #expect(bench.table.table.count(.evicted) == 1)
        #expect(bench.table.debt(keys[0], now: at(0)) == 0)
        for (index, key) in keys.enumerated().dropFirst() {
            #expect(bench.table.debt(key, now: at(0)) == limit.ticks(UInt32(10 + index)))
        }
        // Over: they make room without being counted.
        _ = bench.table.admit(bench.table.key(of: 99), limit, now: at(30_000))
        #expect(bench.table.table.count(.evicted) == 1)
    }

    @Test("A million keys in turn in a table for 64: nobody passes more than a burst at once")
    func flood() throws {
        let bench = try RateBench(keys: 64)
        let limit = try RateLimit(2, per: .seconds(100))
        let known = bench.table.key(of: 7)
        _ = bench.table.admit(known, limit, cost: 2, now: at(0))

        for client in 1_000..<201_000 as Range<UInt64> {
            let key = bench.table.key(of: client)
            #expect(bench.table.admit(key, limit, now: at(1)).isAdmitted)
        }

        #expect(bench.table.table.count(.evicted) > 100_000)
        #expect(bench.table.table.count(.contested) == 0)
        // Who owes more than they is not forgiven.
        #expect(!bench.table.admit(known, limit, now: at(2)).isAdmitted)
    }

    @Test("Another process finds the same table; one of another kind or size is refused")
    func attach() throws {
        let bench = try RateBench()
        let limit = try RateLimit(2, per: .seconds(100))
        _ = bench.table.admit(bench.table.key(of: 7), limit, cost: 2, now: at(0))
        let (start, size) = (bench.memory.start, bench.memory.byteCount)

        let other = try LimitTable(in: start, byteCount: size)

        #expect(other.table.layout == bench.table.table.layout)
        #expect(!other.admit(other.key(of: 7), limit, now: at(1)).isAdmitted)
        #expect(throws: CellLayout.Failure.wrongSize) {
            try LimitTable(in: start, byteCount: size - 8)
        }
        #expect(throws: CellLayout.Failure.wrongLayout) { try BanTable(in: start, byteCount: size) }
        let blank = Memory(size)
        #expect(throws: CellLayout.Failure.wrongLayout) {
            try LimitTable(in: blank.start, byteCount: size)
        }
        #expect(throws: CellLayout.Failure.wrongSize) {
            try LimitTable(in: blank.start, byteCount: 64)
        }
    }

    @Test("A million clients take 32 MiB and a little")
    func size() {
        let layout = LimitTable.layout(keys: 1_000_000)
        #expect(layout.byteCount == (32 << 20) + 16_896)
        #expect(layout.cellCount == 3_932_160)
        #expect(LimitTable.layout(keys: .max).bucketBits == 24)
        #expect(LimitTable.layout(keys: 0).bucketBits == 0)
    }
}
