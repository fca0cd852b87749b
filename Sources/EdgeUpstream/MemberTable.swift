package import EdgeCore

/// One worker's view of an upstream's members: who there is, who is next, and which unused
/// connections each has. Pure: connections are slot numbers, and their links live here.
///
/// A member keeps its index as long as it has connections, also after it has left the
/// configuration, so that slots may hold indices over reloads.
package struct MemberTable: Sendable {
    package struct Member: Sendable {
        package let address: SocketAddress
        /// Part of the newest snapshot; others only finish what they have.
        package fileprivate(set) var isCurrent: Bool
        /// Connections in any state.
        package fileprivate(set) var connectionCount = 0
        /// Unused connections, newest last (the newest is the likeliest to be alive).
        fileprivate var idle: [Int32] = []
    }

    package private(set) var members: [Member] = []
    private var cursor = 0
    /// Unused connections kept per member; one more is closed instead.
    private let idleMax: Int
    /// Connections in use per member; 0: no limit.
    package var useMax = 0

    package init(idleMax: Int = 1024) { self.idleMax = idleMax }

    /// Replaces the members, keeping the connections of those that stay.
    ///
    /// - Returns: unused connections of members that left; the caller closes them.
    package mutating func update(_ addresses: [SocketAddress]) -> [Int32] {
        var orphans: [Int32] = []
        for index in members.indices {
            members[index].isCurrent = addresses.contains(members[index].address)
            if !members[index].isCurrent {
                orphans += members[index].idle
                members[index].idle.removeAll()
            }
        }
        for address in addresses where !members.contains(where: { $0.address == address }) {
            let fresh = Member(address: address, isCurrent: true)
            if let free = members.firstIndex(where: { !$0.isCurrent && $0.connectionCount == 0 }) {
                members[free] = fresh
            } else {
                members.append(fresh)
            }
        }
        return orphans
    }

    /// The next member in turn that was not tried yet and has room; nil when there is none.
    ///
    /// - Parameters:
    ///   - tried: bit n is member n (members beyond 63 share the last bit).
    ///   - shared: members that have room without one more connection.
    package mutating func next(excluding tried: UInt64, sharing shared: UInt64 = 0) -> Int? {
        for _ in 0..<members.count {
            let index = cursor
            cursor = cursor + 1 < members.count ? cursor + 1 : 0
            if members[index].isCurrent, tried & Self.bit(index) == 0,
                hasRoom(index) || shared & Self.bit(index) != 0
            {
                return index
            }
        }
        return nil
    }

    /// One more connection of the member may be used; counts the unused ones as room, because a
    /// new one is opened only if there are none.
    package func hasRoom(_ index: Int) -> Bool {
        useMax == 0 || members[index].connectionCount - members[index].idle.count < useMax
    }

    /// A member that was not tried yet will have room once one of its connections is given back.
    package func isWorthWaiting(excluding tried: UInt64) -> Bool {
        members.indices.contains {
            members[$0].isCurrent && tried & Self.bit($0) == 0 && !hasRoom($0)
        }
    }

    /// What `next` would find something for.
    package func hasRoom(excluding tried: UInt64, sharing shared: UInt64 = 0) -> Bool {
        members.indices.contains {
            members[$0].isCurrent && tried & Self.bit($0) == 0
                && (hasRoom($0) || shared & Self.bit($0) != 0)
        }
    }

    package static func bit(_ index: Int) -> UInt64 { 1 << UInt64(min(index, 63)) }

    package var hasCurrentMember: Bool { members.contains { $0.isCurrent } }

    // MARK: - Connections

    package mutating func opened(_ member: Int) { members[member].connectionCount += 1 }

    /// - Precondition: the connection is not among the unused ones.
    package mutating func closed(_ member: Int) {
        invariant(members[member].connectionCount > 0, "a closed connection was opened")
        members[member].connectionCount -= 1
    }

    /// An unused connection to the member, which is used from now on.
    package mutating func takeIdle(_ member: Int) -> Int32? { members[member].idle.popLast() }

    /// The oldest unused connection, if one more connection would be more than the member may have:
    /// the caller closes it before it opens another.
    package mutating func takeSurplus(_ member: Int) -> Int32? {
        guard useMax > 0, members[member].connectionCount >= useMax,
            !members[member].idle.isEmpty
        else { return nil }
        return members[member].idle.removeFirst()
    }

    /// Offers a connection for reuse.
    ///
    /// - Returns: false if it must be closed: the member has left, or has enough.
    package mutating func putIdle(_ connection: Int32, _ member: Int) -> Bool {
        guard members[member].isCurrent, members[member].idle.count < idleMax else { return false }
        members[member].idle.append(connection)
        return true
    }

    /// An unused connection ended by itself. O(idle connections of the member).
    package mutating func removeIdle(_ connection: Int32, _ member: Int) {
        if let index = members[member].idle.lastIndex(of: connection) {
            members[member].idle.remove(at: index)
        }
    }

    /// All unused connections; the caller closes them.
    package mutating func drainIdle() -> [Int32] {
        var all: [Int32] = []
        for index in members.indices {
            all += members[index].idle
            members[index].idle.removeAll()
        }
        return all
    }
}
