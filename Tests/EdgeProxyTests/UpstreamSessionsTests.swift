import CEdge
import EdgeCore
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: sessions with upstreams") struct UpstreamSessionsTests {
    private static let authority = Result { try CertificateMint() }

    /// A session as an upstream gives it: made with a server in memory.
    private static func session(
        _ version: Int32 = TLS1_3_VERSION
    ) throws -> (session: ResumableSession, engine: TLSEngine) {
        let engine = try TLSEngine()
        let server = try MemoryServer(authority.get().leaf("home.example"), version)
        let session = try #require(
            try engine.makeClientSession(.unverified, name: nil))
        defer { session.free() }
        server.greet(session, engine)
        return (try #require(engine.takeFreshSession()), engine)
    }

    private static func at(_ seconds: UInt64) -> Instant {
        Instant(nanoseconds: 1 + seconds * 1_000_000_000)
    }

    @Test("The newest is offered first; the last one of TLS 1.3 is offered again")
    func order() throws {
        let table = Table()
        let address = Bench.member(1)
        let first = try Self.session()
        let second = try Self.session()
        table.put(first, 7, address, Self.at(1))
        table.put(second, 7, address, Self.at(2))

        #expect(table.take(7, address, Self.at(3)) == second.session)
        #expect(table.take(7, address, Self.at(3)) == first.session)
        #expect(table.take(7, address, Self.at(3)) == first.session)
        #expect(table.count == 1)

        let third = try Self.session()
        table.put(third, 7, address, Self.at(4))
        #expect(table.take(7, address, Self.at(4)) == third.session)
        #expect(table.count == 1)
    }

    @Test("A session of TLS 1.2 stays until there is a newer one")
    func reusable() throws {
        let table = Table()
        let address = Bench.member(1)
        for index in 0..<3 {
            let made = try Self.session(TLS1_2_VERSION)
            table.put(made, 7, address, Self.at(UInt64(index)))
            #expect(table.take(7, address, Self.at(9)) == made.session)
            #expect(table.take(7, address, Self.at(9)) == made.session)
        }

        #expect(table.count == 2)
    }

    @Test("Nobody else gets it: other pools, other addresses, other ports")
    func strangers() throws {
        let table = Table()
        let address = Bench.member(1)
        table.put(try Self.session(), 7, address, Self.at(1))

        #expect(table.take(8, address, Self.at(1)) == nil)
        #expect(table.take(7, Bench.member(2), Self.at(1)) == nil)
        #expect(table.take(7, address.with(port: 1), Self.at(1)) == nil)
        table.removeAll(of: 8)
        table.remove(7, Bench.member(2))
        #expect(table.count == 1)

        table.remove(7, address)
        #expect(table.take(7, address, Self.at(1)) == nil)
    }

    @Test("After an hour the upstream has to show its certificate again")
    func age() throws {
        let table = Table(sets: 256)
        table.put(try Self.session(), 7, Bench.member(1), Self.at(0))

        #expect(table.take(7, Bench.member(1), Self.at(3599)) != nil)
        #expect(table.take(7, Bench.member(1), Self.at(3600)) == nil)
        #expect(table.count == 0)
    }

    @Test("However many come, no more than the bound is kept, two of each")
    func bound() throws {
        try seeded(3) { random in
            let engine = try TLSEngine()
            let server = try MemoryServer(Self.authority.get().leaf("home.example"))
            let table = Table(sets: 4)
            for step in 0..<60 {
                let session = try #require(try engine.makeClientSession(.unverified, name: nil))
                server.greet(session, engine)
                session.free()
                let pool = Int32(random.next() % 20)
                while let fresh = engine.takeFreshSession() {
                    table.put((fresh, engine), pool, Bench.member(1), Self.at(UInt64(step)))
                }
                #expect(table.take(pool, Bench.member(1), Self.at(UInt64(step))) != nil)
                #expect(table.count <= 16)
            }
        }
    }
}

/// Holds the table, which can't be copied, for the macros.
private final class Table {
    private var sessions: UpstreamSessions
    /// They own the library that the sessions need.
    var engines: [TLSEngine] = []

    init(sets: Int = 1) { sessions = UpstreamSessions(sets: sets) }

    deinit { sessions.removeAll { _ in true } }

    var count: Int { sessions.count }

    func put(
        _ made: (session: ResumableSession, engine: TLSEngine), _ pool: Int32,
        _ address: SocketAddress, _ now: Instant
    ) {
        engines.append(made.engine)
        sessions.put(made.session, pool, address, now: now)
    }

    func take(_ pool: Int32, _ address: SocketAddress, _ now: Instant) -> ResumableSession? {
        let offer = sessions.take(pool, address, now: now)
        defer { offer?.give() }
        return offer?.session
    }

    func remove(_ pool: Int32, _ address: SocketAddress) { sessions.remove(pool, address) }

    func removeAll(of pool: Int32) { sessions.removeAll { $0 == pool } }
}

/// An OpenSSL server in memory that gives tickets.
final class MemoryServer {
    let context: OpaquePointer

    init(_ identity: MintedCertificate, _ version: Int32 = TLS1_3_VERSION) throws {
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw KitError("no TLS") }
        self.context = context
        _ = ce_ssl_ctx_set_versions(context, version, version)
        try MemoryServer.use(identity, in: context)
    }

    deinit { SSL_CTX_free(context) }

    static func use(_ identity: MintedCertificate, in context: OpaquePointer) throws {
        let pem = Array(identity.bundlePEM.utf8)
        for isKey in [false, true] {
            let source = BIO_new_mem_buf(pem, Int32(pem.count))
            defer { BIO_free(source) }
            if isKey {
                let key = PEM_read_bio_PrivateKey(source, nil, nil, nil)
                #expect(SSL_CTX_use_PrivateKey(context, key) == 1)
                EVP_PKEY_free(key)
            } else {
                let certificate = PEM_read_bio_X509(source, nil, nil, nil)
                #expect(SSL_CTX_use_certificate(context, certificate) == 1)
                X509_free(certificate)
            }
        }
    }

    /// A whole handshake with our session, tickets included.
    func greet(_ session: TLSSession, _ engine: TLSEngine) {
        let ssl = SSL_new(context)
        let input = BIO_new(BIO_s_mem())
        let output = BIO_new(BIO_s_mem())
        SSL_set_bio(ssl, input, output)
        SSL_set_accept_state(ssl)
        defer { SSL_free(ssl) }
        var isOpen = false
        for _ in 0..<4 {
            var block = [UInt8](repeating: 0, count: 1 << 15)
            let count = max(Int(BIO_read(output, &block, Int32(block.count))), 0)
            block.withUnsafeBytes { bytes in
                if let start = bytes.baseAddress { engine.wire.offer(start, count: count) }
                if !isOpen { isOpen = session.handshake() == .done }
                var byte: UInt8 = 0
                var done = 0
                if isOpen { _ = session.read(into: &byte, capacity: 1, count: &done) }
                _ = engine.wire.takeInput()
            }
            BIO_write(input, engine.wire.output, Int32(engine.wire.outputCount))
            engine.wire.clearOutput()
            SSL_do_handshake(ssl)
        }
        ERR_clear_error()
    }
}
