extension Schema {
    /// Policies of `rate_limits:`, and who names them.
    static let rateLimitKeys: [Key] =
        [
            Key(
                "rate_limits", .named,
                effect: "What clients may use, as policies under names that views, sites and paths "
                    + "refer to; at most 64. A policy limits at least one thing.",
                absence: "clients are limited by nothing but `limits`",
                pitfalls: "A policy that nobody names is refused.",
                seeAlso: ["(rules).rate_limits", "limits.tracked_clients"]),
            rate(
                "requests", "Requests, those on HTTP/2 streams included.",
                "Other requests get 429 with Retry-After and what is left; gRPC gets "
                    + "RESOURCE_EXHAUSTED."),
            rate(
                "new_connections", "Connections that are accepted.", "Others are reset.",
                seeAlso: ["rate_limits.*.connections"]),
            rate("handshakes", "TLS handshakes of either kind.", "Others are not answered."),
            rate(
                "full_handshakes", "Handshakes that resume no session: those that cost.",
                "Others are not answered."),
            rate(
                "resumed_handshakes", "Handshakes that resume a session.",
                "Others are not answered."),
            rate(
                "ceiling", "Requests of all clients together.",
                "While more than half of the burst is used, each client gets his part of the rate "
                    + "and no more; so a flood takes nothing from those who ask for little."),
            Key(
                "rate_limits.*.upload", .text(.byteRate),
                effect: "Bytes from clients: `N per DURATION [burst M]`, with sizes. Who sends "
                    + "more is read more slowly.",
                absence: "as fast as it goes"),
            Key(
                "rate_limits.*.download", .text(.byteRate),
                effect: "Bytes to clients, as `upload`. Answers are sent more slowly.",
                absence: "as fast as it goes"),
            Key(
                "rate_limits.*.connections", .integer(1...1_000_000),
                effect: "Connections at a time.", absence: "any number",
                pitfalls: "Counted per proxy: during an upgrade, those of the old one are not."),
            Key(
                "rate_limits.*.concurrent_requests", .integer(1...1_000_000),
                effect: "Requests under way at a time, on all connections.",
                absence: "any number", seeAlso: ["http2.streams"]),
        ] + errorKeys + whoseKeys + listKeys + [
            Key(
                "(rules).rate_limits", .texts(.name, orSingle: true),
                effect: "The policies that apply here. Those of the view, the site and the path "
                    + "all do; one that is named twice counts once. A request is charged to all "
                    + "of them or to none.",
                absence: "those of the site and the view",
                pitfalls: "Requests that no site is for are not counted, nor are connections that "
                    + "are passed on.",
                seeAlso: ["rate_limits"])
        ]

    /// What is read and checked, and not done yet.
    static let plannedRateLimitKeys: Set<String> = Set(
        [
            "new_connections", "handshakes", "full_handshakes", "resumed_handshakes", "upload",
            "download", "connections", "concurrent_requests", "errors", "costs", "allow_files",
            "deny_files",
        ].map { "rate_limits.*.\($0)" })

    private static func rate(
        _ name: String, _ what: String, _ refusal: String, seeAlso: [String] = []
    ) -> Key {
        Key(
            "rate_limits.*.\(name)", .text(.rate),
            effect: "\(what) `120 per 10s`: so many at once, and 12 per second again; with `burst "
                + "M`, M at once. In any span t at most burst + rate × t pass. \(refusal)",
            absence: "not limited", seeAlso: seeAlso)
    }

    private static let errorKeys: [Key] = [
        Key(
            "rate_limits.*.errors", .mapping,
            effect: "Answers that clients bring about themselves; who has too many is banned.",
            absence: "any number"),
        Key(
            "rate_limits.*.errors.limit", .text(.rate), required: true,
            effect: "How many there may be, as `requests`."),
        Key(
            "rate_limits.*.errors.statuses", .statuses(400...499),
            effect: "The statuses that count.", absence: "401 and 404"),
        Key(
            "rate_limits.*.errors.ban", .duration(.seconds(1)...(.seconds(30 * 86_400))),
            default: "10m",
            effect: "How long his connections are refused where the policy applies."),
        Key(
            "rate_limits.*.costs", .mappings,
            effect: "What requests count for `requests` and `ceiling`; the first that fits. At "
                + "most 16.",
            absence: "1 each"),
        Key(
            "rate_limits.*.costs[].methods", .texts(.method, orSingle: true),
            effect: "The methods it is for.", absence: "all"),
        Key(
            "rate_limits.*.costs[].path", .text(.prefix),
            effect: "The path and all below it, as a site's.", absence: "all",
            pitfalls: "Compared with the path as the client wrote it; one that may be read in two "
                + "ways costs as much as the dearest."),
        Key(
            "rate_limits.*.costs[].cost", .integer(0...10_000), required: true,
            effect: "How much it counts; 0: not at all."),
    ]

    private static let whoseKeys: [Key] = [
        Key(
            "rate_limits.*.key", .text(.limitKey),
            effect: "Who is counted: the true client (`client`), the value of a field or cookie, "
                + "or all together (`everybody`). `peer` is whoever connects, where that is meant "
                + "to be a forwarder. Without the field or cookie the client is counted.",
            absence: "`client`",
            pitfalls: "`header` and `cookie` are not supported yet and refused. Clients behind "
                + "`forwarding.trusted` are one client each forwarder: `client` is refused where "
                + "they may come and the policy does not `allow` them. A view whose connections all come from a forwarder or a tunnel, without "
                + "PROXY headers, has no true clients: `client` is refused there. Whoever can "
                + "invent values has a limit for each: name a second policy for the client.",
            seeAlso: ["views.*.proxy_protocol"]),
        Key(
            "rate_limits.*.per", .choice(["everywhere", "view", "site", "path"]),
            default: "everywhere",
            effect: "Whether use is counted together wherever the policy is named, or apart."),
        Key(
            "rate_limits.*.ipv4_prefix", .integer(8...32), default: "32",
            effect: "Leading bits of an IPv4 address that are one client."),
        Key(
            "rate_limits.*.ipv6_prefix", .integer(16...64), default: "64",
            effect: "Leading bits of an IPv6 address that are one client. For wider networks "
                + "besides, name another policy with 56 or 48 and more.",
            seeAlso: ["rate_limits.*.ipv6_hosts"]),
        Key(
            "rate_limits.*.ipv6_hosts", .choice(["no", "yes"]), default: "no",
            effect: "Whether each IPv6 address is a client of its own.",
            pitfalls: "Who has a /64 has 2^64 of them."),
        Key(
            "rate_limits.*.count_refused", .choice(["no", "yes"]), default: "no",
            effect: "Whether refused requests count, too: who goes on above the rate is served "
                + "again only after he has been quiet for the span."),
        Key(
            "rate_limits.*.shadow", .choice(["no", "yes"]), default: "no",
            effect: "Whether nothing is refused: what would have been is counted "
                + "(`edged_requests_over_shadow_limit_total`)."),
        Key(
            "rate_limits.*.status", .choice(["429", "503"]), default: "429",
            effect: "What refused requests are answered with; the page is that of `error_pages`.",
            seeAlso: ["error_pages.directory"]),
    ]

    private static let listKeys: [Key] = [
        Key(
            "rate_limits.*.allow", .texts(.block, orSingle: true),
            effect: "True clients that the policy lets pass; at most 1024 blocks.",
            absence: "nobody", seeAlso: ["rate_limits.*.allow_files"]),
        Key(
            "rate_limits.*.deny", .texts(.block, orSingle: true),
            effect: "True clients whose requests get 403 where the policy applies; at most 1024 "
                + "blocks.",
            absence: "nobody", pitfalls: "`allow` counts more.",
            seeAlso: ["rate_limits.*.deny_files"]),
        Key(
            "rate_limits.*.allow_files", .texts(.path, orSingle: true),
            effect: "Files with more blocks to allow, one per line; `#` and `;` begin remarks. "
                + "Relative to the main file; at most 8 of 262,144 blocks.",
            absence: "none"),
        Key(
            "rate_limits.*.deny_files", .texts(.path, orSingle: true),
            effect: "The same for blocks to deny.", absence: "none"),
    ]
}
