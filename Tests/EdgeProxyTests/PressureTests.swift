import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

/// What a peer may do to buffers and deadlines without breaking any protocol.
@Suite("Worker: memory and deadlines under pressure") struct PressureTests {
    private let put = "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: "

    private func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: 0x61, count: count) }

    /// A client that has just uploaded much, so that it is received in large rounds.
    private func uploader(_ bench: Bench) -> Int32 {
        let client = bench.client()
        bench.send(client, put + "600000\r\n\r\n")
        for _ in 0..<6 {
            bench.ring.receives(client, bytes(100_000))
            bench.settle()
        }
        bench.send(bench.upstream, Bench.ok)
        return client
    }

    @Test("Requests sent ahead of their answers are not received in large rounds")
    func pipelined() throws {
        let bench = try Bench()
        let client = uploader(bench)
        bench.send(client, bench.get())

        bench.ring.receives(client, bytes(2_000_000))
        bench.settle()

        #expect(bench.worker.chunks.bytesInUse <= 128 * 1024)
    }

    @Test("A body that waits for a server is not received in large rounds")
    func waitingBody() throws {
        let bench = try Bench()
        let client = uploader(bench)
        bench.ring.ends(bench.upstream)
        bench.settle()
        bench.ring.connectPolicy = { _ in nil }
        bench.send(client, put + "1000000\r\n\r\n")

        bench.ring.receives(client, bytes(1_000_000))
        bench.settle()
        #expect(bench.worker.chunks.bytesInUse <= 128 * 1024)

        bench.ring.connects(bench.upstream)
        bench.settle()
        #expect(bench.ring.sent(to: bench.upstream).count > 1_000_000)
    }

    @Test("A few bytes that wait do not hold a large chunk")
    func rest() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.ring.receives(bench.upstream, bytes(2_000_000))
        bench.settle()
        #expect(bench.ring.largestReceive(bench.upstream) > 64 * 1024)
        bench.ring.setRoom(client, 0)

        bench.send(bench.upstream, "x")

        #expect(bench.worker.chunks.bytesInUse > 0)
        #expect(bench.worker.chunks.bytesInUse <= 4096)
    }

    @Test("A relayed connection whose client takes little, but takes, is not quiet")
    func slowRelay() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.ring.setRoom(client, 1)
        bench.send(bench.upstream, String(repeating: "y", count: 5_000))

        for _ in 0..<9 {
            bench.pass(.seconds(100))
            bench.ring.setRoom(client, 10)
        }
        #expect(!bench.ring.isClosed(client))

        bench.pass(.seconds(1_300))
        #expect(bench.ring.isClosed(client))
    }

    @Test("A server that takes not even the PROXY header has no more time than others")
    func blockedHeader() throws {
        var options = Bench.Options()
        options.sendsProxyHeader = true
        let bench = try Bench(options)
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(bench.upstream, 3)
        bench.ring.connects(bench.upstream)
        bench.settle()

        bench.pass(.seconds(40))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504 "))
    }

    @Test("A connection opened for one client is not used for another when headers are turned off")
    func headerTurnedOff() throws {
        var options = Bench.Options()
        options.sendsProxyHeader = true
        let bench = try Bench(options)
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get())

        options.sendsProxyHeader = false
        bench.worker.handle(.apply(Bench.snapshot(2, options, options.members)))
        bench.settle()
        bench.send(bench.upstream, Bench.ok)
        bench.send(second, bench.get())

        #expect(bench.ring.opened.count == 2)
    }
}

@Suite("Worker: limits of upstreams, with connections that die or stay") struct LimitTests {
    private func bench(queue: Int = 2) throws -> Bench {
        var options = Bench.Options()
        options.memberMax = 1
        options.queueMax = queue
        return try Bench(options)
    }

    @Test(
        "A reused connection that dies is replaced though it was the only one", arguments: [0, 2])
    func silentDeath(queue: Int) throws {
        let bench = try bench(queue: queue)
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        _ = bench.ring.takeSent(to: client)
        // A send is in flight when the end comes: the kernel does not let go at once.
        bench.ring.setRoom(bench.upstream, 3)
        bench.send(client, bench.get("/again"))

        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(bench.ring.opened.count == 2)
        #expect(bench.ring.takeSent(to: bench.upstream).contains("GET /again "))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.count(Counter.requestsWaiting) == 0)
    }

    @Test("An unused connection is closed before one that can't share it exceeds the limit")
    func unusedCounts() throws {
        let bench = try bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        let unused = bench.upstream

        let relayed = bench.client(Bench.tcpListener)
        bench.send(relayed, "x")

        #expect(bench.ring.isClosed(unused))
        #expect(bench.ring.takeSent(to: bench.upstream) == "x")
        #expect(bench.count(Counter.upstreamConnectionsOpen) == 1)
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 0)
    }

    @Test("A client that was slow to take a line still waits no longer than the queue's time-out")
    func deadline() throws {
        let bench = try bench()
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get())
        bench.ring.setRoom(second, 5)
        bench.send(
            second,
            "PUT / HTTP/1.1\r\nHost: home.example\r\nExpect: 100-continue\r\n"
                + "Content-Length: 3\r\n\r\n")
        bench.ring.setRoom(second, .max)
        bench.settle()
        bench.send(second, "abc")
        _ = bench.ring.takeSent(to: second)

        bench.pass(.seconds(5))

        #expect(bench.ring.takeSent(to: second).hasPrefix("HTTP/1.1 503 "))
        #expect(bench.count(ReasonCode.upstreamQueueTimeout) == 1)
    }
}
