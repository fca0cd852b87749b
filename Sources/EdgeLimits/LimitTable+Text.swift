package import EdgeCore

/// Under which key values of fields and cookies are hashed, to count by them. It is not the table's
/// own: the nodes of a pair use one for both, so that a value is the same number on both.
extension LimitTable {
    package struct TextKey: Sendable, Equatable {
        package var high: UInt64
        package var low: UInt64
        /// Since when anything is counted under it, on any node.
        package var since: Instant

        package init(high: UInt64, low: UInt64, since: Instant) {
            self.high = high
            self.low = low
            self.since = since
        }
    }

    /// Made of the table's own key (which never leaves this machine) until there is another one.
    package var textKey: TextKey {
        let cells = table.cells
        let since = cells.load(CellLayout.Word.textSince)
        guard since == 0 else {
            return TextKey(
                high: cells.load(CellLayout.Word.textHigh),
                low: cells.load(CellLayout.Word.textLow), since: Instant(nanoseconds: since))
        }
        let none = LimitSubject(high: 0, low: 0)
        return TextKey(
            high: table.hash.hash(1, none), low: table.hash.hash(2, none),
            since: Instant(nanoseconds: cells.load(CellLayout.Word.base)))
    }

    /// Texts are hashed under that key from now on, by all who use the table. Who hashes at this
    /// very moment may get a number that nobody gets again. One writer.
    package func use(_ key: TextKey) {
        table.cells.store(CellLayout.Word.textHigh, key.high)
        table.cells.store(CellLayout.Word.textLow, key.low)
        table.cells.store(CellLayout.Word.textSince, max(1, key.since.nanoseconds))
    }

    /// What `LimitPlans.texts` are hashed with.
    // hot: no allocation; a few loads
    package var textHash: LimitHash {
        let key = textKey
        return LimitHash(key0: key.high, key1: key.low)
    }
}
