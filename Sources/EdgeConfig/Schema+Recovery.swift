extension Schema {
    /// What traffic itself decides: who is taken out, and what is tried again.
    static let recoveryKeys: [Key] = ejectionKeys + retryKeys

    private static let ejectionKeys: [Key] = [
        Key(
            "upstreams.*.ejection", .mappingOrOff,
            effect: "Takes servers out on which requests fail; they come back by themselves.",
            absence: "the defaults of its keys", seeAlso: ["upstreams.*.health"]),
        Key(
            "upstreams.*.ejection.failures", .integer(1...1000), default: "5",
            effect: "Requests that have failed in a row on one worker: resets, timeouts, 5xx, and "
                + "those that wait ten times as long as is usual, a second at least, at a server "
                + "that answers nobody meanwhile.",
            pitfalls: "A refused connection counts at once, and so does the first failure of a "
                + "server that has come back, until it has answered a request: till then it gets "
                + "one per second and worker."),
        Key(
            "upstreams.*.ejection.rate", .integer(0...100), default: "50",
            effect: "Failed of all requests within ten seconds, in percent; 0: not looked at.",
            seeAlso: ["upstreams.*.ejection.requests"]),
        Key(
            "upstreams.*.ejection.requests", .integer(1...1_000_000), default: "20",
            effect: "Requests within ten seconds below which `rate` and `latency` say nothing."),
        Key(
            "upstreams.*.ejection.latency", .integer(0...100), default: "0",
            effect: "How many times the median response time of the servers is too slow; 0: not "
                + "looked at.",
            pitfalls: "At least 2."),
        Key(
            "upstreams.*.ejection.first", .duration(.milliseconds(100)...(.seconds(3600))),
            default: "2s", effect: "How long a server is out at first; doubled each time."),
        Key(
            "upstreams.*.ejection.last", .duration(.milliseconds(100)...(.seconds(86400))),
            default: "5m", effect: "How long a server is out at most.",
            pitfalls: "Never less than `first`."),
        Key(
            "upstreams.*.ejection.share", .integer(1...100), default: "50",
            effect: "The part of the servers that may be out at once, in percent; of several, one "
                + "always may."),
        Key(
            "upstreams.*.slow_start", .duration(.zero...(.seconds(3600))), default: "0s",
            effect: "How long a server that has come back takes to get its whole part again."),
        Key(
            "upstreams.*.all_down", .choice(["open", "closed"]), default: "open",
            effect: "With all servers down: use the last that worked (`open`), or answer 503 "
                + "(`closed`).",
            seeAlso: ["upstreams.*.health"]),
    ]

    private static let retryKeys: [Key] = [
        Key(
            "upstreams.*.retries", .mapping,
            effect: "What is tried again, on another server. Only what does no harm twice is: a "
                + "request that was not sent, or an idempotent one of which no answer has come.",
            absence: "the defaults of its keys"),
        Key(
            "upstreams.*.retries.attempts", .integer(0...10), default: "3",
            effect: "Attempts beside the first; 0: none."),
        Key(
            "upstreams.*.retries.statuses", .statuses(400...599),
            effect: "Answers after which an idempotent request is tried again.",
            absence: "none: every answer is passed on",
            pitfalls: "Not for upstreams of `tcp` listeners."),
        Key(
            "upstreams.*.retries.budget", .integer(0...100), default: "20",
            effect: "How many requests may be sent again, in percent of all of them; 100 within "
                + "ten seconds always may."),
        Key(
            "upstreams.*.retries.per_try", .duration(.milliseconds(10)...(.seconds(86400))),
            effect: "From a request's last byte until its answer's head, for each attempt.",
            absence: "as `timeouts.response`", pitfalls: "Not more than `timeouts.response`.",
            seeAlso: ["upstreams.*.timeouts.response"]),
        Key(
            "upstreams.*.retries.overall", .duration(.milliseconds(10)...(.seconds(86400))),
            effect: "From a request's head until its answer's head, over all attempts.",
            absence: "no limit but that of the attempts", pitfalls: "Not less than `per_try`."),
        Key(
            "upstreams.*.retries.hedge", .duration(.milliseconds(1)...(.seconds(3600))),
            effect: "A GET or HEAD without an answer for so long is sent to another server as "
                + "well. The first answer counts; one of 5xx only if the other fails, too.",
            absence: "requests are sent to one server at a time",
            pitfalls: "Less than `per_try` and `timeouts.response`. It counts for `attempts` and "
                + "`budget`. Up to 32 ms late. Not for content, upgrades, and clients that a "
                + "`sticky` cookie binds."),
        Key(
            "upstreams.*.retries.race", .duration(.zero...(.seconds(10))), default: "150ms",
            effect: "Another server is tried as well when a connection takes longer than this, "
                + "and than is usual for the server; `0s`: never.",
            seeAlso: ["upstreams.*.timeouts.connect"]),
    ]

    static let dnsKeys: [Key] = [
        Key(
            "dns", .mapping,
            effect: "How the addresses of upstream names are kept.",
            absence: "the defaults of its keys", seeAlso: ["resolvers", "state"]),
        Key(
            "dns.refresh", .duration(.seconds(1)...(.seconds(3600))), default: "5s",
            effect: "How long an answer is believed at most, whatever its TTL says; failed "
                + "connects and checks ask again at once.",
            pitfalls: "A server that gets another address is found after this time at the latest."),
        Key(
            "dns.stale", .durationOrUnlimited(.seconds(1)...(.seconds(31_536_000))),
            default: "unlimited",
            effect: "How long an address is used that DNS does not confirm, because it fails or "
                + "has lost the name.",
            pitfalls: "With a limit, an outage of DNS that lasts longer is one of the upstreams."),
        Key(
            "dns.hosts", .choice(["no", "yes"]), default: "no",
            effect: "Whether names are looked up in /etc/hosts first."),
    ]
}
