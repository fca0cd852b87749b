import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import Testing

private let ours = [
    "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a",
    "X-Real-IP: 192.0.2.7", "X-Request-ID: 0123456789abcdeffedcba9876543210",
]

@Suite("HTTP/1 requests as they are forwarded")
struct RequestWriterTests {
    @Test("End-to-end fields keep order, case, bytes and number")
    func endToEnd() throws {
        let result = try forwarded(
            """
            GET /x?y HTTP/1.0\r\nB: 2\r\nHOST: a\r\na:1 \r\nCookie: é=1\r
            Cookie: d=2\r\nE:\r\n\r\n
            """
        )
        #expect(
            result == [
                "GET /x?y HTTP/1.1", "Host: a", "B: 2", "a: 1", "Cookie: é=1", "Cookie: d=2", "E: ",
            ]
                + ours)
    }

    @Test("Fields of this hop, and those that Connection names, are left out")
    func hopByHop() throws {
        let result = try forwarded(
            """
            GET / HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\nConnection: X-Secret, keep-alive, Host\r
            Keep-Alive: 3\r\nProxy-Connection: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r
            HTTP2-Settings: abc\r\nProxy-Authorization: x\r\nTrailer: X\r\nExpect: 100-continue\r
            Authorization: b\r\n\r\n
            """)
        #expect(result == ["GET / HTTP/1.1", "Host: a", "Authorization: b"] + ours)
    }

    @Test("What a client claims about itself is replaced, and names with underscores are dropped")
    func claims() throws {
        let fields = [
            "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: http", "X-Forwarded-Host: b",
            "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /", "Forwarded: for=1.2.3.4",
            "X-Real-IP: 1.2.3.4", "X-Request-Id: 1", "X_Forwarded_For: 1.2.3.4",
            "Content_Length: 3",
        ]
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\(fields.joined(separator: "\r\n"))\r\n\r\n"

        #expect(try forwarded(head) == ["GET / HTTP/1.1", "Host: a"] + ours)
        #expect(
            try forwarded(head) { $0.isClientTrusted = true }
                == ["GET / HTTP/1.1", "Host: a"] + fields.dropFirst().dropLast(2)
                + ["X-Forwarded-For: 1.2.3.4, 192.0.2.7"])
    }

    @Test("A trusted client's X-Forwarded-For is continued as one list, whatever its lines")
    func chain() throws {
        let head = """
            GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nA: b\r
            x-forwarded-for:\t5.6.7.8, 2001:db8::1 \r\nX-Forwarded-For:\r\n\r\n
            """

        let result = try forwarded(head) { $0.isClientTrusted = true }

        #expect(
            result == ["GET / HTTP/1.1", "Host: a", "A: b"]
                + ["X-Forwarded-For: 1.2.3.4, 5.6.7.8, 2001:db8::1, 192.0.2.7"] + ours.dropFirst())
    }

    @Test("Our port is not put beside another's scheme or host")
    func foreignPort() throws {
        for field in ["X-Forwarded-Proto: http", "X-Forwarded-Host: b"] {
            let result = try forwarded("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n\r\n") {
                $0.isClientTrusted = true
            }
            #expect(!result.contains { $0.hasPrefix("X-Forwarded-Port") })
        }
    }

    @Test(
        "Forwarded is sent when asked for, in RFC 7239's form, behind a trusted client's own",
        arguments: [
            (SocketAddress(ipv4: 0xC000_0207, port: 1), "192.0.2.7"),
            (SocketAddress(ipv6High: 0x2001_0DB8 << 32, low: 1, port: 1), "\"[2001:db8::1]\""),
        ])
    func forwardedField(client: SocketAddress, text: String) throws {
        let head = "GET / HTTP/1.1\r\nHost: a:1\r\nForwarded: for=x\r\n\r\n"

        for isTrusted in [false, true] {
            let result = try forwarded(head) {
                $0.client = client
                $0.sendsForwarded = true
                $0.isClientTrusted = isTrusted
            }
            let found = result.filter { $0.hasPrefix("Forwarded") }
            #expect(
                found == (isTrusted ? ["Forwarded: for=x"] : [])
                    + ["Forwarded: for=\(text);host=\"a:1\";proto=https"])
        }
    }

    @Test("Names with underscores pass when asked for, unless they could be taken for known ones")
    func underscores() throws {
        let fields = [
            "X_Forwarded_For: 1", "x-forwarded_anything: 1", "Content_Length: 3",
            "Transfer_Encoding: chunked", "X_Real_IP: 1", "Proxy_Connection: 1", "A_B: 1",
            "X_\(String(repeating: "y", count: 60)): 1", "Connection_: 1",
        ]
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\(fields.joined(separator: "\r\n"))\r\n\r\n"

        let result = try forwarded(head) { $0.passesUnderscores = true }

        #expect(result == ["GET / HTTP/1.1", "Host: a"] + fields.suffix(3) + ours)
    }

    @Test("A listed upgrade is asked for by the client's own word")
    func otherUpgrade() throws {
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"
        let bytes = Array(head.utf8)
        var request = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &request, limits: HeadLimits())

        let found = UpgradeProtocol.first(
            of: request.upgradeOffer, in: bytes.span, allowed: [UpgradeProtocol("spdy/3.1")])
        let none = UpgradeProtocol.first(
            of: request.upgradeOffer, in: bytes.span, allowed: [UpgradeProtocol("spdy")])
        let result = try forwarded(head) { $0.upgrade = found?.1 ?? .none }

        #expect(none == nil)
        #expect(found?.0 == UpgradeProtocol("spdy/3.1"))
        #expect(result.suffix(2) == ["Upgrade: SPDY/3.1", "Connection: Upgrade"])
    }

    @Test("The site's own name replaces Host and leaves X-Forwarded-Host alone")
    func otherHost() throws {
        let result = try forwarded("GET / HTTP/1.1\r\nHost: a\r\n\r\n", host: "in.example:81")
        #expect(result == ["GET / HTTP/1.1", "Host: in.example:81"] + ours)
    }

    @Test("Framing is our own")
    func framing() throws {
        let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n"
        #expect(try forwarded(sized).last == "Content-Length: 7")
        let chunked =
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\nTrailer: X\r\n\r\n"
        #expect(
            try forwarded(chunked)
                == ["POST / HTTP/1.1", "Host: a", "Trailer: X"] + ours + [
                    "Transfer-Encoding: chunked"
                ])
        #expect(try forwarded(sized) { $0.framing = .chunked }.last == "Transfer-Encoding: chunked")
    }

    @Test("A WebSocket upgrade is asked for anew")
    func upgrade() throws {
        let result = try forwarded(
            """
            GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r
            Sec-WebSocket-Key: k\r\n\r\n
            """)
        #expect(
            result == ["GET / HTTP/1.1", "Host: a", "Sec-WebSocket-Key: k"] + ours
                + ["Upgrade: websocket", "Connection: Upgrade"])
    }

    @Test("Expect, TE and close are sent on only when asked for")
    func options() throws {
        let head = """
            POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r
            TE: trailers\r\n\r\n
            """
        #expect(
            try forwarded(head)
                == ["POST / HTTP/1.1", "Host: a"] + ours + ["Content-Length: 1"])
        #expect(try forwarded(head) { $0.forwardsExpect = true }.last == "Expect: 100-continue")
        #expect(
            try forwarded(head) { $0.acceptsTrailers = true }.suffix(2)
                == ["TE: trailers", "Connection: TE"])
        #expect(try forwarded(head) { $0.closesConnection = true }.last == "Connection: close")
    }

    @Test("An absolute-form target becomes origin form and its authority the only Host")
    func absoluteForm() throws {
        let result = try forwarded("GET http://b:1 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(result.prefix(2) == ["GET / HTTP/1.1", "Host: b:1"])
        let query = try forwarded("GET http://b?c=/d HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(query.prefix(2) == ["GET /?c=/d HTTP/1.1", "Host: b"])
        let options = try forwarded("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(options.prefix(2) == ["OPTIONS * HTTP/1.1", "Host: b"])
    }

    @Test("An output that is too small is reported at every size and never trapped on")
    func overflow() throws {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ:1\r\n\r\n".utf8)
        var head = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &head, limits: HeadLimits())
        let write: (Int) -> [UInt8]? = { capacity in
            written(capacity: capacity) {
                HTTP1Writer.writeRequest(
                    head, from: bytes.span, context: context(), host: Span(), into: &$0)
            }
        }
        let size = try #require(write(4096)).count
        for capacity in 0..<size { #expect(write(capacity) == nil) }
        #expect(write(size) != nil)
    }
}

@Suite("HTTP/1 responses as they are forwarded")
struct ResponseWriterTests {
    private func forward(
        _ text: String, to method: EdgeHTTP.Method = .get, clientMinor: UInt8 = 1,
        keepAlive: Bool = true, upgrade: UpgradeProtocol = .none
    ) throws -> [String] {
        let bytes = Array(text.utf8)
        var head = ResponseHead()
        try HTTP1Parser.parseResponse(
            bytes.span, requestMethod: method, upgrade: upgrade, into: &head,
            limits: HeadLimits())
        let settings = ResponseContext(
            framing: head.framing(clientMinor: clientMinor), clientMinor: clientMinor,
            keepAlive: keepAlive)
        let output = written {
            head.isInterim
                ? HTTP1Writer.writeInterim(head, from: bytes.span, into: &$0)
                : HTTP1Writer.writeResponse(head, from: bytes.span, context: settings, into: &$0)
        }
        return lines(try #require(output))
    }

    @Test("End-to-end fields are kept and those of the hop left out")
    func fields() throws {
        let result = try forward(
            """
            HTTP/1.0 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie:  b\r\nX-Hop: 1\r\nx_y: 2\r
            Connection: x-hop, close\r\nKeep-Alive: 1\r\nUpgrade: h2c\r\nContent-Length: 03\r\n\r\n
            """)
        #expect(
            result == [
                "HTTP/1.1 200 Fine", "Set-Cookie: a", "Set-Cookie: b", "x_y: 2",
                "Content-Length: 3",
            ])
    }

    @Test(
        "A body is framed for the client's version",
        arguments: [
            ("Transfer-Encoding: chunked", 1, ["Transfer-Encoding: chunked"]),
            ("Transfer-Encoding: chunked", 0, ["Connection: close"]),
            ("Connection: close", 1, ["Transfer-Encoding: chunked"]),
            ("Connection: close", 0, ["Connection: close"]),
            ("Content-Length: 3", 1, ["Content-Length: 3"]),
            ("Content-Length: 3", 0, ["Content-Length: 3", "Connection: keep-alive"]),
        ] as [(String, UInt8, [String])])
    func framing(field: String, clientMinor: UInt8, expected: [String]) throws {
        let result = try forward("HTTP/1.1 200 OK\r\n\(field)\r\n\r\n", clientMinor: clientMinor)
        #expect(result == ["HTTP/1.1 200 OK"] + expected)
    }

    @Test("An answer without content keeps the length it declares, except 204")
    func noContent() throws {
        let head = "\r\nContent-Length: 3\r\n\r\n"
        #expect(
            try forward("HTTP/1.1 200 OK" + head, to: .head)
                == ["HTTP/1.1 200 OK", "Content-Length: 3"])
        #expect(
            try forward("HTTP/1.1 304 X" + head) == ["HTTP/1.1 304 X", "Content-Length: 3"])
        #expect(try forward("HTTP/1.1 204 X" + head) == ["HTTP/1.1 204 X"])
        #expect(
            try forward("HTTP/1.1 204 X" + head, keepAlive: false)
                == ["HTTP/1.1 204 X", "Connection: close"])
    }

    @Test("An output that is too small is reported at every size")
    func overflow() throws {
        let bytes = Array("HTTP/1.1 200 OK\r\nA: b\r\nC:d\r\nContent-Length: 3\r\n\r\n".utf8)
        var head = ResponseHead()
        try HTTP1Parser.parseResponse(
            bytes.span, requestMethod: .get, upgrade: .none, into: &head,
            limits: HeadLimits())
        let settings = ResponseContext(framing: head.framing, clientMinor: 1, keepAlive: true)
        let write: (Int) -> [UInt8]? = { capacity in
            written(capacity: capacity) {
                HTTP1Writer.writeResponse(head, from: bytes.span, context: settings, into: &$0)
            }
        }
        let size = try #require(write(4096)).count
        for capacity in 0..<size { #expect(write(capacity) == nil) }
        #expect(write(size)?.count == size)
    }

    @Test("A writer goes back to a mark and is usable again after an overflow")
    func rewind() {
        let output = written(capacity: 4) {
            $0.append("abc")
            $0.append("def")
            let overflowed = $0.hasOverflowed
            $0.rewind(to: 1)
            $0.append("xyz")
            return overflowed && !$0.hasOverflowed
        }
        #expect(output == Array("axyz".utf8))
    }

    @Test("Interim answers and an accepted upgrade are written without framing")
    func interim() throws {
        #expect(
            try forward("HTTP/1.1 103\r\nLink: a\r\nContent-Length: 1\r\n\r\n")
                == ["HTTP/1.1 103 ", "Link: a"])
        #expect(
            try forward(
                "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n",
                upgrade: .webSocket)
                == ["HTTP/1.1 101 X", "A: b", "Upgrade: websocket", "Connection: Upgrade"])
    }

    @Test("Chunks are written so that the decoder reads them, trailers of the hop left out")
    func chunks() throws {
        let section = Array("Grpc-Status: 0\r\nHost: a\r\nx_y:1\r\nTE: b\r\n\r\n".utf8)
        var fields = FieldList()
        try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: HeadLimits())
        let output = written {
            _ = HTTP1Writer.writeChunkHeader(26, into: &$0)
            $0.append("abcdefghijklmnopqrstuvwxyz")
            _ = HTTP1Writer.writeChunkEnd(into: &$0)
            return HTTP1Writer.writeLastChunk(
                trailers: fields, from: section.span, isRequest: false, into: &$0)
        }
        #expect(
            lines(try #require(output))
                == ["1a", "abcdefghijklmnopqrstuvwxyz", "0", "Grpc-Status: 0", "x_y: 1"])
        #expect(written { HTTP1Writer.writeLastChunk(into: &$0) } == Array("0\r\n\r\n".utf8))
        let request = written {
            HTTP1Writer.writeLastChunk(
                trailers: fields, from: section.span, isRequest: true, into: &$0)
        }
        #expect(lines(try #require(request)) == ["0", "Grpc-Status: 0"])
    }

    @Test(
        "Trailers that frame, route, authorise, modify or describe the message are left out",
        arguments: [
            "Content-Encoding", "Content-Range", "content-type", "Cache-Control", "Max-Forwards",
            "If-Match", "Proxy-Status", "Sec-Fetch-Mode", "WWW-Authenticate", "Set-Cookie", "Vary",
            "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "X-Forwarded-For", "Range",
        ])
    func badTrailer(name: String) throws {
        let section = Array("\(name): 1\r\nIf: 1\r\n\r\n".utf8)
        var fields = FieldList()
        try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: HeadLimits())

        let output = written {
            HTTP1Writer.writeLastChunk(
                trailers: fields, from: section.span, isRequest: false, into: &$0)
        }

        #expect(lines(try #require(output)) == ["0", "If: 1"])
    }

    @Test(
        "Trailers are not told apart where Connection names fields of its own",
        arguments: [
            ("", false), ("Connection: close, TE, keep-alive\r\n", false),
            ("Connection: X-Secret\r\n", true), ("Connection: close, grpc-status\r\n", true),
        ])
    func namedTrailers(field: String, expected: Bool) throws {
        var request = RequestHead()
        var response = ResponseHead()
        let start = "Host: a\r\nTransfer-Encoding: chunked\r\n\(field)\r\n"
        let ask = Array("POST / HTTP/1.1\r\n\(start)".utf8)
        let answer = Array("HTTP/1.1 200 OK\r\n\(start)".utf8)

        try HTTP1Parser.parseRequest(ask.span, into: &request, limits: HeadLimits())
        try HTTP1Parser.parseResponse(
            answer.span, requestMethod: .get, upgrade: .none, into: &response, limits: HeadLimits())

        #expect(request.dropsTrailers == expected)
        #expect(response.dropsTrailers == expected)
    }

    @Test("Our own answers are complete messages, without a body for HEAD")
    func canned() throws {
        let place = Array("https://a/b".utf8)
        let refusal = written {
            CannedResponse.write(
                status: 429, reason: "limited", retryAfterSeconds: 7, close: true, isHead: false,
                into: &$0)
        }
        #expect(
            String(decoding: try #require(refusal), as: UTF8.self) == """
                HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Type: text/plain\r
                Cache-Control: no-store\r\nContent-Length: 8\r\nConnection: close\r\n\r\nlimited\n
                """)
        let redirect = written {
            CannedResponse.write(
                status: 308, reason: "redirected", field: "Location", place.span, close: false,
                isHead: true,
                into: &$0)
        }
        let answer = try parseResponse(
            String(decoding: try #require(redirect), as: UTF8.self), to: .head)
        #expect(answer.status == 308)
        #expect(answer.declaredLength == 11)
        #expect(answer.fields.first == "Location: https://a/b")
        #expect(redirect?.suffix(4) == Array("\r\n\r\n".utf8)[...])
    }

    @Test(
        "Addresses are written as RFC 5952 says",
        arguments: [
            "192.0.2.255", "::1", "::", "2001:db8::1", "1:2:3:4:5:6:7:8", "1:0:3:4:5:6:7:8",
            "1::4:5:0:0:8", "fe80::", "::1:0:0:0:1", "1:0:0:2::3",
        ])
    func addresses(address: String) throws {
        let value = try #require(SocketAddress(address: address, port: 1))
        let output = written {
            $0.append(address: value)
            return true
        }
        #expect(String(decoding: try #require(output), as: UTF8.self) == address)
    }
}
