/// What `edgectl top` shows, as lines for a window. Pure.
package struct TopPage {
    private let rates: FigureRates
    private let status: StatusReply

    package init(_ rates: FigureRates, _ status: StatusReply) {
        self.rates = rates
        self.status = status
    }

    /// At most `height` lines of at most `width` characters. The list of upstreams gets what sites
    /// leave, and half of it at least.
    package func lines(width: Int, height: Int) -> [String] {
        var lines = summary
        let upstreams = upstreamRows
        let sites = rates.sites.map(Self.cells)
        // Two headings with their blank lines and column titles.
        let room = max(height - lines.count - 6, 2)
        let shownSites = min(sites.count, max(room / 2, room - upstreams.count))
        let shownUpstreams = min(upstreams.count, room - shownSites)
        lines += Self.section(
            "upstreams", ["upstream", "up", "req/s", "err/s", "p50", "p99", "active"],
            upstreams, shownUpstreams)
        lines += Self.section(
            "sites", ["site", "view", "req/s", "err/s", "p50", "p99", "total"], sites, shownSites)
        return lines.prefix(height).map { String($0.prefix(width)) }
    }

    private var summary: [String] {
        let state =
            status.drainedSince != nil ? "drained" : StatusText.words(status.state.rawValue)
        let node = rates.node
        let workers = rates.workers.map { worker in
            "\(worker.index): \(Self.rate(worker.requests))/s \(worker.connections)"
        }
        return [
            "edged \(status.version)  \(state)  up \(StatusText.span(status.now - status.started))"
                + "  epoch \(status.epoch)",
            "clients \(rates.connections)  requests \(Self.rate(node.requests))/s"
                + "  errors \(Self.rate(node.errors))/s  p50 \(node.median?.text ?? "-")"
                + "  p99 \(node.tail?.text ?? "-")  active \(node.active.map(String.init) ?? "-")",
            "workers  " + workers.joined(separator: "   "),
        ].map(StatusText.printable)
    }

    /// All that the configuration has, measured or not.
    private var upstreamRows: [[String]] {
        let known = Dictionary(rates.upstreams.map { ($0.name, $0) }) { first, _ in first }
        let rows = status.upstreams.map { upstream in
            (upstream: upstream, row: known[upstream.name])
        }
        let sorted = rows.sorted { a, b in
            let (first, second) = (a.row?.requests ?? 0, b.row?.requests ?? 0)
            return first == second ? a.upstream.name < b.upstream.name : first > second
        }
        return sorted.map { upstream, row in
            let up = upstream.available.map { "\($0)/\(upstream.members.count)" } ?? ""
            guard let row else { return [upstream.name, up] }
            return [
                upstream.name, up, Self.rate(row.requests), Self.rate(row.errors),
                row.median?.text ?? "", row.tail?.text ?? "", row.active.map(String.init) ?? "",
            ]
        }
    }

    private static func cells(_ row: FigureRates.Row) -> [String] {
        [
            row.name, row.view ?? "", rate(row.requests), rate(row.errors),
            row.median?.text ?? "", row.tail?.text ?? "", String(row.total),
        ]
    }

    private static func section(
        _ title: String, _ header: [String], _ rows: [[String]], _ shown: Int
    ) -> [String] {
        guard !rows.isEmpty else { return [] }
        let hidden = rows.count - shown
        let text = StatusText.aligned([header] + rows.prefix(shown), indent: "  ")
        let note = hidden > 0 ? "\(title), \(hidden) more" : title
        return ["", note] + text.split(separator: "\n").map { String($0) }
    }

    /// Of tenths: `0.4`, `12.0`, `1234`.
    private static func rate(_ tenths: Int64) -> String {
        tenths < 1000 ? "\(tenths / 10).\(tenths % 10)" : String(tenths / 10)
    }
}
