import EdgeCore

/// How many connections or requests each key has at the moment, over all workers of *one proxy*.
///
/// Its memory is the proxy's own, not the guardian's: workers are threads, so whoever leaves a
/// count behind leaves with the memory that it is in, and a new proxy begins at zero. The price:
/// while one proxy follows another, connections that the old one still serves are not counted by
/// the new one.
///
/// A count is never given to another key: if all 15 cells of a bucket count something, a new key is
/// refused (counted as `full`). With the capacity that the layout was asked for that happens to
/// less than one key in 100,000 at full load.
package struct ConcurrencyTable: Sendable {
    package let table: CellTable

    package static func layout(keys: Int) -> CellLayout { CellLayout(.counts, keys: keys) }

    /// Makes a table of zeroed memory; see `LimitTable`.
    package init(
        creatingIn memory: UnsafeMutableRawPointer, byteCount: Int, layout: CellLayout,
        hash: LimitHash
    ) throws(CellLayout.Failure) {
        guard layout.kind == .counts else { throw .wrongLayout }
        unsafe table = try CellTable(
            memory, byteCount: byteCount, creating: (layout, Instant(nanoseconds: 0), hash))
    }

    @inline(__always)
    package func key(_ identity: UInt64, _ subject: LimitSubject) -> UInt64 {
        table.hash.hash(identity, subject)
    }

    /// One more, if there are fewer than `most`. Exact: there are never more than the largest
    /// `most`.
    ///
    /// - Returns: whether it was counted; who was counted has to `leave`.
    // hot: as `LimitTable.admit`
    package func enter(_ key: UInt64, most: UInt32) -> Bool {
        while let place = table.place(key, 0, evicts: false) {
            let count = CellTable.lead(place.value, 0)
            guard count < UInt64(most) else { return false }
            if table.cells.replace(place.index, place.value, with: place.value &+ 1) {
                return true
            }
        }
        return false
    }

    /// One less.
    ///
    /// - Returns: false if nothing was counted: a fault of the caller's.
    @discardableResult
    package func leave(_ key: UInt64) -> Bool {
        while let place = table.find(key, 0) {
            guard CellTable.lead(place.value, 0) > 0 else { return false }
            if table.cells.replace(place.index, place.value, with: place.value &- 1) {
                return true
            }
        }
        return false
    }

    /// All that is counted at the moment, whoever's it is. Looks at every cell.
    package var total: UInt64 {
        var total: UInt64 = 0
        for bucket in 0..<table.layout.bucketCount {
            let base = CellLayout.bucketBase + bucket * CellLayout.bucketWords
            for index in 1..<CellLayout.bucketWords {
                let cell = table.cells.load(base + index)
                if cell & CellTable.claimBit == 0 { total += CellTable.lead(cell, 0) }
            }
        }
        return total
    }

    package func count(_ key: UInt64) -> UInt64 {
        table.find(key, 0).map { CellTable.lead($0.value, 0) } ?? 0
    }
}
