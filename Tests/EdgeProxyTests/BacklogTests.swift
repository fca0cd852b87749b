import EdgeCore
import EdgeHTTP2
import EdgeTesting
import Testing

@testable import EdgeProxy

/// In each turn, the public has its time behind the LAN.
@Suite("Worker: what waits for the end of the turn") struct BacklogTests {
    private static func bench(_ change: (inout Bench.Options) -> Void = { _ in }) throws -> Bench {
        try RankedViews.bench {
            $0.connectionsMax = 256
            change(&$0)
        }
    }

    /// - Returns: `count` clients that have been accepted.
    private static func clients(
        _ bench: Bench, _ count: Int, from place: RankedViews.Place
    ) -> [Int32] {
        (0..<count).map { _ in bench.client(from: place) }
    }

    /// Paths that upstreams have been asked for, in the order of their connections.
    private static func paths(_ bench: Bench) -> [String] {
        bench.ring.opened.map {
            String(bench.ring.takeSent(to: $0).dropFirst(4).prefix { $0 != " " })
        }.filter { !$0.isEmpty }
    }

    /// Each look at the clock finds the time of a turn used up.
    private static func slowly(_ bench: Bench) { bench.stopwatch.step = .milliseconds(1) }

    @Test("In a turn without time one request of the public goes on, and all of lan's")
    func order() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 5, from: .open)
        let lan = Self.clients(bench, 3, from: .lan)
        Self.slowly(bench)
        for client in open { bench.ring.receives(client, bench.get("/open")) }
        for client in lan { bench.ring.receives(client, bench.get("/lan")) }

        bench.turn()

        #expect(bench.ring.opened.count == 4)
        #expect(bench.worker.waitsForNothing == false)
        var counts: [Int] = []
        for _ in 0..<5 {
            bench.turn()
            counts.append(bench.ring.opened.count)
        }
        #expect(counts == [5, 6, 7, 8, 8])
        bench.settle()
        let paths = Self.paths(bench)
        #expect(paths.count { $0 == "/lan" } == 3 && paths.count { $0 == "/open" } == 5)
    }

    @Test("With time to spare nobody waits for another turn")
    func atOnce() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 30, from: .open)
        for client in open { bench.ring.receives(client, bench.get("/open")) }

        bench.turn()

        #expect(bench.ring.opened.count == 30)
        #expect(bench.worker.waitsForNothing)
    }

    @Test("An answer to the public waits as its request did, and both arrive")
    func answers() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 4, from: .open)
        for client in open { bench.send(client, bench.get("/open")) }
        let servers = bench.ring.opened
        Self.slowly(bench)
        for server in servers { bench.ring.receives(server, Bench.ok) }

        bench.turn()

        #expect(open.count { !bench.ring.sent(to: $0).isEmpty } == 1)
        bench.settle()
        #expect(open.allSatisfy { bench.ring.takeSent(to: $0).hasSuffix("ok") })
        // Upstreams that have answered are nobody's: what they say then is heard at once.
        for server in servers { bench.ring.ends(server) }
        bench.turn()
        #expect(servers.allSatisfy { bench.ring.isClosed($0) })
    }

    @Test("What comes of a connection stays in order, in however many pieces it waits")
    func pieces() throws {
        let bench = try Self.bench()
        let others = Self.clients(bench, 3, from: .open)
        let client = bench.client(from: .open)
        Self.slowly(bench)
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        bench.ring.receives(client, "POST /up HTTP/1.1\r\nHost: home.example\r\n")
        bench.turn()
        bench.ring.receives(client, "Content-Length: 6\r\n\r\nabc")
        bench.turn()
        bench.ring.receives(client, "def")
        bench.ring.ends(client)
        bench.settle()

        let texts = bench.ring.opened.map { bench.ring.takeSent(to: $0) }
        #expect(texts.contains { $0.hasPrefix("POST") && $0.hasSuffix("\r\n\r\nabcdef") })
    }

    @Test("Of the ring's buffers a quarter may wait; what is beyond them waits as a copy")
    func buffers() throws {
        let bench = try Self.bench { $0.buffers = 16 }
        let open = Self.clients(bench, 14, from: .open)
        Self.slowly(bench)
        for client in open { bench.ring.receives(client, bench.get("/open")) }

        bench.turn()

        #expect(bench.worker.backlog.buffers <= 4)
        #expect(bench.worker.chunks.bytesInUse > 0)
        #expect(bench.ring.opened.count == 1)
        bench.settle()
        #expect(bench.ring.opened.count == 14)
        #expect(bench.worker.backlog.buffers == 0)
        #expect(Self.paths(bench).count == 14)
        for server in bench.ring.opened { bench.send(server, Bench.ok) }
        bench.settle()
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("A connection whose bytes wait is not received from, and everything comes in order")
    func backPressure() throws {
        let bench = try Self.bench()
        let others = Self.clients(bench, 6, from: .open)
        let client = bench.client(from: .open)
        bench.send(client, "POST /up HTTP/1.1\r\nHost: home.example\r\nContent-Length: 900\r\n\r\n")
        bench.settle()
        let server = try #require(bench.ring.opened.last)
        Self.slowly(bench)
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        var sent = ""
        var isLeftAlone = false
        for number in 100..<400 {
            bench.ring.receives(client, "\(number)")
            sent += "\(number)"
            bench.turn()
            if !bench.ring.inFlight(client).contains(.receive) { isLeftAlone = true }
        }
        bench.settle()

        #expect(isLeftAlone)
        #expect(bench.ring.takeSent(to: server).hasSuffix(sent))
    }

    @Test("When no view is of low priority any more, whatever waits goes on in one turn")
    func reload() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 6, from: .open)
        Self.slowly(bench)
        for client in open { bench.ring.receives(client, bench.get("/open")) }
        bench.turn()
        #expect(bench.ring.opened.count == 1)

        // What comes meanwhile does not overtake what waits.
        bench.worker.shedsLoad = false
        bench.ring.ends(open[5])
        bench.turn()

        #expect(bench.ring.opened.count == 6)
        #expect(bench.worker.waitsForNothing)
    }

    @Test("Of newcomers a few are taken per turn where time is short, and all in the end")
    func newcomers() throws {
        let bench = try Self.bench()
        Self.slowly(bench)
        bench.comeFrom(.open)
        bench.ring.incoming(
            Bench.listener,
            (0..<20).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0), port: 50_000) })

        bench.turn()

        #expect(bench.count(Counter.connectionsAccepted) == 3)
        bench.settle()
        #expect(bench.count(Counter.connectionsAccepted) == 20)
    }

    @Test("Deadlines of many at once are handled a few per turn")
    func deadlines() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 20, from: .open)
        for client in open { bench.ring.receives(client, "GET / HTTP/1.1\r\n") }
        bench.settle()

        bench.quietTurn(after: .seconds(11))

        #expect(open.count { !bench.ring.sent(to: $0).isEmpty } == Worker.expiriesPerTurn)
        #expect(!bench.worker.waitsForNothing)
        bench.settle()
        #expect(bench.count(ReasonCode.clientHeadTimeout) == 20)
        #expect(bench.worker.waitsForNothing)
    }

    @Test("Requests of the public that wait for long are a delay: its newcomers are refused")
    func shedding() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 60, from: .open)
        Self.slowly(bench)
        for client in open { bench.ring.receives(client, bench.get("/open")) }
        for _ in 0..<40 { bench.quietTurn(after: .milliseconds(6)) }

        #expect(bench.block.overloadedSince > 0)
    }

    @Test("What multiplexed upstreams say is nobody's preference, and holds no handshake up")
    func multiplexed() throws {
        let bench = try Self.bench { $0.version = .http2 }
        let client = bench.client(from: .open)
        bench.send(client, bench.get("/open"))
        let before = bench.worker.preferredAt
        let server = try WirePeer(upstreamOf: bench)
        for id in server.peer.open { server.peer.answer(id) }
        server.exchange()

        #expect(bench.worker.preferredAt == before)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200"))
    }

    @Test("How long the LAN waits is told apart from how long anybody does")
    func gauge() throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        bench.ring.receives(lan, bench.get("/lan"))
        bench.stopwatch.step = .milliseconds(2)
        bench.quietTurn(after: .milliseconds(10), lag: .milliseconds(3))
        bench.stopwatch.step = .zero
        bench.settle()
        // Without anything of the LAN, a long turn is not its delay.
        bench.quietTurn(after: .milliseconds(100), lag: .milliseconds(90))
        bench.quietTurn(after: .seconds(2))

        #expect(bench.count(Counter.queueDelayPreferredMicroseconds) == 5_000)
        #expect(bench.count(Counter.queueDelayMicroseconds) == 90_000)
    }

    // MARK: - HTTP/2

    /// A client that has sent a hundred requests in one record.
    private static func hundred(_ bench: Bench) throws -> (WirePeer, [Int32]) {
        bench.comeFrom(.open)
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<100).map { number in
            client.peer.request(
                SessionPeer.fields(
                    "GET", "/\(number)", [("x", "\(number)-abcdefghijklmnopqrstuvw")]))
        }
        return (client, ids)
    }

    @Test("A hundred requests in one record are begun piece by piece, and all are answered")
    func record() throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        let (client, ids) = try Self.hundred(bench)
        Self.slowly(bench)
        client.step()

        bench.turn()

        let first = bench.ring.opened.count
        #expect(first > 0 && first < 60, "\(first)")
        bench.ring.receives(lan, bench.get("/lan"))
        for _ in 0..<2 { bench.turn() }
        let asked = bench.ring.opened.map {
            String(decoding: bench.ring.sent(to: $0), as: UTF8.self)
        }
        #expect(asked.count < 101 && asked.contains { $0.hasPrefix("GET /lan ") })
        client.exchange()
        #expect(bench.ring.opened.count == 101)
        for server in bench.ring.opened {
            let path = bench.ring.takeSent(to: server).dropFirst(4).prefix { $0 != " " }
            bench.ring.receives(
                server, "HTTP/1.1 200 OK\r\nContent-Length: \(path.count)\r\n\r\n\(path)")
        }
        client.exchange()
        for (index, id) in ids.enumerated() {
            #expect(client[id].content == Array("/\(index)".utf8))
        }
        bench.settle()
        #expect(bench.worker.chunks.bytesInUse == 0)
    }

    @Test("Who leaves with requests in waiting leaves nothing behind")
    func leaves() throws {
        let bench = try Self.bench()
        let (client, _) = try Self.hundred(bench)
        Self.slowly(bench)
        client.step()
        bench.turn()
        #expect(bench.worker.chunks.bytesInUse > 0)

        bench.ring.ends(client.descriptor)
        bench.settle()

        #expect(client.isClosed)
        #expect(bench.worker.chunks.bytesInUse == 0)
        #expect(bench.worker.waitsForNothing)
    }

    @Test("A flood of resets is seen before the first of its requests is begun")
    func flood() throws {
        let bench = try Self.bench()
        bench.comeFrom(.open)
        let client = try WirePeer(clientOf: bench)
        var bytes: [UInt8] = []
        for _ in 0..<150 {
            let id = client.peer.request(SessionPeer.fields("GET", "/"))
            bytes += client.peer.take()
            client.peer.session.reset(id, .cancel)
            bytes += client.peer.take()
        }
        Self.slowly(bench)
        bench.ring.receives(client.descriptor, bytes)
        bench.settle()
        client.exchange()

        #expect(bench.count(ReasonCode.clientResetFlood) == 1)
        #expect(bench.ring.opened.isEmpty)
    }

    @Test("What is held for a client that is cut for another reason is given back")
    func cut() throws {
        let bench = try Self.bench()
        let (client, _) = try Self.hundred(bench)
        Self.slowly(bench)
        client.step()
        bench.turn()
        let slot = try #require(bench.slot(of: client.descriptor))
        #expect(bench.worker.channels[slot].pointee.flags.contains(.holdsPlaintext))

        bench.worker.endHTTP2(slot, .enhanceYourCalm, .clientPingFlood)
        bench.settle()

        #expect(!bench.worker.channels[slot].pointee.flags.contains(.holdsPlaintext))
        #expect(bench.worker.chunks.bytesInUse == 0)
    }
}

extension Worker {
    /// No turn has left something for the next one.
    fileprivate var waitsForNothing: Bool {
        backlog.isEmpty && !expiriesWait && acceptPending == .no
            && deferredFirst == deferred.count && bulkFirst == bulkReady.count
    }
}
