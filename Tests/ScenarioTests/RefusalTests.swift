internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Requests that are refused")
    struct Refusals {}
}

extension Scenarios.Refusals {
    struct Offence: CustomTestStringConvertible, Sendable {
        let name: String
        let status: Int
        let text: String
        var testDescription: String { name }

        /// A request of `start` and `fields`, without an end of its own for `body`.
        init(
            _ name: String, status: Int = 400, start: String = "POST / HTTP/1.1",
            host: String = "Host: app.test\r\n", _ fields: String = "", _ body: String = ""
        ) {
            self.name = name
            self.status = status
            text = "\(start)\r\n\(host)\(fields)\r\n\(body)"
        }
    }

    /// Read differently by two servers, each of these would be two requests.
    static let smuggling = [
        Offence(
            "Content-Length and chunked", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n"),
        Offence(
            "chunked and Content-Length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "0\r\n\r\n"),
        Offence("two Content-Lengths", "Content-Length: 4\r\nContent-Length: 5\r\n", "abcd"),
        Offence("listed Content-Length", "Content-Length: 4, 5\r\n", "abcd"),
        Offence("signed Content-Length", "Content-Length: +4\r\n", "abcd"),
        Offence("hexadecimal Content-Length", "Content-Length: 0x4\r\n", "abcd"),
        Offence("empty Content-Length", "Content-Length:\r\n"),
        Offence("endless Content-Length", "Content-Length: 99999999999999999999\r\n"),
        Offence(
            "doubled chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n"),
        Offence("listed chunked", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        Offence("unknown coding", status: 501, "Transfer-Encoding: gzip\r\n", "0\r\n\r\n"),
        Offence("coding of control bytes", "Transfer-Encoding: \u{B}chunked\r\n", "0\r\n\r\n"),
        Offence("quoted coding", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        Offence("space before the colon", "Content-Length : 4\r\n", "abcd"),
        Offence("folded coding", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        Offence("folded field", "X-A: 1\r\n 2\r\n"),
        Offence("bare LF in a field", "X-A: 1\nX-B: 2\r\n"),
        Offence("bare CR in a field", "X-A: 1\rX-B: 2\r\n"),
        Offence("NUL in a field", "X-A: 1\0\r\n"),
        Offence(
            "chunked of HTTP/1.0", start: "POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n",
            "0\r\n\r\n"),
        Offence(
            "sign in a chunk size", "Transfer-Encoding: chunked\r\n", "+4\r\nabcd\r\n0\r\n\r\n"),
        Offence("prefix of a chunk size", "Transfer-Encoding: chunked\r\n", "0x4\r\nabcd\r\n"),
        Offence("space in a chunk size", "Transfer-Encoding: chunked\r\n", "4 \r\nabcd\r\n"),
        Offence("endless chunk size", "Transfer-Encoding: chunked\r\n", "10000000000000004\r\n"),
        Offence("bare LF behind a chunk size", "Transfer-Encoding: chunked\r\n", "4\nabcd\r\n"),
        Offence("LF in an extension", "Transfer-Encoding: chunked\r\n", "4;a\nb\r\nabcd\r\n"),
        Offence("chunk longer than said", "Transfer-Encoding: chunked\r\n", "4\r\nabcdef\r\n"),
    ]

    static let malformed = [
        Offence("no Host", start: "GET / HTTP/1.1", host: ""),
        Offence("two Hosts", start: "GET / HTTP/1.1", "Host: app.test\r\n"),
        Offence("Host with user", start: "GET / HTTP/1.1", host: "Host: a@app.test\r\n"),
        Offence("Host with path", start: "GET / HTTP/1.1", host: "Host: app.test/x\r\n"),
        Offence(
            "Host with a word for a port", start: "GET / HTTP/1.1", host: "Host: app.test:x\r\n"),
        Offence("HTTP/0.9", start: "GET /"),
        Offence("HTTP/2.0", status: 505, start: "GET / HTTP/2.0"),
        Offence("HTTP/9.9", status: 505, start: "GET / HTTP/9.9"),
        Offence("no version", start: "GET / FTP/1.1"),
        Offence("CONNECT", start: "CONNECT app.test:443 HTTP/1.1"),
        Offence("asterisk of GET", start: "GET * HTTP/1.1"),
        Offence("fragment", start: "GET /a#b HTTP/1.1"),
        Offence("8-bit target", start: "GET /\u{E4} HTTP/1.1"),
        Offence("two spaces", start: "GET  / HTTP/1.1"),
        Offence("method of brackets", start: "G(T / HTTP/1.1"),
        Offence("field without colon", "nonsense\r\n"),
        Offence("field without name", ": 1\r\n"),
        Offence("field name of brackets", "X(1): 1\r\n"),
        Offence("HTTP/2 preface", start: "PRI * HTTP/2.0", host: "", "\r\nSM\r\n"),
    ]

    @Test(
        "a malformed request is answered, the connection closed, and nothing of it forwarded",
        arguments: smuggling + malformed)
    func refused(offence: Offence) throws {
        let upstream = try ScriptedUpstream(answering: "no")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send(offence.text + "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n")
        let end = client.readToEnd()
        let text = String(decoding: client.received, as: UTF8.self)

        #expect(end == .closed)
        let statuses = text.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) }
        let accepted = offence.status == 505 ? ["505", "400"] : ["\(offence.status)"]
        #expect(statuses.count == 1 && accepted.contains(String(statuses[0])), "\(text)")
        #expect(upstream.requests.isEmpty)
        let received = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        #expect(!received.joined().contains("smuggled"))
        // A body's fault is found late: then the upstream sees no end of it.
        #expect(try edged.failures("client_bad_request") == 1)
    }

    @Test("a head over the limit is a 431, and one within it is not")
    func headTooLarge() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "limits: { request_head: 16KiB }"))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        let fits = try edged.get(extra: ["X-A: " + String(repeating: "a", count: 15 << 10)])
        try client.send(
            "GET / HTTP/1.1\r\nHost: app.test\r\nX-A: "
                + String(repeating: "a", count: 17 << 10))
        let tooLarge = try client.readResponse()

        #expect(fits.status == 200)
        #expect(tooLarge.status == 431)
        #expect(client.readToEnd() == .closed)
        #expect(upstream.requests.count == 1)
    }

    @Test("too many fields are a 431")
    func tooManyFields() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "limits: { header_fields: 20 }"))
        defer { edged.stop() }

        #expect(try edged.get(extra: (0..<19).map { "X-\($0): 1" }).status == 200)
        #expect(try edged.get(extra: (0..<20).map { "X-\($0): 1" }).status == 431)
    }

    @Test("a head that takes too long is a 408, however steadily it drips")
    func slowHead() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "timeouts: { request_head: 300ms }"))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }
        let begin = Instant.now()

        for _ in 0..<40 where client.ending == nil {
            guard (try? client.send("X")) != nil else { break }
            if case .bytes = client.read(within: .milliseconds(20)) { break }
        }
        let answer = try client.readResponse()
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))

        #expect(answer.status == 408)
        #expect(client.readToEnd() == .closed)
        #expect(span > .milliseconds(250) && span < .milliseconds(700), "\(span)")
        #expect(upstream.connectionCount == 0)
    }

    @Test("a connection that never says anything is closed without a word")
    func silence() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(
                upstream.server,
                more: "timeouts: { request_head: 200ms, keep_alive: 200ms, client_hello: 200ms }"))
        defer { edged.stop() }
        let plain = try edged.connect()
        let secure = try RawClient(edged.https)

        for client in [plain, secure] {
            #expect(client.readToEnd(within: .seconds(2)) != nil)
            #expect(client.received.isEmpty)
            client.close()
        }
    }

    @Test("a body that stops is a 408, and the upstream's connection is closed")
    func stalledBody() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "timeouts: { body: 200ms }"))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nsome")
        let answer = try client.readResponse()

        #expect(answer.status == 408)
        #expect(upstream.wait { $0.first?.ending != nil })
        #expect(upstream.requests.isEmpty)
    }
}
