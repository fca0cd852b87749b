package import EdgeCore

/// How many further attempts a worker allows an upstream's requests: a share of the requests, and
/// some more that are always there, so that retries never multiply an overload. A machine, owned by
/// the worker.
///
/// Of any ten seconds (in steps of one), further attempts are at most `always` and `percent` of the
/// requests within them. Nothing is saved up for longer.
package struct RetryBudget: Sendable {
    private struct Second: Sendable {
        var requests = 0
        var attempts = 0
    }

    private let percent: Int
    private let always: Int
    /// The last ten seconds, each at its number modulo ten.
    private var seconds: [10 of Second] = .init(repeating: Second())
    private var requests = 0
    private var attempts = 0
    /// The newest second that was counted.
    private var current: UInt64 = 0

    /// - Parameters:
    ///   - percent: further attempts for a hundred requests; 0: only those that are always allowed.
    ///   - always: further attempts within ten seconds whatever the requests: the worker's part of
    ///     the upstream's 100.
    package init(percent: Int, always: Int = 100) {
        self.percent = max(percent, 0)
        self.always = max(always, 0)
    }

    /// A request was made (its first attempt).
    // hot: no allocation
    package mutating func requested(now: Instant) {
        advance(to: now)
        requests += 1
        seconds[Int(current % 10)].requests += 1
    }

    /// Takes one further attempt.
    ///
    /// - Returns: false if there is none left: the request fails with what it has got.
    package mutating func take(now: Instant) -> Bool {
        advance(to: now)
        guard attempts < allowed else { return false }
        attempts += 1
        seconds[Int(current % 10)].attempts += 1
        return true
    }

    /// Whether `take` would find one.
    package mutating func hasLeft(now: Instant) -> Bool {
        advance(to: now)
        return left > 0
    }

    /// Further attempts that are left at the time of the last call.
    package var left: Int { max(allowed - attempts, 0) }

    private var allowed: Int { always + requests * percent / 100 }

    /// Forgets the seconds that are ten old. A time before the newest counts as the newest.
    private mutating func advance(to now: Instant) {
        let second = now.nanoseconds / 1_000_000_000
        guard second > current else { return }
        for step in 1...min(second - current, 10) {
            let index = Int((current + step) % 10)
            requests -= seconds[index].requests
            attempts -= seconds[index].attempts
            seconds[index] = Second()
        }
        current = second
    }
}
