import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeRouting
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

/// Streams of a client, each to a connection of HTTP/1.1 of its own.
@Suite("Worker: HTTP/2 clients") struct HTTP2ClientTests {
    /// Answers the newest request to the upstream.
    private static func answer(_ bench: Bench, _ text: String = Bench.ok) {
        bench.send(bench.upstream, text)
    }

    @Test("A request goes up as HTTP/1.1, its answer comes down as frames")
    func request() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        for round in 0..<3 {
            let id = client.get("/path", [("cookie", "a=1"), ("cookie", "b=2")])
            let head = bench.ring.takeSent(to: bench.upstream)
            #expect(head.hasPrefix("GET /path HTTP/1.1\r\nHost: home.example\r\n"))
            #expect(head.contains("cookie: a=1; b=2\r\n"))
            Self.answer(bench)
            client.exchange()
            #expect(client[id].heads == ["HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n"])
            #expect(client[id].content == Array("ok".utf8))
            #expect(client.closing(id) == .noError, "round \(round)")
        }
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.requests) == 3)
        #expect(bench.count(Counter.responses2xx) == 3)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Requests of one read are all begun, answers of one turn leave in one send")
    func many() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<20).map { client.peer.request(SessionPeer.fields("GET", "/\($0)")) }
        client.exchange()
        #expect(bench.ring.opened.count == 20)
        let calls = bench.ring.sendCalls(to: client.descriptor)
        for upstream in bench.ring.opened {
            let path = bench.ring.takeSent(to: upstream).dropFirst(4).prefix { $0 != " " }
            bench.ring.receives(
                upstream, "HTTP/1.1 200 OK\r\nContent-Length: \(path.count)\r\n\r\n\(path)")
        }
        bench.settle()
        #expect(bench.ring.sendCalls(to: client.descriptor) == calls + 1)
        client.exchange()
        for (index, id) in ids.enumerated() {
            #expect(client[id].content == Array("/\(index)".utf8))
        }
    }

    @Test("Content and trailers go up and down")
    func trailers() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.post("/", [("te", "trailers")])
        client.peer.send(id, Array("hello".utf8))
        client.exchange()
        client.peer.send(id, Array(" there".utf8), isLast: true, trailers: [("x-sum", "11")])
        client.exchange()
        let request = bench.ring.takeSent(to: bench.upstream)
        #expect(request.contains("transfer-encoding: chunked\r\n") || request.contains("chunked"))
        #expect(request.contains("hello") && request.contains(" there"))
        #expect(request.hasSuffix("\r\n0\r\nx-sum: 11\r\n\r\n"))

        Self.answer(
            bench,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-End: 3\r\n\r\n"
        )
        client.exchange()
        #expect(client[id].content == Array("abc".utf8))
        #expect(client[id].trailers == "x-end: 3\r\n\r\n")
        #expect(client.closing(id) == .noError)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Answers without content, to HEAD too, end with their heads")
    func noContent() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        for (method, answer) in [
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ] {
            let id = client.peer.request(SessionPeer.fields(method))
            client.exchange()
            Self.answer(bench, answer)
            client.exchange()
            #expect(client[id].isEnded && client[id].content.isEmpty, "\(answer)")
            #expect(client.closing(id) == .noError, "\(answer)")
        }
        #expect(bench.ring.opened.count == 1)
    }

    @Test("A 103 comes before its answer, and Expect is answered on our own account")
    func interim() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.post("/", [("expect", "100-continue")])
        #expect(client[id].heads == ["HTTP/1.1 100 \r\n\r\n"])
        client.peer.send(id, [UInt8(ascii: "x")], isLast: true)
        client.exchange()
        Self.answer(bench, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        client.exchange()
        Self.answer(bench)
        client.exchange()
        #expect(client[id].heads.count == 3)
        #expect(client[id].heads[1] == "HTTP/1.1 103 \r\nlink: </a>\r\n\r\n")
        #expect(client[id].content == Array("ok".utf8))
    }

    @Test("A request that names no site, or is none, is answered on its stream alone")
    func refused() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let good = client.get()
        let nowhere = client.peer.request(
            SessionPeer.fields("GET", "/", authority: "nobody.example"))
        let connect = client.peer.request([
            (":method", "CONNECT"), (":authority", "home.example:443"),
        ])
        let asterisk = client.peer.request(SessionPeer.fields("GET", "*"))
        client.exchange()
        #expect(client[nowhere].heads.first?.hasPrefix("HTTP/1.1 404 ") == true)
        #expect(client[connect].heads.first?.hasPrefix("HTTP/1.1 400 ") == true)
        #expect(client.closing(asterisk) == .protocolError || client[asterisk].heads.first != nil)
        Self.answer(bench)
        client.exchange()
        #expect(client[good].content == Array("ok".utf8))
    }

    @Test("A gRPC client is told errors as a status of its own")
    func grpc() throws {
        let bench = try Bench { $0.members = [] }
        let client = try WirePeer(clientOf: bench)
        let id = client.post("/a.B/C", [("content-type", "application/grpc+proto")])
        #expect(client[id].heads.count == 1)
        let head = try #require(client[id].heads.first)
        #expect(head.hasPrefix("HTTP/1.1 200 \r\n"))
        #expect(head.contains("grpc-status: 14\r\n"))
        #expect(head.contains("grpc-message: no_address\r\n"))
        #expect(client[id].isEnded)
    }

    @Test("WebSocket over a stream is an upgrade of the upstream's, bytes go both ways")
    func webSocket() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.peer.request(
            SessionPeer.fields(
                "CONNECT", "/chat",
                [(":protocol", "websocket"), ("sec-websocket-version", "13")]),
            hasContent: true)
        client.exchange()
        let head = bench.ring.takeSent(to: bench.upstream)
        #expect(head.hasPrefix("GET /chat HTTP/1.1\r\n"))
        #expect(head.lowercased().contains("upgrade: websocket\r\n"))
        Self.answer(bench, RequestTests.switching)
        client.exchange()
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 200 ") == true)
        client.peer.send(id, Array("ping".utf8))
        client.exchange()
        #expect(bench.ring.takeSent(to: bench.upstream) == "ping")
        Self.answer(bench, "pong")
        client.exchange()
        #expect(client[id].content == Array("pong".utf8))

        client.peer.send(id, [], isLast: true)
        client.exchange()
        bench.ring.ends(bench.upstream)
        bench.settle()
        client.exchange()
        #expect(client[id].closedWith != nil)
        #expect(bench.worker.clientStreamSlots.used == 0)
        #expect(bench.worker.exchangeSlots.used == 0)
    }

    // MARK: - Ends

    /// How far a request is when its client gives it up.
    enum Stage: CaseIterable {
        case connecting, sending, awaiting, answering
    }

    @Test("A reset ends its exchange and its upstream, at any stage", arguments: Stage.allCases)
    func reset(stage: Stage) throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let sibling = client.get("/sibling")
        let siblingUpstream = bench.upstream
        if stage == .connecting { bench.ring.connectPolicy = { _ in nil } }
        let id = client.post()
        client.peer.send(id, Array("some".utf8), isLast: stage != .sending)
        client.exchange()
        if stage == .answering {
            Self.answer(bench, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            client.exchange()
        }
        let upstream = bench.upstream
        client.peer.session.reset(id, .cancel)
        client.exchange()

        #expect(bench.ring.isClosed(upstream))
        #expect(bench.count(ReasonCode.clientReset) == 1)
        #expect(bench.worker.clientStreamSlots.used == 1)
        #expect(bench.worker.exchangeSlots.used == 1)
        bench.send(siblingUpstream, Bench.ok)
        client.exchange()
        #expect(client[sibling].content == Array("ok".utf8))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("An upstream that dies in the middle of an answer resets the stream, and no other")
    func truncated() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        let first = bench.upstream
        let sibling = client.get()
        bench.send(first, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        client.exchange()
        bench.ring.ends(first)
        bench.settle()
        client.exchange()
        #expect(client.closing(id) == .internalError)
        #expect(!client[id].isEnded)
        #expect(bench.count(ReasonCode.upstreamTruncated) == 1)
        Self.answer(bench)
        client.exchange()
        #expect(client[sibling].content == Array("ok".utf8))
    }

    @Test("An answer that comes before the request is complete is whole, and the rest is taken")
    func early() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.post()
        client.peer.send(id, [UInt8](repeating: 7, count: 30_000))
        client.exchange()
        Self.answer(bench, "HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
        client.exchange()
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 413 ") == true)
        #expect(client[id].content == Array("no".utf8) && client[id].isEnded)
        #expect(client[id].closedWith == nil)
        client.peer.send(id, [UInt8](repeating: 7, count: 300_000), isLast: true)
        client.exchange()
        #expect(client.peer.waiting(id) == 0)
        #expect(client.closing(id) == .noError)

        // One that never ends is ended.
        let endless = client.post()
        client.peer.send(endless, [1])
        client.exchange()
        Self.answer(bench, "HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n")
        client.exchange()
        bench.pass(.milliseconds(2_200))
        client.exchange()
        #expect(client.closing(endless) == .noError)
        #expect(bench.worker.clientStreamSlots.used == 0)
    }

    @Test("A connection that dies takes all its streams with it", arguments: [true, false])
    func death(byReset: Bool) throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        for index in 0..<30 {
            let id = client.post("/\(index)")
            if index % 3 == 0 { client.peer.send(id, [1, 2, 3], isLast: true) }
            client.exchange()
            if index % 5 == 0 {
                Self.answer(bench, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc")
            }
        }
        client.exchange()
        #expect(bench.worker.exchangeSlots.used == 30)
        if byReset {
            bench.ring.fails(client.descriptor, ECONNRESET)
        } else {
            bench.ring.ends(client.descriptor)
        }
        bench.settle()
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("A stopping worker lets streams end, says GOAWAY twice, and closes")
    func drain() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        let late = client.peer.request(SessionPeer.fields("GET", "/late"))
        let onItsWay = client.peer.take()
        bench.worker.handle(.stopAccepting)
        bench.settle()
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        bench.settle()
        client.exchange()
        #expect(client.peer.recorder.goAway?.last == Int32.max)
        #expect(client.peer.recorder.goAway?.code == 0)
        bench.ring.receives(client.descriptor, onItsWay)
        bench.settle()
        #expect(bench.ring.opened.count == 2)
        Self.answer(bench)
        bench.send(bench.ring.opened[0], Bench.ok)
        client.exchange()
        #expect(client[id].content == Array("ok".utf8))
        #expect(client[late].content == Array("ok".utf8))
        #expect(client.peer.recorder.goAway?.last == late)
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(3))
        #expect(bench.isStopped)
        #expect(client.isClosed)
    }

    @Test("A connection whose policy towards clients has gone is told GOAWAY, others are not")
    func policyGone() throws {
        let bench = try Bench()
        let (known, other) = (try WirePeer(clientOf: bench), try WirePeer(clientOf: bench))
        for (client, profile) in [(known, Int32(0)), (other, 1)] {
            let slot = try #require(bench.slot(of: client.descriptor))
            bench.worker.downstreams[slot].pointee.profile = profile
        }
        let id = known.get()
        bench.apply(
            2,
            routing: Routing(
                views: [(0, ClientView(name: "", index: 0, profile: 1))], isDivided: false,
                places: ViewTable([.only], listeners: [], interfaces: [:]),
                router: Router([
                    Router.View(hosts: [Router.Host(pattern: "home.example", site: 0, pool: 0)])
                ]),
                profiles: [nil, ServerProfile(fallback: nil)]))
        bench.settle()
        Self.answer(bench)
        known.exchange()
        other.exchange()

        #expect(known[id].content == Array("ok".utf8))
        #expect(known.peer.recorder.goAway?.code == 0)
        #expect(other.peer.recorder.goAway == nil)
    }

    // MARK: - Abuse

    @Test("A flood is cut with ENHANCE_YOUR_CALM and its reason, and nothing is left")
    func flood() throws {
        for (frame, reason) in [
            (RawFrame.ping(), ReasonCode.clientPingFlood), (.settings(), .clientSettingsFlood),
            (.priority(1, .init()), .clientPriorityFlood),
            (.windowUpdate(0, 1), .clientWindowFlood), (.data(1), .clientEmptyDataFlood),
            (RawFrame(0x99), .clientUnknownFrameFlood),
        ] {
            let bench = try Bench()
            let client = try WirePeer(clientOf: bench)
            _ = client.post()
            for _ in 0..<30 {
                bench.ring.receives(
                    client.descriptor, (0..<100).flatMap { _ in frame.bytes })
                bench.settle()
            }
            client.exchange()
            #expect(client.peer.recorder.goAway?.code == 11, "\(reason)")
            #expect(bench.count(reason) == 1, "\(reason)")
            bench.ring.ends(client.descriptor)
            bench.pass(.seconds(3))
            bench.expectEmpty()
        }
    }

    @Test("Rapid resets are cut, and no upstream is left with their work")
    func rapidReset() throws {
        let bench = try Bench { $0.connectionsMax = 256 }
        let client = try WirePeer(clientOf: bench)
        for _ in 0..<120 {
            let id = client.peer.request(SessionPeer.fields())
            bench.ring.receives(client.descriptor, client.peer.take())
            client.peer.session.reset(id, .cancel)
            bench.ring.receives(client.descriptor, client.peer.take())
        }
        bench.settle()
        client.exchange()
        #expect(client.peer.recorder.goAway?.code == 11)
        #expect(bench.count(ReasonCode.clientResetFlood) == 1)
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("Streams beyond a limit that is lower than it was are refused, the others go on")
    func streamsMax() throws {
        let bench = try Bench { _ in }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<3).map { _ in client.get() }
        var options = bench.options
        options.http2.streamsMax = 3
        bench.worker.handle(.apply(Bench.snapshot(2, options, options.members)))
        let late = client.get()
        #expect(client.closing(late) == .refusedStream)
        for upstream in bench.ring.opened { bench.send(upstream, Bench.ok) }
        client.exchange()
        for id in ids { #expect(client[id].content == Array("ok".utf8)) }
        let next = client.get()
        Self.answer(bench)
        client.exchange()
        #expect(client[next].content == Array("ok".utf8))
    }

    @Test("Who opens more streams than it was told to is left, and nothing of it stays")
    func rude() throws {
        let bench = try Bench { $0.http2.streamsMax = 3 }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<3).map { _ in client.get() }
        bench.ring.receives(
            client.descriptor,
            RawFrame.headers(UInt32(ids[2]) + 2, HPACKBlock(SessionPeer.fields())).bytes)
        bench.settle()
        client.exchange()
        #expect(bench.ring.opened.count == 3)
        #expect(client.peer.recorder.goAway?.code == 1)
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    // MARK: - Deadlines

    @Test("A request whose content stops is a 408; its siblings go on")
    func bodyDeadline() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.post()
        client.peer.send(id, [1])
        client.exchange()
        bench.pass(.seconds(29))
        let sibling = client.get()
        bench.pass(.seconds(2))
        client.exchange()
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 408 ") == true)
        #expect(bench.count(ReasonCode.clientBodyTimeout) == 1)
        Self.answer(bench)
        client.exchange()
        #expect(client[sibling].content == Array("ok".utf8))
        bench.pass(.seconds(3))
        client.exchange()
        #expect(bench.worker.clientStreamSlots.used == 0)
    }

    @Test("An upstream that does not answer is a 504 on its stream")
    func responseDeadline() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        bench.pass(.seconds(21))
        client.exchange()
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 504 ") == true)
        #expect(client.closing(id) == .noError)
        #expect(!client.isClosed)
    }

    @Test("An idle connection is told GOAWAY after its time, one with a stream is kept")
    func idle() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        Self.answer(bench)
        client.exchange()
        #expect(client[id].isEnded)
        bench.pass(.seconds(74))
        client.exchange()
        #expect(client.peer.recorder.goAway == nil)
        // A PING does not keep it.
        client.peer.session.ping()
        client.exchange()
        bench.pass(.seconds(2))
        client.exchange()
        #expect(client.peer.recorder.goAway?.code == 0)
        #expect(bench.count(ReasonCode.clientIdleTimeout) == 1)
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(61))
        bench.expectEmpty()
    }

    @Test("A connection that never says a word is closed after the keep-alive time")
    func silent() throws {
        let bench = try Bench()
        let descriptor = bench.client()
        bench.worker.startClientHTTP2(try #require(bench.slot(of: descriptor)))
        bench.settle()
        bench.pass(.seconds(80))
        #expect(bench.ring.isClosed(descriptor))
        bench.expectEmpty()
    }

    @Test("A head that stops between its frames ends the connection in time")
    func headDeadline() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        let block = HPACKBlock(SessionPeer.fields())
        bench.ring.receives(
            client.descriptor,
            RawFrame.headers(UInt32(id) + 2, block, complete: false).bytes)
        bench.settle()
        bench.pass(.seconds(9))
        client.exchange()
        #expect(client.peer.recorder.goAway == nil)
        bench.pass(.milliseconds(1_200))
        client.exchange()
        #expect(client.peer.recorder.goAway != nil)
        #expect(bench.count(ReasonCode.clientHeadTimeout) == 1)
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(3))
        bench.expectEmpty()
    }

    @Test("A client that takes nothing of an answer is reset after the body's time")
    func readDeadline() throws {
        let bench = try Bench()
        let client = try WirePeer(clientOf: bench)
        client.peer.recorder.consumes = false
        let id = client.get()
        bench.ring.receives(
            bench.upstream,
            "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"
                + String(repeating: "z", count: 200_000))
        bench.settle()
        client.exchange()
        #expect(client[id].content.count == 65_536)
        for _ in 0..<7 {
            bench.pass(.seconds(5))
            client.peer.session.ping()
            client.exchange()
        }
        #expect(client.closing(id) == .cancel)
        #expect(bench.count(ReasonCode.clientReadTimeout) == 1)
        #expect(!client.isClosed)
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    // MARK: - Log

    @Test("Each stream has a line of its own, of version 2")
    func log() throws {
        let book = try LogBook()
        let bench = try Bench { $0.accessLog = book.log }
        let client = try WirePeer(clientOf: bench)
        client.get("/one")
        Self.answer(bench)
        client.exchange()
        let reset = client.get("/two")
        client.peer.session.reset(reset, .cancel)
        client.exchange()
        let lines = try book.lines(of: bench)
        #expect(lines.count == 2)
        #expect(lines.allSatisfy { $0["protocol"] as? String == "HTTP/2" })
        #expect(lines.map { $0["path"] as? String } == ["/one", "/two"])
        #expect(lines.map { $0["reason"] as? String } == [nil, "client_reset"])
    }
}

extension Bench {
    convenience init(_ change: (inout Options) -> Void) throws {
        var options = Options()
        options.connectionsMax = 64
        change(&options)
        try self.init(options)
    }
}
