import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

@Suite("Worker: members that answer nobody") struct HangTests {
    private static let members = [Bench.member(1), Bench.member(2)]

    private static func bench(_ version: UpstreamProtocol = .http1) throws -> Bench {
        let bench = try Bench.multiplexing {
            $0.members = members
            $0.version = version
        }
        rank(bench, epoch: 2, .preferred, .preferred)
        return bench
    }

    private static func rank(_ bench: Bench, epoch: UInt64, _ ranks: MemberRank...) {
        let view = UpstreamView(
            id: 0, name: "app",
            members: zip(members, ranks).map {
                RankedMember(address: $0, rank: $1, state: $1 == .never ? .ejected : .up)
            },
            tellsFailures: 5)
        let base = Bench.snapshot(epoch, bench.options, members)
        bench.worker.handle(.apply(RuntimeSnapshot(base, epoch: epoch, views: [0: view])))
        bench.settle()
    }

    /// A request that the first member gets and does not answer, once the second has answered one.
    private func hang(_ bench: Bench, _ text: String) -> Int32 {
        let warm = bench.client()
        for _ in 0..<2 {
            bench.send(warm, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }
        _ = bench.ring.takeSent(to: warm)
        let client = bench.client()
        bench.send(client, text)
        return client
    }

    private func told(_ bench: Bench) -> [Int] {
        bench.events.list.compactMap {
            guard case .observed(_, let address, .consecutiveFailures(let count)) = $0,
                address == Bench.member(1)
            else { return nil }
            return count
        }
    }

    @Test("Five requests that wait a second for a member that answers nobody are told of")
    func isTold() throws {
        let bench = try Self.bench()
        _ = hang(bench, bench.get())
        Self.rank(bench, epoch: 3, .preferred, .never)
        let clients = (0..<4).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }

        bench.pass(.milliseconds(900))
        #expect(told(bench).isEmpty)
        bench.pass(.milliseconds(700))

        #expect(told(bench) == [5])
        // Each counts once.
        bench.pass(.seconds(3))
        #expect(told(bench) == [5])
    }

    @Test("A request that hangs leaves a member that is taken out, and is answered elsewhere")
    func leaves() throws {
        let bench = try Self.bench()
        let client = hang(bench, bench.get())
        bench.pass(.milliseconds(1_200))
        #expect(bench.ring.takeSent(to: client).isEmpty)

        Self.rank(bench, epoch: 3, .never, .preferred)
        bench.pass(.milliseconds(600))
        #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.count(Counter.upstreamRetries) == 1)
    }

    @Test("What may do harm twice goes on waiting at a member that is taken out")
    func postStays() throws {
        let bench = try Self.bench()
        let post = "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi"
        let client = hang(bench, post)
        let slow = bench.ring.opened[0]
        Self.rank(bench, epoch: 3, .never, .preferred)
        bench.pass(.seconds(4))
        #expect(bench.count(Counter.upstreamRetries) == 0)

        bench.send(slow, Bench.ok)

        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("The first failure of a member that is back is told of at once")
    func trial() throws {
        let bench = try Self.bench()
        let client = hang(bench, bench.get())
        bench.send(bench.ring.opened[0], Bench.ok)
        Self.rank(bench, epoch: 3, .never, .preferred)
        Self.rank(bench, epoch: 4, .preferred, .never)
        _ = bench.ring.takeSent(to: client)

        for _ in 0..<3 {
            bench.send(client, bench.get())
            bench.send(
                bench.upstream, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 500"))
        }

        #expect(told(bench) == [5])
    }

    @Test("A stream that hangs is reset, and its request becomes one of another member's")
    func streamLeaves() throws {
        let bench = try Self.bench(.http2)
        let client = bench.client()
        var servers: [WirePeer] = []
        func answer(_ server: WirePeer) {
            for id in server.peer.open {
                server.peer.answer(id, 200, [("content-length", "2")], hasContent: true)
                server.peer.send(id, Array("ok".utf8), isLast: true)
            }
            server.exchange()
        }
        for _ in 0..<2 {
            bench.send(client, bench.get())
            servers.append(try WirePeer(upstreamOf: bench))
            answer(servers[servers.count - 1])
        }
        #expect(bench.ring.address(of: servers[0].descriptor) == Bench.member(1))
        _ = bench.ring.takeSent(to: client)

        bench.send(client, bench.get("/hangs"))
        servers[0].exchange()
        #expect(servers[0].peer.open.count == 1)
        bench.pass(.milliseconds(1_200))
        Self.rank(bench, epoch: 3, .never, .preferred)
        bench.pass(.milliseconds(600))
        WirePeer.exchange(servers)

        #expect(servers[0].peer.open.isEmpty)
        #expect(servers[1].peer.open.count == 1)
        answer(servers[1])
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }
}
