package import EdgeCore

/// Which ticket keys there are at a time, which one seals, and when the next one is due. Pure: the
/// time and the random bytes are given.
///
/// The newest key of this node seals; all open. A key seals for a third of the tickets' lifetime
/// and is known until its last ticket has ended, which takes four keys: a ticket can always be used
/// for its whole lifetime, and a key that leaks opens what was sealed in a third of it.
///
/// Of a pair one node leads (`leader`): its newest key seals on both, so that a ticket of either
/// opens on either. The other node makes no keys of its own as long as it has a current one of the
/// leader's, which it keeps when the link is lost; then, and at its start, it has its own. If there
/// are too many keys, the leader's are the last to go: four of them cover the lifetime of its
/// tickets, however often the other node starts anew.
package struct TicketKeyRing: Sendable, Equatable {
    package static let keysMax = 4

    /// The first seals; the others newest first. At most `keysMax`.
    package private(set) var keys: [TicketKey]
    /// For how long a session may be resumed.
    package var lifetime: Duration
    /// Whose newest key seals: 0: this node's, else the other one's number.
    package private(set) var leader: UInt64 = 0

    /// Follows whom the predecessor followed.
    ///
    /// - Parameter keys: what a predecessor has left, the one that sealed first.
    package init(keys: [TicketKey] = [], lifetime: Duration) {
        self.keys = Array(keys.prefix(Self.keysMax))
        self.lifetime = lifetime
        leader = keys.first?.origin ?? 0
    }

    /// How long a key seals, in nanoseconds.
    package var period: UInt64 { max(lifetime.nanoseconds / 3, 1) }

    /// How long a key of the leader's may seal beyond that: its successor has a way to go.
    private var grace: UInt64 { min(period / 4, 60_000_000_000) }

    /// When the next key of this node's is to be made; at once if there is none that may seal.
    package var due: Instant {
        let own = newest(0)?.madeAt.advanced(byNanoseconds: period)
        let theirs = leader == 0 ? nil : newest(leader).map(end)
        return max(own ?? Instant(nanoseconds: 0), theirs ?? Instant(nanoseconds: 0))
    }

    /// Seals with `key`, which is this node's, from now on unless the leader's does; forgets what
    /// no living ticket is sealed with.
    package mutating func rotate(to key: TicketKey, now: Instant) {
        keys = [key] + keys
        arrange(now)
    }

    /// Takes up what the other node knows.
    ///
    /// - Parameter more: none of them this node's own unless `origin` is 0.
    /// - Returns: whether it is other keys now, or another one seals.
    package mutating func merge(_ more: [TicketKey], now: Instant) -> Bool {
        let before = keys.map(\.id)
        for key in more {
            if let index = keys.firstIndex(where: { $0.id == key.id }) {
                // Its maker may have another number by now.
                if keys[index].origin != 0 { keys[index].origin = key.origin }
            } else {
                keys.append(key)
            }
        }
        arrange(now)
        return keys.map(\.id) != before
    }

    /// From now on that node's newest key seals.
    ///
    /// - Returns: whether another key seals now.
    package mutating func follow(_ leader: UInt64, now: Instant) -> Bool {
        self.leader = leader
        let before = keys.first?.id
        arrange(now)
        return keys.first?.id != before
    }

    private func newest(_ origin: UInt64) -> TicketKey? {
        keys.lazy.filter { $0.origin == origin }.max { $0.madeAt < $1.madeAt }
    }

    /// When a key of the leader's seals no more.
    private func end(_ key: TicketKey) -> Instant {
        key.madeAt.advanced(byNanoseconds: period).advanced(byNanoseconds: grace)
    }

    private mutating func arrange(_ now: Instant) {
        let last = period.multipliedReportingOverflow(by: 4)
        var known = keys.filter {
            last.overflow || now.nanoseconds(since: $0.madeAt) < last.partialValue
        }
        // None is too old to seal as long as there is no other.
        if known.isEmpty { known = Array(keys.prefix(1)) }
        known.sort { $0.madeAt > $1.madeAt }
        keys = known
        let current = leader == 0 ? nil : newest(leader).flatMap { now < end($0) ? $0 : nil }
        if let sealing = current ?? newest(0) ?? known.first,
            let index = known.firstIndex(where: { $0.id == sealing.id })
        {
            known.insert(known.remove(at: index), at: 0)
        }
        while known.count > Self.keysMax {
            // The first seals.
            let other = known.lastIndex { $0.origin != leader } ?? 0
            known.remove(at: other > 0 ? other : known.count - 1)
        }
        keys = known
    }
}
