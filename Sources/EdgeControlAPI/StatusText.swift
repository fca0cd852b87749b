/// A status reply for a person: aligned, no colours, one line per thing, nothing wider than it
/// has to be. Text from the daemon is shown with control characters escaped.
package struct StatusText {
    let reply: StatusReply
    private var text = ""

    package init(_ reply: StatusReply) { self.reply = reply }

    /// - Parameter logLines: how many of the last log lines.
    package mutating func render(logLines: Int = 5) -> String {
        text = ""
        summary()
        failover()
        trouble()
        listeners()
        pair()
        upstreams()
        names()
        resolvers()
        certificates()
        reasons()
        workers()
        log(logLines)
        return text
    }

    // MARK: - Sections

    private mutating func summary() {
        let state = Self.words(reply.state.rawValue)
        let why = reply.why.isEmpty ? "" : " (\(reply.why))"
        var rows = [
            ["edged", reply.version],
            ["state", "\(state) for \(Self.span(reply.now - reply.since))\(why)"],
            ["pid", "\(reply.pid), up \(Self.span(reply.now - reply.started))"],
            ["config", "\(reply.configPath) \(reply.configFingerprint), epoch \(reply.epoch)"],
        ]
        if !reply.clock.isEmpty, reply.clock != "synchronised" {
            rows.append(["clock", reply.clock])
        }
        if let since = reply.drainedSince {
            rows.append(["drained", "clients are told to go for \(Self.span(reply.now - since))"])
        }
        if let since = reply.overloadedSince {
            rows.append(
                ["overloaded", "newcomers refused for \(Self.span(reply.now - since))"])
        }
        if let until = reply.confirmUntil {
            let left = Self.span(until - reply.now)
            rows.append(["unconfirmed", "undone in \(left) without edgectl confirm"])
        }
        let shown = ["connections_open", "requests", "requests_active"].compactMap { name in
            reply.counters.first { $0.name == name }
        }
        if !shown.isEmpty {
            let list = shown.map { "\(Self.words($0.name)) \($0.value)" }
            rows.append(["traffic", list.joined(separator: ", ")])
        }
        table(rows)
    }

    private mutating func pair() {
        guard let pair = reply.pair else { return }
        text += "\npair\n"
        table(Self.pairRows(pair, now: reply.now), indent: "  ")
    }

    private mutating func failover() {
        guard let vip = reply.vip else { return }
        section("addresses", ["name", "state", "since", "addresses", "why"], vip.summary)
        section(
            "nodes", ["name", "heard", "fitness"],
            [[vip.node, "this one", vip.fitness]]
                + vip.peers.map { peer in
                    [
                        peer.name,
                        peer.isLive ? "now" : "\(Self.span(vip.now - peer.heard)) ago",
                        peer.fitness,
                    ]
                })
    }

    private mutating func listeners() {
        section(
            "listeners", ["name", "address", "protocol", "connections"],
            reply.listeners.map { [$0.name, $0.address, $0.protocol, String($0.connections)] })
    }

    private mutating func names() {
        section(
            "names", ["name", "state", "age", "resolver", "addresses", "last error"],
            reply.names.map { name in
                [
                    name.name, name.state, name.age.map(Self.span) ?? "", name.resolver,
                    name.addresses.joined(separator: " "), name.lastError ?? "",
                ]
            })
    }

    private mutating func resolvers() {
        section(
            "resolvers", ["group", "server", "answered", "failed", "last error"],
            reply.resolvers.map {
                [
                    $0.group, $0.server, String($0.answered), String($0.failed),
                    $0.lastError ?? "",
                ]
            })
    }

    private mutating func certificates() {
        let hidden = reply.certificateCount - Int64(reply.certificates.count)
        var rows = reply.certificates.map { certificate in
            let left = certificate.notAfter - reply.now
            return [
                certificate.names.joined(separator: " "),
                certificate.isUnusable ? "unusable" : left > 0 ? Self.span(left) : "expired",
            ]
        }
        if hidden > 0 { rows.append(["and \(hidden) more, which end later", ""]) }
        section("certificates", ["names", "ends in"], rows)
    }

    private mutating func reasons() {
        section(
            "failures", ["reason", "count"],
            reply.reasons.map { [$0.name, String($0.value)] })
    }

    private mutating func workers() {
        section(
            "workers", ["worker", "epoch", "connections", "requests", "last seen"],
            reply.workers.map {
                [
                    String($0.index), String($0.epoch), String($0.connections),
                    String($0.requests), $0.busy ? "busy \($0.idleMilliseconds) ms" : "idle",
                ]
            })
    }

    private mutating func log(_ count: Int) {
        let lines = reply.log.suffix(count)
        guard !lines.isEmpty else { return }
        text += "\nlast log lines\n"
        for line in lines { text += "  \(Self.printable(line))\n" }
    }

    // MARK: - Layout

    /// What has been written so far.
    package var rendered: String { text }

    mutating func section(
        _ title: String, _ header: [String], _ rows: [[String]]
    ) {
        guard !rows.isEmpty else { return }
        text += "\n\(title)\n"
        table([header] + rows, indent: "  ")
    }

    private mutating func table(_ rows: [[String]], indent: String = "") {
        text += Self.aligned(rows, indent: indent)
    }

    /// Columns two spaces apart, nothing behind the last.
    static func aligned(_ rows: [[String]], indent: String = "") -> String {
        let rows = rows.map { $0.map(Self.printable) }
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        var text = ""
        for row in rows {
            var line = indent
            for (column, cell) in row.enumerated() {
                line += cell
                line += String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            while line.last == " " { line.removeLast() }
            text += line + "\n"
        }
        return text
    }

    /// `3 d 4 h`, `12 min`, `8 s`: the two largest units at most.
    package static func span(_ seconds: Int64) -> String {
        let units: [(Int64, String)] = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")]
        var rest = max(seconds, 0)
        var parts: [String] = []
        for (length, unit) in units {
            if rest >= length {
                parts.append("\(rest / length) \(unit)")
                rest %= length
            } else if !parts.isEmpty {
                break
            }
            if parts.count == 2 { break }
        }
        return parts.isEmpty ? "0 s" : parts.joined(separator: " ")
    }

    static func words(_ label: String) -> String {
        String(label.map { $0 == "_" ? " " : $0 })
    }

    /// The daemon's text goes to a terminal: control characters would be obeyed there.
    static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
