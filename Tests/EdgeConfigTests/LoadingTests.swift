import EdgeCore
import EdgeRouting
import EdgeUpstream
import Testing

@testable import EdgeConfig

@Suite("Loading a configuration")
struct LoadingTests {
    /// One with the same hosts in every view.
    private static func site(
        _ hosts: [String], upstream: Int, upgrades: [String] = [], views: Int
    ) -> SiteConfiguration {
        var site = SiteConfiguration(
            hosts: (0..<views).flatMap { view in hosts.map { .init(view: view, pattern: $0) } },
            destination: .upstream(upstream))
        site.upgrades = upgrades
        return site
    }

    private static func withoutRules(_ site: SiteConfiguration) -> SiteConfiguration {
        var site = site
        site.rules = RuleConfiguration()
        site.paths = []
        return site
    }

    private static func load(_ text: String, included: [String] = []) throws -> Configuration {
        try Configuration.load(ConfigurationBundle(text, included: included)).0
    }

    @Test("The reference example gives exactly this configuration")
    func everything() throws {
        let bundle = try ConfigurationBundle.read(
            path: Repository.conf + "edged.yaml", node: "lb-01")

        let (configuration, _) = try Configuration.load(bundle)

        let folder = Repository.root + "conf/"
        #expect(configuration.runAs == .init(user: "edged", group: "edged"))
        #expect(configuration.workers == nil)
        #expect(
            configuration.certificates
                == .init(directory: folder + "certs", fallback: "example.org"))
        #expect(configuration.listeners.map(\.name) == ["https", "http", "postgres", "kubernetes"])
        #expect(configuration.listeners.map(\.kind) == [.tls, .http, .tcp, .tcp])
        #expect(configuration.listeners.map(\.redirectPort) == [nil, 443, nil, nil])
        #expect(
            configuration.listeners.map { $0.addresses.map(\.description) }
                == [
                    ["[::]:443"], ["192.168.1.13:80", "127.0.0.1:80"], ["192.168.1.13:5432"],
                    ["192.168.1.13:6443"],
                ])
        #expect(configuration.listeners[2].upstream == "postgres")
        #expect(configuration.views.map(\.name) == ["lan", "public", "partners"])
        var split = SiteConfiguration(
            hosts: [
                .init(view: 0, pattern: "grafana.home.example"),
                .init(view: 1, pattern: "grafana.example.org"),
                .init(view: 1, pattern: "stats.example.org"),
            ],
            destination: .upstream(0))
        split.internalHost = "grafana.home.example"
        split.clientCertificates = .init(
            authorities: folder + "ca/staff.pem",
            revocations: folder + "ca/staff-revoked.pem", isRequired: false, field: "X-Staff")
        var redirected = Self.site(["www.example.org"], upstream: 0, views: 3)
        redirected.destination = .none
        let passed = SiteConfiguration(
            hosts: [.init(view: 0, pattern: "vault.home.example")], destination: .passthrough(2))
        var passedByProtocol = Self.site(["vault.home.example"], upstream: 2, views: 3)
        passedByProtocol.destination = .passthrough(2)
        passedByProtocol.protocols = ["acme-tls/1"]
        #expect(
            configuration.sites.map(Self.withoutRules) == [
                Self.site(["api.example.org"], upstream: 6, views: 3),
                split, redirected,
                Self.site(
                    ["registry.example.org", "*.apps.example.org"], upstream: 5,
                    upgrades: ["spdy/3.1"], views: 3),
                passed, passedByProtocol,
                Self.site(["dashboard.example.org"], upstream: 7, views: 3),
            ])
        #expect(configuration.listeners.map(\.challengeUpstream) == [nil, "acme", nil, nil])
        #expect(configuration.listeners.map(\.views) == [[], [], [0], [0, 2]])
        #expect(
            configuration.upstreams.map(\.name)
                == [
                    "grafana", "acme", "vault", "postgres", "kubernetes", "ingress", "api",
                    "dashboard",
                ])
        #expect(
            configuration.upstreams.map(\.version)
                == [.http1, .http1, .http1, .http1, .http1, .auto, .http2, .http1])
        #expect(configuration.http2 == HTTP2Configuration())
        #expect(configuration.upstreams[3].sendsProxyHeader)
        #expect(configuration.upstreams[3].memberConnectionsMax == 200)
        #expect(configuration.upstreams[0].connectTimeout == .milliseconds(500))
        #expect(configuration.upstreams[0].responseTimeout == .seconds(300))
        #expect(configuration.upstreams[0].keepAlive == .seconds(30))
        #expect(
            configuration.upstreams[5].tls
                == .init(
                    authorityFile: folder + "ca/home-ca.pem", name: "ingress.home.example",
                    verify: .full,
                    identity: .init(
                        certificateFile: folder + "certs-upstream/edge.crt",
                        keyFile: folder + "certs-upstream/edge.key"),
                    revocationFile: folder + "ca/home-revoked.pem"))
        #expect(
            configuration.tls == .init(minimumVersion: .tls12, ticketLifetime: .seconds(43200)))
        #expect(configuration.resolvers.map(\.name) == ["internal", "public"])
        #expect(configuration.resolvers[0].domains == ["home.example", "internal"])
        #expect(
            configuration.resolvers[1].servers.map(\.description)
                == ["9.9.9.9:53", "[2620:fe::fe]:53"])
        #expect(configuration.limits.connections == 20000)
        let requests = configuration.requests
        #expect(requests.trusted.map(\.description) == ["192.168.1.2/32", "2001:db8:1::/48"])
        #expect(requests.errorPages == folder + "errors")
        #expect(!requests.sendsForwarded && !requests.passesUnderscores)
        #expect(requests.bodyBytes == nil)
        #expect(configuration.admin.socket == "/run/edged/admin.sock")
        #expect(configuration.admin.group == "edged-admin")
        #expect(configuration.admin.http?.description == "127.0.0.1:9464")
        #expect(configuration.admin.probes.map(\.description) == ["172.16.98.3:9465"])
        #expect(configuration.accessLog?.format == .json && configuration.accessLog?.sample == 1)
        #expect(configuration.requests.trace == .pass)
    }

    @Test("What is not written has its default")
    func defaults() throws {
        let configuration = try Self.load(Sample.minimal)

        #expect(configuration.runAs == nil)
        #expect(configuration.workers == nil)
        #expect(configuration.listeners[0].addresses.map(\.description) == ["[::]:80"])
        #expect(
            configuration.timeouts
                == .init(
                    handshake: .seconds(10), requestHead: .seconds(10), keepAlive: .seconds(75),
                    body: .seconds(60), tcp: .seconds(7200)))
        #expect(
            configuration.process
                == .init(
                    serveDeadline: .seconds(2), hangTimeout: .milliseconds(500),
                    drainDeadline: .seconds(30)))
        #expect(
            configuration.limits
                == .init(
                    connections: nil, requestHeadBytes: 65536, responseHeadBytes: 65536,
                    headerFields: 200, uploadMin: 240, downloadMin: 240))
        #expect(configuration.admin == .init(socket: nil, group: nil, http: nil))
        #expect(configuration.resolvers == [])
        #expect(configuration.http2 == HTTP2Configuration())
        #expect(configuration.upstreams[0].version == .http1)
        #expect(configuration.upstreams[0].connectTimeout == .seconds(2))
        #expect(configuration.upstreams[0].responseTimeout == .seconds(60))
        #expect(configuration.upstreams[0].keepAlive == .seconds(60))
    }

    @Test("Times are read into the part they belong to")
    func times() throws {
        let configuration = try Self.load(
            Sample.minimal
                + "timeouts: { handshake: 1s, request_head: 2s, keep_alive: 3s, body: 4s, "
                + "serve_deadline: 5s, hang: 6s, drain: 7s }\n")

        #expect(
            configuration.timeouts
                == .init(
                    handshake: .seconds(1), requestHead: .seconds(2), keepAlive: .seconds(3),
                    body: .seconds(4), tcp: .seconds(7200)))
        #expect(
            configuration.process
                == .init(
                    serveDeadline: .seconds(5), hangTimeout: .seconds(6), drainDeadline: .seconds(7)
                ))
    }

    @Test("The key of a client certificate may be in the certificate's file")
    func identityInOneFile() throws {
        let configuration = try Self.load(Sample.upstream("tls: { certificate: me.pem }"))

        let identity = configuration.upstreams[0].tls?.identity
        #expect(identity?.certificateFile.hasSuffix("me.pem") == true)
        #expect(identity?.keyFile == identity?.certificateFile)
    }

    @Test("TLS with clients: lowest version and ticket lifetime", arguments: ["1.3", "\"1.3\""])
    func clientTLS(version: String) throws {
        let configuration = try Self.load(
            Sample.minimal + "tls: { min_version: \(version), ticket_lifetime: 90m }\n")

        #expect(
            configuration.tls == .init(minimumVersion: .tls13, ticketLifetime: .seconds(5400)))
    }

    @Test("`tls: {}` is TLS with the system's authorities and the site's name")
    func emptyTLS() throws {
        let configuration = try Self.load(Sample.upstream("tls: {}"))

        #expect(
            configuration.upstreams[0].tls == .init(authorityFile: nil, name: nil, verify: .full))
    }

    @Test("Included files add to the lists and names of the main file")
    func merged() throws {
        let configuration = try Self.load(
            Sample.minimal,
            included: [
                "sites:\n  - { hosts: c.example, upstream: more }\n",
                "upstreams: { more: { servers: ['10.0.0.2:80'] } }\n"
                    + "listeners: [{ name: alt, port: 8080, protocol: http }]\n"
                    + "resolvers: { r: { servers: ['10.0.0.3'] } }\n",
                "# nothing\n",
            ])

        #expect(configuration.sites.map(\.upstream) == [0, 1])
        #expect(configuration.upstreams.map(\.name) == ["app", "more"])
        #expect(configuration.listeners.map(\.name) == ["web", "alt"])
        #expect(configuration.resolvers.map(\.name) == ["r"])
    }

    @Test(
        "Paths are seen from the folder of the main file",
        arguments: [
            ("/etc/edged/edged.yaml", "admin.sock", "/etc/edged/admin.sock"),
            ("conf/edged.yaml", "../admin.sock", "conf/../admin.sock"),
            ("edged.yaml", "admin.sock", "admin.sock"),
            ("/edged.yaml", "admin.sock", "/admin.sock"),
            ("/etc/edged.yaml", "/run/edged/admin.sock", "/run/edged/admin.sock"),
        ])
    func paths(file: String, written: String, expected: String) throws {
        let text = Sample.minimal + "admin: { socket: \(written) }\n"
        let bundle = ConfigurationBundle(main: .init(path: file, bytes: Array(text.utf8)))

        #expect(try Configuration.load(bundle).0.admin.socket == expected)
    }

    static let warnings: [(String, [String])] = [
        (Sample.minimal, []),
        (
            Sample.upstream("tls: { verify: none }"),
            [
                "main.yaml:5:43: upstreams.app.tls: the servers' certificates are not checked "
                    + "('verify: full' with 'ca')"
            ]
        ),
        (
            Sample.minimal.replacing("10.0.0.1:80", with: "10.0.0.1:443"),
            [
                "main.yaml:5:20: upstreams.app speaks plaintext to port 443 (add 'tls: {}')"
            ]
        ),
        (
            Sample.minimal.replacing("\"10.0.0.1:80\"", with: "\"10.0.0.1:80\", x.a.b:80")
                + "resolvers:\n  used: { servers: [10.0.0.2], domains: [a.b] }\n"
                + "  shadowed: { servers: [10.0.0.3], domains: [b] }\n"
                + "  other: { servers: [10.0.0.4] }\n",
            [
                "main.yaml:5:10: upstreams.app has servers by name, and a start without DNS knows "
                    + "none of their addresses (set 'state' to a folder for the last good ones)",
                "main.yaml:8:3: the resolver 'shadowed' is never asked (no server's name ends with "
                    + "one of its domains)",
                "main.yaml:9:3: the resolver 'other' is never asked (every server is an address or "
                    + "has another resolver)",
            ]
        ),
        (
            Sample.minimal
                + "views: { lan: { sources: [10.0.0.0/8], addresses: { a: 10.0.0.9 } } }\n"
                + "resolvers: { home: { servers: [10.0.0.2], domains: [example] } }\n",
            []
        ),
        (
            Sample.minimal + "views: { lan: { sources: [10.0.0.0/8] } }\n"
                + "resolvers: { home: { servers: [10.0.0.2], domains: [example] } }\n",
            [
                "main.yaml:7:14: the resolver 'home' is never asked (no server's name ends with one "
                    + "of its domains)"
            ]
        ),
        (
            "version: 1\nlisteners: [{ name: web, port: 80, protocol: http }]\n",
            [
                "main.yaml:2:1: no sites: no request will find an upstream "
                    + "(add 'sites' and 'upstreams')"
            ]
        ),
    ]

    @Test("What is accepted but doubtful is a warning with its place", arguments: warnings)
    func warned(text: String, expected: [String]) throws {
        let (_, warnings) = try Configuration.load(ConfigurationBundle(text))

        #expect(warnings.map(\.description) == expected)
        #expect(warnings.allSatisfy { $0.severity == .warning })
    }
}

/// Short configurations for the tables.
enum Sample {
    /// Lines 1 to 5; what a test adds begins at line 6.
    static let minimal = """
        version: 1
        listeners: [{ name: web, port: 80, protocol: http }]
        sites: [{ hosts: a.example, upstream: app }]
        upstreams:
          app: { servers: ["10.0.0.1:80"] }

        """

    /// `minimal` with `keys` added to its upstream, at line 5, column 36.
    static func upstream(_ keys: String) -> String {
        minimal.replacing("\"] }", with: "\"], \(keys) }")
    }

    static func listener(_ keys: String) -> String {
        minimal.replacing("protocol: http }", with: "protocol: http, \(keys) }")
    }

    static func hosts(_ value: String) -> String {
        minimal.replacing("hosts: a.example", with: "hosts: \(value)")
    }
}
