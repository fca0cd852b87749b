import EdgeConfig
import EdgeControlAPI
import EdgeCore
import EdgeDNS
import EdgeRouting
import Testing

@testable import EdgeDaemon

@Suite("Views and DNS") struct DNSSideTests {
    private static func configuration(
        _ views: [ViewConfiguration], _ sites: [SiteConfiguration] = []
    ) throws -> Configuration {
        let text = """
            version: 1
            listeners: [{ name: web, port: 80, protocol: http }]
            resolvers: { internal: { servers: ["192.168.1.1:53"], domains: [home.example] } }
            sites: [{ hosts: a.example, upstream: app }]
            upstreams: { app: { servers: ["10.0.0.1:80"] } }
            """
        let base = try Configuration.load(
            ConfigurationBundle(main: .init(path: "main.yaml", bytes: Array(text.utf8)))
        ).0
        return Configuration(
            runAs: base.runAs, workers: base.workers, listeners: base.listeners,
            certificates: base.certificates, tls: base.tls, views: views, sites: sites,
            upstreams: base.upstreams, resolvers: base.resolvers, timeouts: base.timeouts,
            limits: base.limits, admin: base.admin, process: base.process)
    }

    private static func views() throws -> [ViewConfiguration] {
        var lan = ViewConfiguration(name: "lan")
        lan.addresses = [try #require(SocketAddress(address: "192.168.1.13", port: 0))]
        lan.resolver = "internal"
        var outside = ViewConfiguration(name: "public")
        outside.addresses = [try #require(SocketAddress(address: "203.0.113.10", port: 0))]
        return [lan, outside, ViewConfiguration(name: "bare")]
    }

    private static let sites = [
        SiteConfiguration(
            hosts: [
                .init(view: 0, pattern: "a.home.example"), .init(view: 1, pattern: "a.example.org"),
                .init(view: 2, pattern: "a.bare.example"),
            ], destination: .upstream(0))
    ]

    @Test("the admin socket tells a view's names and addresses")
    func records() throws {
        let configuration = try Self.configuration(Self.views(), Self.sites)

        #expect(
            configuration.dnsRecords(view: "public")
                == .success(
                    DNSRecordsReply(
                        view: "public", names: ["a.example.org"], addresses: ["203.0.113.10"])))
    }

    @Test("what cannot be told has a reason and a hint")
    func refusals() throws {
        let configuration = try Self.configuration(Self.views(), Self.sites)
        let without = try Self.configuration([.only])

        #expect(
            configuration.dnsRecords(view: "pubic")
                == .failure(
                    .unknown(
                        "no such view: did you mean 'public'? defined: lan, public, bare")))
        #expect(
            configuration.dnsRecords(view: "bare")
                == .failure(
                    .withoutAddresses(
                        "the view 'bare' has no addresses: say in views.bare.addresses what its "
                            + "clients reach this node by")))
        #expect(
            configuration.dnsRecords(view: nil)
                == .failure(.unnamed("say which view, /dns?view=NAME: lan, public, bare")))
        #expect(
            without.dnsRecords(view: nil)
                == .failure(.unnamed("say which view, /dns?view=NAME: no view is defined")))
        for name in ["", "lan"] {
            #expect(
                without.dnsRecords(view: name)
                    == .failure(.unknown("no such view: no view is defined")))
        }
    }

    @Test(
        "views are checked by their own resolver or by the names' domains, if they have addresses")
    func expectations() throws {
        let (expectations, notes) = try Self.configuration(Self.views(), Self.sites)
            .dnsExpectations

        #expect(expectations.map(\.view) == ["lan", "public"])
        #expect(expectations.map { $0.resolver?.name } == ["internal", nil])
        #expect(expectations.map(\.names) == [["a.home.example"], ["a.example.org"]])
        #expect(notes == ["the view 'bare' is not checked: it has no addresses"])
    }

    @Test("without views there is nothing to check, and it says so")
    func withoutViews() throws {
        let (expectations, notes) = try Self.configuration([.only], Self.sites).dnsExpectations

        #expect(expectations.isEmpty)
        #expect(notes == ["nothing to check: there are no views with addresses"])
    }
}
