import CEdge
import EdgeTesting
import Testing

@testable import EdgeTLS

@Suite("TLS: settings") struct SettingsTests {
    /// A handshake with our server; the client tells how it went.
    private static func outcome(
        of client: PlainClient, _ policy: TLSPolicy = TLSPolicy(),
        edit: (inout [UInt8]) -> Void = { _ in }
    ) throws -> PlainClient {
        let engine = try Shared.server()
        try engine.use(policy)
        let server = OurEnd(engine, try #require(engine.makeServerSession()))
        client.feed([])
        var hello = client.take()
        edit(&hello)
        server.feed(hello)
        client.feed(server.take())
        connect(client, server)
        _ = TLSFailure.takeErrorText()
        return client
    }

    private static let name = "www.home.example"

    @Test(
        "Our order of suites counts, but a client that puts ChaCha20 first has no AES hardware",
        arguments: [
            ("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            (
                "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256"
            ),
            (
                "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256"
            ),
            ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            (
                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES128-GCM-SHA256"
            ),
            (
                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305"
            ),
        ])
    func suites(offered: String, chosen: String) throws {
        let version = offered.hasPrefix("TLS_") ? TLS1_3_VERSION : TLS1_2_VERSION

        let client = try Self.outcome(
            of: PlainClient(Self.name, versions: version...version, ciphers: offered))

        #expect(client.isOpen)
        #expect(client.cipher == chosen)
    }

    @Test(
        "No suite without AEAD and forward secrecy is spoken",
        arguments: [
            "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256",
            "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA384", "AES256-SHA",
            "ECDHE-ECDSA-AES128-CCM", "ADH-AES128-GCM-SHA256", "NULL-SHA256",
        ])
    func weakSuites(offered: String) throws {
        let client = try Self.outcome(
            of: PlainClient(
                Self.name, versions: TLS1_2_VERSION...TLS1_2_VERSION, ciphers: offered))

        #expect(client.failure?.contains("handshake failure") == true)
    }

    @Test(
        "SHA-1 signatures are not made, whatever the client believes",
        arguments: ["ECDSA+SHA1", "RSA+SHA1", "ECDSA+SHA1:RSA+SHA1"],
        [
            TLS1_2_VERSION, TLS1_3_VERSION,
        ])
    func weakSignatures(algorithms: String, version: Int32) throws {
        let client = try Self.outcome(
            of: PlainClient(Self.name, algorithms: algorithms, versions: version...version))

        #expect(!client.isOpen)
    }

    @Test("A policy of TLS 1.3 refuses 1.2 by the alert protocol_version")
    func lowestVersion() throws {
        let policy = TLSPolicy(minimum: .tls13)

        let old = try Self.outcome(
            of: PlainClient(Self.name, versions: TLS1_2_VERSION...TLS1_2_VERSION), policy)
        let new = try Self.outcome(of: PlainClient(Self.name), policy)

        #expect(old.failure?.contains("protocol version") == true)
        #expect(new.isOpen)
    }

    @Test("A client that was talked down to TLS 1.2 is told so (RFC 7507)")
    func fallback() throws {
        let client = try Self.outcome(
            of: PlainClient(
                Self.name, versions: TLS1_2_VERSION...TLS1_2_VERSION, isFallback: true))

        #expect(client.failure?.contains("inappropriate fallback") == true)
    }

    @Test("Tickets allow no early data (0-RTT)")
    func earlyData() throws {
        let client = try Self.outcome(
            of: PlainClient(Self.name, versions: TLS1_3_VERSION...TLS1_3_VERSION))
        let session = try #require(client.session)
        defer { SSL_SESSION_free(session) }

        #expect(client.ticketLifetime > 0)
        #expect(SSL_SESSION_get_max_early_data(session) == 0)
        #expect(SSL_SESSION_get_compress_id(session) == 0)
    }

    /// Where the host name stands in a ClientHello.
    private static func place(_ hello: [UInt8]) throws -> Int {
        try #require(hello.firstRange(of: Array(name.utf8))).lowerBound
    }

    @Test("A malformed server name is refused by an alert", arguments: 0..<5)
    func malformedName(fault: Int) throws {
        let client = try Self.outcome(of: PlainClient(Self.name)) { hello in
            guard let place = try? Self.place(hello) else { return }
            switch fault {
            case 0: hello[place + 3] = 0
            // The name's length, the list's, and the type.
            case 1: hello[place - 1] += 1
            case 2: hello[place - 4] += 1
            case 3: hello[place - 1] = 0
            default: hello[place - 3] = 7
            }
        }

        #expect(!client.isOpen)
        let failure = client.failure ?? "nothing"
        #expect(failure.contains("alert") || failure.contains("unrecognized name"), "\(failure)")
    }
}
