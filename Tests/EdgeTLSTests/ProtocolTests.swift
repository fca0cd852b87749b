import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: which protocol is spoken") struct ProtocolTests {
    static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]
    private static let name = "www.home.example"

    // MARK: - With clients

    /// A handshake of a client that offers these protocols.
    private static func handshake(
        _ engine: TLSEngine, _ offered: [String], _ version: Int32,
        resuming: OpaquePointer? = nil
    ) throws -> (client: PlainClient, server: OurEnd) {
        let client = try PlainClient(
            name, alpn: offered, versions: version...version, resuming: resuming)
        let server = OurEnd(engine, try #require(engine.makeServerSession()))
        connect(client, server)
        _ = TLSFailure.takeErrorText()
        return (client, server)
    }

    @Test("HTTP/2 goes before HTTP/1.1, whatever the client's order", arguments: versions)
    func preference(version: Int32) throws {
        let engine = try Shared.server()
        for (offered, chosen) in [
            (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["h2"], "h2"),
            (["spdy/3", "http/1.1", "h2c", "h2"], "h2"), (["http/1.1"], "http/1.1"),
            (["h3", "http/1.1", "http/1.0"], "http/1.1"),
        ] {
            let (client, server) = try Self.handshake(engine, offered, version)

            #expect(client.isOpen && server.isOpen, "\(offered)")
            #expect(client.alpn == chosen, "\(offered)")
            #expect(server.isHTTP2 == (chosen == "h2"), "\(offered)")
        }
    }

    @Test("A client without ALPN is told nothing and speaks HTTP/1.1", arguments: versions)
    func absence(version: Int32) throws {
        let (client, server) = try Self.handshake(try Shared.server(), [], version)

        #expect(client.isOpen && server.isOpen)
        #expect(client.alpn == "")
        #expect(!server.isHTTP2)
    }

    @Test("A client that offers only others gets no_application_protocol", arguments: versions)
    func noOverlap(version: Int32) throws {
        let engine = try Shared.server()
        for offered in [
            ["http/1.0"], ["h2c"], ["H2"], ["h"], ["h22"], ["HTTP/1.1"], ["http/1"],
            ["spdy/3", "h3"],
        ] {
            let (client, server) = try Self.handshake(engine, offered, version)

            #expect(client.failure?.contains("no application protocol") == true, "\(offered)")
            #expect(server.step == .failed, "\(offered)")
            #expect(!server.isHTTP2)
        }
    }

    @Test("Without HTTP/2 in the policy it is as if nobody had offered it", arguments: versions)
    func policy(version: Int32) throws {
        let engine = try Shared.server()
        let before = try Self.handshake(engine, ["h2", "http/1.1"], version)

        try engine.use(TLSPolicy(offersHTTP2: false))
        let without = try Self.handshake(engine, ["h2", "http/1.1"], version)
        let refused = try Self.handshake(engine, ["h2"], version)
        try engine.use(TLSPolicy(offersHTTP2: true))
        let after = try Self.handshake(engine, ["h2", "http/1.1"], version)

        #expect(before.server.isHTTP2 && after.server.isHTTP2)
        #expect(without.client.alpn == "http/1.1" && !without.server.isHTTP2)
        #expect(refused.client.failure?.contains("no application protocol") == true)
    }

    @Test("A resumed session has the protocol that its client offers now", arguments: versions)
    func resumedByClient(version: Int32) throws {
        let engine = try Shared.server()
        let (first, server) = try Self.handshake(engine, ["h2", "http/1.1"], version)
        #expect(server.write([1]) == .done)
        first.feed(server.take())
        let ticket = try #require(first.session)
        defer { SSL_SESSION_free(ticket) }

        for (offered, isHTTP2) in [(["http/1.1"], false), (["h2"], true), ([], false)] {
            let (client, server) = try Self.handshake(engine, offered, version, resuming: ticket)

            #expect(client.isOpen && client.isResumed, "\(offered)")
            #expect(server.isHTTP2 == isHTTP2, "\(offered)")
        }
    }

    // MARK: - With upstreams

    private static func handshake(
        _ client: TLSEngine, _ server: TLSEngine, _ offer: ALPNOffer,
        resuming: ResumableSession? = nil
    ) throws -> (client: OurEnd, server: OurEnd) {
        let session = try name.withCString {
            try client.makeClientSession(
                .unverified, name: $0, resuming: resuming, protocols: offer)
        }
        let ends = (
            client: OurEnd(client, try #require(session)),
            server: OurEnd(server, try #require(server.makeServerSession()))
        )
        connect(ends.client, ends.server)
        _ = TLSFailure.takeErrorText()
        return ends
    }

    private static func server(_ version: Int32) throws -> TLSEngine {
        let engine = try Shared.server()
        _ = ce_ssl_ctx_set_versions(engine.server, version, version)
        return engine
    }

    @Test("What an upstream is offered is what it may choose", arguments: versions)
    func offers(version: Int32) throws {
        let client = try TLSEngine()
        for (server, results) in [
            (TLSPolicy(), [(ALPNOffer.http1, false), (.http2, true), (.both, true)]),
            (TLSPolicy(offersHTTP2: false), [(.http1, false), (.http2, nil), (.both, false)]),
        ] as [(TLSPolicy, [(ALPNOffer, Bool?)])] {
            let engine = try Shared.server()
            try engine.use(server)
            _ = ce_ssl_ctx_set_versions(engine.server, version, version)
            for (offer, isHTTP2) in results {
                let ends = try Self.handshake(client, engine, offer)

                #expect(ends.client.isOpen == (isHTTP2 != nil), "\(offer)")
                #expect(ends.client.isHTTP2 == (isHTTP2 ?? false), "\(offer)")
                #expect(ends.server.isHTTP2 == (isHTTP2 ?? false), "\(offer)")
            }
        }
        #expect(client.clients.count == 1)
    }

    @Test("Unless it is asked for, HTTP/1.1 is offered alone")
    func usual() throws {
        let client = try TLSEngine()
        let server = try Shared.server()
        let session = try #require(try client.makeClientSession(.unverified, name: nil))
        let ours = OurEnd(client, session)
        ours.feed([])
        let hello = ours.take()

        #expect(hello.firstRange(of: [0, 16, 0, 11, 0, 9, 8] + Array("http/1.1".utf8)) != nil)
        #expect(hello.firstRange(of: Array("\u{2}h2".utf8)) == nil)
        #expect(try !Self.handshake(client, server, .http1).client.isHTTP2)
    }

    @Test("An upstream that ignores ALPN speaks HTTP/1.1, whatever it was offered")
    func ignored() throws {
        let client = try TLSEngine()
        let server = try Shared.server()
        SSL_CTX_set_alpn_select_cb(
            server.server, { _, _, _, _, _, _ in SSL_TLSEXT_ERR_NOACK }, nil)

        for offer in ALPNOffer.allCases {
            let ends = try Self.handshake(client, server, offer)

            #expect(ends.client.isOpen)
            #expect(!ends.client.isHTTP2)
        }
    }

    @Test("An upstream that chooses what it was not offered is refused", arguments: versions)
    func invented(version: Int32) throws {
        let client = try TLSEngine()
        let server = try Self.server(version)
        SSL_CTX_set_alpn_select_cb(
            server.server,
            { _, selected, count, _, _, _ in
                let name: StaticString = "h2"
                selected?.pointee = name.utf8Start
                count?.pointee = 2
                return SSL_TLSEXT_ERR_OK
            }, nil)

        let ends = try Self.handshake(client, server, .http1)

        #expect(ends.client.step == .failed)
        #expect(try Self.handshake(client, server, .both).client.isHTTP2)
    }

    @Test(
        "A session is offered again only where its protocol may be chosen", arguments: versions,
        ALPNOffer.allCases)
    func resumption(version: Int32, made: ALPNOffer) throws {
        for offer in ALPNOffer.allCases {
            let client = try TLSEngine()
            let server = try Self.server(version)
            let first = try Self.handshake(client, server, made)
            #expect(first.server.write([1]) == .done)
            first.client.feed(first.server.take())
            let session = try #require(client.takeFreshSession())
            defer { session.free() }

            let second = try Self.handshake(client, server, offer, resuming: session)

            let wasHTTP2 = made != .http1
            #expect(second.client.isOpen, "\(offer)")
            #expect(
                second.server.isResumed == (offer == .both || (offer == .http2) == wasHTTP2),
                "\(offer)")
            #expect(second.client.isHTTP2 == (offer != .http1), "\(offer)")
        }
    }
}
