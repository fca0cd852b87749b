import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

/// A worker has 16 slots here, of which one is kept for `lan`.
@Suite("Worker: who is given up when something runs short") struct EvictionTests {
    @Test("The longest idle of low priority goes for a newcomer, and nobody else")
    func longestIdle() throws {
        let bench = try RankedViews.bench()
        var idle: [Int32] = []
        for _ in 0..<15 {
            idle.append(bench.idleClient(from: .open))
            bench.tick(.milliseconds(100))
        }
        bench.tick(.seconds(2))
        // The eldest has just been used again.
        bench.serve(idle[0])

        let newcomer = bench.client(from: .open)

        #expect(newcomer >= 0)
        #expect(bench.ring.isClosed(idle[1]))
        #expect(!bench.ring.wasReset(idle[1]))
        for client in [idle[0]] + idle[2...] { #expect(!bench.ring.isClosed(client)) }
        #expect(bench.count(ReasonCode.evictedIdle) == 1)
        #expect(bench.count(ReasonCode.connectionLimit) == 0)
        #expect(bench.isServed(newcomer))
    }

    @Test("Who has never said anything goes first, but not before it has had time to")
    func unused() throws {
        let bench = try RankedViews.bench()
        let idle = bench.idleClient(from: .open)
        bench.tick(.seconds(5))
        let silent = (0..<14).map { _ in bench.client(from: .open) }

        // They are younger than a round trip may take; the idle one is older.
        let first = bench.client(from: .open)
        #expect(first >= 0)
        #expect(bench.ring.isClosed(idle))
        bench.tick(.milliseconds(1_100))
        let second = bench.client(from: .open)

        #expect(second >= 0)
        #expect(bench.ring.wasReset(silent[0]))
        #expect(!bench.ring.isClosed(silent[1]))
        #expect(bench.count(ReasonCode.evictedIdle) == 1)
        #expect(bench.count(ReasonCode.evictedUnused) == 1)
    }

    @Test("Requests under way are never given up: newcomers are refused, those of lan are not")
    func busy() throws {
        let bench = try RankedViews.bench { $0.queueMax = 20 }
        let busy = (0..<15).map { _ in bench.client(from: .open) }
        for client in busy { bench.send(client, bench.get()) }
        bench.tick(.seconds(3))

        let refused = bench.client(from: .open)
        #expect(bench.ring.wasReset(refused))
        #expect(bench.count(ReasonCode.connectionLimit) == 1)
        let lan = bench.client(from: .lan)

        #expect(lan >= 0 && !bench.ring.isClosed(lan))
        for client in busy { #expect(!bench.ring.isClosed(client)) }
        #expect(bench.count(ReasonCode.evictedIdle) == 0)
    }

    @Test("Idle connections of lan are not given up for newcomers of public")
    func ranks() throws {
        let bench = try RankedViews.bench()
        let idle = (0..<15).map { _ in bench.idleClient(from: .lan) }
        bench.tick(.seconds(20))

        let refused = bench.client(from: .open)
        #expect(bench.ring.wasReset(refused))
        for client in idle { #expect(!bench.ring.isClosed(client)) }

        let lan = bench.client(from: .lan)
        #expect(lan >= 0)
        // Now even the last place is taken: one of lan's own goes.
        let next = bench.client(from: .lan)
        #expect(next >= 0)
        #expect(bench.isServed(next))
        #expect(bench.ring.isClosed(idle[0]))
    }

    @Test("With one view the longest idle makes room as well")
    func oneView() throws {
        let bench = try Bench()
        let idle = (0..<16).map { _ in bench.client() }
        for client in idle { bench.serve(client) }
        bench.tick(.milliseconds(1_500))

        let newcomer = bench.client()

        #expect(bench.isServed(newcomer))
        #expect(bench.ring.isClosed(idle[0]))
        #expect(bench.count(ReasonCode.connectionLimit) == 0)
        #expect(bench.count(ReasonCode.evictedIdle) == 1)
    }

    @Test("Who was served within the last second is not idle enough")
    func justUsed() throws {
        let bench = try Bench()
        for _ in 0..<16 { bench.serve(bench.client()) }

        let refused = bench.client()

        #expect(bench.ring.wasReset(refused))
        #expect(bench.count(ReasonCode.evictedIdle) == 0)
        #expect(bench.count(ReasonCode.connectionLimit) == 1)
    }

    @Test("HTTP/2 without streams goes after HTTP/1.1, and is told")
    func http2() throws {
        let bench = try RankedViews.bench()
        bench.comeFrom(.open)
        let streams = try WirePeer(clientOf: bench)
        let other = try WirePeer(clientOf: bench)
        let id = streams.get()
        let idle = bench.idleClient(from: .open)
        for _ in 0..<12 { bench.send(bench.client(from: .open), bench.get()) }
        bench.tick(.seconds(3))

        #expect(bench.client(from: .open) >= 0)
        #expect(bench.ring.isClosed(idle))
        #expect(!other.isClosed)
        #expect(bench.client(from: .open) >= 0)

        #expect(other.isClosed)
        other.step()
        #expect(other.peer.recorder.goAway != nil, "GOAWAY")
        #expect(bench.count(ReasonCode.evictedHTTP2) == 1)
        #expect(!streams.isClosed, "its request is under way")
        #expect(streams.closing(id) == nil)
    }

    @Test("A head that does not come to its end makes room for others after three seconds")
    func unfinished() throws {
        let bench = try RankedViews.bench()
        let slow = (0..<15).map { _ in bench.client(from: .open) }
        for client in slow { bench.send(client, "GET / HT") }
        bench.tick(.seconds(2))
        #expect(bench.ring.wasReset(bench.client(from: .open)))
        bench.tick(.milliseconds(1_100))

        let newcomer = bench.client(from: .open)

        #expect(bench.isServed(newcomer))
        #expect(bench.ring.wasReset(slow[0]))
        #expect(bench.count(ReasonCode.evictedUnfinished) == 1)
    }

    @Test("Who asks again and again keeps its place while a hundred others come and go")
    func faithful() throws {
        let bench = try RankedViews.bench()
        let faithful = bench.client(from: .open)
        for _ in 0..<100 {
            bench.serve(faithful)
            bench.tick(.milliseconds(300))
            #expect(bench.client(from: .open) >= 0)
        }
        #expect(bench.isServed(faithful))
        #expect(bench.count(ReasonCode.connectionLimit) == 0)
        #expect(bench.count(ReasonCode.evictedUnused) >= 80)
        #expect(bench.count(ReasonCode.evictedIdle) == 0)
    }

    // MARK: - Descriptors

    @Test("A request whose upstream has no connection is served by a descriptor that was kept")
    func keptDescriptor() throws {
        let bench = try Bench(Self.reserving(2))
        bench.ring.socketFailures = [EMFILE]
        let client = bench.client()

        #expect(bench.isServed(client))
        #expect(bench.count(ReasonCode.descriptorLimit) == 0)
    }

    private static func reserving(_ count: Int) -> Bench.Options {
        var options = Bench.Options()
        options.descriptorReserve = count
        return options
    }

    @Test("Without descriptors for newcomers the longest idle leave theirs")
    func accepting() throws {
        let bench = try Bench()
        let idle = (0..<6).map { _ in bench.client() }
        for client in idle { bench.serve(client) }
        bench.tick(.seconds(2))
        bench.ring.acceptFailures = [EMFILE]

        bench.ring.incoming(Bench.listener, [SocketAddress(ipv4: 0xC633_6401, port: 1)])
        bench.settle()

        #expect(bench.count(ReasonCode.descriptorLimit) == 1)
        #expect(idle.count { bench.ring.isClosed($0) } == 4)
        #expect(bench.ring.accepted.count == 7)
    }

    @Test("A worker that has taken its share of descriptors accepts nobody until one is free")
    func share() throws {
        let bench = try Bench()
        bench.options.pressure.descriptorShare = 27
        let busy = (0..<12).map { _ in bench.client() }
        for client in busy { bench.send(client, bench.get()) }
        #expect(busy.allSatisfy { $0 >= 0 })
        #expect(bench.client() < 0, "24 are in use: it waits in the queue")
        #expect(bench.count(ReasonCode.descriptorLimit) >= 1)
        #expect(bench.count(Counter.connectionsRefused) == 0)
        let before = bench.ring.accepted.count

        for client in busy { bench.ring.fails(client, ECONNRESET) }
        bench.settle()
        bench.tick(.milliseconds(200))

        #expect(bench.ring.accepted.count == before + 1)
    }

    // MARK: - Memory

    @Test("Where memory is scarce the public is refused and its idle connections end")
    func scarce() throws {
        let bench = try RankedViews.bench()
        let open = (0..<4).map { _ in bench.idleClient(from: .open) }
        let lan = (0..<4).map { _ in bench.idleClient(from: .lan) }
        bench.tick(.seconds(2))
        bench.options.pressure.memory = .scarce

        let refused = bench.client(from: .open)
        #expect(bench.ring.wasReset(refused))
        #expect(bench.count(ReasonCode.memoryPressure) == 1)
        #expect(bench.isServed(bench.client(from: .lan)))
        bench.tick(.seconds(10))

        for client in open { #expect(bench.ring.isClosed(client)) }
        for client in lan { #expect(!bench.ring.isClosed(client)) }
        bench.options.pressure.memory = .enough
        #expect(bench.isServed(bench.client(from: .open)))
    }

    @Test("Where memory is exhausted all newcomers are refused, and requests go on")
    func exhausted() throws {
        let bench = try RankedViews.bench()
        let busy = bench.client(from: .lan)
        bench.send(busy, bench.get())
        let server = bench.upstream
        let idle = bench.idleClient(from: .lan)
        bench.tick(.seconds(2))
        bench.options.pressure.memory = .exhausted

        for place in [RankedViews.Place.lan, .open] {
            #expect(bench.ring.wasReset(bench.client(from: place)))
        }
        bench.tick(.seconds(3))

        #expect(bench.ring.isClosed(idle))
        bench.send(server, Bench.ok)
        #expect(bench.ring.takeSent(to: busy).hasSuffix("ok"))
        #expect(bench.count(ReasonCode.memoryPressure) == 2)
    }
}
