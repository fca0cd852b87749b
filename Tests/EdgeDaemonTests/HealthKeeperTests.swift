import EdgeConfig
import EdgeCore
import EdgeDNS
import EdgeSystem
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeDaemon

/// A keeper whose loop is turned by the test.
private final class KeeperSite {
    let loop: PollLoop
    private(set) var keeper: HealthKeeper!
    private(set) var resolver: Resolver!

    /// - Parameters:
    ///   - hosts: a file of names that are known, looked at fifty times a second.
    ///   - stale: as `dns.stale`.
    init(hosts: String? = nil, stale: Duration? = nil) throws {
        var timing = NameTiming(floor: .milliseconds(20), ceiling: .milliseconds(20))
        timing.retryMin = .milliseconds(20)
        timing.retryMax = .milliseconds(20)
        timing.stale = stale
        var settings = ResolverSettings()
        settings.usesHosts = hosts != nil
        settings.hostsPath = hosts ?? ""
        loop = try PollLoop()
        // Nobody answers there.
        let group = ResolverGroup(
            name: "test", servers: [SocketAddress(ipv4: 0x7F00_0001, port: 9)], domains: [])
        resolver = Resolver(
            loop: loop, groups: [group], settings: settings, timing: timing, seed: 1
        ) { [weak self] name in self?.keeper?.proposalChanged(name) }
        keeper = HealthKeeper(
            loop: loop, resolver: resolver, seed: 1, count: { _ in }, onActive: { _ in },
            onChange: { _ in })
    }

    deinit {
        keeper.close()
        resolver.close()
    }

    /// A start or a reload with these servers and further keys of the upstream `app`.
    func use(_ servers: String..., keys: String = "") throws {
        let list = servers.map { "\"\($0)\"" }.joined(separator: ", ")
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            sites: [{ hosts: a.example, upstream: app }]
            upstreams: { app: { servers: [\(list)], \(keys) } }
            """
        let bundle = ConfigurationBundle(
            main: .init(path: "main.yaml", bytes: Array(text.utf8)))
        let preparation = try Preparation.prepare(bundle, previous: nil, workers: nil)
        resolver.track(names: preparation.configuration.upstreamNames)
        keeper.use(preparation)
    }

    var rows: [MemberHealthReport] { keeper.report(of: "app") }

    func turn(until condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(10))
        while !condition() {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(20))
        }
        return true
    }
}

@Suite("The keeper of verdicts", .serialized) struct HealthKeeperTests {
    @Test("A reload that names a server otherwise keeps what is known of its address")
    func renamed() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }
        let site = try KeeperSite()
        try site.use("127.0.0.1:\(server.port)")
        #expect(site.turn { site.rows.first?.state == .up })
        #expect(site.keeper.administer("app", server.address, .maint))

        try site.use("localhost:\(server.port)")
        #expect(site.rows.map(\.state) == [.maintenance])
        #expect(site.rows.first?.source == "localhost")
        #expect(site.rows.first?.checksPassed ?? 0 > 0)

        try site.use("127.0.0.1:\(server.port)")
        #expect(site.rows.map(\.state) == [.maintenance])
    }

    @Test("The outcome of a check that was another's question is not believed")
    func outdated() throws {
        let server = try ScriptedUpstream { index in
            index == 0
                ? [.readRequest, .pause(.milliseconds(300)), .respond(500, "no")]
                : [.readRequest, .respond(200, "yes")]
        }
        defer { server.stop() }
        let site = try KeeperSite()
        try site.use("127.0.0.1:\(server.port)", keys: "health: { path: /old, fall: 1 }")
        #expect(site.turn { server.requests.count == 1 })

        try site.use("127.0.0.1:\(server.port)", keys: "health: { path: /new, fall: 1 }")
        #expect(site.turn { site.rows.first?.state == .up })
        #expect(site.turn { (site.rows.first?.checksPassed ?? 0) >= 3 })

        #expect(site.rows.first?.checksFailed == 0)
    }

    @Test(
        "Without a name for all, a check expects a server's own: as configured, not as DNS has it")
    func ownName() throws {
        let folder = try TemporaryDirectory("keeper")
        defer { folder.remove() }
        let mint = try CertificateMint()
        let server = try ScriptedUpstream(
            tls: ServerTLS(mint.leaf("localhost")), [.readRequest])
        defer { server.stop() }
        let keys = "health: { type: tls, ca: \(try folder.write("ca.pem", mint.rootPEM)) }"
        let site = try KeeperSite()

        try site.use("127.0.0.1:\(server.port)", keys: keys)
        #expect(site.turn { site.rows.first?.failure == "IP address mismatch" })
        try site.use("localhost:\(server.port)", keys: keys)

        #expect(site.turn { site.rows.first?.state == .up })
        // The server's side of the handshake may end a moment after ours.
        #expect(site.turn { server.connections.contains { $0.serverName == "localhost" } })
    }

    @Test("Checks begin with a PROXY header where traffic does, and not at a port of their own")
    func proxyHeader() throws {
        let server = try ScriptedUpstream([.readRequest, .respond(200, "yes")])
        defer { server.stop() }
        let site = try KeeperSite()
        let keys = "proxy_protocol: v2, health: { path: /healthz"

        try site.use("127.0.0.1:\(server.port)", keys: keys + " }")
        #expect(site.turn { server.connections.first?.received.first == 0x0D })
        try site.use("127.0.0.1:9", keys: keys + ", port: \(server.port) }")

        #expect(site.turn { site.rows.first?.state == .up })
    }

    @Test("An active member is one also while DNS does not confirm its address")
    func activeAndStale() throws {
        let server = try ScriptedUpstream([.readRequest, .respond(200, "active")])
        defer { server.stop() }
        let folder = try TemporaryDirectory("keeper")
        defer { folder.remove() }
        let site = try KeeperSite(hosts: folder.write("hosts", "127.0.0.1 app.example\n"))
        try site.use("app.example:\(server.port)", keys: "health: { preset: active-member }")
        let word = try #require(site.keeper.activeMembersAwaited.first)
        #expect(!site.keeper.hasActiveMember(word))
        #expect(site.turn { site.rows.map(\.state) == [.up] })
        #expect(site.keeper.hasActiveMember(word))

        _ = try folder.write("hosts", "127.0.0.1 other.example\n")
        #expect(site.turn { site.rows.map(\.state) == [.stale] })

        #expect(site.keeper.hasActiveMember(word))
    }

    @Test("Nothing is kept of addresses that are no members")
    func strangers() throws {
        let site = try KeeperSite()
        let stranger = SocketAddress(ipv4: 0x0A00_0002, port: 80)
        let member = SocketAddress(ipv4: 0x0A00_0001, port: 80)
        func summary(_ address: SocketAddress) -> MemberSummary {
            MemberSummary(address: address, requests: 2, failures: 0, latencySum: 2000)
        }
        try site.use("10.0.0.1:80", keys: "health: off")

        site.keeper.summarised("app", [summary(member), summary(stranger)])
        #expect(site.keeper.seen("app", member)?.latency == 1000)
        #expect(site.keeper.seen("app", stranger) == nil)

        try site.use("10.0.0.3:80", keys: "health: off")
        #expect(site.keeper.seen("app", member) == nil)
    }

    @Test("Addresses that DNS does not confirm for longer than `stale` leave")
    func expired() throws {
        let folder = try TemporaryDirectory("keeper")
        defer { folder.remove() }
        let site = try KeeperSite(
            hosts: folder.write("hosts", "127.0.0.1 app.example\n"), stale: .milliseconds(300))
        try site.use("app.example:9", keys: "health: off")
        #expect(site.turn { site.rows.map(\.state) == [.up] })

        _ = try folder.write("hosts", "127.0.0.1 other.example\n")
        #expect(site.turn { site.rows.map(\.state) == [.stale] })

        #expect(site.turn { site.rows.map(\.state) == [.unresolved] })

        _ = try folder.write("hosts", "127.0.0.1 app.example # again\n")
        #expect(site.turn { site.rows.map(\.state) == [.up] })
    }
}
