extension Schema {
    static let siteKeys: [Key] =
        [
            Key(
                "sites", .mappings, fragments: true,
                effect: "The hosts that are served, and by which upstream.",
                absence: "no request finds a site"),
            Key(
                "sites[].hosts", .textsByView(.hostPattern), required: true,
                effect: "The host names of the site; `*.example.org` is any one label before "
                    + "`.example.org`, `*` is every host that no other site has. A list holds for "
                    + "every view; in a mapping each view has its own names, and those that are "
                    + "not in it know nothing of the site.",
                pitfalls: "Quote a name that begins with `*`. Names beyond ASCII are written in "
                    + "their IDNA form (`xn--…`). A host may appear once per view in the whole "
                    + "configuration.",
                seeAlso: ["sites[].internal", "views", "upstreams.*.tls.name"]),
            Key(
                "sites[].internal", .text(.hostPattern),
                effect: "The name that the servers know the site by: requests are passed on with "
                    + "it, answers come back with the client's. A wildcard stands for the other "
                    + "wildcards label by label.",
                absence: "if the views' names differ, the first name of the first view in `hosts`; "
                    + "else the host that the client asked for",
                pitfalls: "Contents of messages are not rewritten.",
                seeAlso: ["sites[].hosts", "upstreams.*.tls.name"]),
            Key(
                "sites[].upstream", .text(.name),
                effect: "The upstream that serves the site.",
                absence: "connections are passed through, or rules answer",
                seeAlso: ["upstreams", "sites[].passthrough"]),
            Key(
                "sites[].passthrough", .text(.name),
                effect: "The upstream that gets the site's TLS connections as they are: the name "
                    + "in the ClientHello (SNI) decides, and TLS is between client and server.",
                absence: "TLS ends here",
                pitfalls: "Requests are not seen, so nothing can be said about them. That upstream "
                    + "has no `tls`.",
                seeAlso: ["sites[].alpn", "upstreams.*.proxy_protocol", "timeouts.tcp"]),
            Key(
                "sites[].alpn", .texts(.alpn, orSingle: true),
                effect: "Passes through only connections whose client offers one of these "
                    + "protocols, such as acme-tls/1. Others may have a site with the same host.",
                absence: "every connection for these hosts",
                pitfalls: "Only with `passthrough`.", seeAlso: ["sites[].passthrough"]),
            Key(
                "sites[].upgrade", .texts(.upgrade, orSingle: true),
                effect: "Protocols besides WebSocket that a request may switch its connection to, "
                    + "such as SPDY/3.1 for kubectl.",
                absence: "WebSocket only",
                pitfalls:
                    "What is said on a switched connection is not looked at. `h2c` is refused.",
                seeAlso: ["timeouts.tunnel"]),
        ] + clientCertificateKeys(of: "sites[]", absence: "as the view does")

    /// What a view and a site may both have.
    static func clientCertificateKeys(of parent: String, absence: String) -> [Key] {
        let path = parent + ".client_certificates"
        return [
            Key(
                path, .mapping,
                effect: "Asks clients for a certificate, and checks it.", absence: absence,
                pitfalls: "Only what comes over TLS can have one."),
            Key(
                path + ".ca", .text(.path), required: true,
                effect: "A PEM file with the authorities that are trusted for clients.",
                pitfalls: "Relative to the main file; used as soon as it changes. Clients then "
                    + "connect anew."),
            Key(
                path + ".crl", .text(.path),
                effect: "A PEM file with the lists of certificates that the authorities have "
                    + "revoked; who shows one of them is refused.",
                absence: "nobody asks whether they are",
                pitfalls: "Each authority that issues clients' certificates needs a list there, "
                    + "else nobody is let in. One that should have been replaced by now is used "
                    + "all the same, with a warning.",
                seeAlso: [path + ".ca"]),
            Key(
                path + ".required", .choice(["yes", "no"]), default: "yes",
                effect: "Whether clients without a certificate are refused in the handshake.",
                pitfalls: "With `no` the upstream has to look at the field.",
                seeAlso: [path + ".field"]),
            Key(
                path + ".field", .text(.fieldName),
                effect: "The request field that tells the upstream the certificate's subject, in "
                    + "the form of RFC 4514. What clients send under that name is dropped.",
                absence: "the upstream is not told"),
        ]
    }
}
