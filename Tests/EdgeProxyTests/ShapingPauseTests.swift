import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeLimits
import EdgeTesting
import Testing

@testable import EdgeProxy

/// What happens to transfers while their limit has them wait.
@Suite("Bytes per second: pauses") struct ShapingPauseTests {
    /// 10,000 bytes/s: what a buffer holds takes 1.64 s.
    private static let slow: UInt64 = 10_000
    private static let piece = [UInt8](repeating: 0x62, count: 16_384)

    private static func answer(_ count: Int) -> [UInt8] {
        Array("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n".utf8)
            + [UInt8](repeating: 0x61, count: count)
    }

    private static func put(_ count: Int) -> String {
        "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: \(count)\r\n\r\n"
    }

    /// A client that is in debt and its upstream, of whose answer so many bytes have to come.
    private static func paused(
        _ bench: Bench, _ count: Int = 100_000
    ) -> (client: Int32, upstream: Int32) {
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, answer(count))
        bench.settle()
        return (client, bench.upstream)
    }

    @Test("A pause ends when the debt is paid, to the timer's 4 ms")
    func exact() throws {
        let bench = try Shaping.bench(.download, rate: 10_000, burst: 16_384)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(
            bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n")
        bench.settle()
        _ = bench.ring.takeBytes(to: client)

        // The burst, and what is charged when it has been moved.
        for _ in 0..<4 {
            bench.ring.receives(bench.upstream, Self.piece)
            bench.settle()
        }
        #expect(bench.ring.takeBytes(to: client).count == 32_768)
        bench.flow(.milliseconds(1_636))
        #expect(bench.ring.takeBytes(to: client).isEmpty)
        bench.flow(.milliseconds(12))
        #expect(bench.ring.takeBytes(to: client).count == 16_384)
        bench.flow(.milliseconds(1_620))
        #expect(bench.ring.takeBytes(to: client).isEmpty)
        bench.flow(.milliseconds(24))
        #expect(bench.ring.takeBytes(to: client).count == 16_384)
        bench.settle()
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    @Test("No time-out of a download runs while it is paused")
    func patientDown() throws {
        // 164 s for a buffer; content and tunnels have 30 s, and the least rate is above the limit.
        let bench = try Shaping.bench(.download, rate: 100, burst: 100) {
            $0.downloadMin = 1_000
        }
        let (client, _) = Self.paused(bench, 40_000)

        bench.pass(.seconds(500))

        #expect(bench.ring.takeBytes(to: client).count > 40_000)
        #expect(bench.count(.upstreamBodyTimeout) == 0)
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    @Test("No time-out and no least rate of an upload runs while it is paused")
    func patientUp() throws {
        let bench = try Shaping.bench(.upload, rate: 100, burst: 100) { $0.uploadMin = 1_000 }
        let client = bench.client()
        bench.send(client, Self.put(40_000))
        bench.ring.receives(client, [UInt8](repeating: 0x61, count: 40_000))

        // Two pauses; then the answer is awaited.
        bench.pass(.seconds(335))

        #expect(bench.ring.takeBytes(to: bench.upstream).count > 40_000)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\nok"))
        #expect(bench.count(.clientBodyTimeout) == 0)
    }

    @Test("A client that sends nothing when it may again is timed out from then on")
    func silent() throws {
        let bench = try Shaping.bench(.upload, rate: 1_000, burst: 1_000)
        let client = bench.client()
        bench.send(client, Self.put(40_000))
        bench.ring.receives(client, Self.piece)
        bench.settle()

        bench.pass(.seconds(40))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.seconds(8))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408 "))
    }

    @Test(
        "A WebSocket is not silent while it is paused", arguments: [LimitedThing.upload, .download])
    func patientTunnel(thing: LimitedThing) throws {
        // The tunnel's time-out of an hour, and a debt of two.
        let bench = try Shaping.bench(thing, rate: 2, burst: 2)
        let client = bench.client()
        bench.send(client, bench.get("/", Shaping.upgrade))
        bench.send(bench.upstream, Shaping.switching)
        let from = thing == .upload ? client : bench.upstream
        let to = thing == .upload ? bench.upstream : client
        bench.ring.receives(from, Self.piece)
        bench.ring.receives(from, Self.piece)
        bench.settle()
        _ = bench.ring.takeBytes(to: to)

        for _ in 0..<9_000 { bench.quietTurn(after: .seconds(1)) }

        #expect(bench.ring.takeBytes(to: to).count == 16_384)
        #expect(bench.count(.tunnelTimeout) == 0)
    }

    @Test("A relayed connection of a client in debt waits for that before its first byte")
    func relayInDebt() throws {
        let bench = try Shaping.bench(.upload, rate: 10_000, burst: 10_000)
        let address = SocketAddress(ipv4: 0xC633_6401, port: 1)
        let first = bench.client(Bench.tcpListener, from: address)
        bench.ring.receives(first, Self.piece)
        bench.settle()
        bench.ring.ends(first)
        bench.pass(.milliseconds(10))

        let second = bench.client(Bench.tcpListener, from: address.with(port: 2))
        bench.send(second, "hello")
        #expect(bench.ring.sent(to: bench.upstream).isEmpty)
        // 6,384 bytes beyond the burst.
        bench.flow(.milliseconds(600))
        #expect(bench.ring.sent(to: bench.upstream).isEmpty)
        bench.flow(.milliseconds(60))

        #expect(bench.ring.takeSent(to: bench.upstream) == "hello")
    }

    @Test("A client that goes while its download is paused leaves nothing")
    func clientGone() throws {
        let bench = try Shaping.bench(.download, rate: Self.slow, burst: Self.slow)
        let (client, upstream) = Self.paused(bench)

        bench.ring.fails(client, ECONNRESET)
        bench.settle()

        #expect(bench.ring.isClosed(client) && bench.ring.isClosed(upstream))
        bench.pass(.seconds(10))
        bench.expectEmpty()
    }

    @Test("A client that goes while its upload is paused leaves nothing")
    func uploadGone() throws {
        let bench = try Shaping.bench(.upload, rate: Self.slow, burst: Self.slow)
        let client = bench.client()
        bench.send(client, Self.put(100_000))
        bench.ring.receives(client, Self.piece)
        bench.settle()
        #expect(bench.count(Counter.transfersPaused) == 1)

        bench.ring.fails(client, ECONNRESET)
        bench.settle()

        #expect(bench.ring.isClosed(client))
        bench.pass(.seconds(10))
        bench.expectEmpty()
    }

    @Test("An answer that its upstream cuts while it is paused is cut")
    func upstreamGone() throws {
        let bench = try Shaping.bench(.download, rate: Self.slow, burst: Self.slow)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        bench.ring.receives(bench.upstream, Self.piece)
        bench.settle()

        bench.ring.ends(bench.upstream)
        bench.pass(.seconds(10))

        #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
        #expect(bench.count(.upstreamTruncated) == 1)
    }

    @Test("Requests wait for their client's debt before they have an upstream, others do not")
    func heldBack() throws {
        let bench = try Shaping.bench(.download, rate: Self.slow, burst: Self.slow)
        let address = SocketAddress(ipv4: 0xC633_6401, port: 1)
        let client = bench.client(from: address)
        bench.send(client, bench.get())
        // 4 s of debt beyond the burst, by an answer that is over.
        bench.ring.receives(bench.upstream, Self.answer(50_000 - 10_000))
        bench.settle()
        bench.flow(.seconds(3))
        _ = bench.ring.takeBytes(to: client)
        let upstream = bench.upstream
        #expect(bench.count(Counter.requestsActive) == 0)
        _ = bench.ring.takeBytes(to: upstream)

        let other = bench.client(from: address.with(port: 2))
        bench.send(other, bench.get("/second"))
        let stranger = bench.client()
        bench.send(stranger, bench.get("/third"))

        #expect(bench.ring.takeSent(to: bench.upstream).contains("/third"))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: stranger).hasSuffix("ok"))
        #expect(!bench.ring.sent(to: upstream).starts(with: Array("GET /second".utf8)))
        bench.pass(.seconds(5))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: other).hasSuffix("ok"))
        #expect(bench.ring.opened.count == 1)
    }

    @Test("A request that its client gives up while it is held back leaves nothing")
    func heldBackGone() throws {
        let bench = try Shaping.bench(.download, .upload, rate: Self.slow, burst: Self.slow)
        let (client, upstream) = Self.paused(bench)
        let address = try #require(bench.ring.address(of: client))
        let second = bench.client(from: address.with(port: 2))
        bench.send(second, Self.put(100_000) + String(repeating: "x", count: 5_000))
        #expect(bench.count(Counter.requestsActive) == 2)

        bench.ring.fails(second, ECONNRESET)
        bench.ring.fails(client, ECONNRESET)
        bench.settle()

        #expect(bench.ring.isClosed(second) && bench.ring.isClosed(upstream))
        bench.pass(.seconds(20))
        bench.expectEmpty()
    }

    /// A client whose answer has come whole on a stream, and waits for its limit there.
    private static func outlived(_ bench: Bench) throws -> (client: Int32, server: WirePeer) {
        let client = bench.client()
        bench.send(client, bench.get())
        let server = try WirePeer(upstreamOf: bench)
        server.peer.answer(1, 200, [("content-length", "60000")], hasContent: true)
        server.peer.send(1, [UInt8](repeating: 0x61, count: 60_000), isLast: true)
        server.exchange()
        #expect(server.peer.open.isEmpty)
        return (client, server)
    }

    @Test(
        "An answer that is whole in its stream's window goes down at the limit's rate all the same")
    func outlives() throws {
        let bench = try Shaping.bench(.download, rate: 10_000, burst: 10_000) {
            $0.version = .http2
            $0.connectionsMax = 64
        }
        let (client, server) = try Self.outlived(bench)
        #expect(bench.ring.takeBytes(to: client).count < 40_000)

        bench.pass(.seconds(3))
        #expect(bench.count(Counter.requestsActive) == 1)
        bench.pass(.seconds(3))

        #expect(bench.count(Counter.requestsActive) == 0)
        #expect(bench.worker.upstreamStreamSlots.used == 0)
        // Its connection serves others.
        let other = bench.client()
        bench.send(other, bench.get())
        server.exchange()
        #expect(server.peer.open == [3])
    }

    @Test("Such an answer is whole if its connection dies, and nothing is left of one given up")
    func outlivesConnection() throws {
        for isClient in [true, false] {
            let bench = try Shaping.bench(.download, rate: 10_000, burst: 10_000) {
                $0.version = .http2
                $0.connectionsMax = 64
            }
            let (client, server) = try Self.outlived(bench)

            bench.ring.fails(isClient ? client : server.descriptor, ECONNRESET)
            bench.settle()

            #expect(bench.count(Counter.requestsActive) == 0)
            #expect(bench.worker.upstreamStreamSlots.used == 0)
            if !isClient { #expect(bench.ring.sent(to: client).count > 60_000) }
            #expect(bench.count(.upstreamTruncated) == 0)
        }
    }

    @Test("A reload that lifts the limit ends its pauses at once, one that lowers it prolongs them")
    func reload() throws {
        let bench = try Shaping.bench(.download, rate: 100, burst: 100)
        let (client, _) = Self.paused(bench, 100_000)
        _ = bench.ring.takeBytes(to: client)
        let lower = try Shaping.plans(
            Shaping.policy([.download], 10, burst: 10), after: bench.options.limits)

        bench.reload(lower)
        bench.pass(.seconds(300))
        #expect(bench.ring.takeBytes(to: client).isEmpty)
        bench.reload(Shaping.plans(LimitPolicy(name: "none"), after: lower))
        bench.flow(.milliseconds(12))
        bench.settle()

        #expect(bench.ring.takeBytes(to: client).count >= 80_000)
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    @Test("A reload that limits what is under way does so from then on")
    func reloadOnto() throws {
        let bench = try Shaping.bench(.requests, rate: 100, burst: 100)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, Array(Shaping.head.utf8) + Self.piece)
        bench.settle()
        #expect(bench.count(Counter.transfersPaused) == 0)
        _ = bench.ring.takeBytes(to: client)

        try bench.reload(Shaping.plans(Shaping.policy([.download]), after: bench.options.limits))
        bench.ring.receives(bench.upstream, Shaping.content)
        let count = bench.steadily { bench.ring.takeBytes(to: client).count }

        #expect((4_950_000...5_050_000).contains(count), "\(count)")
    }

    @Test("A reload that limits the other direction charges nothing of what went there before")
    func reloadOther() throws {
        let bench = try Shaping.bench(.upload, rate: 1_000, burst: 1_000)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, Array(Shaping.head.utf8))
        for _ in 0..<100 {
            bench.ring.receives(bench.upstream, Self.piece)
            bench.settle()
            _ = bench.ring.takeBytes(to: client)
        }

        try bench.reload(
            Shaping.plans(Shaping.policy([.upload, .download], 1_000), after: bench.options.limits))
        bench.ring.receives(bench.upstream, Self.piece)
        bench.settle()
        _ = bench.ring.takeBytes(to: client)
        bench.ring.receives(bench.upstream, Self.piece)
        bench.pass(.seconds(20))

        #expect(!bench.ring.takeBytes(to: client).isEmpty)
    }

    @Test("Of many requests that wait for a debt one goes on after the other, and none for ever")
    func heldBackMany() throws {
        let bench = try Shaping.bench(.download, rate: 2_000, burst: 2_000)
        let address = SocketAddress(ipv4: 0xC633_6401, port: 1)
        let client = bench.client(from: address)
        bench.send(client, bench.get())
        bench.ring.receives(bench.upstream, Self.answer(10_000))
        bench.settle()
        bench.flow(.seconds(1))
        let others = (0..<20).map { bench.client(from: address.with(port: 10 + $0)) }
        for other in others { bench.send(other, bench.get()) }
        let asked = bench.ring.opened.count

        // A turn is worth eight seconds here.
        bench.pass(.seconds(12))
        #expect(bench.ring.opened.count - asked <= 2)
        bench.pass(.seconds(40))

        let answers = others.map { String(decoding: bench.ring.takeBytes(to: $0), as: UTF8.self) }
        let refused = answers.filter { $0.hasPrefix("HTTP/1.1 429") }
        #expect(refused.count >= 10, "\(refused.count)")
        #expect(bench.count(.rateLimited) == UInt64(refused.count))
        var figures = LimitNews.Figures()
        for case .limited(let news) in bench.events.list {
            for policy in news.policies { figures += policy.figures }
        }
        #expect(figures.refused == UInt64(refused.count), "\(figures)")
        // A turn's debt is gone in eight seconds at the latest.
        for answer in refused {
            let line = try #require(
                answer.split(separator: "\r\n").first { $0.hasPrefix("Retry-After: ") })
            let seconds = try #require(Int(line.dropFirst(13)))
            #expect((1...8).contains(seconds), "\(line)")
        }
    }

    @Test("A draining worker lets a paused download finish, at its rate")
    func drain() throws {
        let bench = try Shaping.bench(.download, rate: Self.slow, burst: Self.slow)
        let (client, _) = Self.paused(bench, 60_000)

        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        bench.pass(.seconds(3))
        #expect(!bench.isStopped)
        #expect(bench.ring.sent(to: client).count < 60_000)
        bench.pass(.seconds(8))

        #expect(bench.ring.sent(to: client).count > 60_000)
        #expect(bench.isStopped)
    }

    @Test("An upload of a paused stream keeps no more than its window")
    func window() throws {
        let bench = try Shaping.bench(.upload, rate: 10, burst: 10)
        let client = try WirePeer(clientOf: bench)
        let id = client.post("/", [("content-length", "\(Shaping.content.count)")])

        client.peer.send(id, Shaping.content)
        client.exchange()

        let link = try #require(bench.link(client))
        #expect(link.bytesStashed <= 64 << 10 && link.bytesStashed > 32 << 10)
        #expect(client.peer.waiting(id) > 7_800_000)
        // Another site's stream on it goes on.
        let free = client.peer.request(
            SessionPeer.fields("POST", "/", authority: "free.example"), hasContent: true)
        client.peer.send(free, Shaping.content.prefix(1 << 20), isLast: true)
        client.exchange()
        #expect(client.peer.waiting(free) == 0)
    }
}
