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
        .init("rapid reset", "client_reset_flood", most: 400) {
            [.headers(stream($0), get), .reset(stream($0))]
        },
        .init("rapid reset of uploads", "client_reset_flood", most: 400) {
            [.headers(stream($0), post, end: false), .data(stream($0), "a"), .reset(stream($0))]
        },
        .init("malformed requests", "client_reset_flood", most: 400) {
            [.headers(stream($0), get + .literal("X-A", "b"))]
        },
        .init("malformed trailers", "client_reset_flood", most: 400) {
            [
                .headers(stream($0), post, end: false),
                .headers(stream($0), HPACKBlock([(":path", "/")])),
            ]
        },
        .init("content longer than said", "client_reset_flood", most: 400) {
            [
                .headers(stream($0), post + .literal("content-length", "1"), end: false),
                .data(stream($0), "four", end: true),
            ]
        },
        .init("windows of streams that overflow", "client_reset_flood", most: 400) {
            [
                .headers(stream($0), post, end: false), .windowUpdate(stream($0), 0x7FFF_FFFF),
                .windowUpdate(stream($0), 0x7FFF_FFFF),
            ]
        },
    ]

    /// Provoked resets that are errors of the connection for some; then the first one ends it.
    private static let provoked: [HTTP2Attack] = [
        .init("made you reset: WINDOW_UPDATE by 0", "client_reset_flood", codes: either, most: 400)
        {
            [.headers(stream($0), get), .windowUpdate(stream($0), 0)]
        },
        .init("made you reset: DATA behind the end", "client_reset_flood", codes: either, most: 400)
        {
            [.headers(stream($0), get), .data(stream($0), "a")]
        },
        .init(
            "made you reset: HEADERS behind the end", "client_reset_flood", codes: either, most: 400
        ) {
            [.headers(stream($0), get), .headers(stream($0), get)]
        },
        .init(
            "made you reset: a dependency on itself", "client_reset_flood", codes: either, most: 400
        ) {
            [.headers(stream($0), get), .priority(stream($0), .init(dependsOn: stream($0)))]
        },
        .init(
            "made you reset: PRIORITY of four bytes", "client_reset_flood", codes: either, most: 400
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
    func provokedResets() throws { try Self.checkProvoked(Self.provoked) }

    /// The reason counted may be either.
    private static func checkProvoked(_ attacks: [HTTP2Attack]) throws {
        let upstream = try Nginx()
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let bystander = try Bystander(edged)
        func counted() throws -> Int {
            try edged.failures("client_reset_flood") + edged.failures("client_protocol_error")
        }

        for attack in attacks {
            let before = try counted()
            let client = try edged.connectHTTP2()
            defer { client.close() }
            let sent = client.flood(2000, attack.round)
            #expect(client.wait { client.ending != nil }, "\(attack.name)")
            #expect(client.goAway?.code.map(attack.codes.contains) == true, "\(attack.name)")
            #expect(sent <= attack.most, "\(attack.name): \(sent)")
            #expect(eventually { (try? counted()) ?? 0 > before }, "\(attack.name)")
        }
        let seen = bystander.stop()
        #expect(seen.trouble == nil && seen.worst < worstMax)
    }

    // MARK: - 30 and 31: field blocks

    private static let blocks: [HTTP2Attack] = [
        .init(
            "CONTINUATION without end", "client_header_flood",
            opening: [.headers(1, get, complete: false)], most: 40
        ) { _ in
            [
                .continuation(
                    1, HPACKBlock([("x-a", .init(repeating: "b", count: 16_000))]).bytes,
                    complete: false)
            ]
        },
        .init(
            "empty CONTINUATION without end", "client_header_flood",
            opening: [.headers(1, get, complete: false)], most: 100
        ) { _ in
            [.continuation(1, complete: false)]
        },
        .init(
            "CONTINUATION of a byte", "client_header_flood",
            opening: [.headers(1, HPACKBlock(), complete: false)], most: 100
        ) { index in
            [.continuation(1, [get.bytes[index % get.bytes.count]], complete: false)]
        },
        .init(
            "CONTINUATION without end in trailers", "client_header_flood",
            opening: [
                .headers(1, post, end: false),
                .headers(1, HPACKBlock([("x-a", "b")]), complete: false),
            ], most: 100
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

    @Test("a head over the limit is a 431 on its stream; its neighbours are served")
    func largeHeads() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let value = String(repeating: "b", count: 10_000)

        for count in [5, 7, 6] {
            let fields = (0..<count).map { ("x-\($0)", value) }
            let block = HPACKBlock(HTTP2Client.fields("GET", "/", with: fields)).bytes
            let stream = client.nextStream
            var frames = [
                RawFrame.headers(stream, HPACKBlock(Array(block.prefix(16_384))), complete: false)
            ]
            for start in stride(from: 16_384, to: block.count, by: 16_384) {
                let end = min(start + 16_384, block.count)
                frames.append(
                    .continuation(stream, Array(block[start..<end]), complete: end == block.count))
            }
            try client.send(frames)
            let answer = try client.response(stream)
            #expect(answer.status == (count == 7 ? 431 : 200), "\(count) of 10,000 bytes")
        }
        let many = (0..<300).map { ("x-\($0)", "a") }
        #expect(try client.get("/", with: many).status == 431)
        #expect(try client.get().text == "ok")
        #expect(client.goAway == nil && client.faults.isEmpty)
    }

    // MARK: - 32: frames that cost us more than them

    private static let floods: [HTTP2Attack] = [
        .init("PING", "client_ping_flood", most: 2000) { _ in [.ping()] },
        .init("PING answers that nobody asked for", "client_ping_flood", most: 2000) { _ in
            [.ping(acknowledge: true)]
        },
        .init("SETTINGS", "client_settings_flood", most: 500) { _ in [.settings([window: 65_535])]
        },
        .init("empty SETTINGS", "client_settings_flood", most: 500) { _ in [.settings()] },
        .init("SETTINGS that move windows", "client_settings_flood", most: 500) {
            [.settings([window: UInt32(1 + $0 % 2)])]
        },
        .init("PRIORITY", "client_priority_flood", most: 3000) {
            [.priority(stream($0 % 1000), .init(dependsOn: 0))]
        },
        .init("WINDOW_UPDATE", "client_window_flood", most: 8000) { _ in [.windowUpdate(0, 1)] },
        .init(
            "WINDOW_UPDATE of a stream", "client_window_flood",
            opening: [.headers(1, post, end: false)], most: 8000
        ) { _ in [.windowUpdate(1, 1)] },
        .init(
            "empty DATA", "client_empty_data_flood",
            opening: [.headers(1, post, end: false)], most: 2000
        ) { _ in [.data(1)] },
        .init(
            "DATA of nothing but padding", "client_empty_data_flood",
            opening: [.headers(1, post, end: false)], most: 2000
        ) { _ in [.data(1, padding: 10)] },
        .init("frames of unknown types", "client_unknown_frame_flood", most: 2000) {
            [RawFrame(.init(rawValue: UInt8(32 + $0 % 200)), payload: [1])]
        },
        .init("PRIORITY_UPDATE", "client_unknown_frame_flood", most: 2000) { _ in
            [RawFrame(0x10, payload: [0, 0, 0, 1] + Array("u=1".utf8))]
        },
    ]

    @Test("floods of frames that bring nothing are cut at once, each with its reason")
    func frameFloods() throws { try Self.check(Self.floods) }
}
