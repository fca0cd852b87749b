import CEdge
import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Connections that are late get competitors (BEHAVIOUR: outages cost nobody else anything).
@Suite("Worker: connections are raced") struct RaceTests {
    /// Members of which those in `silent` answer no connect until told to.
    static func bench(
        _ members: Int = 2, silent: Set<Int> = [1],
        _ change: (inout Bench.Options) -> Void = { _ in }
    ) throws -> Bench {
        var options = Bench.Options()
        options.members = (1...members).map { Bench.member($0) }
        options.raceAfter = .milliseconds(150)
        change(&options)
        let bench = try Bench(options)
        silence(bench, silent)
        return bench
    }

    static func silence(_ bench: Bench, _ silent: Set<Int>) {
        let addresses = Set(silent.map { Bench.member($0) })
        bench.ring.connectPolicy = { addresses.contains($0) ? nil : 0 }
    }

    /// Long enough for a connection to be late.
    static let late = Duration.milliseconds(200)

    // MARK: - Who wins

    @Test("A late connection gets a competitor, which serves; the late one is for the next request")
    func youngerWins() throws {
        let bench = try Self.bench()
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(.milliseconds(100))
        #expect(bench.ring.opened.count == 1)

        bench.pass(.milliseconds(100))
        let (first, second) = (bench.opened(to: 1)[0], bench.opened(to: 2)[0])
        #expect(bench.ring.takeSent(to: second).hasPrefix("GET / "))
        #expect(bench.ring.isConnecting(first))
        #expect(bench.count(.upstreamRaces) == 1 && bench.count(.upstreamRacesWon) == 1)
        #expect(bench.observations(1) == [.connectTimedOut])
        bench.send(second, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))

        bench.ring.connects(first)
        bench.settle()
        #expect(bench.count(.upstreamConnectionsIdle) == 2)
        for client in [client, bench.client()] { bench.send(client, bench.get()) }
        #expect(bench.ring.opened.count == 2)
        #expect(bench.ring.takeSent(to: first).hasPrefix("GET / "))
    }

    @Test("The late one may still win; the log names the member that served")
    func olderWins() throws {
        let book = try LogBook()
        let bench = try Self.bench(silent: [1, 2]) { $0.accessLog = book.log }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(Self.late)
        let (first, second) = (bench.opened(to: 1)[0], bench.opened(to: 2)[0])

        bench.ring.connects(first)
        bench.settle()

        #expect(bench.ring.takeSent(to: first).hasPrefix("GET / "))
        bench.ring.connects(second)
        bench.settle()
        #expect(bench.count(.upstreamConnectionsIdle) == 1)
        bench.send(first, Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
        #expect(bench.count(.upstreamRacesWon) == 0)
        #expect(bench.observations(2) == [])
        let lines = try book.lines(of: bench)
        #expect(lines.first?["member"] as? String == "\(Bench.member(1))")
    }

    @Test("Whoever is ready first serves, of however many that are late", arguments: 1...4)
    func anyWins(winner: Int) throws {
        let bench = try Self.bench(4, silent: [1, 2, 3, 4])
        let client = bench.client()
        bench.send(client, bench.get())
        for _ in 0..<3 { bench.pass(Self.late) }
        #expect(bench.ring.opened.count == 4)

        bench.ring.connects(bench.opened(to: winner)[0])
        bench.settle()

        #expect(bench.ring.takeSent(to: bench.opened(to: winner)[0]).hasPrefix("GET / "))
        bench.send(bench.opened(to: winner)[0], Bench.ok)
        #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
    }

    @Test("A competitor that is refused leaves the late one its chance, and tries the next")
    func competitorRefused() throws {
        let bench = try Self.bench(3)
        bench.ring.connectPolicy = {
            $0 == Bench.member(2) ? -ECONNREFUSED : $0 == Bench.member(1) ? nil : 0
        }
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(Self.late)
        #expect(bench.ring.takeSent(to: bench.opened(to: 3)[0]).hasPrefix("GET / "))

        // Without a third one the late one serves after all.
        let other = try Self.bench(2)
        other.ring.connectPolicy = { $0 == Bench.member(2) ? -ECONNREFUSED : nil }
        let waiting = other.client()
        other.send(waiting, other.get())
        other.pass(Self.late)
        #expect(other.ring.takeSent(to: waiting) == "")
        other.ring.connects(other.opened(to: 1)[0])
        other.settle()
        other.send(other.opened(to: 1)[0], Bench.ok)
        #expect(other.ring.takeSent(to: waiting).hasSuffix("ok"))
    }

    @Test("With the late one and its competitor dead, the request fails once, with its reason")
    func bothFail() throws {
        let bench = try Self.bench(silent: [1, 2])
        let client = bench.client()
        bench.send(client, bench.get())
        bench.pass(Self.late)
        for number in [2, 1] {
            bench.ring.connects(bench.opened(to: number)[0], ECONNREFUSED)
            bench.settle()
        }

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamConnectRefused) == 1)
        #expect(bench.ring.opened.count == 2)
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    @Test("An unused connection to another member is taken instead of a new one")
    func unusedOne() throws {
        let bench = try Self.bench(silent: [])
        let client = bench.client()
        for _ in 0..<2 {
            bench.send(client, bench.get())
            bench.send(bench.upstream, Bench.ok)
        }
        _ = bench.ring.takeSent(to: client)
        let second = bench.opened(to: 2)[0]
        _ = bench.ring.takeSent(to: second)
        bench.ring.ends(bench.opened(to: 1)[0])
        bench.settle()
        Self.silence(bench, [1])

        bench.send(client, bench.get("/late"))
        #expect(bench.ring.takeSent(to: second) == "")
        bench.pass(Self.late)

        #expect(bench.ring.takeSent(to: second).hasPrefix("GET /late "))
        #expect(bench.opened(to: 2).count == 1)
        #expect(bench.count(.upstreamRacesWon) == 1)
    }

    @Test("What is slow as usual is not raced; neither is a single member, nor with 0s")
    func notRaced() throws {
        let usual = try Self.bench(silent: [1, 2])
        // Both are slow, and after one connection that is known.
        for _ in 0..<2 {
            let client = usual.client()
            usual.send(client, usual.get())
            usual.pass(.milliseconds(140))
            usual.ring.connects(usual.upstream)
            usual.settle()
            usual.send(
                usual.upstream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        }
        usual.send(usual.client(), usual.get())
        usual.pass(.milliseconds(700))
        #expect(usual.ring.opened.count == 3)
        usual.pass(.milliseconds(300))
        #expect(usual.count(.upstreamRaces) == 1)
        for options in [(1, Duration.milliseconds(150)), (2, Duration.zero)] {
            let bench = try Self.bench(options.0) { $0.raceAfter = options.1 }
            bench.send(bench.client(), bench.get())
            bench.pass(.seconds(2))
            #expect(bench.ring.opened.count == 1)
        }
    }

    // MARK: - Losers

    @Test(
        "A loser of a TCP connection, or one that begins with a PROXY header, is closed at once",
        arguments: [true, false])
    func loserIsClosed(isRelay: Bool) throws {
        for olderWins in [true, false] {
            let bench = try Self.bench(silent: [1, 2]) { $0.sendsProxyHeader = !isRelay }
            let client = bench.client(isRelay ? Bench.tcpListener : Bench.listener)
            if !isRelay { bench.send(client, bench.get()) }
            bench.pass(Self.late)
            let (first, second) = (bench.opened(to: 1)[0], bench.opened(to: 2)[0])

            bench.ring.connects(olderWins ? first : second)
            bench.settle()

            #expect(bench.ring.isClosed(olderWins ? second : first))
            let winner = olderWins ? first : second
            if isRelay { bench.send(client, "hello") }
            #expect(bench.ring.takeSent(to: winner).contains(isRelay ? "hello" : "GET / "))
            bench.send(winner, isRelay ? "world" : Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasSuffix(isRelay ? "world" : "ok"))
        }
    }

    @Test("A client that leaves in a race frees all of its connections at once", arguments: 0..<3)
    func clientLeaves(kind: Int) throws {
        let bench = try Self.bench(3, silent: [1, 2, 3])
        let client = bench.client(kind == 2 ? Bench.tcpListener : Bench.listener)
        if kind < 2 { bench.send(client, bench.get()) }
        for _ in 0..<2 { bench.pass(Self.late) }
        #expect(bench.ring.opened.count == 3)

        if kind == 1 { bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30)))) }
        if kind == 2 {
            bench.ring.fails(client, ECONNRESET)
            // Nothing is read from it yet: its end is seen when it has a server.
            bench.pass(.seconds(4))
        } else {
            bench.ring.fails(client, ECONNRESET)
        }
        bench.settle()

        bench.expectEmpty()
    }

    @Test("A request has at most four connections under way")
    func bounded() throws {
        let bench = try Self.bench(8, silent: Set(1...8))
        bench.send(bench.client(), bench.get())
        bench.pass(.milliseconds(2_900))

        #expect(bench.ring.opened.count == 4)
    }

    @Test("Connections that nobody waits for are few, and none when slots are scarce")
    func unclaimed() throws {
        let bench = try Self.bench { $0.connectionsMax = 64 }
        let clients = (0..<40).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        bench.pass(Self.late)

        for descriptor in bench.opened(to: 2) { bench.send(descriptor, Bench.ok) }
        for client in clients { #expect(bench.ring.takeSent(to: client).hasSuffix("ok")) }
        let waiting = bench.opened(to: 1).filter { !bench.ring.isClosed($0) }
        #expect(waiting.count == UpstreamPool.unclaimedMax)
        bench.pass(.seconds(4))
        #expect(bench.opened(to: 1).allSatisfy { bench.ring.isClosed($0) })
    }

    // MARK: - Limits

    @Test("With the others full, a late request waits for room and for its own, whichever is first")
    func waitsForRoom() throws {
        for isRoomFirst in [true, false] {
            let bench = try Self.bench { $0.memberMax = 1 }
            let (late, busy) = (bench.client(), bench.client())
            bench.send(late, bench.get("/late"))
            bench.send(busy, bench.get("/busy"))
            let (first, second) = (bench.opened(to: 1)[0], bench.opened(to: 2)[0])
            _ = bench.ring.takeSent(to: second)
            bench.pass(Self.late)

            if isRoomFirst { bench.send(second, Bench.ok) } else { bench.ring.connects(first) }
            bench.settle()

            let server = isRoomFirst ? second : first
            #expect(bench.ring.takeSent(to: server).hasPrefix("GET /late "))
            bench.send(server, Bench.ok)
            #expect(bench.ring.takeSent(to: late).hasSuffix("ok"))
            #expect(bench.count(Counter.requestsWaiting) == 0)
        }
    }

    @Test("Who waits for room beside a late connection has that one when its place is lost")
    func waitsForRoomInVain() throws {
        let bench = try Self.bench { $0.memberMax = 1 }
        let (late, busy) = (bench.client(), bench.client())
        bench.send(late, bench.get("/late"))
        bench.send(busy, bench.get("/busy"))
        bench.pass(Self.late)
        // The other member leaves: nothing is left to wait for but the late one.
        bench.judge([(1, .preferred)])
        bench.settle()
        #expect(bench.ring.takeSent(to: late) == "")

        bench.ring.connects(bench.opened(to: 1)[0])
        bench.settle()
        bench.send(bench.opened(to: 1)[0], Bench.ok)
        #expect(bench.ring.takeSent(to: late).hasSuffix("ok"))
    }

    // MARK: - Verdicts

    @Test("Requests that hang try members that have come, and leave those that are down at once")
    func newMembers() throws {
        let bench = try Self.bench(2, silent: [1, 2])
        let client = bench.client()
        bench.send(client, bench.get())
        for _ in 0..<2 { bench.pass(Self.late) }
        #expect(bench.ring.opened.count == 2)
        bench.judge([(1, .preferred), (2, .preferred), (3, .preferred)])
        bench.settle()
        #expect(bench.ring.takeSent(to: try #require(bench.opened(to: 3).first)).hasPrefix("GET"))

        // Not late yet, but down.
        let other = try Self.bench(2, silent: [1])
        other.send(other.client(), other.get())
        #expect(other.ring.opened.count == 1)
        other.judge([(1, .never), (2, .preferred)])
        other.settle()
        #expect(other.ring.takeSent(to: try #require(other.opened(to: 2).first)).hasPrefix("GET"))
    }

    // MARK: - Nobody else

    @Test("One dead member, a hundred requests: nobody else waits, and every slot comes back")
    func noJam() throws {
        let bench = try Self.bench {
            $0.connectionsMax = 256
            $0.memberMax = 100
            $0.queueMax = 100
        }
        bench.worker.handle(.apply(Self.withOtherSite(bench)))
        let clients = (0..<100).map { _ in bench.client() }
        for client in clients { bench.send(client, bench.get()) }
        // Half of them are with the live member at once.
        #expect(bench.opened(to: 2).count == 50)
        let visitor = bench.client()
        bench.send(visitor, "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
        bench.send(bench.opened(to: 9)[0], Bench.ok)
        #expect(bench.ring.takeSent(to: visitor).hasSuffix("ok"))

        bench.pass(Self.late)
        #expect(bench.opened(to: 2).count == 100)
        for descriptor in bench.opened(to: 2) { bench.send(descriptor, Bench.ok) }
        for client in clients { #expect(bench.ring.takeSent(to: client).hasSuffix("ok")) }
        bench.pass(.seconds(4))
        #expect(bench.opened(to: 1).allSatisfy { bench.ring.isClosed($0) })
        #expect(bench.count(Counter.upstreamConnectionsOpen) == 101)
        #expect(bench.count(Counter.requestsActive) == 0)
    }

    /// `app`, and another upstream with member 9.
    private static func withOtherSite(_ bench: Bench) -> RuntimeSnapshot {
        let old = bench.worker.snapshot
        let other = Bench.snapshot(2, bench.options, [Bench.member(9)], pool: 1)
        return RuntimeSnapshot(
            epoch: 2,
            routing: Routing([("home.example", 0, 0), ("other.example", 1, 1)], fallback: nil),
            certificates: old.certificates, listeners: old.listeners,
            pools: old.pools + other.pools, timeouts: old.timeouts,
            requestLimits: old.requestLimits, responseLimits: old.responseLimits)
    }
}
