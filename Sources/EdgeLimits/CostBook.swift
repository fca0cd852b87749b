import EdgeCore

/// What is to be told to the other node of a pair, and of whom something is worth telling when it
/// comes back. Bounded: what is beyond is lost to the other node and counted. The control thread's.
package struct CostBook: Sendable {
    /// A limit and whom it counts.
    package struct Key: Sendable, Hashable {
        package let identity: UInt64
        package let subject: LimitSubject

        package init(identity: UInt64, subject: LimitSubject) {
            self.identity = identity
            self.subject = subject
        }
    }

    /// Keys with costs that were not told yet.
    package static let pendingMax = 16_384
    /// Keys that are remembered, at least half of them the newest.
    package static let recentMax = 8_192

    private var pending: [Key: UInt32] = [:]
    // Two generations: when the younger one is full, the older one is forgotten.
    private var young: Set<Key> = []
    private var old: Set<Key> = []
    /// Sum of costs for which there was no room.
    package private(set) var lost: UInt64 = 0

    package init() {}

    package var pendingCount: Int { pending.count }

    /// This node has admitted something.
    ///
    /// - Parameter isTold: there is somebody to tell; else only the key is remembered.
    package mutating func admitted(_ entry: AdmittedJournal.Entry, isTold: Bool) {
        let key = Key(identity: entry.identity, subject: entry.subject)
        remember(key)
        guard isTold else { return }
        guard let known = pending[key] else {
            guard pending.count < Self.pendingMax else {
                lost &+= UInt64(entry.cost)
                return
            }
            pending[key] = entry.cost
            return
        }
        let (sum, overflow) = known.addingReportingOverflow(entry.cost)
        pending[key] = overflow ? .max : sum
    }

    /// Somebody owes something, here or on the other node.
    package mutating func remember(_ key: Key) {
        guard young.insert(key).inserted, young.count >= Self.recentMax / 2 else { return }
        swap(&young, &old)
        young.removeAll(keepingCapacity: true)
    }

    /// Takes costs to be told, at most `count` keys; if there are more, those of more than one
    /// cost first: who asks most counts most.
    package mutating func take(_ count: Int) -> [AdmittedJournal.Entry] {
        var taken: [AdmittedJournal.Entry] = []
        taken.reserveCapacity(min(count, pending.count))
        if pending.count <= count {
            for (key, cost) in pending { taken.append(Self.entry(key, cost)) }
            pending.removeAll(keepingCapacity: true)
            return taken
        }
        for isHeavy in [true, false] {
            for (key, cost) in pending where (cost > 1) == isHeavy {
                guard taken.count < count else { break }
                taken.append(Self.entry(key, cost))
            }
        }
        for entry in taken {
            pending[Key(identity: entry.identity, subject: entry.subject)] = nil
        }
        return taken
    }

    /// They are told as debts, or to nobody.
    package mutating func forgetPending() { pending.removeAll(keepingCapacity: true) }

    /// All that are remembered, each once; at most `recentMax`.
    package func recent(_ body: (Key) -> Void) {
        for key in young { body(key) }
        for key in old where !young.contains(key) { body(key) }
    }

    private static func entry(_ key: Key, _ cost: UInt32) -> AdmittedJournal.Entry {
        AdmittedJournal.Entry(identity: key.identity, subject: key.subject, cost: cost)
    }
}
