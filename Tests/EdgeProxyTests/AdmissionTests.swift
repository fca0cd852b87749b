import EdgeCore
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: who waits when there is too much to do") struct AdmissionTests {
    private typealias Peer = TLSWorkerTests.Peer

    private static let authority = Result { try CertificateMint() }

    private static func bench() throws -> Bench {
        let folder = try TemporaryDirectory()
        try authority.get().leaf("home.example").writeBundle("home", in: folder.path)
        let certificates = try CertificateFolder.load(folder.path)
        return try RankedViews.bench {
            $0.certificates = certificates
            $0.connectionsMax = 64
        }
    }

    private static func peer(_ bench: Bench, _ place: RankedViews.Place) throws -> Peer {
        bench.comeFrom(place)
        return try Peer(bench)
    }

    private static func overload(_ bench: Bench, _ span: Duration = .milliseconds(650)) {
        let end = bench.now.advanced(by: span)
        while bench.now < end { bench.quietTurn(after: .milliseconds(6), lag: .milliseconds(6)) }
    }

    @Test("Of many hellos of the public one is answered per turn, those of lan at once")
    func turns() throws {
        let bench = try Self.bench()
        let open = try (0..<10).map { _ in try Self.peer(bench, .open) }
        let lan = try (0..<6).map { _ in try Self.peer(bench, .lan) }
        for peer in open + lan { peer.hello() }

        var answered: [Int] = []
        for _ in 0..<11 {
            bench.quietTurn(after: .milliseconds(1))
            answered.append(open.count { !bench.ring.sent(to: $0.descriptor).isEmpty })
            #expect(lan.allSatisfy { !bench.ring.sent(to: $0.descriptor).isEmpty })
        }

        #expect(answered.last == 10)
        let steps = zip(answered, answered.dropFirst()).map { $1 - $0 }
        #expect(answered[0] == 1 && steps.allSatisfy { $0 <= 1 }, "\(answered)")
        #expect(bench.count(Counter.handshakesDeferred) == 9)
        for peer in lan { peer.exchange() }
        #expect(lan.allSatisfy { $0.isOpen })
        // How they end is a request's work, and waits for nobody's quiet.
        for peer in open { peer.hello() }
        bench.quietTurn(after: .milliseconds(1))
        #expect(bench.count(Counter.handshakesCompleted) == 16)
        for peer in open { peer.exchange() }
        #expect(open.allSatisfy { $0.isOpen })
    }

    @Test("When no view is of low priority any more, whoever waited is answered, and nobody spins")
    func reload() throws {
        let bench = try Self.bench()
        let open = try (0..<5).map { _ in try Self.peer(bench, .open) }
        for peer in open { peer.hello() }
        bench.quietTurn(after: .milliseconds(1))
        #expect(open.count { !bench.ring.sent(to: $0.descriptor).isEmpty } == 1)

        bench.worker.shedsLoad = false
        bench.quietTurn(after: .milliseconds(1))
        bench.quietTurn(after: .milliseconds(1))

        #expect(open.allSatisfy { !bench.ring.sent(to: $0.descriptor).isEmpty })
    }

    @Test("Without a view of low priority nobody waits")
    func equal() throws {
        let folder = try TemporaryDirectory()
        try Self.authority.get().leaf("home.example").writeBundle("home", in: folder.path)
        var options = Bench.Options()
        options.certificates = try CertificateFolder.load(folder.path)
        let bench = try Bench(options)
        let peers = try (0..<10).map { _ in try Peer(bench) }
        for peer in peers { peer.hello() }

        bench.quietTurn(after: .milliseconds(1))

        #expect(peers.allSatisfy { !bench.ring.sent(to: $0.descriptor).isEmpty })
        Self.overload(bench)
        #expect(bench.client() >= 0)
        #expect(bench.count(ReasonCode.overloaded) == 0)
    }

    @Test("Turns that stay long refuse newcomers of the public; lan and the established go on")
    func overload() throws {
        let bench = try Self.bench()
        let known = bench.idleClient(from: .open)

        Self.overload(bench)

        #expect(bench.block.overloadedSince > 0)
        #expect(bench.ring.wasReset(bench.client(from: .open)))
        #expect(bench.count(ReasonCode.overloaded) == 1)
        #expect(bench.isServed(bench.client(from: .lan)))
        #expect(bench.isServed(known))
        bench.tick(.seconds(2))
        #expect(bench.block.overloadedSince == 0)
        #expect(bench.isServed(bench.client(from: .open)))
    }

    @Test("A hello that waits for too long is not answered while newcomers are refused")
    func late() throws {
        let bench = try Self.bench()
        let open = try (0..<30).map { _ in try Self.peer(bench, .open) }
        for peer in open { peer.hello() }
        bench.quietTurn(after: .milliseconds(1))
        // The worker stands still for a while; then it finds them.
        Self.overloadWithoutService(bench)

        bench.settle()

        let cut = open.count { bench.ring.wasReset($0.descriptor) }
        #expect(cut > 0)
        #expect(bench.count(ReasonCode.overloaded) == UInt64(cut))
        #expect(bench.count(Counter.connectionsRefused) == UInt64(cut))
        let answered = open.count { !bench.ring.sent(to: $0.descriptor).isEmpty }
        #expect(cut + answered == 30)
    }

    /// Two turns, between which too much time passes.
    private static func overloadWithoutService(_ bench: Bench) {
        bench.quietTurn(after: .milliseconds(150), lag: .milliseconds(150))
        bench.quietTurn(after: .milliseconds(600), lag: .milliseconds(600))
    }

    @Test(
        "The beginning of a hello buys no turn: whoever sends the rest waits for it",
        arguments: [1, 64])
    func pieces(_ first: Int) throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        let open = try (0..<10).map { _ in try Self.peer(bench, .open) }
        let rests = open.map { peer in
            let hello = peer.takeHello()
            bench.ring.receives(peer.descriptor, Array(hello.prefix(first)))
            return Array(hello.dropFirst(first))
        }
        bench.settle()
        for (peer, rest) in zip(open, rests) { bench.ring.receives(peer.descriptor, rest) }
        bench.ring.receives(lan, "GET / HTTP/1.1\r\n")

        bench.quietTurn(after: .microseconds(100))
        bench.quietTurn(after: .microseconds(100))
        // One, for there has been none for long; the next keeps clear of what the LAN may say.
        #expect(open.count { !bench.ring.sent(to: $0.descriptor).isEmpty } == 1)
        bench.quietTurn(after: .milliseconds(1))
        #expect(open.count { !bench.ring.sent(to: $0.descriptor).isEmpty } == 2)
        bench.settle()
        for peer in open { peer.exchange() }
        #expect(open.allSatisfy { $0.isOpen })
    }

    @Test("A hello that is asked for again waits for another turn")
    func retried() throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        bench.comeFrom(.open)
        let open = try (0..<10).map { _ in try Peer(bench, groups: "P-521:P-256") }
        for peer in open { peer.begin() }
        let asked = open.map { bench.ring.sent(to: $0.descriptor).count }
        #expect(asked.allSatisfy { $0 > 0 && $0 < 200 }, "\(asked)")
        for peer in open { peer.hello() }
        bench.ring.receives(lan, "GET / HTTP/1.1\r\n")

        for _ in 0..<3 { bench.quietTurn(after: .microseconds(100)) }
        #expect(
            zip(open, asked).count { bench.ring.sent(to: $0.descriptor).count > $1 } <= 1)
        bench.settle()
        for peer in open { peer.exchange() }
        #expect(open.allSatisfy { $0.isOpen })
    }

    @Test("A worker that leaves gives each hello one turn, and begins no more of them at a time")
    func leavingHellos() throws {
        let bench = try Self.bench()
        let lan = bench.client(from: .lan)
        let open = try (0..<6).map { _ in try Self.peer(bench, .open) }
        for peer in open { peer.hello() }
        bench.quietTurn(after: .milliseconds(1))
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        var answered: [Int] = []
        for _ in 0..<100 {
            bench.ring.receives(lan, "x")
            bench.quietTurn(after: .microseconds(100))
            answered.append(open.count { !bench.ring.sent(to: $0.descriptor).isEmpty })
        }

        // Ten milliseconds: one every four, however much the LAN says.
        #expect(answered.last.map { (3...4).contains($0) } ?? false, "\(answered)")
        bench.settle()
        let deferred = bench.count(Counter.handshakesDeferred)
        for peer in open { peer.exchange() }
        #expect(open.allSatisfy { $0.isOpen })
        #expect(bench.count(Counter.handshakesDeferred) == deferred)
    }

    @Test("A worker that accepts nobody any more is not overloaded by those that wait")
    func draining() throws {
        let bench = try Self.bench()
        let client = bench.idleClient(from: .open)
        bench.worker.handle(.drain(until: bench.now.advanced(by: .seconds(30))))
        _ = bench.worker.giveUpDescriptor()

        for _ in 0..<40 { bench.quietTurn(after: .milliseconds(50)) }

        #expect(!bench.worker.admission.isShedding)
        #expect(bench.block.overloadedSince == 0)
        _ = client
    }

    @Test("Who leaves while its hello waits costs no handshake")
    func leaves() throws {
        let bench = try Self.bench()
        let open = try (0..<5).map { _ in try Self.peer(bench, .open) }
        for peer in open { peer.hello() }
        for peer in open.suffix(4) { bench.ring.ends(peer.descriptor) }
        bench.settle()

        for peer in open.suffix(4) {
            #expect(bench.ring.isClosed(peer.descriptor))
            #expect(bench.ring.sent(to: peer.descriptor).isEmpty)
        }
        for peer in open.prefix(1) { peer.exchange() }
        #expect(bench.count(Counter.handshakesCompleted) == 1)
    }

    @Test("A hello that waits until its time is over was not late itself")
    func waitsInVain() throws {
        let bench = try Self.bench()
        let peer = try Self.peer(bench, .open)
        let slot = try #require(bench.slot(of: peer.descriptor))
        bench.worker.channels[slot].pointee.flags.insert(.deferred)

        bench.pass(.seconds(6))

        #expect(bench.ring.wasReset(peer.descriptor))
        #expect(bench.count(ReasonCode.overloaded) == 1)
        #expect(bench.count(ReasonCode.clientHelloTimeout) == 0)
    }

    @Test("A standing queue at the listener is a delay, even where turns are short")
    func standing() throws {
        let bench = try Self.bench()
        bench.comeFrom(.open)
        for _ in 0..<60 {
            bench.ring.incoming(
                Bench.listener,
                (0..<250).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0), port: 50_000) })
            bench.quietTurn(after: .milliseconds(10))
        }

        #expect(bench.block.overloadedSince > 0)
        #expect(bench.count(ReasonCode.overloaded) > 0)
    }
}
