internal import EdgeCore
internal import EdgeUpstream

/// What one worker knows of an upstream: its members, and the pools that have connections to them.
/// Outlives snapshots.
final class UpstreamGroup {
    let id: Int32
    private(set) var view: UpstreamView
    /// The view's: asked of every request, and references to it are counted by all workers.
    private(set) var readsRequests: Bool
    var members: MemberTable
    /// In use, retired ones until their last connection is gone.
    private(set) var pools: [UpstreamPool] = []
    /// Exchanges that wait in its pools.
    var waiting = 0
    /// Requests under way.
    var active = 0
    /// What is counted of it.
    let row: TrafficTable.Row
    var budget: RetryBudget
    /// When the control thread was last told that its addresses may be stale.
    var lastReport = Instant(nanoseconds: 0)

    init(_ view: UpstreamView, turn: Int, row: TrafficTable.Row, now: Instant) {
        self.row = row
        id = view.id
        self.view = view
        readsRequests = view.readsRequests
        members = MemberTable(seed: view.seed, turn: turn)
        budget = Self.budget(view)
        use(view, now: now)
    }

    private static func budget(_ view: UpstreamView) -> RetryBudget {
        RetryBudget(percent: view.retries.budgetPercent, always: view.retriesAlways)
    }

    func use(_ view: UpstreamView, now: Instant) {
        let isOther =
            view.retries.budgetPercent != self.view.retries.budgetPercent
            || view.retriesAlways != self.view.retriesAlways
        if isOther { budget = Self.budget(view) }
        self.view = view
        readsRequests = view.readsRequests
        members.configure(
            view.balance, slowStart: view.slowStart, sticky: view.sticky != nil,
            useMax: view.memberMax)
        members.update(view.members, now: now)
    }

    func join(_ pool: UpstreamPool) { pools.append(pool) }

    func leave(_ pool: UpstreamPool) { pools.removeAll { $0 === pool } }

    /// The oldest unused connection to the member, of whichever pool, if one more would be more
    /// than the member may have: the caller closes it before it opens another.
    func takeSurplus(_ member: Int) -> Int32? {
        guard members.needsRoom(member) else { return nil }
        for pool in pools {
            if let slot = pool.idle.takeOldest(member) {
                members.noteIdle(member, -1)
                return slot
            }
        }
        return nil
    }
}

/// One worker's connections to one upstream under one TLS name. Outlives snapshots: its members are
/// replaced, its connections stay with those that remain.
final class UpstreamPool {
    let id: Int32
    let group: UpstreamGroup
    private(set) var settings: RuntimeSnapshot.Pool
    var idle = IdleConnections()
    /// Not in the newest snapshot: finishes what it has.
    private(set) var isRetired = false
    /// Who serves its requests once it is retired: the pool that differs in certificates alone; -1:
    /// nobody.
    private(set) var heir: Int32 = -1
    /// Exchanges that wait for a member with room, first come first served (`Exchange.queueNext`),
    /// those that are not of low priority (`precedes`) before those that are.
    var queueFirst: Int32 = -1
    var queueLast: Int32 = -1
    var queueCount = 0
    /// The last that precedes others, and how many do.
    var queueLastPreceding: Int32 = -1
    var queuePreceding = 0
    /// Connections that multiplex and take more streams.
    var http2: [Int32] = []
    /// Members to which such a connection is being made (`MemberTable.bit`).
    var http2Connecting: UInt64 = 0
    /// Members to which one is being made that is late: requests try others, and wait for these
    /// with nobody else left.
    var http2Late: UInt64 = 0
    /// Connections that are being made for nobody but the pool (`Upstream.isUnclaimed`).
    var unclaimed = 0
    /// So many at most: what is late for one request is likely to be late for the next.
    static let unclaimedMax = 8
    /// Members that have chosen HTTP/1.1 where they could choose.
    var http1Members: UInt64 = 0
    /// In the list of pools whose queue is looked at at the end of the turn.
    var isCalled = false
    /// When a TLS failure was last logged.
    var lastTLSLog = Instant(nanoseconds: 0)

    init(_ settings: RuntimeSnapshot.Pool, _ group: UpstreamGroup) {
        id = settings.id
        self.settings = settings
        self.group = group
        group.join(self)
    }

    func update(_ settings: RuntimeSnapshot.Pool) {
        self.settings = settings
        isRetired = false
        heir = -1
    }

    func retire() { isRetired = true }

    func bequeath(to pool: Int32) { heir = pool }

    /// Nobody waits in it or for it, and it has no connection of its own accord.
    var isEmpty: Bool { queueCount == 0 && unclaimed == 0 && http2.isEmpty && idle.isEmpty }

    /// A connection that was to be shared is ready, or could not be made.
    func sharedEnded(_ member: Int) {
        http2Connecting &= ~MemberTable.bit(member)
        http2Late &= ~MemberTable.bit(member)
    }

    // MARK: - Unused connections

    /// An unused connection to the member, which is used from now on.
    func takeIdle(_ member: Int) -> Int32? {
        guard let slot = idle.takeNewest(member) else { return nil }
        group.members.noteIdle(member, -1)
        return slot
    }

    /// Offers a connection for reuse.
    ///
    /// - Returns: false if it must be closed: the member has left or is down, or has enough.
    func putIdle(_ connection: Int32, _ member: Int) -> Bool {
        guard !isRetired, group.members.isKept(member), idle.put(connection, member) else {
            return false
        }
        group.members.noteIdle(member, 1)
        return true
    }

    /// An unused connection ended by itself.
    func removeIdle(_ connection: Int32, _ member: Int) {
        if idle.remove(connection, member) { group.members.noteIdle(member, -1) }
    }

    /// Unused connections that have no place any more: to members that have left or are down, or
    /// all of them. The caller closes them.
    func takeStale(all: Bool = false) -> [Int32] {
        var stale: [Int32] = []
        for member in 0..<idle.memberCount where all || !group.members.isKept(member) {
            while let slot = takeIdle(member) { stale.append(slot) }
        }
        return stale
    }
}
