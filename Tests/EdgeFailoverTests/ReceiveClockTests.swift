import EdgeCore
import Testing

@testable import EdgeFailover

@Suite("Time of arrival") struct ReceiveClockTests {
    /// Milliseconds of the monotonic clock.
    private static func at(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: milliseconds * 1_000_000)
    }

    /// The wall clock is this many milliseconds ahead.
    private static let ahead: UInt64 = 1_700_000_000_000

    private static func wall(_ milliseconds: UInt64) -> UInt64 {
        (milliseconds + ahead) * 1_000_000
    }

    private static func clock() -> ReceiveClock { ReceiveClock(pair(100)) }

    /// - Parameter ahead: of the wall clock, beyond the usual, nanoseconds.
    private static func pair(_ milliseconds: UInt64, ahead: Int64 = 0) -> ClockPair {
        ClockPair(
            wall: UInt64(Int64(wall(milliseconds)) + ahead), now: at(milliseconds))
    }

    @Test("a packet that waited counts as having come when the kernel had it")
    func waited() {
        var clock = Self.clock()
        let reading = clock.beginReading(Self.pair(150))

        #expect(reading.arrival(stamp: Int64(Self.wall(120))) == Self.at(120))
    }

    @Test("a wall clock that jumps by all there is stops nobody")
    func farthest() {
        var clock = ReceiveClock(ClockPair(wall: 0, now: Self.at(0)))
        let reading = clock.beginReading(ClockPair(wall: 1 << 63, now: Self.at(0)))

        #expect(reading.arrival(stamp: .max) == Self.at(0))
        #expect(clock.jumps == 1)
    }

    @Test("after a jump of the wall clock, either way, it counts as having come now")
    func jump() {
        for jump in [-3_600_000, -20, 20, 3_600_000] {
            var clock = Self.clock()
            let ahead = Int64(jump) * 1_000_000
            let reading = clock.beginReading(Self.pair(150, ahead: ahead))

            #expect(reading.arrival(stamp: Int64(Self.wall(120))) == Self.at(150))
            #expect(clock.jumps == 1)
            // The next reading is of one clock again.
            let next = clock.beginReading(Self.pair(160, ahead: ahead))
            #expect(next.arrival(stamp: Int64(Self.wall(155)) + ahead) == Self.at(155))
        }
    }

    @Test("the clock may be slewed as fast as NTP does")
    func slew() {
        var clock = Self.clock()
        let reading = clock.beginReading(Self.pair(150, ahead: 500_000))

        #expect(reading.arrival(stamp: Int64(Self.wall(120)) + 500_000) == Self.at(120))
        #expect(clock.jumps == 0)
    }

    @Test("no packet came before the socket was last empty, and none comes from the future")
    func bounds() {
        var clock = Self.clock()
        let first = clock.beginReading(Self.pair(150))
        clock.endReading(first, isEmpty: true)
        let second = clock.beginReading(Self.pair(200))

        #expect(second.arrival(stamp: Int64(Self.wall(120))) == Self.at(150))
        #expect(second.arrival(stamp: Int64(Self.wall(300))) == Self.at(200))
        #expect(second.arrival(stamp: 0) == Self.at(200))
        #expect(second.arrival(stamp: .min) == Self.at(200))
        #expect(second.arrival(stamp: .max) == Self.at(200))
    }

    @Test("packets that were left in the socket keep their time")
    func leftOver() {
        var clock = Self.clock()
        let first = clock.beginReading(Self.pair(150))
        clock.endReading(first, isEmpty: false)
        let second = clock.beginReading(Self.pair(200))

        #expect(second.arrival(stamp: Int64(Self.wall(120))) == Self.at(120))
    }
}
