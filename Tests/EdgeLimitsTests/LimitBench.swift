import EdgeCore
import Glibc
import Testing

@testable import EdgeLimits

/// Prints what a decision costs; nothing is asserted about time. Only a release build says
/// anything: `swift test -c release --filter LimitBench`.
@Suite("Figures of the table of limits", .serialized)
struct LimitBench {
    /// What this thread has had of a processor, in nanoseconds.
    private static func processorTime() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Nanoseconds of processor time per decision of `workers` threads, each with `rounds`
    /// decisions about random keys of a million /64s, hashes included.
    private func measure(
        _ table: LimitTable, _ workers: Int, keys: UInt64, rounds: Int, from start: UInt64,
        ahead: Int = 1
    ) async throws -> Double {
        let limit = try RateLimit(120, per: .seconds(10))
        let spent = await withTaskGroup(of: UInt64.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    var random = SplitMix64(seed: UInt64(worker))
                    var admitted = 0
                    let before = Self.processorTime()
                    // As a worker that has received from so many clients at once.
                    var batch = [UInt64](repeating: 0, count: ahead)
                    for round in 0..<rounds / ahead {
                        for index in 0..<ahead {
                            let number = random.next().multipliedFullWidth(by: keys).high
                            batch[index] = table.key(
                                1, LimitSubject(high: 0x2001_0DB8_0000_0000 + number, low: 0))
                        }
                        if ahead > 1 { for key in batch { table.table.touch(key) } }
                        let now = Instant(nanoseconds: start + UInt64(round * ahead) * 500)
                        for index in 0..<ahead
                        where table.admit(batch[index], limit, now: now).isAdmitted {
                            admitted += 1
                        }
                    }
                    #expect(admitted > 0)
                    return Self.processorTime() - before
                }
            }
            return await group.reduce(0, +)
        }
        return Double(spent) / Double(rounds * workers)
    }

    @Test("A look at a list of so many blocks", arguments: [1_000, 100_000])
    func lists(count: Int) throws {
        var random = SplitMix64(seed: 3)
        let blocks = (0..<count).compactMap { _ in
            CIDR(SocketAddress(ipv4: UInt32(truncatingIfNeeded: random.next()), port: 0), bits: 32)
        }
        let begun = Self.processorTime()
        let ranges = AddressRanges(blocks)
        let built = Self.processorTime() - begun
        #if DEBUG
        let rounds = 20_000
        #else
        let rounds = 2_000_000
        #endif
        var found = 0
        let before = Self.processorTime()
        for _ in 0..<rounds {
            let address = SocketAddress(ipv4: UInt32(truncatingIfNeeded: random.next()), port: 0)
            if ranges.contains(address) { found += 1 }
        }
        let spent = Self.processorTime() - before
        #expect(found < rounds)
        #expect(blocks.allSatisfy { ranges.contains($0.base) })
        print("list of \(count): \(spent / UInt64(rounds)) ns, made in \(built / 1_000) us")
    }

    @Test("A decision about one of so many keys", arguments: [1_000, 100_000, 1_000_000])
    func decide(keys: UInt64) async throws {
        let bench = try RateBench(keys: 1_000_000)
        #if DEBUG
        let rounds = 20_000
        #else
        let rounds = 4_000_000
        #endif

        let cold = try await measure(bench.table, 1, keys: keys, rounds: rounds, from: 0)
        for (workers, ahead) in [(1, 1), (1, 8), (2, 1), (2, 8)] {
            let warm = try await measure(
                bench.table, workers, keys: keys, rounds: rounds,
                from: UInt64(workers * 10 + ahead) * 100_000_000_000, ahead: ahead)
            print(
                "\(keys) keys, \(workers) threads: \(Int(warm)) ns per decision,",
                ahead > 1 ? "\(ahead) clients' cells fetched before" : "each from memory")
        }
        print("the first ones, with insertions: \(Int(cold)) ns,", terminator: " ")
        print(
            "inserted \(bench.table.table.count(.inserted))",
            "evicted \(bench.table.table.count(.evicted))")
    }
}
