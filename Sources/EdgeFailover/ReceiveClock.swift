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
    private static let slewMax: UInt64 = 2_000_000

    package init(_ clocks: ClockPair) {
        floor = clocks.now
        offset = Self.offset(clocks)
    }

    /// - Parameter clocks: read right before packets are.
    /// - Returns: what `arrival` needs.
    package mutating func beginReading(_ clocks: ClockPair) -> Reading {
        let offset = Self.offset(clocks)
        let hasJumped = (offset &- self.offset).magnitude > Self.slewMax
        if hasJumped { jumps += 1 }
        self.offset = offset
        return Reading(
            floor: min(floor, clocks.now), now: clocks.now, offset: offset, isUsable: !hasJumped)
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

    private static func offset(_ clocks: ClockPair) -> Int64 {
        Int64(truncatingIfNeeded: clocks.wall &- clocks.now.nanoseconds)
    }
}

/// Both clocks at one moment.
package struct ClockPair: Sendable {
    /// Nanoseconds since 1970.
    package let wall: UInt64
    package let now: Instant

    /// Reads them again if the thread was stopped in between, a few times.
    package static func read() -> ClockPair {
        var before = Instant.now()
        for _ in 0..<4 {
            let wall = WallClock.now()
            let after = Instant.now()
            if after.nanoseconds(since: before) < apartMax {
                return ClockPair(wall: wall, now: before)
            }
            before = after
        }
        return ClockPair(wall: WallClock.now(), now: before)
    }

    /// Nanoseconds that two readings of a clock in a row never take undisturbed.
    private static let apartMax: UInt64 = 20_000
}
