internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios.HTTP2Abuse {
    private static let get = HPACKBlock(HTTP2Client.fields())
    private static let post = HPACKBlock(HTTP2Client.fields("POST"))
    private static let window = RawFrame.Setting.initialWindowSize

    /// The stream of the n-th round, when none was used before.
    private static func stream(_ round: Int) -> UInt32 { UInt32(round) * 2 + 1 }

    // MARK: - 29: resets

    /// Limits are 100 per second; what is on its way when they are reached comes on top.
    private static let resets: [HTTP2Attack] = [
        .init("rapid reset", "client_reset_flood") {
            [.headers(stream($0), get), .reset(stream($0))]
        },
        .init("rapid reset of uploads", "client_reset_flood") {
            [.headers(stream($0), post, end: false), .data(stream($0), "a"), .reset(stream($0))]
        },
        .init(
            "malformed requests", "client_reset_flood", "client_protocol_error", codes: either
        ) {
            [.headers(stream($0), get + .literal("X-A", "b"))]
        },
        .init(
            "malformed trailers", "client_reset_flood", "client_protocol_error", codes: either
        ) {
            [
                .headers(stream($0), post, end: false),
                .headers(stream($0), HPACKBlock([(":path", "/")])),
            ]
        },
        .init(
            "content longer than said", "client_reset_flood", "client_protocol_error", codes: either
        ) {
            [
                .headers(stream($0), post + .literal("content-length", "1"), end: false),
                .data(stream($0), "four", end: true),
            ]
        },
        .init(
            "windows of streams that overflow", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [
                .headers(stream($0), post, end: false), .windowUpdate(stream($0), 0x7FFF_FFFF),
                .windowUpdate(stream($0), 0x7FFF_FFFF),
            ]
        },
    ]

    /// Provoked resets that are errors of the connection for some; then the first one ends it.
    private static let provoked: [HTTP2Attack] = [
        .init(
            "made you reset: WINDOW_UPDATE by 0", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [.headers(stream($0), get), .windowUpdate(stream($0), 0)]
        },
        .init(
            "made you reset: DATA behind the end", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [.headers(stream($0), get), .data(stream($0), "a")]
        },
        .init(
            "made you reset: HEADERS behind the end", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [.headers(stream($0), get), .headers(stream($0), get)]
        },
        .init(
            "made you reset: a dependency on itself", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [.headers(stream($0), get), .priority(stream($0), .init(dependsOn: stream($0)))]
        },
        .init(
            "made you reset: PRIORITY of four bytes", "client_reset_flood", "client_protocol_error",
            codes: either
        ) {
            [
                .headers(stream($0), get),
                RawFrame(.priority, stream: stream($0), payload: [0, 0, 0, 1]),
            ]
        },
    ]
    private static let either: [RawFrame.Code] = [
        .enhanceYourCalm, .protocolError, .streamClosed, .frameSizeError,
    ]

    @Test("resets by the hundred end the connection, whoever sends them")
    func resetFloods() throws { try Self.check(Self.resets) }

    @Test("frames that make the server reset end the connection, at once or as resets")
    func provokedResets() throws { try Self.check(Self.provoked) }

    // MARK: - 30 and 31: field blocks

    private static let blocks: [HTTP2Attack] = [
        .init(
            "CONTINUATION without end", "client_header_flood",
            opening: [.headers(1, get, complete: false)]
        ) { _ in
            [
                .continuation(
                    1, HPACKBlock([("x-a", .init(repeating: "b", count: 16_000))]).bytes,
                    complete: false)
            ]
        },
        .init(
            "empty CONTINUATION without end", "client_header_flood",
            opening: [.headers(1, get, complete: false)]
        ) { _ in
            [.continuation(1, complete: false)]
        },
        .init(
            "CONTINUATION of a byte", "client_header_flood",
            opening: [.headers(1, HPACKBlock(), complete: false)]
        ) { index in
            [.continuation(1, [get.bytes[index % get.bytes.count]], complete: false)]
        },
        .init(
            "CONTINUATION without end in trailers", "client_header_flood",
            opening: [
                .headers(1, post, end: false),
                .headers(1, HPACKBlock([("x-a", "b")]), complete: false),
            ]
        ) { _ in [.continuation(1, complete: false)] },
    ]

    @Test("a field block that does not end is cut by its frames and by its bytes")
    func continuationFloods() throws { try Self.check(Self.blocks) }

    @Test("references to a table multiply nothing: what they make is bounded while it is read")
    func tableBomb() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let bystander = try Bystander(edged)
        let pid = try edged.proxyPID()
        let before = ProcessFigures(of: pid)?.residentKiB ?? 0
        let requests = upstream.requests.count

        let client = try edged.connectHTTP2()
        defer { client.close() }
        // An entry of 4,000 bytes, and 12,000 times it in as many bytes: 48 MB a block.
        let entry = HPACKBlock.literal("x-a", .init(repeating: "b", count: 4000), .indexed)
        try client.send(.headers(1, Self.get + entry))
        _ = try client.response(1)
        var refused = 0
        for _ in 0..<20 where client.ending == nil && client.goAway == nil {
            let stream = client.nextStream
            let bomb = Self.get + HPACKBlock(.init(repeating: 0x80 | 62, count: 12_000))
            try? client.send(.headers(stream, bomb))
            guard let answer = try? client.response(stream) else { continue }
            #expect(answer.reset != nil || answer.status == 431)
            refused += 1
        }

        #expect(refused == 20 || client.goAway?.code == .enhanceYourCalm)
        let grown = (ProcessFigures(of: pid)?.residentKiB ?? .max) - before
        #expect(grown < Self.growthKiBMax, "\(grown) KiB")
        let seen = bystander.stop()
        #expect(seen.trouble == nil && seen.worst < Self.worstMax)
        let lengths = upstream.connections.map(\.received.count)
        #expect((lengths.max() ?? 0) < 1 << 20 && upstream.requests.count > requests)
        #expect(!upstream.requests.contains { $0.fields.count > 100 })
    }

    @Test("a head over the limits is a 431 on its stream; its neighbours are served")
    func largeHeads() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let entry = HPACKBlock.literal("x-a", .init(repeating: "b", count: 4000), .indexed)
        try client.send(.headers(1, Self.get + entry))
        #expect(try client.response(1).text == "ok")

        // So many times 4,035 bytes; the limit is 64 KiB.
        for (count, status) in [(15, 200), (17, 431), (100, 431), (14, 200)] {
            let stream = client.nextStream
            let references = HPACKBlock([UInt8](repeating: 0x80 | 62, count: count))
            try client.send(.headers(stream, Self.get + references))
            #expect(try client.response(stream).status == status, "\(count) times")
        }
        let many = (0..<300).map { ("x-\($0)", "a") }
        #expect(try client.get("/", with: many).status == 431)
        #expect(try client.get().text == "ok")
        #expect(client.goAway == nil && client.faults.isEmpty)
    }

    @Test("a large head in several frames arrives whole; one beyond the limit is refused")
    func continuedHeads() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        func ask(_ count: Int) throws -> UInt32 {
            let fields = (0..<count).map { ("x-\($0)", String(repeating: "b", count: 10_000)) }
            let bytes = HPACKBlock(HTTP2Client.fields("GET", "/", with: fields)).bytes
            let stream = client.nextStream
            let parts = stride(from: 0, to: bytes.count, by: RawFrame.payloadMax).map {
                Array(bytes[$0..<min($0 + RawFrame.payloadMax, bytes.count)])
            }
            try client.send(.headers(stream, HPACKBlock(parts[0]), complete: false))
            for (index, part) in parts.dropFirst().enumerated() {
                try client.send(.continuation(stream, part, complete: index == parts.count - 2))
            }
            return stream
        }

        for count in [3, 5] {
            #expect(try client.response(ask(count)).text == "ok")
            let sent = upstream.requests.last?.fields.filter { $0.value.count == 10_000 }
            #expect(sent?.count == count)
        }
        // Its bytes alone are too many: rule 30 allows to end the connection.
        let stream = try ask(8)
        _ = client.wait { client.messages[stream]?.isOver == true || client.ending != nil }
        #expect(
            client.messages[stream]?.status == 431 || client.goAway?.code == .enhanceYourCalm)
        #expect(upstream.requests.count == 2)
    }

    // MARK: - 32: frames that cost us more than them

    private static let floods: [HTTP2Attack] = [
        .init("PING", "client_ping_flood") { _ in [.ping()] },
        .init("PING answers that nobody asked for", "client_ping_flood") { _ in
            [.ping(acknowledge: true)]
        },
        .init("SETTINGS", "client_settings_flood") { _ in [.settings([window: 65_535])]
        },
        .init("empty SETTINGS", "client_settings_flood") { _ in [.settings()] },
        .init("SETTINGS that move windows", "client_settings_flood") {
            [.settings([window: UInt32(1 + $0 % 2)])]
        },
        .init("PRIORITY", "client_priority_flood") {
            [.priority(stream($0 % 1000), .init(dependsOn: 0))]
        },
        .init("WINDOW_UPDATE", "client_window_flood") { _ in [.windowUpdate(0, 1)] },
        .init(
            "WINDOW_UPDATE of a stream", "client_window_flood",
            opening: [.headers(1, post, end: false)]
        ) { _ in [.windowUpdate(1, 1)] },
        .init(
            "empty DATA", "client_empty_data_flood",
            opening: [.headers(1, post, end: false)]
        ) { _ in [.data(1)] },
        .init(
            "DATA of nothing but padding", "client_empty_data_flood",
            opening: [.headers(1, post, end: false)]
        ) { _ in [.data(1, padding: 10)] },
        .init("frames of unknown types", "client_unknown_frame_flood") {
            [RawFrame(.init(rawValue: UInt8(32 + $0 % 200)), payload: [1])]
        },
        .init("PRIORITY_UPDATE", "client_unknown_frame_flood") { _ in
            [RawFrame(0x10, payload: [0, 0, 0, 1] + Array("u=1".utf8))]
        },
    ]

    @Test("floods of frames that bring nothing are cut at once, each with its reason")
    func frameFloods() throws { try Self.check(Self.floods) }
}
