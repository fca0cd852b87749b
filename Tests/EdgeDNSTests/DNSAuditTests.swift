import EdgeControlAPI
import EdgeCore
import EdgeDNS
import EdgeNet
import EdgeSystem
import Testing

/// Real questions, on loopback.
@Suite("Asking DNS about views", .serialized) struct DNSAuditTests {
    private static func group(_ address: SocketAddress, _ domains: String...) -> ResolverGroup {
        ResolverGroup(name: "g\(address.port)", servers: [address], domains: domains)
    }

    private static func run(
        _ expectations: [DNSExpectation], groups: [ResolverGroup] = [],
        queryTime: Duration = .seconds(2), budget: Duration = .seconds(10)
    ) throws -> DNSAudit.Report {
        DNSAudit(loop: try PollLoop(), groups: groups, queryTime: queryTime, budget: budget)
            .run(expectations)
    }

    @Test("both views are asked about all their names, and what is right is not told")
    func bothViews() throws {
        let inside = try StandInDNS(records: [
            "a.home.example": [.address("192.168.1.13")],
            "b.home.example": [.address("203.0.113.10")],
        ])
        let outside = try StandInDNS(records: [
            "a.example.org": [.address("203.0.113.10")],
            "b.example.org": [.address("203.0.113.10"), .address("192.168.1.13")],
            "c.example.org": [.address("198.51.100.7")],
        ])
        defer { inside.stop() }
        defer { outside.stop() }

        let report = try Self.run(
            [
                DNSDriftTests.expectation(
                    "lan", ["192.168.1.13"],
                    names: ["a.home.example", "b.home.example", "c.home.example"]),
                DNSDriftTests.expectation(
                    "public", ["203.0.113.10"],
                    names: ["a.example.org", "b.example.org", "c.example.org"]),
            ],
            groups: [Self.group(outside.address), Self.group(inside.address, "home.example")])

        #expect(report.asked == 6)
        #expect(
            report.drifts.map { "\($0.view) \($0.name) \($0.kind.rawValue)" } == [
                "lan b.home.example public address on the LAN", "lan c.home.example missing",
                "public b.example.org private address in public DNS",
                "public c.example.org elsewhere",
            ])
        #expect(inside.log.allSatisfy { $0.name.hasSuffix(".home.example") })
    }

    @Test("a view's own resolver is asked about all its names, another view's about the same name")
    func ownResolver() throws {
        let inside = try StandInDNS(records: ["a.example.org": [.address("192.168.1.13")]])
        let outside = try StandInDNS(records: ["a.example.org": [.address("203.0.113.10")]])
        defer { inside.stop() }
        defer { outside.stop() }
        let insideGroup = Self.group(inside.address, "home.example")
        let outsideGroup = Self.group(outside.address, "elsewhere.example")

        func report(_ lan: ResolverGroup, _ open: ResolverGroup) throws -> DNSAudit.Report {
            try Self.run(
                [
                    DNSDriftTests.expectation(
                        "lan", ["192.168.1.13"], names: ["a.example.org"], resolver: lan),
                    DNSDriftTests.expectation(
                        "public", ["203.0.113.10"], names: ["a.example.org"], resolver: open),
                ], groups: [insideGroup, outsideGroup])
        }

        let right = try report(insideGroup, outsideGroup)
        #expect(right.drifts.isEmpty && right.asked == 2)
        let wrong = try report(outsideGroup, outsideGroup)
        #expect(wrong.drifts.map(\.kind) == [.publicAddress] && wrong.asked == 1)
    }

    @Test("a wildcard is asked about by one name below it")
    func wildcard() throws {
        let name = "\(DNSAudit.probe).apps.example"
        let server = try StandInDNS(records: [name: [.address("192.0.2.1")]])
        defer { server.stop() }
        let expectation = DNSDriftTests.expectation(
            "v", ["192.0.2.1"], names: ["*.apps.example", "*.other.example"])

        let report = try Self.run([expectation], groups: [Self.group(server.address)])

        #expect(report.drifts.map(\.name) == ["*.other.example"])
        #expect(server.log.contains { $0.name == name })
    }

    @Test(
        "a server that says nothing useful is a finding, and no long wait",
        arguments: [.silent, .serverFailure, .refused] as [StandInDNS.Mode])
    func ill(mode: StandInDNS.Mode) throws {
        let server = try StandInDNS()
        defer { server.stop() }
        server.mode = mode
        let begun = Instant.now()

        let report = try Self.run(
            [DNSDriftTests.expectation("v", ["192.0.2.1"])], groups: [Self.group(server.address)],
            queryTime: .milliseconds(300))

        #expect(report.drifts.map(\.kind) == [.unanswered])
        #expect(Instant.now().nanoseconds(since: begun) < 2_000_000_000)
    }

    @Test("names beyond what a server is asked at once have their turn, each once")
    func many() throws {
        let names = (0..<300).map { "n\($0).example" }
        let server = try StandInDNS(
            records: Dictionary(uniqueKeysWithValues: names.map { ($0, [.address("192.0.2.1")]) }))
        defer { server.stop() }

        let report = try Self.run(
            [DNSDriftTests.expectation("v", ["192.0.2.1"], names: names)],
            groups: [Self.group(server.address)])

        #expect(report.drifts.isEmpty && report.asked == 300)
        #expect(server.log.count { $0.type == 1 } == 300)
    }

    @Test("when time is up it ends, and tells what it could not ask")
    func budget() throws {
        let server = try StandInDNS()
        defer { server.stop() }
        server.mode = .silent
        let names = (0..<200).map { "n\($0).example" }
        let begun = Instant.now()

        let report = try Self.run(
            [DNSDriftTests.expectation("v", ["192.0.2.1"], names: names)],
            groups: [Self.group(server.address)], queryTime: .milliseconds(400),
            budget: .milliseconds(600))

        #expect(Instant.now().nanoseconds(since: begun) < 2_000_000_000)
        #expect(report.drifts.count == 200)
        #expect(report.drifts.count { $0.kind == .unanswered } == Resolver.outstandingMax)
        #expect(report.drifts.count { $0.kind == .notAsked } == 200 - Resolver.outstandingMax)
        #expect(report.drifts.map(\.name) == names)
    }

    @Test("what was exported for dnsmasq or unbound is found as it should be, changes are not")
    func exported() throws {
        let outside = try StandInDNS()
        defer { outside.stop() }
        let records = DNSRecordsReply(
            view: "lan", names: ["*.apps.home.example", "www.home.example"],
            addresses: ["192.168.1.13", "fd00::13"])
        for program in [NameServerProgram.Program.dnsmasq, .unbound] {
            let format = try #require(DNSFormat(rawValue: program.rawValue))
            let server = try NameServerProgram(
                program, records: DNSExport(records, format: format).text,
                upstream: outside.address, probe: "www.home.example")
            defer { server.stop() }
            func kinds(_ addresses: [String], _ names: [String]) throws -> [DNSDrift.Kind] {
                try Self.run(
                    [DNSDriftTests.expectation("lan", addresses, names: names)],
                    groups: [Self.group(server.address)]
                ).drifts.map(\.kind)
            }

            #expect(try kinds(records.addresses, records.names) == [], "\(program)")
            #expect(
                try kinds(["192.168.1.14", "fd00::13"], ["www.home.example"])
                    == [.elsewhere, .missing], "\(program)")
            #expect(try kinds(records.addresses, ["new.home.example"]) == [.missing], "\(program)")
        }
    }
}
