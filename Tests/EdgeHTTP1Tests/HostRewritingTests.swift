import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("Hosts in the values of fields")
struct HostRewritingTests {
    private static let rules = HeadRules(
        map: HostMap([
            ("grafana.example.org", "grafana.home.example"),
            ("*.apps.example.org", "*.lan"),
        ]))

    private static func request(_ field: String) throws -> String? {
        try forwarded(
            "GET / HTTP/1.1\r\nHost: grafana.example.org\r\nA: 1\r\n\(field)\r\nB:2\r\n\r\n",
            rules: rules
        ).dropFirst(3).first
    }

    private static func response(_ field: String) throws -> String? {
        let lines = try answered(
            "HTTP/1.1 302 F\r\nA: 1\r\n\(field)\r\nB:2\r\nContent-Length: 0\r\n\r\n", rules: rules)
        #expect(lines.count == 5)
        #expect(lines[1] == "A: 1" && lines[3] == "B: 2")
        return lines[2]
    }

    /// URLs with an internal host, and what clients get.
    private static let urls: [(String, String)] = [
        ("https://grafana.home.example", "https://grafana.example.org"),
        ("https://grafana.home.example/", "https://grafana.example.org/"),
        (
            "http://grafana.home.example/a?b=https://grafana.home.example#c",
            "http://grafana.example.org/a?b=https://grafana.home.example#c"
        ),
        ("HTTPS://Grafana.Home.EXAMPLE?x", "HTTPS://grafana.example.org?x"),
        ("https://grafana.home.example#x", "https://grafana.example.org#x"),
        ("https://grafana.home.example./x", "https://grafana.example.org/x"),
        ("//grafana.home.example/x", "//grafana.example.org/x"),
        ("//grafana.home.example:443/x", "//grafana.example.org:443/x"),
        ("https://grafana.home.example:443/x", "https://grafana.example.org/x"),
        ("https://grafana.home.example:/x", "https://grafana.example.org/x"),
        ("https://grafana.home.example:80/x", "https://grafana.example.org:80/x"),
        ("http://grafana.home.example:80", "http://grafana.example.org"),
        ("http://grafana.home.example:8080/x", "http://grafana.example.org:8080/x"),
        ("wss://ci.lan:443/x", "wss://ci.apps.example.org/x"),
        ("ws://CI.lan/x", "ws://CI.apps.example.org/x"),
    ]

    /// Values without a host that is to be replaced.
    private static let others = [
        "", "/", "/login", "login", "?x", "#x", "*", "null", "https:", "https:/", "https://",
        "https:///grafana.home.example", "///grafana.home.example", "https:grafana.home.example",
        "https//grafana.home.example/", "grafana.home.example", "grafana.home.example:443",
        "https://user@grafana.home.example/", "https://grafana.home.example@evil.example/",
        "https://user:pass@grafana.home.example/", "https://grafana.home.example:443@evil/",
        "https://grafana.home.example\\@evil.example/", "https://grafana.home.example%2f.evil/",
        "https:\\\\grafana.home.example/", "https://grafana.home.example:x/",
        "https://grafana.home.example:0/", "https://grafana.home.example:65536/",
        "https://grafana.home.example.evil.example/", "https://x.grafana.home.example/",
        "https://home.example/", "https://grafana.home.example /", "ftp://grafana.home.example/",
        "javascript://grafana.home.example/%0aalert(1)", "https://[::1]/", "https://[::1/",
        "https://user@x.lan/", "https://user:1@x.lan/", "https://x%2e.lan/",
        "https://x.lan:1:2/", "https://x.lan:000001/", "https://x.lan:-1/", "https://x y.lan/",
        "https://grafana.home.example,https://evil.example", "https://.lan/", "https://a.b.lan/",
        "<https://grafana.home.example>",
        "xhttps://grafana.home.example/", "https://example.org/https://grafana.home.example",
        "https://..grafana.home.example", "https://grafana.home.example../",
        "https://grafana.example.org/", "https://192.0.2.1/",
    ]

    @Test("The host of a URL in an answer becomes the external one", arguments: urls)
    func outward(url: String, expected: String) throws {
        for name in ["Location", "content-location", "ACCESS-CONTROL-ALLOW-ORIGIN"] {
            #expect(try Self.response("\(name): \(url)") == "\(name): \(expected)")
            #expect(try Self.response("\(name):\t\(url) ") == "\(name): \(expected)")
        }
        #expect(try Self.response("Refresh: 5; url=\(url)") == "Refresh: 5; url=\(expected)")
    }

    @Test("What names no host of ours passes as it is", arguments: others)
    func untouched(value: String) throws {
        for name in [
            "Location", "Content-Location", "Access-Control-Allow-Origin", "Refresh", "Set-Cookie",
        ] {
            #expect(try Self.response("\(name): \(value)") == "\(name): \(value)")
        }
        #expect(try Self.response("Refresh: 0;url=\(value)") == "Refresh: 0;url=\(value)")
        let outside = value.components(by: "home.example").joined(separator: "example.org")
        guard outside != "https://grafana.example.org/" else { return }
        for name in ["Origin", "Referer"] {
            #expect(try Self.request("\(name): \(outside)") == "\(name): \(outside)")
        }
    }

    @Test("Fields that are about something else keep their hosts")
    func otherFields() throws {
        let url = "https://grafana.home.example/"
        for name in [
            "Origin", "Referer", "Link", "Content-Security-Policy", "Alt-Svc", "Locations",
            "X-Location", "Server", "X-Forwarded-Host",
        ] {
            #expect(try Self.response("\(name): \(url)") == "\(name): \(url)")
        }
        let outside = "https://grafana.example.org/"
        for name in ["Location", "Destination", "Cookie", "User-Agent"] {
            #expect(try Self.request("\(name): \(outside)") == "\(name): \(outside)")
        }
    }

    @Test(
        "Origin and Referer of a request name the internal host",
        arguments: [
            ("https://grafana.example.org", "https://grafana.home.example"),
            ("https://grafana.example.org:443", "https://grafana.home.example"),
            ("http://grafana.example.org:443", "http://grafana.home.example:443"),
            ("https://grafana.example.org:8443", "https://grafana.home.example:8443"),
            ("https://ci.apps.example.org/a?b#c", "https://ci.lan/a?b#c"),
            ("null", "null"), ("https://evil.example", "https://evil.example"),
            ("https://grafana.home.example", "https://grafana.home.example"),
        ])
    func inward(value: String, expected: String) throws {
        #expect(try Self.request("Origin: \(value)") == "Origin: \(expected)")
        #expect(try Self.request("referer: \(value)") == "referer: \(expected)")
    }

    @Test(
        "The URL of a Refresh field is found as browsers find it",
        arguments: [
            ("5;url=%", true), ("5 ; URL = %", true), ("0.5,url=%", true), ("5; %", true),
            ("5;url='%'", true), ("5; url=\"%/a\"", true), ("5;url='%' x", true), ("5 %", true),
            ("5;\turl\t=\t'%", true), ("5;'%'", true),
            ("; url=%", false), ("x; url=%", false), ("5;urn=%", false), ("5", false),
            ("5;", false), ("5;url", false), ("5;url=", false), ("5;url=''%", false),
            ("5%", false),
        ])
    func refresh(pattern: String, isFound: Bool) throws {
        let value = pattern.components(by: "%")
        let before = value.joined(separator: "https://grafana.home.example")
        let after = value.joined(separator: "https://grafana.example.org")

        let line = try Self.response("Refresh: \(before)")

        #expect(line == "Refresh: " + (isFound ? after : before))
    }

    @Test(
        "The Domain of a cookie becomes the external one, all else of it stays",
        arguments: [
            ("a=b; Domain=grafana.home.example", "a=b; Domain=grafana.example.org"),
            ("a=b; Domain=.home.example; Secure", "a=b; Domain=.example.org; Secure"),
            ("a=b;domain = HOME.example ;Path=/", "a=b;domain = example.org ;Path=/"),
            ("a=b; DOMAIN=ci.lan", "a=b; DOMAIN=ci.apps.example.org"),
            ("a=b; Domain=lan", "a=b; Domain=apps.example.org"),
            ("; Domain=home.example", "; Domain=example.org"),
            (
                "a=b; Domain=evil.example; Domain=home.example",
                "a=b; Domain=evil.example; Domain=example.org"
            ),
            (
                "a=b; Domain=home.example; Domain=evil.example",
                "a=b; Domain=home.example; Domain=evil.example"
            ),
            ("Domain=home.example", "Domain=home.example"),
            ("a=\"; Domain=home.example\"; x", "a=\"; Domain=home.example\"; x"),
            ("a=b; Domain", "a=b; Domain"), ("a=b; Domain=", "a=b; Domain="),
            ("a=b; Domain=.", "a=b; Domain=."), ("a=b; Domains=lan", "a=b; Domains=lan"),
            ("a=b; Domain=..home.example", "a=b; Domain=..home.example"),
            ("a=b; Domain=home.example:80", "a=b; Domain=home.example:80"),
            ("a=b; Domain=x y.lan", "a=b; Domain=x y.lan"),
            ("a=b; Path=/domain=home.example", "a=b; Path=/domain=home.example"),
            ("a=b; Domain=\"home.example\"", "a=b; Domain=\"home.example\""),
            ("a=b;;; Domain=home.example;", "a=b;;; Domain=example.org;"),
        ])
    func cookies(value: String, expected: String) throws {
        #expect(try Self.response("Set-Cookie: \(value)") == "Set-Cookie: \(expected)")
    }

    @Test("Several cookies stay several fields, each with its own Domain")
    func severalCookies() throws {
        let lines = try answered(
            """
            HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Domain=home.example\r\nX: y\r
            Set-Cookie:b=2; Domain=x.example\r\nSet-Cookie: c=3; Domain=.lan\r
            Content-Length: 0\r\n\r\n
            """, rules: Self.rules)
        #expect(
            lines == [
                "HTTP/1.1 200 OK", "Set-Cookie: a=1; Domain=example.org", "X: y",
                "Set-Cookie: b=2; Domain=x.example", "Set-Cookie: c=3; Domain=.apps.example.org",
                "Content-Length: 0",
            ])
    }

    @Test("The upstream sees one host, its own, wherever it looks")
    func host() throws {
        let lines = try forwarded(
            """
            GET http://Grafana.Example.org/x HTTP/1.1\r\nHost: grafana.example.org\r
            Origin: https://grafana.example.org\r\n\r\n
            """, rules: Self.rules
        ) {
            $0.sendsForwarded = true
            $0.port = 443
        }
        #expect(
            lines == [
                "GET /x HTTP/1.1", "Host: grafana.home.example",
                "Origin: https://grafana.home.example", "X-Forwarded-For: 192.0.2.7",
                "X-Forwarded-Proto: https", "X-Forwarded-Host: grafana.home.example",
                "X-Forwarded-Port: 443", "X-Real-IP: 192.0.2.7",
                "X-Request-ID: 0123456789abcdeffedcba9876543210",
                "Forwarded: for=192.0.2.7;host=\"grafana.home.example\";proto=https",
            ])
    }

    @Test(
        "The host that is sent has the client's port, unless it goes without saying",
        arguments: [
            ("grafana.example.org:8443", "", "grafana.home.example:8443"),
            ("grafana.example.org:443", "", "grafana.home.example"),
            ("grafana.example.org:80", "", "grafana.home.example:80"),
            ("GRAFANA.example.org.", "", "grafana.home.example"),
            ("x.apps.example.org:1", "", "x.lan:1"),
            ("other.example:443", "", "other.example:443"),
            ("grafana.example.org:8443", "inside:81", "inside:81"),
        ])
    func port(authority: String, host: String, expected: String) throws {
        let lines = try forwarded(
            "GET / HTTP/1.1\r\nHost: \(authority)\r\n\r\n", host: host, rules: Self.rules)
        #expect(lines.contains("Host: \(expected)"))
        #expect(lines.contains("X-Forwarded-Host: \(expected)"))
        let plain = try forwarded(
            "GET / HTTP/1.1\r\nHost: grafana.example.org:80\r\n\r\n", rules: Self.rules
        ) { $0.scheme = .http }
        #expect(plain[1] == "Host: grafana.home.example")
    }

    @Test(
        "A trusted client's X-Forwarded-Host is translated, of several the first",
        arguments: [
            ("grafana.example.org", "grafana.home.example"),
            ("grafana.example.org:8443", "grafana.home.example:8443"),
            (
                "grafana.example.org , grafana.example.org",
                "grafana.home.example , grafana.example.org"
            ),
            ("x, grafana.example.org", "x, grafana.example.org"), (",", ","), ("", ""),
            ("https://grafana.example.org", "https://grafana.example.org"),
        ])
    func claim(value: String, expected: String) throws {
        let lines = try forwarded(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: \(value)\r\n\r\n", rules: Self.rules
        ) { $0.isClientTrusted = true }
        #expect(
            lines.filter { $0.hasPrefix("X-Forwarded-Host") } == ["X-Forwarded-Host: \(expected)"])
    }

    @Test("Without anything to be changed a head is what it is without rules")
    func nothing() throws {
        let head = """
            POST /a//b?c HTTP/1.1\r\nHost: a:1\r\nOrigin: https://a:1\r\nCookie: E=1; b=2\r
            Content-Length: 3\r\nExpect: 100-continue\r\nTE: trailers\r\nx_y: 1\r\n\r\n
            """
        for rules in [HeadRules(), HeadRules(map: HostMap([]))] {
            #expect(try forwarded(head, rules: rules) == forwarded(head))
            #expect(
                try forwarded(head, host: "b", hiding: "E", rules: HeadRules())
                    == forwarded(head, host: "b", hiding: "E"))
        }
        #expect(HeadRules().response(isSecure: true, noValues) == nil)
    }
}
