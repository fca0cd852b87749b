internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The reference site with views: the daemon on its nodes serves the LAN on `eth0` and, through the
/// tunnel, the internet on `wg0`; and what clients of either get there.
final class PublicRun {
    let site: ReferenceSite
    let outside: PublicSite
    private(set) var balancers: [SiteBalancer] = []
    private var forwarder: RunningProcess?
    private var edgedForwarder: SiteBalancer?

    static let publicName = "grafana.example.org"
    static let lanAddress = ReferenceSite.nodeAddresses[0]
    /// The one that both nodes share; here the first one has it.
    static let virtualAddress = "192.168.1.13"
    static let lanAddress6 = "fd00:1::11"

    /// - Parameters:
    ///   - nodes: how many run the daemon.
    ///   - views: lines under `views:`; nil: `lan` on eth0 and `public` on wg0.
    ///   - isReference: the configuration is `conf/reference.yaml`.
    init(
        _ parts: ReferenceSite.Parts = .ingress, nodes: Int = 1, views: [String]? = nil,
        isReference: Bool = false
    ) throws {
        site = try ReferenceSite(parts)
        outside = try PublicSite(site)
        try site.nodes[0].ip("address add \(Self.virtualAddress)/24 dev eth0")
        try site.nodes[0].ip("address add \(Self.lanAddress6)/64 dev eth0 nodad")
        try site.client.ip("address add fd00:1::100/64 dev eth0 nodad")
        for node in 0..<nodes {
            var options = SiteBalancer.Options()
            options.configuration =
                isReference
                ? try Self.reference() : Self.configuration(site, views ?? Self.views)
            options.certificates = [
                "home": ["*.home.example"],
                "public/own": [Self.publicName] + (isReference ? ["cloud.example.org"] : []),
            ]
            balancers.append(try SiteRun.balancer(site, node: node, options))
        }
        let isServed = eventually {
            (try? self.lan())?.status == 200
        }
        guard isServed else { throw KitError("grafana is not served: \(balancers[0].log)") }
    }

    deinit { end() }

    /// Harmless when called again.
    func end() {
        edgedForwarder?.kill()
        forwarder?.stop()
        for balancer in balancers { balancer.kill() }
        site.tearDown()
    }

    // MARK: - Configuration

    static let views = [
        "  lan: { interfaces: [eth0] }",
        "  public:",
        "    interfaces: [wg0]",
        "    proxy_protocol: required",
        "    trusted_proxies: [\(PublicSite.vpsAddress), \"\(PublicSite.vpsAddress6)\"]",
        "    unknown: refuse",
    ]

    private static func configuration(_ site: ReferenceSite, _ views: [String]) -> String {
        func servers(_ list: [SiteServer], port: UInt16? = nil) -> String {
            list.map { "\"\($0.ip):\(port ?? $0.port)\"" }.joined(separator: ", ")
        }
        var lines = ["version: 1", "user: nobody", "workers: 2", "views:"] + views
        lines += ["listeners:", "  - { name: https, port: 443, protocol: tls }"]
        if !site.apiservers.isEmpty {
            lines.append(
                "  - { name: kube, port: 6443, protocol: tcp, views: [lan], upstream: kube }")
        }
        lines += [
            "certificates: { directory: certs, default: grafana.home.example }",
            "admin: { socket: admin.sock }", "access_log: { path: state/access.log }", "sites:",
            "  - { hosts: { lan: grafana.home.example, public: \(publicName) }, "
                + "upstream: ingress }",
            "  - { hosts: { lan: files.home.example }, upstream: files }",
            "  - { hosts: { lan: registry.home.example }, passthrough: registry }",
        ]
        if !site.dashboards.isEmpty {
            lines.append("  - { hosts: { lan: ceph.home.example }, upstream: ceph }")
        }
        lines += [
            "upstreams:", "  files: { servers: [\"\(site.files.address)\"] }",
            "  ingress: { servers: [\(servers(site.ingress))], tls: { ca: ca.pem } }",
            "  registry: { servers: [\(servers(site.ingress, port: 8443))], "
                + "health: { type: tls, ca: ca.pem, name: registry.home.example } }",
        ]
        if !site.apiservers.isEmpty {
            lines.append(
                "  kube: { servers: [\(servers(site.apiservers))], "
                    + "health: { preset: kube-apiserver, ca: ca.pem } }")
        }
        if !site.dashboards.isEmpty {
            lines.append(
                "  ceph: { servers: [\(servers(site.dashboards))], tls: { ca: ca.pem, "
                    + "name: ceph.home.example }, health: { preset: active-member, path: / } }")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// `conf/reference.yaml` with this machine's users and folders. Its addresses and names are the
    /// site's own.
    private static func reference() throws -> String {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        let root = parts.dropLast(3).joined(separator: "/")
        var text = try String(contentsOfFile: root + "/conf/reference.yaml", encoding: .utf8)
        for (written, here) in [
            ("user: edged\n", "user: nobody\n"), ("group: edged\n", ""),
            ("state: /var/lib/edged", "state: state"), ("ca/home-ca.pem", "ca.pem"),
            ("ca/k8s-ca.pem", "ca.pem"),
            ("/run/edged/admin.sock, group: edged-admin", "admin.sock"),
            ("/var/log/edged/access.log", "state/access.log"),
        ] {
            guard text.contains(written) else {
                throw KitError("conf/reference.yaml has no “\(written)”")
            }
            text = text.replacingOccurrences(of: written, with: here)
        }
        for section in ["nodes:", "failover:", "pair:"] {
            text = try Self.without(section, in: text)
        }
        return text
    }

    /// The nodes of this run are no pair: a section of the file that makes them one, up to the next
    /// empty line, is left out.
    private static func without(_ section: String, in text: String) throws -> String {
        guard let start = text.range(of: "\n" + section),
            let end = text.range(of: "\n\n", range: start.upperBound..<text.endIndex)
        else { throw KitError("conf/reference.yaml has no “\(section)”") }
        return String(text[..<start.lowerBound] + text[end.lowerBound...])
    }

    // MARK: - The forwarder

    func startHAProxy(nodes: [Int] = [0], overIPv6: Bool = false) throws {
        forwarder = try outside.startHAProxy(nodes: nodes, overIPv6: overIPv6)
    }

    func stopHAProxy() {
        forwarder?.stop()
        forwarder = nil
    }

    /// `edged` on the VPS in HAProxy's place: a tcp listener in front of both nodes, which it asks
    /// five times a second whether they serve.
    func startEdgedForwarder() throws {
        var options = SiteBalancer.Options()
        let servers = PublicSite.nodeAddresses.map { "\"\($0):443\"" }.joined(separator: ", ")
        options.configuration = """
            version: 1
            user: nobody
            workers: 1
            listeners:
              - name: public
                address: [\(PublicSite.publicAddress), "\(PublicSite.publicAddress6)"]
                port: 443
                protocol: tcp
                upstream: nodes
            admin: { socket: admin.sock }
            upstreams:
              nodes:
                servers: [\(servers)]
                proxy_protocol: v2
                health:
                  type: tls
                  ca: ca.pem
                  name: \(Self.publicName)
                  interval: 200ms
                  fast_interval: 100ms
                  timeout: 500ms
                  fall: 2

            """
        options.certificates = [:]
        edgedForwarder = try SiteRun.balancer(site, on: outside.vps, options)
    }

    // MARK: - Asking

    /// What a client got.
    struct Seen {
        let status: Int
        let text: String
        /// Whom the server was told to answer.
        let client: String?
        /// Which server it was.
        let server: String?
        /// Under which name it was asked.
        let host: String?
        let fingerprint: String?
        let strictTransport: String?
        let software: String?
    }

    /// One GET of `/`.
    ///
    /// - Parameters:
    ///   - serverName: of the ClientHello; nil: the host.
    ///   - preamble: before TLS.
    func get(
        _ host: String, _ path: String = "/", at address: String, from client: VirtualHost,
        serverName: String? = nil, port: UInt16 = 443, preamble: [UInt8] = [],
        within span: Duration = .seconds(3)
    ) throws -> Seen {
        guard let target = SocketAddress(address: address, port: port) else {
            throw KitError("“\(address)” is no address")
        }
        let tls = try ClientTLS(
            serverName: serverName ?? host, trusting: site.mint.rootPEM, alpn: ["http/1.1"])
        let raw = try RawClient(
            target, tls: tls, namespace: client.namespace, within: span, before: preamble)
        defer { raw.close() }
        let answer = try raw.get(path, host: host)
        return Seen(
            status: answer.status, text: answer.text, client: answer["x-client"],
            server: answer["x-server"], host: answer["x-host"],
            fingerprint: raw.serverFingerprint,
            strictTransport: answer["strict-transport-security"], software: answer["server"])
    }

    /// From the LAN.
    func lan(_ host: String = "grafana.home.example", at address: String = lanAddress) throws
        -> Seen
    {
        try get(host, at: address, from: site.client)
    }

    /// From the internet, by way of the forwarder.
    func visit(
        _ host: String = publicName, at address: String = PublicSite.publicAddress,
        within span: Duration = .seconds(3)
    ) throws -> Seen {
        try get(host, at: address, from: outside.visitor, within: span)
    }

    /// Of the first node's certificate: the public view's, or the one of all views.
    func fingerprint(_ name: String) -> String? { balancers[0].minted[name]?.fingerprint }

    /// The same of every node.
    func fingerprints(_ name: String) -> [String] {
        balancers.compactMap { $0.minted[name]?.fingerprint }
    }

    /// A lane of requests from the LAN or from the internet; every answer is checked.
    func lane(
        _ name: String, _ host: String, at address: String, from client: VirtualHost,
        port: UInt16 = 443, pace: LaneOptions.Pace = .perSecond(40), keepsAlive: Bool = false,
        body: String
    ) throws -> HTTPLane {
        guard let target = SocketAddress(address: address, port: port) else {
            throw KitError("“\(address)” is no address")
        }
        var options = LaneOptions(
            target, host: host,
            tls: try ClientTLS(
                serverName: host, trusting: site.mint.rootPEM, alpn: ["http/1.1"]),
            namespace: client.namespace, pace: pace, keepsAlive: keepsAlive, expectedBody: body)
        options.name = name
        options.notedField = "x-client"
        return HTTPLane(options)
    }
}
