import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeHTTP2

@Suite("HTTP/2 session") struct HTTP2SessionTests {
    /// A client and a server that have exchanged their settings.
    private static func pair(
        _ limits: HTTP2Limits = HTTP2Limits()
    ) throws -> (client: SessionPeer, server: SessionPeer) {
        let client = try SessionPeer(
            isServer: false,
            HTTP2Limits(resets: 100_000, pings: 100_000, windowUpdates: 1_000_000))
        let server = try SessionPeer(isServer: true, limits)
        client.talk(to: server)
        #expect(client.recorder.settingsCount == 1 && server.recorder.settingsCount == 1)
        return (client, server)
    }

    private static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 / 251 + $0) }
    }

    /// Frames of what a session has to say.
    private static func frames(_ peer: SessionPeer) -> [RawFrame] {
        var bytes = peer.take()
        var frames: [RawFrame] = []
        while let frame = RawFrame.take(from: &bytes) { frames.append(frame) }
        #expect(bytes.isEmpty)
        return frames
    }

    /// A server that has been greeted by hand.
    private static func rawServer(_ limits: HTTP2Limits = HTTP2Limits()) throws -> SessionPeer {
        let server = try SessionPeer(isServer: true, limits)
        server.feed(RawFrame.preface + RawFrame.settings().bytes)
        server.feed(RawFrame.settingsAcknowledge.bytes)
        _ = server.take()
        return server
    }

    private static func isOpen(_ outcome: HTTP2Session.Outcome) -> Bool {
        if case .open = outcome { true } else { false }
    }

    private static func breach(_ outcome: HTTP2Session.Outcome) -> HTTP2Breach? {
        if case .breach(let breach) = outcome { breach } else { nil }
    }

    // MARK: - Messages

    @Test("Request and answer, with content, interim answers and trailers both ways")
    func messages() throws {
        let (client, server) = try Self.pair()
        let content = Self.pattern(300_000)
        let id = client.request(
            SessionPeer.fields("POST", "/up", [("te", "trailers")]), hasContent: true)
        client.send(id, content, isLast: true, trailers: [("x-sum", "1")])
        client.talk(to: server)

        #expect(server[id].heads.count == 1)
        #expect(server[id].heads[0].hasPrefix("POST /up HTTP/1.1\r\nhost: home.example\r\n"))
        #expect(server[id].content == content)
        #expect(server[id].trailers == "x-sum: 1\r\n\r\n")
        server.interim(id, 103, [("link", "</a>")])
        server.answer(id, 200, [("x", "y")], hasContent: true)
        server.send(id, content, isLast: true, trailers: [("x-end", "2")])
        client.talk(to: server)

        #expect(
            client[id].heads == [
                "HTTP/1.1 103 \r\nlink: </a>\r\n\r\n",
                "HTTP/1.1 200 \r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n",
            ])
        #expect(client[id].content == content)
        #expect(client[id].trailers == "x-end: 2\r\n\r\n")
        #expect(client[id].closedWith == 0 && server[id].closedWith == 0)
    }

    @Test("Messages without content end with their heads")
    func headOnly() throws {
        let (client, server) = try Self.pair()
        let first = client.request(SessionPeer.fields())
        let second = client.request(SessionPeer.fields("HEAD"))
        client.talk(to: server)
        #expect(server[first].isEnded && server[second].isEnded)

        server.answer(first, 204)
        server.answer(second, 200, [("content-length", "9")])
        client.talk(to: server)
        #expect(client[first].heads == ["HTTP/1.1 204 \r\n\r\n"])
        #expect(client[second].heads == ["HTTP/1.1 200 \r\ncontent-length: 9\r\n\r\n"])
        #expect(client[first].isEnded && client[second].isEnded)
        #expect(client[first].closedWith == 0)
    }

    @Test("Input cut at any byte tells the same, one byte at a time too")
    func segmentation() throws {
        let source = try SessionPeer(isServer: false)
        let id = source.request(
            SessionPeer.fields("POST", "/long", [("x-long", String(repeating: "l", count: 900))]),
            hasContent: true)
        source.send(id, Self.pattern(400), isLast: true, trailers: [("t", "1")])
        source.request(SessionPeer.fields("GET", "/second"))
        let bytes = source.take()
        func told(_ pieces: [ArraySlice<UInt8>]) throws -> ([String], [UInt8]) {
            let server = try SessionPeer(isServer: true)
            for piece in pieces { #expect(Self.isOpen(server.feed(piece))) }
            return (server.recorder.log, server[id].content)
        }
        let whole = try told([bytes[...]])
        #expect(whole.0.count == 3)

        for cut in 1..<bytes.count {
            let parts = try told([bytes[..<cut], bytes[cut...]])
            try #require(parts == whole, "cut at \(cut)")
        }
        #expect(try told(bytes.indices.map { bytes[$0...$0] }) == whole)
    }

    @Test("Heads in several frames, of two connections of one engine, keep apart")
    func interleavedBlocks() throws {
        final class Heads: HTTP2Handler {
            var texts: [Int32: String] = [:]
            override func headReceived(
                connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer,
                isLast: Bool, isExtendedConnect: Bool
            ) {
                texts[connection] = String(decoding: text, as: UTF8.self)
            }
        }
        let now = Instant(nanoseconds: 1)
        func input(_ path: String) -> [UInt8] {
            let block = HPACKBlock(
                SessionPeer.fields("GET", path, [("cookie", "a"), ("x", path), ("cookie", "b")]))
            let half = block.bytes.count / 2
            return RawFrame.preface + RawFrame.settings().bytes
                + RawFrame.headers(
                    1, HPACKBlock(Array(block.bytes[..<half])), complete: false
                ).bytes + RawFrame.continuation(1, Array(block.bytes[half...])).bytes
        }
        let inputs = [input("/zero"), input("/first")]
        for step in [1, 7, 30] {
            let handler = Heads()
            let engine = try #require(HTTP2Engine(handler, seed: 1))
            let sessions = try (0..<2).map {
                try #require(engine.makeServer(Int32($0), HTTP2Limits(), now: now))
            }
            defer {
                for session in sessions { session.free() }
                withExtendedLifetime(engine) {}
            }
            var wasInBlock = false
            for start in stride(from: 0, to: inputs[1].count + step, by: step) {
                for (session, input) in zip(sessions, inputs) where start < input.count {
                    let piece = Array(input[start..<min(start + step, input.count)])
                    let outcome = piece.withUnsafeBytes { session.receive($0, now: now) }
                    #expect(Self.isOpen(outcome))
                    wasInBlock = wasInBlock || session.isInBlock
                }
            }
            #expect(wasInBlock)
            for (index, path) in ["/zero", "/first"].enumerated() {
                #expect(
                    handler.texts[Int32(index)]
                        == "GET \(path) HTTP/1.1\r\nhost: home.example\r\nx: \(path)\r\n"
                        + "cookie: a; b\r\n\r\n")
                #expect(!sessions[index].isInBlock)
            }
        }
    }

    @Test("An extended CONNECT comes with a key that is sixteen bytes of base64, never the same")
    func extendedConnect() throws {
        let server = try Self.rawServer()
        let fields = SessionPeer.fields("CONNECT", "/chat", [(":protocol", "websocket")])
        var keys: Set<String> = []
        for id: Int32 in [1, 3, 5] {
            server.feed(RawFrame.headers(UInt32(id), HPACKBlock(fields), end: false).bytes)
            #expect(server[id].isExtendedConnect)
            let head = try #require(server[id].heads.first)
            let mark = "sec-websocket-key: "
            let start = try #require(head.firstRange(of: mark)).upperBound
            let key = String(head[start...].prefix { $0 != "\r\n" })
            #expect(key.count == 24 && key.hasSuffix("=="))
            #expect("AQgw".contains(key.dropLast(2).last ?? " "))
            keys.insert(key)
        }
        #expect(keys.count == 3)
    }

    // MARK: - Malformed

    static let malformed: [(String, [(String, String)])] = [
        ("no path", [(":method", "GET"), (":scheme", "https"), (":authority", "a")]),
        ("two paths", SessionPeer.fields() + [(":path", "/")]),
        ("upper case", SessionPeer.fields() + [("X-Up", "1")]),
        ("late pseudo", SessionPeer.fields() + [("x", "1"), (":scheme", "https")]),
        ("unknown pseudo", SessionPeer.fields() + [(":colour", "red")]),
        ("line end", SessionPeer.fields() + [("x", "a\r\nevil: 1")]),
        ("NUL", SessionPeer.fields() + [("x", "a\0b")]),
        ("connection", SessionPeer.fields() + [("connection", "close")]),
        ("coding", SessionPeer.fields() + [("transfer-encoding", "chunked")]),
        ("te", SessionPeer.fields() + [("te", "gzip")]),
        ("two hosts", SessionPeer.fields() + [("host", "other")]),
        ("scheme", SessionPeer.fields("GET", "x")),
        ("name", SessionPeer.fields() + [("x y", "1")]),
    ]

    @Test("A malformed request resets its stream, its siblings and the connection go on")
    func malformedRequest() throws {
        for (what, fields) in Self.malformed {
            let server = try Self.rawServer()
            server.feed(RawFrame.headers(1, HPACKBlock(SessionPeer.fields()), end: false).bytes)
            #expect(Self.isOpen(server.feed(RawFrame.headers(3, HPACKBlock(fields)).bytes)))
            let reset = Self.frames(server).first { $0.kind == .reset }
            #expect(reset?.stream == 3 && reset?.code == .protocolError, "\(what)")
            #expect(server[3].heads.isEmpty, "\(what)")
            server.feed(RawFrame.data(1, "still here", end: true).bytes)
            #expect(server[1].content == Array("still here".utf8), "\(what)")
        }
    }

    @Test("Nothing is kept of a malformed block once it is over")
    func malformedMemory() throws {
        for (what, fields) in Self.malformed {
            let server = try Self.rawServer()
            server.feed(RawFrame.headers(1, HPACKBlock(SessionPeer.fields()), end: false).bytes)
            _ = server.take()
            server.feed(
                RawFrame.headers(
                    3, HPACKBlock(fields + [("x-fill", String(repeating: "f", count: 5000))])
                ).bytes)
            _ = server.take()
            #expect(server.session.state.pointee.suspended == nil, "\(what)")
        }
    }

    @Test("A hundred malformed requests in a second are a breach")
    func malformedFlood() throws {
        let server = try Self.rawServer()
        let bad = HPACKBlock(SessionPeer.fields() + [("x", "a\0b")])
        for index in 0..<100 {
            #expect(
                Self.isOpen(server.feed(RawFrame.headers(UInt32(2 * index + 1), bad).bytes)))
            _ = server.take()
        }
        #expect(Self.breach(server.feed(RawFrame.headers(201, bad).bytes)) == .resets)
    }

    @Test("What a length and the content disagree about is malformed", arguments: [4, 6])
    func lengths(count: Int) throws {
        let server = try Self.rawServer()
        let block = HPACKBlock(SessionPeer.fields("PUT", "/", [("content-length", "5")]))
        server.feed(RawFrame.headers(1, block, end: false).bytes)
        server.feed(RawFrame.data(1, String(repeating: "x", count: count), end: true).bytes)
        let reset = Self.frames(server).first { $0.kind == .reset }
        #expect(reset?.code == .protocolError)
        #expect(!server[1].isEnded)
    }

    @Test("A head over its limit is told as such, and its stream can be answered")
    func tooLarge() throws {
        let (client, server) = try Self.pair(HTTP2Limits(headBytes: 2000))
        let id = client.request(
            SessionPeer.fields("GET", "/", [("x", String(repeating: "x", count: 3000))]))
        client.talk(to: server)
        #expect(server[id].isTooLarge)
        #expect(server[id].heads.isEmpty)
        server.answer(id, 431)
        client.talk(to: server)
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 431 ") == true)
    }

    @Test("References that multiply a table are decoded up to a bound, in one head or in many")
    func tableBombs() throws {
        // 4,035 bytes that one byte stands for: in one head, and in many that would be answered.
        let entry = HPACKBlock.literal("x-a", String(repeating: "b", count: 4000), .indexed)
        for (references, heads) in [(12_000, 1), (12_000, 40), (15, 100), (100, 40)] {
            let server = try Self.rawServer()
            let get = HPACKBlock(SessionPeer.fields())
            #expect(Self.isOpen(server.feed(RawFrame.headers(1, get + entry).bytes)))
            let bomb = get + HPACKBlock([UInt8](repeating: 0x80 | 62, count: references))
            let input = (0..<heads).flatMap { RawFrame.headers(UInt32($0 * 2 + 3), bomb).bytes }

            let outcome = server.feed(input)

            #expect(Self.breach(outcome) == .headerBlock, "\(heads) of \(references)")
            #expect(server.recorder.log.count <= 75)
            server.session.terminate(.enhanceYourCalm)
            let goAway = Self.frames(server).first { $0.kind == .goAway }
            #expect(goAway?.code == .enhanceYourCalm && server.session.isOver)
        }
    }

    @Test("An answer with a head over its limit is reset")
    func tooLargeAnswer() throws {
        let client = try SessionPeer(isServer: false, HTTP2Limits(headBytes: 2000))
        let server = try SessionPeer(isServer: true)
        let id = client.request(SessionPeer.fields())
        client.talk(to: server)
        server.answer(
            id, 200, [("x", String(repeating: "x", count: 3000))], hasContent: true)
        client.talk(to: server)
        #expect(client[id].heads.isEmpty)
        #expect(server[id].closedWith == HTTP2Code.enhanceYourCalm.rawValue)
    }

    // MARK: - Ends of streams

    @Test("A reset of either side closes the stream on both", arguments: [true, false])
    func reset(byClient: Bool) throws {
        let (client, server) = try Self.pair()
        let id = client.request(SessionPeer.fields("POST"), hasContent: true)
        client.talk(to: server)
        (byClient ? client : server).session.reset(id, .cancel)
        client.talk(to: server)
        #expect(client[id].closedWith == HTTP2Code.cancel.rawValue)
        #expect(server[id].closedWith == HTTP2Code.cancel.rawValue)
    }

    @Test("An answer before the request is complete arrives whole, whatever follows it")
    func earlyAnswer() throws {
        let (client, server) = try Self.pair()
        let id = client.request(SessionPeer.fields("POST"), hasContent: true)
        client.talk(to: server)
        server.answer(id, 413)
        client.talk(to: server)
        #expect(client[id].isEnded && client[id].closedWith == nil)
        server.session.reset(id, .noError)
        client.talk(to: server)
        #expect(client[id].heads.first?.hasPrefix("HTTP/1.1 413 ") == true)
        #expect(client[id].closedWith == 0 && server[id].closedWith == 0)
    }

    @Test("GOAWAY refuses the streams above its last, and those below go on")
    func goAway() throws {
        let (client, server) = try Self.pair()
        let first = client.request(SessionPeer.fields())
        client.talk(to: server)
        server.session.sayGone()
        let late = client.request(SessionPeer.fields())
        let request = client.take()
        client.talk(to: server)
        server.feed(request)
        client.talk(to: server)
        #expect(client.recorder.goAway?.last == first)
        #expect(client[late].closedWith == HTTP2Code.refusedStream.rawValue)
        #expect(server[late].heads.isEmpty)

        #expect(!server.session.isOver)
        server.answer(first, 200)
        client.talk(to: server)
        #expect(client[first].isEnded)
        #expect(server.session.isOver)
    }

    @Test("The notice of leaving names no stream, so that requests on their way are served")
    func leaving() throws {
        let (client, server) = try Self.pair()
        let late = client.request(SessionPeer.fields())
        let onItsWay = client.take()
        server.session.sayLeaving()
        client.feed(server.take())
        #expect(client.recorder.goAway?.last == Int32.max)
        server.feed(onItsWay)
        #expect(server[late].heads.count == 1)
    }

    @Test("A request that is begun after GOAWAY never goes out and is told as refused")
    func afterGoAway() throws {
        let (client, server) = try Self.pair()
        server.session.sayGone()
        client.talk(to: server)
        let late = client.request(SessionPeer.fields())
        client.talk(to: server)
        #expect(
            late < 0 || client[late].closedWith == HTTP2Code.refusedStream.rawValue)
        #expect(server.recorder.streams.isEmpty)
    }

    @Test("A breach tells its limit and the session can still say good-bye")
    func breachGoodbye() throws {
        let server = try Self.rawServer(HTTP2Limits(pings: 3))
        #expect(Self.breach(server.feed((0..<4).flatMap { _ in RawFrame.ping().bytes })) == .pings)
        server.session.terminate(.enhanceYourCalm)
        let goAway = Self.frames(server).first { $0.kind == .goAway }
        #expect(goAway?.code == .enhanceYourCalm)
        #expect(server.session.isOver)
    }

    @Test("What is no HTTP/2 fails")
    func noPreface() throws {
        let server = try SessionPeer(isServer: true)
        guard case .failed = server.feed(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)) else {
            Issue.record("taken for HTTP/2")
            return
        }
    }

    // MARK: - Windows

    @Test("Who does not consume stops one stream, and a sibling goes on")
    func windows() throws {
        let (client, server) = try Self.pair()
        server.recorder.consumes = false
        let stalled = client.request(SessionPeer.fields("PUT"), hasContent: true)
        client.send(stalled, Self.pattern(500_000), isLast: true)
        client.talk(to: server)
        #expect(server[stalled].content.count == 65536)
        #expect(client.session.window(of: stalled) == 0)
        server.recorder.consumes = true
        let sibling = client.request(SessionPeer.fields("PUT"), hasContent: true)
        client.send(sibling, Self.pattern(2_000_000), isLast: true)
        client.talk(to: server)
        #expect(server[sibling].content.count == 2_000_000)
        #expect(server[stalled].content.count == 65536)

        server.consume(stalled)
        client.talk(to: server)
        #expect(server[stalled].content == Self.pattern(500_000))
    }

    @Test("All streams together send no more than the connection's window")
    func connectionWindow() throws {
        let (client, server) = try Self.pair(
            HTTP2Limits(streamWindow: 65536, connectionWindow: 100_000))
        server.recorder.consumes = false
        let ids = (0..<5).map { _ in client.request(SessionPeer.fields("PUT"), hasContent: true) }
        for id in ids { client.send(id, Self.pattern(65536), isLast: true) }
        client.talk(to: server)
        #expect(ids.reduce(0) { $0 + server[$1].content.count } == 100_000)
        server.recorder.consumes = true
        for id in ids { server.consume(id) }
        client.talk(to: server)
        for id in ids { #expect(server[id].isEnded) }
    }

    @Test("A client holds requests back that the server would not take; a ruder one is refused")
    func streams() throws {
        let (client, server) = try Self.pair(HTTP2Limits(streams: 3))
        #expect(client.session.peerStreamsMax == 3)
        let ids = (0..<5).map { _ in client.request(SessionPeer.fields()) }
        client.talk(to: server)
        #expect(ids.map { server[$0].heads.count } == [1, 1, 1, 0, 0])
        for id in ids.prefix(3) { server.answer(id, 204) }
        client.talk(to: server)
        #expect(ids.map { server[$0].heads.count } == [1, 1, 1, 1, 1])

        let rude = try Self.rawServer(HTTP2Limits(streams: 3))
        for id: UInt32 in [1, 3, 5, 7] {
            rude.feed(RawFrame.headers(id, HPACKBlock(SessionPeer.fields()), end: false).bytes)
        }
        #expect(rude[7].heads.isEmpty)
        let answers = Self.frames(rude)
        #expect(answers.contains { $0.code == .refusedStream || $0.kind == .goAway })
    }

    // MARK: - State

    @Test("A session is busy exactly while it tells something")
    func busy() throws {
        let (client, server) = try Self.pair()
        var calls = 0
        server.recorder.onEvent = { session in
            calls += 1
            #expect(session.isBusy)
        }
        let id = client.request(SessionPeer.fields("POST"), hasContent: true)
        client.send(id, [1, 2, 3], isLast: true)
        client.talk(to: server)
        #expect(calls >= 3)
        #expect(!server.session.isBusy && !client.session.isBusy)
    }

    @Test("A peer's settings are known once they have come")
    func settings() throws {
        let client = try SessionPeer(isServer: false)
        #expect(!client.session.peerTakesExtendedConnect)
        client.feed(RawFrame.settings([8: 1, 3: 17]).bytes)
        #expect(client.session.peerTakesExtendedConnect)
        #expect(client.session.peerStreamsMax == 17)
        client.session.ping()
        _ = client.take()
        client.feed(RawFrame.ping([0, 0, 0, 0, 0, 0, 0, 0], acknowledge: true).bytes)
        #expect(client.recorder.pingsAnswered == 1)
    }

    @Test("Memory is counted, and comes back with the streams, round after round")
    func memory() throws {
        let (client, server) = try Self.pair(HTTP2Limits(resets: 10_000))
        var after: [(client: Int, server: Int)] = []
        for _ in 0..<6 {
            let before = server.session.byteCount
            let ids = (0..<100).map { _ in
                client.request(SessionPeer.fields("POST"), hasContent: true)
            }
            client.talk(to: server)
            #expect(server.session.byteCount > before + 100 * 200)
            for (index, id) in ids.enumerated() {
                if index % 2 == 0 { client.session.reset(id, .cancel) }
                server.answer(id, 204)
                if index % 2 == 1 { client.send(id, [], isLast: true) }
            }
            client.talk(to: server)
            #expect(server.open.isEmpty)
            after.append((client.session.byteCount, server.session.byteCount))
        }
        #expect(after[5].client <= after[1].client + 256, "\(after)")
        #expect(after[5].server <= after[1].server + 256, "\(after)")
    }

    @Test("Each byte that the library took for a session has been given back at its end")
    func freed() throws {
        let handler = HTTP2Handler()
        let engine = try #require(HTTP2Engine(handler, seed: 1))
        let now = Instant(nanoseconds: 1)
        defer { withExtendedLifetime(engine) {} }
        let session = try #require(engine.makeServer(0, HTTP2Limits(), now: now))
        let half =
            RawFrame.preface + RawFrame.settings().bytes
            + RawFrame.headers(1, HPACKBlock(SessionPeer.fields()), end: false).bytes
            + RawFrame.data(1, "content").bytes
            + RawFrame.headers(3, HPACKBlock(SessionPeer.fields()), complete: false).bytes
        _ = half.withUnsafeBytes { session.receive($0, now: now) }
        let withBlock = session.byteCount
        let state = session.state
        #expect(state.pointee.suspended != nil)
        #expect(withBlock > state.pointee.bytes)
        state.pointee.suspended?.free()
        state.pointee.suspended = nil
        nghttp2_session_del(state.pointee.session)
        #expect(state.pointee.bytes == 0)
        state.deinitialize(count: 1)
        state.deallocate()
    }
}
