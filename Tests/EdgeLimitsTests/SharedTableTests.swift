import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Tables that workers share")
struct SharedTableTests {
    /// Runs `body` on so many threads at once and gives what they return.
    private func threads(
        _ count: Int, _ body: @escaping @Sendable (Int) -> Int
    ) async -> [Int] {
        await withTaskGroup(of: Int.self) { group in
            for index in 0..<count { group.addTask { body(index) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test("Exactly the burst passes, whoever asks at the same time", arguments: [2, 4])
    func exact(workers: Int) async throws {
        // Few buckets and new keys: insertions meet.
        let bench = try RateBench(keys: 64)
        let table = bench.table
        let limit = try RateLimit(5, per: .seconds(1_000))
        let keys = (0..<20_000 as Range<UInt64>).map { table.key(of: $0 % 90 + $0 / 900 * 1_000) }
        var total = 0

        for round in 0..<10 as Range<UInt64> {
            // Each time all is paid back: idle cells have to be found again or replaced.
            let now = at(round * 2_000_000)
            total += await threads(workers) { worker in
                var passed = 0
                for index in keys.indices {
                    // The same keys at about the same time.
                    let key = keys[(index + worker) % keys.count]
                    if table.admit(key, limit, now: now).isAdmitted { passed += 1 }
                }
                return passed
            }.reduce(0, +)
        }

        #expect(table.table.count(.contested) == 0)
        let distinct = Set(keys).count
        // Each forgiven key may have passed a burst again.
        let evicted = Int(table.table.count(.evicted))
        #expect(total >= distinct * 5 * 10 - evicted * 5)
        #expect(total <= distinct * 5 * 10 + evicted * 5)
    }

    @Test("New keys that all workers bring at once get one cell each", arguments: [2, 4, 8])
    func insertion(workers: Int) async throws {
        let limit = try RateLimit(1, per: .seconds(1_000))
        for round in 0..<40 as Range<UInt64> {
            // 8 buckets, 60 keys in a different order for each worker.
            let bench = try RateBench(keys: 32, seed: round + 1)
            let table = bench.table
            let keys = (0..<60 as Range<UInt64>).map { table.key(of: $0) }

            let passed = await threads(workers) { worker in
                (0..<60).reduce(0) { sum, step in
                    let key = keys[worker % 2 == 0 ? step : (step * 7 + worker) % 60]
                    return sum + (table.admit(key, limit, now: at(1)).isAdmitted ? 1 : 0)
                }
            }.reduce(0, +)

            let evicted = Int(table.table.count(.evicted))
            #expect(passed >= 60 && passed <= 60 + evicted, "round \(round)")
            if evicted == 0 { #expect(table.table.count(.inserted) == 60) }
        }
    }

    @Test("Charges, refunds and merges of all workers add up", arguments: [2, 4])
    func sum(workers: Int) async throws {
        let bench = try RateBench()
        let table = bench.table
        let limit = try RateLimit(1_000_000, per: .seconds(20_000))
        let key = table.key(of: 5)

        _ = await threads(workers) { worker in
            for step in 0..<20_000 {
                switch (step + worker) % 4 {
                case 0: table.merge(key, limit, cost: 2, now: at(7))
                case 1:
                    _ = table.admit(key, limit, cost: 9, now: at(7))
                    table.refund(key, limit, cost: 9, now: at(7))
                default: _ = table.admit(key, limit, now: at(7))
                }
            }
            return 0
        }

        #expect(table.debt(key, now: at(7)) == UInt64(workers * 20_000) * limit.ticks(1))
    }

    @Test("Counts never exceed the limit, and all is zero in the end", arguments: [2, 4])
    func counts(workers: Int) async throws {
        let layout = ConcurrencyTable.layout(keys: 64)
        let memory = Memory(layout.byteCount)
        let table = try ConcurrencyTable(
            creatingIn: memory.start, byteCount: memory.byteCount, layout: layout,
            hash: LimitHash(key0: 5, key1: 6))
        let keys = (0..<300 as Range<UInt64>).map { table.key(1, LimitSubject(high: $0, low: 0)) }

        let faults = await threads(workers) { worker in
            var random = SplitMix64(seed: UInt64(worker))
            var held: [UInt64] = []
            var faults = 0
            for _ in 0..<40_000 {
                let key = keys[Int(random.next() % 300)]
                if random.next() % 2 == 0, held.count < 60 {
                    if table.enter(key, most: 3) { held.append(key) }
                } else if let last = held.popLast() {
                    if !table.leave(last) { faults += 1 }
                }
                if table.count(key) > 3 { faults += 1 }
            }
            for key in held where !table.leave(key) { faults += 1 }
            return faults
        }

        #expect(faults.allSatisfy { $0 == 0 })
        #expect(keys.allSatisfy { table.count($0) == 0 })
        #expect(keys.allSatisfy { !table.leave($0) })
        #expect(table.table.count(.evicted) == 0)
    }
}
