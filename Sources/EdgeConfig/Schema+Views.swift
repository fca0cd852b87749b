extension Schema {
    static let viewKeys: [Key] =
        [
            Key(
                "views", .named,
                effect: "The places that clients come from, each under its name; at most 16. What "
                    + "clients may reach, under which name, with which certificate and policy, "
                    + "depends on the view. A connection belongs to the first that fits it, in the "
                    + "order written, by where it arrived and where from, never by where to.",
                absence: "all clients are treated alike",
                pitfalls: "A connection that fits no view is closed. A view that no listener "
                    + "serves is refused, and so is one that earlier ones leave nothing of.",
                seeAlso: ["sites[].hosts", "listeners[].views"]),
            Key(
                "views.*.interfaces", .texts(.interface, orSingle: true),
                effect: "The network interfaces that its connections arrive on; at most 16.",
                absence: "any interface",
                pitfalls: "They may come and go: what does not exist has no connections. This "
                    + "machine's own (`lo`) belong only to views that list it, or name sources. A "
                    + "macvlan counts as the interface below it."),
            Key(
                "views.*.sources", .texts(.block, orSingle: true),
                effect: "Where its connections come from, as the socket says; at most 256 blocks.",
                absence: "from anywhere",
                pitfalls: "Behind a proxy this is the proxy's address, not the client's. A block "
                    + "holds addresses of its own family only."),
            Key(
                "views.*.addresses", .mapping,
                effect: "The addresses that its clients reach the site at: what its DNS has to "
                    + "say.",
                absence: "DNS records can be neither exported nor checked for this view"),
            Key(
                "views.*.addresses.a", .texts(.address, orSingle: true),
                effect: "IPv4 addresses, for A records; at most 16.", absence: "no A records"),
            Key(
                "views.*.addresses.aaaa", .texts(.address, orSingle: true),
                effect: "IPv6 addresses, for AAAA records; at most 16.",
                absence: "no AAAA records"),
            Key(
                "views.*.resolver", .text(.name),
                effect: "Which of `resolvers` `edged --check --dns` asks about the view's names.",
                absence: "the resolver whose domain fits the name, else the system's",
                seeAlso: ["resolvers"]),
            Key(
                "views.*.proxy_protocol", .choice(["off", "required"]), default: "off",
                effect: "`required`: every connection begins with a PROXY header, version 1 or 2, "
                    + "that tells the true client. Any other is closed.",
                pitfalls: "The header decides who the client is, never the view.",
                seeAlso: ["views.*.trusted_proxies"]),
            Key(
                "views.*.trusted_proxies", .texts(.block, orSingle: true),
                effect: "Who may connect where PROXY headers are required; at most 1024 blocks.",
                absence: "nobody sends PROXY headers",
                pitfalls: "Whoever is listed can claim to be anybody. Only with "
                    + "`proxy_protocol: required`, and then needed.",
                seeAlso: ["views.*.proxy_protocol"]),
            Key(
                "views.*.unknown", .text(.unknown), default: "not_found",
                effect: "What clients get that ask for a name the view does not have, or for none: "
                    + "`refuse` ends the handshake with `unrecognized_name`; `not_found` shows the "
                    + "certificate of `certificates.default`, if there is one, and answers 404; a "
                    + "host of the view stands for its certificate and its site.",
                pitfalls: "A host whose connections are passed through cannot stand for others.",
                seeAlso: ["certificates.default"]),
            Key(
                "views.*.priority", .choice(["high", "low"]),
                effect: "Who goes first when connections, descriptors, memory or time run short: "
                    + "newcomers of views of `low` are refused, and their idle connections closed, "
                    + "before those of others.",
                absence: "`low` with `proxy_protocol: required` or with `rate_limits` of the "
                    + "view's own, else `high`",
                seeAlso: ["limits.connections", "limits.memory"]),
            Key(
                "views.*.tls", .mapping,
                effect: "How TLS is spoken with its clients.", absence: "as `tls` says",
                seeAlso: ["tls"]),
            Key(
                "views.*.tls.min_version", .choice(["1.2", "1.3"]),
                effect: "The lowest version of TLS that is spoken with them.",
                absence: "as `tls.min_version` says",
                pitfalls: "A view can raise it, not lower it.", seeAlso: ["tls.min_version"]),
        ] + clientCertificateKeys(of: "views.*", absence: "they are not asked")
}
