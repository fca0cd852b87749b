import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("HTTP/1 field lines")
struct FieldTests {
    @Test("Values keep their bytes, without the white space around them")
    func values() throws {
        let head = try parseRequest("GET / HTTP/1.1\r\nHost: a\r\nX: \t é\tb  \r\nEmpty:\r\n\r\n")
        #expect(head.fields[1] == Array("X: é\tb".utf8))
        #expect(head.fields[2] == Array("Empty: ".utf8))
    }

    @Test(
        "A malformed field line is refused",
        arguments: [
            ("X : a\r\n", HTTP1Violation.whitespaceBeforeColon),
            ("X\t: a\r\n", .whitespaceBeforeColon),
            (": a\r\n", .emptyFieldName), ("X\r\n", .missingColon),
            ("X y\r\n", .whitespaceBeforeColon),
            ("X(: a\r\n", .badFieldName), ("É: a\r\n", .badFieldName),
            ("\u{0}X: a\r\n", .badFieldName),
            ("X\u{0}: a\r\n", .badFieldName), ("X: a\r\n b\r\n", .obsFold),
            ("X: a\r\n\tb\r\n", .obsFold),
            ("X: a\u{0}b\r\n", .nulInValue), ("X: a\rb\r\n", .bareCR),
            ("X: \u{1}\r\n", .controlInValue),
            ("X: \u{7F}\r\n", .controlInValue), ("X: 12345678\u{B}\r\n", .controlInValue),
            ("X: a\r\r\n", .bareCR), ("X\r: a\r\n", .bareCR), ("\"X\": a\r\n", .badFieldName),
            ("\rX: a\r\n", .bareCR), ("\u{0B}X: a\r\n", .badFieldName),
        ])
    func badLine(line: String, expected: HTTP1Violation) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest("GET / HTTP/1.1\r\nHost: a\r\n\(line)\r\n")
        }
        #expect(found == expected)
    }

    @Test(
        "A bare LF is never a line end",
        arguments: [
            "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\n",
        ].map { Array($0.utf8) })
    func bareLF(bytes: [UInt8]) {
        #expect(throws: HTTP1Violation.bareLF) { try parseRequest(bytes) }
    }

    @Test("White space in front of the first field is refused")
    func leadingWhitespace() {
        #expect(throws: HTTP1Violation.leadingWhitespace) {
            try parseRequest("GET / HTTP/1.1\r\n Host: a\r\n\r\n")
        }
    }

    @Test("Each byte value in a name and in a value is either passed as it is or refused")
    func everyByte() {
        for byte in UInt8.min...UInt8.max {
            let start = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8)
            let inName = start + Array("x".utf8) + [byte] + Array("y: b\r\n\r\n".utf8)
            let inValue = start + Array("x: 1234567".utf8) + [byte] + Array("y\r\n\r\n".utf8)
            let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
            let isToken = (letters + "!#$%&'*+-.^_`|~").utf8.contains(byte)
            let isText = byte >= 0x20 && byte != 0x7F || byte == 9

            // A colon ends the name early, which makes another name, not an error.
            #expect(((try? parseRequest(inName)) != nil) == (isToken || byte == 0x3A))
            #expect(((try? parseRequest(inValue)) != nil) == isText)
        }
    }

    @Test(
        "A Connection field names others, but never Host or framing, and must be a list of tokens")
    func connection() throws {
        let head = try parseRequest(
            """
            POST / HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nConnection: x-A,, HOST , content-length\r
            Content-Length: 3\r\nx-a: 2\r\nX-AB: 3\r\n\r\n
            """)
        #expect(
            head.fields.map { String(decoding: $0, as: UTF8.self) } == [
                "Host: a", "Content-Length: 3", "X-AB: 3",
            ])
        for value in ["a b", "a;b", "\"a\"", "close=1"] {
            #expect(throws: HTTP1Violation.badConnectionOption) {
                try parseRequest("GET / HTTP/1.1\r\nHost: a\r\nConnection: \(value)\r\n\r\n")
            }
        }
        let many = String(repeating: "a,", count: 33)
        #expect(throws: HTTP1Violation.badConnectionOption) {
            try parseRequest("GET / HTTP/1.1\r\nHost: a\r\nConnection: \(many)\r\n\r\n")
        }
    }

    @Test("Every known name is found in any letter case, and no other name is")
    func names() {
        let known: [(String, FieldName)] = [
            ("Host", .host), ("Connection", .connection), ("Keep-Alive", .keepAlive),
            ("Proxy-Connection", .proxyConnection), ("TE", .te), ("Trailer", .trailer),
            ("Transfer-Encoding", .transferEncoding), ("Upgrade", .upgrade),
            ("Content-Length", .contentLength), ("Expect", .expect),
            ("HTTP2-Settings", .http2Settings), ("Proxy-Authenticate", .proxyAuthenticate),
            ("Proxy-Authorization", .proxyAuthorization), ("Forwarded", .forwarded),
            ("X-Forwarded-For", .xForwardedFor), ("X-Forwarded-Proto", .xForwardedProto),
            ("X-Forwarded-Host", .xForwardedHost), ("X-Forwarded-Port", .xForwardedPort),
            ("X-Forwarded-", .xForwardedOther), ("X-Forwarded-S", .xForwardedOther),
            ("X-Forwarded-Ssl", .xForwardedOther), ("X-Forwarded-By", .xForwardedOther),
            ("X-Forwarded-Server", .xForwardedOther), ("X-Forwarded-Client-Cert", .xForwardedOther),
            ("X-Forwarded-Something-Very-Long-Indeed", .xForwardedOther),
            ("X-Real-IP", .xRealIP), ("X-Request-ID", .xRequestID), ("Date", .date),
            ("CDN-Loop", .cdnLoop), ("traceparent", .traceparent), ("TraceState", .tracestate),
            ("Server", .server), ("Via", .via), ("Cookie", .cookie), ("Set-Cookie", .setCookie),
            ("Location", .location), ("Content-Location", .contentLocation), ("Refresh", .refresh),
            ("Authorization", .authorization), ("Origin", .origin), ("Referer", .referer),
            ("User-Agent", .userAgent), ("Content-Type", .contentType),
            ("Access-Control-Allow-Origin", .accessControlAllowOrigin),
        ]
        #expect(Set(known.map(\.1)).count == FieldName.allCases.count - 1)
        for (name, expected) in known {
            for spelling in [name, name.lowercased(), name.uppercased()] {
                let bytes = Array("@\(spelling):".utf8)
                let range = ByteRange(1..<bytes.count - 1)
                #expect(FieldName.identify(bytes.span, range) == expected, "\(spelling)")
            }
            guard expected != .xForwardedOther, !name.hasPrefix("X-Forwarded-") else { continue }
            for index in 0..<name.utf8.count {
                var bytes = Array(name.utf8)
                bytes[index] = UInt8(ascii: "!")
                let range = ByteRange(0..<bytes.count)
                #expect(FieldName.identify(bytes.span, range) == .other, "\(name) \(index)")
            }
        }
    }
}
