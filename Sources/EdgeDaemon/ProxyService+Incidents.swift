internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import EdgeUpstream
internal import Glibc

/// What is noted as an incident, and when it is looked for. Verdicts about members are looked at
/// when they change, DNS servers and certificates at every beat of the control thread.
extension ProxyService {
    func incidents() -> IncidentsReply {
        IncidentsReply(
            now: Int64(time(nil)), since: incidentsSince, dropped: operation.incidents.dropped,
            incidents: operation.incidents.rows)
    }

    func note(_ kind: Incident.Kind, _ text: String) {
        operation.incidents.note(kind, "", text, at: Int64(time(nil)))
    }

    /// At every beat.
    func observeNode() {
        let now = Int64(time(nil))
        operation.incidents.totals = totals
        let degraded = (resolver?.serverReports ?? []).filter { !$0.degraded.isEmpty }
        operation.incidents.observe(
            .resolverDegraded, scope: "",
            degraded.map { server in
                IncidentBook.Condition(
                    subject: server.address.map { "\($0)" } ?? "resolv.conf",
                    text: server.degraded.map { degraded in
                        String(degraded.reason.rawValue.map { $0 == "_" ? " " : $0 })
                    }.joined(separator: ", "))
            }, at: now)
        operation.incidents.observe(
            .certificateQuarantined, scope: "",
            certificateKeeper.quarantined.map { .init(subject: $0.file, text: $0.reason) }, at: now)
        operation.incidents.observe(
            .nodeDrained, scope: "",
            operation.drainedSince == nil
                ? [] : [.init(subject: "", text: "clients are told to go")], at: now)
        observePair(now)
        tellFitness()
        keepIncidents()
    }

    /// What clients have seen since the daemon began.
    private var totals: IncidentBook.Totals? {
        guard let board else { return nil }
        func total(_ counters: [Counter]) -> Int64 {
            board.allBlocks.reduce(0) { sum, block in
                counters.reduce(sum) { $0 &+ Int64(truncatingIfNeeded: block.value($1)) }
            }
        }
        return .init(
            requests: total([.responses2xx, .responses3xx, .responses4xx, .responses5xx]),
            failures: total([.responses5xx]))
    }

    private func observePair(_ now: Int64) {
        let lost = pair?.lostText.map { IncidentBook.Condition(subject: $0.peer, text: $0.why) }
        operation.incidents.observe(.pairLost, scope: "", lost.map { [$0] } ?? [], at: now)
    }

    /// After verdicts about members have changed.
    func observeMembers(of upstreams: some Sequence<String>) {
        let now = Int64(time(nil))
        for upstream in upstreams {
            let rows = health?.report(of: upstream) ?? []
            let down = rows.compactMap { row -> IncidentBook.Condition? in
                guard row.admin == .ready else { return nil }
                switch row.state {
                case .down, .ejected, .unresolved: break
                case .unknown, .up, .standby, .draining, .maintenance, .stale: return nil
                }
                let place = row.address.map { "\($0)" } ?? row.source
                return .init(
                    subject: "\(upstream) \(place)",
                    text: row.failure.map { "\(row.state.word): \($0)" } ?? row.state.word)
            }
            operation.incidents.observe(.memberDown, scope: upstream, down, at: now)
            let isOpen = health?.isFailingOpen(upstream) ?? false
            let none = rows.allSatisfy { $0.rank != .preferred && $0.rank != .fallback }
            operation.incidents.observe(
                .upstreamDown, scope: upstream,
                isOpen || none && !rows.isEmpty
                    ? [
                        .init(
                            subject: upstream,
                            text: isOpen
                                ? "all members are down, the last that worked are used"
                                : "no member is left")
                    ] : [], at: now)
        }
    }

    /// After a start or a reload: other upstreams may be there.
    func observeAllMembers() {
        guard let names = current?.configuration.upstreams.map(\.name) else { return }
        let now = Int64(time(nil))
        for kind in [Incident.Kind.memberDown, .upstreamDown] {
            operation.incidents.keepScopes(Set(names), of: kind, at: now)
        }
        observeMembers(of: names)
    }
}
