/// What is wrong by what a node says of itself. Pure.
package struct StatusDoctor {
    /// Certificates that end within so many seconds are a warning.
    private static let certificateNotice: Int64 = 21 * 86400
    private static let shownMax = 5

    private let reply: StatusReply

    package init(_ reply: StatusReply) { self.reply = reply }

    /// Each is there, also if there is nothing wrong with it.
    package var checks: [DoctorCheck] {
        [state, workers, memory, upstreams, members, resolvers, names, certificates, log]
            + (reply.pair.map { [pair($0)] } ?? [])
    }

    /// Only where there is another node.
    private func pair(_ pair: PairStatus) -> DoctorCheck {
        let findings = pair.findings.map { String($0.dropFirst("pair: ".count)) }
        guard !findings.isEmpty else {
            return DoctorCheck("pair", .fine, "linked with \(pair.peer)")
        }
        let remedy =
            switch pair.state {
            case .unpaired: "edgectl pair init, on both nodes"
            case .lost: "this node serves all the same; look at the other one"
            case .linked: "make both nodes the same: edgectl check --peer"
            }
        return DoctorCheck("pair", .warning, Self.list(findings), remedy: remedy)
    }

    private var state: DoctorCheck {
        if reply.state != .serving {
            return DoctorCheck(
                "state", .problem, "the node does not serve: \(reply.why)",
                remedy: "read the log: journalctl -u edged")
        }
        if reply.drainedSince != nil {
            return DoctorCheck(
                "state", .warning, "the node is drained: clients are told to go",
                remedy: "edgectl node undrain, when it is to take clients")
        }
        if reply.confirmUntil != nil {
            return DoctorCheck(
                "state", .warning, "the newest reload waits to be confirmed",
                remedy: "edgectl confirm, or leave it to be undone")
        }
        return DoctorCheck(
            "state", .fine, "serving for \(StatusText.span(reply.now - reply.since))")
    }

    private var workers: DoctorCheck {
        let late = reply.workers.filter { $0.busy && $0.idleMilliseconds > 1000 }
        let other = reply.workers.filter { $0.epoch != reply.epoch }
        if !late.isEmpty {
            return DoctorCheck(
                "workers", .problem, "without progress for over a second: \(Self.numbers(late))",
                remedy: "look for what keeps the cores busy: top -H")
        }
        if !other.isEmpty {
            return DoctorCheck(
                "workers", .warning, "still on an older configuration: \(Self.numbers(other))",
                remedy: "ask again in a second")
        }
        if let since = reply.overloadedSince {
            return DoctorCheck(
                "workers", .warning,
                "overloaded: newcomers of low priority refused for "
                    + StatusText.span(reply.now - since),
                remedy: "edgectl top shows who asks for much; limit handshakes and connections")
        }
        return DoctorCheck("workers", .fine, "\(reply.workers.count) at work")
    }

    private var memory: DoctorCheck {
        func mebibytes(_ name: String) -> Int64 {
            (reply.counters.first { $0.name == name }?.value ?? 0) >> 20
        }
        let (used, limit) = (mebibytes("memory_bytes"), mebibytes("memory_limit_bytes"))
        guard limit > 0 else { return DoctorCheck("memory", .fine, "\(used) MiB, without a limit") }
        let words = "\(used) of \(limit) MiB"
        guard used < limit / 8 * 7 else {
            return DoctorCheck(
                "memory", used < limit ? .warning : .problem, "\(words): newcomers are refused",
                remedy: "raise limits.memory, or lower limits.connections")
        }
        return DoctorCheck("memory", .fine, words)
    }

    private static func numbers(_ workers: [WorkerStatus]) -> String {
        workers.map { String($0.index) }.joined(separator: ", ")
    }

    private var upstreams: DoctorCheck {
        let lost = reply.upstreams.filter { $0.allDown != nil || $0.available == 0 }
        guard lost.isEmpty else {
            return DoctorCheck(
                "upstreams", .problem, "without a usable member: \(Self.list(lost.map(\.name)))",
                remedy: "edgectl upstream list says why of each member")
        }
        return DoctorCheck("upstreams", .fine, "all \(reply.upstreams.count) can be used")
    }

    private var members: DoctorCheck {
        let quiet: Set<String> = ["up", "standby", "configured", "resolved"]
        var lost: [String] = []
        for upstream in reply.upstreams {
            for member in upstream.members where !quiet.contains(member.state) {
                let place = member.address.isEmpty ? member.source : member.address
                lost.append("\(upstream.name) \(place) \(member.state)")
            }
        }
        let count = reply.upstreams.reduce(0) { $0 + $1.members.count }
        guard lost.isEmpty else {
            return DoctorCheck(
                "members", .warning, Self.list(lost),
                remedy: "edgectl upstream list says why; 'upstream ready' ends what was ordered")
        }
        return DoctorCheck("members", .fine, "all \(count) work")
    }

    private var resolvers: DoctorCheck {
        let degraded = reply.resolvers.filter { !$0.degraded.isEmpty }
        guard degraded.isEmpty else {
            let words = degraded.map { server in
                "\(server.server) \(server.degraded.map(\.reason).joined(separator: ", "))"
            }
            return DoctorCheck(
                "resolvers", .warning, Self.list(words),
                remedy: "what is known is kept; repair the DNS server, edgectl status shows names")
        }
        return DoctorCheck("resolvers", .fine, "\(reply.resolvers.count) answer")
    }

    private var names: DoctorCheck {
        let lost = reply.names.filter { $0.state == "unresolved" }
        guard lost.isEmpty else {
            return DoctorCheck(
                "names", .warning, "without an address: \(Self.list(lost.map(\.name)))",
                remedy: "edged --check --dns -c \(reply.configPath)")
        }
        return DoctorCheck("names", .fine, "\(reply.names.count) known")
    }

    private var certificates: DoctorCheck {
        func names(_ list: [CertificateStatus]) -> String {
            Self.list(list.map { $0.names.first ?? "(no name)" })
        }
        let renew = "renew them and put the files into the certificate folder"
        let bad = reply.certificates.filter { $0.isUnusable || $0.notAfter <= reply.now }
        if !bad.isEmpty {
            return DoctorCheck(
                "certificates", .problem, "expired or unusable: \(names(bad))", remedy: renew)
        }
        if reply.quarantinedCount > 0 {
            return DoctorCheck(
                "certificates", .problem,
                "\(reply.quarantinedCount) files in quarantine, what they were before is served",
                remedy: "edgectl cert list says why")
        }
        let soon = reply.certificates.filter {
            $0.notAfter - reply.now < Self.certificateNotice
        }
        if !soon.isEmpty {
            return DoctorCheck(
                "certificates", .warning, "end within three weeks: \(names(soon))", remedy: renew)
        }
        return DoctorCheck("certificates", .fine, "\(reply.certificateCount) are valid")
    }

    private var log: DoctorCheck {
        let dropped = reply.counters.first { $0.name == "access_log_dropped" }?.value ?? 0
        guard dropped == 0 else {
            return DoctorCheck(
                "access log", .warning, "\(dropped) lines were dropped",
                remedy: "its disk or reader is too slow; look at access_log.buffer, too")
        }
        return DoctorCheck("access log", .fine, "no line was dropped")
    }

    private static func list(_ words: [String]) -> String {
        let rest = words.count - shownMax
        let shown = words.prefix(shownMax).joined(separator: ", ")
        return rest > 0 ? "\(shown) and \(rest) more" : shown
    }
}
