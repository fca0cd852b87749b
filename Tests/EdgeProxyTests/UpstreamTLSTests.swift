import CEdge
import EdgeCore
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: TLS sessions with upstreams") struct UpstreamTLSTests {
    private static let authority = Result { try CertificateMint() }
    private static let closing =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

    private static func trust(_ pem: String) throws -> ClientTrust {
        let folder = try TemporaryDirectory()
        return try ClientTrust.load(try folder.write("ca.pem", pem))
    }

    private static func bench() throws -> Bench {
        var options = Bench.Options()
        options.isTLSUpstream = .init(
            trust: try trust(authority.get().rootPEM), name: "home.example")
        return try Bench(options)
    }

    /// One request over a connection of its own to the upstream.
    private static func request(
        _ bench: Bench, _ server: MemoryServer
    ) throws -> (answer: String, isResumed: Bool) {
        let client = bench.client()
        bench.send(client, bench.get())
        let peer = try TLSWorkerTests.Peer(upstreamOf: bench, server)
        peer.exchange()
        if peer.isOpen, peer.take().hasPrefix("GET / ") {
            peer.send(closing)
            peer.close()
        }
        bench.ring.ends(peer.descriptor)
        bench.settle()
        return (bench.ring.takeSent(to: client), peer.isResumed)
    }

    @Test(
        "The next connection to a member resumes, and so on",
        arguments: [
            TLS1_2_VERSION, TLS1_3_VERSION,
        ])
    func resumption(version: Int32) throws {
        let bench = try Self.bench()
        let server = try MemoryServer(Self.authority.get().leaf("home.example"), version)

        for round in 0..<5 {
            let (answer, isResumed) = try Self.request(bench, server)
            #expect(answer.hasSuffix("ok"))
            #expect(isResumed == (round > 0))
        }

        #expect(bench.count(Counter.upstreamTLSHandshakes) == 5)
        #expect(bench.count(Counter.upstreamTLSResumed) == 4)
    }

    @Test("A server that forgot its keys gets a full handshake and is verified again")
    func forgetful() throws {
        let bench = try Self.bench()
        let identity = try Self.authority.get().leaf("home.example")
        #expect(try !Self.request(bench, MemoryServer(identity)).isResumed)

        let restarted = try Self.request(bench, MemoryServer(identity))
        #expect(restarted.answer.hasSuffix("ok"))
        #expect(!restarted.isResumed)

        let stranger = try CertificateMint(name: "Stranger").leaf("home.example")
        let fooled = try Self.request(bench, MemoryServer(stranger))
        #expect(fooled.answer.hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamNotVerified) == 1)
    }

    @Test("A session never serves another trust, name, certificate of ours or member")
    func strangers() throws {
        let bench = try Self.bench()
        let server = try MemoryServer(Self.authority.get().leaf("home.example"))
        let mint = try Self.authority.get()
        _ = try Self.request(bench, server)
        let folder = try TemporaryDirectory()
        let me = try mint.leaf("me.example").writeBundle("me", in: folder.path)
        let others: [RuntimeSnapshot.PoolTLS] = [
            .init(trust: try Self.trust(mint.rootPEM + mint.rootPEM), name: "home.example"),
            .init(trust: .unverified, name: "home.example"),
            .init(
                trust: .unverified, identity: try ClientIdentity.load(certificate: me, key: me),
                name: "home.example"),
        ]
        for (index, tls) in others.enumerated() {
            var options = bench.options
            options.isTLSUpstream = tls
            let pool = Int32(index + 1)
            bench.worker.handle(
                .apply(
                    Bench.snapshot(UInt64(index + 2), options, [Bench.member(1)], pool: pool)))
            bench.settle()
            #expect(try !Self.request(bench, server).isResumed)
            #expect(try Self.request(bench, server).isResumed)
            // What was kept for the pool before is gone: its trust may have been withdrawn.
            #expect((1...2).contains(bench.worker.upstreamSessions.count))
        }

        var options = bench.options
        options.isTLSUpstream = others[2]
        bench.worker.handle(.apply(Bench.snapshot(9, options, [Bench.member(2)], pool: 3)))
        bench.settle()
        #expect(try !Self.request(bench, server).isResumed)
    }

    @Test("A handshake that fails takes the kept session with it")
    func failure() throws {
        let bench = try Self.bench()
        let server = try MemoryServer(Self.authority.get().leaf("home.example"))
        _ = try Self.request(bench, server)
        #expect(bench.worker.upstreamSessions.count > 0)

        let client = bench.client()
        bench.send(client, bench.get())
        bench.send(bench.upstream, "HTTP/1.1 400 what is this?\r\n\r\n")

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.worker.upstreamSessions.count == 0)
    }

    @Test("A server that sends ticket after ticket is not kept reading for ever")
    func flood() throws {
        let bench = try Self.bench()
        let server = try MemoryServer(Self.authority.get().leaf("home.example"))
        SSL_CTX_set_num_tickets(server.context, 200)
        let client = bench.client()
        bench.send(client, bench.get())
        let peer = try TLSWorkerTests.Peer(upstreamOf: bench, server)

        peer.exchange()
        bench.settle()

        #expect(bench.ring.isClosed(peer.descriptor))
        #expect(bench.worker.upstreamSessions.count <= 2)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
    }
}
