import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Ceilings and fair parts")
struct FairShareTests {
    /// Requests per client that were admitted in the last 20 s of 30, of 100 per second in all.
    private func run(_ demands: [UInt64]) throws -> [Int] {
        let limited = try policy("all") {
            $0.ceiling = try RateLimit(100, per: .seconds(1))
        }
        let bench = try PlanBench([limited])
        var admitted = demands.map { _ in 0 }
        for step in 0..<30_000 as Range<UInt64> {
            for (client, demand) in demands.enumerated()
            where (step * demand) / 1_000 != ((step + 1) * demand) / 1_000 {
                let verdict = bench.charge(UInt32(client), now: at(step))
                if verdict.isAdmitted, step >= 10_000 { admitted[client] += 1 }
            }
        }
        return admitted
    }

    @Test("One flood among those who want little takes nothing from them")
    func flood() throws {
        let admitted = try run([1_000, 4, 4, 4, 4, 4, 4, 4, 4, 4])

        #expect(admitted.dropFirst().allSatisfy { $0 >= 80 }, "\(admitted)")
        #expect(admitted.reduce(0, +) <= 2_101)
        #expect(admitted[0] > 800, "\(admitted)")
    }

    @Test("Equal floods get about equal parts of nearly all there is")
    func equal() throws {
        let admitted = try run([500, 500, 500, 500, 500])
        let sum = admitted.reduce(0, +)

        #expect((1_700...2_101).contains(sum), "\(admitted)")
        #expect(admitted.allSatisfy { $0 > sum / 5 * 3 / 4 && $0 < sum / 5 * 5 / 4 })
    }

    @Test("Below the ceiling nobody is held back")
    func idle() throws {
        let admitted = try run([40, 30, 20])
        #expect(admitted == [800, 600, 400])
    }

    @Test("The number of clients is known within a tenth, from 10 to 2,000")
    func estimate() throws {
        for clients in [10, 100, 300, 1_000, 2_000] {
            let bench = try RateBench()
            let share = FairShare(bench.table, ceiling: 3)
            var told: UInt64 = 0
            for window in 1...3 as ClosedRange<UInt64> {
                for client in 0..<UInt64(clients) {
                    let key = bench.table.key(of: client)
                    told = share.clients(including: key, ticks: (5 << 21) + window << 21)
                }
            }
            let error = abs(Int(told) - clients)
            #expect(error <= max(1, clients / 10), "\(told) for \(clients)")
        }
        #expect(FairShare.estimate(0) == 1)
        #expect(FairShare.estimate(512) == FairShare.estimate(511))
        #expect(FairShare.estimate(511) > 2_900)
    }
}
