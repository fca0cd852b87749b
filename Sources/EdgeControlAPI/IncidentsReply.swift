/// Something that was not as it should be, from when to when.
package struct Incident: WireValue {
    package enum Kind: String, Sendable, CaseIterable {
        case proxyRestarted = "proxy_restarted"
        case resolverDegraded = "resolver_degraded"
        case memberDown = "member_down"
        case upstreamDown = "upstream_down"
        case reloadRefused = "reload_refused"
        case certificateQuarantined = "certificate_quarantined"
        case nodeDrained = "node_drained"
        case pairLost = "pair_lost"
        /// Addresses went from one node to another, or nobody has them.
        case failover
        /// The daemon was not there.
        case daemonDown = "daemon_down"
    }

    package var kind: Kind
    /// The resolver, the member, the file; empty where there is only one of its kind.
    package var subject: String
    /// What happened, as a sentence without a full stop.
    package var text: String
    /// Unix seconds.
    package var begun: Int64
    /// Nil: it goes on. The same as `begun`: it took no time.
    package var ended: Int64?
    /// Requests that were answered from its beginning to its end, or so far; nil: not known.
    package var requests: Int64?
    /// Those of them that failed: 5xx, whoever answered it.
    package var failures: Int64?

    package init(
        kind: Kind, subject: String, text: String, begun: Int64, ended: Int64? = nil,
        requests: Int64? = nil, failures: Int64? = nil
    ) {
        self.requests = requests
        self.failures = failures
        self.kind = kind
        self.subject = subject
        self.text = text
        self.begun = begun
        self.ended = ended
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        kind = try reader.word("kind")
        subject = try reader.string("subject")
        text = try reader.string("text")
        begun = try reader.integer("begun")
        ended = try reader.optionalInteger("ended")
        requests = try reader.optionalInteger("requests")
        failures = try reader.optionalInteger("failures")
    }

    package var json: JSONValue {
        .object([
            .init("kind", .string(kind.rawValue)),
            .init("subject", .string(subject)),
            .init("text", .string(text)),
            .init("begun", .integer(begun)),
            .init("ended", .optional(ended)),
            .init("requests", .optional(requests)),
            .init("failures", .optional(failures)),
        ])
    }
}

/// The answer to `GET /incidents`.
package struct IncidentsReply: WireValue {
    /// Unix seconds.
    package var now: Int64
    /// Since when incidents have been noted.
    package var since: Int64
    /// Older ones that were dropped for want of room.
    package var dropped: Int64
    /// In the order in which they began.
    package var incidents: [Incident]

    package init(now: Int64, since: Int64, dropped: Int64 = 0, incidents: [Incident] = []) {
        self.now = now
        self.since = since
        self.dropped = dropped
        self.incidents = incidents
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        since = try reader.integer("since")
        dropped = try reader.integer("dropped")
        incidents = try reader.list("incidents")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)),
            .init("since", .integer(since)),
            .init("dropped", .integer(dropped)),
            .init("incidents", .list(incidents)),
        ])
    }
}
