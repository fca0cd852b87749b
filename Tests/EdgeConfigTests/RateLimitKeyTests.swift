import EdgeCore
import EdgeLimits
import Testing

@testable import EdgeConfig

@Suite("Rate limits as configured")
struct RateLimitKeyTests {
    /// A configuration with `policies`, and these keys of a view, a site and a path.
    static func text(
        _ policies: String, view: String = "", site: String = "", path: String = "",
        interface: String = "eth0"
    ) -> String {
        """
        version: 1
        rate_limits:
        \(policies)
        views:
          v: { interfaces: [\(interface)]\(view) }
        listeners: [{ name: h, port: 80, protocol: http }]
        sites:
          - hosts: example.org
            upstream: u
            \(site)
            paths: [{ prefix: /x\(path) }]
        upstreams: { u: { servers: ["10.0.0.1:80"] } }
        """
    }

    static func load(_ text: String) throws -> Configuration {
        try Configuration.decode(ConfigurationBundle(text), schema: .current).0
    }

    /// What is wrong.
    private func errors(_ text: String) -> [String] {
        do throws(ConfigError) {
            _ = try Configuration.decode(ConfigurationBundle(text), schema: .current)
            return []
        } catch {
            return error.diagnostics.map(\.description)
        }
    }

    @Test("Forwarders whose clients would be taken for one are refused, or let pass")
    func trustedForwarders() {
        func found(_ policy: String, view: String = "") -> [String] {
            EdgeConfigTests.errors(
                Self.text("  a: { requests: 5 per 1s\(policy) }", view: view + ", rate_limits: a")
                    + "\nforwarding: { trusted: [10.0.0.7] }")
        }

        #expect(found("").count == 1)
        #expect(
            found("").first?.contains(
                "the policy 'a' would take all clients behind 10.0.0.7") == true)
        #expect(found(", allow: 10.0.0.8").count == 1)
        #expect(found(", allow: 10.0.0.0/24") == [])
        #expect(found(", key: peer") == [])
        #expect(found("", view: ", proxy_protocol: required, trusted_proxies: [10.0.0.1]") == [])
    }

    @Test("Nothing is written: nothing is limited, and a million clients have room")
    func defaults() throws {
        let configuration = try Self.load(
            """
            version: 1
            listeners: [{ name: h, port: 80, protocol: http }]
            sites: [{ hosts: example.org, upstream: u }]
            upstreams: { u: { servers: ["10.0.0.1:80"] } }
            """)

        #expect(configuration.rateLimits == Configuration.RateLimits())
        #expect(configuration.sites[0].rules.rateLimits == [])
    }

    @Test("A policy has the defaults that the reference names")
    func policyDefaults() throws {
        let configuration = try Self.load(
            Self.text("  a: { requests: 120 per 10s }", view: ", rate_limits: a"))

        var expected = LimitPolicy(name: "a")
        expected.rates[.requests] = try RateLimit(120, per: .seconds(10))
        #expect(configuration.rateLimits.policies == [expected])
        #expect(configuration.views[0].rules.rateLimits == [0])
    }

    @Test("Everything that a policy may say")
    func written() throws {
        let configuration = try Self.load(
            Self.text(
                """
                  a:
                    requests: 120 per 10s burst 200
                    new_connections: 1 per 1s
                    handshakes: 2 per 1s
                    full_handshakes: 3 per 1s
                    resumed_handshakes: 4 per 1s
                    upload: 1MiB per 1s burst 8MiB
                    download: 512KiB per 500ms
                    connections: 64
                    concurrent_requests: 100
                    ceiling: 5000 per 1s
                    errors: { limit: 20 per 1m, statuses: [400, 403-404], ban: 1h }
                    costs: [{ methods: POST, path: /login, cost: 10 }, { cost: 0 }]
                    key: client
                    per: site
                    ipv4_prefix: 24
                    ipv6_prefix: 48
                    count_refused: yes
                    shadow: yes
                    status: 503
                    allow: 10.0.0.0/8
                    deny: ["2001:db8::/32"]
                    allow_files: lists/a.txt
                    deny_files: [/b.txt]
                """, site: "rate_limits: [a]"))

        var expected = LimitPolicy(name: "a")
        expected.rates = [
            .requests: try RateLimit(120, per: .seconds(10), burst: 200),
            .connections: try RateLimit(1, per: .seconds(1)),
            .handshakes: try RateLimit(2, per: .seconds(1)),
            .fullHandshakes: try RateLimit(3, per: .seconds(1)),
            .resumedHandshakes: try RateLimit(4, per: .seconds(1)),
            .upload: try RateLimit(1 << 20, per: .seconds(1), burst: 8 << 20),
            .download: try RateLimit(512 << 10, per: .milliseconds(500)),
        ]
        expected.counts = [.connections: 64, .requests: 100]
        expected.ceiling = try RateLimit(5_000, per: .seconds(1))
        expected.errors = LimitPolicy.Errors(
            limit: try RateLimit(20, per: .seconds(60)), statuses: [400...400, 403...404],
            ban: .seconds(3600))
        expected.costs = [
            LimitPolicy.Cost(methods: ["POST"], path: "/login", cost: 10),
            LimitPolicy.Cost(cost: 0),
        ]
        expected.scope = .site
        expected.ipv4Bits = 24
        expected.ipv6Bits = 48
        expected.countsRefused = true
        expected.isShadow = true
        expected.status = 503
        expected.allowed = [try #require(CIDR("10.0.0.0/8"))]
        expected.denied = [try #require(CIDR("2001:db8::/32"))]
        expected.allowFiles = ["lists/a.txt"]
        expected.denyFiles = ["/b.txt"]
        #expect(configuration.rateLimits.policies == [expected])
    }

    @Test("A view, a site and a path name policies, in any order")
    func owners() throws {
        let configuration = try Self.load(
            Self.text(
                """
                  a: { requests: 1 per 1s }
                  b: { requests: 1 per 1s, key: header X-Key }
                  c: { connections: 1, ipv6_hosts: yes }
                """, view: ", rate_limits: [c, a]", site: "rate_limits: b",
                path: ", rate_limits: [b, a]"))

        #expect(configuration.views[0].rules.rateLimits == [2, 0])
        #expect(configuration.sites[0].rules.rateLimits == [1])
        #expect(configuration.sites[0].paths[0].rules.rateLimits == [1, 0])
        #expect(configuration.rateLimits.policies[1].key == .field("x-key"))
        #expect(configuration.rateLimits.policies[2].ipv6Bits == 128)
    }

    @Test(
        "Limits that are not written as limits are refused with what they should be",
        arguments: [
            ("120", "'120' is not a limit"),
            ("120/10s", "'120/10s' is not a limit"),
            ("120 per 10", "the duration '10' has no unit"),
            ("120 per 10 s", "'120 per 10 s' is not a limit"),
            ("120 per 10s burst", "'120 per 10s burst' is not a limit"),
            ("120 per 10s upto 5", "'120 per 10s upto 5' is not a limit"),
            ("many per 10s", "'many' in the limit 'many per 10s' is not a number"),
            ("-1 per 10s", "'-1' in the limit '-1 per 10s' is not a number"),
            ("0 per 10s", "the limit '0 per 10s' lets nothing pass"),
            ("1 per 0s", "the limit '1 per 0s' lets nothing pass"),
            ("1 per 24h", "the limit '1 per 24h' takes too long to come back"),
            ("10 per 1h burst 1000", "the limit '10 per 1h burst 1000' takes too long"),
        ])
    func limits(text: String, says: String) {
        let found = errors(
            Self.text("  a: { requests: \"\(text)\" }", view: ", rate_limits: a"))

        #expect(found.contains { $0.contains(says) }, "\(found)")
    }

    @Test(
        "No more headers and cookies, or policies with costs, than a request has room for",
        arguments: [
            ("key: header x{}", "more than 4 headers and cookies decide about limits"),
            ("costs: [{ cost: {} }]", "more than 4 policies have costs"),
        ])
    func numbers(line: String, says: String) {
        func found(_ count: Int) -> [String] {
            let names = (1...count).map { "p\($0)" }
            let policies = names.enumerated().map { index, name in
                let own = line.replacing("{}", with: "\(index + 1)")
                return "  \(name): { requests: 9 per 1s, \(own) }"
            }
            let view = ", rate_limits: [\(names.joined(separator: ", "))]"
            return EdgeConfigTests.errors(
                Self.text(policies.joined(separator: "\n"), view: view))
        }

        #expect(found(4).isEmpty)
        #expect(found(5).count == 1 && found(5)[0].contains(says), "\(found(5))")
    }

    @Test(
        "Policies that make no sense are refused",
        arguments: [
            ("  a: { requests: 1 per 1s }", "", "the policy 'a' limits nobody"),
            ("  a: {}", ", rate_limits: a", "rate_limits.a limits nothing"),
            (
                "  a: { requests: 1 per 1s }", ", rate_limits: b",
                "views.v.rate_limits: undefined policy 'b'"
            ),
            (
                "  a: { requests: 1 per 1s }", ", rate_limits: [a, a]",
                "views.v.rate_limits has 'a' twice"
            ),
            (
                "  a: { connections: 1, costs: [{ cost: 2 }] }", ", rate_limits: a",
                "rate_limits.a.costs has no effect"
            ),
            (
                "  a: { requests: 5 per 1s, costs: [{ cost: 6 }] }", ", rate_limits: a",
                "rate_limits.a.costs: a cost of 6 never passes (the burst is 5)"
            ),
            (
                "  a: { requests: 5 per 1s, ipv6_prefix: 128 }", ", rate_limits: a",
                "rate_limits.a.ipv6_prefix is out of range: '128' (16 to 64)"
            ),
            (
                "  a: { requests: 5 per 1s, ipv6_prefix: 48, ipv6_hosts: yes }", ", rate_limits: a",
                "rate_limits.a.ipv6_prefix has no effect with 'ipv6_hosts: yes'"
            ),
            (
                "  a: { requests: 5 per 1s, key: everybody, ipv4_prefix: 24 }", ", rate_limits: a",
                "rate_limits.a.ipv4_prefix has no effect"
            ),
            (
                "  a: { handshakes: 5 per 1s, key: cookie s }", ", rate_limits: a",
                "rate_limits.a.handshakes cannot be counted by a field or cookie"
            ),
            (
                "  a: { requests: 5 per 1s, key: ip }", ", rate_limits: a",
                "'ip' is nobody to count"
            ),
        ])
    func refusals(policies: String, view: String, says: String) {
        let found = errors(Self.text(policies, view: view))

        #expect(found.contains { $0.contains(says) }, "\(found)")
    }

    @Test("A path cannot limit connections")
    func paths() {
        let found = errors(
            Self.text("  a: { connections: 1 }", path: ", rate_limits: a"))

        #expect(found.count == 1)
        #expect(found[0].contains("sites[0].paths[0].rate_limits: 'a' has no effect here"))
    }

    @Test(
        "Clients are counted only where they can be seen",
        arguments: [
            ("wg0", "", false), ("wg0", ", sources: [10.0.0.1]", false),
            ("eth0", ", sources: [10.0.0.1]", false), ("eth0", ", sources: [10.0.0.1/32]", false),
            ("eth0", "", true), ("eth0", ", sources: [10.0.0.0/8]", true), ("wgan", "", true),
            ("wg0", ", proxy_protocol: required, trusted_proxies: [10.0.0.1]", true),
        ])
    func forwarders(interface: String, view: String, isFine: Bool) {
        for owner in 0..<3 {
            func named(_ number: Int) -> String { number == owner ? ", rate_limits: a" : "" }
            func text(_ policy: String) -> String {
                Self.text(
                    policy, view: view + named(0), site: owner == 1 ? "rate_limits: a" : "",
                    path: named(2), interface: interface)
            }
            let found = errors(text("  a: { requests: 5 per 1s }"))

            #expect(found.isEmpty == isFine, "\(found)")
            if !isFine {
                #expect(
                    found.first?.contains(
                        "the policy 'a' would take all clients of the view 'v' for one") == true)
            }
            #expect(errors(text("  a: { requests: 5 per 1s, key: peer }")).isEmpty)
            #expect(errors(text("  a: { requests: 5 per 1s, key: everybody }")).isEmpty)
        }
    }

    @Test(
        "What limits connections, handshakes and requests under way is there",
        arguments: [
            "new_connections: 1 per 1s", "handshakes: 1 per 1s", "full_handshakes: 1 per 1s",
            "resumed_handshakes: 1 per 1s", "connections: 1", "concurrent_requests: 1",
        ])
    func enforced(line: String) {
        let text = Self.text("  a: { \(line) }", view: ", rate_limits: a")

        let found = EdgeConfigTests.errors(text)

        // Its only listener has no TLS.
        guard line.contains("handshakes") else {
            #expect(found == [])
            return
        }
        #expect(
            found.count == 1
                && found[0].contains("the policy 'a' has no effect on the view 'v'"), "\(found)")
        #expect(
            errors(Self.text("  a: { \(line), connections: 1 }", view: ", rate_limits: a")) == [])
    }

    @Test("A site without TLS has no connections of its own to limit")
    func plainSite() {
        for line in ["connections: 1", "handshakes: 1 per 1s"] {
            let found = errors(Self.text("  a: { \(line) }", site: "rate_limits: a"))
            #expect(
                found.count == 1
                    && found[0].contains("the policy 'a' has no effect on the site 'example.org'"),
                "\(found)")
        }
        #expect(
            errors(
                Self.text(
                    "  a: { connections: 1, requests: 1 per 1s }", site: "rate_limits: a")) == [])
    }

    @Test(
        "Forwarders that are told apart by their addresses hide their clients like one",
        arguments: [
            ("eth0", ", sources: [10.8.0.1, 10.8.0.2]"),
            ("eth0", ", sources: [10.8.0.1, \"fd00:8::1\"]"), ("wg-vps", ""),
            ("tailscale0", ""), ("tun_office", ""),
        ])
    func forwarders(interface: String, view: String) {
        func found(_ interface: String, _ view: String) -> [String] {
            errors(
                Self.text(
                    "  a: { requests: 5 per 1s }", view: view + ", rate_limits: a",
                    interface: interface))
        }
        let refused = found(interface, view)
        #expect(
            refused.first?.contains("would take all clients of the view 'v' for one") == true,
            "\(refused)")
    }

    @Test("Networks, and interfaces that are no tunnels, are not taken for forwarders")
    func noForwarders() {
        for (interface, view) in [
            ("eth0", ", sources: [10.8.0.1, 10.9.0.0/16]"), ("tunnelling", ""), ("tap", ""),
        ] {
            #expect(
                errors(
                    Self.text(
                        "  a: { requests: 5 per 1s }", view: view + ", rate_limits: a",
                        interface: interface)
                ).isEmpty, "\(interface)")
        }
    }

    /// A tcp listener that names the policy `a`, in a view that names `b`, if there is one.
    private func tcp(_ policies: String, view: String = "", kind: String = "tcp") -> String {
        """
        version: 1
        rate_limits:
        \(policies)
        views:
          v: { interfaces: [eth0]\(view) }
          w: { interfaces: [wg0] }
        listeners:
          - { name: h, port: 80, protocol: http }
          - { name: t, port: 90, protocol: \(kind), upstream: u, views: v, rate_limits: a }
        sites: [{ hosts: { v: a.example, w: b.example }, upstream: u }]
        upstreams: { u: { servers: ["10.0.0.1:80"] } }
        """
    }

    @Test("A tcp listener names policies of its own, which say something of connections")
    func listeners() throws {
        let policies = "  a: { connections: 5 }\n  b: { requests: 5 per 1s }"
        let configuration = try Self.load(tcp(policies, view: ", rate_limits: b"))
        #expect(configuration.listeners.map(\.rateLimits) == [[], [0]])

        for useless in ["requests: 5 per 1s", "handshakes: 5 per 1s", "concurrent_requests: 5"] {
            let found = errors(tcp("  a: { \(useless) }"))
            #expect(
                found.count == 1
                    && found[0].contains("listeners[1].rate_limits: 'a' has no effect here"),
                "\(found)")
        }
        let other = errors(
            tcp("  a: { connections: 5 }", kind: "http").replacing(
                "upstream: u, views", with: "views"))
        #expect(
            other.contains { $0.contains("listeners[1].rate_limits needs 'protocol: tcp'") },
            "\(other)")
        // The listener would take a tunnel's clients for one, its view alone does not.
        let tunnel = errors(
            tcp("  a: { connections: 5 }").replacing("views: v, rate", with: "views: w, rate"))
        #expect(
            tunnel.first?.contains(
                "the policy 'a' would take all clients of the view 'w' for one") == true,
            "\(tunnel)")
    }

    @Test("A connection or a request is held by four counts at most")
    func counts() {
        func policies(_ key: String, _ count: Int) -> String {
            (0..<count).map {
                "  \(["a", "b", "c", "d", "e"][$0]): { \(key): 5, requests: 5 per 1s }"
            }
            .joined(separator: "\n")
        }
        func found(_ key: String, _ count: Int) -> [String] {
            errors(
                Self.text(
                    policies(key, count), view: ", rate_limits: [a, b]",
                    site: count > 4 ? "rate_limits: [c, d, e]" : "rate_limits: [c, d]"))
        }

        #expect(found("connections", 4) == [])
        #expect(found("concurrent_requests", 4) == [])
        #expect(
            found("connections", 5).first?.contains(
                "more than 4 policies limit 'connections' at one place of the view 'v'") == true)
        #expect(
            found("concurrent_requests", 5).first?.contains(
                "more than 4 policies limit 'concurrent_requests'") == true)
        let listener = errors(
            tcp(policies("connections", 5), view: ", rate_limits: [b, c, d, e]"))
        #expect(listener.first?.contains("more than 4 policies") == true, "\(listener)")
    }

    @Test("A policy of a view that nothing reaches is refused with the view")
    func unreachable() {
        let text = Self.text("  a: { connections: 5 }", view: ", sources: [10.0.0.0/8]")
            .replacing(
                "\nlisteners:",
                with: "\n  w: { interfaces: [eth0], sources: [10.1.0.0/16], rate_limits: a }"
                    + "\nlisteners:")

        let found = errors(text)

        #expect(
            found.contains { $0.contains("unreachable view 'w': what fits it belongs to 'v'") },
            "\(found)")
    }

    @Test("Connections that are passed on can be limited, requests on them can't")
    func passthrough() throws {
        func text(_ policy: String) -> String {
            """
            version: 1
            rate_limits:
            \(policy)
            listeners: [{ name: h, port: 443, protocol: tls }]
            sites: [{ hosts: example.org, passthrough: u, rate_limits: a }]
            upstreams: { u: { servers: ["10.0.0.1:443"] } }
            """
        }

        #expect(try Self.load(text("  a: { connections: 5 }")).sites[0].rules.rateLimits == [0])
        let found = errors(text("  a: { requests: 5 per 1s }"))
        #expect(found.count == 1 && found[0].contains("sites[0].rate_limits: 'a' has no effect"))
        #expect(errors(text("  a: { full_handshakes: 5 per 1s }")).count == 1)
        #expect(EdgeConfigTests.errors(text("  a: { connections: 5, handshakes: 5 per 1s }")) == [])
    }
}
