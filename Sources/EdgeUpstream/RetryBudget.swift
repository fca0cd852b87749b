package import EdgeCore

/// How many requests may be sent again: a part of all, and a hundred within ten seconds whatever
/// happens. A bucket of hundredths of an attempt; time is the caller's.
package struct RetryBudget: Sendable {
    private static let floorMax = 100 * 100
    private static let sharesMax = 1000 * 100

    package var percent: Int
    private var floor = Self.floorMax
    private var shares = 0
    private var filledAt: Instant?

    package init(percent: Int) { self.percent = percent }

    /// A request has come.
    package mutating func deposit(now: Instant) {
        shares = min(shares + percent, Self.sharesMax)
    }

    /// - Returns: false if too many have been sent again.
    package mutating func withdraw(now: Instant) -> Bool {
        let last = filledAt ?? now
        // 10 a second: 1000 hundredths in 1e9 ns.
        let earned = now.nanoseconds(since: last) / 1_000_000
        floor = min(Self.floorMax, floor + Int(min(earned, 100_000)))
        filledAt = now
        if floor >= 100 {
            floor -= 100
            return true
        }
        guard shares >= 100 else { return false }
        shares -= 100
        return true
    }
}
