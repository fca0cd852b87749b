import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("HTTP/1 request lines and hosts")
struct RequestHeadTests {
    @Test("A plain request is taken apart")
    func plain() throws {
        let head = try parseRequest("GET /a?b=c HTTP/1.1\r\nHost: example.org:8443\r\n\r\n")

        #expect(head.start == "GET")
        #expect(head.target == "/a?b=c")
        #expect(head.authority == "example.org:8443")
        #expect(head.host == "example.org")
        #expect(head.port == 8443)
        #expect(head.framing == .none)
        #expect(head.fields == [Array("Host: example.org:8443".utf8)])
    }

    @Test(
        "A method is any token and keeps its letter case",
        arguments: ["GET", "get", "PROPFIND", "M-SEARCH", "a!#$%&'*+-.^_`|~9"])
    func method(_ method: String) throws {
        #expect(try parseRequest("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n").start == method)
    }

    @Test(
        "A target is accepted in origin form, absolute form, and as * with OPTIONS",
        arguments: [
            ("GET /", "/", "a"), ("GET /%2F%00..//x?q=%0d%0a;|", "/%2F%00..//x?q=%0d%0a;|", "a"),
            ("GET http://b:81/x?y", "/x?y", "b:81"), ("GET HTTPS://b/", "/", "b"),
            ("GET http://b", "/", "b"), ("OPTIONS *", "*", "a"), ("OPTIONS http://b", "*", "b"),
            ("OPTIONS /x", "/x", "a"), ("GET //x", "//x", "a"), ("GET http://b?c", "/?c", "b"),
            ("GET http://b?", "/?", "b"), ("OPTIONS http://b?c/d", "/?c/d", "b"),
        ])
    func target(line: String, target: String, authority: String) throws {
        let head = try parseRequest("\(line) HTTP/1.1\r\nHost: a\r\n\r\n")

        #expect(head.target == target)
        #expect(head.authority == authority)
    }

    @Test(
        "A malformed request line is refused",
        arguments: [
            ("GET / HTTP/1.2", HTTP1Violation.unsupportedVersion),
            ("GET / HTTP/2.0", .unsupportedVersion), ("GET / HTTP/9.9", .unsupportedVersion),
            ("GET / HTTP/0.9", .unsupportedVersion), ("PRI * HTTP/2.0", .http2Preface),
            ("GET / http/1.1", .badVersion), ("GET / HTTP/1.10", .badVersion),
            ("GET / HTTP/01.1", .badVersion), ("GET / HTTP/1", .badVersion),
            ("GET / HTTP/1.1 ", .badVersion), ("GET / HTTP/1.1\t", .badVersion),
            ("GET / HTTX/1.1", .badVersion), ("GET / HTTP/1.\u{31}\u{0}", .badVersion),
            ("GET /", .http09), ("GET", .badRequestLine),
            ("GET  / HTTP/1.1", .badTarget), ("GET /  HTTP/1.1", .badVersion),
            ("GET\t/ HTTP/1.1", .badMethod), (" GET / HTTP/1.1", .badMethod),
            ("G(T / HTTP/1.1", .badMethod), ("GÉT / HTTP/1.1", .badMethod),
            ("GET /a b HTTP/1.1", .badVersion), ("GET /\t HTTP/1.1", .badTarget),
            ("GET /a#b HTTP/1.1", .badTarget), ("GET /é HTTP/1.1", .badTarget),
            ("GET /\u{7F} HTTP/1.1", .badTarget), ("GET /\u{0} HTTP/1.1", .badTarget),
            ("GET a HTTP/1.1", .badTarget), ("GET * HTTP/1.1", .badTarget),
            ("OPTIONS ** HTTP/1.1", .badTarget), ("GET a:443 HTTP/1.1", .badTarget),
            ("GET ftp://a/ HTTP/1.1", .badTarget), ("GET http:/a HTTP/1.1", .badTarget),
            ("GET http:///x HTTP/1.1", .badTarget), ("GET http://u@a/ HTTP/1.1", .badTarget),
            ("GET http://?b HTTP/1.1", .badTarget), ("GET http://a:x/ HTTP/1.1", .badTarget),
            ("CONNECT a:443 HTTP/1.1", .connectRefused), ("CONNECT / HTTP/1.1", .connectRefused),
            ("GET /\r HTTP/1.1", .bareCR),
        ])
    func badLine(line: String, expected: HTTP1Violation) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest("\(line)\r\nHost: a\r\n\r\n")
        }
        #expect(found == expected)
    }

    @Test(
        "A well-formed Host is accepted",
        arguments: [
            ("a", "a", nil), ("EXAMPLE.org", "EXAMPLE.org", nil), ("a.b-c_d~e.", "a.b-c_d~e.", nil),
            ("192.0.2.1:80", "192.0.2.1", 80), ("[2001:db8::1]", "2001:db8::1", nil),
            ("[::1]:65535", "::1", 65535), ("a:", "a", nil),
            ("[::ffff:192.0.2.1]:", "::ffff:192.0.2.1", nil), ("[::]", "::", nil),
            ("[1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8", nil), ("[1::8]", "1::8", nil),
            ("[1:2:3:4:5:6:7::]", "1:2:3:4:5:6:7::", nil),
            ("[::2:3:4:5:6:7:8]:1", "::2:3:4:5:6:7:8", 1),
            ("[1:2:3:4:5:6:192.0.2.1]", "1:2:3:4:5:6:192.0.2.1", nil),
        ] as [(String, String, UInt16?)])
    func goodHost(value: String, host: String, port: UInt16?) throws {
        let head = try parseRequest("GET / HTTP/1.1\r\nHost:  \(value)\t\r\n\r\n")

        #expect(head.host == host)
        #expect(head.port == port)
    }

    @Test(
        "An invalid Host is refused",
        arguments: [
            "", "u@a", "a/b", "a?b", "a b", "a,b", "a#b", "a\\b", "a:b", "a:80x", "a:80:80",
            "a:+80",
            "a:65536", "a:0", "a:000080", "[::1", "::1", "[::1]x", "[]", "[1]", "[v1.a]",
            "[::1%25eth0]", "[:::]", "[::1::2]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]",
            "[1:2:3:4:5:6:7:8::]", "[12345::]", "[1:]", "[:1]", "[::g]", "[::1.2.3]",
            "[::1.2.3.4.5]", "[::1.2.3.256]", "[::01.2.3.4]", "[::1.2.3.]", "[::1.2.3.4:5]",
            "[1:2:3:4:5:6:7:192.0.2.1]", "[::1:]", ".", ".a", "a..b", "a..",
            ":80", "é", "a%2eb", "a;b", "[::1]]", "\"a\"", "a\tb", "http://a",
        ])
    func badHost(value: String) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest("GET / HTTP/1.1\r\nHost: \(value)\r\n\r\n")
        }
        #expect(found == .badHost)
    }

    @Test("A request has exactly one Host")
    func hostCount() {
        #expect(throws: HTTP1Violation.missingHost) {
            try parseRequest("GET / HTTP/1.1\r\nA: b\r\n\r\n")
        }
        #expect(throws: HTTP1Violation.missingHost) {
            try parseRequest("GET http://a/ HTTP/1.1\r\nA: b\r\n\r\n")
        }
        #expect(throws: HTTP1Violation.missingHost) { try parseRequest("GET / HTTP/1.0\r\n\r\n") }
        #expect(throws: HTTP1Violation.duplicateHost) {
            try parseRequest("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n")
        }
    }

    @Test("An absolute-form target names the host of an HTTP/1.0 request")
    func absoluteHost10() throws {
        #expect(try parseRequest("GET http://b/ HTTP/1.0\r\n\r\n").authority == "b")
    }

    @Test(
        "A connection persists by version and Connection option",
        arguments: [
            ("1.1", "", true), ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: foo, CLOSE\r\n", false), ("1.0", "", false),
            ("1.1", "Connection: keep-alive, close\r\n", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ])
    func keepAlive(version: String, field: String, expected: Bool) throws {
        let head = try parseRequest("GET / HTTP/\(version)\r\nHost: a\r\n\(field)\r\n")
        #expect(head.flags[1] == expected)
    }

    @Test("Expect is 100-continue in any letter case, nothing else, and no 1.0 client's")
    func expect() throws {
        let start = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: "
        #expect(try parseRequest(start + "100-Continue\r\n\r\n").flags[2])
        #expect(throws: HTTP1Violation.unknownExpectation) {
            try parseRequest(start + "200-ok\r\n\r\n")
        }
        let old = try parseRequest(
            "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        #expect(!old.flags[2])
        let strange = try parseRequest("GET / HTTP/1.0\r\nHost: a\r\nExpect: 200-ok\r\n\r\n")
        #expect(!strange.flags[2])
        let empty = try parseRequest("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
        #expect(!empty.flags[2])
    }

    @Test(
        "Only a complete WebSocket upgrade counts as one",
        arguments: [
            ("GET / HTTP/1.1", "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n", true),
            ("GET / HTTP/1.1", "Upgrade: h2c, websocket\r\nConnection: upgrade\r\n", true),
            ("GET / HTTP/1.1", "Upgrade: websocket\r\n", false),
            ("GET / HTTP/1.1", "Connection: upgrade\r\n", false),
            ("GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: upgrade\r\n", false),
            ("GET / HTTP/1.0", "Upgrade: websocket\r\nConnection: upgrade\r\n", false),
            ("POST / HTTP/1.1", "Upgrade: websocket\r\nConnection: upgrade\r\n", false),
            (
                "GET / HTTP/1.1",
                "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n", false
            ),
        ])
    func upgrade(line: String, fields: String, expected: Bool) throws {
        #expect(try parseRequest("\(line)\r\nHost: a\r\n\(fields)\r\n").flags[3] == expected)
    }
}
