import EdgeCore
import EdgeRouting
import Testing

@testable import EdgeConfig

@Suite("Views as configured")
struct ViewKeyTests {
    static func load(_ text: String) throws -> Configuration {
        try Configuration.load(ConfigurationBundle(text)).0
    }

    @Test("Without views there is one that has no name, and hosts are in it")
    func none() throws {
        let configuration = try Self.load(Sample.minimal)

        #expect(configuration.views == [.only])
        #expect(configuration.sites[0].hosts == [.init(view: 0, pattern: "a.example")])
        #expect(configuration.sites[0].internalHost == nil)
        #expect(configuration.listeners[0].views.isEmpty)
        #expect(configuration.listeners[0].challengeUpstream == nil)
    }

    @Test("What is written of a view counts, in the order of the file")
    func written() throws {
        let configuration = try Self.load(
            Sample.views(
                """
                  zoo:
                    interfaces: [eth1, lo]
                    sources: [10.0.0.0/8, '2001:db8::/32']
                    addresses: { a: [192.0.2.1, 192.0.2.2], aaaa: '2001:db8::1' }
                    unknown: b.example
                    tls: { min_version: 1.3 }
                  ape:
                    proxy_protocol: required
                    trusted_proxies: 172.16.0.1
                    unknown: refuse
                    client_certificates: { ca: ca.pem, required: no, field: X-Subject }
                """, sites: "  - { hosts: [b.example], upstream: app }\n"))

        var zoo = ViewConfiguration(name: "zoo")
        zoo.interfaces = ["eth1", "lo"]
        zoo.sources = ["10.0.0.0/8", "2001:db8::/32"].compactMap { CIDR($0) }
        zoo.addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].compactMap {
            SocketAddress(address: $0, port: 0)
        }
        zoo.unknown = .host("b.example")
        zoo.requiresTLS13 = true
        var ape = ViewConfiguration(name: "ape")
        ape.requiresProxyHeader = true
        ape.trustedProxies = ["172.16.0.1"].compactMap { CIDR($0) }
        ape.unknown = .refuse
        ape.clientCertificates = .init(
            authorities: "ca.pem", isRequired: false, field: "X-Subject")
        ape.isLow = true
        #expect(configuration.views == [zoo, ape])
    }

    @Test("Who comes by a forwarder or has limits is of low priority, unless it is said otherwise")
    func priority() throws {
        let configuration = try Self.load(
            Sample.views(
                """
                  plain: { sources: 10.0.0.0/8 }
                  low: { sources: 198.51.100.0/24, priority: low }
                  limited: { sources: 192.168.0.0/16, rate_limits: some }
                  trusted: { sources: 172.16.0.0/12, rate_limits: some, priority: high }
                  forwarded: { proxy_protocol: required, trusted_proxies: 192.0.2.1 }
                """,
                sites: "  - { hosts: [b.example], upstream: app }\n")
                + "rate_limits:\n  some: { requests: 5 per 1s }\n")

        let low = configuration.views.filter(\.isLow).map(\.name)
        #expect(low == ["low", "limited", "forwarded"])
    }

    @Test("The proxy's memory is bounded by what is said, by nothing, or by the machine")
    func memory() throws {
        let cases: [(String, Int?)] = [
            ("", nil), ("limits: { memory: unlimited }\n", 0),
            ("limits: { memory: 256MiB }\n", 256 << 20),
        ]
        for (text, expected) in cases {
            let configuration = try Self.load(
                Sample.views(
                    "  lan: { interfaces: eth0 }\n",
                    sites: "  - { hosts: [b.example], upstream: app }\n") + text)
            #expect(configuration.limits.memory == expected, "\(text)")
        }
    }

    @Test("What is not written of a view: all connections, no header, 404 for unknown names")
    func defaults() throws {
        let configuration = try Self.load(
            Sample.views("  all: {}\n", sites: "  - { hosts: b.example, upstream: app }\n"))

        #expect(configuration.views == [ViewConfiguration(name: "all")])
    }

    static let hosts: [(String, String?, [String])] = [
        ("b.example", nil, ["0 b.example", "1 b.example"]),
        (
            "[b.example, C.example]", nil,
            [
                "0 b.example", "0 c.example", "1 b.example", "1 c.example",
            ]
        ),
        ("{ public: b.example }", nil, ["1 b.example"]),
        ("{ public: [b.example, c.example] }", nil, ["1 b.example", "1 c.example"]),
        ("{ lan: b.example, public: B.example }", nil, ["0 b.example", "1 b.example"]),
        (
            "{ lan: [b.example, c.example], public: [c.example, b.example] }", nil,
            [
                "0 b.example", "0 c.example", "1 c.example", "1 b.example",
            ]
        ),
        ("{ public: b.example, lan: [c.example] }", "b.example", ["1 b.example", "0 c.example"]),
        (
            "{ lan: [c.example], public: [b.example, c.example] }", "c.example",
            [
                "0 c.example", "1 b.example", "1 c.example",
            ]
        ),
        (
            "{ lan: '*.b.example', public: '*.c.example' }", "*.b.example",
            [
                "0 *.b.example", "1 *.c.example",
            ]
        ),
        ("b.example, internal: x.example", "x.example", ["0 b.example", "1 b.example"]),
        (
            "{ lan: b.example, public: c.example }, internal: X.example", "x.example",
            [
                "0 b.example", "1 c.example",
            ]
        ),
        (
            "'*.b.example', internal: '*.x.example'", "*.x.example",
            [
                "0 *.b.example", "1 *.b.example",
            ]
        ),
        (
            "[b.example, c.example], internal: x.example", "x.example",
            ["0 b.example", "0 c.example", "1 b.example", "1 c.example"]
        ),
    ]

    @Test("Hosts for every view or for each, and the name that the servers know", arguments: hosts)
    func host(text: String, internalHost: String?, expected: [String]) throws {
        let configuration = try Self.load(
            Sample.split("  - { hosts: \(text), upstream: app }\n"))

        let site = try #require(configuration.sites.last)
        #expect(site.hosts.map { "\($0.view) \($0.pattern)" } == expected)
        #expect(site.internalHost == internalHost)
    }

    @Test("Two views may give the same name to different sites")
    func sameName() throws {
        let configuration = try Self.load(
            Sample.split(
                """
                  - { hosts: { lan: b.example }, upstream: app }
                  - { hosts: { public: b.example }, upstream: app }
                """))

        #expect(configuration.sites.suffix(2).map { $0.hosts.map(\.view) } == [[0], [1]])
    }

    @Test("Connections are passed through, all of a host's or those of one protocol")
    func passthrough() throws {
        let configuration = try Self.load(
            Sample.split(
                """
                  - { hosts: { lan: b.example, public: '*.c.example' }, passthrough: app }
                  - { hosts: d.example, upstream: app }
                  - { hosts: d.example, passthrough: app, alpn: [acme-tls/1, x] }
                """))

        let sites = configuration.sites.suffix(3)
        #expect(
            sites.map(\.destination) == [.passthrough(0), .upstream(0), .passthrough(0)])
        #expect(sites.map(\.protocols) == [[], [], ["acme-tls/1", "x"]])
        #expect(sites.allSatisfy { $0.internalHost == nil })
    }

    @Test("A tls listener needs no certificates if every site is passed through")
    func withoutCertificates() throws {
        let text = Sample.minimal.replacing("protocol: http", with: "protocol: tls")
            .replacing("upstream: app", with: "passthrough: app")

        #expect(try Self.load(text).sites[0].isPassthrough)
    }

    @Test("A name for checks is the one that the servers know")
    func checkName() throws {
        let configuration = try Self.load(
            Sample.split(
                """
                  - { hosts: { lan: '*.b.example', public: '*.c.example' }, upstream: named }
                  - { hosts: { lan: b.example, public: c.example }, upstream: secure }
                """)
                + "  secure: { servers: ['10.0.0.2:443'], tls: {} }\n"
                + "  named: { servers: ['10.0.0.3:443'], tls: { name: n.example } }\n")

        #expect(configuration.checkName(upstream: 1) == "b.example")
        #expect(configuration.checkName(upstream: 2) == "n.example")
    }
}

extension Sample {
    /// Views from line 3 on, sites behind them; a.example is the first site's.
    static func views(_ views: String, sites: String = "", listener: String = "") -> String {
        """
        version: 1
        views:
        \(views.trimmed)
        listeners: [{ name: web, port: 443, protocol: tls\(listener) }]
        certificates: { directory: certs }
        sites:
          - { hosts: a.example, upstream: app }
        \(sites.trimmed)
        upstreams:
          app: { servers: ['10.0.0.1:80'] }

        """
    }

    /// With the views `lan` and `public`; `sites` begin at line 9.
    static func split(_ sites: String, listener: String = "") -> String {
        views(
            "  lan: { interfaces: [eth0] }\n  public: { interfaces: [wg0] }\n", sites: sites,
            listener: listener)
    }
}

extension String {
    /// Without what separates it from the next line.
    var trimmed: String { hasSuffix("\n") ? String(dropLast()) : self }
}
