internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 9113 §5.2 and §6.9.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields())
    private static let post = HPACKBlock(HTTP2Client.fields("POST"))
    private static let window = RawFrame.Setting.initialWindowSize

    /// Content of exactly these sizes comes, one after the other, each behind its frames.
    private static func steps(
        _ name: String, initial: UInt32, _ steps: [(frames: [RawFrame], total: Int)]
    ) -> HTTP2Row {
        HTTP2Row(name, .answered(1), opens: false) { client in
            client.returnsCredit = false
            let first = RawFrame.settings([window: initial])
            try client.send(bytes: RawFrame.preface)
            try client.send(first, .headers(1, get))
            for (frames, total) in steps {
                try client.send(frames)
                _ = client.wait { (client.messages[1]?.body.count ?? -1) >= total }
                // What is behind the answer to PING would have come before it.
                let isExact = client.isAlive() && client.messages[1]?.body.count == total
                guard isExact else { throw KitError("not \(total) bytes") }
                if total > 0, total < HTTP2Target.content.utf8.count,
                    client.messages[1]?.isEnded == true
                {
                    throw KitError("ended")
                }
            }
            try client.send(.windowUpdate(1, 100), .settings([window: 65_535]))
            client.returnsCredit = true
        }
    }

    static let windowRows: [HTTP2Row] = [
        .init(
            "6.9: an increment of 0 on stream 0", .connection(.protocolError),
            .windowUpdate(0, 0)),
        .init(
            "6.9: an increment of 0 but for the reserved bit", .connection(.protocolError),
            .windowUpdate(0, 1 << 31)),
        .init(
            "6.9: an increment of 0 on a stream", .either(.protocolError),
            .headers(1, post, end: false), .windowUpdate(1, 0)),
        .init(
            "6.9: three bytes", .connection(.frameSizeError),
            RawFrame(.windowUpdate, payload: [0, 0, 1])),
        .init(
            "6.9: five bytes on a stream", .connection(.frameSizeError),
            .headers(1, post, end: false),
            RawFrame(.windowUpdate, stream: 1, payload: [0, 0, 0, 1, 0])),
        .init(
            "6.9.1: a connection's window over 2^31 - 1", .connection(.flowControlError),
            .windowUpdate(0, 0x7FFF_FFFF), .windowUpdate(0, 0x7FFF_FFFF)),
        .init(
            "6.9.1: a connection's window of just that", .ignored,
            .windowUpdate(0, 0x7FFF_FFFF - 65_535)),
        .init(
            "6.9.1: a stream's window over 2^31 - 1", .either(.flowControlError),
            .headers(1, post, end: false), .windowUpdate(1, 0x7FFF_FFFF),
            .windowUpdate(1, 0x7FFF_FFFF)),
        .init(
            "6.9.2: a stream's window over it by SETTINGS", .connection(.flowControlError),
            .headers(1, post, end: false), .windowUpdate(1, 0x7FFF_FFFF - 65_535),
            .settings([window: 65_536])),
        .init(
            "6.9.2: a new initial size leaves the connection's window alone", .ignored,
            .windowUpdate(0, 0x7FFF_FFFF - 65_535), .settings([window: 100_000])),
    ]

    /// The count of what came says whether windows are kept.
    static let creditRows: [HTTP2Row] = [
        steps("6.9.1: a window of one byte", initial: 1, [([], 1)]),
        steps(
            "6.9.1: no window, then two bytes", initial: 0,
            [([], 0), ([.windowUpdate(1, 1)], 1), ([.windowUpdate(1, 1)], 2)]),
        steps(
            "6.9.2: an initial size that grows counts for open streams", initial: 0,
            [([], 0), ([.settings([window: 1])], 1)]),
        steps(
            "6.9.2: one that shrinks makes windows negative", initial: 3,
            [
                ([], 3), ([.settings([window: 1])], 3), ([.windowUpdate(1, 2)], 3),
                ([.windowUpdate(1, 1)], 4),
            ]),
        steps(
            "6.9.2: negative, and back by SETTINGS", initial: 4,
            [([], 4), ([.settings([window: 0])], 4), ([.settings([window: 6])], 6)]),
        steps(
            "6.5.3: of two values the last counts", initial: 0,
            [([.settings([window: 100, window: 1])], 1)]),
    ]

    @Test("windows are kept to the byte, whatever changes them")
    func windows() throws { try Self.check(Self.windowRows + Self.creditRows) }

    @Test("the connection's window bounds all streams, and each stream's only itself")
    func sharedWindow() throws {
        let size = 50_000
        let upstream = try ScriptedUpstream(answering: String(repeating: "x", count: size))
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2([Self.window: 1 << 20])
        defer { client.close() }
        client.returnsCredit = false

        let streams = try (0..<3).map { _ in try client.request(HTTP2Client.fields()) }
        func total() -> Int { client.messages.values.reduce(0) { $0 + $1.body.count } }
        #expect(client.wait { total() == 65_535 })
        #expect(client.isAlive())
        #expect(total() == 65_535)
        // One more stream that needs no window is answered.
        let empty = try client.request(HTTP2Client.fields("HEAD"))
        #expect(try client.response(empty).status == 200)
        try client.send(.windowUpdate(0, 100_000))

        for stream in streams { #expect(try client.response(stream).body.count == size) }
        #expect(client.faults.isEmpty)
    }

    @Test("a stream that is stalled by its window stalls no other")
    func stalledStream() throws {
        let size = 300_000
        let upstream = try ScriptedUpstream(answering: String(repeating: "x", count: size))
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        client.returnsCredit = false

        let stalled = try client.request(HTTP2Client.fields())
        #expect(client.wait { client.messages[stalled]?.body.count == 65_535 })
        try client.send(.windowUpdate(0, 1 << 20))
        let other = try client.request(HTTP2Client.fields())
        try client.send(.windowUpdate(other, 1 << 20))

        #expect(try client.response(other).body.count == size)
        #expect(client.messages[stalled]?.body.count == 65_535)
        try client.send(.windowUpdate(stalled, 1 << 20))
        #expect(try client.response(stalled).body.count == size)
        #expect(client.faults.isEmpty)
    }

    @Test("content beyond our window is a FLOW_CONTROL_ERROR; what fits is taken")
    func overrun() throws {
        // It reads the head and no more, so that nothing is given back.
        let upstream = try ScriptedUpstream([.readHead, .hold])
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "http2: { stream_window: 64KiB }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        #expect(client.wait { !client.settings.isEmpty })
        let window = Int(client.settings[Self.window] ?? 65_535)

        let stream = try client.request(HTTP2Client.fields("POST"), end: false)
        // What the upstream and the buffers before it take is given back: then it stops.
        _ = try? client.sendContent(
            stream, .init(repeating: 0, count: 64 << 20), end: false, within: .seconds(2))
        #expect(client.ending == nil && client.goAway == nil && client.isAlive())
        #expect(window <= 65_536)
        try client.send(.data(stream, .init(repeating: 0, count: 16_384)))

        _ = client.wait { client.resetCode(stream) != nil || client.ending != nil }
        let code = client.resetCode(stream) ?? client.goAway?.code
        #expect(code == .flowControlError)
    }

    @Test("padding is given back to both windows")
    func padding() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let stream = try client.request(HTTP2Client.fields("POST"), end: false)
        let frame = RawFrame.data(stream, [1], padding: 255)

        // Four windows of almost nothing but padding.
        for _ in 0..<1024 {
            let room = client.wait {
                client.connectionWindow >= 257 && client.window(stream) >= 257
            }
            guard room else { break }
            try client.send(frame)
        }
        try client.send(.data(stream, end: true))

        #expect(try client.response(stream).text == HTTP2Target.content)
        #expect(upstream.requests.map(\.body) == [[UInt8](repeating: 1, count: 1024)])
        #expect(client.faults.isEmpty)
    }
}
