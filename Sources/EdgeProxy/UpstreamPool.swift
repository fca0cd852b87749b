internal import EdgeCore
internal import EdgeUpstream

/// One worker's connections to one upstream under one TLS name. Outlives snapshots: its members are
/// replaced, its connections stay with those that remain.
final class UpstreamPool {
    let id: Int32
    private(set) var settings: RuntimeSnapshot.Pool
    var members = MemberTable()
    /// Not in the newest snapshot: finishes what it has.
    var isRetired = false
    /// Exchanges that wait for a member with room, first come first served (`Exchange.queueNext`).
    var queueFirst: Int32 = -1
    var queueLast: Int32 = -1
    var queueCount = 0
    /// Connections that multiplex and take more streams.
    var http2: [Int32] = []
    /// Members to which such a connection is being made (`MemberTable.bit`).
    var http2Connecting: UInt64 = 0
    /// Members that have chosen HTTP/1.1 where they could choose.
    var http1Members: UInt64 = 0
    /// In the list of pools whose queue is looked at at the end of the turn.
    var isCalled = false
    /// When the control thread was last told that its addresses may be stale.
    var lastReport = Instant(nanoseconds: 0)
    /// When a TLS failure was last logged.
    var lastTLSLog = Instant(nanoseconds: 0)

    init(_ settings: RuntimeSnapshot.Pool) {
        id = settings.id
        self.settings = settings
        members.useMax = settings.memberMax
    }

    /// - Returns: unused connections that have no place any more.
    func update(_ settings: RuntimeSnapshot.Pool) -> [Int32] {
        self.settings = settings
        members.useMax = settings.memberMax
        isRetired = false
        return members.update(settings.members)
    }

    func retire() -> [Int32] {
        isRetired = true
        return members.update([])
    }
}
