import Testing

@testable import EdgeControl

@Suite("Admin requests") struct RequestParserTests {
    private static func parse(_ text: String) -> ControlRequestParser.Step {
        var parser = ControlRequestParser()
        parser.receive(Array(text.utf8)[...])
        return parser.next()
    }

    private static let get = "GET /status?x=1 HTTP/1.1\r\nHost: a\r\nX-Y: \t z \r\n\r\n"

    @Test("a request is complete exactly with its last byte")
    func everyPrefix() {
        let text = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        let bytes = Array(text.utf8)
        var parser = ControlRequestParser()
        for (index, byte) in bytes.enumerated() {
            parser.receive([byte])
            let step = parser.next()
            guard index == bytes.count - 1 else {
                #expect(step == .needsMore)
                continue
            }
            #expect(
                step
                    == .request(
                        .init(
                            method: "POST", path: "/reload", query: "", keepsAlive: true,
                            body: Array("abc".utf8))))
        }
        #expect(!parser.isInRequest)
    }

    @Test("path and query are split")
    func query() {
        #expect(
            Self.parse(Self.get)
                == .request(
                    .init(method: "GET", path: "/status", query: "x=1", keepsAlive: true, body: [])
                ))
    }

    static let closing = [
        "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close , y\r\n\r\n",
    ]

    @Test("the connection ends where the client says so", arguments: closing)
    func closes(text: String) {
        guard case .request(let request) = Self.parse(text) else {
            Issue.record("not a request")
            return
        }
        #expect(!request.keepsAlive)
    }

    static let refused: [(String, Int)] = [
        ("GET /\r\n\r\n", 400), ("\r\n\r\n", 400), ("GET  / HTTP/1.1\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\u{0}\r\n\r\n", 400),
        ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        ("GET /" + String(repeating: "a", count: 9000), 431),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "a: b\r\n", count: 70) + "\r\n",
            431
        ),
    ]

    @Test("malformed and oversized requests are refused", arguments: refused)
    func refuses(text: String, status: Int) {
        guard case .refused(let answer, _) = Self.parse(text) else {
            Issue.record("not refused: \(text.prefix(60))")
            return
        }
        #expect(answer == status)
    }

    @Test("Expect: 100-continue is answered once")
    func expectContinue() {
        var parser = ControlRequestParser()
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        parser.receive(Array(head.utf8)[...])
        #expect(Self.step(&parser) == .wantsContinue)
        #expect(Self.step(&parser) == .needsMore)
    }

    private static func step(_ parser: inout ControlRequestParser) -> ControlRequestParser.Step {
        parser.next()
    }

    @Test("random bytes never trap and never need unbounded memory")
    func fuzz() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var bytes = Array(Self.get.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            var parser = ControlRequestParser()
            parser.receive(bytes[...])
            _ = parser.next()
        }
    }
}
