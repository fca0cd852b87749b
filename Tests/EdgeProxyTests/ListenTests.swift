import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: listeners that come and go") struct ListenTests {
    private static func peers(_ count: Int) -> [SocketAddress] {
        (0..<count).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0 % 250), port: 50_000) }
    }

    private static let usual = [
        ListeningSocket(listener: 0, descriptor: Bench.listener),
        ListeningSocket(listener: 1, descriptor: Bench.tlsListener),
        ListeningSocket(listener: 2, descriptor: Bench.redirectListener),
        ListeningSocket(listener: 3, descriptor: Bench.tcpListener),
    ]

    private static func left(_ bench: Bench) -> [Int32] {
        bench.events.list.compactMap {
            if case .left(_, let descriptor) = $0 { descriptor } else { nil }
        }
    }

    @Test("What is added is served at once, with what waits there already")
    func added() throws {
        let bench = try Bench()
        bench.ring.incoming(200, Self.peers(2), isAnnounced: false)
        bench.worker.handle(
            .listen(Self.usual + [.init(listener: 0, descriptor: 200)], keeping: []))
        bench.settle()
        #expect(bench.ring.accepted.count == 2)

        bench.ring.incoming(200, Self.peers(3))
        bench.settle()
        #expect(bench.ring.accepted.count == 5)
    }

    @Test("What is removed is emptied first, then reported once, and watched no more")
    func removed() throws {
        let bench = try Bench()
        bench.ring.incoming(Bench.listener, Self.peers(150), isAnnounced: false)
        bench.worker.handle(.listen(Array(Self.usual.dropFirst()), keeping: []))
        bench.settle()

        #expect(Self.left(bench) == [Bench.listener])
        #expect(bench.ring.waiting(Bench.listener) == 0)
        bench.ring.incoming(Bench.tlsListener, Self.peers(1))
        bench.settle()
        #expect(Self.left(bench).count == 1)
    }

    @Test("What is kept though no listener has it goes on as it was")
    func kept() throws {
        let bench = try Bench()
        bench.worker.handle(
            .listen(Array(Self.usual.dropFirst()), keeping: [Bench.listener]))
        bench.ring.incoming(Bench.listener, Self.peers(2))
        bench.settle()
        #expect(bench.ring.accepted.count == 2)
        #expect(Self.left(bench).isEmpty)
    }

    @Test("A place that was left is taken by the next socket, whose polls are its own")
    func reused() throws {
        let bench = try Bench()
        for round in 0..<10 {
            let descriptor = Int32(300 + round)
            bench.worker.handle(
                .listen(
                    Self.usual + [.init(listener: 0, descriptor: descriptor)], keeping: []))
            bench.ring.incoming(descriptor, Self.peers(1))
            bench.settle()
            bench.worker.handle(.listen(Self.usual, keeping: []))
            bench.settle()
        }
        #expect(Self.left(bench) == (300..<310).map { Int32($0) })
        #expect(bench.worker.sockets.count == 5)
        #expect(bench.count(Counter.connectionsAccepted) == 10)
    }

    @Test("Stopping while a listener is left reports both, once")
    func stopped() throws {
        let bench = try Bench()
        bench.worker.handle(.listen(Array(Self.usual.dropFirst(2)), keeping: []))
        bench.worker.handle(.stopAccepting)
        bench.settle()
        #expect(Self.left(bench).sorted() == [Bench.listener, Bench.tlsListener])
        let drained = bench.events.list.count {
            if case .drained = $0 { true } else { false }
        }
        #expect(drained == 1)
    }

    @Test("A worker that does not serve yet takes changes and serves what is left")
    func early() throws {
        let bench = try Bench(serving: false)
        bench.worker.handle(.listen([Self.usual[1]], keeping: []))
        bench.ring.incoming(Bench.tlsListener, Self.peers(1))
        bench.worker.handle(.serve)
        bench.settle()
        #expect(bench.ring.accepted.count == 1)
        #expect(Self.left(bench).count == 3)
    }
}
