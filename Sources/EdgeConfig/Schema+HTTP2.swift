extension Schema {
    static let http2Keys: [Key] = http2SizeKeys + http2RateKeys

    private static let http2SizeKeys: [Key] = [
        Key(
            "http2", .mapping,
            effect: "How HTTP/2 is spoken, and what one connection may cost. Who exceeds a limit "
                + "is sent GOAWAY (ENHANCE_YOUR_CALM), and the connection is closed.",
            absence: "the defaults of its keys",
            seeAlso: ["listeners[].protocol", "upstreams.*.protocol"]),
        Key(
            "http2.enabled", .choice(["yes", "no"]), default: "yes",
            effect: "Whether clients of `tls` listeners are offered HTTP/2 beside HTTP/1.1 (ALPN). "
                + "A reload changes it for new connections.",
            pitfalls: "Says nothing about upstreams: each has a key for it.",
            seeAlso: ["upstreams.*.protocol"]),
        Key(
            "http2.streams", .integer(1...1000), default: "100",
            effect: "Requests that a connection may have in progress at once; a stream counts "
                + "until its upstream's work is released. Further ones are refused, which clients "
                + "repeat later.",
            pitfalls: "Less than 100 costs browsers time (RFC 9113, 6.5.2)."),
        Key(
            "http2.stream_window", .size((16 << 10)...(16 << 20)), default: "64KiB",
            effect: "How much the other side may send on one stream before what it has sent was "
                + "passed on.",
            pitfalls: "A single upload is no faster than one window per round trip: 64 KiB "
                + "at 20 ms are 3 MiB a second. Not more than `http2.memory`.",
            seeAlso: ["http2.memory"]),
        Key(
            "http2.memory", .size((128 << 10)...(64 << 20)), default: "2MiB",
            effect: "What all streams of a connection may occupy: header fields, each with 32 "
                + "bytes on top, and content that waits for either side.",
            pitfalls: "A request's head within `limits` must fit. A worker has 64 MiB for all "
                + "of its connections.",
            seeAlso: ["limits.request_head", "http2.stream_window"]),
        Key(
            "http2.continuations", .integer(1...1000), default: "8",
            effect: "CONTINUATION frames of one header block.",
            pitfalls: "Clients send frames of 16 KiB: a head of up to 1 MiB, if "
                + "`limits.request_head` allows it, may take 63.",
            seeAlso: ["limits.request_head"]),
    ]

    private static let http2RateKeys: [Key] = [
        rate(
            "resets", 100,
            effect: "Streams of a connection that may end by a reset in a second, by either side: "
                + "who asks and cancels makes work that nobody wants.",
            pitfalls: "Whoever leaves a page resets all that it was loading: at least as many as "
                + "`http2.streams`."),
        rate(
            "pings", 200, effect: "PING frames of a connection in a second.",
            pitfalls: "gRPC clients may measure the bandwidth with one per round trip while they "
                + "download."),
        rate(
            "settings", 20, effect: "SETTINGS frames of a connection in a second."),
        rate(
            "priorities", 500,
            effect: "PRIORITY and PRIORITY_UPDATE frames of a connection in a second; they have no "
                + "other effect."),
        rate(
            "window_updates", 2000, effect: "WINDOW_UPDATE frames of a connection in a second.",
            pitfalls: "Clients with small windows send one for each 16 to 32 KiB that they "
                + "download: 2000 a second are some 32 to 64 MiB a second."),
        rate(
            "empty_data", 200,
            effect: "DATA frames of a connection in a second that carry nothing and end nothing."),
        rate(
            "unknown_frames", 200,
            effect: "Frames of unknown types of a connection in a second; they are ignored "
                + "(RFC 9113, 5.5)."),
    ]

    private static func rate(
        _ name: String, _ usual: Int, effect: String, pitfalls: String? = nil
    ) -> Key {
        Key(
            "http2.\(name)", .integer(1...1_000_000), default: "\(usual)", effect: effect,
            pitfalls: pitfalls)
    }
}
