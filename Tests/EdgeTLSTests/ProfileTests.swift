import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: profiles of views") struct ProfileTests {
    private static func leaf(_ name: String) throws -> MintedCertificate {
        try Shared.mint.get().leaf(name)
    }

    private static func context(_ view: String) throws -> SessionContext {
        try SessionContext(view: view, clientCertificates: nil)
    }

    /// An engine with these profiles beside the common certificates.
    private static func engine(_ profiles: [ServerProfile?]) throws -> TLSEngine {
        let engine = try Shared.server()
        engine.use(profiles)
        return engine
    }

    private static func handshake(
        _ engine: TLSEngine, _ profile: Int, _ knowledge: NameKnowledge = .known,
        name: String? = "www.home.example",
        versions: ClosedRange<Int32> = TLS1_2_VERSION...TLS1_3_VERSION,
        resuming: OpaquePointer? = nil
    ) throws -> (client: PlainClient, server: OurEnd) {
        let client = try PlainClient(name, versions: versions, resuming: resuming)
        let session = try #require(engine.makeServerSession(profile: profile, name: knowledge))
        let server = OurEnd(engine, session)
        connect(client, server)
        _ = TLSFailure.takeErrorText()
        return (client, server)
    }

    @Test("A view's own certificate comes before a better one of all views")
    func ownFirst() throws {
        let own = try Shared.store([try Self.leaf("*.home.example")])
        let engine = try Self.engine([
            ServerProfile(fallback: nil), ServerProfile(certificates: own, fallback: nil),
        ])

        #expect(try Self.handshake(engine, 0).client.certificate?.name == "www.home.example")
        #expect(try Self.handshake(engine, 1).client.certificate?.name == "*.home.example")
        let other = try Self.handshake(engine, 1, name: "fallback.example")
        #expect(other.client.certificate?.name == "fallback.example")
    }

    @Test("A view's own certificate that has expired does not come before a valid one of all views")
    func ownExpired() throws {
        let expired = try Shared.mint.get().leaf("*.home.example", validity: .expired)
        let lonely = try Shared.mint.get().leaf("lonely.example", validity: .expired)
        let own = try Shared.store([expired, lonely])
        let engine = try Self.engine([ServerProfile(certificates: own, fallback: nil)])

        #expect(try Self.handshake(engine, 0).client.certificate?.name == "www.home.example")
        let only = try Self.handshake(engine, 0, name: "lonely.example")
        #expect(only.client.certificate?.name == "lonely.example", "better than none")
    }

    @Test("A name that the view does not have gets the fallback, or the alert, whoever has it")
    func unknown() throws {
        let engine = try Self.engine([
            ServerProfile(fallback: "fallback.example"), ServerProfile(fallback: nil),
        ])

        let served = try Self.handshake(engine, 0, .unknown)
        #expect(served.client.certificate?.name == "fallback.example")
        #expect(try !Self.handshake(engine, 1, .unknown).client.isOpen)
        #expect(try !Self.handshake(engine, 0, .refused).client.isOpen)
        #expect(try !Self.handshake(engine, 0, .refused, name: nil).client.isOpen)
    }

    @Test("A profile that has gone has no certificates, also for handshakes under way")
    func gone() throws {
        let engine = try Self.engine([ServerProfile(fallback: "fallback.example")])
        let session = try #require(engine.makeServerSession(profile: 0, name: .known))
        engine.use([nil])

        let client = try PlainClient("www.home.example")
        connect(client, OurEnd(engine, session))
        _ = TLSFailure.takeErrorText()
        #expect(!client.isOpen)
        #expect(engine.makeServerSession(profile: 0, name: .known) == nil)
        #expect(engine.makeServerSession(profile: 7, name: .known) == nil)
        #expect(engine.makeServerSession(profile: -1, name: .refused) == nil)
    }

    @Test("A view may speak TLS 1.3 alone")
    func versions() throws {
        let engine = try Self.engine([
            ServerProfile(fallback: nil, requiresTLS13: true), ServerProfile(fallback: nil),
        ])
        let old = TLS1_2_VERSION...TLS1_2_VERSION

        #expect(try !Self.handshake(engine, 0, versions: old).client.isOpen)
        #expect(try Self.handshake(engine, 0).client.isOpen)
        #expect(try Self.handshake(engine, 1, versions: old).client.isOpen)
    }

    @Test(
        "A ticket of one view is not resumed in another",
        arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func tickets(version: Int32) throws {
        let engine = try Self.engine([
            ServerProfile(fallback: nil, context: try Self.context("lan")),
            ServerProfile(fallback: nil, context: try Self.context("public")),
        ])
        let first = try Self.handshake(engine, 0, versions: version...version)
        let ticket = try #require(first.client.session)
        defer { SSL_SESSION_free(ticket) }

        for (profile, isResumed) in [(0, true), (1, false)] {
            let again = try Self.handshake(
                engine, profile, versions: version...version, resuming: ticket)
            #expect(again.client.isOpen && again.client.isResumed == isResumed, "\(profile)")
        }
    }

    @Test("A client without a certificate is refused where one is required, and nowhere else")
    func clientCertificates() throws {
        let folder = try TemporaryDirectory()
        let mint = try Shared.mint.get()
        let trust = try ClientTrust.load(try folder.write("ca.pem", mint.rootPEM))
        let engine = try Self.engine(
            [true, false].map {
                ServerProfile(fallback: nil, clients: ClientAuthority(trust: trust, isRequired: $0))
            })

        // A client of TLS 1.3 is done before the server has looked at what it sent.
        #expect(try !Self.handshake(engine, 0).server.isOpen)
        let asked = try Self.handshake(engine, 1)
        #expect(asked.server.isOpen && asked.server.session.clientSubject == nil)
    }

    @Test("What else a certificate covers is known without asking its client")
    func covered() throws {
        let engine = try Self.engine([ServerProfile(fallback: "fallback.example")])

        let (_, server) = try Self.handshake(engine, 0, name: "any.home.example")
        for (host, isCovered) in [
            ("other.home.example", true), ("OTHER.home.example.", true),
            ("a.b.home.example", false),
            ("home.example", false), ("fallback.example", false), ("", false),
        ] {
            let bytes = Array(host.utf8)
            let covers = engine.covers(bytes.span, session: server.session)
            #expect(covers == isCovered, "\(host)")
        }
        let (_, nameless) = try Self.handshake(engine, 0, name: nil)
        let fallback = Array("fallback.example".utf8)
        let covers = engine.covers(fallback.span, session: nameless.session)
        let names = nameless.session.isNamed(fallback.span)
        #expect(covers && !names)
    }

    @Test("A host is the client's name in any letter case and with a trailing dot, and no other")
    func named() throws {
        let engine = try Self.engine([ServerProfile(fallback: nil)])
        let (_, server) = try Self.handshake(engine, 0, name: "www.home.example")

        for (host, isNamed) in [
            ("www.home.example", true), ("WWW.Home.Example", true), ("www.home.example.", true),
            ("www.home.exampl", false), ("www.home.examples", false), ("", false),
        ] {
            let bytes = Array(host.utf8)
            let names = server.session.isNamed(bytes.span)
            #expect(names == isNamed, "\(host)")
        }
    }
}
