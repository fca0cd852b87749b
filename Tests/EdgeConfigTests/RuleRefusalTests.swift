import Testing

@testable import EdgeConfig

@Suite("What rules are refused for")
struct RuleRefusalTests {
    /// What is written behind a site's upstream, and what is said about it.
    static let rules: [(String, String)] = [
        (
            "headers: { request: { set: { Host: x } } }",
            "the field 'Host' frames messages or is the "
                + "connection's (a site's 'internal' is the name that its servers see)"
        ),
        (
            "headers: { request: { set: { 'X Y': x } } }",
            "'X Y' is not the name of a header field "
                + "(letters, digits and '-', at most 64)"
        ),
        (
            "headers: { request: { set: { X-A: 1 } } }",
            "sites[1].headers.request.set.X-A must be a "
                + "string: YAML reads '1' as a number (quote it)"
        ),
        (
            "headers: { request: { set: { X-A: \"a\\tb\" } } }",
            "sites[1].headers.request.set.X-A "
                + "contains a control character: 'a\\u{9}b'"
        ),
        ("headers: { request: { set: { X-A: ü } } }", "'ü' is not at most 4096 bytes of ASCII"),
        (
            "headers: { request: { set: { X-A: ' a' } } }",
            "' a' begins or ends with a space (no value "
                + "of a field does)"
        ),
        (
            "headers: { request: { set: { X-A: a, x-a: b } } }",
            "sites[1].headers.request.set has the "
                + "field 'x-a' twice (first at main.yaml:9:69)"
        ),
        ("headers: { request: { set: {} } }", "sites[1].headers.request.set is an empty mapping"),
        (
            "headers: { request: { set: [a] } }",
            "sites[1].headers.request.set must be a mapping, not "
                + "a list (names of fields with their values)"
        ),
        (
            "headers: { response: { set: { A: b }, remove: a } }",
            "sites[1].headers.response sets and "
                + "removes 'a' ('set' replaces what is there; see main.yaml:9:70)"
        ),
        (
            "headers: { response: { set: { A: '${cliant}' } } }",
            "unknown variable '${cliant}' (did "
                + "you mean 'client'?)"
        ),
        (
            "headers: { response: { set: { A: '${remote_addr}' } } }",
            "unknown variable "
                + "'${remote_addr}' (valid: client, view, host, id, path, query)"
        ),
        (
            "headers: { response: { set: { A: 'US$' } } }",
            "a dollar in 'US$' begins no variable "
                + "('$$' is a dollar)"
        ),
        (
            "headers: { response: { set: { A: '${host' } } }",
            "a dollar in '${host' begins no variable "
                + "('$$' is a dollar)"
        ),
        (
            "headers: { reply: { remove: A } }",
            "unknown key 'reply' in sites[1].headers (valid: "
                + "request, response)"
        ),
        (
            "allow: [10.0.0.0/8], deny: [10.0.0.0/8]",
            "sites[1].allow: 10.0.0.0/8 is denied ('deny' "
                + "counts more; see main.yaml:9:68)"
        ),
        (
            "allow: [192.0.2.1], deny: ['192.0.2.0/24']",
            "sites[1].allow: 192.0.2.1/32 is denied "
                + "('deny' counts more; see main.yaml:9:67)"
        ),
        ("allow: []", "sites[1].allow is an empty list"),
        (
            "deny: everybody",
            "'everybody' is not a block of addresses (an address, or one with the "
                + "number of leading bits, such as 10.0.0.0/8)"
        ),
        ("methods: [get]", "the method 'get' is unknown (methods are case-sensitive: GET)"),
        ("methods: ['G T']", "'G T' is not a method (such as GET)"),
        ("methods: [GET, GET]", "sites[1].methods has 'GET' twice (first at main.yaml:9:50)"),
        ("hsts: 1.5s", "'1.5s' is not a whole number of seconds"),
        ("hsts: 365d", "unknown unit 'd' in the duration '365d' (one of: ms, s, m, h)"),
        (
            "hsts: includeSubDomains",
            "'includeSubDomains' has no 'max-age' (such as "
                + "max-age=31536000)"
        ),
        ("hsts: max-age", "'max-age' is a number of seconds (such as max-age=31536000)"),
        ("hsts: max-age=1; max-age=2", "'max-age=1; max-age=2' has 'max-age' twice"),
        ("hsts: max-age=1; preload=1", "'preload' has no value"),
        (
            "hsts: max-age=1; forever",
            "unknown directive 'forever' in 'max-age=1; forever' (such as "
                + "\"max-age=31536000; includeSubDomains\", or a duration)"
        ),
        ("maintenance: soon", "sites[1].maintenance cannot be 'soon' (one of: no, yes)"),
        (
            "limits: { request_body: 10 }",
            "the size '10' has no unit ('unlimited' or 10B for bytes)"
        ),
        (
            "limits: { request_head: 1KiB }",
            "unknown key 'request_head' in sites[1].limits (did you "
                + "mean 'request_body'?)"
        ),
        (
            "timeouts: { response: 0s }",
            "sites[1].timeouts.response is out of range: '0s' (10ms to "
                + "24h)"
        ),
        (
            "redirect: /x",
            "sites[1].upstream has no effect with 'redirect' (every request is answered "
                + "with it; 'paths' can have one of their own)"
        ),
    ]

    @Test("A rule that cannot be meant so", arguments: rules)
    func rule(keys: String, expected: String) {
        let found = errors(Sample.rules(keys)).map { $0.withoutPlace }
        let loops = keys.hasPrefix("redirect")

        #expect(found.filter { !loops || !$0.hasSuffix("again)") } == [expected])
    }

    @Test(
        "Fields that frame messages or name the hop cannot be changed",
        arguments: [
            "Connection", "content-length", "Expect", "HOST", "HTTP2-Settings", "Keep-Alive",
            "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
            "Transfer-Encoding", "Upgrade",
        ],
        ["set: { NAME: x }", "add: { NAME: x }", "remove: NAME"])
    func framing(name: String, change: String) {
        let found = errors(
            Sample.rules(
                "headers: { response: { \(change.replacing("NAME", with: name)) } }"))

        #expect(found.count == 1 && found[0].contains("'\(name)' frames messages"), "\(found)")
    }

    @Test(
        "What is no absolute URL and no path is no location, whatever clients send",
        arguments: [
            "login", "//other.example/", "${path}", "/${path}", "ftp://a.example/", "https://",
            "https:///x", "https://${path}", "https://${host}.evil", "https://a b/", "/a\\b",
            "https://a.example:99999/", "https://u@a.example/", "https://a..example/", "\"\"",
            "javascript:alert", "/<x>",
        ])
    func location(text: String) {
        let found = errors(Sample.rules("paths: [{ prefix: /x, redirect: '\(text)' }]"))

        #expect(found.count == 1, "\(found)")
    }

    @Test("The status of a redirect is one of five")
    func status() {
        #expect(
            errors(Sample.rules("paths: [{ prefix: /x, redirect: { to: /y, status: 300 } }]")) == [
                "main.yaml:9:90: sites[1].paths[0].redirect.status cannot be '300' (one of: 301, "
                    + "302, 303, 307, 308)"
            ])
        #expect(
            errors(Sample.rules("paths: [{ prefix: /x, redirect: { status: 301 } }]")) == [
                "main.yaml:9:72: sites[1].paths[0].redirect has no 'to' (to: a URL or a path, "
                    + "with variables)"
            ])
    }

    @Test("Lists of rules are bounded")
    func bounds() {
        let fields = (1...65).map { "X-\($0): a" }.joined(separator: ", ")
        let blocks = (0...1024).map { "10.\($0 >> 8).\($0 & 255).0/24" }.joined(separator: ", ")
        let methods = (1...33).map { "M\($0)" }.joined(separator: ", ")
        let paths = (1...257).map { "{ prefix: /\($0) }" }.joined(separator: ", ")
        let all = [
            ("headers: { request: { add: { \(fields) } } }", "has more than 64 changes"),
            ("deny: [\(blocks)]", "sites[1].deny has more than 1024 blocks"),
            ("methods: [\(methods)]", "sites[1] has more than 32 methods"),
            ("paths: [\(paths)]", "more than 256 paths of one site"),
        ]

        for (keys, reason) in all {
            let found = errors(Sample.rules(keys))
            #expect(found.count == 1 && found[0].hasSuffix(reason), "\(found)")
        }
    }
}

@Suite("What paths are refused for")
struct PathRefusalTests {
    static let paths: [(String, String)] = [
        ("{ prefix: api }", "'api' is not a path (it begins with '/')"),
        ("{ prefix: /api/ }", "'/api/' ends with a slash ('/api' is that path and all below it)"),
        ("{ prefix: //api }", "'//api' has an empty segment (one '/' is enough)"),
        ("{ prefix: /a/../b }", "'/a/../b' has the segment '..' (write the path that is meant)"),
        ("{ prefix: /. }", "'/.' has the segment '.' (write the path that is meant)"),
        (
            "{ prefix: /%61pi }",
            "'/%61pi' has a character that no prefix has (without query, "
                + "wildcards, ';' and %XX)"
        ),
        (
            "{ prefix: '/api?x' }",
            "'/api?x' has a character that no prefix has (without query, "
                + "wildcards, ';' and %XX)"
        ),
        (
            "{ prefix: '/api/*' }",
            "'/api/*' has a character that no prefix has (without query, "
                + "wildcards, ';' and %XX)"
        ),
        (
            "{ prefix: '/a;b' }",
            "'/a;b' has a character that no prefix has (without query, wildcards, ';' and %XX)"
        ),
        ("{ prefix: '/a b' }", "'/a b' has a character that no path has"),
        ("{ prefix: '/a\\b' }", "'/a\\b' has a character that no path has"),
        (
            "{ strip: yes }",
            "sites[1].paths[0] has no 'prefix' (prefix: the path of a URL, such as /api)"
        ),
        (
            "{ prefix: /x }, { prefix: /x }",
            "sites[1] has the prefix '/x' twice (first at "
                + "main.yaml:9:58)"
        ),
        (
            "{ prefix: /x, strip: yes, rewrite: /y }",
            "sites[1].paths[0] has 'strip' and 'rewrite' "
                + "('rewrite: /' is the same as 'strip: yes')"
        ),
        (
            "{ prefix: /, strip: yes }",
            "sites[1].paths[0].strip has no effect ('/' is all that every "
                + "path begins with)"
        ),
        (
            "{ prefix: /x, rewrite: /x }",
            "sites[1].paths[0].rewrite has no effect (it is the prefix "
                + "itself)"
        ),
        (
            "{ prefix: /x, rewrite: /y/ }",
            "'/y/' ends with a slash ('/y' is that path and all below "
                + "it)"
        ),
        (
            "{ prefix: /x, upstream: ap }",
            "sites[1].paths[0].upstream: undefined upstream 'ap' (did "
                + "you mean 'app'? defined: app, other)"
        ),
        (
            "{ prefix: /x, redirect: /y, strip: yes }",
            "sites[1].paths[0].strip has no effect with "
                + "'redirect' (every request is answered with it)"
        ),
        (
            "{ prefix: /x, redirect: /y, upstream: other }",
            "sites[1].paths[0].upstream has no effect "
                + "with 'redirect' (every request is answered with it)"
        ),
        (
            "{ prefix: /x, internal: y }",
            "unknown key 'internal' in sites[1].paths[0] (it belongs to 'sites[]')"
        ),
        (
            "{ prefix: /x, redirect: /x/y }",
            "sites[1].paths[0].redirect leads back to itself (its "
                + "target is served here, and redirected again)"
        ),
        (
            "{ prefix: /x, redirect: 'https://${host}${path}' }",
            "sites[1].paths[0].redirect leads "
                + "back to itself (its target is served here, and redirected again)"
        ),
        (
            "{ prefix: /x, redirect: 'https://B.example:443/x?y' }",
            "sites[1].paths[0].redirect leads "
                + "back to itself (its target is served here, and redirected again)"
        ),
        (
            "{ prefix: /, redirect: /x }",
            "sites[1].paths[0].redirect leads back to itself (its target "
                + "is served here, and redirected again)"
        ),
    ]

    @Test("A path that cannot be meant so", arguments: paths)
    func path(text: String, expected: String) {
        let found = errors(Sample.rules("paths: [\(text)]"))

        #expect(found.map(\.withoutPlace) == [expected])
    }

    static let sites: [(String, [String])] = [
        (
            "paths: [{ prefix: /x, upstream: app }]",
            [
                "sites[1] has no 'upstream' (nobody answers what none of its 'paths' fits)"
            ]
        ),
        (
            "paths: [{ prefix: / }]",
            [
                "sites[1].paths[0] has no 'upstream' (the site has none, and no rule answers)"
            ]
        ),
        (
            "redirect: 'https://d.example', paths: [{ prefix: /x, upstream: app }]",
            [
                "sites[1].paths[0].upstream has no effect with 'redirect' (the site's answers every "
                    + "request: give it to the path '/')"
            ]
        ),
        (
            "maintenance: yes, paths: [{ prefix: /x, maintenance: no, upstream: app }]",
            [
                "sites[1].paths[0].maintenance has no effect: the site is under maintenance (give it to "
                    + "the path '/')"
            ]
        ),
        (
            "redirect: 'https://${host}/new${path}', paths: [{ prefix: /x, methods: GET }]",
            [
                "sites[1].redirect leads back to itself (its target is served here, and redirected "
                    + "again)"
            ]
        ),
        (
            "redirect: '/x', paths: [{ prefix: /x, methods: GET }]",
            [
                "sites[1].redirect leads back to itself (its target is served here, and redirected "
                    + "again)"
            ]
        ),
    ]

    @Test("A site whose paths or rules leave requests unanswered, or go round", arguments: sites)
    func site(keys: String, expected: [String]) {
        let text = Sample.rules(keys).replacing("upstream: app, \(keys)", with: keys)

        #expect(errors(text).map(\.withoutPlace) == expected)
    }

    @Test("A view that redirects to itself")
    func view() {
        let all = [
            "https://${host}${path}", "/x", "https://b.example/",
        ]
        for location in all {
            let text = Sample.rules("").replacing(
                "interfaces: [eth0]", with: "interfaces: [eth0], redirect: '\(location)'")
            #expect(
                errors(text) == [
                    "main.yaml:3:30: views.lan.redirect leads back to itself (its target is served "
                        + "here, and redirected again)"
                ])
        }
        let elsewhere = Sample.rules("").replacing(
            "interfaces: [eth0]", with: "interfaces: [eth0], redirect: 'https://d.example/'")
        #expect(errors(elsewhere) == [])
    }

    @Test(
        "Nothing can be said about requests of connections that are passed through",
        arguments: [
            "paths: [{ prefix: /x }]", "headers: {}", "allow: 10.0.0.1", "deny: 10.0.0.1",
            "methods: GET", "redirect: /x", "hsts: 1h", "maintenance: yes", "limits: {}",
            "timeouts: {}",
        ])
    func passthrough(keys: String) {
        let key = keys.prefix { $0 != ":" }
        let text = Sample.rules(keys).replacing(
            "b.example, upstream: app", with: "b.example, passthrough: app")

        #expect(
            errors(text) == [
                "main.yaml:9:43: sites[1].\(key) has no effect with 'passthrough' (requests are not "
                    + "seen: TLS is between the client and the server)"
            ])
    }

    @Test("An upstream that only a path uses is used, and has to say which name it proves")
    func upstream() {
        let text =
            Sample.split(
                "  - { hosts: '*.b.example', upstream: app, "
                    + "paths: [{ prefix: /x, upstream: s }] }\n")
            + "  s: { servers: ['10.0.0.2:443'], tls: {} }\n"

        #expect(
            errors(text) == [
                "main.yaml:9:14: the host '*.b.example' does not say which name upstream 's' must "
                    + "prove (set upstreams.s.tls.name)"
            ])
        #expect(errors(text.replacing("tls: {}", with: "tls: { name: s }")) == [])
    }
}

extension String {
    /// A diagnostic without file, line and column.
    var withoutPlace: String {
        split(separator: " ", maxSplits: 1).last.map(String.init) ?? self
    }
}
