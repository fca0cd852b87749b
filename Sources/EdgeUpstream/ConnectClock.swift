internal import EdgeCore

/// How long connections to a member usually take, and so when it is time to try another one as
/// well: average and deviation as TCP keeps them of round trips (RFC 6298 §2). A machine, one per
/// member and worker.
package struct ConnectClock: Sendable {
    /// Nanoseconds; 0: no connection yet.
    private var average: UInt64 = 0
    private var deviation: UInt64 = 0

    /// A longer time is counted as this: an hour, in nanoseconds.
    private static let sampleMax: UInt64 = 3_600_000_000_000

    package init() {}

    /// A connection was made, also one that had lost a race.
    ///
    /// - Parameter nanoseconds: from its start until it was usable (TLS included).
    package mutating func connected(after nanoseconds: UInt64) {
        let sample = min(max(nanoseconds, 1), Self.sampleMax)
        guard average > 0 else {
            average = sample
            deviation = sample / 2
            return
        }
        let distance = sample > average ? sample - average : average - sample
        deviation = (3 * deviation + distance) / 4
        average = max((7 * average + sample) / 8, 1)
    }

    /// What nearly all connections take at most, nanoseconds; 0: nothing is known.
    package var usual: UInt64 { average + 4 * deviation }

    /// How long after its start a connection gets a competitor.
    ///
    /// - Parameters:
    ///   - raceAfter: the configured time; zero: never.
    ///   - timeout: of the connection; a competitor starts by its half at the latest, or a member
    ///     that was slow for long would never be raced.
    /// - Returns: nanoseconds; nil: never.
    package func raceDelay(raceAfter: Duration, timeout: Duration) -> UInt64? {
        let configured = raceAfter.nanoseconds
        guard configured > 0 else { return nil }
        return max(configured, min(2 * usual, timeout.nanoseconds / 2))
    }
}
