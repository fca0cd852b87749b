internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// One port for the LAN and for the internet, with real forwarders and real upstreams.
    @Suite("The LAN and the internet")
    struct PublicSites {}
}

extension Scenarios.PublicSites {
    private static let visitor = PublicSite.visitorAddress
    private static let lanClient = "192.168.1.100"

    /// What the VPS writes in front of a visitor's connection.
    private static let header = ProxyHeaderBytes.version2(
        SocketAddress(ipv4: 0xCB00_714D, port: 5000), SocketAddress(ipv4: 0xCB00_710A, port: 443))

    private func expectUnharmed(
        _ report: LaneReport, atLeast count: Int, client: String? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(report.failedCount == 0, "\(report)", sourceLocation: location)
        #expect(report.records.count >= count, "\(report)", sourceLocation: location)
        guard let client else { return }
        #expect(Set(report.servers.keys) == [client], "\(report.servers)", sourceLocation: location)
    }

    private func expectLAN(
        _ run: PublicRun, at address: String = PublicRun.lanAddress, client: String = lanClient,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let seen = try run.lan(at: address)
        #expect(seen.status == 200 && seen.text == "ingress\n", sourceLocation: location)
        #expect(seen.client == client, sourceLocation: location)
        #expect(seen.fingerprint == run.fingerprint("home"), sourceLocation: location)
    }

    private func expectPublic(
        _ run: PublicRun, at address: String = PublicSite.publicAddress, client: String = visitor,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let seen = try run.visit(at: address)
        #expect(seen.status == 200 && seen.text == "ingress\n", sourceLocation: location)
        #expect(seen.client == client, sourceLocation: location)
        // Its servers know the name of the LAN.
        #expect(seen.host == "grafana.home.example", sourceLocation: location)
        #expect(
            run.fingerprints("public/own").contains(seen.fingerprint ?? "none"),
            sourceLocation: location)
    }

    private func expectRefused(
        _ what: Comment, alert: Bool = true, _ location: SourceLocation = #_sourceLocation,
        _ body: () throws -> PublicRun.Seen
    ) {
        do {
            let seen = try body()
            Issue.record("\(what): \(seen)", sourceLocation: location)
        } catch RawClient.Refusal.handshake(.tlsError(let text)) {
            #expect(
                alert && text.contains("unrecognized name"), "\(what): \(text)",
                sourceLocation: location)
        } catch {
            #expect(!alert, "\(what): \(error)", sourceLocation: location)
        }
    }

    // MARK: - All at once

    @Test("LAN, internet, apiserver, Ceph and passthrough at once: every request is answered")
    func everything() throws {
        let run = try PublicRun([.ingress, .apiservers, .dashboards])
        defer { run.end() }
        try run.startHAProxy()
        #expect(eventually { (try? run.lan("ceph.home.example"))?.status == 200 })
        let lan = run.site.client
        let node = PublicRun.lanAddress
        let visitor = run.outside.visitor

        let lanes = [
            try run.lane(
                "lan", "grafana.home.example", at: node, from: lan, body: "ingress\n"),
            try run.lane(
                "virtual", "grafana.home.example", at: PublicRun.virtualAddress, from: lan,
                keepsAlive: true, body: "ingress\n"),
            try run.lane(
                "files", "files.home.example", at: node, from: lan, body: "files\n"),
            try run.lane(
                "ceph", "ceph.home.example", at: node, from: lan, body: "dashboard\n"),
            try run.lane(
                "registry", "registry.home.example", at: node, from: lan, body: "ingress\n"),
            try run.lane(
                "kube", "kubernetes", at: node, from: lan, port: 6443, body: "api\n"),
            try run.lane(
                "public", PublicRun.publicName, at: PublicSite.publicAddress, from: visitor,
                body: "ingress\n"),
            try run.lane(
                "public kept", PublicRun.publicName, at: PublicSite.publicAddress, from: visitor,
                keepsAlive: true, body: "ingress\n"),
        ]
        pass(SiteRun.outage(.seconds(3)))
        let reports = lanes.map { $0.stop() }

        for report in reports {
            // Whom the server was told about; the last two kinds have nobody to tell.
            let client =
                switch report.name {
                case "public", "public kept": Self.visitor
                case "registry", "kube": ""
                default: Self.lanClient
                }
            expectUnharmed(report, atLeast: 60, client: client.isEmpty ? nil : client)
        }
        // And what is not for everybody, at the same time and by the same port.
        let seen = try run.lan("registry.home.example")
        #expect(seen.client == nil && seen.fingerprint != run.fingerprint("home"))
        expectRefused("a LAN name from the internet") { try run.visit("grafana.home.example") }
        expectRefused("a passthrough of the LAN") { try run.visit("registry.home.example") }
        expectRefused("the apiserver through the tunnel", alert: false) {
            try run.get(
                "kubernetes", at: PublicSite.nodeAddresses[0], from: run.outside.vps, port: 6443)
        }
    }

    @Test("conf/reference.yaml is this site: every kind of client gets what it says")
    func reference() throws {
        let run = try PublicRun([.ingress, .apiservers, .dashboards], isReference: true)
        defer { run.end() }
        try run.startHAProxy()
        #expect(eventually { (try? run.lan("ceph.home.example"))?.status == 200 })
        let lan = run.site.client
        let visitor = run.outside.visitor
        let node = PublicRun.lanAddress

        for name in ["grafana", "cloud"] {
            try expectLAN(run)
            let seen = try run.visit(name + ".example.org")
            #expect(seen.status == 200 && seen.client == Self.visitor, "\(seen)")
            #expect(seen.host == name + ".home.example", "\(seen)")
            #expect(seen.strictTransport == "max-age=31536000" && seen.software == nil, "\(seen)")
            #expect(seen.fingerprint == run.fingerprint("public/own"))
        }
        let admin = { try run.get($0, "/admin/x", at: $1, from: $2).status }
        #expect(try admin(PublicRun.publicName, PublicSite.publicAddress, visitor) == 403)
        #expect(try admin("grafana.home.example", node, lan) == 200)
        #expect(try run.lan().strictTransport == nil)
        #expect(try run.lan("ceph.home.example").text == "dashboard\n")
        #expect(try run.lan("registry.home.example").fingerprint != run.fingerprint("home"))
        let api = try run.get("kubernetes", at: node, from: lan, port: 6443)
        #expect(api.text == "api\n")
        expectRefused("a LAN name from the internet") { try run.visit("ceph.home.example") }

        let target = try #require(SocketAddress(address: node, port: 80))
        let plain = try RawClient(target, namespace: lan.namespace)
        defer { plain.close() }
        let answer = try plain.get("/a?b", host: "grafana.home.example")
        #expect(answer.status == 308)
        #expect(answer["location"] == "https://grafana.home.example/a?b")
    }

    // MARK: - Never by the destination

    @Test("through the tunnel it is the public view, whatever address of the node is meant")
    func destinations() throws {
        let run = try PublicRun()
        defer { run.end() }
        let vps = run.outside.vps

        for address in [
            PublicRun.lanAddress, PublicRun.virtualAddress, PublicSite.nodeAddresses[0],
        ] {
            let seen = try run.get(
                PublicRun.publicName, at: address, from: vps, preamble: Self.header)
            #expect(seen.status == 200 && seen.client == Self.visitor, "\(address)")
            #expect(seen.fingerprint == run.fingerprint("public/own"), "\(address)")
            for name in ["grafana", "files", "registry"] {
                expectRefused("\(name) at \(address)") {
                    try run.get(
                        name + ".home.example", at: address, from: vps, preamble: Self.header)
                }
            }
            // The name of the ClientHello is public, the one of the request is not.
            let other = try run.get(
                "files.home.example", at: address, from: vps, serverName: PublicRun.publicName,
                preamble: Self.header)
            #expect(other.status == 421, "\(address)")
            // Nobody says who he is, and somebody who is not to be believed says it.
            expectRefused("no header at \(address)", alert: false) {
                try run.get(PublicRun.publicName, at: address, from: vps)
            }
            expectRefused("a visitor's packets to \(address)", alert: false) {
                try run.get(
                    "grafana.home.example", at: address, from: run.outside.visitor,
                    preamble: Self.header, within: .seconds(1))
            }
        }
        // And the tunnel's address is the LAN's for who comes from there.
        try run.site.client.ip(
            "route add \(PublicSite.nodeAddresses[0])/32 via \(PublicRun.lanAddress)")
        try expectLAN(run, at: PublicSite.nodeAddresses[0])
        try expectLAN(run, at: PublicRun.virtualAddress)
    }

    // MARK: - Interfaces

    @Test("the tunnel goes and comes back: the first connection is served, the LAN feels nothing")
    func tunnelReturns() throws {
        let run = try PublicRun()
        defer { run.end() }
        try run.startHAProxy()
        try expectPublic(run)
        let lan = try run.lane(
            "lan", "grafana.home.example", at: PublicRun.lanAddress, from: run.site.client,
            pace: .perSecond(100), body: "ingress\n")
        var number = try run.outside.interfaceNumber()

        for round in 0..<(SiteRun.isLong ? 10 : 2) {
            try run.outside.removeTunnel()
            #expect(try run.outside.interfaceNumber() == 0)
            pass(.milliseconds(300))
            try run.outside.restoreTunnel()
            let new = try run.outside.interfaceNumber()
            #expect(new != 0 && new != number)
            number = new
            // The very first one, not by way of HAProxy, which may think the node down still.
            let first = try run.get(
                PublicRun.publicName, at: PublicSite.nodeAddresses[0], from: run.outside.vps,
                preamble: Self.header)
            #expect(first.status == 200 && first.client == Self.visitor, "\(round)")
            expectRefused("a LAN name, round \(round)") {
                try run.get(
                    "files.home.example", at: PublicRun.lanAddress, from: run.outside.vps,
                    preamble: Self.header)
            }
            #expect(eventually { (try? run.visit())?.status == 200 })
        }
        let report = lan.stop()

        expectUnharmed(report, atLeast: 60, client: Self.lanClient)
        try expectPublic(run)
    }

    @Test("a macvlan on eth0 is eth0; what no view lists is closed, lo too")
    func places() throws {
        let run = try PublicRun()
        defer { run.end() }
        let node = run.site.nodes[0]
        // As keepalived makes one for a virtual address; made while the daemon runs.
        try node.ip("link add vrrp.1 link eth0 type macvlan mode bridge")
        try node.setSystemValue("net/ipv4/conf/eth0/arp_ignore", "1")
        try node.ip("address add 192.168.1.14/24 dev vrrp.1")
        try node.ip("link set vrrp.1 up")
        // An interface that nobody has heard of.
        let stray = try run.site.network.addHost("stray")
        let cable = try run.site.network.addSwitch("side")
        try run.site.network.connect(node, to: cable, interface: "eth7", addresses: ["10.7.0.1/24"])
        try run.site.network.connect(stray, to: cable, addresses: ["10.7.0.2/24"])

        #expect(eventually { (try? run.lan(at: "192.168.1.14"))?.status == 200 })
        try expectLAN(run, at: "192.168.1.14")
        for address in ["10.7.0.1", PublicRun.lanAddress, PublicSite.nodeAddresses[0]] {
            expectRefused("from an interface of no view to \(address)", alert: false) {
                try stray.ip("route replace default via 10.7.0.1")
                return try run.get(
                    "grafana.home.example", at: address, from: stray, within: .seconds(1))
            }
        }
        // A machine's own connections to the address of an interface arrive there, says the kernel
        // (`inet_iif`, `ip6_rcv_core`): for the tunnel's that is nobody who is trusted.
        for address in ["127.0.0.1", "::1", PublicSite.nodeAddresses[0]] {
            expectRefused("from the node itself to \(address)", alert: false) {
                try run.get("grafana.home.example", at: address, from: node)
            }
        }
        let text = try run.balancers[0].edgectl("status")
        #expect(text.contains("no_view"), "\(text)")
    }

    @Test("the number of an interface that is gone makes no other interface its view's")
    func reusedNumber() throws {
        let views = ["  lan: { interfaces: [eth0, eth5] }"] + PublicRun.views.dropFirst()
        let run = try PublicRun(views: views)
        defer { run.end() }
        let node = run.site.nodes[0]
        let guest = try run.site.network.addHost("guest")
        /// A cable from the node to the guest, under a name and with a number.
        func plug(_ name: String, number: Int? = nil) throws {
            let index = number.map { " index \($0)" } ?? ""
            try node.ip(
                "link add \(name)\(index) type veth peer name eth0 netns \(guest.namespace)")
            try node.ip("address add 10.5.0.1/24 dev \(name)")
            try node.ip("link set \(name) up")
            try guest.ip("address add 10.5.0.2/24 dev eth0")
            try guest.ip("link set eth0 up")
        }
        func ask() throws -> PublicRun.Seen {
            try run.get(
                "grafana.home.example", at: "10.5.0.1", from: guest, within: .seconds(1))
        }

        try plug("eth5")
        #expect(eventually { (try? ask())?.status == 200 })
        let number = try run.outside.interfaceNumber("eth5")
        try node.ip("link delete eth5")
        try plug("guest0", number: number)
        #expect(try run.outside.interfaceNumber("guest0") == number)
        // The link is there before the kernel forwards: the first that comes through counts.
        for _ in 0..<4 { expectRefused("by the old number", alert: false) { try ask() } }

        // And one that is renamed is what it is called.
        try node.ip("link set guest0 down")
        try node.ip("link set guest0 name eth5")
        try node.ip("link set eth5 up")
        #expect(eventually { (try? ask())?.status == 200 })
    }

    @Test("lo is a place where it is listed")
    func loopback() throws {
        let views = ["  lan: { interfaces: [eth0, lo] }"] + PublicRun.views.dropFirst()
        let run = try PublicRun(views: views)
        defer { run.end() }

        for address in ["127.0.0.1", "::1"] {
            let seen = try run.get(
                "grafana.home.example", at: address, from: run.site.nodes[0])
            #expect(seen.status == 200, "\(address)")
        }
    }

    @Test("IPv6 and IPv4 clients of one listener: the same views, in and behind the tunnel")
    func dualStack() throws {
        let run = try PublicRun()
        defer { run.end() }
        try run.startHAProxy()
        try expectLAN(run)
        try expectLAN(run, at: PublicRun.lanAddress6, client: "fd00:1::100")
        // To HAProxy over IPv6, through the tunnel over IPv4, and the other ways.
        try expectPublic(run)
        try expectPublic(
            run, at: PublicSite.publicAddress6, client: PublicSite.visitorAddress6)
        run.stopHAProxy()
        try run.startHAProxy(overIPv6: true)
        try expectPublic(run)
        try expectPublic(
            run, at: PublicSite.publicAddress6, client: PublicSite.visitorAddress6)
        expectRefused("a LAN name over IPv6") {
            try run.visit("grafana.home.example", at: PublicSite.publicAddress6)
        }
        expectRefused("a LAN name at the LAN's IPv6 address") {
            try run.outside.vps.ip(
                "route replace fd00:1::/64 via \(PublicSite.nodeAddresses6[0])")
            return try run.get(
                "grafana.home.example", at: PublicRun.lanAddress6, from: run.outside.vps,
                preamble: ProxyHeaderBytes.version2(
                    SocketAddress(ipv6High: 0x2001_0DB8_0001_0000, low: 0x77, port: 1),
                    SocketAddress(ipv6High: 0x2001_0DB8_0001_0000, low: 0x10, port: 443)))
        }
    }

    // MARK: - Small segments

    @Test("header and ClientHello arrive byte by byte, or over several segments of MTU 1280")
    func segments() throws {
        let run = try PublicRun()
        defer { run.end() }
        let vps = run.outside.vps

        for (piece, isLAN) in [(1, false), (1, true), (700, false)] {
            var options = PieceRelay.Options()
            options.namespace = isLAN ? run.site.client.namespace : vps.namespace
            options.preamble = isLAN ? [] : Self.header
            options.piece = piece
            let target = SocketAddress(
                address: isLAN ? PublicRun.lanAddress : PublicSite.nodeAddresses[0], port: 443)
            let relay = try PieceRelay(to: try #require(target), options)
            defer { relay.stop() }
            let seen = try run.get(
                isLAN ? "grafana.home.example" : PublicRun.publicName, at: "127.0.0.1",
                from: isLAN ? run.site.client : vps, port: relay.address.port)
            #expect(seen.status == 200, "\(piece) \(isLAN)")
        }
        // The smallest MTU of IPv6; a hello that does not fit into one segment, or two.
        try vps.ip("link set wg0 mtu 1280")
        try run.site.nodes[0].ip("link set wg0 mtu 1280")
        try run.startHAProxy()
        for size in [1200, 3000, 9000] {
            let name = PublicRun.publicName
            let filler = (0..<size / 200).map { "x\($0)" + String(repeating: "y", count: 190) }
            let address = try #require(
                SocketAddress(address: PublicSite.publicAddress, port: 443))
            let client = try RawClient(
                address,
                tls: ClientTLS(
                    serverName: name, trusting: run.site.mint.rootPEM,
                    alpn: filler + ["http/1.1"]), namespace: run.outside.visitor.namespace)
            defer { client.close() }
            let answer = try client.get("/", host: name)
            #expect(answer.status == 200 && client.alpn == "http/1.1", "\(size)")
        }
    }

    // MARK: - edged as the forwarder

    @Test("edged is the VPS's forwarder: the node sees the visitor, and a dead node is left alone")
    func edgedForwards() throws {
        let run = try PublicRun(nodes: 2)
        defer { run.end() }
        try run.startEdgedForwarder()
        #expect(eventually { (try? run.visit())?.status == 200 })
        try expectPublic(run)
        try expectPublic(
            run, at: PublicSite.publicAddress6, client: PublicSite.visitorAddress6)
        expectRefused("a LAN name") { try run.visit("grafana.home.example") }
        let lane = try run.lane(
            "public", PublicRun.publicName, at: PublicSite.publicAddress,
            from: run.outside.visitor, body: "ingress\n")

        pass(.seconds(1))
        run.balancers[1].kill()
        pass(SiteRun.outage(.seconds(3)))
        let report = lane.stop()

        // A connection that the dying node had in hand is lost; none that comes after.
        #expect(report.failedCount <= 2, "\(report)")
        #expect(report.slowSpan(above: .milliseconds(500)) <= .seconds(1), "\(report)")
        let served = report.servers[Self.visitor] ?? 0
        #expect(served + report.failedCount == report.records.count, "\(report.servers)")
        try expectPublic(run)
    }
}
