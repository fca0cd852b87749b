internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 9113 §6.1 to §6.8, §6.10 and §7.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields())
    private static let post = HPACKBlock(HTTP2Client.fields("POST"))
    private static let trailers = HPACKBlock([("x-sum", "1")])

    static let dataRows: [HTTP2Row] = [
        .init("6.1: DATA on stream 0", .connection(.protocolError), .data(0, "a")),
        .init(
            "6.1: padding as long as the payload", .connection(.protocolError),
            .headers(1, post, end: false),
            RawFrame(.data, [.padded, .endStream], stream: 1, payload: [4, 1, 2, 3])),
        .init(
            "6.1: padding longer than the payload", .connection(.protocolError),
            .headers(1, post, end: false),
            RawFrame(.data, [.padded, .endStream], stream: 1, payload: [255, 1, 2, 3])),
        .init(
            "6.1: nothing but padding", .answered(1), .headers(1, post, end: false),
            .data(1, padding: 255), .data(1, [1], end: true, padding: 0)),
    ]

    static let headersRows: [HTTP2Row] = [
        .init("6.2: HEADERS on stream 0", .connection(.protocolError), .headers(0, get)),
        .init(
            "6.2: padding as long as the payload", .connection(.protocolError),
            RawFrame(
                .headers, [.padded, .endStream, .endHeaders], stream: 1,
                payload: [UInt8(get.bytes.count + 1)] + get.bytes)),
        .init(
            "6.2: padding over the priority", .connection([.protocolError, .frameSizeError]),
            RawFrame(
                .headers, [.padded, .priority, .endStream, .endHeaders], stream: 1,
                payload: [8, 0, 0, 0, 0, 1, 0, 0])),
        .init(
            "6.2: padding and priority", .answered(1),
            .headers(1, get, padding: 255, priority: .init())),
        .init(
            "6.2: padding behind a block that is continued", .answered(1),
            .headers(1, HPACKBlock(Array(get.bytes.prefix(3))), complete: false, padding: 9),
            .continuation(1, Array(get.bytes.dropFirst(3)))),
    ]

    static let shortRows: [HTTP2Row] = [
        // 6.3
        .init("6.3: PRIORITY on stream 0", .connection(.protocolError), .priority(0, .init())),
        .init(
            "6.3: PRIORITY of four bytes", .either(.frameSizeError),
            .headers(1, post, end: false),
            RawFrame(.priority, stream: 1, payload: [0, 0, 0, 0])),
        .init(
            "6.3: PRIORITY of six bytes", .either(.frameSizeError),
            .headers(1, post, end: false),
            RawFrame(.priority, stream: 1, payload: [0, 0, 0, 0, 0, 0])),
        // 6.4
        .init("6.4: RST_STREAM on stream 0", .connection(.protocolError), .reset(0)),
        .init(
            "6.4: RST_STREAM of three bytes", .connection(.frameSizeError),
            .headers(1, post, end: false), RawFrame(.reset, stream: 1, payload: [0, 0, 0])),
        .init(
            "6.4: RST_STREAM of five bytes", .connection(.frameSizeError),
            .headers(1, post, end: false), RawFrame(.reset, stream: 1, payload: [0, 0, 0, 0, 8])),
        // 6.6, 8.4
        .init(
            "6.6: PUSH_PROMISE of a client", .connection(.protocolError),
            .headers(1, post, end: false), .pushPromise(1, 2, get)),
        .init(
            "6.6: PUSH_PROMISE on stream 0", .connection(.protocolError),
            .pushPromise(0, 2, get)),
        // 6.7
        .init(
            "6.7: PING on a stream", .connection(.protocolError),
            RawFrame(.ping, stream: 1, payload: Array("edgeping".utf8))),
        .init(
            "6.7: PING of six bytes", .connection(.frameSizeError),
            RawFrame(.ping, payload: [0, 0, 0, 0, 0, 0])),
        .init(
            "6.7: PING of nine bytes", .connection(.frameSizeError),
            RawFrame(.ping, payload: .init(repeating: 0, count: 9))),
        .init(
            "6.7: an ACK of nine bytes", .connection(.frameSizeError),
            RawFrame(.ping, .acknowledge, payload: .init(repeating: 0, count: 9))),
        // 6.8
        .init(
            "6.8: GOAWAY on a stream", .connection(.protocolError),
            RawFrame(.goAway, stream: 1, payload: .init(repeating: 0, count: 8))),
        .init(
            "6.8: GOAWAY of seven bytes", .connection(.frameSizeError),
            RawFrame(.goAway, payload: .init(repeating: 0, count: 7))),
        // 6.10
        .init(
            "6.10: CONTINUATION on stream 0", .connection(.protocolError),
            .continuation(0, get.bytes)),
        .init(
            "6.10: CONTINUATION behind a whole block", .connection(.protocolError),
            .headers(1, post, end: false), .continuation(1, trailers.bytes)),
        .init(
            "6.10: CONTINUATION behind the last one", .connection(.protocolError),
            .headers(1, post, end: false, complete: false), .continuation(1),
            .continuation(1, trailers.bytes)),
        .init(
            "6.10: CONTINUATION behind DATA", .connection(.protocolError),
            .headers(1, post, end: false), .data(1, "a"), .continuation(1, trailers.bytes)),
        // 7
        .init(
            "7: RST_STREAM with a code nobody knows", .ignored, .headers(1, post, end: false),
            .reset(1, 0xFF)),
    ]

    // MARK: - 6.5: SETTINGS

    private static func setting(_ key: UInt16, _ value: UInt32) -> RawFrame {
        .settings([key: value])
    }

    static let settingsRows: [HTTP2Row] = [
        .init(
            "6.5: an ACK with content", .connection(.frameSizeError),
            RawFrame(.settings, .acknowledge, payload: [0, 1, 0, 0, 0, 0])),
        .init(
            "6.5: SETTINGS on a stream", .connection(.protocolError),
            RawFrame(.settings, stream: 1)),
        .init(
            "6.5: three bytes", .connection(.frameSizeError),
            RawFrame(.settings, payload: [0, 4, 0])),
        .init(
            "6.5: seven bytes", .connection(.frameSizeError),
            RawFrame(.settings, payload: [0, 4, 0, 0, 1, 0, 0])),
        .init("6.5.2: ENABLE_PUSH is 0 or 1", .connection(.protocolError), setting(2, 2)),
        .init(
            "6.5.2: INITIAL_WINDOW_SIZE ends at 2^31 - 1", .connection(.flowControlError),
            setting(4, 1 << 31)),
        .init(
            "6.5.2: MAX_FRAME_SIZE begins at 2^14", .connection(.protocolError),
            setting(5, 16_383)),
        .init("6.5.2: and ends at 2^24 - 1", .connection(.protocolError), setting(5, 1 << 24)),
        .init(
            "6.5.2: unknown settings are ignored", .answered(1),
            .settings([0: 1, 0xFF: 7, 0xFFFF: .max, 7: 7]), .headers(1, get)),
        .init(
            "6.5.2: every setting at its least", .answered(1),
            .settings([1: 0, 2: 0, 3: 0, 4: 65_535, 5: 16_384, 6: 0]),
            .headers(1, get)),
        .init(
            "6.5.2: every setting at its most", .answered(1),
            .settings([
                1: .max, 2: 1, 3: .max, 4: 0x7FFF_FFFF, 5: 0xFF_FFFF, 6: .max,
            ]), .headers(1, get)),
        .init(
            "RFC 8441, 3: ENABLE_CONNECT_PROTOCOL is 0 or 1", .connection(.protocolError),
            setting(8, 2)),
        .init(
            "RFC 9218, 2.1: NO_RFC7540_PRIORITIES is 0 or 1", .connection(.protocolError),
            setting(9, 2)),
    ]

    @Test("each type of frame is checked as its part of section 6 says")
    func types() throws {
        try Self.check(Self.dataRows + Self.headersRows + Self.shortRows + Self.settingsRows)
    }

    @Test("SETTINGS are acknowledged one by one, in their order among answers to PING")
    func acknowledgements() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        try client.send(
            .ping(Array("ping-one".utf8)), .settings([4: 100, 4: 200]),
            .ping(Array("ping-two".utf8)), .settings())
        try client.send(.ping(Array("ping-end".utf8), acknowledge: true))

        #expect(client.isAlive())
        let answers = client.frames.filter { $0.has(.acknowledge) && $0.kind == .settings }
        #expect(answers.count == 3 && answers.allSatisfy { $0.payload.isEmpty && $0.stream == 0 })
        let pings = client.frames.filter { $0.kind == .ping }
        // A PING that is an answer is not answered.
        #expect(pings.prefix(2).map(\.payload) == ["ping-one", "ping-two"].map { Array($0.utf8) })
        #expect(pings.count == 3 && pings.allSatisfy { $0.has(.acknowledge) })
        #expect(client.faults.isEmpty)
    }

    @Test("the server says what it expects: streams, window, and nothing that it may not")
    func announced() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        // §3.4: without a request, and before the client's preface is acknowledged.
        #expect(client.isAlive())

        let first = try #require(client.frames.first)
        #expect(first.kind == .settings && !first.has(.acknowledge) && first.stream == 0)
        #expect((1...128).contains(client.settings[3] ?? .max))
        #expect((16_384...65_536).contains(client.settings[4] ?? 65_535))
        #expect((client.settings[5] ?? 16_384) == 16_384)
        // §6.5.2: a server never says anything but 0.
        #expect((client.settings[2] ?? 0) == 0)
    }

    @Test("answers fit into frames and tables of the client's size")
    func clientSettings() throws {
        let upstream = try ScriptedUpstream(
            answering: String(repeating: "x", count: 60_000),
            fields: (0..<40).map { "X-\($0): \(String(repeating: "v", count: 500))" })
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2([1: 0, 5: 16_384])
        defer { client.close() }

        for _ in 0..<3 {
            let answer = try client.get()
            // §4.2: a head of 20,000 bytes takes CONTINUATION.
            #expect(answer.fields.count > 40 && answer.body.count == 60_000)
        }
        #expect(client.frames.contains { $0.kind == .continuation })
        #expect(client.faults.isEmpty)
    }

    @Test("GOAWAY of the client's, whatever its code, lets its streams end")
    func clientGoAway() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        // §7: codes nobody knows have no other effect.
        for code in [RawFrame.Code.noError, 0xFF] {
            let client = try edged.connectHTTP2()
            defer { client.close() }
            let stream = try client.request(HTTP2Client.fields("POST"), end: false)
            #expect(client.isAlive())
            try client.send(.goAway(last: 0, code, text: "bye"))
            #expect(client.isAlive())
            try client.send(.data(stream, "a", end: true))
            #expect(try client.response(stream).text == HTTP2Target.content)
            #expect(client.faults.isEmpty)
        }
    }
}
