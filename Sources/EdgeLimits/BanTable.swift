package import EdgeCore

/// Who is not served for a while, for errors that he has caused or because an administrator said
/// so. Cells as in `LimitTable`, in memory of its own with ticks of 1.05 ms, so that a ban may last
/// five years. Of too many bans in a bucket, the one that ends first ends at once (counted).
package struct BanTable: Sendable {
    package let table: CellTable

    package static func layout(keys: Int) -> CellLayout { CellLayout(.bans, keys: keys) }

    /// Longest ban.
    package static let spanMax = Duration.seconds(5 * 365 * 86_400)

    /// Makes a table of zeroed memory; see `LimitTable`.
    package init(
        creatingIn memory: UnsafeMutableRawPointer, byteCount: Int, layout: CellLayout,
        base: Instant, hash: LimitHash
    ) throws(CellLayout.Failure) {
        guard layout.kind == .bans else { throw .wrongLayout }
        unsafe table = try CellTable(
            memory, byteCount: byteCount, creating: (layout, base, hash))
    }

    /// Uses a table that another process has made; see `LimitTable`.
    package init(
        in memory: UnsafeMutableRawPointer, byteCount: Int
    ) throws(CellLayout.Failure) {
        unsafe table = try CellTable(memory, byteCount: byteCount, creating: nil)
        guard table.layout.kind == .bans else { throw .wrongLayout }
    }

    @inline(__always)
    package func key(_ identity: UInt64, _ subject: LimitSubject) -> UInt64 {
        table.hash.hash(identity, subject)
    }

    /// Bans for at least so long; a longer ban stands.
    ///
    /// - Parameter span: up to `spanMax`; more is cut.
    /// - Returns: whether it ends later than before; so the other node is told once.
    @discardableResult
    package func ban(_ key: UInt64, for span: Duration, now: Instant) -> Bool {
        let ticks = table.ticks(now)
        let shift = CellLayout.Kind.bans.tickShift
        let lead = min(span.nanoseconds, Self.spanMax.nanoseconds) >> shift + 1
        while let place = table.place(key, ticks, evicts: true) {
            guard CellTable.lead(place.value, ticks) < lead else { return false }
            let moved = CellTable.moved(place.value, ticks, lead: lead)
            if table.cells.replace(place.index, place.value, with: moved) { return true }
        }
        return false
    }

    /// Nanoseconds that a ban still lasts; 0: there is none.
    // hot: no locked instruction
    package func remaining(_ key: UInt64, now: Instant) -> UInt64 {
        let ticks = table.ticks(now)
        guard let place = table.find(key, ticks) else { return 0 }
        return CellTable.lead(place.value, ticks) << CellLayout.Kind.bans.tickShift
    }

    /// - Returns: whether there was a ban.
    @discardableResult
    package func lift(_ key: UInt64, now: Instant) -> Bool {
        let ticks = table.ticks(now)
        while let place = table.find(key, ticks) {
            guard CellTable.lead(place.value, ticks) > 0 else { return false }
            let moved = CellTable.moved(place.value, ticks, lead: 0)
            if table.cells.replace(place.index, place.value, with: moved) { return true }
        }
        return false
    }
}
