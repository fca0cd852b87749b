internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Many inputs per daemon: each table is one test, each row a connection of its own.
    @Suite("Messages to the letter")
    struct Rules {}
}

extension Scenarios.Rules {
    /// What came back on one connection.
    private struct Outcome {
        var statuses: [String]
        var text: String
        var end: StreamEnd?
    }

    private func ask(_ edged: Edged, _ text: String, bytes: [UInt8]? = nil) throws -> Outcome {
        let client = try edged.connect()
        defer { client.close() }
        // A refusal may come, and the connection end, before all is sent.
        try? client.send(bytes: bytes ?? Array(text.utf8))
        let deadline = Instant.now().advanced(by: .seconds(3))
        while client.ending == nil, Instant.now() < deadline {
            _ = client.read(within: .milliseconds(50))
            let received = String(decoding: client.received, as: UTF8.self)
            if received.contains("\r\n\r\n"), received.hasSuffix("ok") { break }
        }
        let received = String(decoding: client.received, as: UTF8.self)
        let statuses = received.components(separatedBy: "HTTP/1.1 ").dropFirst()
        return Outcome(
            statuses: statuses.map { String($0.prefix(3)) }, text: received, end: client.ending)
    }

    // MARK: - Requests that are fine

    struct Accepted: Sendable {
        let text: String
        /// The request line that the upstream gets.
        let line: String
        var host = "app.test"
        var body = ""

        init(_ text: String, _ line: String, host: String = "app.test", body: String = "") {
            self.text = text
            self.line = line
            self.host = host
            self.body = body
        }
    }

    private static func get(_ target: String, _ version: String = "1.1") -> String {
        "GET \(target) HTTP/\(version)\r\nHost: app.test\r\n\r\n"
    }

    private static func post(_ fields: String, _ body: String) -> String {
        "POST / HTTP/1.1\r\nHost: app.test\r\n\(fields)\r\n\r\n\(body)"
    }

    private static let long = String(repeating: "a", count: 7_970)

    private static let accepted: [Accepted] = [
        // Rule 1: Content-Length.
        .init(post("Content-Length:5", "hello"), "POST / HTTP/1.1", body: "hello"),
        .init(post("Content-Length: \t005\t ", "hello"), "POST / HTTP/1.1", body: "hello"),
        // Rules 4 and 5: chunks.
        .init(
            post("Transfer-Encoding:\tCHUNKED \t", "5\r\nhello\r\n0\r\n\r\n"), "POST / HTTP/1.1",
            body: "hello"),
        .init(
            post(
                "Transfer-Encoding: chunked",
                "0000000000000005;a=\"b;c\";d\r\nhello\r\n000;x\r\n\r\n"), "POST / HTTP/1.1",
            body: "hello"),
        // Rule 9: methods and targets, forwarded as they are.
        .init("get / HTTP/1.1\r\nHost: app.test\r\n\r\n", "get / HTTP/1.1"),
        .init(
            "M-S!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: app.test\r\n\r\n",
            "M-S!#$%&'*+.^_`|~9 / HTTP/1.1"),
        .init(
            "\(String(repeating: "M", count: 1000)) / HTTP/1.1\r\nHost: app.test\r\n\r\n",
            "\(String(repeating: "M", count: 1000)) / HTTP/1.1"),
        .init("OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n", "OPTIONS * HTTP/1.1"),
        .init(get("//other.test/"), "GET //other.test/ HTTP/1.1"),
        .init(get("/", "1.0"), "GET / HTTP/1.1"),
        // Rule 10: absolute-form.
        .init(get("http://app.test?q=/x"), "GET /?q=/x HTTP/1.1"),
        .init(get("http://app.test"), "GET / HTTP/1.1"),
        .init(get("HTTPS://app.test:444/a?b"), "GET /a?b HTTP/1.1", host: "app.test:444"),
        .init("OPTIONS http://app.test HTTP/1.1\r\nHost: app.test\r\n\r\n", "OPTIONS * HTTP/1.1"),
        .init(
            "OPTIONS http://app.test?x HTTP/1.1\r\nHost: app.test\r\n\r\n", "OPTIONS /?x HTTP/1.1"),
        .init("GET http://app.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n", "GET / HTTP/1.1"),
        .init("GET http://app.test/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1"),
        // Rule 11: nothing is decoded, nothing normalised.
        .init(get("/%00%2f%2e%2e/../%0d%0a/."), "GET /%00%2f%2e%2e/../%0d%0a/. HTTP/1.1"),
        // Rule 12: hosts.
        .init("GET / HTTP/1.1\r\nHost:\tapp.test: \r\n\r\n", "GET / HTTP/1.1"),
        .init(
            "GET / HTTP/1.1\r\nhost: APP.test.:81\r\n\r\n", "GET / HTTP/1.1", host: "APP.test.:81"),
        // Rule 15: a request line of 8,000 bytes.
        .init(get("/\(long)"), "GET /\(long) HTTP/1.1"),
        // Rule 17: leading empty lines.
        .init("\r\n" + get("/"), "GET / HTTP/1.1"),
    ]

    @Test("a request that the rules allow arrives as they say")
    func acceptedRequests() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        // One connection to the upstream, so that its requests have an order.
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }

        for (index, row) in Self.accepted.enumerated() {
            let outcome = try ask(edged, row.text)
            let requests = upstream.requests

            #expect(outcome.statuses == ["200"], "\(row.text.prefix(60))")
            guard requests.count == index + 1, let request = requests.last else {
                Issue.record("no request for \(row.text.prefix(60))")
                return
            }
            #expect(request.startLine == row.line)
            #expect(request.all("host") == [row.host], "\(row.text.prefix(60))")
            #expect(request.text == row.body)
        }
    }

    @Test("values keep their 8-bit bytes and inner blanks, both ways")
    func values() throws {
        let value: [UInt8] = Array("a \tb".utf8) + [0x80, 0xFF, 0xE4]
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                Array("HTTP/1.1 200 R".utf8) + [0xE4] + Array("\r\nContent-Length: 2\r\nX-B:".utf8)
                    + value + Array(" \r\n\r\nok".utf8)),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            bytes: Array("GET / HTTP/1.1\r\nHost: app.test\r\nX-A:\t".utf8) + value
                + Array("\r\n\r\n".utf8))
        while client.ending == nil, !client.received.ends(with: "ok".utf8) { _ = client.read() }

        let sent = try #require(upstream.connections.first).received
        #expect(sent.contains(Array("X-A: ".utf8) + value + [13, 10]))
        #expect(client.received.contains(Array("X-B: ".utf8) + value + [13, 10]))
        #expect(client.received.starts(with: Array("HTTP/1.1 200 R".utf8) + [0xE4]))
    }

    // MARK: - Requests that are not

    private static let refused: [(String, String)] = [
        // Rules 1 to 3.
        (post("Content-Length: 5, 5", "hello"), "400"),
        (post("Content-Length: 5\r\ncontent-length: 5", "hello"), "400"),
        (post("Content-Length: 5.0", "hello"), "400"),
        (post("Content-Length: \"5\"", "hello"), "400"),
        (post("Content-Length: 5\u{B}", "hello"), "400"),
        (post("Content-Length: -1", ""), "400"), (post("Content-Length: 1e1", "hello"), "400"),
        (post("Content-Length: 9223372036854775808", ""), "400"),
        // Rule 4.
        (post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: identity", "0\r\n\r\n"), "501"),
        (post("Transfer-Encoding: xchunked", "0\r\n\r\n"), "501"),
        (post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunk\u{E9}d", "0\r\n\r\n"), "400"),
        (post("Transfer-Encoding:", "0\r\n\r\n"), "400"),
        ("POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        // Rule 5.
        (post("Transfer-Encoding: chunked", "00000000000000005\r\nhello\r\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5\t;a\r\nhello\r\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5;a=\"\r\"\r\nhello\r\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5;a\u{0}\r\nhello\r\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "8000000000000000\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5\r\nhello\n0\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "5;\(String(repeating: "a", count: 1025))\r\n"), "400"),
        // Rule 6.
        (post("Transfer-Encoding: chunked", "0\r\nA : b\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "0\r\nA: b\r\n c\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "0\r\nA: \u{0}\r\n\r\n"), "400"),
        (post("Transfer-Encoding: chunked", "0\r\nA: b\n\r\n"), "400"),
        (
            post("Transfer-Encoding: chunked", "0\r\nA: \(String(repeating: "a", count: 17_000))"),
            "431"
        ),
        // Rule 9.
        (get("/", "1.2"), "505"), (get("/", "0.9"), "505"), (get("/", "1.10"), "400"),
        ("GET / http/1.1\r\nHost: app.test\r\n\r\n", "400"),
        ("GET / HTTP/1.1 \r\nHost: app.test\r\n\r\n", "400"), (get("a"), "400"), (get("?q"), "400"),
        (get("app.test:80"), "400"), (get("ftp://app.test/"), "400"), (get("http:///"), "400"),
        (get("http://u@app.test/"), "400"), (get("http://app.test#f"), "400"),
        (get("http://[fe80::1%25eth0]/"), "400"), (get("http://app.test:99999/"), "400"),
        (get("/\u{7F}"), "400"), ("OPTIONS ** HTTP/1.1\r\nHost: app.test\r\n\r\n", "400"),
        ("CONNECT / HTTP/1.1\r\nHost: app.test\r\n\r\n", "400"),
        // Rule 12.
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "400"), ("GET / HTTP/1.0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test, app.test\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: [::1::2]\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app..test\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test:+80\r\n\r\n", "400"),
        ("GET http://app.test/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET http://app.test/ HTTP/1.1\r\n\r\n", "400"),
        // Rules 13 and 14.
        ("GET / HTTP/1.1\r\n A: b\r\nHost: app.test\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nA\t: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nA: \u{1}\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nA: b\rc\r\n\r\n", "400"),
        ("GET / HTTP/1.1\nHost: app.test\n\n", "400"), ("\nGET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\n\n", "400"),
        // Rule 15.
        ("GET /\(String(repeating: "a", count: 17_000))", "414"),
        ("\(String(repeating: "A", count: 17_000))", "414"),
        ("GET / HTTP/1.1\r\nHost: app.test\r\nA: \(String(repeating: "a", count: 66_000))", "431"),
        // Rule 17: many empty lines.
        ("\r\n\r\n\r\n" + get("/"), "400"),
        // Rule 18.
        (post("Content-Length: 1\r\nExpect: something", ""), "417"),
        (post("Content-Length: 1\r\nExpect: 100-continue, x", ""), "417"),
        // At once, before a head is complete (rule 9).
        ("GET / \r\n", "400"), ("GET / HTTP/9.9\r\n", "505"), ("PRI * HTTP/2.0\r\n", "400"),
        ("GET /\r\n", "400"), ("\u{16}\u{3}\u{1}", "400"),
    ]

    @Test("a request that the rules refuse gets its status, and nothing behind it is processed")
    func refusedRequests() throws {
        let upstream = try ScriptedUpstream(answering: "no")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for (text, status) in Self.refused {
            let outcome = try ask(edged, text + "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n")
            #expect(outcome.statuses == [status], "\(text.prefix(80)): \(outcome.text)")
            #expect(outcome.end == .closed, "\(text.prefix(80))")
        }
        #expect(upstream.requests.isEmpty)
        let received = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        #expect(!received.joined().contains("smuggled"))
        #expect(try edged.failures("client_bad_request") == Self.refused.count)
    }

    @Test("an HTTP/1.0 client's expectations are ignored, whatever they are")
    func oldExpectations() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for word in ["100-continue", "something"] {
            let outcome = try ask(
                edged,
                "POST / HTTP/1.0\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: \(word)\r\n\r\nhello"
            )
            #expect(outcome.statuses == ["200"])
        }
        #expect(upstream.requests.map(\.text) == ["hello", "hello"])
    }

    @Test("an HTTP/1.0 client that asks for it keeps its connection")
    func keptOldConnection() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<2 {
            try client.send("GET / HTTP/1.0\r\nHost: app.test\r\nConnection: Keep-Alive\r\n\r\n")
            let answer = try client.readResponse()
            #expect(answer.text == "ok")
            #expect(answer["connection"]?.lowercased() == "keep-alive")
        }
    }

    @Test("trailers that frame, route or belong to this hop are dropped, both ways")
    func trailers() throws {
        let section =
            "X-Ok: 1\r\nHost: evil\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\n"
            + "Connection: X-Ok\r\nKeep-Alive: 1\r\nTE: x\r\nX-Forwarded-For: 6.6.6.6\r\n"
            + "Content-Encoding: gzip\r\nMax-Forwards: 1\r\nTrailer: x\r\nSet-Cookie: a\r\n"
        let upstream = try ScriptedUpstream([
            .readRequest,
            .send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\(section)\r\n"
            ),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(
            Self.post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\(section)\r\n"))
        while client.ending == nil, !client.received.ends(with: "\r\n\r\n".utf8) {
            _ = client.read()
        }

        let sent = String(
            decoding: try #require(upstream.connections.first).received, as: UTF8.self)
        #expect(sent.hasSuffix("\r\n\r\n5\r\nhello\r\n0\r\nX-Ok: 1\r\n\r\n"))
        let answer = String(decoding: client.received, as: UTF8.self)
        #expect(answer.hasSuffix("\r\n\r\n2\r\nok\r\n0\r\nX-Ok: 1\r\n\r\n"))
    }

    @Test("Connection takes away what it names, but never Host or framing")
    func named() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let fields =
            "Connection: close, X-A, Host\r\nConnection: content-length, x-b\r\nX-A: 1\r\n"
            + "x-b: 2\r\nX-C: 3\r\nTE: gzip, Trailers\r\nContent-Length: 2"

        let outcome = try ask(edged, Self.post(fields, "hi"))

        #expect(outcome.statuses == ["200"])
        let request = try #require(upstream.requests.first)
        for name in ["x-a", "x-b"] { #expect(request[name] == nil) }
        #expect(request["x-c"] == "3" && request["host"] == "app.test" && request.text == "hi")
        // Trailers can be brought back: that is asked for anew.
        #expect(request.all("te") == ["trailers"] && request.all("connection") == ["TE"])
    }
}

extension Array where Element == UInt8 {
    func contains(_ part: [UInt8]) -> Bool {
        guard count >= part.count else { return false }
        return (0...(count - part.count)).contains { self[$0...].starts(with: part) }
    }

    func ends(with part: some Collection<UInt8>) -> Bool {
        count >= part.count && suffix(part.count).elementsEqual(part)
    }
}
