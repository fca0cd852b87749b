/// The link to the other node's proxy, as `GET /status` has it. Times are Unix seconds.
package struct PairStatus: WireValue {
    package enum State: String, Sendable, CaseIterable {
        /// The nodes are linked.
        case linked
        /// They should be; `why` says why not.
        case lost
        /// The files of `pair.directory` do not make a pair; `why` says which.
        case unpaired
    }

    package var state: State
    /// When `state` began.
    package var since: Int64
    /// Empty if there is nothing to say.
    package var why: String
    /// What the other node is called, as it says itself if it has ever said so.
    package var peer: String
    package var address: String
    /// SHA-256 of this node's certificate and of the other one's; empty: there is none.
    package var ownCertificate: String
    package var peerCertificate: String
    /// The other node's program and the link's version; empty and 0 while there is no link.
    package var software: String
    package var version: Int64
    /// The other node's clock minus this one's; nil: not known.
    package var clockMilliseconds: Int64?
    package var roundTripMicroseconds: Int64?
    /// Whether this node's ticket keys seal on both; else the other one's do.
    package var leadsTickets: Bool
    /// What is not the same on both nodes, a sentence each.
    package var drift: [String]
    package var counters: [NamedCount]

    package init(
        state: State, since: Int64, why: String = "", peer: String, address: String,
        ownCertificate: String = "", peerCertificate: String = "", software: String = "",
        version: Int64 = 0, clockMilliseconds: Int64? = nil, roundTripMicroseconds: Int64? = nil,
        leadsTickets: Bool = true, drift: [String] = [], counters: [NamedCount] = []
    ) {
        self.state = state
        self.since = since
        self.why = why
        self.peer = peer
        self.address = address
        self.ownCertificate = ownCertificate
        self.peerCertificate = peerCertificate
        self.software = software
        self.version = version
        self.clockMilliseconds = clockMilliseconds
        self.roundTripMicroseconds = roundTripMicroseconds
        self.leadsTickets = leadsTickets
        self.drift = drift
        self.counters = counters
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        state = try reader.word("state")
        since = try reader.integer("since")
        why = try reader.string("why")
        peer = try reader.string("peer")
        address = try reader.string("address")
        ownCertificate = try reader.string("own_certificate")
        peerCertificate = try reader.string("peer_certificate")
        software = try reader.string("software")
        version = try reader.integer("version")
        clockMilliseconds = try reader.optionalInteger("clock_milliseconds")
        roundTripMicroseconds = try reader.optionalInteger("round_trip_microseconds")
        leadsTickets = try reader.bool("leads_tickets")
        drift = try reader.strings("drift")
        counters = try reader.counts("counters")
    }

    package var json: JSONValue {
        .object([
            .init("state", .string(state.rawValue)),
            .init("since", .integer(since)),
            .init("why", .string(why)),
            .init("peer", .string(peer)),
            .init("address", .string(address)),
            .init("own_certificate", .string(ownCertificate)),
            .init("peer_certificate", .string(peerCertificate)),
            .init("software", .string(software)),
            .init("version", .integer(version)),
            .init("clock_milliseconds", .optional(clockMilliseconds)),
            .init("round_trip_microseconds", .optional(roundTripMicroseconds)),
            .init("leads_tickets", .bool(leadsTickets)),
            .init("drift", .strings(drift)),
            .init("counters", .counts(counters)),
        ])
    }

    /// What is wrong with the pair, a line each; empty: nothing.
    package var findings: [String] {
        let link =
            switch state {
            case .linked: [String]()
            case .lost: ["pair: no link to \(peer)\(why.isEmpty ? "" : ": \(why)")"]
            case .unpaired: ["pair: not paired: \(why)"]
            }
        return link + drift.map { "pair: \($0)" }
    }
}

extension PairStatus {
    /// For a person.
    package func text(now: Int64) -> String {
        var rows = StatusText.pairRows(self, now: now)
        if !ownCertificate.isEmpty {
            rows.append(["this node's certificate", ownCertificate])
            rows.append(["the other node's", peerCertificate])
        }
        return StatusText.aligned(rows)
    }
}

extension StatusText {
    /// Two columns: what, and how it is.
    static func pairRows(_ pair: PairStatus, now: Int64) -> [[String]] {
        let span = span(now - pair.since)
        let state =
            switch pair.state {
            case .linked: "linked for \(span)"
            case .lost: "no link for \(span)" + (pair.why.isEmpty ? "" : " (\(pair.why))")
            case .unpaired: "not paired (\(pair.why))"
            }
        var rows = [["\(pair.peer) at \(pair.address)", state]]
        if pair.state == .linked {
            rows.append(["version", "\(pair.software), link \(pair.version)"])
            if let clock = pair.clockMilliseconds {
                let trip = pair.roundTripMicroseconds.map { ", there and back in \($0) us" } ?? ""
                rows.append(["clock", "\(clock > 0 ? "+" : "")\(clock) ms\(trip)"])
            }
            rows.append([
                "ticket keys",
                pair.leadsTickets ? "this node's seal on both" : "the other node's seal on both",
            ])
        }
        rows += pair.drift.map { ["differs", $0] }
        return rows
    }
}
