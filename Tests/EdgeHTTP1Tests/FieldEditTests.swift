import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import Testing

/// An edit with a constant value.
func edit(_ verb: FieldEdits.Verb, _ name: String, _ value: String = "") -> FieldEdits.Edit {
    FieldEdits.Edit(
        verb, Array(name.utf8), value.isEmpty ? [] : [.text(Array(value.utf8))])
}

@Suite("Fields that rules set, add and remove")
struct FieldEditTests {
    private static func edits(_ list: FieldEdits.Edit...) throws -> FieldEdits {
        try FieldEdits(list, view: Array("lan".utf8))
    }

    private static func request(
        _ edits: FieldEdits, _ fields: String...,
        changing change: (inout ForwardingContext) -> Void = { _ in }
    ) throws -> [String] {
        let lines = try forwarded(
            "GET / HTTP/1.1\r\nHost: a\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n",
            rules: HeadRules(requestEdits: edits), changing: change)
        return Array(lines.dropFirst(2))
    }

    private static let ours = [
        "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: a",
        "X-Real-IP: 192.0.2.7", "X-Request-ID: 0123456789abcdeffedcba9876543210",
    ]

    @Test("A field that is set replaces all of its name, in any letter case")
    func set() throws {
        let edits = try Self.edits(edit(.set, "X-Team", "blue"))
        #expect(
            try Self.request(edits, "x-team: red", "A: 1", "X-TEAM:green", "X-Teams: 2")
                == ["A: 1", "X-Teams: 2"] + Self.ours + ["X-Team: blue"])
        #expect(try Self.request(edits) == Self.ours + ["X-Team: blue"])
    }

    @Test("A field that is added stands beside those of its name, in the order of the list")
    func add() throws {
        let edits = try Self.edits(
            edit(.add, "A", "2"), edit(.add, "B", "3"), edit(.add, "a", "4"), edit(.add, "C"))
        #expect(
            try Self.request(edits, "A: 1") == ["A: 1"] + Self.ours
                + ["A: 2", "B: 3", "a: 4", "C: "])
    }

    @Test("A field that is removed is gone, and nothing else is")
    func remove() throws {
        let names = [
            "Cookie", "x-very-long-name-of-a-field-that-nobody-has-in-a-table", "E", "Origin",
        ]
        let edits = try FieldEdits(names.map { edit(.remove, $0) }, view: [])
        #expect(
            try Self.request(
                edits, "COOKIE: a=b", "Cookies: 1", "e: 1", "EE: 2",
                "X-Very-Long-Name-Of-A-Field-That-Nobody-Has-In-A-Table: 3",
                "x-very-long-name-of-a-field-that-nobody-has-in-a-tablf: 4", "origin: x")
                == [
                    "Cookies: 1", "EE: 2",
                    "x-very-long-name-of-a-field-that-nobody-has-in-a-tablf: 4",
                ] + Self.ours)
    }

    @Test("A client cannot pass a field by a rule with underscores in its name")
    func underscores() throws {
        let edits = try Self.edits(
            edit(.set, "X-User-Name", "nobody"), edit(.remove, "_a_"), edit(.remove, "-b-"))
        let passing: (inout ForwardingContext) -> Void = { $0.passesUnderscores = true }
        #expect(
            try Self.request(
                edits, "X_User_Name: root", "x-user_NAME: root", "X_User_Names: 1", "_a-: 2",
                "-a-: 3", "-b_: 4", changing: passing)
                == ["X_User_Names: 1", "-a-: 3"] + Self.ours + ["X-User-Name: nobody"])
        let lines = try answered(
            "HTTP/1.1 204 N\r\nX_User-Name: 1\r\n_A_: 2\r\n\r\n",
            rules: HeadRules(responseEdits: edits))
        #expect(lines == ["HTTP/1.1 204 N", "X_User-Name: 1", "X-User-Name: nobody"])
    }

    @Test("Of a view's, a site's and a path's edits the later ones win")
    func order() throws {
        let cases: [([FieldEdits.Edit], [String])] = [
            ([edit(.set, "X", "1"), edit(.set, "x", "2")], ["x: 2"]),
            ([edit(.add, "X", "1"), edit(.remove, "X")], []),
            ([edit(.remove, "X"), edit(.add, "X", "1")], ["X: 1"]),
            ([edit(.set, "X", "1"), edit(.add, "X", "2")], ["X: 1", "X: 2"]),
            (
                [edit(.add, "X", "1"), edit(.set, "X", "2"), edit(.add, "X", "3")],
                ["X: 2", "X: 3"]
            ),
            ([edit(.set, "X", "1"), edit(.remove, "x")], []),
        ]
        for (list, expected) in cases {
            let edits = try FieldEdits(list, view: [])
            #expect(try Self.request(edits, "X: 0") == Self.ours + expected)
        }
        let beside = try Self.edits(edit(.add, "X", "1"), edit(.add, "X", "2"))
        #expect(try Self.request(beside, "X: 0") == ["X: 0"] + Self.ours + ["X: 1", "X: 2"])
    }

    @Test("Variables are filled in from the request and its client")
    func variables() throws {
        let text: (String) -> TextTemplate.Part = { .text(Array($0.utf8)) }
        let edits = try Self.edits(
            .init(
                .set, Array("X-All".utf8),
                [
                    .client, text(" "), .view, text("/"), .view, text(" "), .host, text(" "), .id,
                    text(" "), .path, text(" "), .query, text("."),
                ]))
        let rules = HeadRules(requestEdits: edits)
        let id = "0123456789abcdeffedcba9876543210"
        func value(_ head: String, _ change: (inout ForwardingContext) -> Void = { _ in }) throws
            -> String?
        {
            try forwarded(head + "\r\n\r\n", rules: rules, changing: change).last
        }
        #expect(edits.variables == [.client, .host, .id, .path, .query])
        #expect(
            try value("GET /a/b?c=d HTTP/1.1\r\nHost: Site.example:81")
                == "X-All: 192.0.2.7 lan/lan Site.example \(id) /a/b ?c=d.")
        #expect(
            try value("GET http://b?c HTTP/1.1\r\nHost: a")
                == "X-All: 192.0.2.7 lan/lan b \(id) / ?c.")
        #expect(
            try value("OPTIONS * HTTP/1.1\r\nHost: a") == "X-All: 192.0.2.7 lan/lan a \(id) / .")
        #expect(
            try value("GET /? HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine") {
                $0.isClientTrusted = true
                $0.client = SocketAddress(address: "2001:db8::1", port: 1) ?? $0.client
            } == "X-All: 2001:db8::1 lan/lan a mine / ?.")
        // Nobody else's claim is believed.
        #expect(
            try value("GET /? HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine")
                == "X-All: 192.0.2.7 lan/lan a \(id) / ?.")
    }

    @Test("A template never takes more room than it says, and may take all of it")
    func room() throws {
        let source = Array("/path?query".utf8)
        var values = TemplateValues(
            client: SocketAddress(ipv4: 0, port: 0), requestID: (.max, .max))
        values.path = ByteRange(0..<5)
        values.query = ByteRange(5..<11)
        values.host = ByteRange(1..<5)
        let parts: [TextTemplate.Part] = [.text(Array("text".utf8)), .id, .path, .query, .host]
        for id in [ByteRange.none, ByteRange(0..<11)] {
            values.id = id
            for part in parts {
                let template = try TextTemplate([part, part, .view], view: Array("v".utf8))
                let output = written {
                    template.write(values, source.span, into: &$0)
                    return true
                }
                let isShort = part == .id && !id.isEmpty
                #expect(output?.count == template.byteCountMax(values) - (isShort ? 42 : 0))
            }
        }
    }

    @Test("No control character gets into a value, wherever it comes from")
    func control() throws {
        let template = try TextTemplate(
            [.path, .text(Array("|".utf8)), .query, .host], view: [])
        for byte in UInt8.min...UInt8.max {
            let isControl = byte < 0x20 || byte == 0x7F
            let source = Array("/a".utf8) + [byte] + Array("b?c".utf8) + [byte, byte]
            var values = noValues
            values.path = ByteRange(0..<4)
            values.query = ByteRange(4..<source.count)
            values.host = ByteRange(source.count - 1..<source.count)
            let output = written {
                template.write(values, source.span, into: &$0)
                return true
            }
            let kept = isControl ? [] : [byte]
            let long = [UInt8](repeating: 0x61, count: 40) + [byte]
            var longValues = noValues
            longValues.host = ByteRange(Int(byte) % 40..<41)
            let host = written {
                template.write(longValues, long.span, into: &$0)
                return true
            }
            #expect(host?.count == 2 + 40 - Int(byte) % 40 + kept.count)
            let expected = Array("/a".utf8) + kept + Array("b|?c".utf8) + kept + kept + kept
            #expect(output == expected)
            #expect(expected.count <= template.byteCountMax(values))

            let list = [FieldEdits.Edit(.set, [UInt8(ascii: "X")], [.text([byte])])]
            if isControl, byte != 9 {
                #expect(throws: FieldEdits.Fault.badValue) { try FieldEdits(list, view: []) }
                let view = [FieldEdits.Edit(.set, [UInt8(ascii: "X")], [.view])]
                #expect(throws: FieldEdits.Fault.badValue) { try FieldEdits(view, view: [byte]) }
            } else {
                _ = try FieldEdits(list, view: [byte])
            }
        }
    }

    @Test(
        "What frames a message or ends at this hop is no rule's business",
        arguments: [
            "Host", "CONTENT-LENGTH", "transfer-encoding", "Connection", "Keep-Alive", "TE",
            "Trailer", "Upgrade", "Proxy-Connection", "HTTP2-Settings", "Expect",
            "Proxy-Authorization", "Proxy-Authenticate",
        ])
    func forbidden(name: String) {
        for verb in [FieldEdits.Verb.set, .add, .remove] {
            #expect(throws: FieldEdits.Fault.forbiddenName) {
                try FieldEdits([edit(verb, name, "1")], view: [])
            }
        }
    }

    @Test(
        "A name that is no token is refused",
        arguments: ["", " ", "a b", "a:", ":path", "a\r\nb", "é", "(a)", "a,b", "a\u{0}"])
    func badName(name: String) {
        #expect(throws: FieldEdits.Fault.badName) {
            try FieldEdits([edit(.remove, name)], view: [])
        }
    }

    @Test("What we say about the client can be replaced and left out, too")
    func claims() throws {
        let names = [
            "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
            "X-Real-IP", "X-Request-ID", "Forwarded",
        ]
        let everything: (inout ForwardingContext) -> Void = {
            $0.port = 443
            $0.sendsForwarded = true
            $0.loopID = 1
        }
        let claims = [
            "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: x", "X-Forwarded-Host: y",
            "X-Forwarded-Port: 7", "X-Real-IP: 8.8.8.8", "X-Request-ID: z", "Forwarded: for=q",
        ]
        let all = try Self.request(Self.edits(), changing: everything)
        #expect(all.count == 8)
        for name in names {
            let removed = try Self.request(Self.edits(edit(.remove, name)), changing: everything)
            #expect(removed == all.filter { !$0.hasPrefix(name + ":") })
            let set = try Self.request(
                Self.edits(edit(.set, name.lowercased(), "v")), changing: everything)
            #expect(set.filter { $0.lowercased().hasPrefix(name.lowercased() + ":") }.count == 1)
            #expect(set.contains("\(name.lowercased()): v"))
            let trusted = try forwarded(
                "GET / HTTP/1.1\r\nHost: a\r\n\(claims.joined(separator: "\r\n"))\r\n\r\n",
                rules: HeadRules(requestEdits: Self.edits(edit(.remove, name)))
            ) {
                everything(&$0)
                $0.isClientTrusted = true
            }
            #expect(!trusted.contains { $0.hasPrefix(name + ":") })
            #expect(trusted.count == 2 + 8 - 1 + (name == "Forwarded" ? 0 : 1))
        }
        let none = try Self.request(
            FieldEdits(names.map { edit(.remove, $0) }, view: []), changing: everything)
        #expect(none == ["CDN-Loop: edged-0000000000000001"])
        let bare = try Self.request(FieldEdits(names.map { edit(.remove, $0) }, view: []), "A: 1")
        #expect(bare == ["A: 1"])
    }

    @Test("Our port is not told beside a scheme or host of a rule's")
    func port() throws {
        for name in ["X-Forwarded-Proto", "X-Forwarded-Host"] {
            let set = try Self.request(Self.edits(edit(.set, name, "v"))) { $0.port = 81 }
            let removed = try Self.request(Self.edits(edit(.remove, name))) { $0.port = 81 }
            #expect(!set.contains("X-Forwarded-Port: 81"))
            #expect(removed.contains("X-Forwarded-Port: 81"))
        }
    }

    @Test("Answers are changed alike, and those over TLS may be changed otherwise")
    func responses() throws {
        let head = """
            HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r
            Strict-Transport-Security: max-age=0\r\nX-Hop: 1\r\nConnection: x-hop\r
            Content-Length: 0\r\n\r\n
            """
        let plain = try Self.edits(edit(.remove, "server"), edit(.add, "X-Hop", "2"))
        let secure = try Self.edits(
            edit(.remove, "server"), edit(.add, "X-Hop", "2"),
            edit(.set, "Strict-Transport-Security", "max-age=1"))
        let rules = HeadRules(responseEdits: plain, secureResponseEdits: secure)
        let kept = ["HTTP/1.1 200 OK", "Set-Cookie: a", "Set-Cookie: b"]
        #expect(
            try answered(head, rules: rules, isSecure: false)
                == kept + [
                    "Strict-Transport-Security: max-age=0", "X-Hop: 2", "Content-Length: 0",
                ])
        #expect(
            try answered(head, rules: rules)
                == kept + ["X-Hop: 2", "Strict-Transport-Security: max-age=1", "Content-Length: 0"])
        #expect(
            try answered(head, rules: HeadRules(responseEdits: plain))
                == kept + ["Strict-Transport-Security: max-age=0", "X-Hop: 2", "Content-Length: 0"])
    }

    @Test("What an answer's edits ask for is kept of the request, and nothing else")
    func kept() throws {
        let text: (String) -> TextTemplate.Part = { .text(Array($0.utf8)) }
        let source = Array("GET /p/q?r HTTP/1.1\r\nHost: b:1\r\nX-Request-ID: mine\r\n\r\n".utf8)
        var head = RequestHead()
        try HTTP1Parser.parseRequest(source.span, into: &head, limits: HeadLimits())
        var settings = context()
        settings.isClientTrusted = true
        let values = HTTP1Writer.values(
            [.host, .id, .path, .query], head, source.span, settings)
        let all = try Self.edits(
            .init(
                .set, [UInt8(ascii: "X")],
                [
                    .host, text(" "), .id, text(" "), .path, .query, text(" "), .client,
                ]))
        let some = try Self.edits(.init(.set, [UInt8(ascii: "X")], [.id, text(" "), .client]))
        for (edits, text, expected) in [
            (all, "mineb/p/q?r", "X: b mine /p/q?r 192.0.2.7"), (some, "mine", "X: mine 192.0.2.7"),
        ] {
            let rules = HeadRules(responseEdits: edits)
            var kept = noValues
            let bytes = written {
                kept = values.keeping(rules.responseVariables, from: source.span, into: &$0)
                return true
            }
            #expect(bytes == Array(text.utf8))
            #expect(
                try answered(
                    "HTTP/1.1 204 N\r\n\r\n", rules: rules, request: bytes ?? [], values: kept)
                    == ["HTTP/1.1 204 N", expected])
        }
    }

    @Test("What is left out of heads is left out of trailers")
    func trailers() throws {
        let section = Array("X-User: root\r\nA: 1\r\n\r\n".utf8)
        var fields = FieldList()
        try HTTP1Parser.parseTrailers(section.span, into: &fields, limits: HeadLimits())
        let edits = try Self.edits(edit(.set, "x-user", "nobody"))
        let output = written {
            HTTP1Writer.writeLastChunk(
                trailers: fields, from: section.span, isRequest: true, edits: edits, into: &$0)
        }
        #expect(output == Array("0\r\nA: 1\r\n\r\n".utf8))
    }

    @Test("An output that is too small for what rules add is reported at every size")
    func overflow() throws {
        let bytes = Array("GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nOrigin: http://a\r\n\r\n".utf8)
        var head = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &head, limits: HeadLimits())
        let edits = try Self.edits(
            edit(.remove, "X-Forwarded-For"), .init(.set, Array("X".utf8), [.path, .id, .client]))
        let rules = HeadRules(
            requestEdits: edits, map: HostMap([("a", "inside.example")]), prefix: Array("/a".utf8),
            replacement: Array("/b".utf8))
        var settings = context()
        settings.sendsForwarded = true
        let write: (Int) -> [UInt8]? = { capacity in
            written(capacity: capacity) {
                HTTP1Writer.writeRequest(
                    head, from: bytes.span, context: settings, host: Span(), by: rules, into: &$0
                )
            }
        }
        let size = try #require(write(4096)).count
        for capacity in 0..<size { #expect(write(capacity) == nil) }
        #expect(write(size)?.count == size)
    }
}

@Suite("Prefixes of paths that something else stands for")
struct PathPrefixTests {
    @Test(
        "A prefix is replaced, and a path begins with one slash whatever is left of it",
        arguments: [
            ("/api/x?q", "/api", "/", "/x?q"), ("/api", "/api", "/", "/"),
            ("/api?x", "/api", "/", "/?x"), ("/api/", "/api", "/", "/"),
            ("/api//x", "/api", "/", "/x"), ("/api///", "/api", "/", "/"),
            ("/api//evil.example/", "/api", "/", "/evil.example/"),
            ("/api/x", "/api", "/v2", "/v2/x"), ("/api", "/api", "/v2", "/v2"),
            ("/api?x=/api", "/api", "/v2", "/v2?x=/api"), ("/api/", "/api", "/v2", "/v2/"),
            ("/api//x", "/api", "/v2", "/v2//x"), ("/api/x", "/api", "/v2/", "/v2/x"),
            ("/api/x", "/api", "//v2", "/v2/x"), ("/api/x", "/api", "//", "/x"),
            ("/api/x", "/api/", "/v2", "/v2/x"), ("/api/x", "/api/", "/", "/x"),
            ("/x", "/", "/v2", "/v2/x"), ("/", "/", "/v2", "/v2/"), ("/?x", "/", "/v2", "/v2/?x"),
            ("/x", "/", "/", "/x"), ("/", "/", "/", "/"), ("//x", "/", "/", "/x"),
            ("http://b", "/", "/v2", "/v2/"), ("http://b?x", "/", "/v2", "/v2/?x"),
            ("http://b?x", "/", "/", "/?x"), ("http://b/api/x", "/api", "/", "/x"),
            ("/a/b/c", "/a/b", "/d/e/f", "/d/e/f/c"), ("/a%2Fb/c", "/a%2Fb", "/", "/c"),
            ("/ab", "/abc", "/", "/"), ("/ab", "/abc", "/v2", "/v2"),
        ])
    func replaced(target: String, prefix: String, by: String, expected: String) throws {
        let rules = HeadRules(prefix: Array(prefix.utf8), replacement: Array(by.utf8))
        let lines = try forwarded("GET \(target) HTTP/1.1\r\nHost: b\r\n\r\n", rules: rules)
        #expect(lines.first == "GET \(expected) HTTP/1.1")
    }

    @Test("Without a replacement, and for the server as a whole, the target stays")
    func stays() throws {
        let none = HeadRules(prefix: Array("/api".utf8))
        let rules = HeadRules(prefix: Array("/".utf8), replacement: Array("/v2".utf8))
        for target in ["/api/x", "/api", "//api", "/"] {
            let lines = try forwarded("GET \(target) HTTP/1.1\r\nHost: b\r\n\r\n", rules: none)
            #expect(lines.first == "GET \(target) HTTP/1.1")
        }
        let query = try forwarded("GET http://b?x HTTP/1.1\r\nHost: b\r\n\r\n", rules: none)
        #expect(query.first == "GET /?x HTTP/1.1")
        for target in ["*", "http://b"] {
            let lines = try forwarded("OPTIONS \(target) HTTP/1.1\r\nHost: b\r\n\r\n", rules: rules)
            #expect(lines.first == "OPTIONS * HTTP/1.1")
        }
    }
}
