internal import EdgeControlAPI
internal import EdgeCore
internal import EdgePair

extension PairSide {
    var status: PairStatus {
        let now = WallClock.seconds
        var reply = PairStatus(
            state: .unpaired, since: unpairedSince, why: filesProblem ?? "", peer: peerName,
            address: configuration.map { "\($0.peer)" } ?? "")
        reply.counters = counters
        guard let link else { return reply }
        let machine = link.machine
        let span = Int64(Instant.now().nanoseconds(since: machine.since) / 1_000_000_000)
        reply.state = link.isOpen ? .linked : .lost
        reply.since = now - span
        // Files that cannot be used are worth a word also while the former ones go on.
        reply.why = filesProblem ?? link.problem ?? ""
        reply.ownCertificate = "\(link.identity.own)"
        reply.peerCertificate = "\(link.identity.peer)"
        reply.leadsTickets = link.identity.own.number < link.identity.peer.number
        guard link.isOpen else { return reply }
        reply.software = machine.peer?.software ?? ""
        reply.version = Int64(machine.version ?? 0)
        reply.clockMilliseconds = machine.clockDifference.map { $0 / 1_000_000 }
        reply.roundTripMicroseconds = machine.roundTrip.map { Int64($0.nanoseconds / 1_000) }
        reply.drift = drift.map(\.text)
        return reply
    }

    /// Who is not linked, and why; nil: all is well, or was a moment ago.
    var lostText: (peer: String, why: String)? {
        guard let link else {
            return WallClock.seconds - unpairedSince > Self.lostAfter
                ? (peerName, "not paired: \(filesProblem ?? "")") : nil
        }
        let span = Instant.now().nanoseconds(since: link.machine.since) / 1_000_000_000
        guard !link.isOpen, span > UInt64(Self.lostAfter) else { return nil }
        return (peerName, "no link")
    }

    /// Seconds; an upgrade takes less.
    private static let lostAfter: Int64 = 10

    private var limitCounters: [NamedCount] {
        let counts = limits?.counts ?? LimitSharing.Counts()
        return [
            NamedCount("limit_costs_told", Int64(clamping: counts.told)),
            NamedCount("limit_costs_taken", Int64(clamping: counts.taken)),
            NamedCount("limit_costs_lost", Int64(clamping: counts.lost)),
            NamedCount("limit_costs_unknown", Int64(clamping: counts.unknown)),
            NamedCount("limit_debts_taken", Int64(clamping: counts.debts)),
            NamedCount("limit_batches_repeated", Int64(clamping: counts.repeated)),
            NamedCount("limit_batches_missed", Int64(clamping: counts.missed)),
            NamedCount("bans_taken", Int64(limits?.bansTaken ?? 0)),
        ]
    }

    /// Each kind of difference, for metrics.
    var driftKinds: [(kind: String, isThere: Bool)] {
        let found = Set(drift.map(\.kind))
        return PairDrift.Kind.allCases.map { ($0.rawValue, found.contains($0)) }
    }

    private var counters: [NamedCount] {
        var counts = before
        if let link { counts.add(link.machine.counts) }
        return [
            NamedCount("links", Int64(counts.opened)),
            NamedCount("losses", Int64(counts.lost)),
            NamedCount("messages_received", Int64(counts.received)),
            NamedCount("messages_sent", Int64(counts.sent)),
            NamedCount("messages_skipped", Int64(counts.skipped)),
            NamedCount("violations", Int64(counts.violations)),
            NamedCount(
                "handshakes_failed", Int64(failedBefore + (link?.failedHandshakes ?? 0))),
            NamedCount("strangers", Int64(strangersBefore + (link?.strangers ?? 0))),
            NamedCount("names_taken", Int64(taken.names)),
            NamedCount("hints", Int64(taken.hints)),
            NamedCount("ticket_keys_taken", Int64(taken.keys)),
        ] + limitCounters
    }
}
