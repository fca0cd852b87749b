import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: session tickets") struct TicketTests {
    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    private struct Outcome: Equatable {
        let isOpen: Bool
        let isResumed: Bool
    }

    /// A handshake that offers `ticket`, and the session it leaves behind, which the caller frees.
    private static func handshake(
        _ engine: TLSEngine, _ version: Int32, name: String? = "www.home.example",
        offering ticket: OpaquePointer? = nil, context: SessionContext? = nil
    ) throws -> (outcome: Outcome, session: OpaquePointer?, client: PlainClient) {
        let client = try PlainClient(name, versions: version...version, resuming: ticket)
        let server = OurEnd(engine, try #require(engine.makeServerSession(context)))
        connect(client, server)
        _ = TLSFailure.takeErrorText()
        let isOpen = client.isOpen && server.isOpen
        if isOpen { #expect(client.isResumed == server.session.isResumed) }
        return (Outcome(isOpen: isOpen, isResumed: client.isResumed), client.session, client)
    }

    private static func ticket(
        _ engine: TLSEngine, _ version: Int32, name: String? = "www.home.example",
        context: SessionContext? = nil
    ) throws -> OpaquePointer {
        let (outcome, session, _) = try handshake(engine, version, name: name, context: context)
        #expect(outcome == Outcome(isOpen: true, isResumed: false))
        return try #require(session)
    }

    @Test("A ticket is good on every engine with the key, and on no other", arguments: versions)
    func engines(version: Int32) throws {
        let ticket = try Self.ticket(try Shared.server(), version)
        defer { SSL_SESSION_free(ticket) }

        for (keys, isResumed) in [([Shared.key(9)], true), ([Shared.key(8)], false), ([], false)] {
            let (outcome, session, _) = try Self.handshake(
                try Shared.server(keys: keys), version, offering: ticket)
            defer { SSL_SESSION_free(session) }
            #expect(outcome == Outcome(isOpen: true, isResumed: isResumed))
        }
    }

    @Test("An older key opens, and the client gets a ticket of the newest", arguments: versions)
    func renewal(version: Int32) throws {
        let engine = try Shared.server(keys: [Shared.key(1)])
        let first = try Self.ticket(engine, version)
        defer { SSL_SESSION_free(first) }

        engine.useTickets([Shared.key(2), Shared.key(1)])
        let (outcome, second, _) = try Self.handshake(engine, version, offering: first)
        defer { SSL_SESSION_free(second) }
        #expect(outcome.isResumed)

        engine.useTickets([Shared.key(2)])
        for (ticket, isResumed) in [(first, false), (try #require(second), true)] {
            let (outcome, session, _) = try Self.handshake(engine, version, offering: ticket)
            defer { SSL_SESSION_free(session) }
            #expect(outcome == Outcome(isOpen: true, isResumed: isResumed))
        }
    }

    @Test("After four rotations a ticket leads to a full handshake", arguments: versions)
    func rotations(version: Int32) throws {
        let engine = try Shared.server(keys: [])
        var ring = TicketKeyRing(lifetime: .seconds(12 * 3600))
        func rotate(_ byte: UInt8) {
            ring.rotate(to: Shared.key(byte, madeAt: ring.due.nanoseconds), now: ring.due)
            engine.useTickets(ring.keys)
        }
        rotate(1)
        let ticket = try Self.ticket(engine, version)
        defer { SSL_SESSION_free(ticket) }

        for rotation in 1...5 {
            rotate(UInt8(1 + rotation))
            let (outcome, session, _) = try Self.handshake(engine, version, offering: ticket)
            defer { SSL_SESSION_free(session) }
            #expect(outcome == Outcome(isOpen: true, isResumed: rotation < 4), "\(rotation)")
        }
    }

    @Test("TLS 1.3 clients get a new ticket with each resumption, TLS 1.2 clients keep theirs")
    func singleUse() throws {
        let engine = try Shared.server()
        for version in Self.versions {
            let first = try Self.ticket(engine, version)
            defer { SSL_SESSION_free(first) }
            let (outcome, second, _) = try Self.handshake(engine, version, offering: first)
            defer { SSL_SESSION_free(second) }
            #expect(outcome.isResumed)
            #expect(!Self.bytes(first).isEmpty)
            #expect((Self.bytes(first) == Self.bytes(second)) == (version == TLS1_2_VERSION))
        }
    }

    @Test(
        "A session is resumed for its own name only, in any letter case", arguments: versions)
    func names(version: Int32) throws {
        let engine = try Shared.server(fallback: "www.home.example")
        for (made, asked, isResumed) in [
            ("www.home.example", "WWW.Home.Example", true),
            ("WWW.home.example", "www.home.example", true),
            ("www.home.example", "a.home.example", false),
            ("www.home.example", "www.home.exampl", false),
            ("www.home.exampl", "www.home.example", false),
            ("www.home.example", nil, false), (nil, "www.home.example", false), (nil, nil, true),
        ] as [(String?, String?, Bool)] {
            let ticket = try Self.ticket(engine, version, name: made)
            defer { SSL_SESSION_free(ticket) }
            let (outcome, session, _) = try Self.handshake(
                engine, version, name: asked, offering: ticket)
            defer { SSL_SESSION_free(session) }
            #expect(
                outcome == Outcome(isOpen: true, isResumed: isResumed),
                "\(made ?? "none") \(asked ?? "none")")
        }
    }

    @Test("A session is resumed in its own view and certificate policy only", arguments: versions)
    func contexts(version: Int32) throws {
        let engine = try Shared.server()
        let contexts: [SessionContext?] = [
            nil, try SessionContext(view: "lan", clientCertificates: nil),
            try SessionContext(view: "public", clientCertificates: nil),
            try SessionContext(view: "lan", clientCertificates: "required"),
            try SessionContext(view: "lanask ", clientCertificates: "required"),
        ]
        for (index, made) in contexts.enumerated() {
            let ticket = try Self.ticket(engine, version, context: made)
            defer { SSL_SESSION_free(ticket) }
            for (other, asked) in contexts.enumerated() {
                let (outcome, session, _) = try Self.handshake(
                    engine, version, offering: ticket, context: asked)
                defer { SSL_SESSION_free(session) }
                #expect(outcome == Outcome(isOpen: true, isResumed: index == other))
            }
        }
    }

    @Test("The context without a name is the one that sessions have by default")
    func commonContext() throws {
        let common = try SessionContext(view: "", clientCertificates: nil)
        let engine = try Shared.server()
        let ticket = try Self.ticket(engine, TLS1_3_VERSION)
        defer { SSL_SESSION_free(ticket) }

        let (outcome, session, _) = try Self.handshake(
            engine, TLS1_3_VERSION, offering: ticket, context: common)
        SSL_SESSION_free(session)

        #expect(outcome.isResumed)
    }

    @Test("A garbled ticket leads to a full handshake, never to an error", arguments: versions)
    func garbled(version: Int32) throws {
        let engine = try Shared.server()
        let ticket = try Self.ticket(engine, version)
        defer { SSL_SESSION_free(ticket) }
        let count = Self.bytes(ticket).count
        try #require(count > 80)
        // Every part of it: key name, vector, content, MAC; one bit each.
        for place in stride(from: 0, to: count, by: 3) {
            let forged = try #require(Self.altered(ticket, at: place))
            defer { SSL_SESSION_free(forged) }
            let (outcome, session, _) = try Self.handshake(engine, version, offering: forged)
            defer { SSL_SESSION_free(session) }
            #expect(outcome == Outcome(isOpen: true, isResumed: false))
        }
    }

    private static func bytes(_ session: OpaquePointer?) -> [UInt8] {
        var start: UnsafePointer<UInt8>?
        var count = 0
        SSL_SESSION_get0_ticket(session, &start, &count)
        return Array(UnsafeBufferPointer(start: start, count: count))
    }

    /// The same session with one bit of its ticket changed.
    private static func altered(_ session: OpaquePointer, at place: Int) -> OpaquePointer? {
        let ticket = bytes(session)
        var der = [UInt8](repeating: 0, count: Int(i2d_SSL_SESSION(session, nil)))
        der.withUnsafeMutableBufferPointer {
            var start = $0.baseAddress
            _ = i2d_SSL_SESSION(session, &start)
        }
        let found = (0...der.count - ticket.count).first {
            der[$0..<$0 + ticket.count].elementsEqual(ticket)
        }
        guard let found else { return nil }
        der[found + place] ^= 1
        return der.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_SSL_SESSION(nil, &start, $0.count)
        }
    }

    @Test("Rubbish in place of a ticket leads to a full handshake", arguments: [1, 15, 16, 300])
    func rubbish(count: Int) throws {
        let engine = try Shared.server()
        try seeded(6) { random in
            for _ in 0..<5 {
                let client = try PlainClient(
                    "www.home.example", versions: TLS1_2_VERSION...TLS1_2_VERSION)
                client.offer(ticket: random.bytes(count))
                let server = OurEnd(engine, try #require(engine.makeServerSession()))
                connect(client, server)

                #expect(client.isOpen && server.isOpen)
                #expect(!server.session.isResumed)
                _ = TLSFailure.takeErrorText()
            }
        }
    }

    @Test("The lifetime that clients are told is the configured one")
    func lifetime() throws {
        let engine = try Shared.server()
        for version in Self.versions {
            for seconds in [3, 43_200, 604_800] {
                try engine.use(TLSPolicy(ticketLifetime: .seconds(seconds)))
                let (_, session, client) = try Self.handshake(engine, version)
                defer { SSL_SESSION_free(session) }
                #expect(client.ticketLifetime == UInt(seconds))
            }
        }
    }
}
