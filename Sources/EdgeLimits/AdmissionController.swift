package import EdgeCore

/// Decides whether newcomers that matter less are taken, by how long work waits before it is
/// begun. As CoDel does (RFC 8289 §4), it goes by the *minimum* of the delay over an interval: a
/// burst is worked off within one and harms nobody, a minimum that stays above the target is a
/// queue that never empties.
///
///     calm ─ minimum above target ─▶ shedding (2, 4, 8, 16 of 16 refused, one step per interval)
///       ▲                                │ minimum at most half of the target
///       └──────── share at 0 ◀── one of 16 less per interval
///
/// Unlike CoDel's, the share refused doubles: a refused TCP sender slows down, a flood does not.
/// Between half of the target and the target nothing changes, so it does not swing. Pure: time and
/// delays are told.
package struct AdmissionController: Sendable {
    /// Parts that a share is counted in.
    package static let whole = 16
    private static let firstShare = 2

    /// Nanoseconds of delay that are nothing to worry about.
    package let target: UInt64
    /// Nanoseconds over which the minimum is taken.
    package let interval: UInt64
    /// How many of `whole` newcomers are refused.
    package private(set) var share = 0
    /// When the first of them was; nil: nobody is refused.
    package private(set) var since: Instant?
    /// Of the interval that ended last, in nanoseconds.
    package private(set) var lastMinimum: UInt64 = 0
    private var minimum = UInt64.max
    private var start: Instant
    private var refused = 0

    package init(
        target: Duration = .milliseconds(5), interval: Duration = .milliseconds(100), now: Instant
    ) {
        self.target = target.nanoseconds
        self.interval = interval.nanoseconds
        start = now
    }

    package var isShedding: Bool { share > 0 }

    /// Work has waited for so many nanoseconds; 0: the worker was waiting for it.
    ///
    /// - Returns: true if it has begun to refuse, or has stopped to.
    // hot: once per turn of a worker whose views differ
    @inline(__always)
    package mutating func note(_ delay: UInt64, now: Instant) -> Bool {
        if delay < minimum { minimum = delay }
        guard now.nanoseconds(since: start) >= interval else { return false }
        return judge(now)
    }

    @inline(never)
    private mutating func judge(_ now: Instant) -> Bool {
        let before = share
        // Without a turn there was nothing to do.
        let passed = Int(clamping: now.nanoseconds(since: start) / interval)
        if minimum > target {
            share = min(Self.whole, max(Self.firstShare, 2 * share))
        } else if minimum <= target / 2 {
            share = max(0, share - passed)
        }
        lastMinimum = minimum
        minimum = .max
        start = now
        guard (before == 0) != (share == 0) else { return false }
        since = share > 0 ? now : nil
        refused = 0
        return true
    }

    /// Whether the next newcomer that matters less is taken. Those refused are spread evenly.
    package mutating func admits() -> Bool {
        guard share > 0 else { return true }
        refused += share
        guard refused >= Self.whole else { return true }
        refused -= Self.whole
        return false
    }
}
