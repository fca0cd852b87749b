internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Boundaries of segments and records mean nothing, and neither side's early end hurts.
    @Suite("Streams")
    struct Streams {}
}

extension Scenarios.Streams {
    @Test(
        "requests and answers in tiny pieces are the same messages",
        arguments: [1, 7, 1000], [false, true])
    func pieces(size: Int, overTLS: Bool) throws {
        let text = String(repeating: "0123456789", count: 30)
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12c;x\r\n\(text)\r\n0\r\n\r\n"
        let upstream = try ScriptedUpstream([
            .readRequest, .sendSlowly(Array(chunked.utf8), piece: size, pause: .zero), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = overTLS ? try edged.connectTLS() : try edged.connect()
        defer { client.close() }
        let request =
            "POST /a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "12C\r\n\(text)\r\n0\r\n\r\n"
            + "POST /b HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300\r\n\r\n\(text)"

        try client.send(bytes: Array(request.utf8), inPiecesOf: size, pause: .zero)
        let answers = try (0..<2).map { _ in try client.readResponse().text }

        #expect(answers == [text, text])
        #expect(upstream.requests.map(\.text) == [text, text])
        #expect(upstream.requests.map(\.target) == ["/a", "/b"])
    }

    @Test("2,000 pipelined requests are all answered in order", arguments: [false, true])
    func deepPipeline(overTLS: Bool) throws {
        let upstream = try Nginx()
        for index in 0..<10 { try upstream.directory.write("root/\(index)", "body \(index)") }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = overTLS ? try edged.connectTLS() : try edged.connect()
        defer { client.close() }

        let text = (0..<2000).map { "GET /\($0 % 10) HTTP/1.1\r\nHost: app.test\r\n\r\n" }
        try client.send(text.joined(), within: .seconds(10))
        var bad = 0
        for index in 0..<2000
        where try client.readResponse(within: .seconds(10)).text != "body \(index % 10)" {
            bad += 1
        }

        #expect(bad == 0)
    }

    @Test("a client that has only shut its sending side still gets its answer")
    func halfClosed() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .pause(.milliseconds(200)), .respond(200, "late"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        client.finishSending()

        #expect(try client.readResponse().text == "late")
        #expect(client.readToEnd() == .closed)
    }

    @Test("a client that resets during an answer ends the upstream's connection too")
    func clientResets() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"),
            .readRequest,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        _ = client.read()

        client.reset()

        #expect(upstream.wait { $0.first?.ending != nil })
        #expect(eventually { (try? edged.failures("client_reset")) == 1 })
    }

    /// How an upstream behaves that has refused an upload it did not read.
    enum Refusal: CaseIterable { case lingers, resets }

    @Test(
        "a client sees its upload refused instead of a broken connection",
        arguments: Refusal.allCases)
    func uploadRefused(refusal: Refusal) throws {
        let answer = PeerStep.respond(413, "too large", fields: ["Connection: close"])
        let upstream = try ScriptedUpstream(
            refusal == .lingers
                ? [.readHead, answer, .finishSending, .readRequest] : [.readHead, answer, .close])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let source = edged.directory.file("source")
        #expect(try RunningProcess.run("truncate", ["-s", "20M", source]).exit == .code(0))

        let results = try (0..<5).map { _ in
            try edged.curl(
                "-H", "Expect:", "-T", source, "-w", "%{http_code}", "-o", "/dev/null",
                "https://app.test/up")
        }

        #expect(results.map(\.output) == Array(repeating: "413", count: 5))
    }

    @Test("an answer that runs to the end of its connection is whole for every client")
    func untilClose() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .send("HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nto the "),
            .pause(.milliseconds(50)), .send("end"), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let result = try edged.curl("https://app.test/")
        let old = try edged.curl("--http1.0", "--no-alpn", "https://app.test/")

        #expect(result.output == "to the end", "\(result.errors)")
        #expect(old.output == "to the end", "\(old.errors)")
    }

    @Test("a tunnel carries much, both ways at once, and ends with either side")
    func tunnel() throws {
        let down = [UInt8](repeating: 0x64, count: 4 << 20)
        // A request, so that the scripted upstream reads to its end.
        let up =
            Array("POST / HTTP/1.1\r\nContent-Length: \(4 << 20)\r\n\r\n".utf8)
            + [UInt8](repeating: 0x75, count: 4 << 20)
        let upstream = try ScriptedUpstream([
            .readHead,
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    + "Connection: Upgrade\r\n\r\n"), .send(down), .readRequest,
            .readRequest,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        let answer = try client.get(
            "/", host: "app.test", extra: ["Upgrade: websocket", "Connection: Upgrade"])
        #expect(answer.status == 101)

        var taken = client.received.count
        for start in stride(from: 0, to: up.count, by: 64 << 10) {
            let piece = Array(up[start..<min(start + (64 << 10), up.count)])
            try client.send(bytes: piece, within: .seconds(5))
            if case .bytes(let bytes) = client.read(within: .milliseconds(1)) {
                taken += bytes.count
            }
        }
        while taken < down.count, case .bytes(let bytes) = client.read() { taken += bytes.count }
        let isWhole = upstream.wait(within: .seconds(10)) {
            ($0.first?.received.count ?? 0) >= up.count
        }
        client.close()

        #expect(taken == down.count)
        #expect(isWhole)
        #expect(upstream.wait { $0.first?.ending != nil })
        #expect(eventually { (try? edged.metric("edged_connections_open")) == 0 })
    }

    @Test("absolute form, ports and capitals lead to the same site")
    func hostForms() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        #expect(try edged.get("http://app.test/x").status == 200)
        #expect(try edged.get("/x", host: "App.Test:80").status == 200)

        #expect(upstream.requests.map(\.target) == ["/x", "/x"])
        #expect(upstream.requests.first?["host"] == "app.test")
    }

    @Test("wildcard sites and the site for all the rest are found, the exact one first")
    func wildcards() throws {
        let upstreams = try ["exact", "wild", "rest"].map { try ScriptedUpstream(answering: $0) }
        defer { for one in upstreams { one.stop() } }
        let edged = try Edged(
            """
            sites:
              - { hosts: a.wild.test, upstream: exact }
              - { hosts: "*.wild.test", upstream: wild }
              - { hosts: "*", upstream: rest }
            upstreams:
              exact: { servers: [\(upstreams[0].server)], health: off }
              wild: { servers: [\(upstreams[1].server)], health: off }
              rest: { servers: [\(upstreams[2].server)], health: off }
            """)
        defer { edged.stop() }
        let expected = [
            "a.wild.test": "exact", "b.wild.test": "wild", "a.b.wild.test": "rest",
            "wild.test": "rest", "127.0.0.1": "rest", "[::1]": "rest",
        ]

        for (host, text) in expected {
            #expect(try edged.get(host: host).text == text, "\(host)")
        }
    }
}
