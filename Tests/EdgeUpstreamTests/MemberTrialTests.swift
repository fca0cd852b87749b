import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Members that are back, and members that hang") struct MemberTrialTests {
    private static func address(_ number: Int) -> SocketAddress {
        SocketAddress(ipv4: 0x0A00_0000 + UInt32(number), port: 80)
    }

    private static func at(_ milliseconds: UInt64) -> Instant {
        Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
    }

    /// Members of these ranks.
    private static func update(
        _ table: inout MemberTable, _ ranks: MemberRank..., at now: Instant
    ) {
        let members = ranks.enumerated().map {
            RankedMember(
                address: address($0.offset), rank: $0.element,
                state: $0.element == .never ? .ejected : .up)
        }
        table.update(members, now: now)
    }

    /// Two members, of which the first was out and is back.
    private static func table() -> MemberTable {
        var table = MemberTable()
        update(&table, .preferred, .preferred, at: at(0))
        update(&table, .never, .preferred, at: at(10))
        update(&table, .preferred, .preferred, at: at(2_000))
        return table
    }

    private static func choices(_ table: inout MemberTable, at now: Instant) -> [Int?] {
        (0..<6).map { _ in table.next(.init(), now: now) }
    }

    @Test("A member that is back gets one request per second until it has answered one")
    func onePerSecond() {
        var table = Self.table()

        #expect(Self.choices(&table, at: Self.at(2_000)).count { $0 == 0 } == 1)
        #expect(Self.choices(&table, at: Self.at(2_900)).count { $0 == 0 } == 0)
        #expect(Self.choices(&table, at: Self.at(3_000)).count { $0 == 0 } == 1)
        _ = table.answered(0, latency: 1000, isFailure: true, now: Self.at(3_001))
        #expect(Self.choices(&table, at: Self.at(3_002)).count { $0 == 0 } == 0)
        _ = table.answered(0, latency: 1000, isFailure: false, now: Self.at(3_003))

        #expect(Self.choices(&table, at: Self.at(3_004)).count { $0 == 0 } == 3)
        #expect(!table.isOnTrial(0, now: Self.at(3_004)))
    }

    @Test("With nobody else to ask, a member that is back gets everything")
    func alone() {
        var table = Self.table()
        Self.update(&table, .preferred, .never, at: Self.at(2_100))

        #expect(Self.choices(&table, at: Self.at(2_200)).allSatisfy { $0 == 0 })
    }

    @Test("A client that is bound to a member that is back stays with it")
    func bound() {
        var table = Self.table()
        table.configure(.roundRobin, slowStart: .zero, sticky: true, useMax: 0)
        _ = Self.choices(&table, at: Self.at(2_000))

        let chosen = table.next(.init(bound: 0), now: Self.at(2_001))

        #expect(chosen == 0)
    }

    @Test("A trial without an answer ends after ten seconds; one of a relay with its connection")
    func trialEnds() {
        var table = Self.table()
        #expect(table.isOnTrial(0, now: Self.at(11_999)))
        #expect(!table.isOnTrial(0, now: Self.at(12_000)))
        #expect(Self.choices(&table, at: Self.at(12_000)).count { $0 == 0 } == 3)

        table = Self.table()
        table.endTrial(0)
        #expect(!table.isOnTrial(0, now: Self.at(2_001)))
    }

    @Test("Nobody is on trial at first")
    func first() {
        var table = MemberTable()
        Self.update(&table, .preferred, .preferred, at: Self.at(0))

        #expect(!table.isOnTrial(0, now: Self.at(0)))
        #expect(Self.choices(&table, at: Self.at(0)).count { $0 == 0 } == 3)
    }

    @Test("A member hangs that has answered nobody for ten times the usual, a second at least")
    func hanging() {
        var table = MemberTable()
        Self.update(&table, .preferred, .preferred, at: Self.at(0))
        // As long as nobody has answered, nobody knows what is usual.
        #expect(!table.isHanging(0, since: Self.at(0), now: Self.at(60_000)))
        _ = table.answered(1, latency: 5_000_000, isFailure: false, now: Self.at(60_000))

        #expect(!table.isHanging(0, since: Self.at(60_000), now: Self.at(60_999)))
        #expect(table.isHanging(0, since: Self.at(60_000), now: Self.at(61_000)))

        _ = table.answered(0, latency: 5_000_000, isFailure: false, now: Self.at(60_500))
        #expect(!table.isHanging(0, since: Self.at(60_000), now: Self.at(61_000)))
        #expect(table.isHanging(0, since: Self.at(60_501), now: Self.at(61_600)))
    }

    @Test("Where answers always take long, long waits are no failures")
    func longPolls() {
        var table = MemberTable()
        Self.update(&table, .preferred, .preferred, at: Self.at(0))
        for step in 1...50 {
            _ = table.answered(
                1, latency: 20_000_000_000, isFailure: false, now: Self.at(UInt64(step)))
        }

        #expect(!table.isHanging(0, since: Self.at(100), now: Self.at(100_000)))
        #expect(table.isHanging(0, since: Self.at(100), now: Self.at(202_000)))
    }
}
