internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeProxy
internal import EdgeSystem

/// What workers count per site, upstream and view, for whoever asks.
extension ProxyService {
    private var reading: TrafficReading {
        let upstreams = current?.configuration.upstreams ?? []
        return TrafficReading(
            tables: traffic, sites: builder.traffic,
            upstreams: upstreams.compactMap { upstream in
                trafficRow(ofUpstream: upstream.name).map { (upstream.name, $0) }
            },
            views: viewConnections())
    }

    /// Nil: it is counted with others.
    private func trafficRow(ofUpstream name: String) -> Int32? {
        guard let number = builder.number(ofUpstream: name) else { return nil }
        let row = TrafficTable.upstreamRow(number)
        return row == TrafficTable.other ? nil : row
    }

    // MARK: - Metrics

    /// Many sites are written on a thread of their own, once at a time: who asks meanwhile gets the
    /// same.
    func traffic(completion: @escaping ([UInt8]) -> Void) {
        guard trafficReaders.isEmpty else { return trafficReaders.append(completion) }
        let reading = self.reading
        guard reading.isLarge else { return completion(reading.text()) }
        trafficReaders = [completion]
        let poster = loop.poster
        let service = LoopBound(self)
        do throws(SystemError) {
            try BackgroundThread.start {
                let text = reading.text()
                poster.post { service.value.trafficIsRead(text) }
            }
        } catch {
            Log.warning("metrics: \(error)")
            trafficIsRead(reading.text())
        }
    }

    private func trafficIsRead(_ text: [UInt8]) {
        let readers = trafficReaders
        trafficReaders = []
        for reader in readers { reader(text) }
    }

    // MARK: - For `edgectl top`

    /// So many at most, those with the most requests.
    private static let figuresMax = 1000

    func siteFigures() -> [FigureRow] {
        let sums = reading.siteSums()
        let rows = sums.numbers.enumerated().map { index, number in
            let start = index * SiteCells.count
            func cell(_ offset: Int) -> Int64 {
                Int64(truncatingIfNeeded: sums.cells[start + offset])
            }
            let classes = (0..<SiteCells.classCount).map { cell(SiteCells.classes + $0) }
            let failed = cell(SiteCells.failures + 1) + cell(SiteCells.failures + 2)
            let key = builder.traffic.key(Int32(number))
            return FigureRow(
                name: key.host, view: key.view.isEmpty ? nil : key.view,
                requests: classes.reduce(0, +),
                results: [
                    NamedCount("2xx", classes[2]), NamedCount("3xx", classes[3]),
                    NamedCount("4xx", classes[4]), NamedCount("5xx", classes[5]),
                    NamedCount("failed", failed),
                ],
                durations: (0..<Timing.bucketCount).map { cell(SiteCells.durations + $0) })
        }
        return Array(rows.sorted { $0.requests > $1.requests }.prefix(Self.figuresMax))
    }

    func upstreamFigures() -> [FigureRow] {
        let reading = self.reading
        let sums = reading.upstreamSums()
        let rows = sums.numbers.enumerated().map { index, number in
            let start = index * UpstreamCells.count
            func cell(_ offset: Int) -> Int64 {
                Int64(truncatingIfNeeded: sums.cells[start + offset])
            }
            let failed = cell(UpstreamCells.failures) + cell(UpstreamCells.connectFailures)
            return FigureRow(
                name: reading.upstreams[number].name, requests: cell(UpstreamCells.attempts),
                results: [NamedCount("failed", failed)], active: cell(UpstreamCells.active),
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
