internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// BEHAVIOUR 29, 33 and 34: what takes its time, and what only looks like abuse.
extension Scenarios.HTTP2Abuse {
    private static let window = RawFrame.Setting.initialWindowSize

    // MARK: - 33: stalled windows

    private static func large(_ upstream: Nginx) throws {
        try Data(repeating: 0x61, count: 1 << 20).write(
            to: URL(fileURLWithPath: upstream.file("large")))
        try "ok".write(toFile: upstream.file("index.html"), atomically: false, encoding: .utf8)
    }

    @Test("answers to windows that never open end in time, and hold little meanwhile")
    func stalledWindows() throws {
        let upstream = try Nginx()
        try Self.large(upstream)
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(
            oneSite(upstream.server, more: "timeouts: { body: 1s }"), options)
        defer { edged.stop() }
        let bystander = try Bystander(edged)
        let pid = try edged.proxyPID()
        let before = ProcessFigures(of: pid)?.residentKiB ?? 0

        let clients = try (0..<10).map { _ in
            let client = try edged.connectHTTP2([Self.window: 0])
            client.returnsCredit = false
            return client
        }
        defer { for client in clients { client.close() } }
        for client in clients {
            for _ in 0..<50 { try client.request(HTTP2Client.fields("GET", "/large")) }
            #expect(client.isAlive())
        }
        let grown = (ProcessFigures(of: pid)?.residentKiB ?? .max) - before
        #expect(grown < Self.growthKiBMax, "500 stalled streams hold \(grown) KiB")

        let begin = Instant.now()
        for client in clients {
            // Each stream is reset, or the connection is cut.
            #expect(
                client.wait(within: .seconds(6)) {
                    client.ending != nil
                        || client.messages.values.filter { $0.isOver }.count == 50
                })
        }
        #expect(Instant.now().nanoseconds(since: begin) > 500_000_000)
        #expect(eventually { (try? edged.metric("edged_requests_active")) ?? .max < 3 })
        #expect(try edged.failures("client_read_timeout") >= 10)
        // 500 answers at once are work for a debug build on one busy core.
        let seen = bystander.stop()
        #expect(seen.trouble == nil && seen.worst < .seconds(3), "\(seen)")
    }

    @Test("a window that opens by single bytes falls behind the least rate, and is cut")
    func drippingWindow() throws {
        let upstream = try Nginx()
        try Self.large(upstream)
        let edged = try Edged(
            oneSite(
                upstream.server,
                more: "timeouts: { body: 1s }\nlimits: { min_download_rate: 10KiB }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2([Self.window: 1])
        defer { client.close() }
        client.returnsCredit = false

        let stream = try client.request(HTTP2Client.fields("GET", "/large"))
        let deadline = Instant.now().advanced(by: .seconds(8))
        while client.messages[stream]?.isOver != true, client.ending == nil,
            Instant.now() < deadline
        {
            try? client.send(.windowUpdate(stream, 1))
            _ = client.wait(within: .milliseconds(20)) { false }
        }

        #expect(client.messages[stream]?.reset != nil || client.ending != nil)
        #expect(client.messages[stream]?.isEnded != true, "\(client.frames.suffix(4))")
        #expect(try edged.failures("client_read_timeout") == 1)
    }

    @Test("content that drips by single bytes falls behind the least rate, and is cut")
    func drippingContent() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(
                upstream.server,
                more: "timeouts: { body: 1s }\nlimits: { min_upload_rate: 10KiB }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let stream = try client.request(HTTP2Client.fields("POST", "/never"), end: false)
        let deadline = Instant.now().advanced(by: .seconds(8))
        while client.messages[stream]?.isOver != true, client.ending == nil,
            Instant.now() < deadline
        {
            try? client.send(.data(stream, "a"))
            _ = client.wait(within: .milliseconds(20)) { false }
        }

        let answer = client.messages[stream]
        #expect(answer?.reset != nil || answer?.status == 408 || client.ending != nil)
        #expect(try edged.failures("client_body_timeout") == 1)
        #expect(upstream.wait { $0.allSatisfy { $0.ending != nil } })
        #expect(upstream.requests.isEmpty)
    }

    @Test("a client that reads nothing at all is cut, whatever it is owed")
    func deafClient() throws {
        let upstream = try Nginx()
        try Self.large(upstream)
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server, more: "timeouts: { body: 1s }"), options)
        defer { edged.stop() }
        let bystander = try Bystander(edged)
        let client = try edged.connectHTTP2([Self.window: 1 << 30])
        defer { client.close() }
        try client.send(.windowUpdate(0, 1 << 30))

        for _ in 0..<64 { try client.request(HTTP2Client.fields("GET", "/large")) }

        #expect(
            eventually(within: .seconds(8)) {
                (try? edged.failures("client_read_timeout")) ?? 0 > 0
            })
        #expect(eventually { (try? edged.metric("edged_requests_active")) ?? .max < 3 })
        let seen = bystander.stop()
        #expect(seen.trouble == nil && seen.worst < Self.worstMax, "\(seen)")
    }

    @Test("a connection without streams ends in time, PINGs or not", arguments: [false, true])
    func idle(pinging: Bool) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "timeouts: { keep_alive: 1s }"))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        #expect(try client.get().text == "ok")

        let deadline = Instant.now().advanced(by: .seconds(5))
        while client.ending == nil, Instant.now() < deadline {
            if pinging { try? client.send(.ping()) }
            _ = client.wait(within: .milliseconds(100)) { false }
        }

        // §6.8: said before it is done.
        #expect(client.ending == .closed)
        #expect(client.goAway?.code == .noError)
        #expect(client.faults.isEmpty)
    }

    // MARK: - 29: work of streams that were reset

    @Test("streams that were reset count until the upstream's work for them is released")
    func releasedWork() throws {
        let upstream = try ScriptedUpstream([.readRequest, .readRequest])
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(
            oneSite(upstream.server, more: "http2: { streams: 8, resets: 100000 }"), options)
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        var most = 0
        for _ in 0..<40 {
            let streams = try (0..<8).map { _ in try client.request(HTTP2Client.fields()) }
            try client.send(streams.map { .reset($0) })
            guard client.isAlive() else { break }
            most = max(most, try edged.metric("edged_upstream_connections_open"))
        }

        #expect(most <= 16, "\(most) connections to the upstream at once")
        #expect(upstream.wait { $0.allSatisfy { $0.ending != nil } })
        #expect(eventually { (try? edged.metric("edged_requests_active")) == 0 })
    }

    // MARK: - What is no abuse

    @Test("a page that is left, a busy download and a talkative client are not cut")
    func honestClients() throws {
        let upstream = try Nginx()
        try Self.large(upstream)
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        // Ninety streams are cancelled at once, as by a click on another link.
        let leaving = try edged.connectHTTP2()
        defer { leaving.close() }
        let streams = try (0..<90).map { _ in
            try leaving.request(HTTP2Client.fields("GET", "/large"))
        }
        _ = leaving.read(within: .milliseconds(50))
        try leaving.send(streams.map { .reset($0) })
        #expect(try leaving.get().text == "ok")

        // A small window that is given back by two WINDOW_UPDATEs per frame, PINGs among them.
        let busy = try edged.connectHTTP2([Self.window: 16_384])
        defer { busy.close() }
        for _ in 0..<8 {
            for _ in 0..<10 { try busy.send(.ping()) }
            #expect(try busy.get("/large").body.count == 1 << 20)
        }

        // Content in small frames with empty ones among them.
        let talking = try edged.connectHTTP2()
        defer { talking.close() }
        let stream = try talking.request(HTTP2Client.fields("PUT", "/put"), end: false)
        for index in 0..<3000 {
            try talking.sendContent(stream, [1, 2, 3], end: false)
            if index % 30 == 0 { try talking.send(.data(stream)) }
        }
        try talking.send(.data(stream, end: true))
        #expect(try talking.response(stream).status == 201)

        for client in [leaving, busy, talking] {
            #expect(client.goAway == nil && client.isAlive() && client.faults.isEmpty)
        }
    }
}
