import CEdge
import EdgeCore
import EdgeRouting
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: TLS") struct TLSWorkerTests {
    private static let authority = Result { try CertificateMint() }

    private static func bench(
        certificate: Bool = true, client: ClientPolicy = ClientPolicy()
    ) throws -> Bench {
        var options = Bench.Options()
        options.client = client
        if certificate {
            let folder = try TemporaryDirectory()
            try authority.get().leaf("home.example").writeBundle("home", in: folder.path)
            options.certificates = try CertificateFolder.load(folder.path)
        }
        return try Bench(options)
    }

    /// An OpenSSL client, or server, behind a scripted descriptor.
    final class Peer {
        let bench: Bench
        let descriptor: Int32
        private let context: OpaquePointer
        private let ssl: OpaquePointer
        private let input: OpaquePointer
        private let output: OpaquePointer
        private var taken = 0
        private(set) var received: [UInt8] = []
        private(set) var isOpen = false
        private(set) var hasFailed = false
        /// Ciphertext is handed over in pieces of so many bytes.
        var piece = Int.max

        /// A client of the TLS listener.
        convenience init(
            _ bench: Bench, piece: Int = .max, smallRecords: Bool = false,
            from address: SocketAddress? = nil, resuming: Peer? = nil, isTLS12: Bool = false,
            groups: String? = nil
        ) throws {
            try self.init(
                bench, bench.client(Bench.tlsListener, from: address), TLS_client_method(),
                isTLS12: isTLS12, groups: groups)
            self.piece = piece
            if let resuming, let session = SSL_get1_session(resuming.ssl) {
                #expect(SSL_set_session(ssl, session) == 1)
                SSL_SESSION_free(session)
            }
            if smallRecords {
                // 512 bytes a record (RFC 6066 §4).
                #expect(SSL_set_tlsext_max_fragment_length(ssl, 1) == 1)
            }
            SSL_set_connect_state(ssl)
            _ = ce_ssl_set_sni(ssl, "home.example")
        }

        /// The server at the other end of the newest upstream connection.
        convenience init(upstreamOf bench: Bench, _ identity: MintedCertificate) throws {
            try self.init(bench, bench.upstream, TLS_server_method())
            SSL_set_accept_state(ssl)
            let pem = Array(identity.bundlePEM.utf8)
            for isKey in [false, true] {
                let source = BIO_new_mem_buf(pem, Int32(pem.count))
                defer { BIO_free(source) }
                if isKey {
                    let key = PEM_read_bio_PrivateKey(source, nil, nil, nil)
                    #expect(SSL_use_PrivateKey(ssl, key) == 1)
                    EVP_PKEY_free(key)
                } else {
                    let certificate = PEM_read_bio_X509(source, nil, nil, nil)
                    #expect(SSL_use_certificate(ssl, certificate) == 1)
                    X509_free(certificate)
                }
            }
        }

        /// A server that gives tickets, at the other end of the newest upstream connection.
        convenience init(upstreamOf bench: Bench, _ server: MemoryServer) throws {
            try self.init(bench, bench.upstream, nil, server)
            SSL_set_accept_state(ssl)
        }

        private init(
            _ bench: Bench, _ descriptor: Int32, _ method: OpaquePointer?,
            _ server: MemoryServer? = nil, isTLS12: Bool = false, groups: String? = nil
        ) throws {
            self.bench = bench
            self.descriptor = descriptor
            if let server { SSL_CTX_up_ref(server.context) }
            guard let context = server?.context ?? SSL_CTX_new(method),
                !isTLS12 || ce_ssl_ctx_set_versions(context, TLS1_2_VERSION, TLS1_2_VERSION) == 1,
                groups.map({ ce_ssl_ctx_set_groups(context, $0) == 1 }) ?? true,
                let ssl = SSL_new(context), let input = BIO_new(BIO_s_mem()),
                let output = BIO_new(BIO_s_mem())
            else { throw KitError("no TLS") }
            self.context = context
            self.ssl = ssl
            self.input = input
            self.output = output
            SSL_set_bio(ssl, input, output)
        }

        deinit {
            SSL_free(ssl)
            SSL_CTX_free(context)
        }

        /// Sends a ClientHello, and no more.
        func begin() {
            hello()
            bench.settle()
        }

        /// Sends what is to be said next, a ClientHello at first; it waits for the next turn.
        func hello() {
            read()
            _ = flush()
        }

        /// Moves bytes both ways until nothing moves any more.
        func exchange() {
            for _ in 0..<30 {
                read()
                let moved = flush()
                bench.settle()
                if !moved, bench.ring.sent(to: descriptor).count == taken { return }
            }
        }

        private func read() {
            let fresh = bench.ring.sent(to: descriptor).dropFirst(taken)
            taken += fresh.count
            if !fresh.isEmpty { BIO_write(input, Array(fresh), Int32(fresh.count)) }
            if !isOpen {
                let status = SSL_do_handshake(ssl)
                isOpen = status == 1
                if !isOpen, SSL_get_error(ssl, status) != SSL_ERROR_WANT_READ { hasFailed = true }
            }
            var block = [UInt8](repeating: 0, count: 16 * 1024)
            while isOpen {
                let count = SSL_read(ssl, &block, Int32(block.count))
                guard count > 0 else { break }
                received += block.prefix(Int(count))
            }
            ERR_clear_error()
        }

        /// What is to be said next, a ClientHello at first, which is not sent.
        func takeHello() -> [UInt8] {
            read()
            return takeOutput()
        }

        private func takeOutput() -> [UInt8] {
            var all: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 16 * 1024)
            while true {
                let count = BIO_read(output, &block, Int32(block.count))
                guard count > 0 else { break }
                all += block.prefix(Int(count))
            }
            return all
        }

        private func flush() -> Bool {
            let all = takeOutput()
            var rest = all[...]
            while !rest.isEmpty {
                bench.ring.receives(descriptor, rest.prefix(piece))
                rest = rest.dropFirst(piece)
            }
            return !all.isEmpty
        }

        var isResumed: Bool { SSL_session_reused(ssl) == 1 }

        func send(_ text: String) { send(Array(text.utf8)) }

        func send(_ bytes: [UInt8]) {
            SSL_write(ssl, bytes, Int32(bytes.count))
            exchange()
        }

        /// Protocols for ALPN, best first.
        func offer(_ protocols: [String]) {
            let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            #expect(SSL_set_alpn_protos(ssl, list, UInt32(list.count)) == 0)
        }

        /// A ticket has come that allows resumption.
        var hasTicket: Bool { SSL_SESSION_is_resumable(SSL_get_session(ssl)) == 1 }
        /// The peer has sent close_notify.
        var sawEnd: Bool { SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

        func close() {
            SSL_shutdown(ssl)
            exchange()
        }

        func take() -> String { String(decoding: takeBytes(), as: UTF8.self) }

        func takeBytes() -> [UInt8] {
            exchange()
            defer { received = [] }
            return received
        }
    }

    @Test("A handshake, requests and answers, at any cut", arguments: [.max, 1, 7])
    func request(piece: Int) throws {
        let bench = try Self.bench()
        let client = try Peer(bench, piece: piece)
        client.exchange()
        #expect(client.isOpen)
        #expect(bench.count(Counter.handshakesCompleted) == 1)

        for _ in 0..<2 {
            client.send(bench.get())
            let request = bench.ring.takeSent(to: bench.upstream)
            #expect(request.contains("X-Forwarded-Proto: https\r\n"))
            bench.send(bench.upstream, Bench.ok)
            #expect(client.take().hasSuffix("ok"))
        }
        client.close()
        bench.ring.ends(client.descriptor)
        bench.settle()
        #expect(bench.ring.isClosed(client.descriptor))
    }

    @Test("A client that offers h2 is served over it, at any cut", arguments: [.max, 1, 7])
    func http2(piece: Int) throws {
        let bench = try Self.bench()
        let client = try Peer(bench, piece: piece)
        client.offer(["http/1.1", "h2"])
        client.exchange()
        #expect(client.isOpen)
        #expect(bench.count(Counter.http2Connections) == 1)
        let peer = try SessionPeer(isServer: false)
        func talk() {
            for _ in 0..<6 {
                let bytes = peer.take()
                if !bytes.isEmpty { client.send(bytes) }
                peer.feed(client.takeBytes())
            }
        }
        for _ in 0..<2 {
            let id = peer.request(SessionPeer.fields())
            talk()
            let request = bench.ring.takeSent(to: bench.upstream)
            #expect(request.contains("X-Forwarded-Proto: https\r\n"))
            let content = String(repeating: "0123456789", count: 10_000)
            bench.send(
                bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + content)
            talk()
            expectSame(peer[id].content, Array(content.utf8))
            #expect(peer[id].isEnded)
        }
        client.close()
        bench.ring.ends(client.descriptor)
        bench.pass(.seconds(61))
        bench.expectEmpty()
    }

    /// As by default, with another policy towards clients: profile 0 has gone.
    private static var asksAnew: Routing {
        var host = Router.Host(pattern: "home.example", site: 0, pool: 0)
        host.hostPolicy = 1
        return Routing(
            views: [(0, ClientView(name: "", index: 0, profile: 1))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: [host], hostPolicy: 1)]),
            profiles: [nil, ServerProfile(fallback: nil)])
    }

    @Test("A connection whose policy has gone has one more answer, or is closed when it is idle")
    func policyGone() throws {
        let bench = try Self.bench()
        let (busy, idle, next) = (try Peer(bench), try Peer(bench), try Peer(bench))
        for client in [busy, idle, next] {
            client.exchange()
            client.send(bench.get())
            bench.send(bench.upstream, Bench.ok)
            client.exchange()
            #expect(client.take().hasSuffix("ok") && !client.sawEnd)
        }
        busy.send(bench.get())
        bench.apply(2, routing: Self.asksAnew)
        let fresh = try Peer(bench)
        fresh.exchange()

        bench.send(bench.upstream, Bench.ok)
        busy.exchange()
        #expect(busy.take().hasPrefix("HTTP/1.1 200") && busy.sawEnd)
        next.send(bench.get())
        let last = next.take()
        #expect(last.hasPrefix("HTTP/1.1 421") && next.sawEnd, "\(last)")
        #expect(!idle.sawEnd)
        bench.pass(.nanoseconds(Int64(bench.worker.snapshot.timeouts.drain / 2)) + .seconds(2))
        idle.exchange()
        #expect(idle.sawEnd)
        #expect(fresh.isOpen && !fresh.sawEnd)
    }

    @Test("An answer that has begun when its connection's policy goes is followed by one 421")
    func policyGoneAnswering() throws {
        let bench = try Self.bench()
        let client = try Peer(bench)
        client.exchange()
        client.send(bench.get())
        bench.send(bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        client.exchange()
        bench.apply(2, routing: Self.asksAnew)
        bench.send(bench.upstream, "k")
        client.exchange()
        #expect(client.take().hasSuffix("ok") && !client.sawEnd)

        client.send(bench.get())
        let last = client.take()
        #expect(last.hasPrefix("HTTP/1.1 421") && client.sawEnd, "\(last)")
    }

    @Test("The ticket, the whole of a last answer and close_notify leave in one send")
    func oneSend() throws {
        let bench = try Self.bench()
        bench.tickets.publish([
            TicketKey(
                random: [UInt8](repeating: 3, count: TicketKey.randomBytes), madeAt: bench.now,
                createdSeconds: 0)
        ])
        let client = try Peer(bench)
        client.exchange()
        #expect(client.isOpen && !client.hasTicket)
        let before = bench.ring.sendCalls(to: client.descriptor)

        client.send("GET / HTTP/1.1\r\nHost: home.example\r\nConnection: close\r\n\r\n")
        #expect(bench.ring.sendCalls(to: client.descriptor) == before)
        bench.send(bench.upstream, Bench.ok)

        #expect(bench.ring.sendCalls(to: client.descriptor) == before + 1)
        #expect(client.take().hasSuffix("ok"))
        #expect(client.hasTicket)
        #expect(client.sawEnd)
        #expect(bench.ring.isSendingShut(client.descriptor))
    }

    @Test("The end of one client's answer goes to nobody else, however many end in one turn")
    func manyEnds() throws {
        let bench = try Self.bench()
        let clients = try (0..<6).map { _ in try Peer(bench) }
        for client in clients { client.exchange() }
        for (index, client) in clients.enumerated() {
            client.send(
                "GET /\(index) HTTP/1.1\r\nHost: home.example\r\n"
                    + (index % 2 == 0 ? "Connection: close\r\n\r\n" : "\r\n"))
        }
        // All answers come in one turn.
        for descriptor in bench.ring.opened {
            let request = bench.ring.takeSent(to: descriptor)
            let path = request.dropFirst(4).prefix { $0 != " " }
            bench.ring.receives(
                descriptor, "HTTP/1.1 200 OK\r\nContent-Length: \(path.count)\r\n\r\n\(path)")
        }
        bench.settle()

        for (index, client) in clients.enumerated() {
            #expect(client.take().hasSuffix("\r\n\r\n/\(index)"))
            #expect(client.sawEnd == (index % 2 == 0))
        }
    }

    @Test("A slow TLS client gets a long answer whole; a long body goes up whole")
    func long() throws {
        let bench = try Self.bench()
        let client = try Peer(bench)
        client.exchange()
        client.send(bench.get())
        bench.ring.setRoom(client.descriptor, 5_000)
        let content = String(repeating: "0123456789", count: 20_000)
        bench.ring.receives(
            bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + content)
        bench.settle()
        for _ in 0..<60 {
            bench.ring.setRoom(client.descriptor, 5_000)
            bench.settle()
        }
        bench.ring.setRoom(client.descriptor, .max)
        #expect(client.take().hasSuffix("\r\n\r\n" + content))

        _ = bench.ring.takeSent(to: bench.upstream)
        bench.ring.setRoom(bench.upstream, 5_000)
        client.send("PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: 200000\r\n\r\n")
        client.send(content)
        for _ in 0..<60 {
            bench.ring.setRoom(bench.upstream, 5_000)
            bench.settle()
        }
        bench.ring.setRoom(bench.upstream, .max)
        bench.settle()
        #expect(bench.ring.takeSent(to: bench.upstream).hasSuffix("\r\n\r\n" + content))
    }

    @Test("A failed handshake tells the client why and leaves nothing")
    func refused() throws {
        let bench = try Self.bench(certificate: false)
        let client = try Peer(bench)

        client.exchange()

        #expect(client.hasFailed)
        #expect(bench.count(Counter.handshakesFailed) == 1)
        #expect(bench.count(ReasonCode.clientHandshakeFailed) == 1)
        // No reset that could take the alert along: the client ends first.
        #expect(bench.ring.isSendingShut(client.descriptor))
        bench.ring.ends(client.descriptor)
        bench.settle()
        bench.expectEmpty()
    }

    @Test(
        "ClientHello and the rest of the handshake have a time of their own each",
        arguments: [1, .max])
    func deadlines(piece: Int) throws {
        var policy = ClientPolicy()
        policy.clientHello = 2_000_000_000
        let bench = try Self.bench(client: policy)
        let silent = try Peer(bench)
        let late = try Peer(bench, piece: piece)

        bench.pass(.milliseconds(1_900))
        late.begin()
        bench.pass(.milliseconds(200))
        #expect(bench.ring.isClosed(silent.descriptor))
        #expect(bench.count(ReasonCode.clientHelloTimeout) == 1)
        #expect(!bench.ring.isClosed(late.descriptor))
        // 5 s from the ClientHello on.
        bench.pass(.milliseconds(4_500))
        #expect(!bench.ring.isClosed(late.descriptor))
        bench.pass(.milliseconds(500))

        #expect(bench.ring.isClosed(late.descriptor))
        #expect(bench.count(ReasonCode.clientHandshakeTimeout) == 1)
        #expect(bench.count(Counter.handshakesFailed) == 2)
    }

    @Test("Rubbish after the handshake ends the connection")
    func rubbish() throws {
        let bench = try Self.bench()
        let client = try Peer(bench)
        client.exchange()

        bench.send(client.descriptor, "this is no record at all, whatever comes")

        #expect(bench.ring.isSendingShut(client.descriptor))
        #expect(bench.count(ReasonCode.clientTLSError) == 1)
        bench.ring.ends(client.descriptor)
        bench.settle()
        bench.expectEmpty()
    }

    @Test("A TLS upstream that closes without a word, cut answer or not, is not believed")
    func silentUpstream() throws {
        var options = Bench.Options()
        options.isTLSUpstream = .init(trust: .unverified, name: "home.example")
        let bench = try Bench(options)
        let client = bench.client()
        bench.send(client, bench.get())
        #expect(!bench.ring.sent(to: bench.upstream).isEmpty)

        bench.ring.ends(bench.upstream)
        bench.settle()

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamTLSFailed) == 1)
    }

    /// A worker whose upstream speaks TLS under the authority's name, a client with its request
    /// under way, and the server.
    private static func bridge(
        _ name: String = "home.example"
    ) throws -> (bench: Bench, client: Int32, server: Peer) {
        let folder = try TemporaryDirectory()
        let roots = try folder.write("ca.pem", try authority.get().rootPEM)
        var options = Bench.Options()
        options.isTLSUpstream = .init(trust: try ClientTrust.load(roots), name: name)
        let bench = try Bench(options)
        let client = bench.client()
        bench.send(client, bench.get())
        let server = try Peer(upstreamOf: bench, try authority.get().leaf("home.example"))
        server.exchange()
        return (bench, client, server)
    }

    @Test("Requests go up encrypted, and the connection is used again")
    func bridging() throws {
        let (bench, client, server) = try Self.bridge()

        for _ in 0..<3 {
            #expect(server.take().hasPrefix("GET / HTTP/1.1\r\nHost: home.example\r\n"))
            server.send(Bench.ok)
            #expect(bench.ring.takeSent(to: client).hasSuffix("ok"))
            bench.send(client, bench.get())
        }

        #expect(bench.ring.opened.count == 1)
        #expect(bench.count(Counter.upstreamReused) == 3)
    }

    @Test("An upstream whose certificate does not verify gets no request")
    func unverified() throws {
        let (bench, client, server) = try Self.bridge("other.example")

        #expect(server.take().isEmpty)
        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 502"))
        #expect(bench.count(ReasonCode.upstreamNotVerified) == 1)
        #expect(bench.ring.isClosed(server.descriptor))
    }

    @Test("A body until the end needs close_notify; a bare end cuts it", arguments: [true, false])
    func untilClose(isClean: Bool) throws {
        let (bench, client, server) = try Self.bridge()
        server.send("HTTP/1.1 200 OK\r\n\r\nabc")

        if isClean { server.close() }
        bench.ring.ends(server.descriptor)
        bench.settle()

        let answer = bench.ring.takeSent(to: client)
        #expect(answer.contains("abc"))
        #expect(answer.hasSuffix("0\r\n\r\n") == isClean)
        #expect(bench.ring.wasReset(client) == !isClean)
    }

    @Test("A TLS upstream that never answers the handshake is a 504")
    func hangingUpstream() throws {
        var options = Bench.Options()
        options.isTLSUpstream = .init(trust: .unverified, name: "home.example")
        let bench = try Bench(options)
        let client = bench.client()
        bench.send(client, bench.get())

        bench.pass(.milliseconds(3_200))

        #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 504"))
        #expect(bench.ring.isClosed(bench.upstream))
    }

    @Test("A client with room for small records only gets any answer whole")
    func smallRecords() throws {
        let bench = try Self.bench()
        let client = try Peer(bench, smallRecords: true)
        client.exchange()
        for count in stride(from: 33_000, to: 70_000, by: 500) {
            client.send(bench.get())
            bench.ring.receives(
                bench.upstream, "HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n")
            bench.settle()
            // In one piece, as a bulk connection gets it.
            bench.worker.channels[bench.worker.upstreamBase].pointee.receiveLevel = 2
            bench.worker.stopReceiving(bench.worker.upstreamBase)
            bench.settle()
            bench.ring.receives(bench.upstream, String(repeating: "z", count: count))
            bench.settle()
            try #require(client.take().hasSuffix("\r\n\r\n" + String(repeating: "z", count: count)))
        }
    }

    @Test("The end of a relayed client is told to a TLS server with close_notify")
    func relayedEnd() throws {
        let folder = try TemporaryDirectory()
        let roots = try folder.write("ca.pem", try Self.authority.get().rootPEM)
        var options = Bench.Options()
        options.isTLSUpstream = .init(trust: try ClientTrust.load(roots), name: "home.example")
        let bench = try Bench(options)
        let client = bench.client(Bench.tcpListener)
        let server = try Peer(upstreamOf: bench, try Self.authority.get().leaf("home.example"))
        server.exchange()
        bench.send(client, "query")
        bench.ring.ends(client)
        bench.settle()

        #expect(server.take() == "query")
        #expect(server.sawEnd)
        #expect(bench.ring.isSendingShut(server.descriptor))
        server.send("answer")
        server.close()
        bench.ring.ends(server.descriptor)
        bench.settle()
        #expect(bench.ring.takeSent(to: client) == "answer")
        bench.expectEmpty()
    }
}
