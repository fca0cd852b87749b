/// What has been counted of one thing, since the counters began.
package struct FigureRow: WireValue {
    /// A site by its first host, an upstream or a view by its name; empty: the whole node.
    package var name: String
    /// The view of a site's row, where there is one for each.
    package var view: String?
    package var requests: Int64
    /// By what they are: `2xx` to `5xx`, and `failed` for those that an upstream has not answered.
    package var results: [NamedCount]
    /// Requests under way; nil: not known.
    package var active: Int64?
    /// Requests that took no longer than the bound of the same place, and longer than the one
    /// before; one more entry than there are bounds, for the rest. Empty: not measured.
    package var durations: [Int64]

    package init(
        name: String, view: String? = nil, requests: Int64, results: [NamedCount] = [],
        active: Int64? = nil, durations: [Int64] = []
    ) {
        self.name = name
        self.view = view
        self.requests = requests
        self.results = results
        self.active = active
        self.durations = durations
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        name = try reader.string("name")
        view = try reader.optionalString("view")
        requests = try reader.integer("requests")
        results = try reader.counts("results")
        active = try reader.optionalInteger("active")
        durations = try reader.integers("durations")
    }

    package var json: JSONValue {
        .object([
            .init("name", .string(name)),
            .init("view", .optional(view)),
            .init("requests", .integer(requests)),
            .init("results", .counts(results)),
            .init("active", .optional(active)),
            .init("durations", .integers(durations)),
        ])
    }
}

/// The answer to `GET /figures`: what `edgectl top` makes rates of. Everything only grows until the
/// proxy is another (`started`).
package struct FiguresReply: WireValue {
    /// Unix milliseconds.
    package var nowMilliseconds: Int64
    /// Unix seconds, of the proxy.
    package var started: Int64
    /// Client connections that are open.
    package var connections: Int64
    /// The upper bounds of `durations`, in microseconds.
    package var bounds: [Int64]
    package var node: FigureRow
    package var sites: [FigureRow]
    package var upstreams: [FigureRow]
    package var workers: [WorkerStatus]

    package init(
        nowMilliseconds: Int64, started: Int64, connections: Int64, bounds: [Int64],
        node: FigureRow, sites: [FigureRow] = [], upstreams: [FigureRow] = [],
        workers: [WorkerStatus] = []
    ) {
        self.nowMilliseconds = nowMilliseconds
        self.started = started
        self.connections = connections
        self.bounds = bounds
        self.node = node
        self.sites = sites
        self.upstreams = upstreams
        self.workers = workers
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        nowMilliseconds = try reader.integer("now_milliseconds")
        started = try reader.integer("started")
        connections = try reader.integer("connections")
        bounds = try reader.integers("bounds_microseconds")
        guard let row = json["node"] else { throw .missing("node") }
        node = try FigureRow(json: row)
        sites = try reader.list("sites")
        upstreams = try reader.list("upstreams")
        workers = try reader.list("workers")
    }

    package var json: JSONValue {
        .object([
            .init("now_milliseconds", .integer(nowMilliseconds)),
            .init("started", .integer(started)),
            .init("connections", .integer(connections)),
            .init("bounds_microseconds", .integers(bounds)),
            .init("node", node.json),
            .init("sites", .list(sites)),
            .init("upstreams", .list(upstreams)),
            .init("workers", .list(workers)),
        ])
    }
}
