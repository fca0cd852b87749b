extension LimitsReply {
    /// For a person.
    package var text: String {
        guard !policies.isEmpty else { return "no policy\n" }
        let rows = policies.map { policy in
            [
                policy.name + (policy.isShadow ? " (shadow)" : ""), "\(policy.admitted)",
                "\(policy.refused)", "\(policy.shadow)", "\(policy.bans)", "\(policy.bannedNow)",
                policy.views.map { $0.isEmpty ? "all" : $0 }.joined(separator: ", "),
                policy.limits.joined(separator: "; "),
            ]
        }
        var text = StatusText.aligned(
            [["policy", "admitted", "refused", "shadow", "bans", "banned now", "views", "limits"]]
                + rows)
        if !bans.isEmpty {
            text += "\nbans\n"
            text += StatusText.aligned(
                [["client", "by", "for", "since", "node"]]
                    + bans.map { ban in
                        [
                            ban.client, ban.policy ?? "an administrator",
                            StatusText.span(ban.until - now), UTCTime.text(ban.made), ban.node,
                        ]
                    }, indent: "  ")
        }
        if bansUnlisted > 0 { text += "\(bansUnlisted) more bans were made than are listed\n" }
        if !files.isEmpty {
            text += "\nfiles\n"
            text += StatusText.aligned(
                [["file", "blocks", "read", "problem"]]
                    + files.map { file in
                        [
                            file.path, "\(file.blocks)", file.read.map(UTCTime.text) ?? "never",
                            file.problem ?? "",
                        ]
                    }, indent: "  ")
        }
        return text
    }
}

extension LimitTopReply {
    /// For a person.
    package var text: String {
        guard !rows.isEmpty else {
            return "nobody was refused in the last \(StatusText.span(windowSeconds))\n"
        }
        return StatusText.aligned(
            [["client", "refused", "by", "for", "last"]]
                + rows.map { row in
                    [
                        row.client,
                        row.surplus > 0
                            ? "\(row.refused - row.surplus) to \(row.refused)" : "\(row.refused)",
                        (row.policy ?? "an administrator's ban")
                            + (row.isShadow ? " (shadow)" : ""),
                        StatusText.span(row.last - row.first),
                        "\(StatusText.span(now - row.last)) ago",
                    ]
                })
    }
}

extension LimitClientReply {
    /// For a person.
    package var text: String {
        var text = client
        if let banned = bannedMilliseconds {
            text += ": banned by an administrator for \(Self.span(banned))"
        }
        text += "\n"
        var rows: [[String]] = []
        for policy in policies {
            var words: [String] = []
            if policy.isExempt { words.append("let pass") }
            if policy.isDenied { words.append("kept out") }
            if let banned = policy.bannedMilliseconds {
                words.append("banned for \(Self.span(banned))")
            }
            let standing = words.isEmpty ? "served" : words.joined(separator: ", ")
            if policy.limits.isEmpty { rows.append([policy.policy, standing]) }
            for (index, limit) in policy.limits.enumerated() {
                rows.append([
                    index == 0 ? policy.policy : "", index == 0 ? standing : "",
                    "\(limit.thing) \(limit.rate)", "\(limit.remaining) of \(limit.burst) left",
                    limit.waitMilliseconds > 0
                        ? "next in \(Self.span(limit.waitMilliseconds))" : "",
                ])
            }
        }
        return text + StatusText.aligned(rows, indent: "  ")
    }

    /// Rounded up.
    private static func span(_ milliseconds: Int64) -> String {
        StatusText.span((milliseconds + 999) / 1000)
    }
}

extension LimitOrderReply {
    /// For a person.
    package var text: String {
        switch order {
        case "ban":
            "\(client) is banned until \(until.map(UTCTime.text) ?? "?") UTC\n"
        case "unban":
            changed == 0
                ? "\(client) was not banned\n" : "\(client): \(changed) bans lifted\n"
        default:
            changed == 0
                ? "\(client) had used up nothing\n" : "\(client): \(changed) limits forgiven\n"
        }
    }
}
