internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 9113 §8.1 to §8.5, and BEHAVIOUR 25 and 26: malformed messages. Their path is `/never`.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields("GET", "/never"))
    private static let post = HPACKBlock(HTTP2Client.fields("POST", "/never"))

    /// A GET with one field more.
    private static func bad(_ name: String, _ value: String, _ why: String) -> HTTP2Row {
        HTTP2Row(
            "\(why): “\(name)” “\(value)”", .malformed(1),
            .headers(1, get + .literal(name, value)))
    }

    /// A GET whose head is these fields.
    private static func head(_ why: String, _ fields: [(String, String)]) -> HTTP2Row {
        HTTP2Row(why, .malformed(1), .headers(1, HPACKBlock(fields)))
    }

    private static let method = (":method", "GET")
    private static let scheme = (":scheme", "https")
    private static let path = (":path", "/never")
    private static let authority = (":authority", "app.test")

    // MARK: - What RFC 9113 calls malformed, said by the head alone

    static let headRows: [HTTP2Row] = [
        bad("X-TEST", "a", "8.2.1: upper case"), bad("x-tesT", "a", "8.2.1: upper case"),
        bad("x test", "a", "8.2.1: no token"), bad("x:test", "a", "8.2.1: no token"),
        bad("x\u{0}", "a", "8.2.1: no token"), bad("x\n", "a", "8.2.1: no token"),
        bad("x\u{7F}", "a", "8.2.1: no token"), bad("", "a", "8.2.1: no name"),
        bad("x\u{E9}", "a", "8.2.1: no token"), bad("x(", "a", "8.2.1: no token"),
        bad("x-a", "a\u{0}b", "8.2.1: NUL"), bad("x-a", "a\rb", "8.2.1: CR"),
        bad("x-a", "a\nb", "8.2.1: LF"), bad("x-a", "a\r\nX-B: c", "8.2.1: CRLF"),
        bad("x-a", " b", "8.2.1: a blank first"), bad("x-a", "b ", "8.2.1: a blank last"),
        bad("x-a", "\tb", "8.2.1: a tab first"), bad("x-a", "b\t", "8.2.1: a tab last"),
        bad("x-a", "\u{1}", "RFC 9110, 5.5: a control byte"),
        bad("x-a", "b\u{7F}", "RFC 9110, 5.5: a control byte"),
        bad("connection", "close", "8.2.2"), bad("connection", "x-a", "8.2.2"),
        bad("proxy-connection", "keep-alive", "8.2.2"), bad("keep-alive", "5", "8.2.2"),
        bad("transfer-encoding", "chunked", "8.2.2"), bad("upgrade", "h2c", "8.2.2"),
        bad("te", "gzip", "8.2.2"), bad("te", "trailers, deflate;q=0.5", "8.2.2"),
        bad(":test", "a", "8.3: a pseudo-field behind fields"),
        bad(":path", "/never", "8.3: repeated"),
        head(
            "8.3: an unknown pseudo-field", [method, scheme, path, authority, (":test", "a")]),
        head(
            "8.3: :status in a request", [method, scheme, path, authority, (":status", "200")]),
        head("8.3: behind a field", [method, scheme, authority, ("x-a", "b"), path]),
        head("8.3.1: no :method", [scheme, path, authority]),
        head("8.3.1: no :scheme", [method, path, authority]),
        head("8.3.1: no :path", [method, scheme, authority]),
        head("8.3.1: an empty :path", [method, scheme, (":path", ""), authority]),
        head("8.3.1: an empty :method", [(":method", ""), scheme, path, authority]),
        head("8.3.1: two :method", [method, method, scheme, path, authority]),
        head("8.3.1: two :scheme", [method, scheme, scheme, path, authority]),
        head("8.3.1: two :path", [method, scheme, path, path, authority]),
        head("8.3.1: two :authority", [method, scheme, path, authority, authority]),
        head("8.5: CONNECT with :path", [(":method", "CONNECT"), path, authority]),
        head("8.5: CONNECT with :scheme", [(":method", "CONNECT"), scheme, authority]),
        head("8.5: CONNECT without :authority", [(":method", "CONNECT")]),
        head(
            "RFC 8441, 4: :protocol of a GET",
            [method, scheme, path, authority, (":protocol", "websocket")]),
        .init("8.1: no field at all", .malformed(1), .headers(1, HPACKBlock())),
        .init(
            "8.1.1: a length and no content", .malformed(1),
            .headers(1, post + .literal("content-length", "1"))),
    ]

    // MARK: - What BEHAVIOUR 26 adds

    private static func target(_ value: String, _ method: String = "GET") -> HTTP2Row {
        head(
            "26: :path “\(value)” of \(method)",
            [(":method", method), scheme, (":path", value), authority, ("x-never", "/never")])
    }

    private static func authority(_ value: String) -> HTTP2Row {
        head("26: :authority “\(value)”", [method, scheme, path, (":authority", value)])
    }

    static let valueRows: [HTTP2Row] = [
        target("never"), target("*"), target("?a"), target("http://app.test/never"), target("/a b"),
        target("/a#b"), target("/a\u{7F}"), target("/a\tb"), target("/a\r\nX: b"),
        target("/\u{E9}"),
        target("/never", "GE T"), target("/never", "G(T"), target("/never", "GET\r\n"),
        target("/never", "G\u{E9}T"), target("**", "OPTIONS"), target("app.test:443", "OPTIONS"),
        authority(""), authority("u@app.test"), authority("app.test/never"), authority("app.test?"),
        authority("app.test,app.test"), authority("app test"), authority("app.test:x"),
        authority("app.test:99999"),
        authority("[::1"), authority("app..test"), authority("app.test\r\nX: a"),
        authority("app.test\u{0}"),
        head("26: no authority at all", [method, scheme, path]),
        head("26: a Host that is none", [method, scheme, path, ("host", "u@app.test")]),
        head(
            "26: two Hosts", [method, scheme, path, ("host", "app.test"), ("host", "app.test")]),
        head("26: :scheme ftp", [method, (":scheme", "ftp"), path, authority]),
        head("26: an empty :scheme", [method, (":scheme", ""), path, authority]),
        head("26: :scheme that is none", [method, (":scheme", "https://x/"), path, authority]),
    ]

    private static let lengths = [
        "x", "-1", "+5", "5, 5", "5.0", "0x5", "", "9223372036854775808", "5 5",
    ]

    static let lengthRows: [HTTP2Row] = lengths.map { value in
        HTTP2Row(
            "1, 25: content-length “\(value)”", .malformed(1),
            .headers(1, post + .literal("content-length", value), end: false),
            .data(1, "hello", end: true))
    }

    private static let twoLengths = HTTP2Row(
        "2, 25: two lengths that differ", .malformed(1),
        .headers(
            1,
            .joined(
                post, .literal("content-length", "5"), .literal("content-length", "6")),
            end: false), .data(1, "hello", end: true))

    // MARK: - What is malformed at its end

    private static func long(_ length: Int) -> HPACKBlock {
        post + .literal("content-length", "\(length)")
    }

    private static func trailer(_ why: String, _ name: String, _ value: String) -> HTTP2Row {
        .init(
            "\(why): trailer “\(name)” “\(value)”", .malformed(1),
            .headers(1, post, end: false), .data(1, "a"),
            .headers(1, HPACKBlock([(name, value)])))
    }

    static let endRows: [HTTP2Row] = [
        .init(
            "8.1.1: more content than said", .malformed(1), .headers(1, long(3), end: false),
            .data(1, "four", end: true)),
        .init(
            "8.1.1: less content than said", .malformed(1), .headers(1, long(5), end: false),
            .data(1, "four", end: true)),
        .init(
            "8.1.1: more, in several frames", .malformed(1), .headers(1, long(5), end: false),
            .data(1, "four"), .data(1, "more", end: true)),
        .init(
            "8.1.1: padding is no content", .malformed(1), .headers(1, long(5), end: false),
            .data(1, Array("four".utf8), end: true, padding: 1)),
        .init(
            "8.1.1: none, and empty DATA", .malformed(1), .headers(1, long(1), end: false),
            .data(1, end: true)),
        .init(
            "8.1.1: less, and trailers", .malformed(1), .headers(1, long(5), end: false),
            .data(1, "four"), .headers(1, HPACKBlock([("x-a", "b")]))),
        .init(
            "8.1: trailers that do not end the stream", .malformed(1),
            .headers(1, post, end: false), .data(1, "a"),
            .headers(1, HPACKBlock([("x-a", "b")]), end: false)),
        trailer("8.1, 8.3", ":method", "GET"), trailer("8.1, 8.3", ":path", "/x"),
        trailer("8.1, 8.3", ":status", "200"), trailer("8.1, 8.3", ":x", "y"),
        trailer("8.2.1", "X-A", "b"), trailer("8.2.1", "x a", "b"), trailer("8.2.1", "", "b"),
        trailer("8.2.1", "x-a", "b\r\nc"), trailer("8.2.1", "x-a", "\u{0}"),
        trailer("8.2.1", "x-a", " b"), trailer("8.2.2", "connection", "close"),
        trailer("8.2.2", "transfer-encoding", "chunked"),
    ]

    @Test("a malformed head ends its stream, nothing of it is forwarded, and others go on")
    func malformedHeads() throws {
        try Self.check(
            Self.headRows + Self.valueRows + Self.lengthRows + [Self.twoLengths], hidden: .heads)
    }

    @Test("what is malformed at its end is never a whole request to the upstream")
    func malformedEnds() throws { try Self.check(Self.endRows, hidden: .ends) }

    // MARK: - Requests that are fine

    private static func good(_ why: String, _ fields: [(String, String)]) -> HTTP2Row {
        HTTP2Row(why, .answered(1), .headers(1, HPACKBlock(fields)))
    }

    static let goodRows: [HTTP2Row] = [
        good("8.2.2: te: trailers", HTTP2Client.fields("GET", with: [("te", "trailers")])),
        good(
            "8.3.1: Host instead of :authority",
            [method, scheme, (":path", "/"), ("host", "app.test")]),
        good(
            "8.3.1: :authority and the same Host",
            HTTP2Client.fields("GET", with: [("host", "app.test")])),
        good(
            "8.3.1: any order of pseudo-fields",
            [authority, (":path", "/"), scheme, method, ("accept", "*/*")]),
        good("8.3.1: * of OPTIONS", HTTP2Client.fields("OPTIONS", "*")),
        good("26: a method of any token", HTTP2Client.fields("M-S!#$%&'*+.^_`|~9")),
        good("26: :scheme http", HTTP2Client.fields(scheme: "http")),
        good("8.2.1: an empty value", HTTP2Client.fields("GET", with: [("x-a", "")])),
        good("8.1.1: a length of 0", HTTP2Client.fields("POST", with: [("content-length", "0")])),
        .init(
            "8.1: content, its length, trailers", .answered(1),
            .headers(
                1, HPACKBlock(HTTP2Client.fields("POST", with: [("content-length", "4")])),
                end: false),
            .data(1, "fo"), .data(1), .data(1, "ur"), .headers(1, HPACKBlock([("x-a", "b")]))),
        .init(
            "8.1: trailers without content", .answered(1),
            .headers(1, HPACKBlock(HTTP2Client.fields("POST")), end: false),
            .headers(1, HPACKBlock([("x-a", "b")]))),
        .init(
            "8.2.1: bytes of 8 bits in a value", .answered(1),
            .headers(
                1,
                .joined(
                    HPACKBlock(HTTP2Client.fields()),
                    .literal(Array("x-a".utf8), [0x80, 0xFF, 0x20, 0x09, 0xE4])))),
    ]

    @Test("what RFC 9113 allows is answered")
    func wellFormed() throws { try Self.check(Self.goodRows) }

    @Test("CONNECT is refused, and never forwarded")
    func connect() throws {
        let upstream = try ScriptedUpstream(answering: HTTP2Target.content)
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        for host in ["app.test:443", "app.test"] {
            let stream = try client.request(
                [(":method", "CONNECT"), (":authority", host)], end: false)
            let answer = try client.response(stream)
            #expect(answer.reset != nil || (400..<600).contains(answer.status))
        }
        #expect(try client.get().text == HTTP2Target.content)
        let sent = upstream.connections.map { String(decoding: $0.received, as: UTF8.self) }
        #expect(!sent.joined().contains("CONNECT"))
        #expect(client.faults.isEmpty)
    }
}
