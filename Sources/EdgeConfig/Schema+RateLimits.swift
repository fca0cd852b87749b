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
                "new_connections",
                "Connections: of a view or a tcp listener as they are accepted (behind a PROXY "
                    + "header, as it has named their client), of a site as their ClientHello "
                    + "names it.",
                "Others are reset at once.", seeAlso: ["rate_limits.*.connections"]),
            rate(
                "handshakes",
                "TLS handshakes that clients begin, those of connections that are passed on included.",
                "Other connections are reset; nothing of what they said has been looked at."),
            rate(
                "full_handshakes", "Handshakes that resume no session: those that cost.",
                "Other connections are reset before anything is signed.",
                seeAlso: ["tls.ticket_lifetime"]),
            rate(
                "resumed_handshakes", "Handshakes that resume a session.",
                "Other connections are reset before a key is made."),
            rate(
                "ceiling", "Requests of all clients together.",
                "While more than half of the burst is used, each client gets his part of the rate "
                    + "and no more; so a flood takes nothing from those who ask for little."),
            Key(
                "rate_limits.*.upload", .text(.byteRate),
                effect: "Bytes from clients: `N per DURATION [burst M]`, with sizes. Who sends "
                    + "more is read more slowly; nothing is refused or cut, and no time-out runs "
                    + "while a client is kept waiting. Transfers of one client share the rate, in "
                    + "turns of 50 ms' worth and 16KiB at least.",
                absence: "as fast as it goes",
                pitfalls: "Content counts, and all bytes of WebSockets and of connections that are "
                    + "passed on; heads, framing and answers of our own do not. A new request of "
                    + "a client in debt waits until that is paid. Servers have time-outs of their "
                    + "own for requests that come slowly.",
                seeAlso: ["limits.min_upload_rate"]),
            Key(
                "rate_limits.*.download", .text(.byteRate),
                effect: "Bytes to clients, as `upload`. Answers are read from their servers more "
                    + "slowly.",
                absence: "as fast as it goes", seeAlso: ["limits.min_download_rate"]),
            Key(
                "rate_limits.*.connections", .integer(1...1_000_000),
                effect: "Connections at a time, until they are closed on both sides: HTTP/2's and "
                    + "WebSockets are one each. More are reset at once.",
                absence: "any number",
                pitfalls:
                    "Counted per proxy: during an upgrade, those of the old one are not. Named "
                    + "by a site, those whose ClientHello asks for it. At most 4 policies of one "
                    + "place may have this.",
                seeAlso: ["rate_limits.*.new_connections", "listeners[].rate_limits"]),
            Key(
                "rate_limits.*.concurrent_requests", .integer(1...1_000_000),
                effect: "Requests under way at a time, on all connections; a WebSocket or a stream "
                    + "of messages as long as it lasts. More are answered as by `requests`, with "
                    + "`Retry-After: 1`, and are not charged to it.",
                absence: "any number",
                pitfalls: "At most 4 policies of one place may have this.",
                seeAlso: ["http2.streams"]),
        ] + errorKeys + whoseKeys + listKeys + [
            Key(
                "(rules).rate_limits", .texts(.name, orSingle: true),
                effect: "The policies that apply here. Those of the view, the site and the path "
                    + "all do; one that is named twice counts once. A request is charged to all "
                    + "of them or to none.",
                absence: "those of the site and the view",
                pitfalls:
                    "Requests that no site is for are not counted. Of connections without TLS "
                    + "the site is not known: name policies that limit them in the view.",
                seeAlso: ["rate_limits", "listeners[].rate_limits"])
        ]

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
            effect:
                "Answers that clients bring about themselves, an upstream's or our own; who has "
                + "too many is banned.",
            absence: "any number",
            pitfalls: "Refusals by limits and their lists do not count. With `shadow` nobody is "
                + "banned, and the log tells who would be.",
            seeAlso: ["rate_limits.*.status"]),
        Key(
            "rate_limits.*.errors.limit", .text(.rate), required: true,
            effect: "How many there may be, as `requests`."),
        Key(
            "rate_limits.*.errors.statuses", .statuses(400...499),
            effect: "The statuses that count.", absence: "401 and 404"),
        Key(
            "rate_limits.*.errors.ban", .duration(.seconds(1)...(.seconds(30 * 86_400))),
            default: "10m",
            effect:
                "For how long he is refused where the policy applies; Retry-After tells him, and "
                + "`edgectl limits unban` ends it."),
        Key(
            "rate_limits.*.costs", .mappings,
            effect: "What requests count for `requests` and `ceiling`; the first that fits. At "
                + "most 16, in at most 4 policies.",
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
            pitfalls: "Clients behind "
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
                + "(`edged_requests_over_shadow_limit_total`, and the same of `connections` and "
                + "`handshakes`)."),
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
            effect: "True clients who are not served where the policy applies: connections of a "
                + "view, of a tcp listener and of a site that is passed on are reset, requests of "
                + "a site or path get 403. At most 1024 blocks.",
            absence: "nobody", pitfalls: "`allow` counts more.",
            seeAlso: ["rate_limits.*.deny_files"]),
        Key(
            "rate_limits.*.allow_files", .texts(.path, orSingle: true),
            effect: "Files with more blocks to allow, one per line; `#` and `;` begin remarks. "
                + "Relative to the main file; at most 8 of 262,144 blocks. They are used as soon "
                + "as they change.",
            absence: "none",
            pitfalls: "A file that is missing or wrong when the configuration is read is an error; "
                + "one that becomes so stays what it was, and `edgectl limits show` says why. All "
                + "files together hold at most 1,048,576 blocks.",
            seeAlso: ["rate_limits.*.allow"]),
        Key(
            "rate_limits.*.deny_files", .texts(.path, orSingle: true),
            effect: "The same for blocks to deny.", absence: "none",
            seeAlso: ["rate_limits.*.deny"]),
    ]
}
