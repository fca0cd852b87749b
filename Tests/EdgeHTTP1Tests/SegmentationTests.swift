import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("HTTP/1 heads in segments and at their limits")
struct SegmentationTests {
    @Test(
        "A head is found the same at every segmentation",
        arguments: [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next", "\r\nGET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: abcdefghijklmnop\r\nX: \r\n\r\n\r\n",
        ])
    func segments(text: String) throws {
        let bytes = Array(text.utf8)
        var whole = HeadScanner(.request)
        let count = try #require(try whole.scan(bytes.span, limits: HeadLimits()))
        let end = whole.skippedByteCount + count
        #expect(bytes[..<end].suffix(4).elementsEqual("\r\n\r\n".utf8))

        for split in 0..<end {
            var scanner = HeadScanner(.request)
            #expect(
                try scanner.scan(bytes.span.extracting(first: split), limits: HeadLimits()) == nil)
            #expect(try scanner.scan(bytes.span, limits: HeadLimits()) == count)
            #expect(scanner.skippedByteCount == whole.skippedByteCount)
        }
        var scanner = HeadScanner(.request)
        for seen in 0..<end {
            #expect(
                try scanner.scan(bytes.span.extracting(first: seen), limits: HeadLimits()) == nil)
        }
        #expect(try scanner.scan(bytes.span.extracting(first: end), limits: HeadLimits()) == count)
    }

    @Test("Pipelined requests are found one behind the other")
    func pipelined() throws {
        var rest = Array(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n".utf8)
        var targets: [String] = []
        var request = RequestHead()
        while !rest.isEmpty {
            var scanner = HeadScanner(.request)
            let count = try #require(try scanner.scan(rest.span, limits: HeadLimits()))
            let head = Array(rest[scanner.skippedByteCount...].prefix(count))
            try HTTP1Parser.parseRequest(head.span, into: &request, limits: HeadLimits())
            targets.append(text(head, request.target) + text(head, request.host))
            rest.removeFirst(scanner.skippedByteCount + count)
        }
        #expect(targets == ["/1a", "/2b"])
    }

    @Test("A scanner without bytes, or with empty lines only, is empty")
    func empty() throws {
        var scanner = HeadScanner(.request)
        #expect(scanner.isEmpty)
        _ = try scanner.scan(Array("\r\n".utf8).span, limits: HeadLimits())
        #expect(scanner.isEmpty)
        _ = try scanner.scan(Array("\r\nG".utf8).span, limits: HeadLimits())
        #expect(!scanner.isEmpty)
    }

    @Test("Empty lines without end are refused")
    func emptyLines() {
        var scanner = HeadScanner(.request)
        #expect(throws: HTTP1Violation.badRequestLine) {
            try scanner.scan(Array("\r\n\r\n\r\n".utf8).span, limits: HeadLimits())
        }
    }

    @Test("HTTP/0.9 and bytes of another protocol are refused before a head is complete")
    func early() {
        let hello: [UInt8] = [0x16, 3, 1, 2, 0]
        for (bytes, expected) in [
            (Array("GET /\r\n".utf8), HTTP1Violation.http09), (hello, .badRequestLine),
            (Array("\rG".utf8), .bareCR), (Array("GET / HTTP/1.1\n".utf8), .bareLF),
            (Array("GET / \r\n".utf8), .badVersion),
            (Array("GET / HTTP/9.9\r\n".utf8), .unsupportedVersion),
            (Array("PRI * HTTP/2.0\r\n".utf8), .http2Preface),
        ] {
            var scanner = HeadScanner(.request)
            #expect(throws: expected) { try scanner.scan(bytes.span, limits: HeadLimits()) }
        }
    }

    @Test("A request line of 8000 bytes passes by default")
    func longLine() throws {
        let path = "/" + String(repeating: "a", count: 7985)
        let head = try parseRequest("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(head.target == path)
    }

    @Test("A request line at its limit passes, a longer one is a 414, complete or not")
    func lineLimit() throws {
        var limits = HeadLimits()
        limits.requestLineBytesMax = 100
        let fitting = Array("GET /\(String(repeating: "a", count: 86)) HTTP/1.1".utf8)
        #expect(fitting.count == 100)
        let rest = Array("\r\nHost: a\r\n\r\n".utf8)
        #expect(try parseRequest(fitting + rest, limits: limits).start == "GET")

        for split in [101, 102, 105] {
            var scanner = HeadScanner(.request)
            let line = Array("GET /\(String(repeating: "a", count: 97)) HTTP/1.1\r\n".utf8)
            #expect(throws: HTTP1Violation.targetTooLong) {
                _ = try scanner.scan(line.span.extracting(first: split), limits: limits)
                _ = try scanner.scan(line.span, limits: limits)
            }
        }
    }

    @Test("A head at its limit passes, a longer one is refused, complete or not")
    func headLimit() throws {
        var limits = HeadLimits()
        limits.headBytesMax = 60
        let fitting = Array(
            "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "b", count: 28))\r\n\r\n".utf8)
        #expect(fitting.count == 60)
        #expect(try parseRequest(fitting, limits: limits).start == "GET")
        for count in [60, 61] {
            let long = Array(
                "GET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "b", count: 29))\r\n\r\n".utf8)
            var scanner = HeadScanner(.request)
            #expect(throws: HTTP1Violation.headTooLarge) {
                try scanner.scan(long.span.extracting(first: count), limits: limits)
            }
        }
    }

    @Test("Fields at their limit pass, one more is refused", arguments: [1, 200, 256])
    func fieldLimit(count: Int) throws {
        var limits = HeadLimits()
        limits.fieldsMax = count
        let start = "GET / HTTP/1.1\r\nHost: a\r\n"
        let more = String(repeating: "X: y\r\n", count: count - 1)
        #expect(
            try parseRequest(Array("\(start)\(more)\r\n".utf8), limits: limits).fields.count
                == count)
        #expect(throws: HTTP1Violation.tooManyFields) {
            try parseRequest(Array("\(start)\(more)X: y\r\n\r\n".utf8), limits: limits)
        }
        limits.fieldsMax = 1000
        #expect(throws: HTTP1Violation.tooManyFields) {
            try parseRequest(
                Array((start + String(repeating: "X: y\r\n", count: 256) + "\r\n").utf8),
                limits: limits)
        }
    }
}
