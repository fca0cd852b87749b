import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: back-pressure") struct BackPressureTests {
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: 0x21 + $0 % 83) }
    }

    private static func body(_ bytes: [UInt8]) -> [UInt8] {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
        return Array(bytes[end.upperBound...])
    }

    @Test("A client that takes little at a time gets everything in order")
    func slowClient() throws {
        let bench = try Bench()
        let client = bench.client()
        let content = Self.pattern(300_000)
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 1_000)

        bench.ring.receives(
            bench.upstream,
            Array("HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n".utf8) + content)
        bench.settle()
        // Paused: what had arrived is held, the rest stays in the kernel.
        #expect(!bench.ring.isReceiving(bench.upstream))
        #expect(bench.worker.chunks.bytesInUse < 512 * 1024)
        #expect(bench.ring.sent(to: client).count == 1_000)
        var random = SeededRandom(seed: 3)
        for _ in 0..<2_000 where bench.ring.sent(to: client).count < content.count + 30 {
            bench.ring.setRoom(client, Int(random.next() % 4_000))
            bench.settle()
        }
        bench.ring.setRoom(client, .max)
        bench.settle()

        #expect(Self.body(bench.ring.sent(to: client)) == content)
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 1)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("An upstream that takes little at a time gets everything in order")
    func slowUpstream() throws {
        let bench = try Bench()
        let client = bench.client()
        let content = Self.pattern(300_000)
        bench.ring.connectPolicy = { _ in nil }
        bench.send(
            client,
            "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: \(content.count)\r\n\r\n")
        bench.ring.setRoom(bench.upstream, 500)
        bench.ring.connects(bench.upstream)
        bench.settle()

        bench.ring.receives(client, content)
        bench.settle()
        #expect(!bench.ring.isReceiving(client))
        #expect(bench.worker.chunks.bytesInUse < 512 * 1024)
        for round in 0..<500 where bench.ring.sent(to: bench.upstream).count < content.count {
            bench.ring.setRoom(bench.upstream, 700 + round * 3)
            bench.settle()
        }
        bench.ring.setRoom(bench.upstream, .max)
        bench.settle()

        #expect(Self.body(bench.ring.sent(to: bench.upstream)) == content)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A body that comes before its connection is held in bounds and sent whole")
    func beforeConnect() throws {
        let bench = try Bench()
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        let content = Self.pattern(200_000)

        bench.ring.receives(
            client,
            Array("PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 200000\r\n\r\n".utf8)
                + content)
        bench.settle()
        #expect(!bench.ring.isReceiving(client))
        #expect(bench.worker.chunks.bytesInUse <= 256 * 1024)
        bench.ring.connects(bench.upstream)
        bench.settle()

        #expect(Self.body(bench.ring.sent(to: bench.upstream)) == content)
        // What can be sent again is kept until the answer begins.
        #expect(bench.worker.chunks.bytesInUse <= 64 * 1024)
        bench.send(bench.upstream, Bench.ok)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A send that fails at once or later ends the connection once")
    func brokenPipe() throws {
        for later in [false, true] {
            let bench = try Bench()
            let client = bench.client()
            bench.send(client, bench.get())
            if later { bench.ring.setRoom(client, 10) }
            if !later { bench.ring.failsSending(client, EPIPE) }

            bench.send(bench.upstream, Bench.ok)
            if later {
                bench.ring.failsSending(client, ECONNRESET)
                bench.settle()
            }

            #expect(bench.ring.isClosed(client), "later: \(later)")
            bench.pass(.seconds(61))
            bench.expectEmpty()
        }
    }

    @Test("A client that goes while its bytes wait leaves nothing behind")
    func goneWhileBlocked() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 100)
        bench.ring.receives(
            bench.upstream,
            Array("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n".utf8) + Self.pattern(90_000))
        bench.settle()

        bench.ring.fails(client, ECONNRESET)
        bench.settle()

        #expect(bench.ring.isClosed(client))
        #expect(bench.ring.isClosed(bench.upstream))
        #expect(bench.count(ReasonCode.clientReset) == 1)
        bench.expectEmpty()
    }

    @Test("The memory of a send stays until the kernel has let go of it")
    func cancelledSend() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 0)
        bench.send(bench.upstream, Bench.ok)
        bench.ring.holdsCancels = true
        bench.ring.fails(client, ECONNRESET)
        bench.settle()

        #expect(!bench.ring.isClosed(client))
        #expect(bench.worker.chunks.bytesInUse > 0)
        bench.ring.holdsCancels = false
        bench.settle()

        #expect(bench.ring.isClosed(client))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Pause and end at once: both cancels are waited for")
    func cancelTwice() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 0)
        bench.ring.holdsCancels = true
        bench.ring.receives(
            bench.upstream,
            Array("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n".utf8) + Self.pattern(90_000))
        bench.settle()
        #expect(bench.ring.inFlight(bench.upstream) == [.receive, .cancel])

        bench.ring.fails(client, ECONNRESET)
        bench.settle()
        #expect(!bench.ring.isClosed(bench.upstream))
        bench.ring.holdsCancels = false
        bench.settle()

        bench.expectEmpty()
    }

    @Test("A receive that was paused is resumed exactly once")
    func resume() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.ring.setRoom(client, 0)
        bench.ring.holdsCancels = true
        bench.ring.receives(
            bench.upstream,
            Array("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n".utf8) + Self.pattern(60_000))
        bench.settle()
        // Drained while the cancel is still on its way.
        bench.ring.setRoom(client, .max)
        bench.settle()
        bench.ring.holdsCancels = false
        bench.settle()
        #expect(bench.ring.isReceiving(bench.upstream))
        bench.ring.receives(bench.upstream, Self.pattern(30_000))
        bench.settle()

        #expect(Self.body(bench.ring.sent(to: client)).count == 90_000)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Out of receive buffers, receiving goes on when there are some again")
    func buffers() throws {
        let bench = try Bench()
        let client = bench.client()
        let hidden = bench.ring.hideBuffers(leaving: 0)

        bench.ring.receives(client, Array(bench.get().utf8))
        bench.quietTurn(after: .zero)
        bench.quietTurn(after: .zero)
        #expect(bench.count(Counter.receiveBuffersExhausted) >= 1)
        #expect(bench.ring.isReceiving(client))
        bench.ring.unhideBuffers(hidden)
        bench.settle()

        #expect(bench.ring.takeSent(to: bench.upstream).hasPrefix("GET / "))
    }

    @Test("A tunnel keeps back-pressure and order both ways")
    func tunnel() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, RequestTests.upgrade(bench))
        bench.send(bench.upstream, RequestTests.switching)
        _ = bench.ring.takeSent(to: client)
        _ = bench.ring.takeSent(to: bench.upstream)
        let content = Self.pattern(120_000)
        bench.ring.setRoom(client, 100)
        bench.ring.setRoom(bench.upstream, 100)

        bench.ring.receives(client, content)
        bench.ring.receives(bench.upstream, content)
        bench.settle()
        #expect(!bench.ring.isReceiving(client))
        #expect(!bench.ring.isReceiving(bench.upstream))
        for _ in 0..<100 {
            bench.ring.setRoom(client, 3_001)
            bench.ring.setRoom(bench.upstream, 2_999)
            bench.settle()
        }

        #expect(bench.ring.sent(to: client) == content)
        #expect(bench.ring.sent(to: bench.upstream) == content)
    }

    @Test("What a client sent into a tunnel before it left still goes up")
    func tunnelEnd() throws {
        let bench = try Bench()
        let client = bench.client()
        bench.send(client, RequestTests.upgrade(bench))
        bench.send(bench.upstream, RequestTests.switching)
        _ = bench.ring.takeSent(to: bench.upstream)
        bench.ring.setRoom(bench.upstream, 3)

        bench.ring.receives(client, "last words")
        bench.ring.ends(client)
        bench.settle()
        bench.ring.setRoom(bench.upstream, .max)
        bench.settle()

        #expect(bench.ring.takeSent(to: bench.upstream) == "last words")
        bench.ring.ends(bench.upstream)
        bench.settle()
        bench.expectEmpty()
    }
}
