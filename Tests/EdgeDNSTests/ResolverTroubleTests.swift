import EdgeCore
import EdgeDNS
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

/// A resolver against servers that can be ill, turned by the test itself.
private final class Household {
    let loop: PollLoop
    let servers: [StandInDNS]
    private(set) var changed: [String] = []
    private(set) var resolver: Resolver!

    static let timing: NameTiming = {
        var timing = NameTiming(floor: .milliseconds(30), ceiling: .milliseconds(60))
        timing.retryMin = .milliseconds(30)
        timing.retryMax = .milliseconds(60)
        timing.hurryInterval = .milliseconds(20)
        timing.tryTimeout = .milliseconds(1000)
        timing.queryDeadline = .milliseconds(2000)
        return timing
    }()

    init(
        servers count: Int = 1, settings: ResolverSettings = ResolverSettings(),
        records: [String: [DNSRecord]] = [:]
    ) throws {
        loop = try PollLoop()
        servers = try (0..<count).map { _ in try StandInDNS(records: records) }
        let group = ResolverGroup(name: "home", servers: servers.map(\.address), domains: [])
        resolver = Resolver(
            loop: loop, groups: [group], settings: settings, timing: Self.timing, seed: 3
        ) { [unowned self] in changed.append($0) }
    }

    func stop() {
        resolver.close()
        for server in servers { server.stop() }
    }

    /// Turns the loop until `condition` holds; false after 10 s.
    func turn(until condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(10))
        while !condition() {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(10))
        }
        return true
    }

    func texts(_ name: String) -> [String] { resolver.addresses(of: name).map(\.addressText) }

    func isConfirmed(_ name: String) -> Bool { resolver.proposal(for: name).isConfirmed }

    /// Turns until each name has been asked so often more.
    func asked(_ count: Int, _ name: String, of server: Int = 0) -> Bool {
        let before = servers[server].log.count { $0.name == name }
        return turn { servers[server].log.count { $0.name == name } >= before + 2 * count }
    }

    var reasons: [[ServerWatch.Reason]] {
        resolver.serverReports.map { $0.degraded.map(\.reason) }
    }
}

@Suite("The resolver in trouble", .serialized) struct ResolverTroubleTests {
    private static let three: [String: [DNSRecord]] = [
        "a.home": [.address("192.0.2.1")], "b.home": [.address("192.0.2.2")],
        "c.home": [.address("192.0.2.3")],
    ]
    private static let names: Set<String> = ["a.home", "b.home", "c.home"]

    private func start(_ home: Household) -> Bool {
        home.resolver.track(names: Self.names)
        return home.turn { Self.names.allSatisfy(home.isConfirmed) }
    }

    // MARK: - Several servers

    @Test("a silent server costs nothing while another answers")
    func silent() throws {
        let home = try Household(servers: 2, records: Self.three)
        defer { home.stop() }
        home.servers[0].mode = .silent
        let before = Instant.now()

        #expect(start(home))

        #expect(Instant.now().nanoseconds(since: before) < 900_000_000)
        #expect(home.texts("a.home") == ["192.0.2.1"])
        #expect(home.asked(3, "a.home", of: 1))
        #expect(home.isConfirmed("a.home"))
        // And gets no second query while the first is out (c-ares sends each twice).
        #expect(home.servers[0].log.count { $0.name == "a.home" } <= 4)
    }

    static let useless: [StandInDNS.Mode] = [
        .nameErrorForAll, .empty, .serverFailure, .refused, .oneAddress("0.0.0.0"),
    ]

    @Test("an answer that says nothing waits for the other server", arguments: useless)
    func waits(mode: StandInDNS.Mode) throws {
        let home = try Household(servers: 2, records: Self.three)
        defer { home.stop() }
        home.servers[0].mode = mode
        home.servers[1].mode = .slow(.milliseconds(50))

        #expect(start(home))

        #expect(home.texts("b.home") == ["192.0.2.2"])
        let error = home.resolver.report.first { $0.name == "b.home" }?.lastError
        #expect(error == nil)
    }

    @Test("a failed connect asks all servers, and the one that knows better is heard")
    func hurry() throws {
        let home = try Household(servers: 2, records: Self.three)
        defer { home.stop() }
        #expect(start(home))
        home.servers[1].mode = .slow(.milliseconds(100))
        home.servers[1].set("a.home", addresses: ["192.0.2.7", "192.0.2.8"])

        let isHeard = home.turn {
            home.resolver.resolveNow("a.home")
            return home.texts("a.home") == ["192.0.2.7", "192.0.2.8"]
        }

        #expect(isHeard)
    }

    @Test("servers are told apart in the report")
    func reports() throws {
        let home = try Household(servers: 2, records: Self.three)
        defer { home.stop() }
        home.servers[1].mode = .refused
        #expect(start(home))

        let isSeen = home.turn {
            home.resolver.serverReports.last.map { $0.failed >= 3 } ?? false
        }

        #expect(isSeen)
        let reports = home.resolver.serverReports
        #expect(reports.map(\.address) == home.servers.map(\.address))
        #expect(reports.map(\.lastError) == [nil, "refused"])
        #expect(reports[0].answered >= 3 && reports[0].failed == 0 && reports[0].group == "home")
    }

    // MARK: - Wrong answers

    @Test("a router that lost its names takes none away, and is reported until it has them again")
    func lostNames() throws {
        let home = try Household(records: Self.three)
        defer { home.stop() }
        #expect(start(home))

        home.servers[0].mode = .nameErrorForAll
        #expect(
            home.turn { home.resolver.serverReports.first?.degraded.first?.names.count == 3 })
        #expect(home.reasons == [[.lostNames]])
        #expect(home.texts("a.home") == ["192.0.2.1"])
        #expect(home.resolver.report.first?.state == .stale)

        home.servers[0].mode = .normal
        #expect(home.turn { home.reasons == [[]] && home.isConfirmed("a.home") })
    }

    @Test("one foreign address for every name replaces none, from the first answer on")
    func oneAddress() throws {
        let home = try Household(records: Self.three)
        defer { home.stop() }
        #expect(start(home))
        let proposals = Self.names.sorted().map { home.resolver.proposal(for: $0).endpoints }

        home.servers[0].mode = .oneAddress("192.0.2.66")
        let isSeen = home.turn {
            // Never believed, at any moment.
            let all = Self.names.sorted().map { home.resolver.proposal(for: $0) }
            for (proposal, known) in zip(all, proposals) {
                let believed = proposal.isSuspicious ? proposal.trusted : proposal.endpoints
                guard believed != known else { continue }
                Issue.record("a wrong answer was believed")
                return true
            }
            return all.allSatisfy(\.isSuspicious)
        }

        #expect(isSeen)
        #expect(home.asked(3, "c.home"))
        #expect(home.reasons == [[.oneAddress]])
        let degraded = try #require(home.resolver.serverReports.first?.degraded.first)
        #expect(degraded.names == ["a.home", "b.home", "c.home"])
        #expect(home.texts("a.home") == ["192.0.2.66"])
        #expect(home.resolver.report.first?.addresses.map(\.addressText) == ["192.0.2.1"])
        #expect(home.resolver.report.first?.state == .suspicious)

        home.servers[0].mode = .normal
        #expect(home.turn { home.reasons == [[]] && Self.names.allSatisfy(home.isConfirmed) })
        #expect(home.texts("a.home") == ["192.0.2.1"])
    }

    @Test("a renumbering of several names is none of that")
    func renumbering() throws {
        let home = try Household(records: Self.three)
        defer { home.stop() }
        #expect(start(home))

        for (name, address) in ["a.home": "192.0.2.11", "b.home": "192.0.2.12"] {
            home.servers[0].set(name, addresses: [address])
        }

        #expect(
            home.turn {
                home.texts("a.home") == ["192.0.2.11"] && home.texts("b.home") == ["192.0.2.12"]
            })
        #expect(Self.names.allSatisfy(home.isConfirmed) && home.reasons == [[]])
    }

    @Test("with a second server a wrong answer is not even proposed")
    func otherServerWins() throws {
        let home = try Household(servers: 2, records: Self.three)
        defer { home.stop() }
        #expect(start(home))

        home.servers[0].mode = .oneAddress("192.0.2.66")
        home.servers[1].mode = .slow(.milliseconds(20))

        #expect(home.turn { home.reasons == [[.oneAddress], []] })
        #expect(home.asked(3, "a.home"))
        for name in Self.names { #expect(!home.resolver.proposal(for: name).isSuspicious) }
        #expect(home.texts("a.home") == ["192.0.2.1"])
    }

    @Test("our own address is reported and never proposed")
    func ownAddress() throws {
        let own = SocketAddress(ipv4: 0xC000_020D, port: 0)
        let home = try Household(
            settings: ResolverSettings(ownAddresses: [own]), records: Self.three)
        defer { home.stop() }
        #expect(start(home))

        home.servers[0].set("a.home", addresses: ["192.0.2.13"])
        home.servers[0].set("b.home", addresses: ["192.0.2.13", "192.0.2.22"])

        #expect(home.turn { home.resolver.proposal(for: "b.home").isSuspicious })
        #expect(home.turn { home.resolver.report.first?.lastError == "own_address" })
        #expect(home.texts("a.home") == ["192.0.2.1"] && home.texts("b.home") == ["192.0.2.22"])
        #expect(home.reasons == [[.ownAddress]])

        // As soon as it is none of ours any more it is an address as any other.
        home.resolver.configure(
            groups: [
                ResolverGroup(name: "home", servers: [home.servers[0].address], domains: [])
            ], settings: ResolverSettings())
        #expect(home.turn { home.texts("b.home") == ["192.0.2.13", "192.0.2.22"] })
    }

    // MARK: - Services

    @Test("a service is found over UDP and TCP, and follows its records", arguments: [false, true])
    func service(overTCP: Bool) throws {
        var records = Self.three
        records["_s._tcp.home"] = [
            .service(priority: 5, weight: 10, port: 8001, target: "A.home"),
            .service(priority: 9, weight: 1, port: 8002, target: "b.home"),
        ]
        let home = try Household(records: records)
        defer { home.stop() }
        home.servers[0].forcesTCP = overTCP
        func texts() -> [String] {
            home.resolver.addresses(of: "_s._tcp.home").map(\.description)
        }

        home.resolver.track(names: [], services: ["_s._tcp.home"])

        #expect(home.turn { texts() == ["192.0.2.1:8001", "192.0.2.2:8002"] })
        #expect(home.turn { home.isConfirmed("_s._tcp.home") })
        #expect(
            home.resolver.proposal(for: "_s._tcp.home").endpoints.map(\.isBackup) == [false, true])
        #expect(home.changed.allSatisfy { $0 == "_s._tcp.home" } && !home.changed.isEmpty)
        #expect(home.servers[0].log.contains { $0.overTCP } == overTCP)

        home.servers[0].set("_s._tcp.home", [.service(port: 9, target: "c.home")])
        #expect(home.turn { texts() == ["192.0.2.3:9"] })

        // "." says that there is no such service, which takes nothing away.
        home.servers[0].set("_s._tcp.home", [.service(port: 0, target: ".")])
        #expect(home.turn { !home.isConfirmed("_s._tcp.home") })
        #expect(texts() == ["192.0.2.3:9"])
        let report = home.resolver.report.first { $0.name == "_s._tcp.home" }
        #expect(report?.state == .stale && report?.lastError == "empty")
        #expect(home.reasons == [[.lostNames]])
    }

    // MARK: - Files

    @Test("names in the hosts file are taken from there, also after it has changed")
    func hosts() throws {
        let folder = try TemporaryDirectory("hosts")
        try folder.write("hosts", "192.0.2.50 a.home\n")
        let settings = ResolverSettings(usesHosts: true, hostsPath: folder.file("hosts"))
        let home = try Household(settings: settings, records: Self.three)
        defer { home.stop() }

        #expect(start(home))
        #expect(home.texts("a.home") == ["192.0.2.50"] && home.texts("b.home") == ["192.0.2.2"])
        #expect(home.servers[0].log.allSatisfy { $0.name != "a.home" })
        #expect(home.resolver.report.first?.resolver == "hosts")

        try folder.write("hosts", "192.0.2.51 a.home b.home\n")
        #expect(home.turn { home.texts("b.home") == ["192.0.2.51"] })
        #expect(home.turn { home.texts("a.home") == ["192.0.2.51"] })
        try folder.write("hosts", "")
        #expect(home.turn { home.texts("a.home") == ["192.0.2.1"] })
    }

    @Test("addresses outlive a restart with every server dead")
    func remembered() throws {
        let folder = try TemporaryDirectory("state")
        let settings = ResolverSettings(stateDirectory: folder.path)
        var records = Self.three
        records["_s._tcp.home"] = [.service(port: 443, target: "c.home")]
        let first = try Household(settings: settings, records: records)
        first.resolver.track(names: ["a.home", "b.home"], services: ["_s._tcp.home"])
        let isWritten = first.turn {
            let file = StateFile(
                directory: folder.path, name: "names", kind: "names", version: 1)
            let content = try? file.read()?.content
            let found = content.flatMap { try? NameRecords(decoding: $0) }
            return found?.names.count == 3 && found?.services.count == 1
        }
        #expect(isWritten)
        #expect(first.asked(3, "a.home"))
        let writes = first.resolver.storeReport?.writes
        #expect(first.asked(5, "a.home"))
        #expect(writes.map { (1...2).contains($0) } == true)
        #expect(first.resolver.storeReport?.writes == writes, "nothing new is not written")
        first.stop()

        let second = try Household(settings: settings)
        defer { second.stop() }
        second.servers[0].mode = .silent
        second.resolver.track(names: ["a.home", "b.home"], services: ["_s._tcp.home"])

        #expect(second.texts("a.home") == ["192.0.2.1"] && second.texts("b.home") == ["192.0.2.2"])
        #expect(
            second.resolver.addresses(of: "_s._tcp.home").map(\.description) == ["192.0.2.3:443"])
        #expect(!second.isConfirmed("a.home"))

        // A server that lost its names is one that had them before the restart.
        second.servers[0].mode = .nameErrorForAll
        #expect(second.turn { second.reasons == [[.lostNames]] })
        #expect(second.texts("a.home") == ["192.0.2.1"])
    }

    @Test("what is learnt while the file is being written is written soon afterwards")
    func learntMeanwhile() throws {
        let folder = try TemporaryDirectory("state")
        let server = try StandInDNS(records: Self.three)
        defer { server.stop() }
        server.ttl = 3600
        let loop = try PollLoop()
        let resolver = Resolver(
            loop: loop,
            groups: [ResolverGroup(name: "home", servers: [server.address], domains: [])],
            settings: ResolverSettings(refresh: .seconds(3600), stateDirectory: folder.path),
            seed: 1
        ) { _ in }
        defer { resolver.close() }
        let end = Instant.now().advanced(by: .seconds(5))
        func turn(until condition: () -> Bool) -> Bool {
            while !condition() {
                guard Instant.now() < end else { return false }
                loop.runOnce(maxWait: .milliseconds(10))
            }
            return true
        }

        resolver.track(names: ["a.home"])
        #expect(turn { !resolver.addresses(of: "a.home").isEmpty })
        // That is being written now. Both ends are seen in one turn, the answer first.
        let answered = server.log.count
        resolver.track(names: ["a.home", "b.home"])
        while server.log.count < answered + 2, Instant.now() < end {}
        let file = StateFile(directory: folder.path, name: "names", kind: "names", version: 1)
        func remembered() -> Int? {
            let content = try? file.read()?.content
            return content.flatMap { try? NameRecords(decoding: $0) }?.names.count
        }
        while remembered() == nil, Instant.now() < end {}

        #expect(turn { remembered() == 2 })
    }

    @Test("a damaged file is kept aside, and nothing else comes of it")
    func damaged() throws {
        let folder = try TemporaryDirectory("state")
        try folder.write("names", "EDGESTATnames but not whole")
        let settings = ResolverSettings(stateDirectory: folder.path)
        let home = try Household(settings: settings, records: Self.three)
        defer { home.stop() }

        #expect(home.resolver.storeReport?.isRefused == true)
        #expect(FileManager.default.fileExists(atPath: folder.file("names.bad")))
        #expect(start(home))
        #expect(home.turn { (home.resolver.storeReport?.writes ?? 0) > 0 })
        #expect(home.resolver.storeReport?.lastError == nil)
    }

    @Test("a file that cannot be read now is left for the next start")
    func unreadable() throws {
        let folder = try TemporaryDirectory("state")
        try FileManager.default.createSymbolicLink(
            atPath: folder.file("names"), withDestinationPath: "elsewhere")
        let settings = ResolverSettings(stateDirectory: folder.path)
        let home = try Household(settings: settings)
        defer { home.stop() }

        #expect(home.resolver.storeReport?.isRefused == true)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names == ["names"])
    }

    @Test("an alias is followed to its end, in whatever order the answer has it")
    func aliases() throws {
        let home = try Household(records: [
            "a.home": [.canonicalName("b.home")], "b.home": [.canonicalName("c.home")],
            "c.home": [.address("192.0.2.3"), .address("2001:db8::3")],
        ])
        defer { home.stop() }
        home.resolver.track(names: ["a.home"])

        #expect(home.turn { home.texts("a.home") == ["192.0.2.3", "2001:db8::3"] })

        // It ends nowhere: that takes nothing away.
        home.servers[0].set("c.home", nil)
        #expect(home.turn { !home.isConfirmed("a.home") })
        #expect(home.texts("a.home") == ["192.0.2.3", "2001:db8::3"])
    }

    @Test("the records with the lowest priority are kept of many, wherever they stand")
    func manyServices() throws {
        let home = try Household(records: Self.three)
        defer { home.stop() }
        let backups: [DNSRecord] = (1...80).map {
            .service(priority: 50, weight: 1, port: UInt16($0), target: "b.home")
        }
        home.servers[0].forcesTCP = true
        home.servers[0].set(
            "_s._tcp.home",
            backups + [.service(priority: 1, weight: 1, port: 8001, target: "a.home")])

        home.resolver.track(names: [], services: ["_s._tcp.home"])

        #expect(home.turn { home.resolver.addresses(of: "_s._tcp.home").count == 64 })
        let first = home.resolver.proposal(for: "_s._tcp.home").endpoints.first
        #expect(first?.address.description == "192.0.2.1:8001" && first?.isBackup == false)
    }

    @Test("a folder that is not there is no reason to stop")
    func noFolder() throws {
        let settings = ResolverSettings(stateDirectory: "/nonexistent/edged")
        let home = try Household(settings: settings, records: Self.three)
        defer { home.stop() }

        #expect(start(home))
        #expect(home.turn { home.resolver.storeReport?.writeFailures == 1 })
        #expect(home.asked(3, "a.home"))
        #expect(home.resolver.storeReport?.writeFailures == 1)
    }
}
