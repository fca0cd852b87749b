import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Retry budget") struct RetryBudgetTests {
    private static func time(_ milliseconds: Int) -> Instant {
        Instant(nanoseconds: 5_000_000_000).advanced(by: .milliseconds(milliseconds))
    }

    /// Attempts taken until there are none, at one time.
    private static func takeAll(_ budget: inout RetryBudget, at milliseconds: Int) -> Int {
        var count = 0
        while count < 10_000, budget.take(now: time(milliseconds)) { count += 1 }
        return count
    }

    @Test("Some attempts are allowed without any requests")
    func always() {
        var budget = RetryBudget(percent: 20, always: 100)

        let taken = Self.takeAll(&budget, at: 0)

        #expect(taken == 100)
        #expect(budget.left == 0)
    }

    @Test("Requests add their share")
    func share() {
        var budget = RetryBudget(percent: 20, always: 100)
        for _ in 0..<1000 { budget.requested(now: Self.time(10)) }

        let taken = Self.takeAll(&budget, at: 20)

        #expect(taken == 300)
    }

    @Test("Without share and floor nothing is allowed")
    func none() {
        var budget = RetryBudget(percent: 0, always: 0)
        for _ in 0..<1000 { budget.requested(now: Self.time(0)) }

        let taken = budget.take(now: Self.time(0))

        #expect(!taken)
    }

    @Test("After ten seconds taken attempts are back, and old requests count no more")
    func window() {
        var budget = RetryBudget(percent: 50, always: 10)
        for _ in 0..<100 { budget.requested(now: Self.time(0)) }
        let first = Self.takeAll(&budget, at: 0)
        let early = Self.takeAll(&budget, at: 9_900)
        let late = Self.takeAll(&budget, at: 10_000)

        #expect(first == 60)
        #expect(early == 0)
        #expect(late == 10)
    }

    @Test("A long silence leaves the floor and nothing else", arguments: [11_000, 86_400_000])
    func silence(milliseconds: Int) {
        var budget = RetryBudget(percent: 50, always: 10)
        for _ in 0..<100 { budget.requested(now: Self.time(0)) }

        let taken = Self.takeAll(&budget, at: milliseconds)

        #expect(taken == 10)
    }

    @Test("A clock that stands or goes back harms nothing")
    func backwards() {
        var budget = RetryBudget(percent: 100, always: 1)
        budget.requested(now: Self.time(5000))
        budget.requested(now: Self.time(0))

        let taken = Self.takeAll(&budget, at: 2000)

        #expect(taken == 3)
    }

    @Test("In any ten seconds attempts stay within share and floor", arguments: 1...3)
    func bound(seed: UInt64) {
        seeded(seed) { random in
            var budget = RetryBudget(percent: 20, always: 30)
            // Per second.
            var requests = [0]
            var attempts = [0]
            for _ in 0..<60 {
                for _ in 0..<Int.random(in: 0...300, using: &random) {
                    let now = Self.time((requests.count - 1) * 1000)
                    budget.requested(now: now)
                    requests[requests.count - 1] += 1
                    if random.chance(1, of: 2), budget.take(now: now) {
                        attempts[attempts.count - 1] += 1
                    }
                }
                let window = 30 + requests.suffix(10).reduce(0, +) / 5
                #expect(attempts.suffix(10).reduce(0, +) <= window, "\(random)")
                requests.append(0)
                attempts.append(0)
            }
            #expect(attempts.reduce(0, +) > 500)
        }
    }
}
