import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeLimits
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

/// `upload` and `download` of rate limits: each path's rate over ten seconds, within 1 %.
@Suite("Bytes per second: rates") struct ShapingTests {
    private static let expected = 4_950_000...5_050_000

    private static func expectRate(_ bench: Bench, _ taken: () -> Int) {
        let count = bench.steadily(taken)
        #expect(expected.contains(count), "\(count)")
        // The rest waits where it comes from.
        #expect(bench.worker.chunks.bytesInUse < 512 * 1024)
        #expect(bench.count(Counter.transfersPaused) > 100)
    }

    @Test("An answer over HTTP/1.1")
    func download() throws {
        let bench = try Shaping.bench(.download)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.feed(bench.upstream, Shaping.head, Shaping.content)

        Self.expectRate(bench) { bench.ring.takeBytes(to: client).count }
    }

    @Test("A request's content over HTTP/1.1")
    func upload() throws {
        let bench = try Shaping.bench(.upload)
        let client = bench.client()
        bench.feed(client, Shaping.put, Shaping.content)

        Self.expectRate(bench) { bench.ring.takeBytes(to: bench.upstream).count }
    }

    @Test("A client's TLS, each way", arguments: [LimitedThing.upload, .download])
    func encrypted(thing: LimitedThing) throws {
        let folder = try TemporaryDirectory()
        try CertificateMint().leaf("home.example").writeBundle("home", in: folder.path)
        let bench = try Shaping.bench(thing) {
            $0.certificates = (try? CertificateFolder.load(folder.path)) ?? $0.certificates
        }
        let client = try TLSWorkerTests.Peer(bench)
        client.exchange()
        #expect(client.isOpen)
        if thing == .upload {
            client.send(Array(Shaping.put.utf8) + Shaping.content)
            Self.expectRate(bench) { bench.ring.takeBytes(to: bench.upstream).count }
        } else {
            client.send(bench.get())
            bench.feed(bench.upstream, Shaping.head, Shaping.content)
            // Records add less than 0.3 %.
            Self.expectRate(bench) { bench.ring.takeBytes(to: client.descriptor).count }
        }
    }

    @Test("A chunked request's content and an answer at once, each at its rate")
    func bothWays() throws {
        let bench = try Shaping.bench(.upload, .download)
        let client = bench.client()
        let chunk = Array("4000\r\n".utf8) + Shaping.content.prefix(16_384) + Array("\r\n".utf8)
        bench.send(
            client, "PUT / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in 0..<480 { bench.ring.receives(client, chunk) }
        bench.feed(bench.upstream, Shaping.head, Shaping.content)

        var up = 0
        let down = bench.steadily {
            up += bench.ring.takeBytes(to: bench.upstream).count
            return bench.ring.takeBytes(to: client).count
        }

        #expect(Self.expected.contains(down), "\(down)")
        // Twelve seconds, the burst, and framing.
        #expect((5_950_000...6_120_000).contains(up), "\(up)")
    }

    @Test("An answer on a stream of a client's HTTP/2 connection")
    func streamDown() throws {
        let bench = try Shaping.bench(.download)
        let client = try WirePeer(clientOf: bench, window: 1 << 20)
        let id = client.get()
        bench.feed(bench.upstream, Shaping.head, Shaping.content)
        var seen = 0

        Self.expectRate(bench) {
            client.step()
            defer { seen = client[id].content.count }
            return client[id].content.count - seen
        }
    }

    @Test("A request's content on a stream of a client's HTTP/2 connection")
    func streamUp() throws {
        let bench = try Shaping.bench(.upload)
        let client = try WirePeer(clientOf: bench)
        let id = client.post("/", [("content-length", "\(Shaping.content.count)")])
        client.peer.send(id, Shaping.content, isLast: true)

        Self.expectRate(bench) {
            client.step()
            return bench.ring.takeBytes(to: bench.upstream).count
        }
    }

    @Test("An answer of an upstream that speaks HTTP/2")
    func upstreamStream() throws {
        let bench = try Shaping.bench(.download) {
            $0.version = .http2
            $0.connectionsMax = 64
        }
        let client = bench.client()
        bench.send(client, bench.get())
        let server = try WirePeer(upstreamOf: bench)
        server.peer.answer(
            1, 200, [("content-length", "\(Shaping.content.count)")], hasContent: true)
        server.peer.send(1, Shaping.content, isLast: true)

        Self.expectRate(bench) {
            server.step()
            return bench.ring.takeBytes(to: client).count
        }
    }

    @Test("A WebSocket, each way", arguments: [LimitedThing.upload, .download])
    func tunnel(thing: LimitedThing) throws {
        let bench = try Shaping.bench(thing)
        let client = bench.client()
        bench.send(client, bench.get("/", Shaping.upgrade))
        bench.send(bench.upstream, Shaping.switching)
        _ = (bench.ring.takeBytes(to: client), bench.ring.takeBytes(to: bench.upstream))
        let (from, to) =
            thing == .upload ? (client, bench.upstream) : (bench.upstream, client)
        bench.feed(from, "", Shaping.content)

        Self.expectRate(bench) { bench.ring.takeBytes(to: to).count }
    }

    @Test("A relayed connection, each way", arguments: [LimitedThing.upload, .download])
    func relay(thing: LimitedThing) throws {
        let bench = try Shaping.bench(thing)
        let client = bench.client(Bench.tcpListener)
        bench.settle()
        let (from, to) =
            thing == .upload ? (client, bench.upstream) : (bench.upstream, client)
        bench.feed(from, "", Shaping.content)

        Self.expectRate(bench) { bench.ring.takeBytes(to: to).count }
    }

    @Test("Two downloads of one client share its rate, a third client has its own")
    func shared() throws {
        let bench = try Shaping.bench(.download) { $0.connectionsMax = 64 }
        let one = SocketAddress(ipv4: 0xC633_6401, port: 1)
        let clients = [
            bench.client(from: one), bench.client(from: one.with(port: 2)), bench.client(),
        ]
        for client in clients {
            bench.send(client, bench.get())
            bench.feed(bench.upstream, Shaping.head, Shaping.content)
        }
        var counts = [0, 0, 0]

        let sum = bench.steadily {
            let taken = clients.map { bench.ring.takeBytes(to: $0).count }
            for (index, count) in taken.enumerated() { counts[index] += count }
            return taken[0] + taken[1]
        }

        #expect(Self.expected.contains(sum), "\(sum)")
        #expect(abs(counts[0] - counts[1]) <= 4 * Shaping.turn, "\(counts)")
        #expect((5_950_000...6_120_000).contains(counts[2]), "\(counts)")
    }

    @Test("Two workers' downloads of one client share its rate")
    func workers() throws {
        let options = try Shaping.options(Shaping.policy([.download]))
        let benches = [try Bench(options), try Bench(options)]
        let address = SocketAddress(ipv4: 0xC633_6401, port: 1)
        let clients = benches.map { $0.client(from: address) }
        for (bench, client) in zip(benches, clients) {
            bench.send(client, bench.get())
            bench.feed(bench.upstream, Shaping.head, Shaping.content)
        }
        var counts = [0, 0]
        var atStart = 0

        for round in 0..<3_000 {
            if round == 500 { atStart = counts[0] + counts[1] }
            for (index, bench) in benches.enumerated() {
                bench.quietTurn(after: .milliseconds(4))
                counts[index] += bench.ring.takeBytes(to: clients[index]).count
            }
        }

        let sum = counts[0] + counts[1] - atStart
        #expect(Self.expected.contains(sum), "\(sum)")
        #expect(abs(counts[0] - counts[1]) <= 4 * Shaping.turn, "\(counts)")
    }

    @Test("A site without a limit has all of its connection while another's stream is paused")
    func free() throws {
        let bench = try Shaping.bench(.download) { $0.connectionsMax = 64 }
        let client = try WirePeer(clientOf: bench, window: 1 << 23)
        let slow = client.get()
        bench.feed(bench.upstream, Shaping.head, Shaping.content)
        bench.settle()
        let fast = client.peer.request(SessionPeer.fields("GET", "/", authority: "free.example"))
        client.exchange()
        bench.feed(bench.upstream, Shaping.head, Shaping.content)

        // Not a millisecond passes.
        client.exchange()

        #expect(client[fast].content.count == Shaping.content.count)
        #expect(client[slow].content.count < 150_000)
    }

    @Test("Under a policy in shadow mode nothing pauses, and what would have is counted")
    func shadow() throws {
        let policy = try Shaping.policy([.download, .upload]) { $0.isShadow = true }
        let bench = try Bench(Shaping.options(policy))
        let client = bench.client()
        bench.send(client, bench.get())

        bench.feed(bench.upstream, Shaping.head, Shaping.content)
        bench.settle()

        #expect(bench.ring.sent(to: client).count == Shaping.head.utf8.count + 8_000_000)
        #expect(bench.count(Counter.transfersPaused) == 0)
        #expect(bench.count(Counter.transfersOverShadowLimit) > 10)
    }

    @Test("Requests with the same value of a field share its rate, whoever sends them")
    func fields() throws {
        let policy = try Shaping.policy([.download]) { $0.key = .field("x-key") }
        let bench = try Bench(Shaping.options(policy))
        let clients = [bench.client(), bench.client(), bench.client()]
        for (client, key) in zip(clients, ["a", "a", "b"]) {
            bench.send(client, bench.get("/", "X-Key: \(key)\r\n"))
            bench.feed(bench.upstream, Shaping.head, Shaping.content)
        }
        var other = 0

        let sum = bench.steadily {
            other += bench.ring.takeBytes(to: clients[2]).count
            return clients.prefix(2).reduce(0) { $0 + bench.ring.takeBytes(to: $1).count }
        }

        #expect(Self.expected.contains(sum), "\(sum)")
        #expect((5_950_000...6_120_000).contains(other), "\(other)")
    }

    @Test("Whoever the policy allows is as fast as it goes")
    func allowed() throws {
        let policy = try Shaping.policy([.download]) {
            $0.allowed = [CIDR("198.51.100.0/24")].compactMap { $0 }
        }
        let bench = try Bench(Shaping.options(policy))
        let client = bench.client(from: SocketAddress(ipv4: 0xC633_6401, port: 1))
        bench.send(client, bench.get())

        bench.feed(bench.upstream, Shaping.head, Shaping.content)
        bench.settle()

        #expect(bench.ring.sent(to: client).count == Shaping.head.utf8.count + 8_000_000)
    }
}
