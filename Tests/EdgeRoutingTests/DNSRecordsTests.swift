import EdgeCore
import Testing

@testable import EdgeRouting

@Suite("DNS records of views") struct DNSRecordsTests {
    private static func address(_ text: String, port: UInt16 = 0) throws -> SocketAddress {
        try #require(SocketAddress(address: text, port: port))
    }

    private static func views() throws -> [ViewConfiguration] {
        var lan = ViewConfiguration(name: "lan")
        lan.addresses = [
            try address("2001:db8::13"), try address("192.168.1.14", port: 443),
            try address("192.168.1.13"), try address("192.168.1.14"),
        ]
        var outside = ViewConfiguration(name: "public")
        outside.addresses = [try address("203.0.113.10")]
        return [lan, outside, ViewConfiguration(name: "none")]
    }

    private static func site(
        _ hosts: [(Int, String)], _ destination: SiteConfiguration.Destination = .upstream(0)
    ) -> SiteConfiguration {
        SiteConfiguration(
            hosts: hosts.map { .init(view: $0.0, pattern: $0.1) }, destination: destination)
    }

    private static let sites = [
        site([(0, "grafana.home.example"), (1, "grafana.example.org")]),
        site([(0, "registry.home.example")], .passthrough(1)),
        site([(0, "registry.home.example"), (0, "*.apps.home.example")], .passthrough(2)),
        site([(0, "a.home.example")], .none),
        site([(1, "*"), (1, "192.0.2.7"), (1, "[2001:db8::7]")]),
    ]

    @Test("a view has the names of its sites, passthrough and redirects too, each once, sorted")
    func names() throws {
        let lan = DNSRecords(view: 0, views: try Self.views(), sites: Self.sites)

        #expect(
            lan.names == [
                "*.apps.home.example", "a.home.example", "grafana.home.example",
                "registry.home.example",
            ])
        #expect(lan.notes.isEmpty)
    }

    @Test("addresses are without ports, each once, IPv4 first")
    func addresses() throws {
        let lan = DNSRecords(view: 0, views: try Self.views(), sites: [])

        #expect(
            lan.addresses.map(\.description) == [
                "192.168.1.13:0", "192.168.1.14:0", "[2001:db8::13]:0",
            ])
        #expect(lan.names.isEmpty)
    }

    @Test("a site for any name and hosts that are addresses are left out, with a note")
    func leftOut() throws {
        let outside = DNSRecords(view: 1, views: try Self.views(), sites: Self.sites)

        #expect(outside.names == ["grafana.example.org"])
        #expect(
            outside.notes == [
                "the site for any name ('*') has no record: DNS needs a name",
                "the host '192.0.2.7' has no record: it is an address",
                "the host '[2001:db8::7]' has no record: it is an address",
            ])
    }

    @Test("the order of sites and hosts does not matter")
    func stable() throws {
        let views = try Self.views()
        var turned = Array(Self.sites.reversed())
        for index in turned.indices { turned[index].hosts.reverse() }

        for view in 0...1 {
            #expect(
                DNSRecords(view: view, views: views, sites: Self.sites)
                    == DNSRecords(view: view, views: views, sites: turned))
        }
    }

    @Test("a view without addresses or sites has none, and so has one that does not exist")
    func empty() throws {
        for view in 2...3 {
            let records = DNSRecords(view: view, views: try Self.views(), sites: Self.sites)
            #expect(records.names.isEmpty && records.addresses.isEmpty && records.notes.isEmpty)
        }
    }
}
