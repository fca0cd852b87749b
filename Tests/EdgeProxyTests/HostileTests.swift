import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: hostile clients") struct HostileTests {
    private static func head(_ more: String) -> String {
        "POST / HTTP/1.1\r\nHost: home.example\r\n\(more)\r\n"
    }

    @Test("Trailers that grow when normalised never cut the end of the request off")
    func growingTrailers() throws {
        // Body lengths around the point where the first chunk of memory is just full.
        for length in stride(from: 2800, through: 4000, by: 7) {
            let bench = try Bench()
            let client = bench.client()
            let trailers = (10..<70).map { "x\($0):y\r\n" }.joined()
            bench.send(
                client,
                Self.head("Transfer-Encoding: chunked\r\n")
                    + "\(String(length, radix: 16))\r\n" + String(repeating: "b", count: length)
                    + "\r\n0\r\n" + trailers + "\r\n")

            let sent = bench.ring.takeSent(to: bench.upstream)
            #expect(sent.hasSuffix("x69: y\r\n\r\n"), "body of \(length)")
            bench.send(bench.upstream, Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }
    }

    @Test("A request that no memory is left for is refused, whatever part of it is too much")
    func exhausted() throws {
        for budget in stride(from: 8 * 1024, through: 400 * 1024, by: 4096) {
            var options = Bench.Options()
            options.chunkBudget = budget
            let bench = try Bench(options)
            bench.ring.connectPolicy = { _ in nil }
            let client = bench.client()
            let filler = (0..<60).map {
                "X-F\($0): " + String(repeating: "f", count: 1000) + "\r\n"
            }
            bench.send(client, Self.head("Transfer-Encoding: chunked\r\n" + filler.joined()))
            for _ in 0..<6 {
                bench.send(client, "3e80\r\n" + String(repeating: "b", count: 16_000) + "\r\n")
            }
            bench.send(client, "0\r\nX-T: " + String(repeating: "t", count: 9000) + "\r\n\r\n")
            bench.ring.ends(client)
            bench.settle()
            bench.pass(.seconds(100))

            bench.expectEmpty()
        }
    }

    @Test("Pipelined requests of a client that does not read hold a bounded amount of memory")
    func greedyPipeline() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.ring.setRoom(client, 0)
        for _ in 0..<200 {
            bench.ring.receives(
                client,
                String(repeating: "GET /x HTTP/1.1\r\nHost: nobody.example\r\n\r\n", count: 100))
            bench.turn()
        }

        #expect(bench.worker.chunks.bytesInUse < 512 * 1024)
    }

    @Test("A client that takes nothing is cut after the body's deadline, whatever else it sends")
    func neverReads() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get("/one") + bench.get("/two"))
        bench.ring.setRoom(client, 10)
        bench.send(bench.upstream, Bench.ok)
        for _ in 0..<40 {
            bench.ring.receives(client, bench.get("/more"))
            bench.pass(.seconds(1))
        }

        #expect(bench.ring.isClosed(client))
        #expect(bench.count(ReasonCode.clientReadTimeout) == 1)
    }

    @Test("A body announced and never begun is a 408")
    func silentBody() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, Self.head("Transfer-Encoding: chunked\r\n"))
        bench.pass(.seconds(35))

        #expect(bench.ring.takeSent(to: client).contains("HTTP/1.1 408 "))
        bench.ring.ends(client)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("An upgrade after which the client is gone leaves nothing")
    func vanishedTunnel() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(
            client,
            bench.get(
                "/",
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"))
        bench.ring.ends(client)
        bench.settle()
        bench.send(
            bench.upstream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        bench.ring.ends(bench.upstream)
        bench.settle()
        bench.pass(.seconds(5))

        bench.expectEmpty()
    }

    @Test("A silent tunnel is ended after an hour")
    func silentTunnel() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(
            client,
            bench.get(
                "/",
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"))
        bench.send(
            bench.upstream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        bench.turn(after: .seconds(31))
        bench.turn(after: .seconds(3559))
        #expect(!bench.ring.isClosed(client))
        bench.turn(after: .seconds(20))
        bench.pass(.seconds(5))

        bench.expectEmpty()
    }
}
