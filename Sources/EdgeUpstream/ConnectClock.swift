/// How long a member's connections usually take: smoothed mean and deviation, as RFC 6298 does for
/// round trips. Nanoseconds.
package struct ConnectClock: Sendable {
    private var mean: UInt64 = 0
    private var deviation: UInt64 = 0

    package init() {}

    package mutating func observe(_ span: UInt64) {
        guard mean > 0 else {
            mean = max(span, 1)
            deviation = span / 2
            return
        }
        let distance = span > mean ? span - mean : mean - span
        deviation = (deviation * 3 + distance) / 4
        mean = max(1, (mean * 7 + span) / 8)
    }

    /// When a connection is late.
    package func raceDelay(atLeast least: UInt64) -> UInt64 {
        max(least, mean &+ 4 &* deviation)
    }
}
