import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation

/// keepalived 2.2 on one host, with the addresses of `PairNetwork`.
final class Keepalived {
    private let directory: TemporaryDirectory
    private let process: RunningProcess
    let host: VirtualHost

    /// - Parameters:
    ///   - node: 1 or 2, the last number of its address.
    ///   - centiseconds: its interval.
    init(
        on host: VirtualHost, node: Int, priority: Int, centiseconds: Int = 10,
        isIPv6: Bool = false, isUnicast: Bool = false, isNoPreempt: Bool = false,
        version: Int = 3
    ) throws {
        self.host = host
        directory = try TemporaryDirectory("keepalived")
        let other = 3 - node
        let net = isIPv6 ? "fd77::" : "10.77.0."
        let unicast =
            isUnicast
            ? "unicast_src_ip \(net)\(node)\n unicast_peer { \(net)\(other) }" : ""
        let addresses =
            isIPv6
            ? "fe80::200:5eff:fe00:207/64\n \(PairNetwork.six)/64" : "\(PairNetwork.four)/24"
        let text = """
            global_defs {
              router_id node\(node)
              vrrp_version \(version)
              vrrp_garp_master_repeat 2
              vrrp_garp_master_delay 1
            }
            vrrp_instance lan {
              state \(version == 3 ? "BACKUP" : "MASTER")
              \(isNoPreempt ? "nopreempt" : "")
              interface eth0
              virtual_router_id 7
              priority \(priority)
              advert_int \(version == 3 ? String(Double(centiseconds) / 100) : "1")
              \(unicast)
              virtual_ipaddress {
                \(addresses)
              }
            }
            """
        let file = try directory.write("keepalived.conf", text)
        let path = { [directory] name in directory.path + "/" + name }
        process = try host.run(
            "/usr/sbin/keepalived",
            [
                "--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file=\(file)",
                "--pid=\(path("k.pid"))", "--vrrp_pid=\(path("v.pid"))",
            ])
    }

    /// SIGTERM: priority 0 is its last word, at once; it ends a second later.
    func terminate() { process.signal(SIGTERM) }

    /// As if its host had lost power, as far as it is concerned.
    func kill() { process.stop() }

    var log: String { process.standardOutput + process.standardError }

    /// Waits until its log says so.
    func says(_ text: String, within span: Duration = .seconds(5)) -> Bool {
        eventually(within: span) { log.contains(text) }
    }
}
