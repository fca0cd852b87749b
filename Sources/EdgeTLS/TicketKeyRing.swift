package import EdgeCore

/// Which ticket keys there are at a time, and when the next one is due. Pure: the time and the
/// random bytes are given.
///
/// The newest key seals; all open. A key seals for a third of the tickets' lifetime and is known
/// until its last ticket has ended, which takes four keys: a ticket can always be used for its
/// whole lifetime, and a key that leaks opens what was sealed in a third of it.
package struct TicketKeyRing: Sendable, Equatable {
    package static let keysMax = 4

    /// Newest first; at most `keysMax`.
    package private(set) var keys: [TicketKey]
    /// For how long a session may be resumed.
    package var lifetime: Duration

    /// - Parameter keys: what a predecessor has left, newest first.
    package init(keys: [TicketKey] = [], lifetime: Duration) {
        self.keys = Array(keys.prefix(Self.keysMax))
        self.lifetime = lifetime
    }

    /// How long a key seals, in nanoseconds.
    package var period: UInt64 { max(lifetime.nanoseconds / 3, 1) }

    /// When the next key is to be made; at once if there is none.
    package var due: Instant {
        keys.first.map { $0.madeAt.advanced(byNanoseconds: period) } ?? Instant(nanoseconds: 0)
    }

    /// Seals with `key` from now on and forgets what no living ticket is sealed with.
    package mutating func rotate(to key: TicketKey, now: Instant) {
        let last = period.multipliedReportingOverflow(by: 4)
        let known = keys.filter {
            last.overflow || now.nanoseconds(since: $0.madeAt) < last.partialValue
        }
        keys = Array(([key] + known).prefix(Self.keysMax))
    }
}
