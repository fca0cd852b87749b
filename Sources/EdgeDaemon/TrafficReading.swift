internal import EdgeControl
internal import EdgeCore
internal import EdgeProxy

/// What is counted per site, upstream and view, to be read at leisure: summing and writing 10,000
/// sites takes tens of milliseconds, which the control thread does not have. A value that any
/// thread may use; workers go on counting meanwhile.
struct TrafficReading: Sendable {
    /// One per worker.
    let tables: [TrafficTable]
    /// What is not in the configuration any more is not read.
    let sites: TrafficRows
    /// In the order of the configuration.
    let upstreams: [(name: String, row: Int32)]
    let views: [(view: String, connections: UInt64)]

    /// Rows that have counted something, summed over the workers.
    struct Sums {
        /// Of a site: its row; of an upstream: its place in `upstreams`.
        var numbers: [Int] = []
        /// As they stand between the braces of a sample.
        var labels: [[UInt8]] = []
        /// `SiteCells.count` or `UpstreamCells.count` per row.
        var cells: [UInt64] = []

        /// - Parameter add: adds one row's cells.
        fileprivate mutating func append(
            _ number: Int, _ label: [UInt8], count: Int,
            _ add: (UnsafeMutableBufferPointer<UInt64>) -> Void
        ) {
            numbers.append(number)
            labels.append(label)
            let start = cells.count
            cells.append(contentsOf: repeatElement(0, count: count))
            cells.withUnsafeMutableBufferPointer {
                add(UnsafeMutableBufferPointer(rebasing: $0[start...]))
            }
        }
    }

    /// Too much for the control thread.
    var isLarge: Bool { sites.current.count + upstreams.count > 256 }

    func siteSums() -> Sums {
        var sums = Sums()
        for row in sites.current where tables.contains(where: { $0.hasTraffic(site: row) }) {
            sums.append(Int(row), sites.label(row), count: SiteCells.count) { cells in
                for table in tables { table.add(site: row, to: cells) }
            }
        }
        return sums
    }

    func upstreamSums() -> Sums {
        var sums = Sums()
        for (index, upstream) in upstreams.enumerated()
        where tables.contains(where: { $0.hasTraffic(upstream: upstream.row) }) {
            let label = TrafficText.labels([("upstream", upstream.name)])
            sums.append(index, label, count: UpstreamCells.count) { cells in
                for table in tables { table.add(upstream: upstream.row, to: cells) }
            }
        }
        return sums
    }

    /// The Prometheus text.
    func text() -> [UInt8] {
        var text = TrafficText()
        let sites = siteSums()
        text.sites(sites.labels, sites.cells)
        let upstreams = upstreamSums()
        text.upstreams(upstreams.labels, upstreams.cells)
        text.views(views.map { (TrafficText.labels([("view", $0.view)]), $0.connections) })
        return text.bytes
    }
}
