extension Schema {
    /// Who of an upstream's members gets a request.
    static let balanceKeys: [Key] = [
        Key(
            "upstreams.*.balance",
            .choice(["round-robin", "least-requests", "fastest", "hash"]), default: "round-robin",
            effect: "Which server gets a request: each in turn by weight; the one with the fewest "
                + "requests under way for its weight; the better of two random ones by response "
                + "time and requests under way (`fastest`); the same for the same key (`hash`).",
            pitfalls: "Each worker decides by what it sees itself.",
            seeAlso: ["upstreams.*.servers[].weight", "upstreams.*.hash", "upstreams.*.sticky"]),
        Key(
            "upstreams.*.hash", .text(.hashKey),
            effect: "What decides with `balance: hash`: the client's address, a request field or "
                + "a cookie. A server that has much more to do than the others is passed over.",
            absence: "`client`",
            pitfalls: "Needs `balance: hash`. A request without the field or cookie goes by the "
                + "client's address, which behind a proxy is the proxy's. Connections of a `tcp` "
                + "listener have neither. Keys go to the same servers after a restart only with "
                + "`state`.",
            seeAlso: ["upstreams.*.balance", "state"]),
        Key(
            "upstreams.*.sticky", .mapping,
            effect: "Binds a client to the server that served it first, as long as that works.",
            absence: "clients are bound to no server",
            pitfalls: "Not for upstreams of `tcp` listeners. Without `state` a restart makes all "
                + "cookies strange: clients are bound anew. Nodes understand each other's cookies "
                + "if they have the same file `secret` in that folder.",
            seeAlso: ["upstreams.*.balance", "state"]),
        Key(
            "upstreams.*.sticky.cookie", .text(.token), required: true,
            effect: "The name of the cookie that says which; servers do not see it. It is set by "
                + "each answer of another server than the one that the request's cookie names, for "
                + "the browser's session and all paths, `HttpOnly`, `SameSite=Lax`, and `Secure` "
                + "over TLS.",
            pitfalls: "Such an answer may be one that caches keep; what they do with Set-Cookie is "
                + "up to its Cache-Control, which stays the server's. Names that begin with "
                + "`__Host-` or `__Secure-` are refused: browsers take these on conditions."),
    ]
}
