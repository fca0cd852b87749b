internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What an upstream gets of a request and a client of an answer.
    @Suite("HTTP/1.1 messages")
    struct Messages {}
}

extension Scenarios.Messages {
    @Test("a client's requests share its connection, and an upstream connection is used again")
    func keepAlive() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }

        for _ in 0..<5 { #expect(try client.get("/", host: "app.test").text == "ok") }

        #expect(upstream.connectionCount == 1)
        #expect(upstream.requests.count == 5)
    }

    @Test("pipelined requests are answered in their order, whatever the segments")
    func pipelining() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .respond(200, "first"), .readRequest, .respond(404, "second"),
            .readRequest, .respond(200, "third"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), .init())
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }
        let text = ["a", "b", "c"].map { "GET /\($0) HTTP/1.1\r\nHost: app.test\r\n\r\n" }

        try client.send(
            bytes: Array(text.joined().utf8), inPiecesOf: 17, pause: .milliseconds(1))
        let bodies = try (0..<3).map { _ in try client.readResponse().text }

        #expect(bodies == ["first", "second", "third"])
        #expect(upstream.requests.map(\.target) == ["/a", "/b", "/c"])
    }

    @Test(
        "answers without content leave the connection usable",
        arguments: [("HEAD", 200), ("GET", 204), ("GET", 304)])
    func noContent(method: String, status: Int) throws {
        let length = method == "HEAD" ? "Content-Length: 1000\r\n" : ""
        let upstream = try ScriptedUpstream([
            .readRequest, .send("HTTP/1.1 \(status) X\r\n\(length)X-Mark: 1\r\n\r\n"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<3 {
            let answer = try client.get("/", host: "app.test", method: method)
            #expect(answer.status == status)
            #expect(answer["x-mark"] == "1")
            #expect(answer.body.isEmpty)
        }
        #expect(upstream.connectionCount == 1)
    }

    @Test("a chunked request arrives whole, with its trailers")
    func chunkedUp() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            "POST /x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n"
                + "Trailer: X-Sum\r\n\r\n5;ext=1\r\nhello\r\n")
        usleep(20_000)
        try client.send("6\r\n world\r\n0\r\nX-Sum: 42\r\nContent-Length: 7\r\n\r\n")
        let answer = try client.readResponse()

        #expect(answer.status == 200)
        #expect(upstream.requests.first?.text == "hello world")
        let bytes = String(decoding: upstream.connections[0].received, as: UTF8.self)
        #expect(bytes.hasSuffix("\r\n0\r\nX-Sum: 42\r\n\r\n"))
        #expect(!bytes.contains("ext=1"))
    }

    @Test("a chunked answer arrives whole, with its trailers")
    func chunkedDown() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                    + "5\r\nhello\r\n"), .pause(.milliseconds(30)),
            .send("6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\n\r\n")
        let isWhole = eventually {
            _ = client.read(within: .milliseconds(50))
            return String(decoding: client.received, as: UTF8.self)
                .hasSuffix("\r\n0\r\nX-Sum: 42\r\n\r\n")
        }
        #expect(isWhole, "\(String(decoding: client.received, as: UTF8.self))")
        let answer = try client.readResponse()

        #expect(answer.text == "hello world")
        #expect(try client.get("/", host: "app.test").text == "hello world")
    }

    @Test("an HTTP/1.0 client gets no chunks, and its connection ends with the answer")
    func oldClient() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "5\r\nhello\r\n0\r\n\r\n"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
        let end = client.readToEnd()

        #expect(end == .closed)
        let text = String(decoding: client.received, as: UTF8.self)
        #expect(text.hasSuffix("\r\n\r\nhello"), "\(text)")
        #expect(!text.lowercased().contains("transfer-encoding"))
    }

    @Test("Connection: close ends the connection, and what follows is not looked at")
    func close() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            "GET /1 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"
                + "GET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        let answer = try client.readResponse()

        #expect(answer["connection"] == "close")
        #expect(client.readToEnd() == .closed)
        #expect(upstream.requests.map(\.target) == ["/1"])
    }

    @Test("an expectation is met before the body is sent")
    func expectation() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            "PUT / HTTP/1.1\r\nHost: app.test\r\nExpect: 100-Continue\r\n"
                + "Content-Length: 4\r\n\r\n")
        _ = client.read()
        #expect(client.received == Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
        try client.send("body")

        #expect(try client.readResponse().text == "ok")
        #expect(upstream.requests.first?.text == "body")
        #expect(upstream.requests.first?["expect"] == nil)
    }

    @Test("an answer that comes before the request's body is passed on at once")
    func earlyAnswer() throws {
        let upstream = try ScriptedUpstream([
            .readHead, .respond(403, "no"), .pause(.milliseconds(500)), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nsome")
        let answer = try client.readResponse(within: .milliseconds(400))

        #expect(answer.status == 403)
        #expect(answer["connection"] == "close")
    }

    @Test("fields of one hop stay on it, both ways")
    func hopByHop() throws {
        let upstream = try ScriptedUpstream(
            answering: "ok",
            fields: [
                "Connection: X-Down, close-not", "X-Down: 1", "Keep-Alive: timeout=5",
                "Proxy-Connection: keep-alive", "X-Stays: 1",
            ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let answer = try edged.get(extra: [
            "Connection: X-Up, keep-alive", "X-Up: 1", "Keep-Alive: 300", "TE: gzip",
            "Proxy-Connection: keep-alive", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__",
            "X-Stays: 1", "Under_Score: 1",
        ])

        for name in ["x-down", "keep-alive", "proxy-connection"] { #expect(answer[name] == nil) }
        #expect(answer["x-stays"] == "1")
        let request = try #require(upstream.requests.first)
        for name in [
            "x-up", "keep-alive", "te", "proxy-connection", "upgrade", "http2-settings",
            "under_score", "connection",
        ] {
            #expect(request[name] == nil, "\(name)")
        }
        #expect(request["x-stays"] == "1")
    }

    @Test("the upstream learns who asks and how; what the client claims is replaced")
    func forwardingFields() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }

        _ = try client.get(
            "/", host: "app.test:8443",
            extra: [
                "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: gopher", "X-Real-IP: 6.6.6.6",
                "X-Forwarded-Host: evil.test", "X-Request-ID: mine", "Forwarded: for=6.6.6.6",
            ])

        let request = try #require(upstream.requests.first)
        #expect(request.all("X-Forwarded-For") == ["127.0.0.1"])
        #expect(request.all("X-Forwarded-Proto") == ["https"])
        #expect(request.all("X-Forwarded-Host") == ["app.test:8443"])
        #expect(request.all("Host") == ["app.test:8443"])
        #expect(request["Forwarded"] == nil)
        #expect(request.all("X-Forwarded-Port") == ["\(edged.https.port)"])
        #expect(request.all("X-Real-IP") == ["127.0.0.1"])
        let identifiers = request.all("X-Request-ID")
        #expect(identifiers.count == 1)
        #expect(identifiers.first?.count == 32)
    }

    @Test("several Set-Cookie fields stay several")
    func cookies() throws {
        let upstream = try ScriptedUpstream(
            answering: "ok", fields: ["Set-Cookie: a=1", "Set-Cookie: b=2"])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        #expect(try edged.get().all("set-cookie") == ["a=1", "b=2"])
    }

    @Test("a WebSocket is a tunnel once the upstream has agreed")
    func webSocket() throws {
        let upstream = try ScriptedUpstream([
            .readHead,
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    + "Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"),
            .pause(.milliseconds(50)), .send([0x81, 0x02, 0x68, 0x69]),
            .pause(.milliseconds(300)), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }

        let answer = try client.get(
            "/chat", host: "app.test",
            extra: [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ])
        #expect(answer.status == 101)
        #expect(answer["upgrade"] == "websocket")
        _ = client.read()
        #expect(client.received == [0x81, 0x02, 0x68, 0x69])
        #expect(client.readToEnd() == .closed)
    }

    @Test("an upgrade that the upstream declines is an ordinary answer")
    func webSocketDeclined() throws {
        let upstream = try ScriptedUpstream(answering: "no")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        let answer = try client.get(
            "/", host: "app.test", extra: ["Upgrade: websocket", "Connection: Upgrade"])

        #expect(answer.text == "no")
        #expect(try client.get("/", host: "app.test").text == "no")
    }

    @Test("an unknown host is a 404, and the connection goes on")
    func unknownHost() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        let answer = try client.get("/", host: "nobody.test")

        #expect(answer.status == 404)
        #expect(answer.text == "no_route\n")
        #expect(try client.get("/", host: "APP.test").text == "ok")
    }

    @Test("a redirect listener sends clients to the other one")
    func redirect() throws {
        let port = try freePort()
        var options = Edged.Options()
        options.listeners = [
            "{ name: old, address: 127.0.0.1, port: \(port), protocol: http, redirect: https }"
        ]
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let client = try RawClient(.loopback(port))
        defer { client.close() }

        let answer = try client.get("/a/b?c=d", host: "app.test:\(port)")

        #expect(answer.status == 308)
        #expect(answer["location"] == "https://app.test:\(edged.https.port)/a/b?c=d")
        #expect(upstream.requests.isEmpty)
    }
}
