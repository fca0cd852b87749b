import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeTesting
import Testing

@testable import EdgeProxy

/// Clients of HTTP/1.1 whose requests share connections to an upstream.
@Suite("Worker: HTTP/2 upstreams") struct HTTP2UpstreamTests {
    /// Clients that have sent a request each, and the server that has them as streams 1, 3, …
    private static func open(
        _ count: Int, _ bench: Bench, streams: UInt32 = 100
    ) throws -> (clients: [Int32], server: WirePeer) {
        let clients = (0..<count).map { _ in bench.client() }
        for (index, client) in clients.enumerated() {
            bench.ring.receives(client, bench.get("/\(index)"))
        }
        bench.settle()
        return (clients, try WirePeer(upstreamOf: bench, streams: streams))
    }

    private static func ok(_ server: WirePeer, _ id: Int32, _ text: String = "ok") {
        server.peer.answer(id, 200, [("content-length", "\(text.utf8.count)")], hasContent: true)
        server.peer.send(id, Array(text.utf8), isLast: true)
        server.exchange()
    }

    @Test("Requests of several clients are streams of one connection, in any order of answers")
    func sharing() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(5, bench)
        #expect(bench.ring.opened.count == 1)
        #expect(server.peer.open == [1, 3, 5, 7, 9])
        #expect(server[1].heads[0].hasPrefix("GET /0 HTTP/1.1\r\nhost: home.example\r\n"))
        for (index, id) in server.peer.open.enumerated().reversed() {
            Self.ok(server, id, "answer \(index)")
        }
        for (index, client) in clients.enumerated() {
            #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\nanswer \(index)"))
        }
        #expect(bench.worker.upstreamStreamSlots.used == 0)
        #expect(bench.worker.chunks.bytesInUse == 0)
        #expect(bench.count(Counter.upstreamReused) == 4)
    }

    @Test("Requests wait for the connection that is being made, and go when it is there")
    func waiting() throws {
        let bench = try Bench.multiplexing { $0.queueMax = 0 }
        bench.ring.connectPolicy = { _ in nil }
        let clients = (0..<4).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.requestsWaiting) == 3)
        bench.ring.connects(bench.upstream)
        bench.settle()
        #expect(bench.count(Counter.requestsWaiting) == 0)
        let server = try WirePeer(upstreamOf: bench)
        for id in server.peer.open { Self.ok(server, id) }
        for client in clients { #expect(bench.ring.takeSent(to: client).hasSuffix("ok")) }
        #expect(bench.ring.opened.count == 1)
    }

    @Test("The client whose connect it is may leave; those that wait still get it")
    func impatient() throws {
        let bench = try Bench.multiplexing()
        bench.ring.connectPolicy = { _ in nil }
        let clients = (0..<3).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        bench.ring.fails(clients[0], ECONNRESET)
        bench.settle()
        #expect(bench.ring.openDescriptors.contains(bench.upstream))
        bench.ring.connects(bench.upstream)
        bench.settle()
        let server = try WirePeer(upstreamOf: bench)
        #expect(server.peer.open.count == 2)
        for id in server.peer.open { Self.ok(server, id) }
        for client in clients.dropFirst() {
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }
    }

    @Test("A connect that fails is tried elsewhere by all who waited, and told if there is nobody")
    func refused() throws {
        for members in [1, 2] {
            let bench = try Bench.multiplexing {
                $0.members = (1...members).map { Bench.member($0) }
            }
            bench.ring.connectPolicy = { _ in nil }
            let clients = (0..<4).map { _ in bench.client() }
            for client in clients { bench.send(client, bench.get()) }
            for descriptor in bench.ring.opened {
                if bench.ring.address(of: descriptor) == Bench.member(1) {
                    bench.ring.connects(descriptor, ECONNREFUSED)
                }
            }
            bench.settle()
            if members == 1 {
                for client in clients {
                    #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
                }
                continue
            }
            let other = try #require(
                bench.ring.opened.last { bench.ring.address(of: $0) == Bench.member(2) })
            bench.ring.connects(other)
            bench.settle()
            let server = WirePeer(bench, other, try SessionPeer(isServer: true, WirePeer.wide))
            server.exchange()
            for id in server.peer.open { Self.ok(server, id) }
            for client in clients {
                #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
            }
        }
    }

    @Test("More requests than the server takes at once go over further connections")
    func streamsMax() throws {
        let bench = try Bench.multiplexing()
        let first = bench.client()
        bench.send(first, bench.get())
        let server = try WirePeer(upstreamOf: bench, streams: 2)
        let clients = (0..<3).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        server.exchange()
        #expect(bench.ring.opened.count == 2)
        #expect(server.peer.open.count == 2)
        let second = try WirePeer(upstreamOf: bench, streams: 2)
        #expect(second.peer.open.count == 2)
        for peer in [server, second] { for id in peer.peer.open { Self.ok(peer, id) } }
        for client in [first] + clients {
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        }
    }

    @Test("Content and trailers, up and down")
    func trailers() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n"
                + "Connection: TE\r\n\r\n5\r\nhello\r\n")
        let server = try WirePeer(upstreamOf: bench)
        bench.send(client, "6\r\n there\r\n0\r\nX-Sum: 11\r\n\r\n")
        server.exchange()
        #expect(server[1].content == Array("hello there".utf8))
        #expect(server[1].trailers == "x-sum: 11\r\n\r\n")
        server.peer.interim(1, 103, [("link", "</a>")])
        server.peer.answer(1, 200, hasContent: true)
        server.peer.send(1, Array("abc".utf8), isLast: true, trailers: [("x-end", "3")])
        server.exchange()
        let text = bench.ring.takeSent(to: client)
        #expect(text.hasPrefix("HTTP/1.1 103 "))
        #expect(text.contains("\r\n3\r\nabc\r\n0\r\nx-end: 3\r\n\r\n"))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A short body and its trailers that came before the connection go up whole")
    func trailersBeforeConnect() throws {
        let bench = try Bench.multiplexing()
        bench.ring.connectPolicy = { _ in nil }
        let client = bench.client()
        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")
        bench.ring.connects(bench.upstream)
        bench.settle()
        let server = try WirePeer(upstreamOf: bench)
        #expect(server[1].content == Array("hello".utf8))
        #expect(server[1].trailers == "x-sum: 5\r\n\r\n")
        Self.ok(server, 1)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    // MARK: - Ends

    @Test("Streams that GOAWAY leaves out are sent again on another connection")
    func goAway() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(3, bench)
        bench.ring.receives(
            server.descriptor, RawFrame.goAway(last: 3).bytes)
        bench.settle()
        #expect(bench.ring.opened.count == 2)
        let second = try WirePeer(upstreamOf: bench)
        #expect(second.peer.open == [1])
        #expect(second[1].heads[0].hasPrefix("GET /2 "))
        Self.ok(second, 1)
        for id: Int32 in [1, 3] { Self.ok(server, id) }
        for client in clients { #expect(bench.ring.takeSent(to: client).hasSuffix("ok")) }
        bench.pass(.milliseconds(100))
        #expect(bench.ring.isSendingShut(server.descriptor) || server.isClosed)
        #expect(!second.isClosed)
    }

    @Test("A refused stream is sent again, whatever its method and with its content")
    func refusedStream() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.ring.connectPolicy = { _ in nil }
        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 5\r\n\r\nhello")
        bench.ring.connectPolicy = { _ in 0 }
        bench.ring.connects(bench.upstream)
        bench.settle()
        let server = try WirePeer(upstreamOf: bench)
        #expect(server[1].content == Array("hello".utf8))
        server.peer.session.reset(1, .refusedStream)
        server.exchange()
        let last = bench.upstream == server.descriptor ? server : try WirePeer(upstreamOf: bench)
        let id = try #require(last.peer.open.last)
        #expect(last[id].content == Array("hello".utf8))
        Self.ok(last, id)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.count(Counter.upstreamRetries) == 1)
    }

    @Test("An upstream that refuses every stream is not asked for ever")
    func alwaysRefused() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(client, bench.get())
        let server = try WirePeer(upstreamOf: bench)
        for _ in 0..<20 {
            for id in server.peer.open { server.peer.session.reset(id, .refusedStream) }
            server.exchange()
        }
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
        #expect(server.peer.recorder.streams.count <= 9)
    }

    @Test("A reset in the middle of an answer cuts that answer alone")
    func resetByServer() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(2, bench)
        server.peer.answer(1, 200, [("content-length", "9")], hasContent: true)
        server.peer.send(1, Array("abc".utf8))
        server.exchange()
        server.peer.session.reset(1, .internalError)
        server.exchange()
        #expect(bench.ring.takeSent(to: clients[0]).hasSuffix("abc"))
        #expect(bench.ring.wasReset(clients[0]))
        #expect(bench.count(ReasonCode.upstreamTruncated) == 1)
        Self.ok(server, 3)
        #expect(bench.ring.takeSent(to: clients[1]).hasSuffix("ok"))
    }

    @Test("A reset before an answer is a 502 on a fresh connection's only request")
    func resetBeforeAnswer() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(
            client, "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 0\r\n\r\n")
        let server = try WirePeer(upstreamOf: bench)
        server.peer.session.reset(1, .internalError)
        server.exchange()
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
        #expect(bench.count(ReasonCode.upstreamReset) == 1)
        #expect(!server.isClosed)
    }

    @Test("A client that goes takes its stream along, and no other")
    func clientGone() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(2, bench)
        bench.ring.fails(clients[0], ECONNRESET)
        bench.settle()
        server.exchange()
        #expect(server[1].closedWith == HTTP2Code.cancel.rawValue)
        Self.ok(server, 3)
        #expect(bench.ring.takeSent(to: clients[1]).hasSuffix("ok"))
        #expect(bench.worker.upstreamStreamSlots.used == 0)
    }

    @Test(
        "A connection that dies: what is safe is sent again, the rest is told",
        arguments: [
            false, true,
        ])
    func death(byReset: Bool) throws {
        let bench = try Bench.multiplexing { $0.members = [Bench.member(1), Bench.member(2)] }
        // The second and further requests are on a connection that has carried one.
        let (clients, server) = try Self.open(1, bench)
        let more = (0..<6).map { _ in bench.client() }
        for (index, client) in more.enumerated() {
            bench.send(
                client,
                index % 2 == 0
                    ? bench.get()
                    : "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 1\r\n\r\nx")
        }
        let target = bench.ring.opened
        #expect(target.count <= 2)
        server.exchange()
        for descriptor in target {
            if byReset {
                bench.ring.fails(descriptor, ECONNRESET)
            } else {
                bench.ring.ends(descriptor)
            }
        }
        bench.settle()
        for descriptor in bench.ring.opened.dropFirst(target.count) {
            let next = WirePeer(
                bench, descriptor, try SessionPeer(isServer: true, WirePeer.wide))
            next.exchange()
            for id in next.peer.open { Self.ok(next, id) }
        }
        for (index, client) in (clients + more).enumerated() {
            let text = bench.ring.takeSent(to: client)
            let isSafe = index == 0 || (index - 1) % 2 == 0
            #expect(text.hasPrefix(isSafe ? "HTTP/1.1 200 " : "HTTP/1.1 502 "), "\(index)")
        }
        #expect(bench.worker.upstreamStreamSlots.used == 0)
    }

    @Test("What an upstream does against the rules is a 502, never the client's fault")
    func breach() throws {
        for frame in [
            RawFrame.ping(), .settings(), RawFrame(0x99), .data(1),
            .headers(
                1, HPACKBlock([(":status", "200"), ("X-Up", "1")])),
            RawFrame(.data, stream: 0, payload: [1]), RawFrame(.settings, payload: [1]),
        ] {
            let bench = try Bench.multiplexing()
            let (clients, server) = try Self.open(1, bench)
            for _ in 0..<30 {
                bench.ring.receives(
                    server.descriptor, (0..<100).flatMap { _ in frame.bytes })
                bench.settle()
            }
            // A safe request may have been sent again.
            if bench.upstream != server.descriptor {
                bench.ring.receives(bench.upstream, (0..<3000).flatMap { _ in frame.bytes })
                bench.settle()
                bench.ring.ends(bench.upstream)
                bench.settle()
            }
            let text = bench.ring.takeSent(to: clients[0])
            #expect(text.hasPrefix("HTTP/1.1 502 "), "\(frame): \(text.prefix(60))")
            bench.ring.ends(clients[0])
            bench.pass(.seconds(70))
            bench.expectEmpty()
        }
    }

    @Test("A server that speaks HTTP/1.1 instead is a 502")
    func notHTTP2() throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(client, bench.get())
        for _ in 0..<3 where !bench.ring.isClosed(bench.upstream) {
            bench.ring.receives(
                bench.upstream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            bench.settle()
        }
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502 "))
    }

    // MARK: - Deadlines

    @Test(
        "A connection with streams that is silent is asked, and ended if it does not answer",
        arguments: [false, true])
    func ping(answers: Bool) throws {
        let bench = try Bench.multiplexing()
        let client = bench.client()
        bench.send(
            client,
            "POST / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n")
        let server = try WirePeer(upstreamOf: bench)
        func isAsked() -> Bool {
            var bytes = bench.ring.sent(to: server.descriptor)
            while let frame = RawFrame.take(from: &bytes) {
                if frame.kind == .ping, !frame.has(.acknowledge) { return true }
            }
            return false
        }
        // A request that goes on keeps its own deadlines away.
        for _ in 0..<5 {
            bench.pass(.seconds(5))
            bench.send(client, "1\r\nx\r\n")
        }
        #expect(!isAsked())
        bench.pass(.seconds(6))
        #expect(isAsked())
        bench.send(client, "1\r\nx\r\n")
        if answers { server.exchange() }
        bench.pass(.seconds(11))

        #expect(server.isClosed == !answers)
        let text = bench.ring.takeSent(to: client)
        #expect(text.hasPrefix("HTTP/1.1 50") == !answers)
    }

    @Test("A response that does not come is a 504, and its stream is cancelled")
    func responseDeadline() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(2, bench)
        bench.pass(.seconds(15))
        Self.ok(server, 3)
        bench.pass(.seconds(6))
        server.exchange()
        #expect(bench.ring.takeSent(to: clients[0]).hasPrefix("HTTP/1.1 504 "))
        #expect(bench.ring.takeSent(to: clients[1]).hasSuffix("ok"))
        #expect(server[1].closedWith == HTTP2Code.cancel.rawValue)
        #expect(!server.isClosed)
    }

    @Test("A connection without streams is kept for the pool's time, then left with GOAWAY")
    func idle() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(1, bench)
        Self.ok(server, 1)
        bench.pass(.seconds(55))
        bench.send(clients[0], bench.get())
        server.exchange()
        Self.ok(server, 3)
        #expect(bench.ring.opened.count == 1)
        bench.pass(.seconds(58))
        #expect(!server.isClosed)
        bench.pass(.seconds(4))
        server.exchange()
        #expect(server.peer.recorder.goAway?.code == 0)
        bench.ring.ends(server.descriptor)
        bench.settle()
        #expect(server.isClosed)
    }

    @Test("A stopping worker ends connections without streams at once, others with their last")
    func drain() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(1, bench)
        bench.worker.handle(.stopAccepting)
        bench.settle()
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        bench.settle()
        #expect(!server.isClosed)
        Self.ok(server, 1)
        bench.pass(.milliseconds(200))
        #expect(bench.ring.takeSent(to: clients[0]).hasSuffix("ok"))
        #expect(server.isClosed || bench.ring.isSendingShut(server.descriptor))
    }

    @Test("A pool that is gone finishes its streams and takes no more")
    func retired() throws {
        let bench = try Bench.multiplexing()
        let (clients, server) = try Self.open(1, bench)
        bench.apply(2, [Bench.member(1)], pool: 1)
        bench.settle()
        Self.ok(server, 1)
        #expect(bench.ring.takeSent(to: clients[0]).hasSuffix("ok"))
        bench.pass(.milliseconds(200))
        #expect(server.isClosed || bench.ring.isSendingShut(server.descriptor))
        bench.send(clients[0], bench.get())
        #expect(bench.upstream != server.descriptor)
    }
}
