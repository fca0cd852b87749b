/// What happened between two answers to `GET /figures`, per second. Pure.
package struct FigureRates: Sendable, Equatable {
    package struct Row: Sendable, Equatable {
        package var name: String
        package var view: String?
        /// Tenths of requests per second; of those with an error of ours or the upstream's.
        package var requests: Int64
        package var errors: Int64
        /// Microseconds; nil: nothing was measured. `beyond`: more than the last bound.
        package var median: Span?
        package var tail: Span?
        package var active: Int64?
        /// Since the counters began.
        package var total: Int64
    }

    /// How long, or longer than what.
    package enum Span: Sendable, Equatable {
        case microseconds(Int64)
        case beyond(Int64)
    }

    package let node: Row
    package let sites: [Row]
    package let upstreams: [Row]
    package let connections: Int64
    /// By worker: tenths of requests per second, and connections.
    package let workers: [(index: Int64, requests: Int64, connections: Int64)]

    package static func == (a: Self, b: Self) -> Bool {
        a.node == b.node && a.sites == b.sites && a.upstreams == b.upstreams
            && a.connections == b.connections
            && a.workers.elementsEqual(b.workers) { $0 == $1 }
    }

    /// - Parameter before: of another proxy, or nil: everything counts from its start.
    package init(from before: FiguresReply?, to after: FiguresReply) {
        let known = before.flatMap { $0.started == after.started ? $0 : nil }
        let begun = known?.nowMilliseconds ?? after.started * 1000
        let span = max(after.nowMilliseconds - begun, 1)
        func row(_ new: FigureRow, _ old: FigureRow?) -> Row {
            Row(new, old, milliseconds: span, bounds: after.bounds)
        }
        func rows(_ new: [FigureRow], _ old: [FigureRow]) -> [Row] {
            let byName = Dictionary(old.map { (Key($0), $0) }) { first, _ in first }
            return new.map { row($0, byName[Key($0)]) }.sorted {
                ($1.requests, $1.total, $0.name) < ($0.requests, $0.total, $1.name)
            }
        }
        node = row(after.node, known?.node)
        sites = rows(after.sites, known?.sites ?? [])
        upstreams = rows(after.upstreams, known?.upstreams ?? [])
        connections = after.connections
        let old = Dictionary((known?.workers ?? []).map { ($0.index, $0.requests) }) { a, _ in a }
        workers = after.workers.map { worker in
            let count = max(worker.requests - (old[worker.index] ?? 0), 0)
            return (worker.index, count * 10_000 / span, worker.connections)
        }
    }

    private struct Key: Hashable {
        let name: String
        let view: String?
        init(_ row: FigureRow) {
            name = row.name
            view = row.view
        }
    }
}

extension FigureRates.Row {
    fileprivate init(
        _ new: FigureRow, _ old: FigureRow?, milliseconds: Int64, bounds: [Int64]
    ) {
        // What has failed is mostly answered with 5xx: to add them up would count it twice.
        func errors(_ row: FigureRow?) -> Int64 {
            (row?.results ?? []).filter { $0.name == "5xx" || $0.name == "failed" }
                .map(\.value).max() ?? 0
        }
        func rate(_ count: Int64) -> Int64 { max(count, 0) * 10_000 / milliseconds }
        name = new.name
        view = new.view
        requests = rate(new.requests - (old?.requests ?? 0))
        self.errors = rate(errors(new) - errors(old))
        active = new.active
        total = new.requests
        let before = old?.durations ?? []
        let counts = new.durations.enumerated().map { index, count in
            max(count - (index < before.count ? before[index] : 0), 0)
        }
        median = Self.quantile(50, counts, bounds)
        tail = Self.quantile(99, counts, bounds)
    }

    /// By the share of its bucket's counts that lie below it, as if they lay evenly.
    static func quantile(_ percent: Int64, _ counts: [Int64], _ bounds: [Int64]) -> FigureRates
        .Span?
    {
        let total = counts.reduce(0, +)
        guard total > 0 else { return nil }
        let rank = max((total * percent + 99) / 100, 1)
        var below: Int64 = 0
        for (index, count) in counts.enumerated() {
            guard below + count < rank else {
                guard index < bounds.count else { return bounds.last.map { .beyond($0) } }
                let low = index == 0 ? 0 : bounds[index - 1]
                return .microseconds(low + (bounds[index] - low) * (rank - below) / count)
            }
            below += count
        }
        return nil
    }
}

extension FigureRates.Span {
    /// `950 µs`, `1.2 ms`, `35 ms`, `2.1 s`, `>65 s`.
    package var text: String {
        switch self {
        case .beyond(let bound): ">" + Self.text(bound)
        case .microseconds(let span): Self.text(span)
        }
    }

    private static func text(_ span: Int64) -> String {
        switch span {
        case ..<1000: "\(span) µs"
        case ..<10_000: "\(span / 1000).\(span / 100 % 10) ms"
        case ..<1_000_000: "\(span / 1000) ms"
        case ..<10_000_000: "\(span / 1_000_000).\(span / 100_000 % 10) s"
        default: "\(span / 1_000_000) s"
        }
    }
}
