package import EdgeControlAPI

extension MetricsText {
    /// - Parameter drifts: each kind of difference between the nodes, and whether there is one.
    package mutating func pair(_ pair: PairStatus, drifts: [(kind: String, isThere: Bool)]) {
        single(
            "edged_pair_up", .gauge, "Whether the nodes' proxies are linked.",
            pair.state == .linked ? 1 : 0)
        single(
            "edged_pair_since_seconds", .gauge, "When that began, in Unix seconds.",
            UInt64(max(pair.since, 0)))
        family(
            "edged_pair_drift", .gauge, "Whether the nodes differ where they should not."
        ) { sample in
            for (kind, isThere) in drifts { sample([("kind", kind)], isThere ? 1 : 0) }
        }
        single(
            "edged_pair_clock_difference_milliseconds", .gauge,
            "How far apart the nodes' clocks are, in either direction.",
            UInt64((pair.clockMilliseconds ?? 0).magnitude))
        for counter in pair.counters {
            single(
                "edged_pair_\(counter.name)_total", .counter,
                Self.pairHelp[counter.name] ?? "Of the pair's link.",
                UInt64(max(counter.value, 0)))
        }
    }

    /// By the name of the counter in `PairStatus`.
    package static let pairHelp = [
        "links": "How often the nodes were linked.",
        "losses": "How often the link was lost.",
        "messages_received": "Messages of the other node.",
        "messages_sent": "Messages to the other node.",
        "messages_skipped": "Messages of a type that is not known here.",
        "violations": "Links that ended because what came was not understood.",
        "handshakes_failed": "Connections that did not get to the end of the handshake.",
        "strangers": "Connections that were closed because they were not the other node's.",
        "names_taken": "Names whose addresses were taken from the other node.",
        "hints": "Members that were checked because the other node finds them down.",
        "ticket_keys_taken": "Ticket keys that were taken from the other node.",
    ]
}
