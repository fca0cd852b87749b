import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: server sessions") struct ServerSessionTests {
    private static func end(_ engine: TLSEngine) throws -> OurEnd {
        OurEnd(engine, try #require(engine.makeServerSession()))
    }

    /// The certificate that a client with this SNI gets.
    private static func served(
        _ engine: TLSEngine, _ name: String?, algorithms: String? = nil
    ) throws -> (name: String, isRSA: Bool)? {
        let client = try PlainClient(name, algorithms: algorithms)
        let server = try end(engine)
        connect(client, server)
        return client.isOpen && server.isOpen ? client.certificate : nil
    }

    @Test(
        "SNI picks the certificate: exact, wildcard, fallback",
        arguments: [
            ("www.home.example", "www.home.example"), ("WWW.HOME.example", "www.home.example"),
            ("a.home.example", "*.home.example"), ("other.example", "fallback.example"),
            ("a.b.home.example", "fallback.example"), (nil, "fallback.example"),
        ] as [(String?, String)])
    func names(asked: String?, served: String) throws {
        let engine = try Shared.server(fallback: "fallback.example")

        #expect(try Self.served(engine, asked)?.name == served)
    }

    @Test("Without a fallback a stranger's name is refused by an alert", arguments: [true, false])
    func stranger(isNamed: Bool) throws {
        let client = try PlainClient(isNamed ? "other.example" : nil)
        let server = try Self.end(try Shared.server())

        connect(client, server)

        #expect(server.step == .failed)
        #expect(client.failure?.contains("unrecognized name") == true)
    }

    @Test("Of two key types the client's signature algorithms choose")
    func keyTypes() throws {
        let engine = try Shared.server()

        let ecdsa = try Self.served(
            engine, "www.home.example", algorithms: "ECDSA+SHA256:RSA-PSS+SHA256")
        let rsa = try Self.served(engine, "www.home.example", algorithms: "RSA-PSS+SHA256")

        #expect(ecdsa?.isRSA == false)
        #expect(rsa?.isRSA == true)
    }

    @Test("TLS 1.2 and 1.3 are spoken, 1.1 is refused")
    func versions() throws {
        let engine = try Shared.server()
        for (version, isSpoken) in [
            (TLS1_1_VERSION, false), (TLS1_2_VERSION, true), (TLS1_3_VERSION, true),
        ] {
            let client = try PlainClient("www.home.example", versions: version...version)
            let server = try Self.end(engine)

            connect(client, server)

            #expect(client.isOpen == isSpoken)
            #expect(server.isOpen == isSpoken)
            #expect(server.step == (isSpoken ? .wantsInput : .failed))
        }
    }

    @Test("Ciphertext cut anywhere gives the same plaintext", arguments: [1, 2, 3, 5, 100])
    func cuts(piece: Int) throws {
        let client = try PlainClient("www.home.example")
        let server = try Self.end(try Shared.server())
        connect(client, server, piece: piece)
        try #require(client.isOpen && server.isOpen)
        let content = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }

        client.write(content)
        var rest = client.take()[...]
        while !rest.isEmpty {
            server.feed(Array(rest.prefix(piece * 7)))
            rest = rest.dropFirst(piece * 7)
        }
        #expect(server.write(content) == .done)
        client.feed(server.take())

        #expect(server.received == content)
        #expect(client.received == content)
    }

    @Test("close_notify ends both ways, and what came before it is read")
    func closing() throws {
        let client = try PlainClient("www.home.example")
        let server = try Self.end(try Shared.server())
        connect(client, server)

        #expect(server.write(Array("bye".utf8)) == .done)
        server.closeNotify()
        client.feed(server.take())
        #expect(client.received == Array("bye".utf8))
        #expect(client.sawEnd)
    }

    @Test("Rubbish instead of a handshake, or inside one, fails and nothing else")
    func rubbish() throws {
        let engine = try Shared.server()
        try seeded(4) { random in
            for _ in 0..<50 {
                let server = try Self.end(engine)
                server.feed(random.bytes(Int(random.next() % 600) + 5))
                #expect(!server.isOpen)

                let client = try PlainClient("www.home.example")
                let other = try Self.end(engine)
                client.feed([])
                var hello = client.take()
                hello[Int(random.next() % UInt64(hello.count))] ^= UInt8(1 + random.next() % 255)
                other.feed(hello)
                #expect(!other.isOpen)
                _ = TLSFailure.takeErrorText()
            }
        }
        #expect(try Self.served(engine, "www.home.example") != nil)
    }

    @Test("Sessions keep what they have when the certificates are replaced")
    func swap() throws {
        let engine = try Shared.server()
        let half = try PlainClient("www.home.example")
        let halfServer = try Self.end(engine)
        half.feed([])
        halfServer.feed(half.take())
        let open = try PlainClient("www.home.example")
        let openServer = try Self.end(engine)
        connect(open, openServer)

        engine.use(
            try Shared.store([try Shared.mint.get().leaf("new.example", "www.home.example")]),
            fallback: nil)
        half.feed(halfServer.take())
        connect(half, halfServer)
        open.write([1, 2, 3])
        openServer.feed(open.take())

        #expect(half.certificate?.name == "www.home.example")
        #expect(openServer.received == [1, 2, 3])
        #expect(try Self.served(engine, "new.example")?.name == "new.example")
        #expect(try Self.served(engine, "a.home.example") == nil)
    }

    @Test("Sessions that were freed leave no memory behind")
    func memory() throws {
        let engine = try Shared.server()
        func round(_ count: Int) throws {
            for _ in 0..<count {
                let client = try PlainClient("www.home.example")
                let server = try Self.end(engine)
                connect(client, server)
                try #require(server.isOpen)
            }
        }
        try round(30)
        var growth = Int.max
        for _ in 0..<6 where growth >= 1 << 20 {
            let before = mallinfo2().uordblks
            try round(60)
            growth = min(growth, Int(mallinfo2().uordblks) - Int(before))
        }

        // Other tests run beside this one; but sessions that leak, 60 × 40 KiB, show every time.
        #expect(growth < 1 << 20, "\(growth) bytes")
    }
}
