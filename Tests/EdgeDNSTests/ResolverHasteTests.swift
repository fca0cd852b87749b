import EdgeCore
import EdgeDNS
import EdgeNet
import EdgeSystem
import Synchronization
import Testing

/// A resolver whose servers answer each name as the test says, turned by the test itself.
private final class Post {
    let loop: PollLoop
    let servers: [StandInServer]
    private(set) var changes = 0
    private(set) var resolver: Resolver!

    /// As in use, but that a hurried name need not wait for half a second.
    static let timing: NameTiming = {
        var timing = NameTiming(refresh: .seconds(5), stale: nil)
        timing.hurryInterval = .milliseconds(50)
        timing.patience = .milliseconds(100)
        return timing
    }()

    /// - Parameter groups: for the servers' addresses; nil: one group of all.
    init(
        timing: NameTiming = Post.timing, servers: [StandInServer],
        groups: [ResolverGroup]? = nil, systemServers: (() -> [SocketAddress?])? = nil
    ) throws {
        loop = try PollLoop()
        self.servers = servers
        let all = ResolverGroup(name: "all", servers: servers.map(\.address), domains: [])
        resolver = Resolver(
            loop: loop, groups: groups ?? [all], timing: timing, seed: 7,
            systemServers: systemServers
        ) { [unowned self] _ in changes += 1 }
    }

    deinit {
        resolver.close()
        for server in servers { server.stop() }
    }

    /// Turns the loop until `condition` holds; false after so many seconds.
    func turn(atMost seconds: Int64 = 10, until condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(seconds))
        while !condition() {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(10))
        }
        return true
    }

    /// Turns until `condition` holds, and says after how many milliseconds; nil: never.
    func milliseconds(until condition: () -> Bool) -> UInt64? {
        let begin = Instant.now()
        guard turn(until: condition) else { return nil }
        return Instant.now().nanoseconds(since: begin) / 1_000_000
    }

    func texts(_ name: String) -> [String] { resolver.addresses(of: name).map(\.addressText) }

    func error(_ name: String) -> String? {
        resolver.report.first { $0.name == name }?.lastError
    }
}

@Suite("News of DNS when something hangs", .serialized) struct ResolverHasteTests {
    @Test("a server that drops AAAA queries holds back no new address")
    func dropsIPv6() throws {
        let post = try Post(servers: [
            StandInServer { _, isIPv4 in isIPv4 ? .records(["192.0.2.1"], ttl: 60) : .silent }
        ])
        post.resolver.track(names: ["a.home"])
        #expect(post.turn { post.texts("a.home") == ["192.0.2.1"] })
        post.servers[0].behave { _, isIPv4 in
            isIPv4 ? .records(["192.0.2.2"], ttl: 60) : .silent
        }

        post.resolver.resolveNow("a.home")

        let time = try #require(post.milliseconds { post.texts("a.home") == ["192.0.2.2"] })
        #expect(time < 1000)
    }

    @Test("another name that nobody answers holds back no new address")
    func muteWitness() throws {
        let post = try Post(servers: [
            StandInServer { name, _ in
                .records([name == "a.home" ? "192.0.2.1" : "192.0.2.2"], ttl: 60)
            }
        ])
        post.resolver.track(names: ["a.home", "far.example"])
        #expect(post.turn { post.changes == 2 })
        post.servers[0].behave { name, _ in
            name == "a.home" ? .records(["192.0.2.1"], ttl: 60) : .silent
        }
        #expect(post.turn { post.error("far.example") == "timeout" })
        // It is asked again in vain, while the other is answered.
        for name in ["a.home", "far.example"] {
            let seen = post.servers[0].queries(name)
            #expect(post.turn { post.servers[0].queries(name) > seen })
        }
        post.servers[0].behave { name, _ in
            name == "a.home" ? .records(["192.0.2.7"], ttl: 60) : .silent
        }

        post.resolver.resolveNow("a.home")

        let time = try #require(post.milliseconds { post.texts("a.home") == ["192.0.2.7"] })
        #expect(time < 1000)
        #expect(post.resolver.serverReports.first?.degraded.isEmpty == true)
    }

    @Test("a server that comes back with one address for every name is not believed either")
    func backAsStranger() throws {
        let post = try Post(servers: [
            StandInServer { name, _ in
                .records([name == "a.home" ? "192.0.2.1" : "192.0.2.2"], ttl: 60)
            }
        ])
        post.resolver.track(names: ["a.home", "b.home"])
        #expect(post.turn { post.changes == 2 })
        post.servers[0].behave { _, _ in .silent }
        #expect(post.turn { ["a.home", "b.home"].allSatisfy { post.error($0) == "timeout" } })
        // The query for one has been lost, the other is asked for later.
        let seen = post.servers[0].queries("b.home")
        post.resolver.resolveNow("b.home")
        #expect(post.turn { post.servers[0].queries("b.home") >= seen + 2 })
        post.servers[0].behave { _, isIPv4 in isIPv4 ? .records(["192.0.2.66"], ttl: 60) : .code(0)
        }
        post.resolver.resolveNow("a.home")

        let isSeen = post.turn { post.resolver.proposal(for: "a.home").isSuspicious }

        #expect(isSeen)
        let report = post.resolver.report.first { $0.name == "a.home" }
        #expect(report?.addresses.map(\.addressText) == ["192.0.2.1"])
    }

    @Test("a host with several names is renumbered as one with one is")
    func aliases() throws {
        let post = try Post(servers: [
            StandInServer { _, isIPv4 in isIPv4 ? .records(["192.0.2.1"], ttl: 60) : .code(0) }
        ])
        post.resolver.track(names: ["a.home", "b.home"])
        #expect(post.turn { post.changes == 2 })
        post.servers[0].behave { _, isIPv4 in
            isIPv4 ? .records(["192.0.2.2"], ttl: 60) : .code(0)
        }

        for name in ["a.home", "b.home"] { post.resolver.resolveNow(name) }

        #expect(
            post.turn {
                ["a.home", "b.home"].allSatisfy { post.resolver.proposal(for: $0).isConfirmed }
                    && post.texts("a.home") == ["192.0.2.2"]
                    && post.texts("b.home") == ["192.0.2.2"]
            })
        #expect(post.resolver.serverReports.first?.degraded.isEmpty == true)
    }

    @Test("names of a silent server keep no other group's names waiting")
    func groups() throws {
        let silent = StandInServer { _, _ in .silent }
        let good = StandInServer { _, _ in .records(["192.0.2.1"], ttl: 60) }
        let post = try Post(
            servers: [silent, good],
            groups: [
                ResolverGroup(name: "far", servers: [silent.address], domains: ["far"]),
                ResolverGroup(name: "home", servers: [good.address], domains: ["home"]),
            ])
        let far = Set((0..<200).map { "n\($0).far" })
        post.resolver.track(names: far)
        _ = post.turn { post.servers[0].queries("n0.far") > 0 }

        post.resolver.track(names: far.union(["a.home"]))

        let time = try #require(post.milliseconds { post.texts("a.home") == ["192.0.2.1"] })
        #expect(time < 1000)
    }

    @Test("a new list of the system's servers is found while the old ones are silent")
    func systemList() throws {
        let silent = StandInServer { _, _ in .silent }
        let good = StandInServer { _, _ in .records(["192.0.2.1"], ttl: 60) }
        let list = Mutex<[SocketAddress?]>([silent.address])
        var timing = Post.timing
        timing.systemAge = .milliseconds(100)
        let post = try Post(
            timing: timing, servers: [silent, good], groups: [],
            systemServers: { list.withLock { $0 } })
        // Connections fail, so that something is out at any time.
        let names = (0..<20).map { "n\($0).home" }
        for count in 1...names.count {
            post.resolver.track(names: Set(names.prefix(count)))
            let seen = post.servers[0].queries(names[count - 1])
            #expect(post.turn { post.servers[0].queries(names[count - 1]) > seen })
            for _ in 0..<5 { post.loop.runOnce(maxWait: .milliseconds(20)) }
        }

        list.withLock { $0 = [good.address] }

        let isFound = post.turn {
            for name in names { post.resolver.resolveNow(name) }
            return names.allSatisfy { post.texts($0) == ["192.0.2.1"] }
        }
        #expect(isFound)
    }
}

@Suite("Answers that are odd", .serialized) struct OddAnswerTests {
    private func known(_ answer: @escaping StandInServer.Behaviour) throws -> Post {
        var timing = NameTiming(floor: .milliseconds(20), ceiling: .milliseconds(40))
        timing.retryMin = .milliseconds(20)
        timing.retryMax = .milliseconds(40)
        timing.tryTimeout = .milliseconds(500)
        timing.queryDeadline = .milliseconds(1500)
        let post = try Post(timing: timing, servers: [StandInServer(answer)])
        post.resolver.track(names: ["a.home"])
        return post
    }

    @Test(
        "a response code of whatever meaning is no empty answer",
        arguments: [1, 6, 7, 9, 11, 15] as [UInt8])
    func responseCode(code: UInt8) throws {
        let both = ["192.0.2.1", "2001:db8::1"]
        let post = try known { _, _ in .records(both, ttl: 0) }
        #expect(post.turn { post.texts("a.home") == both })

        post.servers[0].behave { _, isIPv4 in
            isIPv4 ? .records(["192.0.2.1"], ttl: 0) : .code(code)
        }
        let seen = post.servers[0].queries("a.home")
        #expect(post.turn { post.servers[0].queries("a.home") >= seen + 3 })

        #expect(post.texts("a.home") == both)
        #expect(post.error("a.home") != nil)
    }

    @Test("of more addresses than are kept, the same ones are kept each time")
    func many() throws {
        let many = (1...100).map { "192.0.2.\($0)" }
        let server = try StandInDNS(records: ["a.home": many.map { .address($0) }])
        defer { server.stop() }
        server.ttl = 0
        let post = try known { _, _ in .silent }
        post.resolver.configure(groups: [
            ResolverGroup(name: "tcp", servers: [server.address], domains: [])
        ])

        #expect(post.turn { post.changes == 1 })
        for _ in 0..<5 {
            server.set("a.home", addresses: many.shuffled())
            let seen = server.log.count
            #expect(post.turn { server.log.count >= seen + 8 })
        }

        #expect(post.texts("a.home") == Array(many.prefix(NameMachine.addressesMax)))
        #expect(post.changes == 1)
        #expect(server.log.contains { $0.overTCP })
    }
}
