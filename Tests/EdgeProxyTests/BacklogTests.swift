import CEdge
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

    @Test("Deadlines of the public are handled in their turn, those of lan at once")
    func deadlines() throws {
        let bench = try Self.bench()
        let open = Self.clients(bench, 20, from: .open)
        let lan = Self.clients(bench, 20, from: .lan)
        for client in open + lan { bench.ring.receives(client, "GET / HTTP/1.1\r\n") }
        bench.settle()
        Self.slowly(bench)

        bench.quietTurn(after: .seconds(11))
        bench.quietTurn(after: .milliseconds(1))

        #expect(lan.allSatisfy { !bench.ring.sent(to: $0).isEmpty })
        #expect(open.count { !bench.ring.sent(to: $0).isEmpty } <= 2)
        #expect(!bench.worker.waitsForNothing)
        bench.settle()
        #expect(bench.count(ReasonCode.clientHeadTimeout) == 40)
        #expect(bench.worker.waitsForNothing)
    }

    @Test("Nobody is late whose bytes are here, though nobody has looked at them")
    func inTime() throws {
        let bench = try Self.bench()
        let others = Self.clients(bench, 12, from: .open)
        let client = bench.client(from: .open)
        bench.ring.receives(client, "GET /slow HTTP/1.1\r\n")
        bench.settle()
        Self.slowly(bench)
        bench.quietTurn(after: .seconds(9))
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        bench.ring.receives(client, "Host: home.example\r\n\r\n")
        bench.quietTurn(after: .milliseconds(10))

        // The deadline passes while the rest of the head waits.
        bench.quietTurn(after: .seconds(2))
        bench.settle()

        #expect(bench.count(ReasonCode.clientHeadTimeout) == 0)
        #expect(Self.paths(bench).contains("/slow"))
    }

    @Test("An answer that waits is not missed: its member is neither doubted nor hedged against")
    func answered() throws {
        let bench = try Self.bench { $0.members = [Bench.member(1), Bench.member(2)] }
        let open = Self.clients(bench, 12, from: .open)
        for client in open { bench.send(client, bench.get("/open")) }
        let servers = bench.ring.opened
        Self.slowly(bench)
        bench.quietTurn(after: .milliseconds(19_990))
        for server in servers { bench.ring.receives(server, Bench.ok) }
        bench.quietTurn(after: .milliseconds(5))
        // The last of them have had no turn when their time is over.
        bench.quietTurn(after: .milliseconds(500))
        bench.settle()

        #expect(bench.count(ReasonCode.upstreamHeadTimeout) == 0)
        #expect(open.allSatisfy { bench.ring.takeSent(to: $0).hasPrefix("HTTP/1.1 200") })
    }

    @Test(
        "An upstream's connection of which more waits is used by nobody else",
        arguments: [nil, Bench.ok])
    func surplus(_ more: String?) throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        let others = Self.clients(bench, 4, from: .open)
        let client = bench.client(from: .open)
        bench.send(client, bench.get("/open"))
        let server = bench.upstream
        Self.slowly(bench)
        bench.ring.receives(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        bench.ring.receives(server, "ok")
        bench.turn()
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        if let more { bench.ring.receives(server, more) } else { bench.ring.ends(server) }
        bench.turn()
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok") && !bench.worker.backlog.isEmpty)

        bench.ring.receives(
            lan, "POST /lan HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi")
        bench.settle()

        #expect(bench.ring.sent(to: lan).isEmpty)
        let asked = try #require(
            bench.ring.opened.last {
                String(decoding: bench.ring.sent(to: $0), as: UTF8.self).hasPrefix("POST /lan ")
            })
        #expect(asked != server)
        bench.send(asked, Bench.ok)
        #expect(bench.ring.takeSent(to: lan).hasSuffix("ok"))
        #expect(bench.ring.isClosed(server))
    }

    @Test("An upstream's connection whose answer has waited in pieces is used again")
    func stopped() throws {
        let bench = try Self.bench()
        let others = Self.clients(bench, 4, from: .open)
        let client = bench.client(from: .open)
        bench.send(client, bench.get("/open"))
        let server = bench.upstream
        Self.slowly(bench)
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        bench.ring.receives(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        bench.turn()
        bench.ring.receives(server, "ok")
        bench.turn()
        bench.settle()
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(!bench.ring.isClosed(server))

        bench.send(client, bench.get("/again"))

        #expect(bench.ring.takeSent(to: server).contains("GET /again "))
        bench.send(server, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("A request of the LAN waits for a server before those of the public, and has a place")
    func precedence() throws {
        let bench = try Self.bench {
            $0.memberMax = 1
            $0.queueMax = 3
        }
        let open = Self.clients(bench, 5, from: .open)
        let lan = Self.clients(bench, 3, from: .lan)
        for (index, client) in open.enumerated() { bench.send(client, bench.get("/open\(index)")) }
        #expect(bench.count(ReasonCode.upstreamQueueFull) == 1)
        for (index, client) in lan.enumerated() { bench.send(client, bench.get("/lan\(index)")) }
        bench.inspect()

        var asked: [String] = []
        for _ in 0..<7 {
            let server = try #require(
                bench.ring.opened.last { !bench.ring.sent(to: $0).isEmpty })
            asked.append(
                String(bench.ring.takeSent(to: server).dropFirst(4).prefix { $0 != " " }))
            bench.send(server, Bench.ok)
            bench.inspect()
        }

        #expect(asked == ["/open0", "/lan0", "/lan1", "/lan2", "/open1", "/open2", "/open3"])
        #expect(bench.count(ReasonCode.upstreamQueueFull) == 1)
    }

    @Test("Whoever is closed is gone, though much waits")
    func gone() throws {
        let bench = try Self.bench()
        let idle = Self.clients(bench, 8, from: .open)
        for client in idle { bench.serve(client) }
        let busy = Self.clients(bench, 10, from: .open)
        bench.pass(.seconds(2))
        Self.slowly(bench)
        for client in busy { bench.ring.receives(client, bench.get("/busy")) }
        bench.turn()

        let preferredAt = bench.worker.preferredAt
        #expect(bench.worker.evict(8, includingHigh: false) == 8)
        for _ in 0..<3 { bench.turn() }

        // Nothing of the LAN was in this.
        #expect(bench.worker.preferredAt == preferredAt)
        #expect(!bench.worker.backlog.isEmpty)
        #expect(idle.allSatisfy { bench.ring.isClosed($0) })
        #expect(bench.worker.evictionsPending == 0)
    }

    @Test("A request that waits is no idleness: it is answered before its connection ends")
    func leaving() throws {
        let bench = try Self.bench()
        let client = bench.idleClient(from: .open)
        let others = Self.clients(bench, 6, from: .open)
        bench.pass(.seconds(2))
        Self.slowly(bench)
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        bench.ring.receives(client, bench.get("/last"))
        bench.turn()

        #expect(bench.worker.evict(1, includingHigh: false) == 0)
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        bench.settle()

        let server = try #require(
            bench.ring.opened.first {
                String(decoding: bench.ring.sent(to: $0), as: UTF8.self).hasPrefix("GET /last ")
            })
        bench.send(server, Bench.ok)
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("onnection: close"))
    }

    @Test("What waits at a listener that is left is served, however slow that is")
    func left() throws {
        let bench = try Self.bench { $0.connectionsMax = 512 }
        Self.slowly(bench)
        bench.comeFrom(.open)
        bench.ring.incoming(
            Bench.listener,
            (0..<300).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0), port: 50_000) })
        bench.worker.handle(.stopAccepting)
        bench.settle()

        #expect(bench.count(Counter.connectionsAccepted) == 300)
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

    @Test("Sessions that hold much go on one after the other, not all in one turn")
    func many() throws {
        let bench = try Self.bench()
        let clients = try (0..<4).map { _ in try Self.hundred(bench).0 }
        bench.stopwatch.step = .microseconds(150)
        for client in clients { client.step() }
        var before = 0
        var most = 0
        for _ in 0..<60 {
            bench.turn()
            for client in clients {
                let slot = try #require(bench.slot(of: client.descriptor))
                let entries = bench.worker.backlog.waiting.count {
                    if case .held(let held, _) = $0 { Int(held) == slot } else { false }
                }
                #expect(entries <= 1)
            }
            most = max(most, bench.ring.opened.count - before)
            before = bench.ring.opened.count
        }
        bench.settle()

        #expect(bench.ring.opened.count == 400)
        #expect(most <= 60, "\(most) in a turn")
    }

    @Test("A session that went on before its turn has a turn when it holds something again")
    func again() throws {
        let bench = try Self.bench()
        let (client, _) = try Self.hundred(bench)
        Self.slowly(bench)
        client.step()
        bench.turn()
        let slot = try #require(bench.slot(of: client.descriptor))
        bench.stopwatch.step = .zero
        bench.worker.lowPriorityEnd = .never
        bench.worker.resumeInput(slot)
        bench.worker.takeHeldPlaintext(slot)
        client.exchange()
        #expect(bench.ring.opened.count == 100)
        for server in bench.ring.opened { bench.send(server, Bench.ok) }
        client.exchange()

        for number in 0..<90 {
            client.peer.request(
                SessionPeer.fields(
                    "GET", "/\(number)", [("y", "\(number)-abcdefghijklmnopqrstuvw")]))
        }
        Self.slowly(bench)
        let requests = bench.count(Counter.requests)
        client.exchange()

        #expect(bench.count(Counter.requests) == requests + 90)
    }

    @Test("Nobody is late whose request its session holds")
    func heldInTime() throws {
        let bench = try Self.bench()
        bench.comeFrom(.open)
        let client = try WirePeer(clientOf: bench)
        client.exchange()
        let others = Self.clients(bench, 2, from: .open)
        bench.quietTurn(after: .seconds(74))
        let slot = try #require(bench.slot(of: client.descriptor))
        #expect(bench.worker.channels[slot].pointee.deadlineKind == .keepAlive)
        client.peer.request(
            SessionPeer.fields("GET", "/held", [("x", String(repeating: "~", count: 2000))]))
        Self.slowly(bench)
        for other in others { bench.ring.receives(other, bench.get("/other")) }
        client.step()
        // The deadline passes while the head waits, and again while a part of it is held.
        bench.quietTurn(after: .milliseconds(990))
        bench.quietTurn(after: .milliseconds(40))
        bench.settle()

        #expect(Self.paths(bench).contains("/held"))
        #expect(!client.isClosed)
    }

    @Test("A session that holds something ever again does not put its deadlines off for ever")
    func heldForEver() throws {
        let bench = try Self.bench()
        bench.comeFrom(.open)
        let client = try WirePeer(clientOf: bench)
        client.exchange()
        let slot = try #require(bench.slot(of: client.descriptor))
        // As if it were so whenever it is looked at.
        bench.worker.channels[slot].pointee.flags.insert(.holdsPlaintext)
        bench.worker.links[slot].pointee.heldWaits = true
        Self.slowly(bench)
        bench.quietTurn(after: .seconds(76))
        for _ in 0..<60 { bench.quietTurn(after: .zero) }
        #expect(bench.count(ReasonCode.clientIdleTimeout) == 0)

        for _ in 0..<10 { bench.quietTurn(after: .zero) }

        #expect(bench.count(ReasonCode.clientIdleTimeout) == 1)
    }

    @Test("A request of the LAN goes to a server that has room, whoever waits for another")
    func beside() throws {
        let bench = try Self.bench {
            $0.members = [Bench.member(1), Bench.member(2)]
            $0.memberMax = 1
            $0.queueMax = 4
        }
        bench.ring.connectPolicy = { $0 == Bench.member(2) ? -ECONNREFUSED : 0 }
        let open = Self.clients(bench, 2, from: .open)
        for client in open { bench.send(client, bench.get("/open")) }
        #expect(bench.count(Counter.requestsWaiting) == 1)
        bench.ring.connectPolicy = { _ in 0 }
        bench.judge([(1, .preferred), (2, .preferred)])
        let lan = bench.client(from: .lan)
        bench.send(lan, bench.get("/lan"))

        #expect(Self.paths(bench).contains("/lan"))
    }

    @Test("When no view is of low priority any more, nothing is held any longer")
    func reloadHeld() throws {
        let bench = try Self.bench()
        let clients = try (0..<3).map { _ in try Self.hundred(bench).0 }
        Self.slowly(bench)
        for client in clients { client.step() }
        for _ in 0..<4 { bench.turn() }
        #expect(!bench.worker.backlog.isEmpty && bench.ring.opened.count < 150)

        bench.worker.shedsLoad = false
        bench.turn()

        #expect(bench.worker.backlog.isEmpty)
        #expect(bench.ring.opened.count == 300)
    }

    @Test("A worker that leaves answers what it holds")
    func drain() throws {
        let bench = try Self.bench()
        bench.comeFrom(.open)
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<100).map { number in
            client.peer.request(
                SessionPeer.fields(
                    "GET", "/\(number)", authority: "away.example",
                    [("x", "\(number)-abcdefghijklmnopqrstuvw")]))
        }
        Self.slowly(bench)
        client.step()
        bench.turn()
        let slot = try #require(bench.slot(of: client.descriptor))
        #expect(bench.worker.channels[slot].pointee.flags.contains(.holdsPlaintext))

        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        client.exchange()

        #expect(ids.allSatisfy { client[$0].heads.count == 1 && client[$0].isEnded })
        bench.pass(.seconds(3))
        #expect(client.isClosed)
    }

    @Test("Scarce memory does not give the public the turn: a record is held all the same")
    func scarce() throws {
        let bench = try Self.bench { $0.chunkBudget = 2 << 20 }
        let clients = try (0..<4).map { _ in try Self.hundred(bench).0 }
        let taken = (0..<8).compactMap { _ in bench.worker.chunks.take(100 * 1024) }
        #expect(taken.count == 8 && bench.worker.chunks.isScarce)
        bench.stopwatch.step = .microseconds(150)
        for client in clients { client.step() }
        var before: UInt64 = 0
        for _ in 0..<20 {
            bench.turn()
            #expect(bench.count(Counter.requests) - before <= 60)
            before = bench.count(Counter.requests)
        }
        for chunk in taken { bench.worker.chunks.give(chunk) }
        for _ in 0..<20 where !bench.worker.waitsForNothing { bench.settle() }
        #expect(bench.count(Counter.requests) == 400)
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

/// Places that are the LAN's, however much the public wants.
@Suite("Worker: places for streams") struct StreamPlaceTests {
    @Test("The last places for streams are not for the public")
    func reserve() throws {
        let bench = try RankedViews.bench { $0.connectionsMax = 64 }
        let capacity = bench.worker.clientStreamSlots.capacity
        bench.comeFrom(.open)
        let open = try (0...capacity / 100).map { _ in try WirePeer(clientOf: bench) }
        for client in open {
            for _ in 0..<100 { client.peer.request(SessionPeer.fields("GET", "/")) }
            client.exchange()
        }
        #expect(bench.worker.clientStreamSlots.used == capacity - capacity / 16)
        let refused = open.last.map { last in last.peer.open.isEmpty } ?? false
        #expect(refused)

        bench.comeFrom(.lan)
        let lan = try WirePeer(clientOf: bench)
        let asked = bench.ring.opened.count
        let id = lan.get()
        #expect(bench.ring.opened.count == asked + 1)
        bench.send(bench.upstream, Bench.ok)
        lan.exchange()

        #expect(lan[id].content == Array("ok".utf8))
    }
}

extension Worker {
    /// No turn has left something for the next one.
    fileprivate var waitsForNothing: Bool {
        backlog.isEmpty && acceptPending == .no
            && deferredFirst == deferred.count && bulkFirst == bulkReady.count
    }
}
