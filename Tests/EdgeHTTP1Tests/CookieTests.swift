import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("Cookies")
struct CookieTests {
    /// The pairs of a cookie-string, as name and value.
    private static func pairs(_ value: String) -> [[String]] {
        let bytes = Array(value.utf8)
        var pairs = CookiePairs(ByteRange(0..<bytes.count))
        var found: [[String]] = []
        while let pair = pairs.next(in: bytes.span) {
            found.append([text(bytes, pair.name), text(bytes, pair.value)])
        }
        return found
    }

    private static func cookies(_ result: [String]) -> [String] {
        result.filter { $0.lowercased().hasPrefix("cookie") }
    }

    @Test(
        "A cookie-string is cut at semicolons, whatever stands between them",
        arguments: [
            ("a=1; b=2", [["a", "1"], ["b", "2"]]), ("a=1;b=2", [["a", "1"], ["b", "2"]]),
            (" a = 1 ;; ;\tb=2;", [["a", "1"], ["b", "2"]]), ("", []), (" ; ", []),
            ("a", [["a", ""]]), ("=1", [["", "1"]]), ("a=", [["a", ""]]),
            ("a=b=c", [["a", "b=c"]]),
            ("a=\"x y\"", [["a", "\"x y\""]]),
        ] as [(String, [[String]])])
    func split(value: String, expected: [[String]]) {
        #expect(Self.pairs(value) == expected)
    }

    @Test(
        "A cookie of ours goes no further, and the others stay as they are",
        arguments: [
            (["E=1"], []), (["E=1; a=2"], ["Cookie: a=2"]), (["a=2; E=1"], ["Cookie: a=2"]),
            (["a=1;  b=2; E=1;c=3;d=4"], ["Cookie: a=1;  b=2; c=3;d=4"]),
            (["E=1; a=1; E=2; b=2; E"], ["Cookie: a=1; b=2"]),
            (["e=1; EE=1; xE=1"], ["Cookie: e=1; EE=1; xE=1"]),
            (["a=E=1; b=\"E=1\""], ["Cookie: a=E=1; b=\"E=1\""]),
            (["a=1", "E=1", "b=2; E=3"], ["Cookie: a=1", "Cookie: b=2"]),
            ([";E=1;"], []), ([" E =1; a=1"], ["Cookie: a=1"]),
        ] as [([String], [String])])
    func hidden(values: [String], expected: [String]) throws {
        let lines = values.map { "Cookie: \($0)\r\n" }.joined()
        let head = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n\(lines)B: 2\r\n\r\n"

        let result = try forwarded(head, hiding: "E")

        #expect(Self.cookies(result) == expected)
        #expect(result.contains("A: 1") && result.contains("B: 2"))
        #expect(try forwarded(head).contains { $0.contains("E") })
    }

    @Test("A head never grows by a cookie that is left out of it")
    func size() throws {
        let value =
            String(repeating: "a;", count: 2000) + "E=1;" + String(repeating: "b;", count: 9)
        let head = "GET / HTTP/1.1\r\nHost: a\r\nCookie: \(value)\r\n\r\n"
        let bytes = Array(head.utf8)
        var request = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &request, limits: HeadLimits())
        let name = Array("E".utf8)

        let output = written(capacity: bytes.count + 300) {
            HTTP1Writer.writeRequest(
                request, from: bytes.span, context: context(), host: Span(), hiding: name.span,
                into: &$0)
        }

        #expect(output != nil)
    }

    @Test("Names of cookies are compared byte by byte, names of fields are not")
    func names() throws {
        let bytes = Array(
            """
            GET / HTTP/1.1\r\nHost: a\r\nX-USER: u\r\nCookie: sid=1\r\nCookie: x; SID=2; SID=3\r
            Secret: s\r\nConnection: secret\r\n\r\n
            """.utf8)
        var request = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &request, limits: HeadLimits())
        func cookie(_ name: String) -> String? {
            let name = Array(name.utf8)
            return request.fields.cookie(name.span, in: bytes.span).map { text(bytes, $0) }
        }
        func field(_ name: String) -> String? {
            let name = Array(name.utf8)
            return request.fields.value(of: name.span, in: bytes.span).map { text(bytes, $0) }
        }

        #expect(cookie("sid") == "1")
        #expect(cookie("SID") == "2")
        #expect(cookie("Sid") == nil)
        #expect(cookie("x") == "")
        #expect(field("x-user") == "u")
        #expect(field("x-use") == nil)
        #expect(field("secret") == nil)
    }

    @Test("An answer gets a Set-Cookie of ours beside the upstream's")
    func setting() throws {
        let bytes = Array("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n".utf8)
        var response = ResponseHead()
        try HTTP1Parser.parseResponse(
            bytes.span, requestMethod: .get, upgrade: .none, into: &response, limits: HeadLimits())
        let cookie = Array("E=1; Path=/".utf8)

        let output = written {
            HTTP1Writer.writeResponse(
                response, from: bytes.span,
                context: ResponseContext(framing: .length(0), clientMinor: 1, keepAlive: true),
                setting: cookie.span, into: &$0)
        }

        #expect(
            lines(output ?? []) == [
                "HTTP/1.1 200 OK", "Set-Cookie: a=1", "Set-Cookie: E=1; Path=/",
                "Content-Length: 0",
            ])
    }
}

@Suite("CDN-Loop")
struct LoopMarkTests {
    private static let id: UInt64 = 0x00FE_DCBA_9876_5432
    private static let mark = "edged-00fedcba98765432"

    @Test("Our mark follows whatever others have put there, also where Connection names the field")
    func appended() throws {
        let head = """
            GET / HTTP/1.1\r\nHost: a\r\nConnection: cdn-loop\r
            CDN-Loop: other; v=1\r\nA: 1\r\n\r\n
            """
        let result = try forwarded(head) { $0.loopID = Self.id }
        #expect(
            result.filter { $0.hasPrefix("CDN-Loop") } == [
                "CDN-Loop: other; v=1", "CDN-Loop: \(Self.mark)",
            ])
        #expect(try !forwarded("GET / HTTP/1.1\r\nHost: a\r\n\r\n").contains { $0.contains("CDN") })
    }

    @Test(
        "A mark is found wherever it stands, and only if it is ours",
        arguments: [
            (mark, true), ("other, \(mark)", true), ("other;a=\"b\", \(mark); c=d, x", true),
            ("x\r\nCDN-LOOP: y\r\ncdn-loop: \(mark)", true), ("", false), ("other", false),
            ("edged-00fedcba98765433", false), ("edged-00fedcba9876543", false),
            ("EDGED-00FEDCBA98765432", false),
            ("x\r\nOther: \(mark)", false),
        ] as [(String, Bool)])
    func found(value: String, isOurs: Bool) throws {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nCDN-Loop: \(value)\r\n\r\n".utf8)
        var request = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &request, limits: HeadLimits())

        let hasField = request.hasCDNLoop
        let isFound = LoopMark(id: Self.id).isIn(request.fields, bytes.span)
        let isLookedFor = LoopMark(id: 0).isIn(request.fields, bytes.span)
        #expect(hasField)
        #expect(isFound == isOurs)
        #expect(!isLookedFor)
    }
}
