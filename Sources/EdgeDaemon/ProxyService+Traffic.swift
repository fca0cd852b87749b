internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeProxy

/// What workers count per site, upstream and view, summed for whoever asks. Rows of what is not in
/// the configuration any more are not shown.
extension ProxyService {
    /// Sites that have had requests, and what was counted of each.
    struct TrafficSums {
        /// As they stand between the braces of a sample.
        var labels: [[UInt8]] = []
        /// Of a site: its row; of an upstream: its place in the configuration.
        var numbers: [Int32] = []
        /// `SiteCells.count` or `UpstreamCells.count` per row.
        var cells: [UInt64] = []

        /// - Parameter add: adds one row's cells.
        fileprivate mutating func append(
            _ label: [UInt8], _ number: Int32, count: Int,
            _ add: (UnsafeMutableBufferPointer<UInt64>) -> Void
        ) {
            labels.append(label)
            numbers.append(number)
            let start = cells.count
            cells.append(contentsOf: repeatElement(0, count: count))
            cells.withUnsafeMutableBufferPointer {
                add(UnsafeMutableBufferPointer(rebasing: $0[start...]))
            }
        }
    }

    func traffic(into text: inout [UInt8]) {
        guard let current else { return }
        var writer = TrafficText()
        let sites = siteTraffic()
        writer.sites(sites.labels, sites.cells)
        let upstreams = upstreamTraffic(current.configuration)
        writer.upstreams(upstreams.labels, upstreams.cells)
        writer.views(
            viewConnections().map { (TrafficText.labels([("view", $0.view)]), $0.connections) })
        text += writer.bytes
    }

    /// Sites that have had requests since the proxy started.
    func siteTraffic() -> TrafficSums {
        var sums = TrafficSums()
        let rows = builder.traffic
        for row in rows.current where traffic.contains(where: { $0.hasTraffic(site: row) }) {
            sums.append(rows.label(row), row, count: SiteCells.count) { cells in
                for table in traffic { table.add(site: row, to: cells) }
            }
        }
        return sums
    }

    /// Upstreams of the configuration that have been used since the proxy started.
    func upstreamTraffic(_ configuration: Configuration) -> TrafficSums {
        var sums = TrafficSums()
        for (index, upstream) in configuration.upstreams.enumerated() {
            guard let row = trafficRow(ofUpstream: upstream.name),
                traffic.contains(where: { $0.hasTraffic(upstream: row) })
            else { continue }
            let label = TrafficText.labels([("upstream", upstream.name)])
            sums.append(label, Int32(index), count: UpstreamCells.count) { cells in
                for table in traffic { table.add(upstream: row, to: cells) }
            }
        }
        return sums
    }

    /// Nil: it is counted with others.
    private func trafficRow(ofUpstream name: String) -> Int32? {
        guard let number = builder.number(ofUpstream: name) else { return nil }
        let row = TrafficTable.upstreamRow(number)
        return row == TrafficTable.other ? nil : row
    }

    // MARK: - For `edgectl top`

    /// So many at most, those with the most requests.
    private static let figuresMax = 1000

    func siteFigures() -> [FigureRow] {
        let sums = siteTraffic()
        let rows = sums.numbers.enumerated().map { index, number in
            let cells = sums.cells[index * SiteCells.count..<(index + 1) * SiteCells.count]
            func cell(_ offset: Int) -> Int64 {
                Int64(truncatingIfNeeded: cells[cells.startIndex + offset])
            }
            let classes = (0..<SiteCells.classCount).map { cell(SiteCells.classes + $0) }
            let key = builder.traffic.key(number)
            return FigureRow(
                name: key.host, view: key.view.isEmpty ? nil : key.view,
                requests: classes.reduce(0, +),
                results: [
                    NamedCount("2xx", classes[2]), NamedCount("3xx", classes[3]),
                    NamedCount("4xx", classes[4]), NamedCount("5xx", classes[5]),
                    NamedCount(
                        "failed", cell(SiteCells.failures + 1) + cell(SiteCells.failures + 2)),
                ],
                durations: (0..<Timing.bucketCount).map { cell(SiteCells.durations + $0) })
        }
        return Array(rows.sorted { $0.requests > $1.requests }.prefix(Self.figuresMax))
    }

    func upstreamFigures() -> [FigureRow] {
        guard let configuration = current?.configuration else { return [] }
        let sums = upstreamTraffic(configuration)
        let rows = sums.numbers.enumerated().map { index, number in
            let start = index * UpstreamCells.count
            func cell(_ offset: Int) -> Int64 {
                Int64(truncatingIfNeeded: sums.cells[start + offset])
            }
            return FigureRow(
                name: configuration.upstreams[Int(number)].name,
                requests: cell(UpstreamCells.attempts),
                results: [
                    NamedCount(
                        "failed", cell(UpstreamCells.failures) + cell(UpstreamCells.connectFailures)
                    )
                ],
                active: cell(UpstreamCells.active),
                durations: (0..<Timing.bucketCount).map { cell(UpstreamCells.responses + $0) })
        }
        return Array(rows.sorted { $0.requests > $1.requests }.prefix(Self.figuresMax))
    }

    // MARK: - What a change would touch

    /// Open connections of clients, by view; a view without a name is the only one.
    func viewConnections() -> [(view: String, connections: UInt64)] {
        guard let routing = snapshot?.routing else { return [] }
        return routing.viewNumbers.compactMap { number in
            guard let view = routing.views[Int(number)] else { return nil }
            return (view.name, traffic.reduce(0) { $0 &+ $1.connections(view: number) })
        }
    }

    /// Requests and TCP connections that are under way with an upstream.
    func requestsActive(upstream name: String) -> UInt64 {
        guard let row = trafficRow(ofUpstream: name) else { return 0 }
        return traffic.reduce(0) { $0 &+ $1.active(upstream: row) }
    }
}
