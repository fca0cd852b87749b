internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The reference site with the daemon on both nodes, which share an address.
final class PairRun {
    static let address = "192.168.1.13"

    let site: ReferenceSite
    private(set) var balancers: [SiteBalancer] = []

    /// Begins the first node, which has the address, then the other.
    ///
    /// - Parameter more: further keys of `failover`.
    init(interval: String = "20ms", more: String = "") throws {
        site = try ReferenceSite(.ingress)
        for node in 0..<2 {
            var options = SiteBalancer.Options()
            options.nodeName = "lb-0\(node + 1)"
            options.secrets = ["failover.key": "between these two nodes alone\n"]
            options.ingress = "health: { path: /healthz, host: grafana.home.example }"
            options.more = """
                nodes:
                  lb-01: { address: 192.168.1.11, priority: 101 }
                  lb-02: { address: 192.168.1.12 }
                failover:
                  interface: eth0
                  addresses: \(Self.address)/24
                  router_id: 101
                  interval: \(interval)
                  secret: failover.key
                  boot_timeout: 1s
                \(more)
                timeouts: { drain: 3s }
                """
            balancers.append(try SiteRun.balancer(site, node: node, options))
            guard node == 0 else { continue }
            try wait("lb-01 has the address") { try holder == 0 }
        }
        try wait("each node knows that the other is ready") {
            try vip(0).contains("\"ready\": true") && vip(1).contains("\"live\": true")
        }
    }

    deinit { end() }

    /// Harmless when called again.
    func end() {
        for balancer in balancers { balancer.kill() }
        site.tearDown()
    }

    /// The node that has the address; nil: none, or both.
    var holder: Int? {
        get throws {
            let holders = try (0..<2).filter {
                try site.nodes[$0].isOn && site.nodes[$0].holds(Self.address)
            }
            return holders.count == 1 ? holders[0] : nil
        }
    }

    func vip(_ node: Int) throws -> String {
        let reply = try RunningProcess.run(
            Edged.program("edgectl"),
            ["--socket", balancers[node].directory.file("admin.sock"), "vip", "status", "--json"])
        return reply.output
    }

    /// - Throws: if that is not so within ten seconds.
    func wait(_ what: String, _ condition: () throws -> Bool) throws {
        let end = Instant.now().advanced(by: .seconds(10))
        while try !condition() {
            guard Instant.now() < end else {
                let said = try balancers.indices.map(vip).joined()
                throw KitError(
                    "not in time: \(what)\n\(said)\n\(balancers.map(\.log).joined())")
            }
            usleep(20_000)
        }
    }

    /// Connections to the address that moves, a request on each.
    func lane(_ rate: Double, timeout: Duration = .seconds(3)) throws -> HTTPLane {
        let target = try #require(SocketAddress(address: Self.address, port: 443))
        let host = "grafana.\(ReferenceSite.domain)"
        var options = LaneOptions(
            target, host: host,
            tls: try ClientTLS(
                serverName: host, trusting: site.mint.rootPEM, alpn: ["http/1.1"]),
            namespace: site.client.namespace, pace: .perSecond(rate), expectedBody: "ingress\n")
        options.timeout = timeout
        return HTTPLane(options)
    }

    /// SIGKILL to all processes of a node's daemon, and nothing else.
    func killAll(_ node: Int) throws {
        let guardian = try #require(balancers[node].process?.pid)
        let children = try RunningProcess.run("pgrep", ["-P", "\(guardian)"]).output
        for process in [guardian] + children.split(separator: "\n").compactMap({ Int32($0) }) {
            kill(process, SIGKILL)
        }
    }

    /// `EDGED_FIGURES=1` prints it.
    func figure(_ what: String, _ report: LaneReport) {
        guard ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil else { return }
        print("\(what): \(report)")
    }
}
