extension Schema {
    /// Stands in paths for each of `ruleOwners`: what they may all have is listed once.
    package static let rules = "(rules)"
    package static let ruleOwners = ["views.*", "sites[]", "sites[].paths[]"]

    static let pathKeys: [Key] = [
        Key(
            "sites[].paths", .mappings,
            effect: "Parts of the site with rules or an upstream of their own; at most 256. The "
                + "longest prefix that fits a path decides.",
            absence: "all paths are alike",
            pitfalls: "Not together with `passthrough`.", seeAlso: ["(rules).redirect"]),
        Key(
            "sites[].paths[].prefix", .text(.prefix), required: true,
            effect: "The path and all below it: `/api` is `/api` and `/api/x`, not `/apix`; `/` is "
                + "whatever no other prefix fits.",
            pitfalls: "It ends without a slash, and has no `.` and `..`, no empty segment and no "
                + "`%`: paths are compared after such things have been resolved."),
        Key(
            "sites[].paths[].upstream", .text(.name),
            effect: "The upstream that serves these paths.",
            absence: "the site's", seeAlso: ["sites[].upstream"]),
        Key(
            "sites[].paths[].strip", .choice(["no", "yes"]), default: "no",
            effect: "Whether the upstream sees paths without the prefix.",
            pitfalls: "Answers are not rewritten: what refers to a path by its name misses the "
                + "prefix.",
            seeAlso: ["sites[].paths[].rewrite"]),
        Key(
            "sites[].paths[].rewrite", .text(.prefix),
            effect: "What the upstream sees in place of the prefix.",
            absence: "the prefix stays", pitfalls: "Not together with `strip`.",
            seeAlso: ["sites[].paths[].strip"]),
    ]

    static let ruleKeys: [Key] =
        [
            Key(
                "(rules).headers", .mapping,
                effect: "Changes header fields. The view's changes come first, then the site's, "
                    + "then the path's.", absence: "they are passed on as they are",
                pitfalls: "Fields that frame messages or belong to the connection, Host among "
                    + "them, cannot be named.")
        ] + headerKeys("request", of: "requests, before they are sent to an upstream")
        + headerKeys("response", of: "responses, before they are sent to the client")
        + [
            Key(
                "(rules).allow", .texts(.block, orSingle: true),
                effect: "The clients that may come; others get 403, and where a view says so their "
                    + "connections are not passed on either. At most 1024 blocks.",
                absence: "all",
                pitfalls: "This is the true client: behind trusted proxies, whom they name. A "
                    + "block holds addresses of its own family only.",
                seeAlso: ["(rules).deny", "forwarding.trusted", "views.*.proxy_protocol"]),
            Key(
                "(rules).deny", .texts(.block, orSingle: true),
                effect: "Clients that get what `allow` keeps from others, even if it has them. At "
                    + "most 1024 blocks.",
                absence: "nobody", seeAlso: ["(rules).allow"]),
            Key(
                "(rules).methods", .texts(.method, orSingle: true),
                effect: "The methods that may be used; others get 405. At most 32.",
                absence: "all", pitfalls: "GET does not include HEAD."),
            Key(
                "(rules).redirect", .textOrMapping(.location),
                effect: "Answers every request with a redirect to this location; with status 302, "
                    + "unless a mapping says another.",
                absence: "requests are sent on",
                pitfalls: "`${path}` begins with `/`, `${query}` with `?` if there is one."),
            Key(
                "(rules).redirect.to", .text(.location), required: true,
                effect: "The location: an absolute URL, or a path of the same site. Variables as "
                    + "in fields."),
            Key(
                "(rules).redirect.status", .choice(["301", "302", "303", "307", "308"]),
                default: "302",
                effect: "301 and 308 are remembered by clients; 307 and 308 keep the method."),
            Key(
                "(rules).hsts", .text(.transport),
                effect: "Adds Strict-Transport-Security to answers over TLS: browsers then use "
                    + "nothing else for the host, for so long.",
                absence: "it is left to the upstream",
                pitfalls: "It cannot be taken back before the time is over."),
            Key(
                "(rules).maintenance", .choice(["no", "yes"]), default: "no",
                effect: "Whether every request is answered with 503 and the page for it.",
                pitfalls: "`no` does not lift what the view or the site says.",
                seeAlso: ["error_pages.directory"]),
            Key(
                "(rules).limits", .mapping,
                effect: "What requests may have.", absence: "what all may have",
                seeAlso: ["limits"]),
            Key(
                "(rules).limits.request_body", .sizeOrUnlimited(0...(1 << 40)),
                effect: "The content of one request, in place of `limits.request_body`; a longer "
                    + "one is answered with 413.",
                absence: "as `limits.request_body` says", seeAlso: ["limits.request_body"]),
            Key(
                "(rules).timeouts", .mapping,
                effect: "How long the upstream may take.", absence: "as the upstream says",
                seeAlso: ["upstreams.*.timeouts"]),
            Key(
                "(rules).timeouts.response",
                .duration(.milliseconds(10)...(.seconds(86400))),
                effect: "From the last byte of a request until the head of its response is "
                    + "complete.",
                absence: "as `upstreams.*.timeouts.response` says",
                seeAlso: ["upstreams.*.timeouts.response"]),
        ]

    private static func headerKeys(_ kind: String, of what: String) -> [Key] {
        let path = "(rules).headers.\(kind)"
        return [
            Key(
                path, .mapping, effect: "Changes fields of \(what); at most 64.",
                absence: "nothing is changed",
                pitfalls: kind == "request"
                    ? nil
                    : "Redirects and errors that edged itself answers with get what is set and "
                        + "added, too, as soon as their site is known; but nothing that describes "
                        + "content or where it is, such as Content-Type, Cache-Control and "
                        + "Location."),
            Key(
                path + ".set", .fields,
                effect: "Fields with their values, in place of all fields of these names. In "
                    + "values `${client}` is the client's address, `${view}` the view, `${host}` "
                    + "the host that was asked for, `${id}` the X-Request-ID, `${path}` and "
                    + "`${query}` are the parts of the target; `$$` is a dollar.",
                absence: "none", pitfalls: "Quote a value that begins with `$` or `{`."),
            Key(
                path + ".add", .fields,
                effect: "Fields with their values, beside those that are there.",
                absence: "none", pitfalls: "Most fields may appear only once: `set` those.",
                seeAlso: [path + ".set"]),
            Key(
                path + ".remove", .texts(.fieldName, orSingle: true),
                effect: "Fields that are left out.", absence: "none"),
        ]
    }
}
