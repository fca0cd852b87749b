import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeLimits
@testable import EdgeProxy

@Suite("Limits on requests under way") struct RequestCountTests {
    private func guarded(
        _ most: UInt32, _ change: (inout LimitPolicy) throws -> Void = { _ in }
    ) throws -> GuardedBench {
        try GuardedBench([
            try GuardedBench.policy {
                $0.counts[.requests] = most
                try change(&$0)
            }
        ])
    }

    @Test("One too many gets 429 and comes again; what has ended makes room")
    func refused() throws {
        let guarded = try guarded(2)
        let bench = guarded.bench
        let clients = try (0..<3).map { _ in try #require(guarded.client()) }
        bench.send(clients[0], bench.get())
        let first = bench.upstream
        bench.send(clients[1], bench.get())

        bench.send(clients[2], bench.get())

        #expect(
            bench.ring.takeSent(to: clients[2])
                == "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n"
                + "Cache-Control: no-store\r\nContent-Length: 13\r\nRetry-After: 1\r\n\r\n"
                + "rate_limited\n")
        #expect(bench.ring.opened.count == 2)
        #expect(guarded.memory.counts.total == 2)
        let other = try #require(guarded.client(1))
        #expect(guarded.status(other) == "200")
        bench.send(first, Bench.ok)
        #expect(bench.ring.takeSent(to: clients[0]).hasSuffix("ok"))
        #expect(guarded.status(clients[2]) == "200")
        #expect(guarded.memory.counts.total == 1)
        // The client goes away in the middle.
        bench.ring.fails(clients[1], 104)
        bench.settle()
        #expect(guarded.memory.counts.total == 0)
    }

    @Test("What is refused for that is not charged to the rate")
    func uncharged() throws {
        let guarded = try guarded(1) { $0.rates[.requests] = try RateLimit(3, per: .seconds(1000)) }
        let bench = guarded.bench
        let busy = try #require(guarded.client())
        let other = try #require(guarded.client())
        bench.send(busy, bench.get())
        for _ in 0..<10 { #expect(guarded.status(other) == "429") }
        bench.send(bench.upstream, Bench.ok)

        #expect((0..<3).map { _ in guarded.status(other) } == ["200", "200", "429"])
        #expect(guarded.memory.counts.total == 0)
    }

    @Test("Requests that are answered without an upstream hold nothing")
    func declined() throws {
        let guarded = try guarded(1)
        let bench = guarded.bench
        let client = try #require(guarded.client())

        for head in [
            "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 99999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: home.example\r\nCDN-Loop: \(bench.worker.setup.loopMark)\r\n"
                + "\r\n",
        ] {
            bench.send(try #require(guarded.client()), head)
        }
        bench.apply(2, [])
        _ = guarded.status(client)

        bench.pass(.seconds(100))
        #expect(guarded.memory.counts.total == 0)
    }

    @Test("Streams count like requests, gRPC is told so; reset ones make room at once")
    func streams() throws {
        let guarded = try guarded(2)
        let client = try WirePeer(clientOf: guarded.bench, from: GuardedBench.clients[0])
        let first = client.get()
        _ = client.post()

        let third = client.get()
        let call = client.post("/a.B/C", [("content-type", "application/grpc")])

        #expect(client[third].heads.first?.hasPrefix("HTTP/1.1 429 ") == true)
        #expect(client[call].heads.first?.contains("grpc-status: 8\r\n") == true)
        client.peer.session.reset(first, .cancel)
        client.exchange()
        #expect(guarded.memory.counts.total == 1)
        let fourth = client.get()
        #expect(client[fourth].heads.isEmpty)
        guarded.bench.ring.fails(client.descriptor, 104)
        guarded.bench.settle()
        #expect(guarded.memory.counts.total == 0)
    }

    @Test("A WebSocket counts as long as it lasts")
    func webSocket() throws {
        let guarded = try guarded(1)
        let bench = guarded.bench
        let client = try #require(guarded.client())
        let other = try #require(guarded.client())
        bench.send(client, RequestTests.upgrade(bench))
        let upstream = bench.upstream
        bench.send(upstream, RequestTests.switching)
        bench.pass(.seconds(20))

        #expect(guarded.status(other) == "429")
        bench.ring.ends(client)
        bench.ring.ends(upstream)
        bench.settle()
        #expect(guarded.status(other) == "200")
    }

    @Test("In shadow mode all pass, and each that would not have is counted once")
    func shadow() throws {
        let guarded = try guarded(1) {
            $0.isShadow = true
            $0.rates[.requests] = try RateLimit(1, per: .seconds(1000))
        }
        let clients = try (0..<3).map { _ in try #require(guarded.client()) }
        for client in clients { guarded.bench.send(client, guarded.bench.get()) }

        #expect(guarded.bench.ring.opened.count == 3)
        #expect(guarded.bench.count(.requestsOverShadowLimit) == 2)
        #expect(guarded.memory.counts.total == 3)
    }

    @Test("Limits that a reload takes away or adds leave nothing behind")
    func reload() throws {
        let guarded = try GuardedBench([
            GuardedBench.policy {
                $0.counts[.requests] = 2
                $0.counts[.connections] = 3
            }
        ])
        let bench = guarded.bench
        let first = try #require(guarded.client())
        bench.send(first, bench.get())
        let answering = bench.upstream
        #expect(guarded.memory.counts.total == 2)

        guarded.apply(2, [])
        let second = try #require(guarded.client())
        bench.send(second, bench.get())
        guarded.apply(3, [GuardedBench.policy { $0.counts[.connections] = 1 }])
        #expect(guarded.client() == nil)
        bench.send(answering, Bench.ok)
        #expect(guarded.memory.counts.total == 1)
        guarded.leave(first)
        #expect(guarded.client() != nil)

        bench.pass(.seconds(100))
        #expect(guarded.memory.counts.total == 0)
    }
}
