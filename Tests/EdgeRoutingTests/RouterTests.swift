import Testing

@testable import EdgeRouting

extension Router {
    func connection(
        view: Int = 0, _ name: String, offering protocols: [String] = []
    ) -> ConnectionRoute {
        let offered = protocols.map { Array($0.utf8) }
        return connection(view: view, serverName: Array(name.utf8).span) { wanted in
            offered.contains { bytes in
                bytes.count == wanted.count && bytes.indices.allSatisfy { bytes[$0] == wanted[$0] }
            }
        }
    }

    func request(view: Int = 0, _ host: String, _ path: String = "/") -> Route? {
        request(view: view, host: Array(host.utf8).span, path: Array(path.utf8).span)
    }
}

extension Router.Host {
    /// Its pool's number is ten times its site's.
    init(_ pattern: String, _ site: Int32, _ change: (inout Router.Host) -> Void = { _ in }) {
        self.init(pattern: pattern, site: site, pool: site * 10)
        change(&self)
    }
}

@Suite("Router: connections") struct RouterConnectionTests {
    private static func passthrough(_ protocols: String...) -> (inout Router.Host) -> Void {
        return {
            $0.isPassthrough = true
            $0.protocols = protocols
        }
    }

    private static let router = Router([
        .init(hosts: [
            .init("www.example", 0) { $0.hostPolicy = 7 }, .init("*.example", 1),
            .init("raw.example", 2, passthrough()), .init("*.raw.example", 3, passthrough()),
            .init("*", 4, passthrough("acme-tls/1")),
            .init("www.example", 5, passthrough("x-one", "x-two")),
            .init("www.example", 6, passthrough("x-two", "x-three")),
            .init("*.example", 7, passthrough("x-one")),
        ])
    ])

    @Test("The most specific pattern decides between passthrough and termination")
    func specific() {
        #expect(Self.router.connection("www.example") == .terminate(site: 0, hostPolicy: 7))
        #expect(Self.router.connection("WWW.example.") == .terminate(site: 0, hostPolicy: 7))
        #expect(Self.router.connection("x.example") == .terminate(site: 1, hostPolicy: 0))
        #expect(Self.router.connection("raw.example") == .passthrough(pool: 20, site: 2))
        #expect(Self.router.connection("a.raw.example") == .passthrough(pool: 30, site: 3))
        #expect(Self.router.connection("other") == .terminateUnknown(site: -1, hostPolicy: 0))
    }

    @Test("A passthrough for a protocol is only for those who offer it, and comes first then")
    func protocols() {
        let acme = ConnectionRoute.passthrough(pool: 40, site: 4)

        #expect(Self.router.connection("other", offering: ["acme-tls/1"]) == acme)
        #expect(Self.router.connection("www.example", offering: ["acme-tls/1"]) == acme)
        #expect(Self.router.connection("raw.example", offering: ["h2", "acme-tls/1"]) == acme)
        #expect(
            Self.router.connection("www.example", offering: ["h2", "acme-tls/1x"])
                == .terminate(site: 0, hostPolicy: 7))
        #expect(
            Self.router.connection("www.example", offering: ["acme-tls/"])
                == .terminate(site: 0, hostPolicy: 7))
    }

    @Test("Of passthroughs for protocols the most specific counts, of equal ones the first")
    func protocolOrder() {
        let offering = { Self.router.connection($0, offering: $1) }

        #expect(offering("www.example", ["x-two"]) == .passthrough(pool: 50, site: 5))
        #expect(offering("www.example", ["x-three"]) == .passthrough(pool: 60, site: 6))
        #expect(offering("www.example", ["x-one"]) == .passthrough(pool: 50, site: 5))
        #expect(offering("a.example", ["x-one"]) == .passthrough(pool: 70, site: 7))
        #expect(
            offering("www.example", ["acme-tls/1", "x-one"]) == .passthrough(pool: 50, site: 5))
    }

    @Test("Who names nobody, or nobody known, gets the view's default")
    func fallback() {
        let hosts: [Router.Host] = [
            .init("a.example", 0) { $0.hostPolicy = 3 }, .init("b.example", 1, Self.passthrough()),
        ]
        let router = Router([
            .init(hosts: hosts, unknown: .refuse, hostPolicy: 9),
            .init(hosts: hosts, unknown: .notFound, hostPolicy: 9),
            .init(hosts: hosts, unknown: .host("a.example"), hostPolicy: 9),
            .init(hosts: hosts, unknown: .host("b.example"), hostPolicy: 9),
        ])

        for name in ["", "c.example"] {
            #expect(router.connection(view: 0, name) == .refuse)
            #expect(router.connection(view: 1, name) == .terminateUnknown(site: -1, hostPolicy: 9))
            #expect(router.connection(view: 2, name) == .terminateUnknown(site: 0, hostPolicy: 3))
            #expect(router.connection(view: 3, name) == .passthrough(pool: 10, site: 1))
        }
        #expect(router.connection(view: 0, "a.example") == .terminate(site: 0, hostPolicy: 3))
    }

    @Test("Without a name not even a site for any name or a protocol takes a connection")
    func nameless() {
        let router = Router([
            .init(
                hosts: [
                    .init("*", 0, Self.passthrough()),
                    .init("*", 1, Self.passthrough("acme-tls/1")),
                ], unknown: .refuse)
        ])

        #expect(router.connection("", offering: ["acme-tls/1"]) == .refuse)
        #expect(router.connection("x", offering: ["acme-tls/1"]) == .passthrough(pool: 10, site: 1))
        #expect(router.connection("x") == .passthrough(pool: 0, site: 0))
    }
}

@Suite("Router: requests") struct RouterRequestTests {
    private static let router = Router([
        .init(hosts: [
            .init("www.example", 0) {
                $0.policy = 1
                $0.paths = [
                    .init(prefix: "/api", pool: 100, policy: 2),
                    .init(prefix: "/api/admin", pool: 101, policy: 3),
                ]
            },
            .init("*.example", 1) { $0.paths = [.init(prefix: "/", pool: 102, policy: 4)] },
            .init("raw.example", 2) { $0.isPassthrough = true },
        ])
    ])

    @Test("Host, then path: pool, rules and what has matched")
    func host() throws {
        let root = try #require(Self.router.request("www.example", "/x"))
        let api = try #require(Self.router.request("www.example", "/api/x"))
        let admin = try #require(Self.router.request("WWW.EXAMPLE", "/api/admin"))
        let other = try #require(Self.router.request("x.example", "/api"))

        #expect(root.site == 0 && root.pool == 0 && root.policy == 1 && root.path == -1)
        #expect(root.matchedPrefix == 0 && root.isLiteral)
        #expect(api.site == 0 && api.pool == 100 && api.policy == 2 && api.path == 0)
        #expect(api.matchedPrefix == 4)
        #expect(admin.pool == 101 && admin.policy == 3 && admin.path == 1)
        #expect(admin.matchedPrefix == 10)
        #expect(other.site == 1 && other.pool == 102 && other.policy == 4 && other.path == 0)
        #expect(other.matchedPrefix == 0)
        #expect(Self.router.request("example", "/") == nil)
    }

    @Test(
        "No spelling of a path leads around its rules",
        arguments: [
            "/%61pi/admin", "//api/admin", "/./api/admin", "/api/./admin", "/api//admin/x",
            "/x/../api/admin", "/api/%61dmin", "/api/x/%2e%2e/admin", "/api%2Fadmin", "/api\\admin",
            "/api;x/admin", "/api/admin;x", "/api/admin%00", "/api/admin%3Fx", "/%2561pi/admin",
            "/api/..;/api/admin",
        ])
    func spelling(path: String) throws {
        let route = try #require(Self.router.request("www.example", path))

        #expect(!route.isLiteral)
        #expect(route.isAmbiguous || route.policy == 3)
    }

    @Test("A site that is passed through has no paths, and answers nothing itself")
    func passthrough() throws {
        let route = try #require(Self.router.request("raw.example", "/x/../y"))

        #expect(route.isPassthrough && route.isLiteral)
        #expect(route.coverage(connectionPolicy: 0, isServerName: true) == .misdirected)
    }

    @Test("A passthrough for a protocol alone is no site for requests")
    func protocolOnly() {
        let router = Router([
            .init(hosts: [
                .init("a.example", 0) {
                    $0.isPassthrough = true
                    $0.protocols = ["x"]
                },
                .init("*.example", 1),
            ])
        ])

        #expect(router.request("a.example")?.site == 1)
    }

    @Test("An unknown host is for the view's default host, if it has one")
    func unknown() throws {
        let hosts: [Router.Host] = [
            .init("a.example", 0) { $0.paths = [.init(prefix: "/p", pool: 5)] }
        ]
        let router = Router([
            .init(hosts: hosts, unknown: .refuse), .init(hosts: hosts, unknown: .notFound),
            .init(hosts: hosts, unknown: .host("a.example")),
            .init(hosts: hosts, unknown: .host("nobody.example")),
        ])

        #expect(router.request(view: 0, "b.example") == nil)
        #expect(router.request(view: 1, "b.example") == nil)
        #expect(router.request(view: 2, "b.example", "/p")?.pool == 5)
        #expect(router.request(view: 3, "b.example") == nil)
    }

    @Test("A view never answers with another's host")
    func views() {
        let router = Router([
            .init(hosts: [.init("both.example", 0), .init("lan.example", 1), .init("*.lan", 2)]),
            .init(hosts: [.init("both.example", 3), .init("public.example", 4), .init("*", 5)]),
            .init(hosts: []),
        ])

        #expect(router.request(view: 0, "both.example")?.site == 0)
        #expect(router.request(view: 1, "both.example")?.site == 3)
        #expect(router.request(view: 0, "public.example") == nil)
        #expect(router.request(view: 1, "lan.example")?.site == 5)
        #expect(router.request(view: 1, "a.lan")?.site == 5)
        #expect(router.request(view: 2, "both.example") == nil)
        #expect(
            router.connection(view: 2, "both.example") == .terminateUnknown(site: -1, hostPolicy: 0)
        )
    }

    @Test("Another name on a connection needs the same policy, and its certificate")
    func coverage() throws {
        let router = Router([
            .init(hosts: [
                .init("a.example", 0) { $0.hostPolicy = 1 },
                .init("b.example", 1) { $0.hostPolicy = 2 },
            ])
        ])
        let route = try #require(router.request("a.example"))

        #expect(route.coverage(connectionPolicy: 1, isServerName: true) == .serve)
        #expect(route.coverage(connectionPolicy: 1, isServerName: false) == .askCertificate)
        #expect(route.coverage(connectionPolicy: 2, isServerName: false) == .misdirected)
        // The policy has changed since the connection was made.
        #expect(route.coverage(connectionPolicy: 2, isServerName: true) == .misdirected)
    }

    @Test(
        "Names are the same without letter case and a final dot",
        arguments: [
            ("a.example", "A.EXAMPLE.", true), ("a.example", "a.example", true), ("", "", true),
            ("a.example", "b.example", false), ("a.example", "", false), ("a", "a..", false),
            ("a[", "a{", false), (".", "", true),
        ])
    func sameHost(one: String, other: String, isSame: Bool) {
        #expect(Router.areSameHost(Array(one.utf8).span, Array(other.utf8).span) == isSame)
        #expect(Router.areSameHost(Array(other.utf8).span, Array(one.utf8).span) == isSame)
    }

    @Test("A route is a plain value of a cache line at most")
    func size() { #expect(MemoryLayout<Route>.size <= 32) }
}
