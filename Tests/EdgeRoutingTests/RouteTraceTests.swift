import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeRouting

/// A small random configuration, and the answers that trying everything in order gives.
private struct RandomWorld {
    static let names = ["a.example", "b.example", "a.b.example", "c", "example"]
    static let patterns = names + ["*.example", "*.b.example", "*"]
    static let protocols = ["h2", "x", "acme-tls/1"]
    static let prefixes = ["/", "/a", "/a/b", "/api"]
    static let interfaces = ["lo", "eth0", "wg0"]

    var views: [Router.View] = []
    var places: [ViewConfiguration] = []
    var served: [[Int]?] = []

    init(_ random: inout SeededRandom) {
        for number in 0..<Int.random(in: 1...3, using: &random) {
            var place = ViewConfiguration(name: "view-\(number)")
            place.interfaces = Self.interfaces.filter { _ in random.chance(1, of: 3) }
            if random.chance(1, of: 3) { place.sources = [CIDR("10.0.0.0/8")].compactMap { $0 } }
            places.append(place)
            views.append(Self.view(&random))
        }
        served = [nil, places.indices.filter { _ in random.chance(1, of: 2) }]
    }

    private static func view(_ random: inout SeededRandom) -> Router.View {
        var hosts: [Router.Host] = []
        for pattern in patterns + patterns where random.chance(1, of: 3) {
            let site = Int32(hosts.count)
            hosts.append(
                Router.Host(pattern, site) { host in
                    host.policy = random.chance(1, of: 2) ? 0 : -1
                    host.hostPolicy = Int32.random(in: 0...2, using: &random)
                    host.isPassthrough = random.chance(1, of: 4)
                    if host.isPassthrough, random.chance(1, of: 2) {
                        host.protocols = protocols.filter { _ in random.chance(1, of: 2) }
                    }
                    guard !host.isPassthrough else { return }
                    for prefix in prefixes where random.chance(1, of: 2) {
                        let pool = 1_000 + site * 10 + Int32(host.paths.count)
                        host.paths.append(.init(prefix: prefix, pool: pool, policy: 0))
                    }
                })
        }
        let name = names.randomElement(using: &random) ?? ""
        let unknowns: [ViewConfiguration.Unknown] = [.refuse, .notFound, .host(name)]
        return Router.View(
            hosts: hosts, unknown: unknowns.randomElement(using: &random) ?? .refuse, hostPolicy: 1)
    }

    static func fits(_ pattern: String, _ name: String) -> Bool {
        if pattern == "*" { return true }
        guard pattern.hasPrefix("*.") else { return pattern == name }
        guard let dot = name.firstIndex(of: "."), dot > name.startIndex else { return false }
        return name[dot...] == pattern.dropFirst()
    }

    /// Exact before wildcard before any, of equals the first.
    private static func best(_ hosts: [Router.Host], _ name: String) -> Router.Host? {
        let fitting = hosts.filter { fits($0.pattern, name) }
        return fitting.first { !$0.pattern.hasPrefix("*") }
            ?? fitting.first { $0.pattern != "*" } ?? fitting.first
    }

    func host(_ view: Int, _ name: String) -> Router.Host? {
        let plain = views[view].hosts.filter { $0.protocols.isEmpty }
        if let host = Self.best(plain, name) { return host }
        guard case .host(let other) = views[view].unknown else { return nil }
        return Self.best(plain, other)
    }

    func connection(_ view: Int, _ name: String, _ offered: [String]) -> ConnectionRoute {
        let plain = views[view].hosts.filter { $0.protocols.isEmpty }
        let wanted = views[view].hosts.filter { host in
            host.protocols.contains { offered.contains($0) }
        }
        var host = name.isEmpty ? nil : Self.best(wanted, name) ?? Self.best(plain, name)
        let isKnown = host != nil
        if !isKnown {
            switch views[view].unknown {
            case .refuse: return .refuse
            case .notFound: break
            case .host(let other): host = Self.best(plain, other)
            }
        }
        guard let host else {
            return .terminateUnknown(site: -1, hostPolicy: views[view].hostPolicy)
        }
        if host.isPassthrough { return .passthrough(pool: host.pool, site: host.site) }
        return isKnown
            ? .terminate(site: host.site, hostPolicy: host.hostPolicy)
            : .terminateUnknown(site: host.site, hostPolicy: host.hostPolicy)
    }

    func place(_ interface: String, _ source: SocketAddress) -> Int? {
        places.firstIndex { place in
            (place.interfaces.isEmpty
                ? interface != "lo" || !place.sources.isEmpty
                : place.interfaces.contains(interface))
                && (place.sources.isEmpty || place.sources.contains { $0.contains(source) })
        }
    }
}

@Suite("Route trace") struct RouteTraceTests {
    private static let paths = [
        "/", "/a", "/a/b/c", "/api", "//api", "/x/../a", "/%61", "/a%2Fb", "*",
    ]

    private static let access: AccessRules = {
        var rules = RuleConfiguration()
        rules.denied = [CIDR("10.1.0.0/16")].compactMap { $0 }
        rules.methods = ["GET", "HEAD"]
        return AccessRules([[rules]])
    }()

    private static func question(_ random: inout SeededRandom) -> RouteTrace.Question {
        let sources = ["10.1.0.1", "10.2.0.1", "192.0.2.1", "fd00::1"]
        let source = SocketAddress(address: sources.randomElement(using: &random) ?? "", port: 1)
        var question = RouteTrace.Question(
            listener: Int.random(in: 0...1, using: &random),
            interface: Int32.random(in: 0...3, using: &random),
            source: source ?? SocketAddress(ipv4: 1, port: 1),
            host: RandomWorld.names.randomElement(using: &random) ?? "",
            path: paths.randomElement(using: &random) ?? "")
        if random.chance(3, of: 4) {
            question.serverName = (RandomWorld.names + ["", "z"]).randomElement(using: &random)
        }
        question.protocols = RandomWorld.protocols.filter { _ in random.chance(1, of: 3) }
        question.method = random.chance(3, of: 4) ? "GET" : "PUT"
        return question
    }

    @Test("Over random configurations the trace, the tables and a search through everything agree")
    func agreement() {
        seeded(81) { random in
            for _ in 0..<300 {
                let world = RandomWorld(&random)
                let router = Router(world.views)
                let views = ViewTable(
                    world.places, listeners: world.served,
                    interfaces: ["lo": [1], "eth0": [2], "wg0": [3]])
                for _ in 0..<30 {
                    let question = Self.question(&random)
                    let trace = RouteTrace(
                        question, views: views, router: router, access: Self.access)
                    compare(trace, question, world, router, "\(random)")
                }
            }
        }
    }

    private func compare(
        _ trace: RouteTrace, _ question: RouteTrace.Question, _ world: RandomWorld,
        _ router: Router, _ place: Comment
    ) {
        let interface =
            question.interface == 0 ? "" : RandomWorld.interfaces[Int(question.interface) - 1]
        guard let view = world.place(interface, question.source) else {
            #expect(trace.view == .nowhere && trace.lines.last == "no view: closed", place)
            return
        }
        guard world.served[question.listener]?.contains(view) ?? true else {
            #expect(trace.view == .notServed(Int32(view)) && trace.route == nil, place)
            return
        }
        #expect(trace.view == .view(Int32(view)), place)
        if let name = question.serverName {
            let expected = world.connection(view, name, question.protocols)
            #expect(trace.connection == expected, place)
            #expect(
                router.connection(view: view, name, offering: question.protocols) == expected, place
            )
            guard expected.policy != nil else {
                #expect(trace.route == nil && trace.access == nil, place)
                return
            }
        }
        compareRequest(trace, question, world, view, router, place)
    }

    private func compareRequest(
        _ trace: RouteTrace, _ question: RouteTrace.Question, _ world: RandomWorld, _ view: Int,
        _ router: Router, _ place: Comment
    ) {
        let host = world.host(view, question.host)
        #expect(trace.route == router.request(view: view, question.host, question.path), place)
        #expect(trace.route?.site == host?.site, place)
        guard let route = trace.route, let host else { return }
        let path = question.path == "*" ? "/" : question.path
        let prefix = UpstreamReading().longest(host.paths.map(\.prefix), Array(path.utf8))
        let entry = host.paths.first { $0.prefix == prefix }
        #expect(route.pool == entry?.pool ?? host.pool, place)
        #expect(route.policy == entry?.policy ?? host.policy, place)
        #expect(
            route.hostPolicy == host.hostPolicy && route.isPassthrough == host.isPassthrough, place)
        if let entry, trace.coverage != .misdirected {
            #expect(trace.lines.contains { $0.contains("is below \(entry.prefix)") }, place)
        }
        let isAsked = !route.isPassthrough && !route.isAmbiguous && trace.coverage != .misdirected
        #expect((trace.access != nil) == isAsked, place)
    }

    @Test("A trace names the view, the patterns, the path and the rules")
    func wording() throws {
        var lan = ViewConfiguration(name: "lan")
        lan.interfaces = ["eth0"]
        var world = ViewConfiguration(name: "public")
        world.sources = [CIDR("192.0.2.0/24")].compactMap { $0 }
        let views = ViewTable([lan, world], listeners: [nil], interfaces: ["eth0": [2]])
        let router = Router([
            .init(hosts: []),
            .init(hosts: [
                .init("*.example", 4) { $0.paths = [.init(prefix: "/api", pool: 6, policy: 0)] }
            ]),
        ])
        var question = RouteTrace.Question(
            listener: 0, interface: 9,
            source: try #require(SocketAddress(address: "192.0.2.1", port: 7)),
            host: "a.example", path: "//api/x")
        question.serverName = "b.example"
        question.method = "PUT"

        let trace = RouteTrace(question, views: views, router: router, access: Self.access)

        #expect(
            trace.lines == [
                "view lan does not fit: interface 9 is not of eth0, any source",
                "view public fits: any interface, 192.0.2.1 is in its sources",
                "server name b.example falls under *.example: TLS ends here, site 4",
                "host a.example falls under *.example: site 4",
                "not the server name: 421 unless the certificate is for it too",
                "path //api/x is below /api, as upstreams read it",
                "rules 0 allow only GET, HEAD: 405",
            ])
    }
}
