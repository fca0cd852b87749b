internal import EdgeCore
internal import EdgeTLS

/// TLS sessions that one worker may resume, by pool (upstream, trust, our certificate, name) and
/// member address: never offered to anybody else. Bounded: 1,024 sessions, at most two per key, in
/// sets of four; a full set loses its oldest. A session costs about 8 KB, most of it the peer's
/// certificate.
struct UpstreamSessions: ~Copyable {
    /// A session to be offered in one handshake.
    struct Offer {
        let session: ResumableSession
        /// Taken out of the table for good.
        fileprivate let isOwned: Bool

        /// The handshake has its own hold on it, or there is none.
        func give() { if isOwned { session.free() } }
    }

    /// Verified long ago is not verified: after this the upstream shows its certificate again.
    static let ageMax: UInt64 = 3_600_000_000_000

    private struct Entry: BitwiseCopyable {
        var session: ResumableSession?
        var pool: Int32
        /// Has been offered, though it was meant for one use.
        var isUsed: Bool
        var address: SocketAddress
        var keptAt: Instant
    }

    private static let ways = 4
    private static let perKey = 2
    private let setMask: Int
    private var entries: [Entry] = []
    private let capacity: Int

    /// - Parameter sets: a power of two.
    init(sets: Int = 256) {
        setMask = sets - 1
        capacity = sets * Self.ways
    }

    deinit { for entry in entries { entry.session?.free() } }

    var count: Int { entries.reduce(0) { $0 + ($1.session == nil ? 0 : 1) } }

    /// Keeps a session, which is the table's from now on.
    mutating func put(
        _ session: ResumableSession, _ pool: Int32, _ address: SocketAddress, now: Instant
    ) {
        if entries.isEmpty {
            let none = Entry(
                session: nil, pool: 0, isUsed: false, address: address, keptAt: now)
            entries = Array(repeating: none, count: capacity)
        }
        let index = place(pool, address)
        entries[index].session?.free()
        entries[index] = Entry(
            session: session, pool: pool, isUsed: false, address: address, keptAt: now)
    }

    /// Where a new session goes: over the worst of its own key if there are two, else to a free
    /// place, else over the set's oldest.
    private func place(_ pool: Int32, _ address: SocketAddress) -> Int {
        var own = 0
        var worst = -1
        var free = -1
        var oldest = -1
        for index in set(pool, address) {
            let entry = entries[index]
            guard entry.session != nil else {
                free = index
                continue
            }
            if oldest < 0 || entry.keptAt < entries[oldest].keptAt { oldest = index }
            guard entry.pool == pool, entry.address == address else { continue }
            own += 1
            if worst < 0 || isWorse(entry, than: entries[worst]) { worst = index }
        }
        // One that was used makes room even if it is alone.
        if own >= Self.perKey || (worst >= 0 && entries[worst].isUsed) { return worst }
        return free >= 0 ? free : oldest
    }

    private func isWorse(_ entry: Entry, than other: Entry) -> Bool {
        entry.isUsed != other.isUsed ? entry.isUsed : entry.keptAt < other.keptAt
    }

    /// The newest session for this pool and member. The last one stays, to be offered again should
    /// no newer one come: many servers take a ticket twice, the others do a full handshake.
    mutating func take(_ pool: Int32, _ address: SocketAddress, now: Instant) -> Offer? {
        guard !entries.isEmpty else { return nil }
        var own = 0
        var best = -1
        for index in set(pool, address) {
            let entry = entries[index]
            guard let session = entry.session, entry.pool == pool, entry.address == address
            else { continue }
            guard now.nanoseconds(since: entry.keptAt) < Self.ageMax, session.isResumable else {
                session.free()
                entries[index].session = nil
                continue
            }
            own += 1
            if best < 0 || isWorse(entries[best], than: entry) { best = index }
        }
        guard best >= 0, let session = entries[best].session else { return nil }
        guard own > 1, session.isForOneUse else {
            entries[best].isUsed = session.isForOneUse
            return Offer(session: session, isOwned: false)
        }
        entries[best].session = nil
        return Offer(session: session, isOwned: true)
    }

    /// Forgets what is kept for this pool and member.
    mutating func remove(_ pool: Int32, _ address: SocketAddress) {
        guard !entries.isEmpty else { return }
        for index in set(pool, address)
        where entries[index].pool == pool && entries[index].address == address {
            entries[index].session?.free()
            entries[index].session = nil
        }
    }

    /// Forgets what is kept for some pools. O(capacity).
    mutating func removeAll(where isGone: (Int32) -> Bool) {
        for index in entries.indices where isGone(entries[index].pool) {
            entries[index].session?.free()
            entries[index].session = nil
        }
    }

    private func set(_ pool: Int32, _ address: SocketAddress) -> Range<Int> {
        var hash = address.low ^ address.high ^ UInt64(address.port) << 48
        hash = (hash ^ UInt64(UInt32(bitPattern: pool))) &* 0x9E37_79B9_7F4A_7C15
        let first = Int(hash >> 40) & setMask
        return first * Self.ways..<(first + 1) * Self.ways
    }
}
