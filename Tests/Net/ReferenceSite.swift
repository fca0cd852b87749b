internal import EdgeCore
package import EdgeTesting
internal import Foundation

/// The site that the product is made for, in network namespaces of this machine: a client, two
/// nodes for the load balancer, a router with real DNS, and behind them ingress nodes,
/// kube-apiservers and dashboards, each an nginx on a host of its own.
///
/// Needs root, nginx, dnsmasq and unbound. Everything is gone after `tearDown` or deinit.
package final class ReferenceSite {
    /// Parts that cost time to build and that not every test needs.
    package struct Parts: OptionSet, Sendable {
        package let rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }

        /// Two nodes for `grafana.home.example` and whatever else is named.
        package static let ingress = Parts(rawValue: 1)
        package static let apiservers = Parts(rawValue: 2)
        package static let dashboards = Parts(rawValue: 4)
        /// A host that answers everything, wrongly: whom a captive portal's DNS points to.
        package static let stranger = Parts(rawValue: 8)
        /// An unbound beside the router's DNS, which knows the same.
        package static let secondResolver = Parts(rawValue: 16)
    }

    package let network: VirtualNetwork
    package let hub: VirtualSwitch
    package let mint: CertificateMint
    package let client: VirtualHost
    /// The nodes that the load balancer runs on.
    package let nodes: [VirtualHost]
    /// Their cables.
    package let cables: [VirtualLink]
    package let resolver: SiteResolver
    package let secondResolver: SiteResolver?
    package let ingress: [SiteServer]
    package let apiservers: [SiteServer]
    package let dashboards: [SiteServer]
    package let stranger: SiteServer?
    /// Of no other service's concern: what must stay unharmed whatever happens to those.
    package let files: SiteServer

    package static let domain = "home.example"
    package static let nodeAddresses = ["192.168.1.11", "192.168.1.12"]
    package static let resolverAddress = "192.168.1.1"
    package static let secondResolverAddress = "192.168.1.2"
    package static let strangerAddress = "192.168.1.66"

    package init(
        _ parts: Parts, resolver program: SiteResolver.Program = .dnsmasq, ttl: Int = 3600
    ) throws {
        let floor = try Floor()
        (network, hub, mint) = (floor.network, floor.hub, floor.mint)
        client = try floor.host("client", at: "192.168.1.100").host
        let balancers = try Self.nodeAddresses.enumerated().map { index, address in
            try floor.host("lb0\(index + 1)", at: address)
        }
        nodes = balancers.map(\.host)
        cables = balancers.map(\.link)
        let router = try floor.host("router", at: Self.resolverAddress).host
        files = try floor.server("nas", at: 30, port: 8080, body: "files\n")
        let cluster = try mint.leaf(names: ["*.\(Self.domain)"])
        ingress = try parts.contains(.ingress) ? floor.ingress(at: [1: 21, 6: 26], cluster) : []
        apiservers = try parts.contains(.apiservers) ? floor.apiservers(at: [42, 70, 35]) : []
        dashboards = try parts.contains(.dashboards) ? floor.dashboards(cluster) : []
        let foreign = try CertificateMint(name: "Portal CA").leaf("portal.example")
        stranger =
            try parts.contains(.stranger)
            ? floor.server("portal", at: 66, port: 443, tls: foreign, body: "log in first\n")
            : nil
        let named = [files] + ingress + apiservers + dashboards
        resolver = try SiteResolver(
            program, host: router, address: Self.resolverAddress, names: Self.names(of: named),
            ttl: ttl)
        guard parts.contains(.secondResolver) else {
            secondResolver = nil
            return
        }
        secondResolver = try SiteResolver(
            .unbound, host: floor.host("dns", at: Self.secondResolverAddress).host,
            address: Self.secondResolverAddress, names: Self.names(of: named), ttl: ttl)
    }

    /// What hosts are put on.
    private struct Floor {
        let network: VirtualNetwork
        let hub: VirtualSwitch
        let mint: CertificateMint

        init() throws {
            network = try VirtualNetwork()
            hub = try network.addSwitch("lan")
            mint = try CertificateMint(name: "Home CA")
        }

        func host(_ name: String, at address: String) throws
            -> (host: VirtualHost, link: VirtualLink)
        {
            let host = try network.addHost(name)
            return (host, try network.connect(host, to: hub, addresses: [address + "/24"]))
        }

        func server(
            _ name: String, at number: Int, port: UInt16, otherPort: UInt16? = nil,
            tls: MintedCertificate? = nil, body: String, healthPaths: [String] = ["/healthz"]
        ) throws -> SiteServer {
            let address = "192.168.1.\(number)"
            let (host, link) = try host(name, at: address)
            return try SiteServer(
                name, host: host, link: link, address: address, port: port,
                otherPort: otherPort, tls: tls, body: body, healthPaths: healthPaths)
        }

        /// - Parameter numbers: the address by the worker's number.
        func ingress(at numbers: [Int: Int], _ tls: MintedCertificate) throws -> [SiteServer] {
            try numbers.sorted { $0.key < $1.key }.map { number, address in
                try server(
                    "worker-0\(number)", at: address, port: 443, otherPort: 8443, tls: tls,
                    body: "ingress\n")
            }
        }

        /// The first one is active.
        func dashboards(_ tls: MintedCertificate) throws -> [SiteServer] {
            try (1...5).map { index in
                let server = try server(
                    "ceph-0\(index)", at: 50 + index, port: 8443, tls: tls, body: "dashboard\n")
                try server.set(index == 1 ? .normal : index % 2 == 0 ? .standby : .redirecting)
                return server
            }
        }

        func apiservers(at numbers: [Int]) throws -> [SiteServer] {
            try numbers.enumerated().map { index, number in
                let leaf = try mint.leaf(names: ["kubernetes", "192.168.1.\(number)"])
                return try server(
                    "master-0\(index + 1)", at: number, port: 6443, tls: leaf, body: "api\n",
                    healthPaths: ["/readyz", "/livez"])
            }
        }
    }

    deinit { tearDown() }

    /// Harmless when called again.
    package func tearDown() {
        resolver.stop()
        secondResolver?.stop()
        for server in servers { server.stop() }
        stranger?.stop()
        network.tearDown()
    }

    private var servers: [SiteServer] {
        [files] + ingress + apiservers + dashboards
    }

    // MARK: Names

    /// What DNS should say now: each server's name with its address.
    package var names: [String: [String]] { Self.names(of: servers) }

    private static func names(of servers: [SiteServer]) -> [String: [String]] {
        servers.reduce(into: [:]) { $0["\($1.name).\(domain)"] = [$1.ip] }
    }

    /// Tells DNS where everything is now.
    package func publishNames(ttl: Int? = nil) throws {
        try resolver.set(names, ttl: ttl)
        try secondResolver?.set(names, ttl: ttl)
    }

    // MARK: Clients

    /// A lane of GET requests from the client's host to a node, over TLS.
    ///
    /// - Parameters:
    ///   - label: the report's name; nil: the site's.
    ///   - node: index of the node that is asked.
    package func lane(
        _ name: String, label: String? = nil, pace: LaneOptions.Pace, keepsAlive: Bool = false,
        node: Int = 0,
        body: String, duration: Duration? = nil
    ) throws -> HTTPLane {
        let host = "\(name).\(Self.domain)"
        return try start(
            label ?? name, host: host, port: 443, serverName: host, pace, keepsAlive, node, body,
            duration)
    }

    /// The same through the tcp listener for the kube-apiservers, whose certificate is checked.
    package func apiserverLane(
        pace: LaneOptions.Pace, keepsAlive: Bool = false, node: Int = 0, duration: Duration? = nil
    ) throws -> HTTPLane {
        try start(
            "apiserver", host: "kubernetes", port: 6443, serverName: "kubernetes", pace, keepsAlive,
            node, "api\n", duration)
    }

    private func start(
        _ name: String, host: String, port: UInt16, serverName: String, _ pace: LaneOptions.Pace,
        _ keepsAlive: Bool, _ node: Int, _ body: String, _ duration: Duration?
    ) throws -> HTTPLane {
        guard let target = SocketAddress(address: Self.nodeAddresses[node], port: port) else {
            throw KitError("no address of node \(node)")
        }
        var options = LaneOptions(
            target, host: host,
            tls: try ClientTLS(
                serverName: serverName, trusting: mint.rootPEM, alpn: ["http/1.1"]),
            namespace: client.namespace, pace: pace, keepsAlive: keepsAlive, expectedBody: body,
            duration: duration)
        options.name = name
        options.notedField = "x-server"
        return HTTPLane(options)
    }
}
