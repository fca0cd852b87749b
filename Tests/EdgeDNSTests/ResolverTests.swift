import EdgeCore
import EdgeDNS
import EdgeSystem
import Testing

/// A resolver against the stand-in server, turned by the test itself.
private final class Site {
    let loop: PollLoop
    let server: StandInServer
    /// Of addresses.
    private(set) var changes: [(name: String, addresses: [String])] = []
    /// Changes of proposals, of whatever kind.
    private(set) var proposals = 0
    private(set) var resolver: Resolver!

    static let timing: NameTiming = {
        var timing = NameTiming(floor: .milliseconds(50), ceiling: .milliseconds(200))
        timing.retryMin = .milliseconds(50)
        timing.retryMax = .milliseconds(200)
        timing.hurryInterval = .milliseconds(20)
        timing.tryTimeout = .milliseconds(100)
        timing.queryDeadline = .milliseconds(250)
        return timing
    }()

    init(timing: NameTiming = Site.timing, _ behaviour: @escaping StandInServer.Behaviour) throws {
        loop = try PollLoop()
        server = StandInServer(behaviour)
        resolver = Resolver(
            loop: loop, groups: [Self.group(server)], timing: timing, seed: 7
        ) { [unowned self] name in
            proposals += 1
            let addresses = texts(name)
            guard changes.last(where: { $0.name == name })?.addresses != addresses else { return }
            changes.append((name, addresses))
        }
    }

    deinit { server.stop() }

    static func group(_ server: StandInServer, domains: [String] = []) -> ResolverGroup {
        ResolverGroup(name: "stand-in", servers: [server.address], domains: domains)
    }

    /// Turns the loop until `condition` holds; false after 5 s.
    func turn(until condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(5))
        while !condition() {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(10))
        }
        return true
    }

    func texts(_ name: String) -> [String] { resolver.addresses(of: name).map(\.addressText) }

    func report(_ name: String) -> Resolver.NameReport? {
        resolver.report.first { $0.name == name }
    }
}

@Suite("The resolver against a server", .serialized) struct ResolverTests {
    @Test("both families are asked, sorted and reported once")
    func answers() throws {
        let site = try Site { _, _ in .records(["2001:db8::1", "192.0.2.9", "192.0.2.1"], ttl: 60) }

        site.resolver.track(names: ["a.example", "192.0.2.7"])

        #expect(site.turn { site.changes.count == 1 })
        #expect(site.texts("a.example") == ["192.0.2.1", "192.0.2.9", "2001:db8::1"])
        #expect(site.changes[0].addresses == site.texts("a.example"))
        #expect(site.texts("192.0.2.7") == ["192.0.2.7"])
        let report = try #require(site.report("a.example"))
        #expect(report.state == .fresh && report.lastError == nil && report.age != nil)
        #expect(report.resolver == "stand-in")
        #expect(site.report("192.0.2.7")?.resolver == "")
        #expect(site.server.queries("192.0.2.7") == 0)
    }

    @Test("it asks again when the TTL is over and takes the new address")
    func asksAgain() throws {
        let site = try Site { _, _ in .records(["192.0.2.1"], ttl: 0) }
        site.resolver.track(names: ["a.example"])
        #expect(site.turn { site.server.queries("a.example") >= 3 })
        #expect(site.changes.count == 1)

        site.server.behave { _, _ in .records(["192.0.2.2"], ttl: 0) }

        #expect(site.turn { site.texts("a.example") == ["192.0.2.2"] })
        #expect(site.changes.count == 2)
    }

    static let failures: [(String, StandInServer.Reply, Set<String>)] = [
        ("silence", .silent, ["timeout"]),
        ("SERVFAIL", .code(2), ["server_failure"]),
        ("NXDOMAIN", .code(3), ["name_not_found"]),
        ("REFUSED", .code(5), ["refused"]),
        ("NOTIMP", .code(4), ["not_implemented"]),
        ("an empty answer", .code(0), ["empty"]),
        ("an answer cut short", .cutShort, ["malformed"]),
        ("garbage", .garbage([UInt8](repeating: 0xA5, count: 100)), ["timeout", "malformed"]),
        ("a lone id", .garbage([]), ["timeout", "malformed"]),
        ("another id", .wrongID, ["timeout"]),
        ("0.0.0.0", .records(["0.0.0.0"], ttl: 1), ["unusable_addresses"]),
    ]

    @Test("addresses survive a server that answers badly", arguments: failures)
    func survives(_ what: String, _ reply: StandInServer.Reply, _ labels: Set<String>) throws {
        let site = try Site { _, _ in .records(["192.0.2.1", "2001:db8::1"], ttl: 0) }
        site.resolver.track(names: ["a.example"])
        #expect(site.turn { site.changes.count == 1 })

        site.server.behave { _, _ in reply }

        #expect(site.turn { site.report("a.example")?.state == .stale })
        let error = try #require(site.report("a.example")?.lastError)
        #expect(labels.contains(error), "\(what): \(error)")
        #expect(site.texts("a.example") == ["192.0.2.1", "2001:db8::1"])
        #expect(site.changes.count == 1)

        site.server.behave { _, _ in .records(["192.0.2.3"], ttl: 0) }
        #expect(site.turn { site.texts("a.example") == ["192.0.2.3"] }, "\(what)")
        #expect(site.report("a.example")?.state == .fresh)
    }

    @Test("a server that is gone (port closed) takes nothing away")
    func unreachable() throws {
        let site = try Site { _, _ in .records(["192.0.2.1"], ttl: 0) }
        site.resolver.track(names: ["a.example"])
        #expect(site.turn { site.changes.count == 1 })

        site.server.stop()

        #expect(site.turn { site.report("a.example")?.state == .stale })
        #expect(site.texts("a.example") == ["192.0.2.1"])
        #expect(site.report("a.example")?.lastError == "no_server_usable")
    }

    @Test("with a second server the first one's failure is not seen", arguments: [2, 5] as [UInt8])
    func secondServer(code: UInt8) throws {
        let site = try Site { _, _ in .code(code) }
        let other = StandInServer { _, _ in .records(["192.0.2.1"], ttl: 60) }
        defer { other.stop() }

        site.resolver.configure(groups: [
            ResolverGroup(
                name: "two", servers: [site.server.address, other.address], domains: [])
        ])
        site.resolver.track(names: ["a.example"])

        #expect(site.turn { site.texts("a.example") == ["192.0.2.1"] })
        #expect(site.report("a.example")?.lastError == nil)
    }

    @Test("one silent family does not hold back the other's answer")
    func oneFamilySilent() throws {
        let site = try Site { _, isIPv4 in isIPv4 ? .records(["192.0.2.1"], ttl: 1) : .silent }

        site.resolver.track(names: ["a.example"])

        #expect(site.turn { site.texts("a.example") == ["192.0.2.1"] })
        #expect(site.report("a.example")?.state == .fresh)
        #expect(site.report("a.example")?.lastError == "timeout")
    }

    @Test("a failed connect brings the new address long before the TTL is over")
    func resolveNow() throws {
        var timing = NameTiming()
        timing.hurryInterval = .milliseconds(50)
        let site = try Site(timing: timing) { _, _ in .records(["192.0.2.1"], ttl: 60) }
        site.resolver.track(names: ["a.example"])
        #expect(site.turn { site.changes.count == 1 })
        site.server.behave { _, _ in .records(["192.0.2.2"], ttl: 60) }

        let before = Instant.now()
        for _ in 0..<100 { site.resolver.resolveNow("a.example") }

        #expect(site.turn { site.texts("a.example") == ["192.0.2.2"] })
        #expect(Instant.now().nanoseconds(since: before) < 1_000_000_000)
        #expect(site.server.queries("a.example") == 2)
    }

    @Test("more names than may be asked at once are all answered")
    func many() throws {
        let site = try Site { name, _ in .records(["192.0.2.1"], ttl: 60) }
        let names = Set((0..<300).map { "n\($0).example" })

        site.resolver.track(names: names)

        #expect(site.turn { site.changes.count == 300 })
        #expect(names.allSatisfy { site.texts($0) == ["192.0.2.1"] })
    }

    @Test("names go to the group with their domain")
    func groups() throws {
        let site = try Site { _, _ in .records(["192.0.2.1"], ttl: 60) }
        let inner = StandInServer { _, _ in .records(["10.0.0.1"], ttl: 60) }
        defer { inner.stop() }

        site.resolver.configure(groups: [
            Site.group(site.server), Site.group(inner, domains: ["home.example"]),
        ])
        site.resolver.track(names: ["a.home.example", "a.example"])

        #expect(site.turn { site.changes.count == 2 })
        #expect(site.texts("a.home.example") == ["10.0.0.1"])
        #expect(site.texts("a.example") == ["192.0.2.1"])
        #expect(inner.queries("a.example") == 0)
    }

    @Test("new servers are asked at once while the old one is silent; nothing is lost")
    func configure() throws {
        let site = try Site { _, _ in .records(["192.0.2.1"], ttl: 0) }
        let other = StandInServer { _, _ in .records(["192.0.2.5"], ttl: 60) }
        defer { other.stop() }
        site.resolver.track(names: ["a.example"])
        #expect(site.turn { site.changes.count == 1 })
        site.server.behave { _, _ in .silent }
        let seen = site.server.queries("a.example")
        #expect(site.turn { site.server.queries("a.example") > seen })

        site.resolver.configure(groups: [Site.group(other)])

        #expect(site.texts("a.example") == ["192.0.2.1"])
        #expect(site.turn { site.texts("a.example") == ["192.0.2.5"] })
    }

    @Test("names that cannot be asked fail alone")
    func badNames() throws {
        let site = try Site { _, _ in .records(["192.0.2.1"], ttl: 60) }
        let long = [String](repeating: "abcdefghi", count: 40).joined(separator: ".")

        site.resolver.track(names: ["", "a\0b", long, "a..b", "a.example"])

        #expect(site.turn { site.changes.count == 1 })
        #expect(site.turn { site.report(long)?.lastError != nil })
        for name in ["", "a\0b", long] { #expect(site.report(name)?.lastError == "bad_name") }
    }

    @Test("it can go away with queries under way", arguments: 0..<20)
    func teardown(round: Int) throws {
        let site = try Site { _, _ in round % 2 == 0 ? .silent : .records(["192.0.2.1"], ttl: 0) }
        site.resolver.track(names: Set((0..<100).map { "n\($0).example" }))
        for _ in 0..<round { site.loop.runOnce(maxWait: .milliseconds(1)) }

        site.resolver.close()

        let changes = site.changes.count
        for _ in 0..<5 { site.loop.runOnce(maxWait: .milliseconds(1)) }
        #expect(site.changes.count == changes)
    }

    @Test("its handler may close it, or change names and servers")
    func reentrant() throws {
        for round in 0..<3 {
            let loop = try PollLoop()
            let server = StandInServer { _, _ in .records(["192.0.2.1"], ttl: 0) }
            defer { server.stop() }
            var calls = 0
            var resolver: Resolver?
            resolver = Resolver(
                loop: loop, groups: [Site.group(server)], timing: Site.timing, seed: 1
            ) { _ in
                calls += 1
                switch round {
                case 0: resolver?.close()
                case 1: resolver?.configure(groups: [Site.group(server, domains: ["example"])])
                default: resolver?.track(names: ["c.example"])
                }
            }
            resolver?.track(names: ["a.example", "b.example"])
            for _ in 0..<20 { loop.runOnce(maxWait: .milliseconds(5)) }
            #expect(calls == (round == 1 ? 2 : round == 0 ? 1 : calls))
            #expect(calls >= 1)
            resolver?.close()
            resolver = nil
        }
    }

    @Test("it can be dropped without closing it")
    func dropped() throws {
        let loop = try PollLoop()
        let server = StandInServer { _, _ in .silent }
        defer { server.stop() }
        weak var gone: Resolver?
        do {
            let resolver = Resolver(loop: loop, groups: [Site.group(server)], seed: 1) { _ in }
            resolver.track(names: ["a.example", "b.example"])
            gone = resolver
            loop.runOnce(maxWait: .milliseconds(5))
        }
        #expect(gone == nil)
        for _ in 0..<5 { loop.runOnce(maxWait: .milliseconds(1)) }
    }

    @Test("the system's resolver is used where no group is configured")
    func system() throws {
        let loop = try PollLoop()
        let resolver = Resolver(loop: loop, groups: [], seed: 1) { _ in }

        resolver.track(names: ["localhost", "a.invalid"])
        loop.runOnce(maxWait: .milliseconds(1))

        #expect(resolver.addresses(of: "localhost").map(\.addressText) == ["127.0.0.1"])
        #expect(resolver.report.first?.resolver == "system")
    }
}
