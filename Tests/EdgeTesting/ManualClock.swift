package import EdgeCore

/// Time for machines that are given one: it stands still until a test moves it.
package struct ManualClock: Sendable {
    package private(set) var now: Instant

    /// Starts at one second, so that "a moment ago" exists from the beginning.
    package init(start: Instant = Instant(nanoseconds: 1_000_000_000)) { now = start }

    /// Moves time on and returns it.
    @discardableResult
    package mutating func advance(by span: Duration) -> Instant {
        now = now.advanced(by: span)
        return now
    }

    /// Moves time on to `instant`; never back.
    package mutating func advance(to instant: Instant) { now = max(now, instant) }
}
