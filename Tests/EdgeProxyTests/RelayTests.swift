import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: relayed TCP connections") struct RelayTests {
    @Test("Bytes go both ways as they are, before and after a server is there")
    func bothWays() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "\0hello\r\n\r\n")
        #expect(bench.ring.takeSent(to: bench.upstream) == "\0hello\r\n\r\n")

        bench.send(bench.upstream, "world")

        #expect(bench.ring.takeSent(to: client) == "world")
        #expect(bench.count(.tcpConnections) == 1)
    }

    @Test("A server that is silent for half a minute is probed by the kernel")
    func probed() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "x")
        for _ in 0..<4 {
            bench.pass(.seconds(20))
            bench.send(client, "x")
        }
        #expect(!bench.ring.isProbed(bench.upstream))

        bench.pass(.seconds(31))

        #expect(bench.ring.isProbed(bench.upstream))
        #expect(!bench.ring.isClosed(client))
    }

    @Test("Nothing is read from a client before it has a server")
    func waits() throws {
        let bench = try Bench()
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client(Bench.tcpListener)
        #expect(!bench.ring.isReceiving(client))

        bench.ring.connects(bench.upstream)
        bench.settle()

        #expect(bench.ring.isReceiving(client))
    }

    @Test("A client's end is passed on, and the answer still comes")
    func clientHalf() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "query")
        bench.ring.ends(client)
        bench.settle()
        #expect(bench.ring.isSendingShut(bench.upstream))
        #expect(!bench.ring.isClosed(client) && !bench.ring.isClosed(bench.upstream))

        bench.send(bench.upstream, "answer")
        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(bench.ring.takeSent(to: client) == "answer")
        #expect(bench.ring.isClosed(client) && !bench.ring.wasReset(client))
        bench.expectEmpty()
    }

    @Test("A server's end is passed on after its bytes, and the client may go on")
    func serverHalf() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.ring.setRoom(client, 3)
        bench.send(bench.upstream, "banner")
        bench.ring.ends(bench.upstream)
        bench.settle()
        #expect(!bench.ring.isSendingShut(client))

        bench.ring.setRoom(client, .max)
        bench.settle()
        #expect(bench.ring.takeSent(to: client) == "banner")
        #expect(bench.ring.isSendingShut(client))
        bench.send(client, "late")
        #expect(bench.ring.takeSent(to: bench.upstream) == "late")
        bench.ring.ends(client)
        bench.settle()

        bench.expectEmpty()
    }

    @Test("A reset on one side resets the other", arguments: [true, false])
    func reset(byClient: Bool) throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "x")

        bench.ring.fails(byClient ? client : bench.upstream, 104)
        bench.settle()

        #expect(bench.ring.wasReset(byClient ? bench.upstream : client))
        bench.expectEmpty()
    }

    @Test("A refused connect goes to the next server; with none left the client is reset")
    func refused() throws {
        var options = Bench.Options()
        options.members = [Bench.member(1), Bench.member(2)]
        let bench = try Bench(options)
        bench.ring.connectPolicy = { $0 == Bench.member(1) ? -111 : 0 }
        for _ in 0..<3 {
            let client = bench.client(Bench.tcpListener)
            bench.send(client, "x")
            #expect(!bench.ring.isClosed(client))
            #expect(bench.ring.address(of: bench.upstream) == Bench.member(2))
        }

        bench.ring.connectPolicy = { _ in -111 }
        let client = bench.client(Bench.tcpListener)

        #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
        #expect(bench.count(ReasonCode.upstreamConnectRefused) == 1)
    }

    @Test("A quiet connection lives for its time-out, and bytes in either direction renew it")
    func idle() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "x")
        bench.pass(.seconds(590))
        bench.send(bench.upstream, "y")
        bench.pass(.seconds(590))
        bench.send(client, "z")
        bench.pass(.seconds(590))
        #expect(!bench.ring.isClosed(client))

        bench.pass(.seconds(15))

        #expect(bench.ring.isClosed(client))
        #expect(bench.count(ReasonCode.tunnelTimeout) == 1)
    }

    @Test("A client that takes nothing for a while is kept: nobody knows its protocol")
    func stalled() throws {
        var options = Bench.Options()
        options.downloadMin = 240
        let bench = try Bench(options)
        let client = bench.client(Bench.tcpListener)
        bench.ring.setRoom(client, 1)
        bench.send(bench.upstream, "rows and rows")

        bench.pass(.seconds(500))
        #expect(!bench.ring.isClosed(client))
        bench.ring.setRoom(client, .max)
        bench.settle()

        #expect(bench.ring.takeSent(to: client) == "rows and rows")
    }

    @Test("Bulk is passed on in the chunks it was received in, whole and in order")
    func bulk() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        let content = (0..<1_500_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        bench.send(client, "x")
        bench.ring.setRoom(client, 700_000)
        bench.ring.receives(bench.upstream, content)
        bench.settle()
        #expect(bench.worker.chunks.bytesInUse > 0)
        bench.ring.setRoom(client, .max)
        bench.settle()

        let isSame = bench.ring.sent(to: client) == content
        #expect(isSame)
        #expect(bench.ring.largestReceive(bench.upstream) >= 128 * 1024)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A draining worker keeps relayed connections until its deadline")
    func drain() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tcpListener)
        bench.send(client, "x")
        bench.worker.handle(.stopAccepting)
        bench.settle()
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(20))))
        bench.pass(.seconds(15))
        #expect(!bench.ring.isClosed(client))

        bench.pass(.seconds(6))

        #expect(bench.isStopped)
    }
}

@Suite("PROXY protocol towards upstreams") struct ProxyHeaderTests {
    private let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    @Test("It is the first on each connection, and such a connection serves one request")
    func notShared() throws {
        var options = Bench.Options()
        options.sendsProxyHeader = true
        let bench = try Bench(options)
        let client = bench.client()
        for _ in 0..<2 {
            bench.send(client, bench.get())
            let sent = bench.ring.sent(to: bench.upstream)
            #expect(Array(sent.prefix(12)) == signature)
            #expect(String(decoding: sent.dropFirst(28), as: UTF8.self).hasPrefix("GET / "))
            bench.send(bench.upstream, Bench.ok)
        }

        #expect(bench.ring.opened.count == 2)
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 0)
    }
}

@Suite("Worker: limits of upstreams") struct QueueTests {
    private func bench(members: Int = 1, max: Int = 1, queue: Int = 2) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...members).map { Bench.member($0) }
        options.memberMax = max
        options.queueMax = queue
        return try Bench(options)
    }

    @Test("A request waits for the server's one connection and is sent on it")
    func waits() throws {
        let bench = try bench()
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get("/1"))
        bench.send(second, bench.get("/2"))
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.requestsWaiting) == 1)

        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: bench.upstream).contains("GET /2 "))
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: second).hasSuffix("ok"))
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.requestsWaiting) == 0)
    }

    @Test("Requests are served in the order they came, also those with bodies")
    func order() throws {
        let bench = try bench(queue: 5)
        let clients = (0..<4).map { _ in bench.client() }
        for (index, client) in clients.enumerated() {
            bench.send(
                client,
                "PUT /\(index) HTTP/1.1\r\nHost: home.example\r\nContent-Length: 3\r\n\r\n")
            bench.send(client, "abc")
        }

        for index in 0..<4 {
            #expect(bench.ring.takeSent(to: bench.upstream).contains("PUT /\(index) "))
            bench.send(bench.upstream, Bench.ok)
            #expect(bench.ring.takeSent(to: clients[index]).hasSuffix("ok"))
        }
    }

    @Test("More than the queue holds are refused at once with 503")
    func full() throws {
        let bench = try bench()
        let clients = (0..<4).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }

        #expect(bench.ring.takeSent(to: clients[3]).hasPrefix("HTTP/1.1 503 "))
        #expect(bench.count(ReasonCode.upstreamQueueFull) == 1)
        #expect(bench.ring.takeSent(to: clients[2]).isEmpty)
    }

    @Test("A request that waits too long gets 503, and its connection lives on")
    func timeout() throws {
        let bench = try bench()
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get())
        bench.send(second, bench.get())

        bench.pass(.seconds(5))

        #expect(bench.ring.takeSent(to: second).hasPrefix("HTTP/1.1 503 "))
        #expect(bench.count(ReasonCode.upstreamQueueTimeout) == 1)
        bench.send(bench.upstream, Bench.ok)
        bench.send(second, bench.get())
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: second).hasSuffix("ok"))
    }

    @Test("A client that leaves the queue makes room in it")
    func leaves() throws {
        let bench = try bench(queue: 1)
        let clients = (0..<3).map { _ in bench.client() }
        bench.send(clients[0], bench.get("/0"))
        bench.send(clients[1], bench.get("/1"))
        bench.ring.fails(clients[1], 104)
        bench.settle()
        #expect(bench.count(Counter.requestsWaiting) == 0)

        bench.send(clients[2], bench.get("/2"))
        _ = bench.ring.takeSent(to: bench.upstream)
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.takeSent(to: bench.upstream).contains("GET /2 "))
    }

    @Test("A connection that fails makes room; the waiting request opens its own")
    func failure() throws {
        let bench = try bench()
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get())
        bench.send(second, bench.get("/2"))

        bench.ring.fails(bench.upstream, 104)
        bench.settle()

        #expect(bench.ring.takeSent(to: first).hasPrefix("HTTP/1.1 502 "))
        #expect(bench.ring.opened.count == 2)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: second).hasSuffix("ok"))
    }

    @Test("Two servers have twice the room, and a raised limit serves who waits")
    func members() throws {
        let bench = try bench(members: 2, queue: 4)
        let clients = (0..<4).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        #expect(bench.ring.opened.count == 2)

        bench.apply(2, (1...4).map { Bench.member($0) })
        bench.settle()

        #expect(bench.ring.opened.count == 4)
        #expect(bench.count(Counter.requestsWaiting) == 0)
    }

    @Test("Members that all leave end the waiting")
    func gone() throws {
        let bench = try bench()
        let first = bench.client()
        let second = bench.client()
        bench.send(first, bench.get())
        bench.send(second, bench.get())

        bench.apply(2, [])
        bench.settle()

        #expect(bench.ring.takeSent(to: second).hasPrefix("HTTP/1.1 503 "))
        #expect(bench.count(ReasonCode.noAddress) == 1)
    }

    @Test("Relayed connections wait in the same queue, and are reset when it is over")
    func relay() throws {
        let bench = try bench()
        let first = bench.client(Bench.tcpListener)
        let second = bench.client(Bench.tcpListener)
        bench.send(first, "x")
        #expect(bench.count(Counter.requestsWaiting) == 1)

        bench.pass(.seconds(5))

        #expect(bench.ring.wasReset(second))
        #expect(!bench.ring.isClosed(first))
    }
}
