internal import EdgeCore
package import EdgeTesting
internal import Foundation

/// The internet's side of a `ReferenceSite`: a machine with a public address (a VPS) that forwards
/// what arrives there to the nodes, through a tunnel that is their `wg0` (MTU 1420), and a visitor.
///
/// The VPS also routes to the LAN's addresses through the tunnel, as a VPS may; so a visitor can
/// send packets to a node's LAN address. Gone with the site's network.
package final class PublicSite {
    package let site: ReferenceSite
    package let vps: VirtualHost
    package let visitor: VirtualHost
    /// `wg0` of the nodes.
    private let tunnels: [VirtualLink]

    package static let nodeAddresses = ["172.16.98.3", "172.16.98.4"]
    package static let nodeAddresses6 = ["fd00:98::3", "fd00:98::4"]
    package static let vpsAddress = "172.16.99.3"
    package static let vpsAddress6 = "fd00:98::99"
    package static let publicAddress = "203.0.113.10"
    package static let publicAddress6 = "2001:db8:1::10"
    package static let visitorAddress = "203.0.113.77"
    package static let visitorAddress6 = "2001:db8:1::77"
    /// Of WireGuard over Ethernet.
    package static let tunnelMTU = 1420

    package init(_ site: ReferenceSite) throws {
        self.site = site
        let network = site.network
        let tunnel = try network.addSwitch("tunnel")
        let internet = try network.addSwitch("internet")
        vps = try network.addHost("vps", forwarding: true)
        visitor = try network.addHost("visitor")
        try network.connect(
            vps, to: internet,
            addresses: [Self.publicAddress + "/24", Self.publicAddress6 + "/64"])
        try network.connect(
            visitor, to: internet,
            addresses: [Self.visitorAddress + "/24", Self.visitorAddress6 + "/64"],
            gateways: [Self.publicAddress, Self.publicAddress6])
        try network.connect(
            vps, to: tunnel, interface: "wg0",
            addresses: [Self.vpsAddress + "/23", Self.vpsAddress6 + "/64"])
        tunnels = try site.nodes.enumerated().map { index, node in
            try network.connect(
                node, to: tunnel, interface: "wg0",
                addresses: [
                    Self.nodeAddresses[index] + "/23", Self.nodeAddresses6[index] + "/64",
                ])
        }
        try vps.ip("link set wg0 mtu \(Self.tunnelMTU)")
        try vps.ip("route add 192.168.1.0/24 via \(Self.nodeAddresses[0])")
        for index in site.nodes.indices { try finishTunnel(index) }
    }

    /// What a link does not have when it is made.
    private func finishTunnel(_ index: Int) throws {
        let node = site.nodes[index]
        try node.ip("link set wg0 mtu \(Self.tunnelMTU)")
        try node.ip("route add 203.0.113.0/24 via \(Self.vpsAddress)")
        try node.ip("route add 2001:db8:1::/64 via \(Self.vpsAddress6)")
    }

    // MARK: - The tunnel

    /// The node's `wg0` is gone, with its addresses and routes.
    package func removeTunnel(_ index: Int = 0) throws {
        try site.nodes[index].ip("link delete wg0")
    }

    /// It is there again: another interface, by the kernel's number.
    package func restoreTunnel(_ index: Int = 0) throws {
        try tunnels[index].build()
        try finishTunnel(index)
        // A tunnel has no link-layer addresses that another one could have changed.
        try vps.ip("neigh flush dev wg0")
    }

    /// The kernel's number of a node's interface; 0: there is none.
    package func interfaceNumber(_ name: String = "wg0", node: Int = 0) throws -> Int {
        let text = try site.nodes[node].tool("ip", ["-o", "link", "show", "dev", name]).output
        return Int(text.prefix { $0 != ":" }) ?? 0
    }

    // MARK: - The forwarder

    /// HAProxy on the VPS, in TCP mode: every connection to port 443 goes to the nodes with a PROXY
    /// header, version 2. Returns when it listens; ends with `stop` of the process.
    ///
    /// - Parameters:
    ///   - nodes: indexes of the nodes it knows.
    ///   - overIPv6: through the tunnel.
    package func startHAProxy(nodes: [Int] = [0], overIPv6: Bool = false) throws -> RunningProcess {
        let directory = try TemporaryDirectory("haproxy")
        let addresses = overIPv6 ? Self.nodeAddresses6 : Self.nodeAddresses
        let servers = nodes.map {
            "  server lb0\($0 + 1) \(addresses[$0]):443 send-proxy-v2 check"
        }
        let text = """
            defaults
              mode tcp
              timeout connect 1s
              timeout client 60s
              timeout server 60s
              default-server inter 500ms fastinter 100ms downinter 100ms fall 2 rise 1
            listen public
              bind \(Self.publicAddress):443
              bind [\(Self.publicAddress6)]:443
            \(servers.joined(separator: "\n"))

            """
        defer { directory.remove() }
        let path = try directory.write("haproxy.cfg", text)
        let process = try vps.run("haproxy", ["-db", "-f", path])
        guard let target = SocketAddress(address: Self.publicAddress, port: 443) else {
            throw KitError("no public address")
        }
        for _ in 0..<500 where process.isRunning {
            if let client = try? RawClient(
                target, namespace: visitor.namespace, within: .milliseconds(200))
            {
                client.close()
                return process
            }
            usleep(4000)
        }
        throw KitError("HAProxy does not listen: \(process.standardError)")
    }
}
