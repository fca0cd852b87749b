extension Schema {
    /// How members are asked whether they work.
    static let healthKeys: [Key] =
        [
            Key(
                "upstreams.*.health", .mappingOrOff,
                effect: "Asks each server regularly whether it works.",
                absence: "a TCP connection, with a TLS handshake where `tls` is",
                pitfalls: "With `off` traffic and DNS alone tell which servers work.",
                seeAlso: ["upstreams.*.ejection", "upstreams.*.all_down"]),
            Key(
                "upstreams.*.health.type", .choice(["tcp", "tls", "http", "h2", "grpc"]),
                effect: "What is asked: a connection (`tcp`), a handshake (`tls`), a request over "
                    + "HTTP/1.1 (`http`) or HTTP/2 (`h2`), grpc.health.v1 (`grpc`). TLS is spoken "
                    + "where traffic does, or where one of `ca`, `name`, `verify`, `certificate` "
                    + "is written.",
                absence:
                    "`grpc` with `service`, `http` with any other key of a request (`h2` where "
                    + "`protocol` is), else a connection as traffic makes it",
                pitfalls: "Keys that have no effect with a type are refused.",
                seeAlso: ["upstreams.*.health.preset", "upstreams.*.protocol"]),
            Key(
                "upstreams.*.health.preset", .choice(["kube-apiserver", "active-member"]),
                effect:
                    "A check that knows what it talks to. `kube-apiserver`: /readyz over TLS, also "
                    + "where traffic is passed on as it is; 401 and 403 are alive. "
                    + "`active-member`: the server that answers 200 has the traffic, one that redirects or answers "
                    + "503 stands by.",
                absence: "`type` says what is asked", pitfalls: "Not together with `type`.",
                seeAlso: ["upstreams.*.health.type"]),
        ] + healthRequestKeys + healthTLSKeys + healthTimeKeys

    private static let healthRequestKeys: [Key] = [
        Key(
            "upstreams.*.health.method", .choice(["GET", "HEAD", "OPTIONS", "POST"]),
            default: "GET", effect: "The request's method; it has no content."),
        Key(
            "upstreams.*.health.path", .text(.target),
            effect: "What is asked for, with or without a query.", absence: "`/`"),
        Key(
            "upstreams.*.health.host", .text(.authority),
            effect: "The Host field.", absence: "the TLS name, else the server's address"),
        Key(
            "upstreams.*.health.headers", .texts(.field, orSingle: true),
            effect: "Further fields of the request, at most 32.", absence: "none",
            pitfalls: "Quote them: `\"X-Probe: edge\"`."),
        Key(
            "upstreams.*.health.status", .statuses(200...599),
            effect: "The statuses that pass.", absence: "`200-399`"),
        Key(
            "upstreams.*.health.body", .text(.phrase),
            effect: "A text that the answer's first 64 KiB have to contain.",
            absence: "the content does not matter"),
        Key(
            "upstreams.*.health.service", .text(.procedure),
            effect: "The gRPC service that is asked for.", absence: "the server as a whole"),
        Key(
            "upstreams.*.health.token_file", .text(.path),
            effect: "A file whose first line is sent as `Authorization: Bearer`, read for each "
                + "check.",
            absence: "no token is sent",
            pitfalls: "The proxy's user must be able to read it; one that everybody may read is "
                + "refused. Relative to the main file."),
    ]

    private static let healthTLSKeys: [Key] = [
        Key(
            "upstreams.*.health.port", .integer(1...65535),
            effect: "Another port to ask than that of traffic.", absence: "the server's port",
            pitfalls: "Checks of another port do not begin with a PROXY header.",
            seeAlso: ["upstreams.*.proxy_protocol"]),
        Key(
            "upstreams.*.health.ca", .text(.path),
            effect: "A PEM file with the authorities that the check trusts.",
            absence: "as `tls.ca`; without `tls` the system's trust store",
            seeAlso: ["upstreams.*.tls.ca"]),
        Key(
            "upstreams.*.health.name", .text(.host),
            effect: "The name that the check asks for (SNI) and expects in the certificate.",
            absence: "as `tls.name`, else the first site's host; without `tls` the server's own "
                + "name or address",
            seeAlso: ["upstreams.*.tls.name"]),
        Key(
            "upstreams.*.health.verify", .choice(["full", "none"]),
            effect: "`full` checks chain and name of the certificate, `none` nothing.",
            absence: "`full` with `ca`, else as `tls.verify`; without `tls` `full`",
            seeAlso: ["upstreams.*.tls.verify"]),
        Key(
            "upstreams.*.health.certificate", .text(.path),
            effect: "A PEM file with the certificate that the check shows.",
            absence: "as `tls.certificate`; without `tls` none",
            seeAlso: ["upstreams.*.tls.certificate"]),
        Key(
            "upstreams.*.health.key", .text(.path),
            effect: "A PEM file with the unencrypted key of `certificate`.",
            absence: "the key is in the certificate's file",
            pitfalls: "A key that everybody may read is refused.",
            seeAlso: ["upstreams.*.health.certificate"]),
    ]

    private static let healthTimeKeys: [Key] = [
        Key(
            "upstreams.*.health.interval", .duration(.milliseconds(100)...(.seconds(3600))),
            default: "2s",
            effect: "From one check of a server to its next, give or take a tenth."),
        Key(
            "upstreams.*.health.fast_interval",
            .duration(.milliseconds(50)...(.seconds(3600))), default: "500ms",
            effect: "The same after a change or a failure, until the verdict stands.",
            pitfalls: "Never more than `interval`."),
        Key(
            "upstreams.*.health.timeout", .duration(.milliseconds(10)...(.seconds(60))),
            default: "1s", effect: "For a whole check, connect and handshake included."),
        Key(
            "upstreams.*.health.rise", .integer(1...100), default: "2",
            effect: "Passes in a row after which a server that was down is used again."),
        Key(
            "upstreams.*.health.fall", .integer(1...100), default: "3",
            effect: "Failures in a row after which a server is down."),
    ]
}
