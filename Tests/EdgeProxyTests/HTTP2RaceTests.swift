import CEdge
import EdgeCore
import EdgeHTTP2
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Races, dead hosts and limits where connections are shared, or a handshake is part of them.
@Suite("Worker: races for connections that are shared") struct HTTP2RaceTests {
    private static func bench(
        _ members: Int = 2, silent: Set<Int> = [],
        _ change: (inout Bench.Options) -> Void = { _ in }
    ) throws -> Bench {
        try RaceTests.bench(members, silent: silent) {
            $0.version = .http2
            $0.connectionsMax = 64
            change(&$0)
        }
    }

    /// The server at the end of a connection to the member, made if it was not yet.
    private static func server(_ bench: Bench, _ member: Int) throws -> WirePeer {
        let descriptor = try #require(bench.opened(to: member).last)
        bench.ring.connects(descriptor)
        bench.settle()
        let peer = WirePeer(
            bench, descriptor, try SessionPeer(isServer: true, WirePeer.wide))
        peer.exchange()
        return peer
    }

    private static func answerAll(_ server: WirePeer, _ client: WirePeer) {
        for id in server.peer.open { server.peer.answer(id) }
        WirePeer.exchange([client, server])
    }

    // MARK: - Connecting

    @Test("All that wait for a late connection go over its competitor; the late one is kept")
    func youngerWins() throws {
        let bench = try Self.bench(silent: [1])
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<5).map { _ in client.get() }
        // The second request has begun another connection, which is ready at once.
        let second = try Self.server(bench, 2)
        #expect(second.peer.open.count >= 1)
        bench.pass(RaceTests.late)
        WirePeer.exchange([client, second])
        #expect(second.peer.open.count == 5)
        Self.answerAll(second, client)
        for id in ids { #expect(client[id].isEnded) }

        let first = try Self.server(bench, 1)
        #expect(bench.worker.pools[0]?.http2.count == 2)
        client.get()
        client.get()
        WirePeer.exchange([client, first, second])
        #expect(first.peer.open.count + second.peer.open.count == 2)
        #expect(bench.ring.opened.count == 2)
    }

    @Test(
        "With every member late nobody fails; whoever is ready first serves all", arguments: 1...2)
    func allLate(winner: Int) throws {
        let bench = try Self.bench(silent: [1, 2])
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<6).map { _ in client.get() }
        for _ in 0..<4 { bench.pass(RaceTests.late) }
        client.exchange()
        for id in ids { #expect(client.closing(id) == nil) }
        #expect(bench.ring.opened.count == 2)

        let server = try Self.server(bench, winner)
        WirePeer.exchange([client, server])
        #expect(server.peer.open.count == 6)
        Self.answerAll(server, client)
        for id in ids { #expect(client[id].isEnded) }
        #expect(bench.count(Counter.requestsWaiting) == 0)
    }

    @Test("With every member late, those that fail leave the others to the one that is left")
    func lateFail() throws {
        let bench = try Self.bench(silent: [1, 2])
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<6).map { _ in client.get() }
        for _ in 0..<2 { bench.pass(RaceTests.late) }
        bench.ring.connects(bench.opened(to: 2)[0], ECONNREFUSED)
        bench.settle()
        client.exchange()
        for id in ids { #expect(client.closing(id) == nil) }

        let server = try Self.server(bench, 1)
        WirePeer.exchange([client, server])
        #expect(server.peer.open.count == 6)

        // With none left all of them fail, once.
        let other = try Self.bench(silent: [1, 2])
        let visitor = try WirePeer(clientOf: other)
        let others = (0..<6).map { _ in visitor.get() }
        for _ in 0..<2 { other.pass(RaceTests.late) }
        for number in 1...2 {
            other.ring.connects(other.opened(to: number)[0], ECONNREFUSED)
            other.settle()
        }
        visitor.exchange()
        for id in others { #expect(visitor[id].heads.first?.contains("502") == true) }
        #expect(other.count(Counter.requestsActive) == 0)
    }

    @Test("Clients that leave while connections are late leave nobody waiting")
    func clientsLeave() throws {
        let bench = try Self.bench(silent: [1, 2])
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<4).map { _ in client.get() }
        bench.pass(RaceTests.late)
        for id in ids { client.peer.session.reset(id, .cancel) }
        client.exchange()
        #expect(bench.worker.exchangeSlots.used == 0)

        // Both connections are still made, for whoever comes next.
        let next = client.get()
        let server = try Self.server(bench, 2)
        WirePeer.exchange([client, server])
        Self.answerAll(server, client)
        #expect(client[next].isEnded)
    }

    @Test("A handshake that does not come is raced like a connect")
    func lateHandshake() throws {
        let folder = try TemporaryDirectory()
        let authority = try CertificateMint()
        let tls = RuntimeSnapshot.PoolTLS(
            trust: try ClientTrust.load(folder.write("ca.pem", authority.rootPEM)),
            name: "home.example")
        let bench = try RaceTests.bench(silent: []) { $0.isTLSUpstream = tls }
        let client = bench.client()
        bench.send(client, bench.get())
        #expect(bench.ring.opened.count == 1)
        bench.pass(RaceTests.late)
        let server = try MemoryServer(authority.leaf("home.example"), TLS1_3_VERSION)
        let peer = try TLSWorkerTests.Peer(upstreamOf: bench, server)
        peer.exchange()
        #expect(peer.descriptor == bench.opened(to: 2)[0])
        #expect(peer.take().hasPrefix("GET / "))
        peer.send(Bench.ok)
        peer.exchange()
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.observations(1) == [.connectTimedOut])
    }

    // MARK: - Hosts that are gone

    @Test("All requests of a silent host move that may; the others stay with it and may be served")
    func silentHost() throws {
        let bench = try Self.bench()
        let client = try WirePeer(clientOf: bench)
        let warm = client.get()
        let first = try Self.server(bench, 1)
        Self.answerAll(first, client)
        #expect(client[warm].isEnded)
        bench.judge([(1, .preferred)])
        let gets = (0..<4).map { _ in client.get() }
        let post = client.post()
        client.peer.send(post, Array("hi".utf8), isLast: true)
        WirePeer.exchange([client, first])
        #expect(first.peer.open.count == 5)
        bench.judge([(1, .preferred), (2, .preferred)])

        bench.ring.setSilence(first.descriptor, .milliseconds(130))
        bench.pass(.milliseconds(160))
        let second = try Self.server(bench, 2)
        WirePeer.exchange([client, second])
        #expect(second.peer.open.count == 4)
        Self.answerAll(second, client)
        for id in gets { #expect(client[id].isEnded && client[id].heads[0].contains("200")) }
        #expect(client.closing(post) == nil)
        // Nobody goes there from now on.
        bench.judge([(1, .never), (2, .preferred)])
        for _ in 0..<4 { client.get() }
        WirePeer.exchange([client, second])
        #expect(second.peer.open.count == 4)

        bench.ring.setSilence(first.descriptor, nil)
        Self.answerAll(first, client)
        #expect(client[post].isEnded && client[post].heads[0].contains("200"))
        bench.pass(.milliseconds(100))
        #expect(bench.ring.isClosed(first.descriptor))
    }

    @Test("A silent host of safe requests alone is left at once")
    func deadHost() throws {
        let bench = try Self.bench()
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<3).map { _ in client.get() }
        let first = try Self.server(bench, 1)
        bench.judge([(1, .preferred), (2, .preferred)])
        bench.ring.setSilence(first.descriptor, .milliseconds(130))
        bench.pass(.milliseconds(160))

        #expect(bench.ring.isClosed(first.descriptor))
        let second = try Self.server(bench, 2)
        WirePeer.exchange([client, second])
        Self.answerAll(second, client)
        for id in ids { #expect(client[id].isEnded && client[id].heads[0].contains("200")) }
        #expect(bench.count(ReasonCode.upstreamUnreachable) == 0)
    }

    @Test("Streams that a living server resets are attempts like any other, and its failures")
    func resets() throws {
        let bench = try Self.bench(1) {
            $0.retries.attempts = 2
            $0.tellsFailures = 1
        }
        let client = try WirePeer(clientOf: bench)
        client.get()
        let server = try Self.server(bench, 1)
        Self.answerAll(server, client)
        let id = client.get()
        WirePeer.exchange([client, server])
        for _ in 0..<10 where !server.peer.open.isEmpty {
            for id in server.peer.open { server.peer.session.reset(id, .internalError) }
            WirePeer.exchange([client, server])
        }

        #expect(client[id].heads.first?.contains("502") == true)
        #expect(server.peer.recorder.streams.count <= 3)
        #expect(bench.observations(1).first == .consecutiveFailures(1))
    }

    // MARK: - Verdicts

    @Test("A member that goes down keeps its streams and gets no more; then its connection ends")
    func goesDown() throws {
        let bench = try Self.bench()
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        let first = try Self.server(bench, 1)
        bench.judge([(1, .never), (2, .preferred)])
        let next = client.get()
        let second = try Self.server(bench, 2)
        WirePeer.exchange([client, first, second])
        #expect(first.peer.open.count == 1 && second.peer.open.count == 1)
        Self.answerAll(first, client)
        Self.answerAll(second, client)
        #expect(client[id].isEnded && client[next].isEnded)
        bench.pass(.milliseconds(100))
        #expect(bench.ring.isClosed(first.descriptor) && !bench.ring.isClosed(second.descriptor))
    }

    @Test("A connection that was being made to a member that is down serves whom it was made for")
    func goesDownMeanwhile() throws {
        let bench = try Self.bench(silent: [1, 2]) { $0.raceAfter = .zero }
        let client = try WirePeer(clientOf: bench)
        let id = client.get()
        bench.judge([(1, .never), (2, .preferred)])
        let server = try Self.server(bench, 1)
        WirePeer.exchange([client, server])
        Self.answerAll(server, client)
        #expect(client[id].isEnded)
        bench.pass(.milliseconds(100))
        #expect(bench.ring.isClosed(server.descriptor))
        #expect(bench.worker.pools[0]?.http2.isEmpty == true)
    }

    @Test("Streams count as requests of their upstream, not as connections")
    func limits() throws {
        let bench = try Self.bench(1) {
            $0.requestsMax = 3
            $0.memberMax = 1
        }
        let client = try WirePeer(clientOf: bench)
        let ids = (0..<4).map { _ in client.get() }
        let server = try Self.server(bench, 1)
        WirePeer.exchange([client, server])
        #expect(server.peer.open.count == 3)
        #expect(client[ids[3]].heads.first?.contains("503") == true)
        #expect(bench.count(ReasonCode.upstreamRequestLimit) == 1)
        Self.answerAll(server, client)
        #expect(bench.worker.groups[0]?.active == 0)
    }
}
