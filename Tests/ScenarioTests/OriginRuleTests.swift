internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Answers to the letter")
    struct OriginRules {}
}

extension Scenarios.OriginRules {
    private static let start = "HTTP/1.1 200 OK\r\n"

    /// Rules 20 and 21: none of these is an answer.
    private static let bad: [String] = [
        start + "Content-Length: 2x\r\n\r\nok", start + "Content-Length: +2\r\n\r\nok",
        start + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        start + "Content-Length: 2, 3\r\n\r\nok", start + "Content-Length:\r\n\r\nok",
        start + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        start + "Transfer-Encoding: gzip\r\n\r\n", start + "Transfer-Encoding: \"chunked\"\r\n\r\n",
        start + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 600 X\r\n\r\n", "HTTP/1.1 20 X\r\n\r\n",
        "HTTP/1.1 2000 X\r\n\r\n", "HTTP/1.1 2x0 X\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n", "200 OK\r\n\r\n", "\r\n" + start + "\r\n", "<html>hello</html>\r\n",
        "HTTP/1.1 200 O\u{1}K\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", start + "A: \u{0}\r\n\r\n",
        start + "A: b\rc\r\n\r\n", start + "A: b\nc\r\n\r\n", start + "A : b\r\n\r\n",
        start + "A: b\r\n c\r\n\r\n", start + ": b\r\n\r\n", start + "nonsense\r\n\r\n",
        start + " A: b\r\n\r\n", start + "A(: b\r\n\r\n",
        start + "A: " + String(repeating: "b", count: 70_000),
        start + (0..<201).map { "A\($0): b\r\n" }.joined() + "\r\n",
        start + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        start + "Transfer-Encoding: chunked\r\n\r\n+2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.0 100 Continue\r\n\r\n" + start + "Content-Length: 2\r\n\r\nok",
        String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 17),
    ]

    @Test("what is no answer is a 502, its connection is closed, the client's goes on")
    func badAnswers() throws {
        let upstream = try ScriptedUpstream { index in
            index < Self.bad.count
                ? [.readRequest, .send(Self.bad[index]), .readRequest]
                : [.readRequest, .respond(200, "ok"), .again]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for (index, text) in Self.bad.enumerated() {
            let answer = try client.get("/\(index)", host: "app.test", method: "POST")
            #expect(answer.status == 502, "\(text.prefix(80))")
            #expect(upstream.connectionCount == index + 1, "\(text.prefix(80))")
        }
        #expect(try client.get("/", host: "app.test").text == "ok")
        #expect(upstream.wait { $0.dropLast().allSatisfy { $0.ending != nil } })
        #expect(try edged.failures("upstream_bad_response") == Self.bad.count)
    }

    /// Rules 19 and 24: statuses, and methods, without content; what the upstream sends all the
    /// same is not read as the next answer.
    private static let empty: [(String, String)] = [
        ("GET", "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\nhello"),
        ("HEAD", start + "Content-Length: 5\r\n\r\nhello"),
        ("HEAD", start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 EVIL\r\n\r\n"),
    ]

    @Test("answers without content leave the connection usable, and their content is nobody's")
    func emptyAnswers() throws {
        let upstream = try ScriptedUpstream { index in
            index < Self.empty.count
                ? [.readRequest, .send(Self.empty[index].1), .readRequest]
                : [.readRequest, .respond(200, "ok"), .again]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for (method, text) in Self.empty {
            try client.send("\(method) / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            let answer = try client.readResponse(toHead: true)
            #expect(answer.body.isEmpty && answer["transfer-encoding"] == nil)
            #expect(answer.status == Int(text.dropFirst(9).prefix(3)))
            if method == "HEAD" || answer.status == 304 {
                #expect(answer["content-length"] == (text.contains("Length: 5") ? "5" : nil))
            }
            #expect(client.received.isEmpty)
        }
        #expect(try client.get("/", host: "app.test").text == "ok")
        #expect(upstream.connectionCount == Self.empty.count + 1)
    }

    @Test("fields of the answer's hop, and those that Connection names, stay on it")
    func hopByHop() throws {
        let upstream = try ScriptedUpstream(
            answering: "ok",
            fields: [
                "Connection: X-A, Upgrade", "Connection: x-b, set-cookie", "X-A: 1", "X-B: 1",
                "Upgrade: h2, h2c", "Keep-Alive: 5", "Proxy-Connection: close", "TE: trailers",
                "Trailer: X", "Proxy-Authenticate: Basic", "X-C: 1", "X_D: 1", "Set-Cookie: a",
            ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(
            answer.fields.map(\.name).sorted() == ["Content-Length", "X-C", "X_D"])
        #expect(answer.text == "ok")
    }

    @Test("interim answers reach an HTTP/1.1 client, 100 and an HTTP/1.0 client's do not")
    func interim() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"
                    + "Content-Length: 9\r\nConnection: X-A\r\nX-A: 1\r\n\r\nHTTP/1.1 199 X\r\n\r\n"
            ),
            .respond(200, "ok"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for (version, expected) in [
            ("1.1", "103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 199 X\r\n\r\nHTTP/1.1 200"),
            ("1.0", "200"),
        ] {
            let client = try edged.connect()
            try client.send(
                "GET / HTTP/\(version)\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            #expect(client.readToEnd() == .closed)
            let text = String(decoding: client.received, as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 \(expected)"), "\(text)")
            #expect(text.hasSuffix("ok"))
            client.close()
        }
    }
}
