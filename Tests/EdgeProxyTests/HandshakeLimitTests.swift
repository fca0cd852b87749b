import EdgeCore
import EdgeSystem
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeLimits
@testable import EdgeProxy
@testable import EdgeTLS

@Suite("Limits on handshakes") struct HandshakeLimitTests {
    private typealias Peer = TLSWorkerTests.Peer
    private static let authority = Result { try CertificateMint() }

    private static func guarded(
        _ policies: [LimitPolicy], site: [LimitPolicy] = [], log: AccessLog? = nil
    ) throws -> GuardedBench {
        let folder = try TemporaryDirectory()
        try authority.get().leaf("home.example").writeBundle("home", in: folder.path)
        let guarded = try GuardedBench(
            policies, site: site, certificates: try CertificateFolder.load(folder.path), log: log)
        guarded.bench.tickets.publish([
            TicketKey(
                random: [UInt8](repeating: 3, count: TicketKey.randomBytes),
                madeAt: guarded.bench.now, createdSeconds: 0)
        ])
        return guarded
    }

    private static func rate(
        _ thing: LimitedThing, _ count: UInt64, isShadow: Bool = false
    ) throws -> LimitPolicy {
        try GuardedBench.policy {
            $0.rates[thing] = try RateLimit(count, per: .seconds(100))
            $0.isShadow = isShadow
        }
    }

    /// A peer that is to be resumed again has to be closed: OpenSSL takes anything else for a
    /// failure of its session.
    ///
    /// - Returns: nil if it was refused by a reset, without a byte.
    private func handshake(
        _ guarded: GuardedBench, _ number: Int = 0, resuming: Peer? = nil, isTLS12: Bool = false
    ) throws -> Peer? {
        let bench = guarded.bench
        let peer = try Peer(
            bench, from: GuardedBench.clients[number], resuming: resuming, isTLS12: isTLS12)
        peer.exchange()
        guard !peer.isOpen else { return peer }
        #expect(bench.ring.wasReset(peer.descriptor))
        #expect(bench.ring.sent(to: peer.descriptor).isEmpty)
        return nil
    }

    /// A client that has been served and has a ticket.
    private func served(_ guarded: GuardedBench, isTLS12: Bool = false) throws -> Peer {
        let peer = try #require(try handshake(guarded, 7, isTLS12: isTLS12))
        peer.send(guarded.bench.get())
        guarded.bench.send(guarded.bench.upstream, Bench.ok)
        #expect(peer.take().hasSuffix("ok") && peer.hasTicket)
        return peer
    }

    @Test(
        "A refused handshake is reset before a certificate is looked for, so nothing is signed",
        arguments: [LimitedThing.handshakes, .fullHandshakes], [false, true])
    func refused(thing: LimitedThing, isTLS12: Bool) throws {
        let guarded = try Self.guarded([
            try GuardedBench.policy {
                $0.rates[thing] = try RateLimit(1, per: .seconds(100))
                $0.key = .everybody
            }
        ])
        // What the limit lets pass goes to somebody whose name nobody has.
        let memory = guarded.memory
        let plans = guarded.bench.worker.snapshot.limits
        var journal = AdmittedJournal(capacity: 0)
        let used = plans.charge(
            0, thing, plans.caller(GuardedBench.clients[5]), now: guarded.bench.now,
            in: memory.rates, journal: &journal)
        #expect(used.isAdmitted)

        #expect(try handshake(guarded, isTLS12: isTLS12) == nil)

        // Its key has not even been read.
        #expect(guarded.bench.worker.engine.shelf.count == 0)
        #expect(guarded.bench.count(.handshakesRefused) == 1)
        #expect(guarded.bench.count(ReasonCode.rateLimited) == 1)
        #expect(guarded.bench.count(.handshakesFailed) == 0)
        guarded.bench.expectEmpty()
        guarded.bench.tick(.seconds(101))
        #expect(try handshake(guarded, isTLS12: isTLS12) != nil)
        #expect(guarded.bench.worker.engine.shelf.count == 1)
    }

    @Test("Handshakes are counted per client, and again when their time has come")
    func perClient() throws {
        let guarded = try Self.guarded([try Self.rate(.handshakes, 2)])

        let first = try (0..<3).map { _ in try handshake(guarded, 0) != nil }

        #expect(first == [true, true, false])
        #expect(try handshake(guarded, 1) != nil)
        guarded.bench.tick(.seconds(51))
        #expect(try handshake(guarded, 0) != nil)
        #expect(try handshake(guarded, 0) == nil)
    }

    @Test(
        "Full handshakes and resumed ones have limits of their own", arguments: [false, true])
    func kinds(isTLS12: Bool) throws {
        let full = try Self.guarded([try Self.rate(.fullHandshakes, 1)])
        let client = try served(full, isTLS12: isTLS12)
        for _ in 0..<3 {
            let again = try #require(
                try handshake(full, 7, resuming: client, isTLS12: isTLS12))
            #expect(again.isResumed)
            again.close()
        }
        #expect(try handshake(full, 7, isTLS12: isTLS12) == nil)

        let resumed = try Self.guarded([try Self.rate(.resumedHandshakes, 1)])
        let other = try served(resumed, isTLS12: isTLS12)
        let again = try #require(try handshake(resumed, 7, resuming: other, isTLS12: isTLS12))
        #expect(again.isResumed)
        again.close()
        #expect(try handshake(resumed, 7, resuming: other, isTLS12: isTLS12) == nil)
        #expect(try handshake(resumed, 7, isTLS12: isTLS12) != nil)
    }

    @Test("A client that has to send a second hello is counted once")
    func secondHello() throws {
        let guarded = try Self.guarded([try Self.rate(.fullHandshakes, 1)])
        // Its first key share is for a group that we do not have (RFC 8446 §4.1.4).
        let peer = try Peer(
            guarded.bench, from: GuardedBench.clients[0], groups: "P-521:X25519")
        let before = guarded.bench.ring.sendCalls(to: peer.descriptor)
        peer.exchange()

        #expect(peer.isOpen)
        #expect(guarded.bench.ring.sendCalls(to: peer.descriptor) - before == 2)
        #expect(try handshake(guarded) == nil)
    }

    @Test("In shadow mode all are answered, and what would have been refused is counted")
    func shadow() throws {
        let guarded = try Self.guarded([try Self.rate(.fullHandshakes, 1, isShadow: true)])

        for _ in 0..<3 { #expect(try handshake(guarded) != nil) }

        #expect(guarded.bench.count(.handshakesOverShadowLimit) == 2)
        #expect(guarded.bench.count(.handshakesRefused) == 0)
    }

    @Test("A site limits the handshakes and connections that ask for it, besides the view")
    func site() throws {
        let guarded = try Self.guarded(
            [try Self.rate(.handshakes, 3)],
            site: [
                try GuardedBench.policy("own") {
                    $0.rates[.fullHandshakes] = try RateLimit(2, per: .seconds(100))
                    $0.counts[.connections] = 1
                }
            ])

        let first = try #require(try handshake(guarded))
        // The second at a time; it has been charged to no rate of the site's.
        #expect(try handshake(guarded) == nil)
        first.close()
        guarded.leave(first.descriptor)
        #expect(guarded.memory.counts.total == 0)
        let second = try #require(try handshake(guarded))
        second.close()
        guarded.leave(second.descriptor)
        #expect(try handshake(guarded) == nil)
        #expect(try handshake(guarded, 1) != nil)
        #expect(guarded.bench.count(.handshakesRefused) == 2)
    }

    @Test("The log says who was refused, for which name, and by which policy")
    func logged() throws {
        let book = try LogBook()
        let guarded = try Self.guarded([try Self.rate(.fullHandshakes, 1)], log: book.log)
        #expect(try handshake(guarded) != nil)
        #expect(try handshake(guarded) == nil)

        let line = try #require(try book.lines(of: guarded.bench).last)

        #expect(line["kind"] as? String == "handshake")
        #expect(line["sni"] as? String == "home.example")
        #expect(line["reason"] as? String == "rate_limited")
        #expect(line["policy"] as? String == "public")
    }

    @Test("A reload that takes the limits away answers everybody again")
    func reload() throws {
        let guarded = try Self.guarded([try Self.rate(.handshakes, 1)])
        #expect(try handshake(guarded) != nil)
        #expect(try handshake(guarded) == nil)

        guarded.apply(2, [])

        #expect(try handshake(guarded) != nil)
    }
}
