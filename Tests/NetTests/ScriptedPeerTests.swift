internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Scripted peers")
struct ScriptedPeerTests {
    @Test("the server keeps requests as they came, cut into any segments")
    func transcript() throws {
        let server = try ScriptedUpstream(answering: "ok", fields: ["X-Who: me"])
        defer { server.stop() }
        let text = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"

        let client = try RawClient(server.address)
        try client.send(bytes: Array(text.utf8), inPiecesOf: 7, pause: .milliseconds(1))
        let answer = try client.readResponse()
        client.close()

        #expect(answer["x-who"] == "me")
        #expect(server.wait { $0.first?.ending != nil })
        let seen = try #require(server.connections.first)
        #expect(String(decoding: seen.received, as: UTF8.self) == text)
        #expect(seen.requests.first?.target == "/a")
        #expect(seen.requests.first?.text == "abc")
        #expect(seen.ending == .closed)
    }

    @Test("RST, FIN and silence are told apart, plain and over TLS", arguments: [false, true])
    func endings(overTLS: Bool) throws {
        let mint = try CertificateMint()
        let serverTLS = overTLS ? try ServerTLS(mint.leaf("a.example")) : nil
        let clientTLS =
            overTLS ? try ClientTLS(serverName: "a.example", trusting: mint.rootPEM) : nil
        let scripts: [[PeerStep]] = [
            [.readRequest, .reset], [.readRequest, .close], [.readRequest, .hold],
        ]
        let server = try ScriptedUpstream(tls: serverTLS) { scripts[$0 % 3] }
        defer { server.stop() }
        func end() throws -> StreamEnd? {
            let client = try RawClient(server.address, tls: clientTLS)
            try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            return client.readToEnd(within: .milliseconds(300))
        }

        #expect(try end() == .reset)
        #expect(try end() == .closed)
        #expect(try end() == nil)
    }

    @Test("a client's reset arrives as one")
    func clientReset() throws {
        let server = try ScriptedUpstream(answering: "ok")
        defer { server.stop() }
        let client = try RawClient(server.address)
        try client.send("GET / HT")
        #expect(server.wait { $0.first?.received.count == 8 })

        client.reset()

        #expect(server.wait { $0.first?.ending == .reset })
    }

    @Test("TLS: name, ALPN, version and certificate are what both sides see")
    func tls() throws {
        let mint = try CertificateMint()
        let leaf = try mint.intermediate().leaf("*.home.example")
        let server = try ScriptedUpstream(
            tls: ServerTLS(leaf, alpn: ["h2", "http/1.1"]), answering: "ok")
        defer { server.stop() }

        let client = try RawClient(
            server.address,
            tls: ClientTLS(
                serverName: "a.home.example", trusting: mint.rootPEM, alpn: ["http/1.1"],
                versions: .v12 ... .v12))

        #expect(client.alpn == "http/1.1")
        #expect(client.tlsVersion == "TLSv1.2")
        #expect(client.serverFingerprint == leaf.fingerprint)
        #expect(try client.get("/", host: "a.home.example").text == "ok")
        #expect(server.connections.first?.serverName == "a.home.example")
    }

    @Test("a missing client certificate ends the handshake")
    func clientCertificate() throws {
        let mint = try CertificateMint()
        let server = try ScriptedUpstream(
            tls: ServerTLS(mint.leaf("a.example"), clientRoots: mint.rootPEM), answering: "ok")
        defer { server.stop() }
        func status(_ identity: MintedCertificate?) throws -> Int {
            let tls = try ClientTLS(
                serverName: "a.example", trusting: mint.rootPEM, identity: identity)
            return try RawClient(server.address, tls: tls).get("/", host: "a.example").status
        }

        #expect(try status(mint.leaf("client")) == 200)
        #expect(throws: (any Error).self) { try status(nil) }
    }

    @Test("HEAD, 204 and interim answers have no body to wait for")
    func bodyless() throws {
        let server = try ScriptedUpstream([
            .readRequest, .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            .readRequest,
            .send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
            .again,
        ])
        defer { server.stop() }
        let client = try RawClient(server.address)

        #expect(try client.get("/", host: "h", method: "HEAD").status == 200)
        #expect(try client.get("/", host: "h").status == 204)
    }

    @Test("seeds repeat and the clock stands still until moved")
    func determinism() {
        var one = SeededRandom(seed: 42)
        var two = SeededRandom(seed: 42)
        var clock = ManualClock()
        let before = clock.now

        #expect(one.bytes(32) == two.bytes(32))
        #expect(SeededRandom(seed: 0).firstWord == 0xE220_A839_7B1D_CDAF)
        #expect(clock.now == before)
        #expect(clock.advance(by: .milliseconds(5)).nanoseconds(since: before) == 5_000_000)
    }
}

extension SeededRandom {
    /// The reference sequence of SplitMix64 for seed 0 begins with e220a8397b1dcdaf.
    fileprivate var firstWord: UInt64 {
        var copy = self
        return copy.next()
    }
}
