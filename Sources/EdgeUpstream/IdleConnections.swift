/// One pool's unused connections, by member. Pure: connections are slot numbers, members are the
/// indices of the upstream's `MemberTable`.
package struct IdleConnections: Sendable {
    /// Newest last: the newest is the likeliest to be alive.
    private var lists: [[Int32]] = []
    /// Kept per member; one more is closed instead.
    private let perMemberMax: Int

    package init(perMemberMax: Int = 1024) { self.perMemberMax = perMemberMax }

    package var memberCount: Int { lists.count }

    package var isEmpty: Bool { lists.allSatisfy(\.isEmpty) }

    package func count(_ member: Int) -> Int { member < lists.count ? lists[member].count : 0 }

    /// - Returns: false if the member has enough.
    package mutating func put(_ connection: Int32, _ member: Int) -> Bool {
        while lists.count <= member { lists.append([]) }
        guard lists[member].count < perMemberMax else { return false }
        lists[member].append(connection)
        return true
    }

    package mutating func takeNewest(_ member: Int) -> Int32? {
        member < lists.count ? lists[member].popLast() : nil
    }

    package mutating func takeOldest(_ member: Int) -> Int32? {
        count(member) > 0 ? lists[member].removeFirst() : nil
    }

    /// An unused connection ended by itself. O(unused connections of the member).
    ///
    /// - Returns: whether it was one.
    package mutating func remove(_ connection: Int32, _ member: Int) -> Bool {
        guard member < lists.count, let index = lists[member].lastIndex(of: connection) else {
            return false
        }
        lists[member].remove(at: index)
        return true
    }
}
