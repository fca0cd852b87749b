extension StatusText {
    /// States in which nothing is to be done: besides working, waiting for its turn, and what a
    /// daemon says that keeps no verdicts.
    private static let quietStates: Set<String> = ["up", "standby", "configured", "resolved"]
    /// Upstream certificates that end within this are trouble.
    private static let certificateNotice: Int64 = 14 * 86400
    private static let namesShownMax = 5

    /// What somebody should look at, before everything else.
    mutating func trouble() {
        section(
            "trouble", ["what", "state", "for", "why"],
            reply.upstreams.flatMap(upstreamTrouble) + reply.resolvers.flatMap(resolverTrouble)
                + certificateTrouble)
    }

    private var certificateTrouble: [[String]] {
        guard reply.quarantinedCount > 0 else { return [] }
        let files = reply.quarantinedCount == 1 ? "file" : "files"
        return [
            [
                "certificates", "quarantined", "",
                "\(reply.quarantinedCount) \(files): edgectl cert list",
            ]
        ]
    }

    private func upstreamTrouble(_ upstream: UpstreamStatus) -> [[String]] {
        var rows: [[String]] = []
        if let mode = upstream.allDown {
            let consequence = mode == "open" ? "the last that worked are used" : "answers 503"
            rows.append([upstream.name, "all down", "", consequence])
        }
        for member in upstream.members {
            let place = member.address.isEmpty ? member.source : member.address
            let what = "\(upstream.name) \(place)"
            if !Self.quietStates.contains(member.state) {
                rows.append([what, member.state, span(member), member.reason ?? ""])
            }
            guard let end = member.certificateNotAfter else { continue }
            let left = end - reply.now
            guard left < Self.certificateNotice else { continue }
            let words = left > 0 ? "ends in \(Self.span(left))" : "has expired"
            rows.append([what, "certificate", "", words])
        }
        return rows
    }

    private func resolverTrouble(_ resolver: ResolverStatus) -> [[String]] {
        resolver.degraded.map { degradation in
            let shown = degradation.names.prefix(Self.namesShownMax).joined(separator: " ")
            let rest = degradation.names.count - Self.namesShownMax
            let names = rest > 0 ? "\(shown) and \(rest) more" : shown
            return [
                "resolver \(resolver.server)", "degraded", "",
                names.isEmpty ? degradation.reason : "\(degradation.reason): \(names)",
            ]
        }
    }

    mutating func upstreams() {
        section(
            "upstreams",
            ["name", "tls", "member", "from", "state", "for", "weight", "open", "latency"],
            reply.upstreams.flatMap { upstream in
                let members = upstream.members.map(cells)
                return (members.isEmpty ? [["none"]] : members).enumerated().map {
                    let first = $0.offset == 0
                    return [first ? upstream.name : "", first && upstream.tls ? "tls" : ""]
                        + $0.element
                }
            })
    }

    /// One line per upstream and how it is used, before their members.
    package mutating func renderUpstreams() -> String {
        section(
            "policies", ["name", "usable", "policy"],
            reply.upstreams.map { upstream in
                let usable = upstream.available.map { "\($0) of \(upstream.total ?? $0)" } ?? ""
                return [upstream.name, usable, upstream.policy.joined(separator: ", ")]
            })
        upstreams()
        return String(rendered.drop { $0 == "\n" })
    }

    private func cells(_ member: MemberStatus) -> [String] {
        let weight = member.weight.map(String.init) ?? ""
        let part = member.isBackup ? weight.isEmpty ? "backup" : "\(weight) backup" : weight
        return [
            member.address, member.source, member.state, span(member), part,
            member.connections.map(String.init) ?? "",
            member.latencyMicroseconds.map(Self.milliseconds) ?? "",
        ]
    }

    private func span(_ member: MemberStatus) -> String {
        member.since.map { Self.span(reply.now - $0) } ?? ""
    }

    /// `0.4 ms`, `12.0 ms`.
    private static func milliseconds(_ microseconds: Int64) -> String {
        let tenths = max(microseconds, 0) / 100
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}
