import EdgeControlAPI
import EdgeCore
import EdgeNet
import Testing

/// The real name servers read what is made for them, and answer as it says.
@Suite("Records in real name servers", .serialized) struct DNSServerTests {
    private static let records = DNSRecordsReply(
        view: "lan",
        names: ["*.apps.home.example", "deep.apps.home.example", "www.home.example"],
        addresses: ["192.168.1.13", "192.168.1.14"])

    /// What the Internet says about all that is asked for here: nothing of it may get through.
    private static func outside() throws -> StandInDNS {
        let others = ["203.0.113.6", "2001:db8::6"].map { DNSRecord.address($0) }
        return try StandInDNS(records: [
            "www.home.example": others, "sub.www.home.example": others,
            "a.apps.home.example": others, "apps.home.example": others,
            "deep.apps.home.example": others, "x.deep.apps.home.example": others,
            "other.example": others,
        ])
    }

    private static func run(
        _ program: NameServerProgram.Program, zones: [String] = [],
        _ body: (NameServerProgram, StandInDNS) throws -> Void
    ) throws {
        let outside = try outside()
        defer { outside.stop() }
        let format = try #require(DNSFormat(rawValue: program.rawValue))
        let server = try NameServerProgram(
            program, records: DNSExport(records, format: format, ttl: 77).text, zones: zones,
            upstream: outside.address, probe: "www.home.example")
        defer { server.stop() }
        try body(server, outside)
    }

    private static func addresses(
        _ server: NameServerProgram, _ name: String, type: UInt16 = 1
    ) throws -> [String] {
        try #require(try server.ask(name, type: type), "\(name)").addresses.sorted()
    }

    private static let ours = ["192.168.1.13", "192.168.1.14"]
    private static let theirs = ["203.0.113.6"]

    @Test("dnsmasq answers names and names below a wildcard, in no family but ours")
    func dnsmasq() throws {
        try Self.run(.dnsmasq) { server, outside in
            for name in ["www.home.example", "deep.apps.home.example", "a.apps.home.example"] {
                #expect(try Self.addresses(server, name) == Self.ours, "\(name)")
                #expect(try Self.addresses(server, name, type: 28) == [], "\(name)")
                #expect(try server.ask(name, type: 65)?.records == [], "\(name)")
            }
            let answer = try server.ask("www.home.example")
            #expect(answer?.records.map(\.ttl) == [77, 77])
            #expect(!outside.log.contains { $0.name == "www.home.example" })

            // Of others it asks the Internet, of what is below a name and above a wildcard, too.
            for name in [
                "other.example", "sub.www.home.example", "apps.home.example",
                "x.deep.apps.home.example",
            ] {
                #expect(try Self.addresses(server, name) == Self.theirs, "\(name)")
            }
        }
    }

    @Test("unbound answers names and names below a wildcard, in no family but ours")
    func unbound() throws {
        try Self.run(.unbound) { server, _ in
            for name in [
                "www.home.example", "deep.apps.home.example", "a.apps.home.example",
                // As the comment in the file says.
                "apps.home.example",
            ] {
                let answer = try #require(try server.ask(name))
                #expect(answer.addresses.sorted() == Self.ours, "\(name)")
                #expect(answer.records.allSatisfy { $0.ttl == 77 }, "\(name)")
                #expect(try Self.addresses(server, name, type: 28) == [], "\(name)")
                #expect(try server.ask(name, type: 65)?.records == [], "\(name)")
            }
            for name in ["other.example", "sub.www.home.example", "x.deep.apps.home.example"] {
                #expect(try Self.addresses(server, name) == Self.theirs, "\(name)")
            }
        }
    }

    @Test("named answers from the zone that includes the file; what exists hides the wildcard")
    func bind() throws {
        try Self.run(.bind, zones: ["home.example"]) { server, _ in
            for name in ["www.home.example", "deep.apps.home.example", "a.apps.home.example"] {
                let answer = try #require(try server.ask(name))
                #expect(answer.addresses.sorted() == Self.ours, "\(name)")
                #expect(answer.records.allSatisfy { $0.ttl == 77 }, "\(name)")
                #expect(try Self.addresses(server, name, type: 28) == [], "\(name)")
            }
            for name in ["apps.home.example", "x.deep.apps.home.example", "sub.www.home.example"] {
                #expect(try Self.addresses(server, name) == [], "\(name)")
            }
        }
    }

    @Test("named takes what is in its zone and passes the rest over")
    func zones() throws {
        let records = DNSRecordsReply(
            view: "lan", names: ["a.example.org", "www.home.example"], addresses: ["192.0.2.1"])
        let outside = try Self.outside()
        defer { outside.stop() }

        let server = try NameServerProgram(
            .bind, records: DNSExport(records, format: .bind).text,
            zones: ["home.example", "example.org"], upstream: outside.address,
            probe: "www.home.example")
        defer { server.stop() }

        #expect(try Self.addresses(server, "a.example.org") == ["192.0.2.1"])
        #expect(try Self.addresses(server, "www.home.example") == ["192.0.2.1"])
    }

    @Test(
        "a view without names is a file that loads", arguments: NameServerProgram.Program.allCases)
    func empty(program: NameServerProgram.Program) throws {
        let records = DNSRecordsReply(view: "lan", names: [], addresses: ["192.0.2.1"])
        let format = try #require(DNSFormat(rawValue: program.rawValue))
        let outside = try Self.outside()
        defer { outside.stop() }

        let server = try NameServerProgram(
            program, records: DNSExport(records, format: format).text, zones: ["home.example"],
            upstream: outside.address,
            probe: program == .bind ? "ns.home.example" : "other.example")
        server.stop()
    }

    @Test("IPv6 is served like IPv4")
    func ipv6() throws {
        let records = DNSRecordsReply(
            view: "lan", names: ["*.w.example", "a.example"], addresses: ["2001:db8::1"])
        for program in NameServerProgram.Program.allCases {
            let format = try #require(DNSFormat(rawValue: program.rawValue))
            let outside = try StandInDNS(records: ["a.example": [.address("203.0.113.6")]])
            defer { outside.stop() }
            let zone = "\n" + (program == .bind ? "probe.example. 60 IN A 192.0.2.1\n" : "")
            outside.set("probe.example", addresses: ["192.0.2.1"])
            let server = try NameServerProgram(
                program, records: DNSExport(records, format: format).text + zone,
                zones: ["example"], upstream: outside.address, probe: "probe.example")
            defer { server.stop() }

            for name in ["a.example", "b.w.example"] {
                #expect(
                    try Self.addresses(server, name, type: 28) == ["2001:db8::1"],
                    "\(program) \(name)")
                #expect(try Self.addresses(server, name) == [], "\(program) \(name)")
            }
        }
    }
}
