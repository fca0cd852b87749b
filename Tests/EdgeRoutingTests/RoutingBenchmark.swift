import EdgeCore
import EdgeTesting
import Foundation
import Testing

@testable import EdgeRouting

/// Prints what a look-up takes with ten and with ten thousand sites:
/// `EDGED_FIGURES=1 swift test -c release -Xswiftc -enable-testing --filter RoutingBenchmark`.
@Suite(
    "Routing benchmark", .enabled(if: ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil))
struct RoutingBenchmark {
    private static let rounds = 200_000

    /// All of one length.
    private static func name(_ number: Int) -> String { "site-\(10_000 + number).home.example" }

    private static func router(_ sites: Int) -> Router {
        let hosts = (0..<sites).map { number in
            Router.Host(Self.name(number), Int32(number)) { host in
                host.paths = ["/", "/api", "/api/v2", "/static"].map {
                    .init(prefix: $0, pool: Int32(number))
                }
            }
        }
        return Router([.init(hosts: hosts), .init(hosts: hosts)])
    }

    /// Of the thread's processor time, so that other load counts little.
    private static func nanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    private func measure(_ name: String, _ body: (Int) -> Int32) {
        var sum: Int32 = 0
        var best = Int.max
        for _ in 0..<5 {
            let begin = Self.nanoseconds()
            for round in 0..<Self.rounds { sum &+= body(round) }
            best = min(best, Self.nanoseconds() - begin)
        }
        // The sum, so that the look-ups are not left out.
        print("\(name): \(Double(best / (Self.rounds / 10)) / 10) ns (sum \(sum))")
    }

    @Test("Look-ups at 10 and 10,000 sites", arguments: [10, 10_000])
    func lookUps(sites: Int) {
        let router = Self.router(sites)
        // The bytes are a small ring, so that the names are not what misses the cache.
        let names = (0..<1_024).flatMap { Array(Self.name($0 &* 7_919 % sites).utf8) }
        let length = names.count / 1_024
        let plain = Array("/api/v2/things/17".utf8)
        let unclear = Array("/api/v2/things/a%20b".utf8)
        let hostile = Array("/x/%252e%252e/api/..;/v2".utf8)

        measure("connection, \(sites) sites") { round in
            let start = (round & 1_023) * length
            let name = names.span.extracting(start..<start + length)
            let found = router.connection(view: round & 1, serverName: name) { $0.isEmpty }
            if case .terminate(let site, _) = found { return site }
            return -1
        }
        for (kind, path) in [("plain", plain), ("encoded", unclear), ("hostile", hostile)] {
            measure("request, \(kind) path, \(sites) sites") { round in
                let start = (round & 1_023) * length
                let name = names.span.extracting(start..<start + length)
                return router.request(view: round & 1, host: name, path: path.span)?.pool ?? -1
            }
        }
    }

    @Test("Views and access rules")
    func rules() throws {
        var lan = ViewConfiguration(name: "lan")
        lan.interfaces = ["eth0"]
        lan.sources = [try #require(CIDR("192.168.0.0/16"))]
        let views = ViewTable(
            [lan, ViewConfiguration(name: "public")], listeners: [nil], interfaces: ["eth0": [2]])
        var rules = RuleConfiguration()
        rules.allowed = (0..<200).compactMap { CIDR("10.\($0).0.0/16") }
        rules.methods = ["GET", "HEAD", "POST"]
        let access = AccessRules([[], [rules]])
        let clients = (0..<256).map { SocketAddress(ipv4: 0x0A00_0001 | $0 << 16, port: 1) }
        let method = Array("POST".utf8)

        measure("view") { round in
            let verdict = views.verdict(
                listener: 0, interface: Int32(round & 3), source: clients[round & 255])
            return verdict == .view(1) ? 1 : 0
        }
        measure("access, 200 blocks and 3 methods") { round in
            let client = clients[round & 255]
            return access.verdict(policy: 1, client: client, method: method.span) == .allow ? 1 : 0
        }
    }
}
