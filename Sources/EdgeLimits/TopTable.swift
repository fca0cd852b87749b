package import EdgeCore

/// Who comes up most, in bounded memory (Space-Saving; Metwally, Agrawal, El Abbadi 2005): of all
/// that has been noted, whoever makes up more than one part in `capacity` is in the table, and its
/// count is at most `surplus` too high.
package struct TopTable<Key: Hashable & Sendable>: Sendable {
    package struct Row: Sendable, Equatable {
        package var key: Key
        package var count: UInt64
        /// What it may have inherited from whom it took the place of; `count - surplus` is certain.
        package var surplus: UInt64
        package var first: Instant
        package var last: Instant
    }

    package let capacity: Int
    package private(set) var rows: [Row] = []

    /// - Parameter capacity: rows, at least 1; reserved now.
    package init(capacity: Int) {
        self.capacity = max(capacity, 1)
        rows.reserveCapacity(self.capacity)
    }

    /// - Parameters:
    ///   - surplus: as `Row`, of a table that is taken over.
    ///   - first: when it began to come up; nil: now.
    // O(capacity), no allocation: for what is refused, which is the dearer the more there is of it
    package mutating func note(
        _ key: Key, count: UInt64 = 1, surplus: UInt64 = 0, first: Instant? = nil, now: Instant
    ) {
        var least = -1
        var leastCount = UInt64.max
        for index in rows.indices {
            if rows[index].key == key {
                rows[index].count &+= count
                rows[index].surplus &+= surplus
                rows[index].last = max(rows[index].last, now)
                return
            }
            if rows[index].count < leastCount { (least, leastCount) = (index, rows[index].count) }
        }
        let row = Row(key: key, count: count, surplus: surplus, first: first ?? now, last: now)
        guard rows.count == capacity else { return rows.append(row) }
        rows[least] = row
        rows[least].count &+= leastCount
        rows[least].surplus &+= leastCount
    }

    /// Forgets who has not come up since then.
    package mutating func forget(before instant: Instant) {
        rows.removeAll { $0.last < instant }
    }

    package mutating func remove(where isGone: (Key) -> Bool) {
        rows.removeAll { isGone($0.key) }
    }

    package mutating func removeAll() { rows.removeAll(keepingCapacity: true) }

    /// Most first.
    package var sorted: [Row] {
        rows.sorted { ($0.count, $0.last.nanoseconds) > ($1.count, $1.last.nanoseconds) }
    }
}
