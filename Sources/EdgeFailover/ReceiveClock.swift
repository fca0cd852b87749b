package import EdgeCore

/// When a packet arrived, on the monotonic clock, from the kernel's stamp, which is of the wall
/// clock: so that the time it waited for us is not counted as its sender's silence. The wall clock
/// may jump in between; then the packet counts as having arrived at the latest possible moment.
/// Pure.
package struct ReceiveClock: Sendable {
    /// Nothing that is read from now on arrived earlier: what had was read before.
    private var floor: Instant
    /// Wall minus monotonic nanoseconds, as seen last.
    private var offset: Int64
    /// Packets whose stamp was of no use because the wall clock jumped.
    package private(set) var jumps: UInt64 = 0

    /// NTP slews by 500 ppm at most, and a socket is read more often than every second: more than
    /// that, and the reading of two clocks one after the other, is a jump.
    private static let slewMax: Int64 = 2_000_000

    /// - Parameters:
    ///   - wall: nanoseconds since 1970.
    ///   - now: read at the same moment.
    package init(wall: UInt64, now: Instant) {
        floor = now
        offset = Self.offset(wall, now)
    }

    /// Both clocks, read right before packets are.
    ///
    /// - Returns: what `arrival` needs.
    package mutating func beginReading(wall: UInt64, now: Instant) -> Reading {
        let offset = Self.offset(wall, now)
        let hasJumped = abs(offset &- self.offset) > Self.slewMax
        if hasJumped { jumps += 1 }
        self.offset = offset
        return Reading(floor: min(floor, now), now: now, offset: offset, isUsable: !hasJumped)
    }

    /// The socket was empty at the end: what comes later arrives later than `reading`'s start.
    package mutating func endReading(_ reading: Reading, isEmpty: Bool) {
        if isEmpty { floor = reading.now }
    }

    package struct Reading: Sendable {
        fileprivate let floor: Instant
        fileprivate let now: Instant
        fileprivate let offset: Int64
        fileprivate let isUsable: Bool

        /// - Parameter stamp: nanoseconds since 1970; 0: the kernel gave none.
        package func arrival(stamp: Int64) -> Instant {
            guard isUsable, stamp > 0 else { return now }
            let (monotonic, overflow) = stamp.subtractingReportingOverflow(offset)
            guard !overflow, monotonic >= 0 else { return now }
            let instant = Instant(nanoseconds: UInt64(monotonic))
            return min(max(instant, floor), now)
        }
    }

    private static func offset(_ wall: UInt64, _ now: Instant) -> Int64 {
        Int64(truncatingIfNeeded: wall &- now.nanoseconds)
    }
}
