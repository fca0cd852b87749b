import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeTesting
import Testing

@testable import EdgeProxy

/// What must not get lost between sessions and streams: slots, deadlines, windows, and other
/// people's bytes.
@Suite("Worker: HTTP/2, nothing gets lost") struct HTTP2LossTests {
    private static func answer(_ count: Int) -> [UInt8] {
        Array("HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n".utf8)
    }

    /// A client with windows as browsers have them.
    private static func browser(_ bench: Bench) throws -> WirePeer {
        let descriptor = bench.client()
        bench.worker.startClientHTTP2(try #require(bench.slot(of: descriptor)))
        var limits = WirePeer.wide
        limits.streamWindow = 6 << 20
        limits.connectionWindow = 15 << 20
        let client = try WirePeer(bench, descriptor, SessionPeer(isServer: false, limits))
        client.exchange()
        return client
    }

    // MARK: - Slots

    @Test("Requests that are reset in the read that brought them leave no stream behind")
    func resetAtOnce() throws {
        let bench = try Bench.multiplexing()
        let warm = try WirePeer(clientOf: bench)
        let first = warm.get()
        let server = try WirePeer(upstreamOf: bench)
        server.peer.answer(1)
        WirePeer.exchange([warm, server])
        #expect(warm[first].isEnded)

        let client = try WirePeer(clientOf: bench)
        var bytes: [UInt8] = []
        for _ in 0..<10 {
            let id = client.peer.request(SessionPeer.fields())
            bytes += client.peer.take() + RawFrame.reset(UInt32(id)).bytes
        }
        bench.ring.receives(client.descriptor, bytes)
        bench.settle()
        WirePeer.exchange([client, server])
        #expect(bench.worker.upstreamStreamSlots.used == 0)
        #expect(bench.worker.clientStreamSlots.used == 0)
        #expect(bench.worker.exchangeSlots.used == 0)

        // Slots that were given back twice would be two requests' now.
        let ids = (0..<20).map { warm.peer.request(SessionPeer.fields("GET", "/\($0)")) }
        WirePeer.exchange([warm, server])
        #expect(bench.worker.upstreamStreamSlots.used == 20)
        for id in server.peer.open {
            let path = server[id].heads[0].dropFirst(4).prefix { $0 != " " }
            server.peer.answer(id, hasContent: true)
            server.peer.send(id, Array(path.utf8), isLast: true)
        }
        WirePeer.exchange([warm, server])
        for (index, id) in ids.enumerated() {
            #expect(warm[id].content == Array("/\(index)".utf8))
        }
    }

    @Test("Requests begun in the turn in which GOAWAY comes go over another connection, once")
    func goAwayMeets() throws {
        let bench = try Bench.multiplexing()
        let client = try WirePeer(clientOf: bench)
        client.get()
        let server = try WirePeer(upstreamOf: bench)
        server.peer.answer(1)
        WirePeer.exchange([client, server])

        let ids = (0..<5).map { _ in client.peer.request(SessionPeer.fields()) }
        server.peer.session.sayGone()
        bench.ring.receives(client.descriptor, client.peer.take())
        bench.ring.receives(server.descriptor, server.peer.take())
        bench.settle()
        let other = try WirePeer(upstreamOf: bench)
        #expect(other.descriptor != server.descriptor)
        WirePeer.exchange([client, server, other])
        #expect(other.peer.open.count == 5)
        for id in other.peer.open { other.peer.answer(id) }
        WirePeer.exchange([client, server, other])
        for id in ids { #expect(client[id].isEnded && client.closing(id) == .noError) }
        #expect(bench.worker.upstreamStreamSlots.used == 0)
    }

    @Test("A reset stream counts until its upstream has been let go of")
    func charged() throws {
        let bench = try Bench {
            $0.http2.streamsMax = 4
            $0.http2.resets = 1000
        }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<4).map { _ in client.get() }
        bench.ring.holdsCancels = true
        for id in ids { client.peer.session.reset(id, .cancel) }
        client.exchange()
        #expect(bench.worker.clientStreamSlots.used == 0)
        #expect(try #require(bench.link(client)).charged == 4)
        let early = client.get()
        #expect(client.closing(early) == .refusedStream)

        bench.ring.holdsCancels = false
        bench.settle()
        #expect(try #require(bench.link(client)).charged == 0)
        let late = client.get()
        bench.send(bench.upstream, Bench.ok)
        client.exchange()
        #expect(client[late].isEnded)
    }

    @Test("Requests that are taken back before they were sent cost no connection")
    func takenBack() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        client.get()
        bench.send(bench.upstream, Bench.ok)
        client.exchange()
        #expect(bench.count(.upstreamConnectionsIdle) == 1)
        _ = bench.ring.takeSent(to: bench.upstream)
        for _ in 0..<5 {
            let id = client.peer.request(SessionPeer.fields())
            bench.ring.receives(
                client.descriptor, client.peer.take() + RawFrame.reset(UInt32(id)).bytes)
            bench.settle()
        }
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(.upstreamConnectionsIdle) == 1)
        #expect(bench.ring.takeSent(to: bench.upstream) == "")
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    // MARK: - Bytes

    @Test("A frame that waited for the socket when its stream was reset carries nobody's bytes")
    func frameOfReset() throws {
        let bench = try Bench()
        let client = try Self.browser(bench)
        let secret = try WirePeer(clientOf: bench)
        let victims = (0..<40).map { _ in client.peer.request(SessionPeer.fields()) }
        client.exchange()
        // More than one write takes, for a socket that takes nothing.
        bench.ring.setRoom(client.descriptor, 0)
        let origins = bench.ring.opened
        for origin in origins {
            bench.ring.receives(
                origin, Self.answer(10_000_000) + [UInt8](repeating: 0x61, count: 7000))
        }
        bench.settle()
        // Cut in the middle of their answers.
        for origin in origins { bench.ring.ends(origin) }
        bench.settle()
        // Somebody else's answer passes the stage.
        let other = secret.get()
        bench.ring.receives(
            bench.upstream, Self.answer(30_000) + [UInt8](repeating: 0x7A, count: 30_000))
        bench.settle()
        secret.exchange()
        #expect(secret[other].content.count == 30_000)

        bench.ring.setRoom(client.descriptor, .max)
        bench.settle()
        client.exchange()
        for id in victims {
            #expect(client.closing(id) == .internalError)
            #expect(client[id].content.allSatisfy { $0 == 0x61 })
        }
        let next = client.get()
        bench.send(bench.upstream, Bench.ok)
        client.exchange()
        #expect(client[next].content == Array("ok".utf8))
    }

    // MARK: - Deadlines

    @Test("A connection whose last answer had to wait for the socket is closed when it is idle")
    func idleAfterWait() throws {
        let bench = try Bench()
        let client = try Self.browser(bench)
        let id = client.get()
        bench.ring.setRoom(client.descriptor, 100)
        bench.ring.receives(
            bench.upstream, Self.answer(5000) + [UInt8](repeating: 0x61, count: 5000))
        bench.settle()
        bench.ring.setRoom(client.descriptor, .max)
        bench.settle()
        client.exchange()
        #expect(client[id].isEnded)
        bench.pass(.seconds(80))
        client.exchange()
        #expect(client.peer.recorder.goAway?.code == 0)
        bench.pass(.seconds(5))
        #expect(client.isClosed)
    }

    @Test("A request whose content had to wait for a window is still answered in time, or 504")
    func responseAfterWait() throws {
        let bench = try Bench.multiplexing()
        let client = try WirePeer(clientOf: bench)
        client.get()
        let server = try WirePeer(upstreamOf: bench, window: 16)
        server.peer.recorder.consumes = false
        server.peer.answer(1)
        WirePeer.exchange([client, server])

        let id = client.post()
        client.peer.send(id, [UInt8](repeating: 0x61, count: 40), isLast: true)
        WirePeer.exchange([client, server])
        let up = try #require(server.peer.open.last)
        #expect(server[up].content.count == 16)
        // The rest goes up; the server stays silent, but for what keeps its connection alive.
        for _ in 0..<3 {
            server.peer.consume(up)
            WirePeer.exchange([client, server])
        }
        #expect(server[up].content.count == 40)
        for _ in 0..<25 {
            bench.pass(.seconds(1))
            WirePeer.exchange([client, server])
        }
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 504 ") == true)
    }

    @Test("An upstream with streams is asked whether it is alive once it is silent, not before")
    func silence() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(client, bench.get())
        let server = try WirePeer(upstreamOf: bench)
        server.peer.answer(1, 200, hasContent: true)
        server.peer.send(1, [1])
        server.exchange()
        func pings() -> Int {
            var bytes = bench.ring.sent(to: server.descriptor)
            var count = 0
            while let frame = RawFrame.take(from: &bytes) {
                if frame.kind == .ping, !frame.has(.acknowledge) { count += 1 }
            }
            return count
        }
        // Whoever speaks is not asked.
        for _ in 0..<3 {
            bench.pass(.seconds(20))
            server.peer.send(1, [2])
            #expect(pings() == 0)
            server.exchange()
        }
        bench.pass(.seconds(29))
        #expect(pings() == 0)
        bench.pass(.seconds(2))
        #expect(pings() == 1)
    }

    @Test("All who wait for a connection that is refused are told, and no other is made for them")
    func waitInVain() throws {
        let bench = try Bench.multiplexing()
        bench.ring.connectPolicy = { _ in nil }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<5).map { _ in client.peer.request(SessionPeer.fields()) }
        client.exchange()
        bench.ring.connects(bench.upstream, ECONNREFUSED)
        bench.settle()
        client.exchange()
        for id in ids {
            #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 502 ") == true)
        }
        #expect(bench.ring.opened.count == 1)
    }

    // MARK: - Room

    @Test("A limit of connections does not limit the streams over them")
    func limitedConnections() throws {
        let bench = try Bench.multiplexing {
            $0.memberMax = 1
            $0.queueMax = 10
        }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<8).map { _ in client.peer.request(SessionPeer.fields()) }
        client.exchange()
        let server = try WirePeer(upstreamOf: bench, streams: 4)
        WirePeer.exchange([client, server])
        let later = (0..<2).map { _ in client.peer.request(SessionPeer.fields()) }
        for _ in 0..<4 {
            for id in server.peer.open { server.peer.answer(id) }
            WirePeer.exchange([client, server])
        }
        for id in ids + later {
            #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 200 ") == true)
        }
        #expect(bench.ring.opened.count == 1)
    }

    @Test("Who waits for a connection that is being made is not refused for it")
    func manyWait() throws {
        let bench = try Bench.multiplexing { $0.queueMax = 0 }
        bench.ring.connectPolicy = { _ in nil }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<50).map { _ in client.peer.request(SessionPeer.fields()) }
        client.exchange()
        #expect(bench.ring.opened.count == 1)
        bench.ring.connects(bench.upstream)
        bench.settle()
        let server = try WirePeer(upstreamOf: bench)
        WirePeer.exchange([client, server])
        for id in server.peer.open { server.peer.answer(id) }
        WirePeer.exchange([client, server])
        for id in ids {
            #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 200 ") == true)
        }
    }

    // MARK: - Tunnels

    @Test("An extended CONNECT that is not switched is no tunnel, whatever the upstream says")
    func notSwitched() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.peer.request(
            [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
                (":authority", "home.example"), (":path", "/chat"),
                ("sec-websocket-version", "13"), ("sec-websocket-key", "mine"),
            ], hasContent: true)
        client.exchange()
        let head = bench.ring.takeSent(to: bench.upstream)
        #expect(!head.contains("mine"))
        bench.send(bench.upstream, Bench.ok)
        client.exchange()
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 502 ") == true)
    }
}
