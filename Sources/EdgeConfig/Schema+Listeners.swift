extension Schema {
    static let listenerKeys: [Key] = [
        Key(
            "listeners", .mappings, required: true, fragments: true,
            effect: "The ports that clients connect to; at most 64 listeners.",
            pitfalls: "Each has a socket per worker and address."),
        Key(
            "listeners[].name", .text(.name), required: true,
            effect: "What the listener is called in logs, metrics and `redirect`."),
        Key(
            "listeners[].address", .texts(.address, orSingle: true), default: "\"::\"",
            effect: "The address, or the addresses, the port is bound to.",
            pitfalls: "`\"::\"` serves IPv4 as well: `0.0.0.0` beside it on the same port is "
                + "refused.",
            seeAlso: ["listeners[].port"]),
        Key(
            "listeners[].port", .integer(1...65535), required: true,
            effect: "The TCP port.",
            pitfalls: "Ports below 1024 need a privilege or the capability NET_BIND_SERVICE."),
        Key(
            "listeners[].protocol", .choice(["tls", "http", "tcp"]), required: true,
            effect: "What is spoken on the port: `tls` is HTTPS, `http` is HTTP in plaintext, "
                + "`tcp` is anything: bytes are passed on to `upstream` as they are.",
            pitfalls: "An `http` listener without `redirect` serves every site in plaintext.",
            seeAlso: ["listeners[].redirect", "certificates"]),
        Key(
            "listeners[].redirect", .text(.name),
            effect: "Answers every request with a redirect (308) to https on the port of the "
                + "`tls` listener of this name.",
            absence: "the sites are served here",
            pitfalls: "Only with `protocol: http`.", seeAlso: ["listeners[].protocol"]),
        Key(
            "listeners[].acme", .text(.name),
            effect: "The upstream that gets the requests for `/.well-known/acme-challenge/`, by "
                + "which an ACME client proves that a host is its own; all others are redirected.",
            absence: "they are redirected like all others",
            pitfalls: "Only with `redirect`: without it, a site's `paths` do the same.",
            seeAlso: ["listeners[].redirect"]),
        Key(
            "listeners[].upstream", .text(.name),
            effect: "The upstream whose servers get the connections of a `tcp` listener, in turn.",
            absence: "the sites decide",
            pitfalls: "Only with `protocol: tcp`; that upstream has no `tls`.",
            seeAlso: ["upstreams.*.proxy_protocol", "timeouts.tcp"]),
        Key(
            "listeners[].views", .texts(.name, orSingle: true),
            effect: "The views whose clients are served here; connections of others are closed.",
            absence: "all views", seeAlso: ["views"]),
        Key(
            "listeners[].rate_limits", .texts(.name, orSingle: true),
            effect: "The policies that connections of a `tcp` listener are subject to, besides "
                + "those of their view; what they say of connections applies.",
            absence: "those of the view",
            pitfalls: "Only with `protocol: tcp`. At most 4 of one place may limit `connections`.",
            seeAlso: ["rate_limits.*.connections", "rate_limits.*.new_connections"]),
        Key(
            "certificates", .mapping,
            effect: "Where the certificates for the `tls` listeners come from.",
            absence: "there is no TLS, and a `tls` listener is refused unless every site is passed "
                + "through",
            seeAlso: ["listeners[].protocol"]),
        Key(
            "certificates.directory", .text(.path), required: true,
            effect: "The folder with the certificates and keys in PEM form: `name.pem` (its key "
                + "within, in `name.pem.key` or in `name.key`), `name.crt` with `name.key`, or "
                + "folders as certbot and Kubernetes make them. It is watched: what is put there "
                + "is served within a second. A name may have an ECDSA and an RSA "
                + "certificate: the client's abilities choose, ECDSA first. Of several of one type "
                + "a valid one is served, the one that ends last. A folder in it that is called "
                + "like a view has certificates of that view alone, which come first.",
            pitfalls: "Keys that everybody may read are refused, and so is a key without its "
                + "certificate: a start ends there, later the file is put in quarantine and what it "
                + "was before is served. Of more than 256 new files at once, damage that only OpenSSL can "
                + "see is found in the background, logged and counted; `--check` finds all."),
        Key(
            "certificates.default", .text(.host),
            effect: "A host whose certificate is served to clients that name no host or an "
                + "unknown one.",
            absence: "such handshakes are refused with `unrecognized_name`",
            pitfalls: "A certificate in the folder must cover this host."),
        Key(
            "certificates.pair_timeout", .duration(.milliseconds(100)...(.seconds(3600))),
            default: "10s",
            effect: "For how long a certificate may be without its key, or half written, before "
                + "it is reported as wrong.",
            pitfalls: "Nothing else waits: what is complete is served at once."),
        Key(
            "tls", .mapping,
            effect: "How TLS is spoken with clients.",
            absence: "the defaults of its keys", seeAlso: ["listeners[].protocol"]),
        Key(
            "tls.min_version", .choice(["1.2", "1.3"]), default: "1.2",
            effect: "The lowest version of TLS that is spoken.",
            pitfalls: "With `1.3` clients from before 2018 stay outside."),
        Key(
            "tls.ticket_lifetime", .duration(.seconds(3)...(.seconds(604800))), default: "12h",
            effect: "How long after its handshake a client may resume its session instead of "
                + "doing another. The keys for that are replaced three times in this span and are "
                + "forgotten when no session needs them.",
            pitfalls: "The longer it is, the longer a stolen key opens recorded tickets."),
    ]
}
