import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("HTTP/1 response heads")
struct ResponseHeadTests {
    @Test("A plain answer is taken apart")
    func plain() throws {
        let answer = try parseResponse(
            "HTTP/1.1 200 Très bien\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\n")

        #expect(answer.status == 200)
        #expect(answer.reason == "Très bien")
        #expect(answer.framing == .length(3))
        #expect(answer.keepAlive)
        #expect(answer.fields == ["Set-Cookie: a", "Set-Cookie: b", "Content-Length: 3"])
    }

    @Test(
        "A malformed status line is refused",
        arguments: [
            ("HTTP/1.2 200 OK", HTTP1Violation.badStatusLine), ("HTTP/2 200 OK", .badStatusLine),
            ("HTTP/0.9 200 OK", .badStatusLine), ("http/1.1 200 OK", .badStatusLine),
            ("HTTP/1.1  200 OK", .badStatusCode), ("HTTP/1.1\t200 OK", .badStatusLine),
            ("HTTP/1.10 200 OK", .badStatusLine), (" HTTP/1.1 200 OK", .badStatusLine),
            ("HTTP/1.1 20 OK", .badStatusCode), ("HTTP/1.1 2000 OK", .badStatusCode),
            ("HTTP/1.1 099 OK", .badStatusCode), ("HTTP/1.1 600 OK", .badStatusCode),
            ("HTTP/1.1 999 OK", .badStatusCode), ("HTTP/1.1 +20 OK", .badStatusCode),
            ("HTTP/1.1 200\tOK", .badStatusCode), ("HTTP/1.1 200 O\u{0}K", .badStatusLine),
            ("HTTP/1.1 200 O\rK", .badStatusLine), ("HTTP/1.1 abc OK", .badStatusCode),
            ("HTTP/1.1", .badStatusLine), ("HTTP/1.1 ", .badStatusLine), ("200 OK", .badStatusLine),
            ("", .badStatusLine), ("<html>", .badStatusLine), ("HTTP/1.0 100 Go", .badStatusCode),
        ])
    func badLine(line: String, expected: HTTP1Violation) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseResponse("\(line)\r\nContent-Length: 0\r\n\r\n")
        }
        #expect(found == expected)
    }

    @Test("A status without a reason is accepted", arguments: ["HTTP/1.1 200", "HTTP/1.1 200 "])
    func noReason(line: String) throws {
        #expect(try parseResponse("\(line)\r\nContent-Length: 0\r\n\r\n").reason.isEmpty)
    }

    @Test(
        "Garbage is refused before its line ends",
        arguments: ["S", "HTTP/2", "HTTP/1.1 2\n", "\r\n"])
    func early(text: String) {
        var scanner = HeadScanner(.response)
        #expect(throws: HTTP1Violation.self) {
            try scanner.scan(Array(text.utf8).span, limits: HeadLimits())
        }
    }

    @Test(
        "A body is framed as RFC 9112 section 6.3 says",
        arguments: [
            ("200", EdgeHTTP.Method.get, "Content-Length: 5", .length(5), true),
            ("200", .get, "Content-Length: 0", .length(0), true),
            ("200", .get, "Transfer-Encoding: Chunked", .chunked, true),
            ("200", .get, "A: b", .untilClose, false),
            ("200", .head, "Content-Length: 5", .none, true),
            ("200", .head, "Transfer-Encoding: chunked", .none, true),
            ("200", .head, "A: b", .none, true),
            ("304", .get, "Content-Length: 5", .none, true),
            ("304", .get, "A: b", .none, true),
            ("204", .get, "A: b", .none, true),
            ("204", .get, "Content-Length: 0", .none, true),
            ("204", .get, "Content-Length: 5", .none, false),
            ("204", .get, "Transfer-Encoding: chunked", .none, false),
            ("205", .get, "Content-Length: 5", .length(5), true),
            ("404", .post, "Content-Length: 5\r\nConnection: close", .length(5), false),
        ] as [(String, EdgeHTTP.Method, String, BodyFraming, Bool)])
    func framing(
        status: String, method: EdgeHTTP.Method, field: String, framing: BodyFraming,
        keepAlive: Bool
    ) throws {
        let answer = try parseResponse("HTTP/1.1 \(status) X\r\n\(field)\r\n\r\n", to: method)

        #expect(answer.framing == framing)
        #expect(answer.keepAlive == keepAlive)
    }

    @Test("The length of an answer to HEAD and of a 304 is kept, though nothing follows")
    func declaredLength() throws {
        let head = try parseResponse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", to: .head)
        #expect(head.declaredLength == 5)
        let fresh = try parseResponse("HTTP/1.1 304 Same\r\nContent-Length: 6\r\n\r\n")
        #expect(fresh.declaredLength == 6)
        let empty = try parseResponse("HTTP/1.1 204 None\r\nContent-Length: 6\r\n\r\n")
        #expect(empty.declaredLength == nil)
    }

    @Test("An HTTP/1.0 answer persists only if it says so")
    func version10() throws {
        let start = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n"
        #expect(try !parseResponse(start + "\r\n").keepAlive)
        #expect(try parseResponse(start + "Connection: keep-alive\r\n\r\n").keepAlive)
    }

    @Test(
        "Invalid framing and fields are refused",
        arguments: [
            ("Content-Length: 5\r\nContent-Length: 6", HTTP1Violation.conflictingContentLength),
            ("Content-Length: -5", .badContentLength), ("Content-Length: 5x", .badContentLength),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", .lengthAndChunked),
            ("Transfer-Encoding: gzip", .unknownTransferCoding),
            ("Transfer-Encoding: chunked, gzip", .badTransferCoding),
            ("A : b", .whitespaceBeforeColon), ("A: b\u{0}", .nulInValue), ("A: b\rc", .bareCR),
            ("A: b\r\n c", .obsFold), ("A", .missingColon), (" A: b", .leadingWhitespace),
        ])
    func badFields(fields: String, expected: HTTP1Violation) {
        for method in [EdgeHTTP.Method.get, .head] {
            let found = violation { () throws(HTTP1Violation) in
                _ = try parseResponse("HTTP/1.1 200 OK\r\n\(fields)\r\n\r\n", to: method)
            }
            #expect(found == expected)
        }
    }

    @Test(
        "Interim answers are told apart, without a body", arguments: ["100", "102", "103", "199"])
    func interim(status: String) throws {
        let answer = try parseResponse("HTTP/1.1 \(status) X\r\nLink: a\r\n\r\n")

        #expect(answer.isInterim)
        #expect(answer.framing == .none)
        #expect(answer.keepAlive)
    }

    @Test("A 101 is accepted only as the answer to the upgrade that was forwarded")
    func switching() throws {
        let good = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        #expect(try parseResponse(good, upgrade: .webSocket).upgrade == "websocket")
        #expect(throws: HTTP1Violation.unexpectedSwitch) { try parseResponse(good) }
        for text in [
            "HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 X\r\n\r\n",
            "HTTP/1.1 101 X\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n",
        ] {
            #expect(throws: HTTP1Violation.unexpectedSwitch) {
                try parseResponse(text, upgrade: .webSocket)
            }
        }
    }
}
