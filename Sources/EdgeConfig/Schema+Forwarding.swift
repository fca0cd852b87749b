extension Schema {
    static let forwardingKeys: [Key] = [
        Key(
            "forwarding", .mapping,
            effect: "What upstreams are told about clients, and whose word is believed.",
            absence: "the defaults of its keys"),
        Key(
            "forwarding.trusted", .texts(.block, orSingle: true),
            effect: "Proxies in front of this one. Their X-Forwarded-For is continued; their other "
                + "X-Forwarded-*, Forwarded, X-Real-IP and X-Request-ID are kept.",
            absence: "nobody is believed: these fields are replaced",
            pitfalls: "Whoever is listed can claim to be anybody. A block holds addresses of its "
                + "own family only: `0.0.0.0/0` no IPv6, `::/0` no IPv4. At most 1024 blocks."),
        Key(
            "forwarding.forwarded", .choice(["no", "yes"]), default: "no",
            effect: "Whether `Forwarded` (RFC 7239) is sent beside X-Forwarded-For, -Proto, -Host "
                + "and -Port, X-Real-IP and X-Request-ID, which always are."),
        Key(
            "forwarding.underscores", .choice(["drop", "pass"]), default: "drop",
            effect: "What becomes of request fields with `_` in their name.",
            pitfalls: "Applications that follow CGI cannot tell `_` from `-`. With `pass`, names "
                + "are still dropped that would be taken for one that the proxy acts upon, such "
                + "as X_Forwarded_For; in trailers all of them are."),
        Key(
            "forwarding.trace", .choice(["off", "pass", "start", "restart"]), default: "pass",
            effect: "What becomes of `traceparent` and `tracestate` (W3C Trace Context). `pass`: "
                + "sound ones are passed on as they are, others dropped. `start`: a request "
                + "without a sound one gets one. `restart`: so does everybody but `trusted`, "
                + "whatever they send. `off`: fields like any other.",
            pitfalls: "With `pass` and `start` anybody can choose the trace that a request is part "
                + "of, and have it sampled.",
            seeAlso: ["forwarding.trusted"]),
        Key(
            "error_pages", .mapping,
            effect: "What clients get to read with errors that the daemon itself reports; never "
                + "instead of an upstream's own answer.",
            absence: "the reason, in plain text"),
        Key(
            "error_pages.directory", .text(.path), required: true,
            effect: "A folder with pages named by status, `503.html`, or by hundred, `5xx.html`; "
                + "`.json` and `.txt` are the other kinds. `{{status}}`, `{{reason}}` and `{{id}}` "
                + "(the X-Request-ID, or `-`) are filled in. Read at the start and by every "
                + "reload.",
            pitfalls: "UTF-8, at most 256 KiB each, one page per status. Other files are refused, "
                + "but for hidden ones. Large pages cost memory while slow clients take them."),
    ]
}
