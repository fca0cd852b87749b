import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: deadlines") struct DeadlineTests {
    @Test("A TLS client without a ClientHello is closed after the time for that")
    func handshake() throws {
        let bench = try Bench()
        let client = bench.client(Bench.tlsListener)

        bench.pass(.milliseconds(4_900))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.milliseconds(200))

        #expect(bench.ring.isClosed(client))
        #expect(bench.count(ReasonCode.clientHelloTimeout) == 1)
        #expect(bench.count(Counter.handshakesFailed) == 1)
        bench.expectEmpty()
    }

    @Test("A head that takes too long in all is a 408, however it trickles")
    func head() throws {
        let bench = try Bench()
        let client = bench.client()

        for byte in "GET / HTTP/1.1\r\nHo".utf8 {
            bench.ring.receives(client, [byte])
            bench.pass(.milliseconds(500))
        }
        #expect(bench.ring.takeSent(to: client).isEmpty)
        bench.pass(.seconds(2))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408"))
        #expect(bench.count(ReasonCode.clientHeadTimeout) == 1)
        #expect(bench.ring.isSendingShut(client))
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("A client that is silent between requests is closed without a word")
    func idle() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)
        _ = bench.ring.takeSent(to: client)

        bench.pass(.seconds(74))
        #expect(!bench.ring.isSendingShut(client))
        bench.pass(.seconds(2))

        #expect(bench.ring.isSendingShut(client))
        #expect(bench.ring.takeSent(to: client).isEmpty)
        #expect(bench.count(ReasonCode.clientIdleTimeout) == 1)
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("An unused upstream connection is closed after its time")
    func upstreamIdle() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, Bench.ok)

        bench.pass(.seconds(59))
        #expect(!bench.ring.isClosed(bench.upstream))
        bench.pass(.seconds(2))

        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 0)
    }

    @Test("A connect that hangs is a 504, after the other members")
    func connect() throws {
        var options = Bench.Options()
        options.members = [Bench.member(1), Bench.member(2)]
        let bench = try Bench(options)
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()

        bench.send(client, bench.get())
        bench.pass(.milliseconds(3_100))
        #expect(bench.ring.opened.count == 2)
        #expect(bench.ring.takeSent(to: client).isEmpty)
        bench.pass(.milliseconds(3_100))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504"))
        #expect(bench.count(ReasonCode.upstreamConnectTimeout) == 1)
        #expect(bench.ring.opened.allSatisfy { bench.ring.isClosed($0) })
    }

    @Test("An answer that does not begin is a 504 and is not asked for again")
    func answer() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get())
        bench.pass(.milliseconds(19_900))
        #expect(bench.ring.takeSent(to: client).isEmpty)
        bench.pass(.milliseconds(200))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504"))
        #expect(bench.ring.opened.count == 1)
        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.ring.isReceiving(client))
    }

    @Test("A request body that stops is a 408")
    func requestBody() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9\r\n\r\nabc")
        bench.pass(.seconds(29))
        bench.send(client, "d")
        bench.pass(.seconds(29))
        #expect(bench.ring.takeSent(to: client).isEmpty)
        bench.pass(.milliseconds(1_500))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408"))
        #expect(bench.ring.isClosed(bench.upstream))
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("A request head without its body is a 408 too")
    func requestBodyNever() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9\r\n\r\n")
        bench.pass(.seconds(40))
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 408"))
    }

    @Test("An answer's body that stops is cut")
    func answerBody() throws {
        let bench = try Bench()
        let client = bench.client()

        bench.send(client, bench.get())
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        bench.pass(.seconds(29))
        bench.send(bench.upstream, "d")
        bench.pass(.seconds(29))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.seconds(2))

        #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
        #expect(bench.count(ReasonCode.upstreamBodyTimeout) == 1)
        bench.expectEmpty()
    }

    @Test("A client that takes nothing is closed")
    func write() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 10)
        bench.send(bench.upstream, Bench.ok)

        bench.pass(.seconds(29))
        #expect(!bench.ring.isClosed(client))
        bench.ring.setRoom(client, 1)
        bench.pass(.seconds(29))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.seconds(3))

        #expect(bench.ring.isClosed(client))
        #expect(bench.count(ReasonCode.clientReadTimeout) == 1)
    }

    @Test("An answer without a length that a client does not take ends by a reset")
    func writeUntilClose() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, "GET / HTTP/1.0\r\nHost: home.example\r\n\r\n")
        bench.ring.setRoom(client, 60)
        bench.send(
            bench.upstream, "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 5_000))

        bench.pass(.seconds(31))

        #expect(bench.ring.isClosed(client))
        #expect(bench.ring.wasReset(client))
    }

    @Test("A client is not blamed for an upstream that takes its body slowly")
    func slowUpstream() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(
            client, "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 200000\r\n\r\n")
        bench.ring.setRoom(bench.upstream, 100)
        bench.ring.receives(client, [UInt8](repeating: 0x78, count: 200_000))
        bench.settle()

        for _ in 0..<3 {
            bench.pass(.seconds(20))
            bench.ring.setRoom(bench.upstream, 100)
            bench.settle()
        }
        #expect(bench.ring.takeSent(to: client).isEmpty)
        #expect(!bench.ring.isClosed(bench.upstream))
    }

    @Test("An upstream that stalls behind its own slow input is cut in the end")
    func stallAfterDrain() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(
            client, "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 3000\r\n\r\n")
        bench.ring.setRoom(bench.upstream, 0)
        bench.send(client, String(repeating: "x", count: 3_000))
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        bench.ring.setRoom(bench.upstream, 100)
        bench.settle()
        bench.ring.setRoom(bench.upstream, .max)
        bench.settle()

        bench.pass(.seconds(90))
        #expect(bench.ring.isClosed(bench.upstream))
    }

    @Test("A peer that does not end after our end is closed; what it sends is thrown away")
    func linger() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get("/", "Connection: close\r\n"))
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.isSendingShut(client))

        bench.send(client, "more and more")
        bench.pass(.milliseconds(1_900))
        #expect(!bench.ring.isClosed(client))
        bench.pass(.milliseconds(200))

        #expect(bench.ring.isClosed(client) && !bench.ring.wasReset(client))
    }

    @Test("Last bytes that are not taken in time are given up by a reset")
    func flush() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get("/", "Connection: close\r\n"))
        bench.ring.setRoom(client, 3)
        bench.send(bench.upstream, Bench.ok)
        #expect(!bench.ring.isSendingShut(client))

        bench.pass(.seconds(31))

        #expect(bench.ring.isClosed(client) && bench.ring.wasReset(client))
    }
}
