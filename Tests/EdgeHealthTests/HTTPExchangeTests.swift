import EdgeHealth
import EdgeUpstream
import Testing

@Suite("Checks over HTTP/1.1") struct HTTPExchangeTests {
    private static func http(
        statuses: [ClosedRange<UInt16>] = [200...399], text: String? = nil, method: String = "GET"
    ) -> HealthPolicy.Kind {
        .http(HealthPolicy.Request(method: method, statuses: statuses, bodyContains: text))
    }

    @Test("tcp asks nothing and passes when the connection is there")
    func tcp() {
        let interview = Interview(.tcp).begin()

        #expect(interview.outcomes == [.passed])
        #expect(interview.said.isEmpty)
    }

    @Test("tls passes with its handshake and fails where there is none")
    func tls() {
        #expect(Interview(.tls, isTLS: true).begin().outcome == .passed)
        #expect(Interview(.tls).begin().outcome == failed("the check needs TLS"))
    }

    @Test("the request says whom it is for, who asks, and that it is the only one")
    func request() {
        let policy = HealthPolicy.Request(
            method: "POST", path: "/health?deep=1", host: "b.example",
            headers: [HealthPolicy.Header(name: "X-Probe", value: "one two")])

        #expect(
            Interview(.http(policy)).begin().words
                == "POST /health?deep=1 HTTP/1.1\r\nHost: b.example\r\n"
                + "User-Agent: edged-check\r\nX-Probe: one two\r\nContent-Length: 0\r\n"
                + "Connection: close\r\n\r\n")
        #expect(
            Interview(Self.http()).begin().words
                == "GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: edged-check\r\n"
                + "Connection: close\r\n\r\n")
    }

    @Test("a header of the operator's replaces ours of that name")
    func replaced() {
        let policy = HealthPolicy.Request(headers: [
            HealthPolicy.Header(name: "host", value: "c.example"),
            HealthPolicy.Header(name: "user-agent", value: "probe"),
        ])

        #expect(
            Interview(.http(policy)).begin().words
                == "GET / HTTP/1.1\r\nHost: c.example\r\nuser-agent: probe\r\n"
                + "Connection: close\r\n\r\n")
    }

    static let unsendable: [HealthPolicy.Request] = [
        HealthPolicy.Request(path: "/a\r\nX: y"), HealthPolicy.Request(path: "no-slash"),
        HealthPolicy.Request(path: "/a b"), HealthPolicy.Request(method: "GE T"),
        HealthPolicy.Request(method: "CONNECT"), HealthPolicy.Request(host: "a\r\nX: y"),
        HealthPolicy.Request(host: ""),
        HealthPolicy.Request(headers: [HealthPolicy.Header(name: "X", value: "a\r\nY: b")]),
        HealthPolicy.Request(headers: [HealthPolicy.Header(name: "X Y", value: "a")]),
        HealthPolicy.Request(headers: [HealthPolicy.Header(name: "Content-Length", value: "9")]),
        HealthPolicy.Request(headers: [HealthPolicy.Header(name: "connection", value: "x")]),
    ]

    @Test("a request that would be read otherwise than written is not sent", arguments: unsendable)
    func notSent(request: HealthPolicy.Request) {
        let interview = Interview(.http(request)).begin()

        #expect(interview.outcome == failed("the configured request cannot be sent"))
        #expect(interview.said.isEmpty)
    }

    @Test(
        "a status passes if one of the ranges has it",
        arguments: [
            (200, true), (204, true), (250, true), (205, false), (404, false), (503, false),
        ])
    func statuses(status: Int, passes: Bool) {
        let kind = Self.http(statuses: [200...200, 204...204, 250...299])

        #expect(asked(kind, respond(status)) == (passes ? .passed : failed("status \(status)")))
    }

    @Test("the verdict stands when the head has come, without the content")
    func headDecides() {
        let interview = Interview(Self.http()).begin()

        interview.answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n")
        #expect(interview.outcome == nil)
        interview.answer("\r\n")

        #expect(interview.outcomes == [.passed])
    }

    @Test("interim answers are skipped, seventeen are too many")
    func interim() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        #expect(asked(Self.http(), early + early + respond(503)) == failed("status 503"))
        let flood = String(repeating: early, count: 16)
        #expect(asked(Self.http(), flood + respond(200)) == .passed)

        #expect(
            asked(Self.http(), flood + early + respond(200)) == failed("too many interim answers"))
    }

    static let bodies: [(String, Bool)] = [
        (respond(200, "all is well here"), true), (respond(200, "nothing is wel"), false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwe\r\n"
                + "3;a=b\r\nll!\r\n0\r\n\r\n",
            true
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: well\r\n\r\n",
            false
        ),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end: wwell", true), ("HTTP/1.0 200 OK\r\n\r\nwe", false),
        (respond(200), false), ("HTTP/1.1 204 No Content\r\n\r\nwell", false),
    ]

    @Test("the content must contain the text, however it is framed and cut", arguments: bodies)
    func content(answer: String, passes: Bool) {
        for piece in [1, 2, 3, 7, .max] {
            #expect(
                asked(Self.http(text: "well"), answer, piece: piece)
                    == (passes ? .passed : failed("body lacks the text")), "pieces of \(piece)")
        }
    }

    @Test("a text within the first 64 KiB is found, one behind them is not looked for")
    func contentLimit() {
        let room = 64 << 10
        func body(_ before: Int) -> String {
            String(repeating: "-", count: before) + "well" + String(repeating: "-", count: 100_000)
        }

        #expect(asked(Self.http(text: "well"), respond(200, body(room - 4))) == .passed)
        let interview = Interview(Self.http(text: "well")).begin()
        interview.answer(respond(200, body(room - 3)), piece: 1000)

        #expect(interview.outcomes == [failed("body lacks the text")])
    }

    @Test("a status that fails is told before the content is looked at")
    func statusFirst() {
        #expect(asked(Self.http(text: "well"), respond(500, "well")) == failed("status 500"))
    }

    @Test("an answer to HEAD has no content")
    func head() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

        #expect(asked(Self.http(method: "HEAD"), answer) == .passed)
        #expect(
            asked(Self.http(text: "x", method: "HEAD"), answer) == failed("body lacks the text"))
    }

    @Test("a connection that ends too early says where")
    func early() {
        let kind = Self.http(text: "well")

        #expect(asked(kind, "") == failed("connection closed without an answer"))
        #expect(asked(kind, "HTTP/1.1 20") == failed("connection closed within the answer"))
        #expect(
            asked(kind, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwel")
                == failed("connection closed within the answer"))
    }

    static let broken: [(String, String)] = [
        ("SSH-2.0-OpenSSH_9.2\r\n", "bad answer: bad_status_line"),
        ("HTTP/1.1 999 No\r\n\r\n", "bad answer: bad_status_code"),
        ("HTTP/1.1 200 OK\nA: b\n\n", "bad answer: bare_lf"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "bad answer: unexpected_switch"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "bad answer: length_and_chunked"
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "bad answer: bad_chunk_size"
        ),
    ]

    @Test("what is no HTTP fails with the offence's name", arguments: broken)
    func offences(answer: String, reason: String) {
        #expect(asked(Self.http(text: "well"), answer) == failed(reason))
    }

    @Test("a head without an end is given up at its limit")
    func endlessHead() {
        let interview = Interview(Self.http()).begin().answer("HTTP/1.1 200 OK\r\n")
        var lines = 0
        while interview.outcome == nil, lines < 10_000 {
            interview.answer("X-Field-\(lines): \(lines)\r\n")
            lines += 1
        }

        #expect(interview.outcome == failed("bad answer: head_too_large"))
        #expect(lines < 5_000)
    }

    @Test("what comes behind the outcome changes nothing")
    func once() {
        let interview = Interview(Self.http()).begin().answer(respond(200) + respond(500))
        interview.answer(respond(500)).close()

        #expect(interview.outcomes == [.passed])
    }
}
