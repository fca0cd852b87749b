import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

/// Whoever is slow slows down nobody else, and what waits for him is bounded.
@Suite("Worker: HTTP/2 flow control") struct HTTP2FlowTests {
    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: 0x21 + $0 % 83) }
    }

    private static func answer(_ content: [UInt8]) -> [UInt8] {
        Array("HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n".utf8) + content
    }

    private static func body(_ bytes: [UInt8]) -> [UInt8] {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
        return Array(bytes[end.upperBound...])
    }

    // MARK: - Answers to streams

    @Test("A stream that is not read holds a bounded amount, and its siblings go on")
    func stalledAnswer() throws {
        let bench = try Bench { _ in }
        let client = try WirePeer(clientOf: bench)
        client.peer.recorder.consumes = false
        let content = Self.pattern(600_000)
        let stalled = client.get()
        let slow = bench.upstream
        bench.ring.receives(slow, Self.answer(content))
        bench.settle()
        client.exchange()
        #expect(client[stalled].content.count == 65_536)
        #expect(!bench.ring.isReceiving(slow))
        let kept = try #require(bench.link(client)).bytesKept
        #expect(kept <= 160 * 1024)
        // The connection's window is the client's affair: it gives that back.
        client.peer.session.consumeConnection(65_536)
        client.exchange()

        client.peer.recorder.consumes = true
        for _ in 0..<3 {
            let sibling = client.get()
            bench.ring.receives(bench.upstream, Self.answer(content))
            bench.settle()
            client.exchange()
            expectSame(client[sibling].content, content)
        }
        client.peer.consume(stalled, connectionToo: false)
        client.exchange()
        for _ in 0..<40 where !client[stalled].isEnded { client.exchange() }
        expectSame(client[stalled].content, content)
        #expect(bench.link(client)?.bytesKept == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A client that takes little of many answers at a time gets them all")
    func slowSocket() throws {
        let bench = try Bench { $0.connectionsMax = 256 }
        // Windows as browsers have them.
        let client = try WirePeer(clientOf: bench, window: 6 << 20)
        let content = Self.pattern(60_000)
        let ids = (0..<100).map { _ in client.peer.request(SessionPeer.fields()) }
        client.exchange()
        #expect(bench.ring.opened.count == 100)
        bench.ring.setRoom(client.descriptor, 0)
        for upstream in bench.ring.opened {
            bench.ring.receives(upstream, Self.answer(content))
        }
        bench.settle()
        let most = try #require(bench.link(client)).bytesKept
        #expect(most <= 4 << 20, "\(most)")
        for round in 0..<4000 where !ids.allSatisfy({ client[$0].isEnded }) {
            bench.ring.setRoom(client.descriptor, 100_000)
            bench.settle()
            // Browsers measure the way while they receive.
            if round % 50 == 0 { client.peer.session.ping() }
            client.step()
            #expect(client.peer.recorder.goAway == nil)
            if client.peer.recorder.goAway != nil { break }
        }
        for id in ids { expectSame(client[id].content, content) }
        #expect(bench.link(client)?.bytesKept == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    // MARK: - Content of streams

    @Test("An upload that nobody takes holds no more than its window; its siblings go on")
    func stalledUpload() throws {
        let bench = try Bench { _ in }
        let client = try WirePeer(clientOf: bench)
        let content = Self.pattern(500_000)
        let stalled = client.post()
        let slow = bench.upstream
        bench.ring.setRoom(slow, 1000)
        client.peer.send(stalled, content, isLast: true)
        client.exchange()
        let kept = try #require(bench.link(client)).bytesKept
        #expect(kept <= 64 * 1024)
        #expect(client.peer.waiting(stalled) > 300_000)
        for _ in 0..<3 {
            let sibling = client.post()
            let upstream = bench.upstream
            client.peer.send(sibling, content, isLast: true)
            client.exchange()
            #expect(
                bench.ring.sent(to: upstream).count > content.count, "the sibling is stalled")
            bench.send(upstream, Bench.ok)
            client.exchange()
            #expect(client[sibling].content == Array("ok".utf8))
            _ = bench.ring.takeBytes(to: upstream)
        }
        bench.ring.setRoom(slow, .max)
        client.exchange()
        #expect(bench.link(client)?.bytesKept == 0)
        bench.send(slow, Bench.ok)
        client.exchange()
        #expect(client[stalled].content == Array("ok".utf8))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Many uploads that nobody takes are bounded together, and all arrive in the end")
    func stalledUploads() throws {
        let bench = try Bench { $0.connectionsMax = 128 }
        let client = try WirePeer(clientOf: bench)
        let content = Self.pattern(120_000)
        let ids = (0..<60).map { _ in client.post() }
        let upstreams = bench.ring.opened
        for upstream in upstreams { bench.ring.setRoom(upstream, 0) }
        for id in ids { client.peer.send(id, content, isLast: true) }
        client.exchange()
        let kept = try #require(bench.link(client)).bytesKept
        #expect(kept <= bench.options.http2.memoryMax, "\(kept)")
        #expect(client.peer.recorder.goAway == nil)
        for upstream in upstreams { bench.ring.setRoom(upstream, .max) }
        client.exchange()
        for _ in 0..<20 { client.exchange() }
        #expect(bench.link(client)?.bytesKept == 0)
        #expect(bench.link(client)?.withheld == 0)
        for id in ids { #expect(client.peer.waiting(id) == 0) }
        for upstream in upstreams {
            let sent = bench.ring.sent(to: upstream).count
            #expect(sent > content.count)
            bench.ring.receives(upstream, Bench.ok)
        }
        bench.settle()
        client.exchange()
        for id in ids { #expect(client[id].content == Array("ok".utf8)) }
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    // MARK: - Upstreams

    @Test("A client that is slow stalls its stream at the upstream, and no other")
    func slowClient() throws {
        let bench = try Bench.multiplexing()
        let content = Self.pattern(600_000)
        let slow = bench.client()
        bench.send(slow, bench.get())
        let server = try WirePeer(upstreamOf: bench)
        bench.ring.setRoom(slow, 1000)
        server.peer.answer(1, 200, [("content-length", "600000")], hasContent: true)
        server.peer.send(1, content, isLast: true)
        server.exchange()
        #expect(server.peer.waiting(1) > 400_000)
        #expect(try #require(bench.link(server)).bytesKept <= 64 * 1024)
        for round in 0..<3 {
            let client = bench.client()
            bench.send(client, bench.get())
            server.exchange()
            let id = Int32(2 * round + 3)
            server.peer.answer(id, 200, [("content-length", "600000")], hasContent: true)
            server.peer.send(id, content, isLast: true)
            server.exchange()
            expectSame(Self.body(bench.ring.takeBytes(to: client)), content)
        }
        var got: [UInt8] = []
        for _ in 0..<400 where got.count < 600_000 {
            bench.ring.setRoom(slow, 10_000)
            server.exchange()
            got += bench.ring.takeBytes(to: slow)
        }
        expectSame(Self.body(got), content)
        #expect(bench.link(server)?.bytesKept == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Many slow clients on one connection to an upstream: it is not given up for them")
    func slowClients() throws {
        let bench = try Bench.multiplexing { $0.connectionsMax = 128 }
        let content = Self.pattern(100_000)
        let clients = (0..<60).map { _ in bench.client() }
        for client in clients { bench.ring.receives(client, bench.get()) }
        bench.settle()
        let server = try WirePeer(upstreamOf: bench)
        #expect(bench.ring.opened.count == 1)
        for client in clients { bench.ring.setRoom(client, 100) }
        for id in server.peer.open {
            server.peer.answer(id, 200, [("content-length", "100000")], hasContent: true)
            server.peer.send(id, content, isLast: true)
        }
        server.exchange()
        server.peer.session.ping()
        server.exchange()
        #expect(!server.isClosed && server.peer.recorder.goAway == nil)
        let fast = bench.client()
        bench.send(fast, bench.get())
        server.exchange()
        let id: Int32 = 121
        server.peer.answer(id, 200, [("content-length", "100000")], hasContent: true)
        server.peer.send(id, content, isLast: true)
        server.exchange()
        expectSame(Self.body(bench.ring.takeBytes(to: fast)), content)

        for client in clients { bench.ring.setRoom(client, .max) }
        for _ in 0..<10 { server.exchange() }
        for client in clients {
            expectSame(Self.body(bench.ring.takeBytes(to: client)), content)
        }
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("An upload to an upstream whose stream is full waits, its siblings go on")
    func fullStream() throws {
        let bench = try Bench.multiplexing()
        let content = Self.pattern(400_000)
        func put(_ client: Int32) {
            bench.ring.receives(
                client,
                Array(
                    "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 400000\r\n\r\n".utf8)
                    + content)
            bench.settle()
        }
        let slow = bench.client()
        put(slow)
        let server = WirePeer(
            bench, bench.upstream, try SessionPeer(isServer: true, WirePeer.wide))
        server.peer.recorder.consumes = false
        server.exchange()
        #expect(server[1].content.count == 65_536)
        #expect(!bench.ring.isReceiving(slow))
        #expect(try #require(bench.link(server)).bytesKept <= 128 * 1024)
        server.peer.recorder.consumes = true
        server.peer.session.consumeConnection(server[1].owed)
        let fast = bench.client()
        put(fast)
        for _ in 0..<10 { server.exchange() }
        expectSame(server[3].content, content)
        server.peer.consume(1, connectionToo: false)
        for _ in 0..<10 { server.exchange() }
        expectSame(server[1].content, content)
        for id: Int32 in [1, 3] { server.peer.answer(id, 204) }
        server.exchange()
        for client in [slow, fast] {
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 204 "))
        }
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    // MARK: - Both

    @Test("HTTP/2 on both sides: contents both ways, whole and bounded, whoever is slow")
    func both() throws {
        let bench = try Bench.multiplexing()
        let client = try WirePeer(clientOf: bench)
        let content = Self.pattern(120_000)
        let ids = (0..<6).map { _ in client.post() }
        let server = try WirePeer(upstreamOf: bench)
        #expect(server.peer.open.count == 6)
        for id in ids { client.peer.send(id, content, isLast: true) }
        for id in server.peer.open {
            server.peer.answer(id, 200, hasContent: true)
            server.peer.send(id, content)
        }
        var open = server.peer.open
        for round in 0..<3000 where !ids.allSatisfy({ client[$0].closedWith != nil }) {
            bench.ring.setRoom(client.descriptor, round % 3 == 0 ? 30_000 : 900)
            bench.ring.setRoom(server.descriptor, round % 5 == 0 ? 50_000 : 900)
            client.step()
            server.step()
            bench.settle()
            for id in open where server[id].isEnded {
                server.peer.send(id, [], isLast: true, trailers: [("x-id", "\(id)")])
                open.removeAll { $0 == id }
            }
            #expect(bench.worker.chunks.bytesInUse < 8 << 20)
        }
        for id in ids {
            expectSame(client[id].content, content)
            #expect(client[id].trailers?.hasPrefix("x-id: ") == true)
        }
        for (_, stream) in server.peer.recorder.streams { expectSame(stream.content, content) }
        #expect(bench.link(client)?.bytesKept == 0 && bench.link(server)?.bytesKept == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }
}
