import CEdge
import EdgeCore
import EdgeHTTP
import EdgeRouting
import EdgeTLS
import Testing

@testable import EdgeProxy

@Suite("What is counted per site, upstream and view") struct TrafficTests {
    /// Two sites with rows 1 and 2; `nobody.example` has none.
    private static func bench(_ change: (inout Bench.Options) -> Void = { _ in }) throws -> Bench {
        let hosts = [("home.example", Int32(1)), ("other.example", Int32(2))].map {
            pattern, row in
            var host = Router.Host(pattern: pattern, site: row - 1, pool: 0)
            host.traffic = row
            return host
        }
        var options = Bench.Options()
        options.routing = Routing(
            views: [(0, ClientView(name: "", index: 0))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: hosts)]),
            profiles: [ServerProfile(fallback: nil)])
        change(&options)
        return try Bench(options)
    }

    private func get(_ host: String, _ path: String = "/") -> String {
        "GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n"
    }

    @Test("A request is counted with its site: class, bytes, and how long it took")
    func oneRequest() throws {
        let bench = try Self.bench()
        let client = bench.client()

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 4\r\n\r\nabcd")
        #expect(bench.classes(0, 1, 2) == [0, 0, 0, 0, 0, 0])
        bench.turn(after: .milliseconds(3))
        bench.send(bench.upstream, Bench.ok)

        let cells = bench.siteCells(1)
        #expect(bench.classes(1) == [0, 0, 1, 0, 0, 0])
        #expect(cells[SiteCells.received] == 4 && cells[SiteCells.sent] == 2)
        #expect(cells[SiteCells.durationSum] == 3_000_000)
        #expect(cells[SiteCells.durations + Timing.bucket(of: 3_000_000)] == 1)
        #expect(cells[SiteCells.failures..<SiteCells.durationSum].allSatisfy { $0 == 0 })
        #expect(bench.classes(0, 2) == [0, 0, 0, 0, 0, 0])
    }

    @Test("Each site has its own row, and what no site has is with all others")
    func sites() throws {
        let bench = try Self.bench()
        let client = bench.client()
        for status in ["204 No", "301 Moved", "404 No", "503 No"] {
            bench.send(client, get("other.example"))
            bench.send(bench.upstream, "HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n")
        }
        bench.send(client, get("nobody.example"))
        bench.send(bench.client(Bench.redirectListener), get("home.example"))

        #expect(bench.classes(2) == [0, 0, 1, 1, 1, 1])
        #expect(bench.classes(1) == [0, 0, 0, 0, 0, 0])
        #expect(bench.classes(0) == [0, 0, 0, 1, 1, 0])
        #expect(bench.siteCells(0)[SiteCells.failures] == 1)
        #expect(bench.count(Counter.requests) == 6)
    }

    @Test("A failure is counted with its site by whose fault it was")
    func failures() throws {
        let bench = try Self.bench { $0.requestsMax = 1 }
        let (one, other) = (bench.client(), bench.client())

        // The upstream's: it cuts its answer.
        bench.send(one, get("home.example"))
        // Its limit.
        bench.send(other, get("home.example"))
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        bench.ring.ends(bench.upstream)
        bench.settle()
        // The client's: it goes before there is an answer.
        let third = bench.client()
        bench.send(third, get("home.example"))
        bench.ring.fails(third, ECONNRESET)
        bench.settle()

        let cells = bench.siteCells(1)
        #expect(cells[SiteCells.failures] == 1, "client")
        #expect(cells[SiteCells.failures + 1] == 0, "edge")
        #expect(cells[SiteCells.failures + 2] == 2, "upstream")
        #expect(bench.classes(1) == [1, 0, 1, 0, 0, 1])
    }

    @Test("An upgraded connection is a request without a duration; a relayed one is none")
    func tunnels() throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(
            client,
            "GET / HTTP/1.1\r\nHost: home.example\r\nConnection: Upgrade\r\n"
                + "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        bench.send(
            bench.upstream,
            "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        bench.ring.ends(client)
        bench.settle()
        let relayed = bench.client(Bench.tcpListener)
        bench.ring.ends(relayed)
        bench.settle()

        #expect(bench.classes(1) == [0, 1, 0, 0, 0, 0])
        #expect(bench.siteCells(1)[SiteCells.durationSum] == 0)
        #expect(bench.classes(0, 2) == [0, 0, 0, 0, 0, 0])
        #expect(bench.count(Counter.requests) == 1)
        #expect(bench.upstreamCells()[UpstreamCells.attempts] == 2)
    }

    @Test("An upstream's row has attempts, connections, failures and the first byte's time")
    func upstream() throws {
        let bench = try Self.bench { $0.members = [Bench.member(1), Bench.member(2)] }
        bench.ring.connectPolicy = { $0 == Bench.member(1) ? -ECONNREFUSED : 0 }
        let client = bench.client()
        for _ in 0..<2 { bench.send(client, get("home.example")) }
        bench.turn(after: .milliseconds(6))
        #expect(bench.upstreamCells()[UpstreamCells.active] == 1)
        bench.send(bench.upstream, Bench.ok)
        bench.send(bench.upstream, Bench.ok)

        let cells = bench.upstreamCells()
        #expect(cells[UpstreamCells.connectFailures] == 1)
        #expect(cells[UpstreamCells.connects] == 2)
        #expect(cells[UpstreamCells.attempts] == 3)
        #expect(cells[UpstreamCells.active] == 0)
        #expect(cells[UpstreamCells.responseSum] == 6_000_000)
        #expect(cells[UpstreamCells.responses...].reduce(0, +) == 2)
        #expect(cells[UpstreamCells.failures] == 0)
        #expect(bench.upstreamCells(1).allSatisfy { $0 == 0 })
    }

    @Test("Connections are counted with the view that they came into")
    func views() throws {
        let bench = try Self.bench()
        let (one, other) = (bench.client(), bench.client())

        #expect(bench.worker.traffic.connections(view: 0) == 2)
        bench.ring.ends(one)
        bench.ring.ends(other)
        bench.settle()
        #expect(bench.worker.traffic.connections(view: 0) == 0)
    }

    @Test("What is beyond the tables shares a row", arguments: [Int32.max, 16_383, -1])
    func bounds(id: Int32) throws {
        #expect(TrafficTable.upstreamRow(id) == TrafficTable.other)
        #expect(TrafficTable.upstreamRow(16_382) == 16_383)
        let table = try #require(TrafficTable())
        table.opened(view: .max)
        #expect(table.connections(view: 255) == 1)
        #expect(table.connections(view: 254) == 0)
        #expect(!table.hasTraffic(site: Int32(TrafficTable.sitesMax - 1)))
    }
}
