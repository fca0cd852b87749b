import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: client sessions") struct ClientSessionTests {
    /// A handshake of our client with our server.
    private static func handshake(
        _ leaf: MintedCertificate, name: String?, trust: ClientTrust, fallback: String? = nil,
        piece: Int = .max
    ) throws -> (client: OurEnd, server: OurEnd) {
        let server = try Shared.server(
            try Shared.store([leaf]), fallback: fallback ?? "www.home.example")
        let engine = try TLSEngine()
        let session =
            try name.map {
                try $0.withCString { try engine.makeClientSession(trust, name: $0) }
            } ?? engine.makeClientSession(trust, name: nil)
        let client = OurEnd(engine, try #require(session))
        let other = OurEnd(server, try #require(server.makeServerSession()))
        connect(client, other, piece: piece)
        return (client, other)
    }

    private static func trust(_ pem: String) throws -> ClientTrust {
        let folder = try TemporaryDirectory()
        return try ClientTrust.load(try folder.write("ca.pem", pem))
    }

    @Test("Our two sides speak with each other, at any cut", arguments: [1, 3, .max])
    func both(piece: Int) throws {
        let mint = try Shared.mint.get()
        let (client, server) = try Self.handshake(
            try mint.leaf("www.home.example"), name: "www.home.example",
            trust: try Self.trust(mint.rootPEM), piece: piece)
        try #require(client.isOpen && server.isOpen)

        #expect(client.write(Array("question".utf8)) == .done)
        server.feed(client.take())
        #expect(server.write(Array("answer".utf8)) == .done)
        client.feed(server.take())

        #expect(server.received == Array("question".utf8))
        #expect(client.received == Array("answer".utf8))
        #expect(server.session.serverName == "www.home.example")
    }

    @Test("More than the wire holds is written in pieces, all of it arrives")
    func fullWire() throws {
        let mint = try Shared.mint.get()
        let (client, server) = try Self.handshake(
            try mint.leaf("www.home.example"), name: "www.home.example",
            trust: try Self.trust(mint.rootPEM))
        let content = [UInt8](repeating: 0x61, count: 400_000)

        var steps = 0
        while client.write(content) == .wantsOutput, steps < 100 {
            server.feed(client.take())
            steps += 1
        }
        server.feed(client.take())

        #expect(steps > 0)
        #expect(server.received.count == content.count)
    }

    @Test("A chain through an intermediate is believed")
    func chain() throws {
        let below = try Shared.mint.get().intermediate()
        let (client, _) = try Self.handshake(
            try below.leaf("www.home.example"), name: "www.home.example",
            trust: try Self.trust(below.rootPEM))

        #expect(client.isOpen)
    }

    @Test("What does not verify fails and says why")
    func refused() throws {
        let mint = try Shared.mint.get()
        let other = try CertificateMint(name: "Other Root")
        let good = try mint.leaf("www.home.example")
        let cases: [(MintedCertificate, String, String, String)] = [
            (good, "wrong.example", mint.rootPEM, "hostname mismatch"),
            (good, "www.home.example", other.rootPEM, "unable to get local issuer"),
            (
                try mint.leaf("www.home.example", validity: .expired), "www.home.example",
                mint.rootPEM, "expired"
            ),
            (
                try mint.leaf("www.home.example", validity: .notYet), "www.home.example",
                mint.rootPEM, "not yet valid"
            ),
            (try mint.leaf("w*.home.example"), "www.home.example", mint.rootPEM, "mismatch"),
            (good, "192.0.2.1", mint.rootPEM, "IP address mismatch"),
        ]
        for (leaf, name, roots, reason) in cases {
            let (client, _) = try Self.handshake(
                leaf, name: name, trust: try Self.trust(roots),
                fallback: leaf.certificatePEM == good.certificatePEM ? nil : "w*.home.example")

            #expect(!client.isOpen, "\(reason)")
            #expect(client.session.verificationFailed, "\(reason)")
            #expect(client.session.verificationText.contains(reason))
            _ = TLSFailure.takeErrorText()
        }
    }

    @Test("An address is verified against the certificate's addresses and is no SNI")
    func addresses() throws {
        let mint = try Shared.mint.get()
        let leaf = try mint.leaf("www.home.example", "192.0.2.1", "2001:db8::1")
        let trust = try Self.trust(mint.rootPEM)
        for name in ["192.0.2.1", "2001:db8::1"] {
            let (client, server) = try Self.handshake(leaf, name: name, trust: trust)
            #expect(client.isOpen)
            #expect(server.session.serverName == nil)
        }
    }

    @Test("verify: none believes anything; no name verifies the chain only")
    func unverified() throws {
        let mint = try Shared.mint.get()
        let expired = try mint.leaf("www.home.example", validity: .expired)

        #expect(
            try Self.handshake(expired, name: "www.home.example", trust: .unverified)
                .client.isOpen)
        #expect(
            try Self.handshake(
                try mint.leaf("www.home.example"), name: nil, trust: Self.trust(mint.rootPEM)
            ).client.isOpen)
        #expect(
            try !Self.handshake(expired, name: nil, trust: Self.trust(mint.rootPEM))
                .client.isOpen)
    }

    @Test("Trusts that no pool uses any more are dropped, open sessions stay")
    func dropped() throws {
        let mint = try Shared.mint.get()
        let (client, server) = try Self.handshake(
            try mint.leaf("www.home.example"), name: "www.home.example",
            trust: try Self.trust(mint.rootPEM))

        client.engine.keepClients([])
        #expect(client.write([1]) == .done)
        server.feed(client.take())

        #expect(server.received == [1])
    }

    @Test("A file of CAs that is missing or holds none is refused by name")
    func authorities() throws {
        let folder = try TemporaryDirectory()
        let empty = try folder.write("empty.pem", "nothing")

        for path in [empty, folder.file("missing.pem")] {
            #expect {
                _ = try ClientTrust.load(path)
            } throws: { error in
                if case .authority(path, _) = error as? TLSFailure { true } else { false }
            }
        }
    }
}
