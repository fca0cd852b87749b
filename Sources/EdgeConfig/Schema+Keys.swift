extension Schema {
    static let generalKeys: [Key] = [
        Key(
            "version", .integer(1...1), required: true,
            effect: "The version of the configuration language this file is written in."),
        Key(
            "include", .texts(.glob, orSingle: true),
            effect: "Further files that are read as if their contents stood in this one.",
            absence: "no other file is read",
            pitfalls: "Paths are relative to the main file. Included files may contain "
                + "`listeners`, `sites`, `upstreams` and `resolvers` only, and include nothing "
                + "themselves. A pattern may match nothing, but its folder must exist, "
                + "and so must a plain path. "
                + "At most 64 files of 4 MiB each."),
        Key(
            "user", .text(.account),
            effect: "The user the proxy runs as when the daemon is started with privileges.",
            absence: "the proxy runs as the user who started the daemon",
            pitfalls: "This user must be able to read the certificates' keys.",
            seeAlso: ["group", "certificates.directory"]),
        Key(
            "group", .text(.account),
            effect: "The group the proxy runs as.",
            absence: "the user's primary group",
            pitfalls: "Needs `user`.", seeAlso: ["user"]),
        Key(
            "state", .text(.path),
            effect:
                "A folder for what outlives a restart: the last good addresses of names, and the "
                + "key of sticky cookies and of `balance: hash`.",
            absence: "nothing is kept, and a start without DNS knows no name",
            pitfalls: "It belongs to the proxy's user, and to nobody else. Relative to the main "
                + "file.",
            seeAlso: ["user", "dns"]),
        Key(
            "workers", .integerOrAuto(1...64), default: "auto",
            effect: "How many threads serve clients; `auto` is one per usable core.",
            pitfalls: "The number is fixed at the start: a reload does not change it."),
    ]

    static let upstreamKeys: [Key] = [
        Key(
            "upstreams", .named, fragments: true,
            effect: "Groups of servers behind the load balancer, each under its name.",
            absence: "there are none, and so no sites",
            pitfalls: "An upstream that no site uses is an error."),
        Key(
            "upstreams.*.protocol", .choice(["http1", "h2", "auto"]), default: "http1",
            effect: "What is spoken with the servers: HTTP/1.1; HTTP/2 and nothing else (`h2`), "
                + "over plaintext too; or what each server chooses (`auto`), which over plaintext "
                + "is HTTP/1.1. gRPC needs `h2` or `auto`.",
            pitfalls: "With `h2` a server that does not speak it answers nothing: 502. Not "
                + "together with `proxy_protocol: v2`, and not for `tcp` listeners.",
            seeAlso: ["upstreams.*.tls", "http2"]),
        Key(
            "upstreams.*.servers", .textsOrMappings(.server), required: true,
            effect: "The servers, as host name or address with a port; as a mapping where there "
                + "is more to say.",
            pitfalls: "Quote entries with brackets: `\"[2001:db8::1]:80\"`. Names are looked up "
                + "again as their records expire, and each of their addresses is a member.",
            seeAlso: ["resolvers", "dns"]),
        Key(
            "upstreams.*.servers[].address", .text(.server),
            effect: "Host name or address with a port, as in the short form.",
            absence: "the entry has `srv`", seeAlso: ["upstreams.*.servers[].srv"]),
        Key(
            "upstreams.*.servers[].srv", .text(.service),
            effect: "The name of SRV records, which say hosts, ports, weights and, by priority, "
                + "which servers are backups.",
            absence: "the entry has `address`",
            pitfalls: "Not together with `address` or `weight`."),
        Key(
            "upstreams.*.servers[].weight", .integer(1...256), default: "1",
            effect: "The server's part of the traffic beside the others' parts.",
            seeAlso: ["upstreams.*.balance"]),
        Key(
            "upstreams.*.servers[].backup", .choice(["no", "yes"]), default: "no",
            effect: "Whether the server is used only when no other can be.",
            pitfalls: "One server at least is no backup."),
        Key(
            "upstreams.*.tls", .mapping,
            effect: "Speaks TLS to the servers and checks who they are; `tls: {}` with the "
                + "system's authorities and the site's own host name.",
            absence: "plaintext", seeAlso: ["upstreams.*.protocol"]),
        Key(
            "upstreams.*.tls.ca", .text(.path),
            effect: "A PEM file with the authorities that are trusted for these servers.",
            absence: "the system's trust store",
            pitfalls: "Relative to the main file. Nothing to check with `verify: none`, so both "
                + "together are refused."),
        Key(
            "upstreams.*.tls.crl", .text(.path),
            effect: "A PEM file with the lists of certificates that the authorities have revoked; "
                + "servers with one of them are not believed.",
            absence: "nobody asks whether they are",
            pitfalls: "Each authority that issues these servers' certificates needs a list there, "
                + "else none of them is believed. One that should have been replaced by now is "
                + "used all the same, with a warning. Health checks look at it unless they have a "
                + "`ca` of their own.",
            seeAlso: ["upstreams.*.tls.ca"]),
        Key(
            "upstreams.*.tls.name", .text(.host),
            effect: "The name asked for (SNI) and expected in the servers' certificate.",
            absence: "the site's own host name",
            pitfalls: "Needed if a site of this upstream has a wildcard host.",
            seeAlso: ["sites[].hosts"]),
        Key(
            "upstreams.*.tls.verify", .choice(["full", "none"]), default: "full",
            effect: "`full` checks the certificate chain and the name, `none` checks nothing.",
            pitfalls: "With `none` anybody between here and the server can read and change "
                + "everything; it is reported as a warning at every start."),
        Key(
            "upstreams.*.tls.certificate", .text(.path),
            effect: "A PEM file with the certificate, and its chain, that is shown to servers "
                + "that ask for one.",
            absence: "no certificate is shown",
            pitfalls: "Relative to the main file; read at the start and by every reload.",
            seeAlso: ["upstreams.*.tls.key"]),
        Key(
            "upstreams.*.tls.key", .text(.path),
            effect: "A PEM file with the unencrypted key of `certificate`.",
            absence: "the key is in the certificate's file",
            pitfalls: "A key that everybody may read is refused.",
            seeAlso: ["upstreams.*.tls.certificate"]),
        Key(
            "upstreams.*.proxy_protocol", .choice(["off", "v2"]), default: "off",
            effect: "`v2` tells the servers the client's address at the start of each connection.",
            pitfalls: "The servers must expect it. Connections then belong to one client, and are "
                + "not kept for others' requests; so not with `protocol: h2` or `auto`.",
            seeAlso: ["upstreams.*.protocol"]),
        Key(
            "upstreams.*.limits", .mapping,
            effect: "How much the servers are given to do at a time.",
            absence: "the defaults of its keys"),
        Key(
            "upstreams.*.limits.connections", .integerOrAuto(1...1_000_000), default: "auto",
            effect: "Connections to one server, over all workers; further requests wait in the "
                + "queue. `auto` is no limit.",
            pitfalls: "Each worker has an equal share, at least one: fewer than the workers is as "
                + "many as the workers.",
            seeAlso: ["upstreams.*.limits.queue"]),
        Key(
            "upstreams.*.limits.requests", .integerOrAuto(1...1_000_000), default: "auto",
            effect: "Requests under way with all servers of the upstream, over all workers; "
                + "further ones wait in the queue. `auto` is no limit.",
            pitfalls: "Each worker has an equal share, at least one.",
            seeAlso: ["upstreams.*.limits.queue"]),
        Key(
            "upstreams.*.limits.queue", .integer(0...1_000_000), default: "1024",
            effect: "Requests that wait for a server with room, over all workers; further ones are "
                + "answered with 503.",
            seeAlso: ["upstreams.*.timeouts.queue"]),
        Key(
            "upstreams.*.timeouts", .mapping,
            effect: "How long the servers may take.", absence: "the defaults of its keys"),
        Key(
            "upstreams.*.timeouts.connect", .duration(.milliseconds(10)...(.seconds(60))),
            default: "2s",
            effect: "From the start of a connect until the connection, TLS included, is usable."),
        Key(
            "upstreams.*.timeouts.response", .duration(.milliseconds(10)...(.seconds(86400))),
            default: "60s",
            effect: "From the last byte of a request until the head of its response is complete.",
            pitfalls: "Long polling needs more than the longest poll."),
        Key(
            "upstreams.*.timeouts.queue", .duration(.milliseconds(10)...(.seconds(3600))),
            default: "5s",
            effect: "How long a request waits for a server with room; then it gets 503.",
            seeAlso: ["upstreams.*.limits.connections"]),
        Key(
            "upstreams.*.timeouts.body", .duration(.milliseconds(100)...(.seconds(86400))),
            default: "60s",
            effect: "How long a server may rest within a response's body, or take nothing of a "
                + "request's.",
            pitfalls: "Event streams and followed logs are quiet for longer: give them hours.",
            seeAlso: ["timeouts.body"]),
        Key(
            "upstreams.*.timeouts.keep_alive", .duration(.milliseconds(100)...(.seconds(3600))),
            default: "60s",
            effect: "How long an unused connection to a server is kept for the next request.",
            pitfalls: "Shorter than the server's own limit, or requests meet closing connections."),
    ]

    static let resolverKeys: [Key] = [
        Key(
            "resolvers", .named, fragments: true,
            effect: "The DNS servers that upstream names are asked of, each group under a name.",
            absence: "those of /etc/resolv.conf"),
        Key(
            "resolvers.*.servers", .texts(.resolver, orSingle: false), required: true,
            effect: "The addresses of the DNS servers; the port is 53 if none is written."),
        Key(
            "resolvers.*.domains", .texts(.domain, orSingle: false),
            effect: "The domains these servers are asked for, each with everything below it.",
            absence: "all names that no other resolver has",
            pitfalls: "Only one resolver may do without. The longest domain that fits a name "
                + "decides."),
    ]

    static let tuningKeys: [Key] = timeoutKeys + limitKeys + adminKeys + accessLogKeys

    private static let timeoutKeys: [Key] = [
        Key(
            "timeouts", .mapping,
            effect: "How long clients, and parts of the daemon, may take; total times, not per "
                + "read, unless stated.",
            absence: "the defaults of its keys"),
        Key(
            "timeouts.client_hello", .duration(.milliseconds(100)...(.seconds(600))),
            default: "5s",
            effect: "From the accept of a connection until its ClientHello is complete."),
        Key(
            "timeouts.handshake", .duration(.milliseconds(100)...(.seconds(600))), default: "10s",
            effect: "From the ClientHello until the TLS handshake is complete."),
        Key(
            "timeouts.request_head", .duration(.milliseconds(100)...(.seconds(600))),
            default: "10s",
            effect: "From the first byte of a request until its header section is complete.",
            pitfalls: "Too short for clients on bad links, too long for slow-loris attackers."),
        Key(
            "timeouts.keep_alive", .duration(.milliseconds(100)...(.seconds(3600))),
            default: "75s",
            effect: "How long a client's connection is kept without a request."),
        Key(
            "timeouts.body", .duration(.milliseconds(100)...(.seconds(3600))), default: "60s",
            effect: "How long a client may rest within a request's body, or take nothing of what "
                + "waits for it.",
            seeAlso: ["limits.min_upload_rate", "upstreams.*.timeouts.body"]),
        Key(
            "timeouts.tcp", .duration(.seconds(1)...(.seconds(604_800))), default: "2h",
            effect: "How long no byte need move in either direction of a connection of a `tcp` "
                + "listener.",
            pitfalls: "Dead peers are found earlier, by TCP's own probes."),
        Key(
            "timeouts.tunnel", .duration(.milliseconds(100)...(.seconds(604_800))), default: "1h",
            effect: "How long a WebSocket, or what else a connection was switched to, is kept "
                + "without a byte in either direction.",
            seeAlso: ["sites[].upgrade"]),
        Key(
            "timeouts.serve_deadline", .duration(.milliseconds(100)...(.seconds(60))),
            default: "2s",
            effect: "Without a serving proxy for this long, the daemon stops listening, so that "
                + "clients move on instead of waiting."),
        Key(
            "timeouts.hang", .duration(.milliseconds(100)...(.seconds(60))), default: "500ms",
            effect: "A worker with work and without progress for this long is taken for hung, and "
                + "the proxy is replaced.",
            pitfalls: "Its own scheduling delay is subtracted; a machine that swaps still needs "
                + "more."),
        Key(
            "timeouts.drain", .duration(.milliseconds(100)...(.seconds(86400))), default: "30s",
            effect: "How long a graceful stop waits for requests in flight.",
            pitfalls: "The service manager's own stop timeout must be longer. Where it keeps the "
                + "listening sockets, new clients wait for so long in a restart, and so they do "
                + "for a WebSocket or a download that takes the whole time."),
    ]

    private static let limitKeys: [Key] = [
        Key(
            "limits", .mapping,
            effect: "What bounds the memory; what exceeds a limit is refused.",
            absence: "the defaults of its keys"),
        Key(
            "limits.connections", .integerOrAuto(1...1_000_000), default: "auto",
            effect:
                "Client connections over all workers. For a further one, an idle one is closed; "
                + "without any, it is closed itself, at once. `auto` follows from the limit of "
                + "open descriptors.",
            pitfalls: "Where views differ in priority, a sixteenth is kept for those of `high`.",
            seeAlso: ["views.*.priority"]),
        Key(
            "limits.request_head", .size((1 << 10)...(1 << 20)), default: "64KiB",
            effect: "Request line and header section together; a longer one is answered with 431.",
            seeAlso: ["limits.request_line"]),
        Key(
            "limits.request_line", .size(8000...(1 << 20)), default: "16KiB",
            effect: "The first line of a request; a longer one is answered with 414.",
            pitfalls: "Never more than `limits.request_head`."),
        Key(
            "limits.request_body", .sizeOrUnlimited(0...(1 << 40)), default: "unlimited",
            effect: "The content of one request. A longer one is answered with 413: at once if it "
                + "says its length, else when it has become too long.",
            pitfalls: "Upstreams may have limits of their own."),
        Key(
            "limits.trailers", .size(256...(128 << 10)), default: "16KiB",
            effect: "The trailer section of one message; a longer one is answered with 431 or "
                + "ends the response."),
        Key(
            "limits.chunk_extensions", .size(0...(16 << 10)), default: "1KiB",
            effect: "The extensions of one chunk; a body's may be 16 times as long in all, and as "
                + "much longer as it has content. More is answered with 400 or ends the "
                + "response."),
        Key(
            "limits.response_head", .size((1 << 10)...(1 << 20)), default: "64KiB",
            effect: "Status line and header section together; a longer one is answered with 502."),
        Key(
            "limits.header_fields", .integer(1...256), default: "200",
            effect: "Header fields of one request or response."),
        Key(
            "limits.min_upload_rate", .size(0...(1 << 30)), default: "240B",
            effect: "Bytes per second of a request's body that a client has to send; `0B`: no "
                + "minimum. It may fall behind by what `timeouts.body` allows.",
            pitfalls: "Time in which the upstream takes nothing does not count.",
            seeAlso: ["timeouts.body"]),
        Key(
            "limits.min_download_rate", .size(0...(1 << 30)), default: "240B",
            effect: "Bytes per second of a waiting response that a client has to take; `0B`: no "
                + "minimum, but what takes nothing for `timeouts.body` is cut all the same.",
            seeAlso: ["timeouts.body"]),
        Key(
            "limits.memory", .sizeOrUnlimited((64 << 20)...(1 << 50)),
            effect: "What the proxy may have resident. From seven eighths of it on, idle "
                + "connections are closed and newcomers of views of low priority refused; from "
                + "there on all newcomers.",
            absence: "three quarters of what the machine has, or the control group allows",
            pitfalls: "What is under way goes on: it is bounded by its own limits. The table of "
                + "`limits.tracked_clients` is not counted.",
            seeAlso: ["views.*.priority", "limits.tracked_clients"]),
        Key(
            "limits.tracked_clients", .integer(1024...(1 << 24)), default: "1000000",
            effect: "For how many clients `rate_limits` remember what they have used; 32 bytes "
                + "each, taken when they are needed.",
            pitfalls: "Of too many, those are forgotten first that owe least. A reload does not "
                + "change it.",
            seeAlso: ["rate_limits"]),
    ]

    private static let adminKeys: [Key] = [
        Key(
            "admin", .mapping,
            effect: "How the running daemon is operated and observed.",
            absence: "neither `edgectl` nor metrics reach it"),
        Key(
            "admin.socket", .text(.path),
            effect: "The Unix socket for `edgectl`.", absence: "there is none",
            pitfalls: "At most 107 bytes; its folder must exist."),
        Key(
            "admin.group", .text(.account),
            effect: "A group that may use the socket besides its owner.",
            absence: "the owner only", pitfalls: "Needs `admin.socket`.",
            seeAlso: ["admin.socket"]),
        Key(
            "admin.http", .text(.endpoint),
            effect: "A loopback address that answers `/metrics`, `/livez` and `/readyz`.",
            absence: "there is none",
            pitfalls: "Only 127.0.0.0/8 and ::1: it has no authentication."),
        Key(
            "admin.probes", .texts(.endpoint, orSingle: true),
            effect: "Addresses that answer `/livez` and `/readyz`, and nothing else, for a proxy "
                + "in front that has to know whether this node serves. `/readyz?view=NAME` asks "
                + "for a view.",
            absence: "there are none",
            pitfalls: "An address that the machine does not have yet, as of a tunnel, is tried "
                + "again every few seconds. At most 8.",
            seeAlso: ["admin.http"]),
    ]
    private static let accessLogKeys: [Key] = [
        Key(
            "access_log", .mapping,
            effect: "Writes a line for every request, and for every connection that fails or is "
                + "refused.",
            absence: "requests are counted, not logged"),
        Key(
            "access_log.path", .text(.path), required: true,
            effect: "The file, or `stdout`.",
            pitfalls: "The proxy's user opens it, and opens it anew on USR1 (after a rotation): "
                + "that user must be able to write it, and to make it in its folder. "
                + "A named pipe must have a reader.",
            seeAlso: ["user"]),
        Key(
            "access_log.format", .choice(["json", "httplog"]), default: "json",
            effect: "`json` is one object per line, `httplog` a line as HAProxy's `option httplog` "
                + "writes it (of TCP connections, as `option tcplog`).",
            pitfalls: "`httplog` says less than `json`: see docs/access-log.md."),
        Key(
            "access_log.sample", .integer(1...1_000_000), default: "1",
            effect: "One in so many requests has its line. What fails always has one, and so has "
                + "what is answered with 5xx.",
            pitfalls: "Counts per worker."),
        Key(
            "access_log.buffer", .size((64 << 10)...(64 << 20)), default: "1MiB",
            effect: "What each worker keeps for a disk that is slow; it is written at least once a "
                + "second.",
            pitfalls: "When it is full, lines are dropped and counted "
                + "(`edged_access_log_dropped_total`, and a line of `kind` `dropped`); no request "
                + "waits."),
        Key(
            "access_log.query", .choice(["no", "yes"]), default: "no",
            effect: "Whether paths are logged with their query.",
            pitfalls: "Queries carry tokens and passwords more often than one would like."),
    ]
}
