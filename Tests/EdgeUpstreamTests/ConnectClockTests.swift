import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Connect clock") struct ConnectClockTests {
    private static func clock(_ samples: [Int]) -> ConnectClock {
        var clock = ConnectClock()
        for sample in samples { clock.connected(after: UInt64(sample) * 1_000_000) }
        return clock
    }

    /// Milliseconds.
    private static func delay(_ clock: ConnectClock, raceAfter: Int = 150) -> UInt64? {
        clock.raceDelay(raceAfter: .milliseconds(raceAfter), timeout: .seconds(5))
            .map { $0 / 1_000_000 }
    }

    @Test("A member that nothing is known of is raced after the configured time")
    func unknown() {
        #expect(Self.delay(ConnectClock()) == 150)
    }

    @Test("A near member is raced after the configured time, too")
    func near() {
        #expect(Self.delay(Self.clock([1, 2, 1, 1, 2])) == 150)
    }

    @Test("The first connection counts three times, as a first round trip does (RFC 6298)")
    func first() {
        #expect(Self.clock([100]).usual == 300_000_000)
        #expect(Self.delay(Self.clock([100])) == 600)
    }

    @Test("A member that is far away is raced after twice what is usual for it")
    func far() {
        let clock = Self.clock([Int](repeating: 200, count: 60))

        #expect(clock.usual >= 200_000_000 && clock.usual < 202_000_000)
        #expect(Self.delay(clock) == 400 || Self.delay(clock) == 401)
    }

    @Test("Connections of varying length are not raced needlessly", arguments: 1...4)
    func varying(seed: UInt64) {
        seeded(seed) { random in
            var clock = ConnectClock()
            var raced = 0
            for index in 0..<2000 {
                let time = Int.random(in: 50...150, using: &random)
                if index > 0, let delay = Self.delay(clock, raceAfter: 1), time > delay {
                    raced += 1
                }
                clock.connected(after: UInt64(time) * 1_000_000)
            }
            #expect(raced == 0, "\(random)")
        }
    }

    @Test("What varies much is usual up to well above its average")
    func deviation() {
        let clock = Self.clock((0..<60).map { $0 % 2 == 0 ? 50 : 150 })

        #expect(clock.usual > 250_000_000 && clock.usual < 350_000_000)
    }

    @Test("A member that was very slow is raced by half of the timeout at the latest")
    func ceiling() {
        #expect(Self.delay(Self.clock([4000, 4500])) == 2500)
        var clock = ConnectClock()
        clock.connected(after: .max)
        #expect(Self.delay(clock) == 2500)
    }

    @Test("A configured time of zero is never")
    func never() {
        #expect(Self.delay(Self.clock([100]), raceAfter: 0) == nil)
    }

    @Test("It learns that a member has become faster")
    func faster() {
        let clock = Self.clock([1000] + [Int](repeating: 10, count: 60))

        #expect(Self.delay(clock) == 150)
    }
}
