import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeUpstream

@Suite("Member table") struct MemberTableTests {
    static func address(_ number: Int) -> SocketAddress {
        SocketAddress(ipv4: 0x0A00_0000 + UInt32(number), port: 80)
    }

    private static func table(_ numbers: Int..., idleMax: Int = 64) -> Members {
        let table = Members(idleMax: idleMax)
        _ = table.update(numbers.map { address($0) })
        return table
    }

    /// A table with one pool's unused connections, that expectations may change.
    private final class Members {
        private var table = MemberTable()
        private var idle: IdleConnections
        init(idleMax: Int = 64) { idle = IdleConnections(perMemberMax: idleMax) }

        var members: [MemberTable.Member] { table.members }
        var hasCurrentMember: Bool { table.hasCurrentMember }
        func next(excluding tried: UInt64) -> Int? {
            table.next(.init(tried: tried), now: Instant(nanoseconds: 0))
        }
        func opened(_ member: Int) { table.opened(member) }
        func closed(_ member: Int) { table.closed(member) }

        func update(_ addresses: [SocketAddress]) -> [Int32] {
            rank(addresses.map { RankedMember(address: $0) })
        }

        /// What the pool closes then.
        func rank(_ members: [RankedMember]) -> [Int32] {
            table.update(members, now: Instant(nanoseconds: 0))
            return take { !self.table.isKept($0) }
        }

        func takeIdle(_ member: Int) -> Int32? {
            let slot = idle.takeNewest(member)
            if slot != nil { table.noteIdle(member, -1) }
            return slot
        }

        func putIdle(_ slot: Int32, _ member: Int) -> Bool {
            guard table.isKept(member), idle.put(slot, member) else { return false }
            table.noteIdle(member, 1)
            return true
        }

        func removeIdle(_ slot: Int32, _ member: Int) {
            if idle.remove(slot, member) { table.noteIdle(member, -1) }
        }

        func drainIdle() -> [Int32] { take { _ in true } }

        private func take(where isMeant: (Int) -> Bool) -> [Int32] {
            var taken: [Int32] = []
            for member in 0..<idle.memberCount where isMeant(member) {
                while let slot = takeIdle(member) { taken.append(slot) }
            }
            return taken
        }
    }

    @Test("Members take turns")
    func rotation() {
        let table = Self.table(1, 2, 3)

        let turns = (0..<7).map { _ in table.next(excluding: 0) }

        #expect(turns == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test("Members tried in vain are passed over; when all were, there is none")
    func exclusion() {
        let table = Self.table(1, 2, 3)

        #expect(table.next(excluding: MemberTable.bit(0)) == 1)
        #expect(table.next(excluding: MemberTable.bit(2) | MemberTable.bit(1)) == 0)
        #expect(table.next(excluding: 7) == nil)
        #expect(table.hasCurrentMember)
    }

    @Test("An empty table has nobody")
    func empty() {
        let table = Members()

        #expect(table.next(excluding: 0) == nil)
        #expect(!table.hasCurrentMember)
        #expect(table.drainIdle().isEmpty)
    }

    @Test("Members beyond 63 share a bit")
    func many() {
        let table = Members()
        _ = table.update((0..<70).map { Self.address($0) })

        var seen: Set<Int> = []
        for _ in 0..<70 { if let member = table.next(excluding: 0) { seen.insert(member) } }

        #expect(seen.count == 70)
        #expect(MemberTable.bit(69) == MemberTable.bit(63))
        #expect(table.next(excluding: ~MemberTable.bit(63)).map { $0 >= 63 } == true)
    }

    @Test("The newest unused connection is used first, and only its member's")
    func reuse() {
        let table = Self.table(1, 2)
        for _ in 0..<3 { table.opened(0) }

        #expect(table.putIdle(10, 0))
        #expect(table.putIdle(11, 0))
        #expect(table.putIdle(12, 0))
        table.removeIdle(11, 0)

        #expect(table.takeIdle(1) == nil)
        #expect(table.takeIdle(0) == 12)
        #expect(table.takeIdle(0) == 10)
        #expect(table.takeIdle(0) == nil)
    }

    @Test("No more unused connections are kept than allowed")
    func limit() {
        let table = Self.table(1, idleMax: 2)
        for _ in 0..<3 { table.opened(0) }

        #expect(table.putIdle(1, 0))
        #expect(table.putIdle(2, 0))
        #expect(!table.putIdle(3, 0))
    }

    @Test("An update keeps the connections of those that stay and hands over the others'")
    func update() {
        let table = Self.table(1, 2)
        for member in 0..<2 {
            table.opened(member)
            #expect(table.putIdle(Int32(member), member))
        }

        let orphans = table.update([Self.address(3), Self.address(2)])

        #expect(orphans == [0])
        #expect(table.takeIdle(1) == 1)
        #expect(table.members.count == 3)
        #expect(table.members[0].isCurrent == false)
        #expect(!table.putIdle(0, 0))
        #expect(Set((0..<4).compactMap { _ in table.next(excluding: 0) }) == [1, 2])
    }

    @Test("A member that is down keeps no unused connections and gets no request")
    func down() {
        let table = Self.table(1, 2)
        table.opened(0)
        #expect(table.putIdle(7, 0))
        let down = RankedMember(address: Self.address(1), rank: .never, state: .down)

        #expect(table.rank([down, RankedMember(address: Self.address(2))]) == [7])
        #expect((0..<4).map { _ in table.next(excluding: 0) } == [1, 1, 1, 1])
        #expect(table.next(excluding: MemberTable.bit(1)) == nil)
        #expect(!table.putIdle(7, 0))
    }

    @Test("A fallback has its turn when the others were tried, not when they are full")
    func fallback() {
        var table = MemberTable()
        let now = Instant(nanoseconds: 0)
        table.configure(.roundRobin, slowStart: .zero, sticky: false, useMax: 1)
        table.update(
            [
                RankedMember(address: Self.address(1)),
                RankedMember(address: Self.address(2), rank: .fallback),
            ], now: now)
        table.opened(0)
        let full = table.next(.init(), now: now)

        #expect(full == nil)
        #expect(table.isWorthWaiting(.init()))
        let other = table.next(.init(tried: MemberTable.bit(0)), now: now)
        #expect(other == 1)
    }

    @Test("What traffic shows of a member is told once, failures in a row end with an answer")
    func summaries() {
        var table = MemberTable()
        let now = Instant(nanoseconds: 5_000_000_000)
        table.update([RankedMember(address: Self.address(1))], now: now)

        let first = table.failed(0)
        #expect(first == 1)
        let second = table.answered(0, latency: 1000, isFailure: true, now: now)
        #expect(second == 2)
        let good = table.answered(0, latency: 500, isFailure: false, now: now)
        #expect(good == 0)

        let told = table.takeSummaries()
        #expect(
            told == [
                MemberSummary(
                    address: Self.address(1), requests: 3, failures: 2, latencySum: 1500)
            ])
        let rest = table.takeSummaries()
        #expect(rest.isEmpty)
        let isFirst = table.shouldTell(0, now: now)
        let isSecond = table.shouldTell(0, now: now)
        #expect(isFirst && !isSecond)
    }

    @Test("A place is used again only when its member has left and has no connection")
    func places() {
        let table = Self.table(1, 2)
        table.opened(0)
        _ = table.update([Self.address(3)])
        #expect(table.members.count == 2)
        #expect(table.members[0].address == Self.address(1))
        #expect(table.members[1].address == Self.address(3))

        table.closed(0)
        _ = table.update([Self.address(3), Self.address(4)])

        #expect(table.members[0].address == Self.address(4))
    }

    @Test("A member that comes back has its connections still")
    func back() {
        let table = Self.table(1)
        table.opened(0)
        _ = table.update([])
        #expect(!table.hasCurrentMember)

        _ = table.update([Self.address(1)])

        #expect(table.members.count == 1)
        #expect(table.members[0].connectionCount == 1)
        #expect(table.putIdle(5, 0))
    }

    @Test("The same address twice is one member")
    func twice() {
        let table = Self.table(1, 1, 2)

        #expect(table.members.count == 2)
    }

    @Test("Invariants hold over a random life", arguments: [5, 6, 7] as [UInt64])
    func walk(seed: UInt64) throws {
        try seeded(seed) { random in
            let table = Members(idleMax: 4)
            var idle: [Int32: Int] = [:]
            var busy: [Int32: Int] = [:]
            var current: [SocketAddress] = []
            var fresh: Int32 = 0
            for _ in 0..<5_000 {
                switch random.next() % 8 {
                case 0:
                    current = (0..<8).filter { _ in random.chance(1, of: 2) }
                        .map { Self.address($0) }
                    for orphan in table.update(current) {
                        let member = idle.removeValue(forKey: orphan)
                        table.closed(try #require(member, "\(random)"))
                    }
                case 1, 2, 3:
                    guard let member = table.next(excluding: random.next()) else { continue }
                    if let connection = table.takeIdle(member) {
                        let owner = idle.removeValue(forKey: connection)
                        try #require(owner == member, "\(random)")
                        busy[connection] = member
                    } else {
                        table.opened(member)
                        busy[fresh] = member
                        fresh += 1
                    }
                case 4, 5:
                    guard let (connection, member) = busy.randomElement(using: &random) else {
                        continue
                    }
                    busy[connection] = nil
                    if table.putIdle(connection, member) {
                        idle[connection] = member
                    } else {
                        table.closed(member)
                    }
                case 6:
                    guard let (connection, member) = idle.randomElement(using: &random) else {
                        continue
                    }
                    idle[connection] = nil
                    table.removeIdle(connection, member)
                    table.closed(member)
                default:
                    guard random.chance(1, of: 20) else { continue }
                    for connection in table.drainIdle() {
                        let member = idle.removeValue(forKey: connection)
                        table.closed(try #require(member, "\(random)"))
                    }
                    try #require(idle.isEmpty, "\(random)")
                }
                for (index, member) in table.members.enumerated() {
                    let count = (Array(idle.values) + busy.values).count { $0 == index }
                    try #require(member.connectionCount == count, "\(random)")
                    try #require(member.isCurrent == current.contains(member.address))
                    try #require(idle.values.count { $0 == index } <= 4)
                }
                try #require(table.members.count <= 8, "places are used again, \(random)")
            }
        }
    }
}
