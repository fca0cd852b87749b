internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// BEHAVIOUR 8, 16, 19 to 22 and 25 to 27: what an HTTP/1.1 server is asked on behalf of an
    /// HTTP/2 client, and what of its answers that client sees.
    @Suite("HTTP/2 in front of HTTP/1.1")
    struct HTTP2Downgrade {}
}

extension Scenarios.HTTP2Downgrade {
    // MARK: - Requests

    struct Row: Sendable {
        let fields: [(String, String)]
        /// The upstream's request line and Host.
        let line: String
        var host = "app.test"
        /// Fields that must be there with just this, or, with nil, must not be there.
        var found: [(String, String?)] = []
    }

    private static func get(_ path: String, _ more: [(String, String)] = []) -> [(String, String)] {
        HTTP2Client.fields("GET", path, with: more)
    }

    private static let rows: [Row] = [
        .init(fields: get("/a?b=c%20d"), line: "GET /a?b=c%20d HTTP/1.1"),
        .init(fields: get("//app.test/../%2e%2F%00"), line: "GET //app.test/../%2e%2F%00 HTTP/1.1"),
        .init(fields: HTTP2Client.fields("OPTIONS", "*"), line: "OPTIONS * HTTP/1.1"),
        .init(fields: HTTP2Client.fields("get", "/"), line: "get / HTTP/1.1"),
        // 26: one Host.
        .init(
            fields: HTTP2Client.fields(host: "App.Test:444"), line: "GET / HTTP/1.1",
            host: "App.Test:444"),
        .init(fields: get("/", [("host", "app.test")]), line: "GET / HTTP/1.1"),
        .init(
            fields: [
                (":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "app.test:1"),
            ], line: "GET / HTTP/1.1", host: "app.test:1"),
        // 27: cookie crumbs.
        .init(
            fields: get(
                "/", [("cookie", "a=b"), ("x-a", "b"), ("cookie", "c=d"), ("cookie", "e=f")]),
            line: "GET / HTTP/1.1", found: [("cookie", "a=b; c=d; e=f"), ("x-a", "b")]),
        .init(
            fields: get("/", [("cookie", "a=b; c=d")]), line: "GET / HTTP/1.1",
            found: [("cookie", "a=b; c=d")]),
        // 16: what belongs to the hop.
        .init(
            fields: get("/", [("te", "trailers"), ("proxy-authorization", "x")]),
            line: "GET / HTTP/1.1", found: [("te", "trailers"), ("connection", "TE")]),
        .init(
            fields: get("/", [("http2-settings", "AAMAAABkAAQAAP__")]), line: "GET / HTTP/1.1",
            found: [("http2-settings", nil), ("connection", nil), ("upgrade", nil)]),
        // 48: what clients claim.
        .init(
            fields: HTTP2Client.fields(
                scheme: "http",
                with: [
                    ("x-forwarded-proto", "http"), ("x-forwarded-for", "6.6.6.6"),
                    ("forwarded", "for=6.6.6.6"), ("x_b", "c"), ("x-forwarded-host", "evil"),
                ]), line: "GET / HTTP/1.1",
            found: [
                ("x-forwarded-proto", "https"), ("x-forwarded-for", "127.0.0.1"),
                ("forwarded", nil), ("x_b", nil), ("x-forwarded-host", "app.test"),
            ]),
        // No content: no framing.
        .init(
            fields: get("/", [("range", "bytes=0-1")]), line: "GET / HTTP/1.1",
            found: [
                ("content-length", nil), ("transfer-encoding", nil), ("range", "bytes=0-1"),
                (":method", nil), (":path", nil),
            ]),
        .init(
            fields: HTTP2Client.fields("POST", "/"), line: "POST / HTTP/1.1",
            found: [("transfer-encoding", nil)]),
    ]

    @Test("a request arrives in HTTP/1.1's form, with one Host and its cookies together")
    func requests() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        // One connection to the upstream, so that its requests have an order.
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (index, row) in Self.rows.enumerated() {
            let answer = try client.response(client.request(row.fields))
            #expect(answer.status == 200 && answer.text == "ok", "\(row.fields)")
            let seen = upstream.requests
            guard seen.count == index + 1, let request = seen.last else {
                Issue.record("no request for \(row.fields)")
                return
            }
            #expect(request.startLine == row.line)
            #expect(request.all("host") == [row.host], "\(row.fields)")
            for (name, value) in row.found {
                let expected = value.map { [$0] } ?? []
                #expect(request.all(name) == expected, "\(name) of \(row.fields)")
            }
        }
        #expect(client.faults.isEmpty)
    }

    @Test("where Host and :authority differ, the request is refused or :authority counts")
    func twoNames() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        let answer = try client.get("/", with: [("host", "other.test")])

        #expect(answer.reset == .protocolError || [200, 400].contains(answer.status))
        let hosts = upstream.requests.map { $0.all("host") }
        #expect(hosts == (answer.status == 200 ? [["app.test"]] : []))
    }

    @Test("content arrives with its length, or in chunks, and its trailers behind it")
    func contents() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let body = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let trailers = [
            ("x-sum", "1"), ("x-forwarded-for", "6.6.6.6"), ("trailer", "x"), ("te", "trailers"),
            ("x_a", "b"),
        ]

        #expect(try client.post("/", body, with: [("content-length", "200000")]).text == "ok")
        #expect(try client.post("/", body).text == "ok")
        #expect(try client.post("/", Array("a".utf8), trailers: trailers).text == "ok")

        let seen = upstream.requests
        #expect(seen.prefix(2).allSatisfy { $0.body == body } && seen.count == 3)
        #expect(seen.first?.all("content-length") == ["200000"])
        #expect(seen.first?["transfer-encoding"] == nil)
        #expect(seen.last?.all("transfer-encoding") == ["chunked"])
        #expect(seen.last?["content-length"] == nil && seen.last?.all("host") == ["app.test"])
        let sent = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        #expect(sent.joined().lowercased().contains("\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"))
    }

    @Test("trailers that frame or route are dropped, or refused with their request")
    func framingTrailers() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for (name, value) in [
            ("host", "evil"), ("content-length", "9"), ("content-length", "1"),
            ("authorization", "x"), ("cookie", "a=b"), ("content-encoding", "gzip"),
        ] {
            let answer = try client.post("/", Array("a".utf8), trailers: [(name, value)])
            let isRefused = answer.reset == .protocolError || answer.status == 400
            #expect(answer.text == "ok" || isRefused, "\(name)")
        }
        let sent = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        #expect(!sent.joined().contains("evil"))
        // Behind the last chunk stands nothing.
        let ends = sent.joined().components(separatedBy: "\r\n0\r\n").dropFirst()
        #expect(ends.allSatisfy { $0.hasPrefix("\r\n") })
        #expect(upstream.requests.allSatisfy { $0.all("host") == ["app.test"] })
    }

    @Test("chunks in content are content: nothing in it becomes a request")
    func contentThatLooksLikeRequests() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }
        let text = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"

        for more in [[], [("content-length", "\(text.utf8.count)")]] {
            let stream = try client.request(HTTP2Client.fields("POST", "/", with: more), end: false)
            // Frames end anywhere.
            for byte in text.utf8 { try client.send(.data(stream, [byte])) }
            try client.send(.data(stream, end: true))
            #expect(try client.response(stream).text == "ok")
        }

        #expect(upstream.requests.map(\.text) == [text, text])
        #expect(upstream.requests.allSatisfy { $0.target == "/" })
    }

    @Test("a client's reset in the middle of its content completes nothing, and others go on")
    func resetUpload() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for more in [[], [("content-length", "10")]] {
            let stream = try client.request(
                HTTP2Client.fields("POST", "/never", with: more), end: false)
            try client.send(.data(stream, "12345"))
            #expect(
                upstream.wait {
                    $0.last?.received.ends(with: "12345".utf8) == true
                        || $0.last?.received.ends(with: "12345\r\n".utf8) == true
                })
            try client.send(.reset(stream))
            #expect(upstream.wait { $0.last?.ending != nil })
            #expect(try client.get().text == "ok")
        }
        #expect(!upstream.requests.contains { $0.target == "/never" })
        #expect(client.faults.isEmpty)
    }
}
