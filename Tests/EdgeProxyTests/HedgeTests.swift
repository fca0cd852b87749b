import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

@Suite("Worker: hedged requests") struct HedgeTests {
    private static func bench(
        members: Int = 2, _ change: (inout Bench.Options) -> Void = { _ in }
    ) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...members).map { Bench.member($0) }
        options.retries.hedgeAfter = .milliseconds(200)
        change(&options)
        return try Bench(options)
    }

    /// A request that has been sent to two servers: the client, and both connections.
    private static func hedged(
        _ bench: Bench, _ request: String? = nil
    ) throws -> (client: Int32, older: Int32, younger: Int32) {
        let client = bench.client()
        bench.send(client, request ?? bench.get())
        let older = bench.upstream
        #expect(bench.ring.takeSent(to: older).contains(" / HTTP/1.1\r\n"))
        bench.pass(.milliseconds(150))
        #expect(bench.ring.opened.count == 1)
        bench.pass(.milliseconds(100))
        #expect(bench.ring.opened.count == 2)
        #expect(bench.count(Counter.upstreamHedges) == 1)
        return (client, older, bench.upstream)
    }

    private static func answer(_ text: String, _ status: Int = 200) -> String {
        "HTTP/1.1 \(status) X\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)"
    }

    private static func leave(_ bench: Bench, _ client: Int32) {
        bench.ring.ends(client)
        bench.settle()
        for descriptor in bench.ring.openDescriptors { bench.ring.ends(descriptor) }
        bench.settle()
        bench.expectEmpty()
    }

    // MARK: - Answers

    @Test("A late answer has the request sent to another server; the first answer counts")
    func firstAnswer() throws {
        for isOlderFirst in [true, false] {
            let bench = try Self.bench()
            let (client, older, younger) = try Self.hedged(bench)
            #expect(bench.ring.address(of: older) != bench.ring.address(of: younger))
            #expect(bench.ring.takeSent(to: younger).hasPrefix("GET / HTTP/1.1\r\n"))

            bench.send(isOlderFirst ? older : younger, Self.answer("first"))

            #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\nfirst"))
            #expect(bench.ring.isClosed(isOlderFirst ? younger : older))
            #expect(!bench.ring.isClosed(isOlderFirst ? older : younger))
            #expect(bench.count(Counter.upstreamHedges) == 1)
            // The client's next request is one as any other.
            bench.send(client, bench.get("/next"))
            bench.send(isOlderFirst ? older : younger, Self.answer("second"))
            if bench.ring.sent(to: client).isEmpty {
                bench.send(bench.upstream, Self.answer("second"))
            }
            #expect(bench.ring.takeSent(to: client).hasSuffix("second"))
            Self.leave(bench, client)
        }
    }

    @Test("An answer in pieces counts from its whole head on, and is not mixed with the other's")
    func pieces() throws {
        let bench = try Self.bench()
        let (client, older, younger) = try Self.hedged(bench)
        bench.send(older, "HTTP/1.1 200 OK\r\nContent-")
        bench.send(younger, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nyoun")
        #expect(bench.ring.isClosed(older))
        bench.send(younger, "gest")
        #expect(bench.ring.takeSent(to: client).hasSuffix("\r\n\r\nyoungest"))
        Self.leave(bench, client)
    }

    @Test("The older answer comes while the younger connection is still being made")
    func connecting() throws {
        let bench = try Self.bench()
        bench.ring.connectPolicy = { $0 == Bench.member(1) ? 0 : nil }
        let client = bench.client()
        bench.send(client, bench.get())
        let older = bench.upstream
        if bench.ring.address(of: older) != Bench.member(1) {
            bench.ring.connectPolicy = { $0 == Bench.member(1) ? nil : 0 }
            bench.ring.connects(older)
            bench.settle()
        }
        bench.pass(.milliseconds(300))
        #expect(bench.ring.isConnecting(bench.upstream))
        let younger = bench.upstream

        bench.send(older, Self.answer("older"))
        #expect(bench.ring.takeSent(to: client).hasSuffix("older"))
        // The connection that was not needed is kept for later.
        bench.ring.connects(younger)
        bench.settle()
        #expect(bench.count(Counter.upstreamConnectionsIdle) == 2)
        Self.leave(bench, client)
    }

    @Test(
        "A failure of one is no answer as long as the other may answer", arguments: [true, false])
    func failures(isOlderFirst: Bool) throws {
        for status in [nil, 500, 503] {
            for other in [nil, 200, 502] {
                let bench = try Self.bench()
                let (client, older, younger) = try Self.hedged(bench)
                func end(_ descriptor: Int32, _ status: Int?) {
                    if let status {
                        bench.ring.receives(descriptor, Self.answer("\(status)", status))
                    } else {
                        bench.ring.fails(descriptor, ECONNRESET)
                    }
                    bench.settle()
                }

                end(isOlderFirst ? older : younger, status)
                #expect(bench.ring.sent(to: client).isEmpty)
                end(isOlderFirst ? younger : older, other)

                let text = bench.ring.takeSent(to: client)
                #expect(text.hasPrefix("HTTP/1.1 \(other ?? 502) "), "\(text)")
                #expect(bench.ring.opened.count == 2, "nobody is asked twice")
                Self.leave(bench, client)
            }
        }
    }

    @Test("A refused connection of the second attempt goes on to a third server, or to none")
    func refused() throws {
        for members in [2, 3] {
            let bench = try Self.bench(members: members)
            let client = bench.client()
            bench.send(client, bench.get())
            let older = bench.upstream
            let first = bench.ring.address(of: older)
            var refusals = 0
            bench.ring.connectPolicy = { _ in
                refusals += 1
                return refusals == 1 ? -ECONNREFUSED : 0
            }
            bench.pass(.milliseconds(300))
            #expect(bench.ring.opened.count == members)
            #expect(
                bench.ring.opened.allSatisfy {
                    $0 == older || bench.ring.address(of: $0) != first
                })
            let last = members == 3 ? bench.upstream : older
            bench.send(last, Self.answer("last"))
            #expect(bench.ring.takeSent(to: client).hasSuffix("last"))
            #expect(bench.count(ReasonCode.upstreamConnectRefused) == 0)
            Self.leave(bench, client)
        }
    }

    @Test("Both servers stay silent: the answer's time-out is told once")
    func silence() throws {
        let bench = try Self.bench()
        let (client, _, _) = try Self.hedged(bench)
        bench.pass(.seconds(19))
        #expect(bench.ring.sent(to: client).isEmpty)
        bench.pass(.seconds(2))
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504 "))
        #expect(bench.count(ReasonCode.upstreamHeadTimeout) == 1)
        #expect(bench.count(Counter.upstreamHedges) == 1)
        Self.leave(bench, client)
    }

    @Test("A client that leaves takes both attempts with it")
    func clientLeaves() throws {
        let bench = try Self.bench()
        let (client, older, younger) = try Self.hedged(bench)
        bench.ring.fails(client, ECONNRESET)
        bench.settle()
        #expect(bench.ring.isClosed(older) && bench.ring.isClosed(younger))
        bench.expectEmpty()
    }

    // MARK: - Whether at all

    @Test(
        "What must not be sent twice, and whom only one server knows, is not hedged",
        arguments: [
            "POST / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 0\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: home.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 2\r\n\r\nhi",
            "GET / HTTP/1.1\r\nHost: home.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: home.example\r\nCookie: E=0123456789abcdef\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: home.example\r\nUpgrade: websocket\r\n"
                + "Connection: Upgrade\r\n\r\n",
        ])
    func never(request: String) throws {
        let bench = try Self.bench { $0.sticky = StickyPolicy(cookie: "E") }
        let client = bench.client()
        bench.send(client, request)
        bench.pass(.seconds(2))
        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.upstreamHedges) == 0)
    }

    @Test("HEAD is hedged as GET is")
    func head() throws {
        let bench = try Self.bench()
        let (client, _, younger) = try Self.hedged(
            bench, "HEAD / HTTP/1.1\r\nHost: home.example\r\n\r\n")
        bench.send(younger, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200 "))
        Self.leave(bench, client)
    }

    @Test("Without another server, attempts or patience there is no hedge")
    func limits() throws {
        for (members, attempts) in [(1, 3), (2, 0)] {
            let bench = try Self.bench(members: members) { $0.retries.attempts = attempts }
            let client = bench.client()
            bench.send(client, bench.get())
            bench.pass(.seconds(2))
            #expect(bench.ring.opened.count == 1)
            bench.send(bench.upstream, Self.answer("late"))
            #expect(bench.ring.takeSent(to: client).hasSuffix("late"))
            #expect(bench.count(Counter.upstreamHedges) == 0)
            Self.leave(bench, client)
        }
        let bench = try Self.bench { $0.retries.hedgeAfter = nil }
        bench.send(bench.client(), bench.get())
        bench.pass(.seconds(10))
        #expect(bench.ring.opened.count == 1)
    }

    // MARK: - HTTP/2

    /// The servers at the end of all connections, each under its descriptor.
    private static func servers(_ bench: Bench) throws -> [WirePeer] {
        let servers = try bench.ring.opened.map {
            WirePeer(bench, $0, try SessionPeer(isServer: true, WirePeer.wide))
        }
        WirePeer.exchange(servers)
        return servers
    }

    @Test("Over HTTP/2 the stream that is not needed is reset, and its connection goes on")
    func streams() throws {
        for isOlderFirst in [true, false] {
            let bench = try Self.bench { $0.version = .http2 }
            let client = try WirePeer(clientOf: bench)
            let id = client.get()
            bench.pass(.milliseconds(300))
            let servers = try Self.servers(bench)
            try #require(servers.count == 2)
            #expect(servers.allSatisfy { $0.peer.open == [1] })
            let (winner, loser) = isOlderFirst ? (servers[0], servers[1]) : (servers[1], servers[0])

            winner.peer.answer(1, 200, [("content-length", "2")], hasContent: true)
            winner.peer.send(1, Array("ok".utf8), isLast: true)
            WirePeer.exchange(servers + [client])

            #expect(client[id].content == Array("ok".utf8))
            #expect(client[id].isEnded)
            #expect(loser.closing(1) == .cancel)
            #expect(bench.worker.upstreamStreamSlots.used == 0)
            #expect(!winner.isClosed && !loser.isClosed)
            #expect(bench.count(Counter.upstreamHedges) == 1)
        }
    }

    @Test("Requests whose second attempt waits for a connection are answered by the first")
    func queued() throws {
        let bench = try Self.bench {
            $0.version = .http2
            $0.balance = .hash(.header("x-key"))
        }
        let clients = (0..<4).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get("/", "X-Key: 1\r\n")) }
        let older = try #require(try Self.servers(bench).first)
        #expect(older.peer.open.count == 4)
        bench.ring.connectPolicy = { _ in nil }
        bench.pass(.milliseconds(300))
        #expect(bench.count(Counter.upstreamHedges) == 4)
        #expect(bench.count(Counter.requestsWaiting) == 3)
        #expect(bench.ring.opened.count == 2)

        older.step()
        for id in older.peer.open.prefix(2) {
            older.peer.answer(id, 200, [("content-length", "0")])
        }
        older.exchange()
        #expect(clients.filter { !bench.ring.sent(to: $0).isEmpty }.count == 2)
        // The rest gives up the queue, and goes on waiting for what it had.
        bench.pass(.seconds(5))
        #expect(bench.count(Counter.requestsWaiting) == 0)
        #expect(clients.filter { !bench.ring.sent(to: $0).isEmpty }.count == 2)
        for id in older.peer.open { older.peer.answer(id, 200, [("content-length", "0")]) }
        older.exchange()
        for client in clients {
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200 "))
        }
    }

    @Test("The older connection of HTTP/2 is lost: the younger attempt answers")
    func lostConnection() throws {
        for isOlderLost in [true, false] {
            let bench = try Self.bench { $0.version = .http2 }
            let client = bench.client()
            bench.send(client, bench.get())
            bench.pass(.milliseconds(300))
            let servers = try Self.servers(bench)
            try #require(servers.count == 2)
            let (lost, other) = isOlderLost ? (servers[0], servers[1]) : (servers[1], servers[0])
            bench.ring.fails(lost.descriptor, ECONNRESET)
            bench.settle()
            #expect(bench.ring.sent(to: client).isEmpty)
            other.step()
            other.peer.answer(1, 200, [("content-length", "0")])
            other.exchange()
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 200 "))
            #expect(bench.worker.upstreamStreamSlots.used == 0)
        }
    }
}
