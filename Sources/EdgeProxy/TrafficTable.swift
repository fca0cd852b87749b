internal import CEdge
internal import EdgeCore

/// What one worker counts per site, per upstream and per view: rows of 64-bit cells, each written
/// by that worker alone and read by anybody. Address space for all rows is reserved at start and
/// touched when a row is first written: 10,000 sites without traffic cost nothing. Rows are in the
/// proxy's own memory, not on the board: they begin anew with each proxy.
///
/// Row 0 of sites and of upstreams is for all that have none of their own: requests that no site
/// has, and whatever comes after the table is full.
package final class TrafficTable: @unchecked Sendable {
    // Sendable: the memory lives as long as the object, cells are accessed only by atomic loads and
    // stores, and each has one writer.

    /// Rows of sites, one per site and view.
    package static let sitesMax = 65_536
    package static let upstreamsMax = 16_384
    package static let viewsMax = 256
    /// Of what has no row of its own.
    package static let other: Int32 = 0

    /// One row of cells. A trivial value, good for as long as the table.
    struct Row {
        fileprivate let cells: UnsafeMutablePointer<UInt64>

        /// A row of sites further on, from the first of them.
        ///
        /// - Parameter number: below `sitesMax`, as `Router.Host.traffic`.
        @inline(__always)
        func site(_ number: Int32) -> Row {
            Row(cells: cells + Int(number) &* SiteCells.stride)
        }

        /// Single writer: a plain load and store, no locked instruction.
        @inline(__always)
        func add(_ cell: Int, _ amount: UInt64 = 1) {
            ce_store_relaxed64(cells + cell, ce_load_relaxed64(cells + cell) &+ amount)
        }

        @inline(__always)
        func subtract(_ cell: Int) { add(cell, 0 &- 1) }
    }

    private let siteRows: ReservedArray<UInt64>
    private let upstreamRows: ReservedArray<UInt64>
    private let viewCells: ReservedArray<UInt64>

    /// - Returns: nil if the address space can't be had.
    package init?() {
        guard let sites = ReservedArray<UInt64>(capacity: Self.sitesMax * SiteCells.stride),
            let upstreams = ReservedArray<UInt64>(
                capacity: Self.upstreamsMax * UpstreamCells.stride),
            let views = ReservedArray<UInt64>(capacity: Self.viewsMax)
        else { return nil }
        siteRows = sites
        upstreamRows = upstreams
        viewCells = views
    }

    // MARK: - The worker's

    /// The row of what no site has; the others follow.
    var firstSite: Row { Row(cells: siteRows[0]) }

    /// - Parameter id: any upstream's; those beyond the table share a row.
    func upstream(_ id: Int32) -> Row {
        Row(cells: upstreamRows[Int(Self.upstreamRow(id)) * UpstreamCells.stride])
    }

    func opened(view: UInt16) { row(view).add(0) }
    func closed(view: UInt16) { row(view).subtract(0) }

    private func row(_ view: UInt16) -> Row {
        Row(cells: viewCells[min(Int(view), Self.viewsMax - 1)])
    }

    // MARK: - Anybody's

    /// The row of an upstream's number: 0 where there is none for it.
    package static func upstreamRow(_ id: Int32) -> Int32 {
        id >= 0 && id < upstreamsMax - 1 ? id + 1 : other
    }

    /// Whether a site's row has ever counted a request: what has not is not read further.
    package func hasTraffic(site number: Int32) -> Bool {
        let cells = siteRows[Int(number) * SiteCells.stride]
        for cell in 0..<SiteCells.classCount where ce_load_relaxed64(cells + cell) != 0 {
            return true
        }
        return false
    }

    /// The same of an upstream's.
    package func hasTraffic(upstream row: Int32) -> Bool {
        let cells = upstreamRows[Int(row) * UpstreamCells.stride]
        return ce_load_relaxed64(cells + UpstreamCells.attempts) != 0
            || ce_load_relaxed64(cells + UpstreamCells.connectFailures) != 0
    }

    /// Adds a site's cells to `sums`, which has `SiteCells.count`.
    package func add(site number: Int32, to sums: UnsafeMutableBufferPointer<UInt64>) {
        Self.add(siteRows[Int(number) * SiteCells.stride], SiteCells.count, to: sums)
    }

    /// Adds an upstream's cells to `sums`, which has `UpstreamCells.count`.
    package func add(
        upstream row: Int32, to sums: UnsafeMutableBufferPointer<UInt64>
    ) {
        Self.add(upstreamRows[Int(row) * UpstreamCells.stride], UpstreamCells.count, to: sums)
    }

    /// Requests and relayed connections that are under way with an upstream.
    package func active(upstream row: Int32) -> UInt64 {
        ce_load_relaxed64(
            upstreamRows[Int(row) * UpstreamCells.stride + UpstreamCells.active])
    }

    /// Open connections of clients of a view, by its number.
    package func connections(view number: UInt16) -> UInt64 {
        ce_load_relaxed64(viewCells[min(Int(number), Self.viewsMax - 1)])
    }

    private static func add(
        _ cells: UnsafeMutablePointer<UInt64>, _ count: Int,
        to sums: UnsafeMutableBufferPointer<UInt64>
    ) {
        for cell in 0..<count { sums[cell] &+= ce_load_relaxed64(cells + cell) }
    }
}
