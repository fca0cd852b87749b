internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Reference site", .serialized)
struct ReferenceSiteTests {
    private func get(
        _ server: SiteServer, from site: ReferenceSite, _ target: String = "/",
        within span: Duration = .seconds(2)
    ) throws -> HTTPMessage {
        let address = try #require(SocketAddress(server.address))
        let tls =
            try server.port == 8080
            ? nil : ClientTLS(serverName: "x.home.example", trusting: site.mint.rootPEM)
        let client = try RawClient(
            address, tls: tls, namespace: site.client.namespace, within: span)
        defer { client.close() }
        try client.send("GET \(target) HTTP/1.1\r\nHost: x.home.example\r\n\r\n")
        return try client.readResponse(within: span)
    }

    @Test("servers answer as they are told, from one request to the next")
    func serverModes() throws {
        let site = try ReferenceSite(.ingress)
        defer { site.tearDown() }
        let server = site.ingress[0]

        for (mode, status, health) in [
            (SiteServer.Mode.normal, 200, 200), (.failing, 500, 500),
            (.failingRequests, 500, 200), (.standby, 503, 503), (.redirecting, 302, 302),
        ] {
            try server.set(mode)
            #expect(try get(server, from: site).status == status, "\(mode)")
            #expect(try get(server, from: site, "/healthz").status == health, "\(mode)")
        }
        try server.set(.hanging)
        #expect(throws: (any Error).self) {
            try get(server, from: site, within: .milliseconds(300))
        }
        #expect(try get(server, from: site, "/healthz").status == 200)
        try server.set(.normal)
        server.freeze()
        #expect(throws: (any Error).self) {
            try get(server, from: site, within: .milliseconds(300))
        }
        server.thaw()
        let answer = try get(server, from: site)

        #expect(answer.text == "ingress\n")
        #expect(answer["x-server"] == "worker-01")
    }

    @Test("a server that vanished answers nothing, and one that was renumbered answers elsewhere")
    func places() throws {
        let site = try ReferenceSite(.ingress)
        defer { site.tearDown() }
        let server = site.ingress[0]
        let old = try #require(SocketAddress(server.address))

        try server.vanish()
        #expect(throws: (any Error).self) {
            try get(server, from: site, within: .milliseconds(300))
        }
        try server.reappear()
        #expect(try get(server, from: site).status == 200)
        try server.renumber(to: "192.168.1.121")
        #expect(throws: (any Error).self) {
            try RawClient(old, namespace: site.client.namespace, within: .milliseconds(300))
        }

        #expect(try get(server, from: site).status == 200)
        #expect(site.names["worker-01.home.example"] == ["192.168.1.121"])
    }

    @Test(
        "real DNS servers know, forget, lie, are silent and come back",
        arguments: [
            SiteResolver.Program.dnsmasq, .unbound,
        ])
    func resolver(program: SiteResolver.Program) throws {
        let site = try ReferenceSite(.ingress, resolver: program, ttl: 1234)
        defer { site.tearDown() }
        let name = "worker-01.home.example"
        func ask(_ span: Duration = .seconds(1)) throws -> DNSAnswer? {
            try site.resolver.ask(name, from: site.nodes[0], within: span)
        }

        let normal = try #require(try ask())
        #expect(normal.addresses == ["192.168.1.21"])
        #expect(normal.records.first?.ttl == 1234)
        try site.resolver.silence()
        #expect(try ask(.milliseconds(300)) == nil)
        try site.resolver.speak()
        #expect(try ask()?.addresses == ["192.168.1.21"])
        try site.resolver.set(.nameErrorForAll)
        #expect(try ask()?.code == 3)
        try site.resolver.set(.oneAddress(ReferenceSite.strangerAddress))
        #expect(try ask()?.addresses == [ReferenceSite.strangerAddress])
        if program == .unbound {
            try site.resolver.set(.serverFailure)
            #expect(try ask()?.code == 2)
        }
        try site.resolver.set(.normal)
        try site.resolver.set(services: [
            "_https._tcp.home.example": [
                .init(priority: 1, weight: 2, port: 443, target: name)
            ]
        ])
        let service = try site.resolver.ask("_https._tcp.home.example", type: 33)
        #expect(service?.records.first?.data.prefix(6).elementsEqual([0, 1, 0, 2, 1, 187]) == true)
        try site.ingress[0].renumber(to: "192.168.1.121")
        try site.publishNames()

        #expect(try ask()?.addresses == ["192.168.1.121"])
    }
}
