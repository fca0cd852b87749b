import EdgeCore
import EdgeRouting
import Testing

@testable import EdgeConfig

@Suite("Rules as configured")
struct RuleKeyTests {
    /// What is written behind a site's upstream.
    static func site(_ keys: String) throws -> SiteConfiguration {
        try #require(ViewKeyTests.load(Sample.rules(keys)).sites.last)
    }

    @Test("What is not written: nothing is changed, refused or limited")
    func defaults() throws {
        let configuration = try ViewKeyTests.load(Sample.rules(""))

        #expect(configuration.sites.allSatisfy { $0.rules == RuleConfiguration() })
        #expect(configuration.sites.last?.paths == [])
        #expect(configuration.views.allSatisfy { $0.rules == RuleConfiguration() })
    }

    @Test("Everything that a site's rules may say")
    func written() throws {
        let rules = try Self.site(
            """
            headers: { request: { remove: X-A, set: { X-B: b, X-C: "" }, add: { x-b: more } },
                         response: { set: { Server: edge } } },
                allow: [10.0.0.0/8], deny: 10.1.0.0/16, methods: [GET, PURGE],
                hsts: 8760h, maintenance: yes, limits: { request_body: 1MiB },
                timeouts: { response: 5m }
            """
        ).rules

        var expected = RuleConfiguration()
        expected.requestEdits = [
            .init(.remove, "X-A"), .init(.set, "X-B", Template([.text("b")])), .init(.set, "X-C"),
            .init(.add, "x-b", Template([.text("more")])),
        ]
        expected.responseEdits = [.init(.set, "Server", Template([.text("edge")]))]
        expected.allowed = ["10.0.0.0/8"].compactMap { CIDR($0) }
        expected.denied = ["10.1.0.0/16"].compactMap { CIDR($0) }
        expected.methods = ["GET", "PURGE"]
        expected.strictTransport = "max-age=31536000"
        expected.isUnderMaintenance = true
        expected.bodyMax = 1 << 20
        expected.responseTimeout = .seconds(300)
        #expect(rules == expected)
    }

    @Test("A view and a path may have the same rules as a site")
    func owners() throws {
        let text = Sample.rules("paths: [{ prefix: /x, methods: GET }]")
            .replacing("interfaces: [eth0]", with: "interfaces: [eth0], methods: GET")
        let configuration = try ViewKeyTests.load(text)

        #expect(configuration.views.map(\.rules.methods) == [["GET"], []])
        #expect(configuration.sites.last?.paths.map(\.rules.methods) == [["GET"]])
        #expect(configuration.sites.last?.rules.methods == [])
    }

    @Test("No limit of a site's own counts more than the one for all")
    func unlimited() throws {
        #expect(try Self.site("limits: { request_body: unlimited }").rules.bodyMax == Int.max)
        #expect(try Self.site("limits: {}").rules.bodyMax == nil)
        #expect(try Self.site("limits: { request_body: 0B }").rules.bodyMax == 0)
    }

    @Test(
        "A redirect is a location, with 302 unless another status is written",
        arguments: [
            ("/login", 302), ("{ to: /login }", 302), ("{ to: /login, status: 308 }", 308),
            ("{ to: /login, status: \"303\" }", 303),
        ])
    func redirect(text: String, status: UInt16) throws {
        let site = try Self.site("paths: [{ prefix: /x, redirect: \(text) }]")

        let expected = RuleConfiguration.Redirect(
            location: Template([.text("/login")]), status: status)
        #expect(site.paths.first?.rules.redirect == expected)
    }

    @Test(
        "A site that rules answer for needs no upstream",
        arguments: [
            "redirect: 'https://other.example${path}'", "maintenance: yes",
            "paths: [{ prefix: /, maintenance: yes }]", "paths: [{ prefix: /, upstream: app }]",
            "maintenance: yes, paths: [{ prefix: /x }, { prefix: /y, upstream: app }]",
            "redirect: 'https://other.example', paths: [{ prefix: /x, redirect: /y }]",
        ])
    func withoutUpstream(keys: String) throws {
        let text = Sample.rules(keys).replacing("upstream: app, \(keys)", with: keys)
        let site = try #require(ViewKeyTests.load(text).sites.last)

        #expect(site.destination == .none && site.upstream == nil)
    }

    @Test("Paths keep their order, and say what becomes of their prefix")
    func paths() throws {
        let site = try Self.site(
            """
            paths: [{ prefix: /b/c, strip: yes }, { prefix: /b, rewrite: /v2, upstream: other },
                { prefix: /, rewrite: /v1 }, { prefix: /~x.y, rewrite: / }, { prefix: /z }]
            """)

        #expect(site.paths.map(\.prefix) == ["/b/c", "/b", "/", "/~x.y", "/z"])
        #expect(site.paths.map(\.rules.replacesPrefix) == ["/", "/v2", "/v1", "/", nil])
        #expect(site.paths.map(\.upstream) == [nil, 1, nil, nil, nil])
    }

    @Test("A path's upstream asks for the name that the site's servers know")
    func checkName() throws {
        let text =
            Sample.split(
                "  - { hosts: { lan: b.example, public: c.example }, upstream: app, "
                    + "paths: [{ prefix: /x, upstream: secure }] }\n")
            + "  secure: { servers: ['10.0.0.2:443'], tls: {} }\n"

        #expect(try ViewKeyTests.load(text).checkName(upstream: 1) == "b.example")
    }

    static let templates: [(String, [Template.Part])] = [
        ("", []), ("a", [.text("a")]), ("$$", [.text("$")]), ("${client}", [.client]),
        ("a${view}b${host}", [.text("a"), .view, .text("b"), .host]),
        ("$$${id}$${path}", [.text("$"), .id, .text("${path}")]),
        ("${path}${query}", [.path, .query]), ("{}", [.text("{}")]),
    ]

    @Test("Variables of a value, and the dollar that is none", arguments: templates)
    func template(text: String, expected: [Template.Part]) throws {
        #expect(try TextValue.template(text) == Template(expected))
    }

    @Test(
        "Strict-Transport-Security, in full or as a duration",
        arguments: [
            ("1h", "max-age=3600"), ("0s", "max-age=0"), ("max-age=5", "max-age=5"),
            ("MAX-AGE=5;includesubdomains ;  preload", "max-age=5; includeSubDomains; preload"),
            ("includeSubDomains; max-age=1", "includeSubDomains; max-age=1"),
        ])
    func transport(text: String, expected: String) throws {
        #expect(try TextValue.transport(text) == expected)
    }

    static let targets: [(String, RedirectTarget.Host, Bool?, UInt16?, String, Bool)] = [
        ("/x", .same, nil, nil, "/x", false),
        ("/x${path}", .same, nil, nil, "/x", true),
        ("/x?from=${path}", .same, nil, nil, "/x", false),
        ("/x${id}", .same, nil, nil, "/", false),
        ("https://${host}${path}", .same, true, nil, "", true),
        ("https://${host}:8443/a/${client}", .same, true, 8443, "/a/", false),
        ("http://a.example", .literal("a.example"), false, nil, "", false),
        ("HTTPS://A.example:444?x", .literal("A.example:444"), true, 444, "", false),
        ("https://${view}.a.example/y", .unknown, true, nil, "/y", false),
        ("https://[2001:db8::1]:81/", .literal("[2001:db8::1]:81"), true, 81, "/", false),
    ]

    @Test("Where a redirect leads, as far as it is known beforehand", arguments: targets)
    func target(
        text: String, host: RedirectTarget.Host, isEncrypted: Bool?, port: UInt16?, path: String,
        repeatsPath: Bool
    ) throws {
        let location = try TextValue.location(text)
        let target = try #require(RedirectTarget(location))

        #expect(target.host == host && target.isEncrypted == isEncrypted && target.port == port)
        #expect(target.path == path && target.repeatsPath == repeatsPath)
    }

    @Test(
        "Redirects that end somewhere else are accepted",
        arguments: [
            "redirect: 'https://d.example${path}'", "redirect: 'https://${host}:8443${path}'",
            "redirect: 'https://sub.${host}${path}'",
            "redirect: '/x', paths: [{ prefix: /x, redirect: 'https://d.example' }]",
            "paths: [{ prefix: /x, redirect: /y }]", "paths: [{ prefix: /x, redirect: /xy }]",
            "paths: [{ prefix: /x, redirect: '/y${path}' }]",
            "paths: [{ prefix: /, redirect: /app }, { prefix: /app, upstream: app }]",
            "paths: [{ prefix: /x, redirect: 'https://a.example/x' }]",
        ])
    func noLoop(keys: String) {
        let text = Sample.rules(keys)
        let isWhole = keys.hasPrefix("redirect")

        #expect(
            errors(isWhole ? text.replacing("upstream: app, \(keys)", with: keys) : text) == [])
    }
}

extension Sample {
    /// The keys of the last site, b.example, in line 9 from column 41 on. There is a second
    /// upstream, `other`, of the first site, which uses `app` too.
    static func rules(_ keys: String) -> String {
        let more = keys.isEmpty ? "" : ", \(keys)"
        return split("  - { hosts: b.example, upstream: app\(more) }\n")
            .replacing(
                "hosts: a.example, upstream: app",
                with: "hosts: a.example, upstream: other, paths: [{ prefix: /x, upstream: app }]")
            + "  other: { servers: ['10.0.0.2:80'] }\n"
    }
}
