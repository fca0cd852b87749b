internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 9113 §3.4 to §4.3, §5.4 and §5.5.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields())
    private static let post = HPACKBlock(HTTP2Client.fields("POST"))
    private static let settings = RawFrame.settings().bytes

    /// SETTINGS and a request as bytes.
    private static func opening(_ client: HTTP2Client) -> [UInt8] {
        let frames: [RawFrame] = [.settings(), .headers(1, get)]
        for frame in frames { client.noteSent(frame) }
        return frames.flatMap(\.bytes)
    }

    // MARK: - 3.4 and 4: preface and frames

    static let prefaceRows: [HTTP2Row] = [
        .init("3.4: a preface that is none ends the connection", .end, opens: false) {
            try $0.send(bytes: Array("INVALID CONNECTION PREFACE\r\n\r\n".utf8) + settings)
        },
        .init("3.4: a preface that is none in its last byte", .end, opens: false) {
            try $0.send(bytes: RawFrame.preface.dropLast() + [0] + settings)
        },
        .init("3.4: HTTP/1.1 where h2 was agreed on", .end, opens: false) {
            try $0.send(bytes: Array("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n".utf8))
        },
        .init("3.4: SETTINGS must follow, not a request", .connection(.protocolError), opens: false)
        {
            try $0.send(bytes: RawFrame.preface + RawFrame.headers(1, get).bytes)
        },
        .init("3.4: SETTINGS must follow, not PING", .connection(.protocolError), opens: false) {
            try $0.send(bytes: RawFrame.preface + RawFrame.ping().bytes)
        },
        .init("3.4: nor an acknowledgement", .connection(.protocolError), opens: false) {
            try $0.send(bytes: RawFrame.preface + RawFrame.settingsAcknowledge.bytes)
        },
        .init("3.4: request and preface may come together", .answered(1), opens: false) {
            try $0.send(bytes: RawFrame.preface + opening($0))
        },
        .init("3.4: byte by byte", .answered(1), opens: false) { client in
            for byte in RawFrame.preface + opening(client) { try client.send(bytes: [byte]) }
        },
    ]

    static let frameRows: [HTTP2Row] = [
        .init("4.1: an unknown type is ignored", .ignored, RawFrame(0xEE, payload: [1, 2, 3])),
        .init(
            "4.1: with every flag, on idle streams", .ignored,
            RawFrame(0x0A, [.init(rawValue: 0xFF)], stream: 1, payload: [1]),
            RawFrame(0xFF, [.init(rawValue: 0xFF)], stream: 2)),
        .init(
            "4.1: between head and content", .answered(1),
            .headers(1, post, end: false), RawFrame(0x42, stream: 1, payload: [1]),
            .data(1, "a", end: true)),
        .init(
            "4.1: flags without a meaning are ignored", .answered(1),
            RawFrame(.ping, .init(rawValue: 0xFE), payload: Array("edgeping".utf8)),
            RawFrame(.settings, .init(rawValue: 0xFE)),
            RawFrame(.windowUpdate, .init(rawValue: 0xFF), payload: [0, 0, 0, 1]),
            RawFrame(.headers, .init(rawValue: 0x96 | 1), stream: 1, payload: get.bytes)),
        .init(
            "4.1: the reserved bit is ignored", .answered(1),
            RawFrame(.ping, stream: 1 << 31, payload: Array("edgeping".utf8)),
            RawFrame(.settings, stream: 1 << 31),
            RawFrame(
                .headers, [.endStream, .endHeaders], stream: 1 << 31 | 1, payload: get.bytes)),

        .init(
            "4.2: 16,384 bytes fit", .answered(1),
            .headers(1, post, end: false), .data(1, .init(repeating: 0, count: 16_384), end: true)),
        .init(
            "4.2: one more does not, in DATA", .either(.frameSizeError),
            .headers(1, post, end: false), .data(1, .init(repeating: 0, count: 16_385), end: true)),
        .init(
            "4.2: in HEADERS", .connection(.frameSizeError),
            .headers(1, get + .literal("x", String(repeating: "a", count: 16_385)))),
        .init(
            "4.2: in CONTINUATION", .connection(.frameSizeError),
            .headers(1, get, complete: false),
            .continuation(1, .init(repeating: 0, count: 16_385))),
        .init(
            "4.2: in SETTINGS", .connection(.frameSizeError),
            RawFrame(.settings, payload: .init(repeating: 0xFF, count: 16_386))),
        .init(
            "4.2: in PING", .connection(.frameSizeError),
            RawFrame(.ping, payload: .init(repeating: 0, count: 16_385))),
        .init(
            "4.2: in an unknown type", .connection(.frameSizeError),
            RawFrame(0xEE, payload: .init(repeating: 0, count: 16_385))),
        .init(
            "4.2: said, before the first byte of it", .connection(.frameSizeError),
            RawFrame(.headers, .endHeaders, stream: 1, declaredLength: 0xFF_FFFF)),
        .init(
            "4.2: HEADERS too short for their priority", .connection(.frameSizeError),
            RawFrame(.headers, [.endHeaders, .endStream, .priority], stream: 1, payload: [0, 0])),
        .init(
            "4.2: padded DATA too short for a pad length",
            .connection([.frameSizeError, .protocolError]),
            .headers(1, post, end: false), RawFrame(.data, [.padded, .endStream], stream: 1)),
        .init(
            "4.2: padded HEADERS too short for a pad length",
            .connection([.frameSizeError, .protocolError]),
            RawFrame(.headers, [.padded, .endStream, .endHeaders], stream: 1)),
    ]

    // MARK: - 4.3: field blocks

    /// What may not stand between HEADERS and its CONTINUATION.
    private static let intruders: [RawFrame] = [
        .data(1, "a"), .headers(3, get), .headers(1, get), .priority(1, .init()),
        .priority(3, .init()), .reset(1), .settings(), .settingsAcknowledge, .ping(),
        .goAway(), .windowUpdate(0, 1), .windowUpdate(1, 1), .continuation(3),
        .continuation(0), .pushPromise(1, 2, get), RawFrame(0xEE), RawFrame(0x16, stream: 1),
    ]

    static let intruderRows: [HTTP2Row] = intruders.map {
        HTTP2Row(
            "4.3, 6.10, 5.5: \($0) inside a field block", .connection(.protocolError),
            .headers(1, get, complete: false), $0, .continuation(1))
    }

    static let blockRows: [HTTP2Row] = [
        .init("4.3: a block in pieces of a byte", .answered(1)) { client in
            let bytes = get.bytes
            try client.send(.headers(1, HPACKBlock([bytes[0]]), complete: false))
            // Within the usual number of CONTINUATIONs.
            try client.send(.continuation(1, Array(bytes[1..<3]), complete: false))
            try client.send(.continuation(1, complete: false))
            try client.send(.continuation(1, Array(bytes[3...])))
        },
        .init(
            "4.3: END_STREAM counts although CONTINUATION follows", .answered(1),
            .headers(1, HPACKBlock(), complete: false), .continuation(1, get.bytes)),
        .init(
            "4.3: a block that can't be read", .connection(.compressionError),
            .headers(1, HPACKBlock([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]))),
        .init(
            "4.3: a block that ends in a field", .connection(.compressionError),
            .headers(1, HPACKBlock(get.bytes.dropLast()))),
        .init(
            "4.3: the table outlives a request that is malformed", .answered(3),
            .headers(
                1,
                .joined(
                    get, .literal("x-a", "b", .indexed), .literal("X", "y", .indexed))),
            .headers(3, get + .indexed(63))),
    ]

    @Test("prefaces, frames and field blocks are read as sections 3.4 to 4.3 say")
    func frames() throws {
        try Self.check(
            Self.prefaceRows + Self.frameRows + Self.intruderRows + Self.blockRows)
    }
}
