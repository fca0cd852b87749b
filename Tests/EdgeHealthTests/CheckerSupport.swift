import EdgeCore
import EdgeHealth
import EdgeSystem
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Foundation

/// A checker whose loop is turned by the test.
final class CheckSite {
    let loop: PollLoop
    private(set) var checker: Checker!
    private(set) var reports: [CheckReport] = []

    init() throws {
        loop = try PollLoop()
        checker = Checker(loop: loop, seed: 3)
    }

    deinit { checker.close() }

    func begin(
        _ kind: HealthPolicy.Kind, at address: SocketAddress, tls: CheckTLS? = nil,
        sendsProxyHeader: Bool = false, timeout: Duration = .seconds(5), port: UInt16? = nil
    ) {
        let policy = HealthPolicy(kind: kind, port: port, timeout: timeout)
        checker.check(
            Checker.Target(
                address: address, upstream: "test", policy: policy, tls: tls,
                sendsProxyHeader: sendsProxyHeader)
        ) { [weak self] in self?.reports.append($0) }
    }

    /// Turns the loop until so many reports are there; false after 10 s.
    func turn(until count: Int) -> Bool { turn { reports.count >= count } }

    func turn(until condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(10))
        while !condition() {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(20))
        }
        return true
    }

    /// One check, to its end.
    func report(
        _ kind: HealthPolicy.Kind, at address: SocketAddress, tls: CheckTLS? = nil,
        sendsProxyHeader: Bool = false, timeout: Duration = .seconds(5), port: UInt16? = nil
    ) -> CheckReport? {
        let count = reports.count
        begin(
            kind, at: address, tls: tls, sendsProxyHeader: sendsProxyHeader, timeout: timeout,
            port: port)
        guard turn(until: count + 1) else { return nil }
        return reports.last
    }

    func close() { checker.close() }
}

/// Connections to a port of 127.0.0.1 that a process still holds, as the kernel counts them.
func heldConnections(to port: UInt16) throws -> Int {
    let table = try String(contentsOfFile: "/proc/net/tcp", encoding: .utf8)
    let digits = String(port, radix: 16, uppercase: true)
    let wanted = ":" + String(repeating: "0", count: 4 - digits.count) + digits
    return table.split(separator: "\n").dropFirst().filter { line in
        let words = line.split(separator: " ")
        // 0A is a listener; a socket that its process has closed has no inode.
        return words.count > 9 && words[2].hasSuffix(wanted) && words[3] != "0A"
            && words[9] != "0"
    }.count
}

let http = HealthPolicy.Kind.http(HealthPolicy.Request(path: "/healthz"))
let http2 = HealthPolicy.Kind.http2(HealthPolicy.Request(path: "/healthz"))

/// Trust in a mint's root.
func trust(_ mint: CertificateMint) throws -> ClientTrust {
    let folder = try TemporaryDirectory()
    return try ClientTrust.load(try folder.write("ca.pem", mint.rootPEM))
}
