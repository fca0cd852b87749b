internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 9113 §5.1 to §5.4.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields())
    private static let post = HPACKBlock(HTTP2Client.fields("POST"))
    private static let trailers = HPACKBlock([("x-sum", "1")])
    private static let closed: [RawFrame.Code] = [.streamClosed]
    private static let closedOrProtocol: [RawFrame.Code] = [.streamClosed, .protocolError]

    /// Not answered by a stream error of the server's: a new request is sent after `frames`.
    private static func afterAnswer(
        _ name: String, _ expected: HTTP2Reaction, _ frames: RawFrame...
    ) -> HTTP2Row {
        HTTP2Row(name, expected) { client in
            try client.send(.headers(1, get))
            _ = try client.response(1)
            try client.send(frames)
        }
    }

    static let stateRows: [HTTP2Row] = [
        // Idle.
        .init("5.1: DATA on an idle stream", .connection(.protocolError), .data(1, "a", end: true)),
        .init("5.1: RST_STREAM on an idle stream", .connection(.protocolError), .reset(1)),
        .init("5.1: on an idle stream of the server's", .connection(.protocolError), .reset(2)),
        .init(
            "5.1: WINDOW_UPDATE on an idle stream", .connection(.protocolError),
            .windowUpdate(1, 100)),
        .init(
            "5.1: on an idle stream of the server's", .connection(.protocolError),
            .windowUpdate(2, 100)),
        .init(
            "5.1: DATA on an idle stream of the server's", .connection(.protocolError),
            .data(2, "a")),
        .init(
            "5.1: CONTINUATION on an idle stream", .connection(.protocolError),
            .continuation(1, get.bytes)),
        .init(
            "5.1: PRIORITY on an idle stream", .answered(1), .priority(1, .init(weight: 255)),
            .priority(99, .init(dependsOn: 1)), .headers(1, get)),

        // Half-closed (remote).
        .init(
            "5.1: DATA behind END_STREAM", .either(1, closed), .headers(1, get),
            .data(1, "a", end: true)),
        .init(
            "5.1: empty DATA behind END_STREAM", .either(1, closed), .headers(1, get),
            .data(1, end: true)),
        .init(
            "5.1: HEADERS behind END_STREAM", .either(1, closed), .headers(1, get),
            .headers(1, trailers)),
        .init(
            "5.1: DATA behind DATA with END_STREAM", .either(1, closed),
            .headers(1, post, end: false), .data(1, "a", end: true), .data(1, "b", end: true)),
        .init(
            "5.1: DATA behind trailers", .either(1, closed), .headers(1, post, end: false),
            .data(1, "a"), .headers(1, trailers), .data(1, "b", end: true)),
        .init(
            "5.1: CONTINUATION behind END_STREAM", .connection(closedOrProtocol),
            .headers(1, get), .continuation(1, trailers.bytes)),
        .init(
            "5.1: PRIORITY and WINDOW_UPDATE behind END_STREAM", .answered(1),
            .headers(1, get), .priority(1, .init()), .windowUpdate(1, 1)),
        .init("5.1: RST_STREAM behind END_STREAM", .ignored, .headers(1, get), .reset(1)),

        // Closed, by the client's RST_STREAM.
        .init(
            "5.1: DATA behind RST_STREAM", .either(1, closed), .headers(1, post, end: false),
            .reset(1), .data(1, "a", end: true)),
        .init(
            "5.1: HEADERS behind RST_STREAM", .either(1, closed), .headers(1, post, end: false),
            .reset(1), .headers(1, trailers)),
        .init(
            "5.1: CONTINUATION behind RST_STREAM", .connection(closedOrProtocol),
            .headers(1, post, end: false), .reset(1), .continuation(1, trailers.bytes)),
        .init(
            "5.1: PRIORITY behind RST_STREAM", .ignored, .headers(1, post, end: false),
            .reset(1), .priority(1, .init())),

        // Closed, by END_STREAM of both.
        afterAnswer("5.1: DATA on a closed stream", .either(1, closed), .data(1, "a", end: true)),
        afterAnswer(
            "5.1: HEADERS on a closed stream", .connection(closedOrProtocol),
            .headers(1, trailers)),
        afterAnswer(
            "5.1: a request on a closed stream", .connection(closedOrProtocol),
            .headers(1, get)),
        afterAnswer(
            "5.1: CONTINUATION on a closed stream", .connection(closedOrProtocol),
            .continuation(1, trailers.bytes)),
        afterAnswer("5.1: PRIORITY on a closed stream", .ignored, .priority(1, .init())),
        // They may have been on their way (§5.1, “closed”).
        afterAnswer("5.1: WINDOW_UPDATE on a closed stream", .ignored, .windowUpdate(1, 100)),
        afterAnswer("5.1: RST_STREAM on a closed stream", .ignored, .reset(1)),

        // Closed, by the server's RST_STREAM: all may have been on its way.
        .init("5.1: frames for a stream that the server has reset", .stream(1, [.protocolError])) {
            try $0.send(
                .headers(
                    1, HPACKBlock(HTTP2Client.fields("POST", with: [("X-A", "b")])), end: false),
                .data(1, "a"), .windowUpdate(1, 1), .priority(1, .init()), .headers(1, trailers))
        },
    ]

    /// RFC 9113 §5.1.1.
    static let identifierRows: [HTTP2Row] = [
        .init("5.1.1: a stream of even number", .connection(.protocolError), .headers(2, get)),
        .init("5.1.1: stream 0", .connection(.protocolError), .headers(0, get)),
        .init("5.1.1: a number below the last", .connection(closedOrProtocol)) { client in
            try client.send(.headers(5, get))
            _ = try client.response(5)
            try client.send(.headers(3, get))
        },
        .init(
            "5.1.1: the same while the last is open", .connection(.protocolError),
            .headers(5, post, end: false), .headers(3, get)),
        .init("5.1.1: numbers may be left out", .answered(9), .headers(7, get), .headers(9, get)),
        .init(
            "5.1.1: DATA on a number that was left out", .connection(closedOrProtocol),
            .headers(5, post, end: false), .data(3, "a", end: true)),
        .init(
            "5.1.1: a second head opens no second stream", .malformed(1),
            .headers(1, post, end: false), .headers(1, post, end: false)),
    ]

    /// RFC 9113 §5.3: deprecated, and of no effect.
    static let priorityRows: [HTTP2Row] = [
        .init(
            "5.3: a head with priority", .answered(1),
            .headers(1, get, priority: .init(dependsOn: 0, weight: 0))),
        .init(
            "5.3: an exclusive dependency on a stream that is not there", .answered(3),
            .headers(3, get, padding: 4, priority: .init(dependsOn: 99, isExclusive: true))),
        .init(
            "5.3: dependencies in a circle", .answered(7),
            .priority(3, .init(dependsOn: 5)), .priority(5, .init(dependsOn: 3, isExclusive: true)),
            .headers(7, get, priority: .init(dependsOn: 5))),
        .init(
            "5.3: PRIORITY while content comes", .answered(1), .headers(1, post, end: false),
            .priority(1, .init(dependsOn: 3)), .data(1, "a"), .priority(1, .init(weight: 1)),
            .data(1, "b", end: true)),
        .init(
            "RFC 9218: PRIORITY_UPDATE and the field are harmless", .answered(1),
            RawFrame(0x10, payload: [0, 0, 0, 1] + Array("u=1, i".utf8)),
            .headers(1, HPACKBlock(HTTP2Client.fields("GET", with: [("priority", "u=9, x")])))),
        .init(
            "RFC 7540, 5.3.1: a head that depends on itself", .either(.protocolError),
            .headers(1, get, priority: .init(dependsOn: 1))),
        .init(
            "RFC 7540, 5.3.1: PRIORITY that depends on itself", .either(.protocolError),
            .headers(1, post, end: false), .priority(1, .init(dependsOn: 1))),
    ]

    @Test("frames meet streams in every state as section 5.1 says")
    func states() throws {
        try Self.check(Self.stateRows + Self.identifierRows)
    }

    @Test("priorities are read and change nothing")
    func priorities() throws { try Self.check(Self.priorityRows) }

    // MARK: - 5.1.2: concurrency

    @Test("streams over the announced number are refused, and others serve on")
    func concurrency() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "http2: { streams: 4 }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        // Who has not acknowledged the number can't be blamed.
        client.acknowledgesSettings = false
        #expect(client.wait { client.settings[RawFrame.Setting.maxConcurrentStreams] == 4 })

        let open = try (0..<4).map { _ in
            try client.request(HTTP2Client.fields("POST"), end: false)
        }
        let fifth = try client.request(HTTP2Client.fields())

        #expect(try client.response(fifth).reset == .refusedStream)
        #expect(client.goAway == nil && client.isAlive())
        #expect(upstream.requests.isEmpty)
        try client.send(open.map { .data($0, "a", end: true) })
        for stream in open { #expect(try client.response(stream).text == HTTP2Target.content) }
        #expect(try client.get().text == HTTP2Target.content)
        #expect(client.faults.isEmpty)
    }

    @Test("streams over the number that was acknowledged are an error, of theirs or of all")
    func concurrencyAcknowledged() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "http2: { streams: 4 }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        #expect(client.wait { client.settings[RawFrame.Setting.maxConcurrentStreams] == 4 })
        #expect(client.isAlive())

        for _ in 0..<4 { try client.request(HTTP2Client.fields("POST"), end: false) }
        let fifth = try client.request(HTTP2Client.fields())

        // §5.1.2, and §5.4 for the second.
        _ = client.wait { client.resetCode(fifth) != nil || client.ending != nil }
        let code = client.resetCode(fifth) ?? client.goAway?.code
        #expect(code == .refusedStream || code == .protocolError)
        #expect(upstream.requests.isEmpty && client.faults.isEmpty)
    }

    @Test("the largest stream number serves, and is the last")
    func lastNumber() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        try client.send(.headers(0x7FFF_FFFF, Self.get))

        #expect(try client.response(0x7FFF_FFFF).text == HTTP2Target.content)
        // §6.8: new streams need a new connection.
        let other = try edged.connectHTTP2()
        defer { other.close() }
        #expect(try other.get().text == HTTP2Target.content)
    }

    @Test("content for streams that the server has reset gives its window back")
    func creditOfResetStreams() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let bad = HTTP2Client.fields("POST", with: [("X-A", "b")])
        let total = 4 << 20

        var sent = 0
        while sent < total {
            let stream = try client.request(bad, end: false)
            // Until the reset can have come.
            try client.sendContent(stream, .init(repeating: 0, count: 65_535), end: false)
            sent += 65_535
            let answer = try client.response(stream)
            #expect(answer.reset == .protocolError || answer.status == 400)
        }

        let body = [UInt8](repeating: 1, count: 200_000)
        #expect(try client.post("/", body).text == HTTP2Target.content)
        #expect(upstream.requests.map(\.body) == [body])
    }
}
