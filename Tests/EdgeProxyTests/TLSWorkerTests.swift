import CEdge
import EdgeCore
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

@Suite("Worker: TLS") struct TLSWorkerTests {
    private static let authority = Result { try CertificateMint() }

    private static func bench(certificate: Bool = true) throws -> Bench {
        var options = Bench.Options()
        if certificate {
            let folder = try TemporaryDirectory()
            try authority.get().leaf("home.example").writeBundle("home", in: folder.path)
            options.certificates = try CertificateFolder.load(folder.path)
        }
        return try Bench(options)
    }

    /// An OpenSSL client behind a scripted descriptor.
    private final class Client {
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

        init(_ bench: Bench, piece: Int = .max) throws {
            self.bench = bench
            self.piece = piece
            descriptor = bench.client(Bench.tlsListener)
            guard let context = SSL_CTX_new(TLS_client_method()), let ssl = SSL_new(context),
                let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
            else { throw KitError("no client") }
            self.context = context
            self.ssl = ssl
            self.input = input
            self.output = output
            SSL_set_bio(ssl, input, output)
            SSL_set_connect_state(ssl)
            _ = ce_ssl_set_sni(ssl, "home.example")
        }

        deinit {
            SSL_free(ssl)
            SSL_CTX_free(context)
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

        private func flush() -> Bool {
            var all: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 16 * 1024)
            while true {
                let count = BIO_read(output, &block, Int32(block.count))
                guard count > 0 else { break }
                all += block.prefix(Int(count))
            }
            var rest = all[...]
            while !rest.isEmpty {
                bench.ring.receives(descriptor, rest.prefix(piece))
                rest = rest.dropFirst(piece)
            }
            return !all.isEmpty
        }

        func send(_ text: String) {
            let bytes = Array(text.utf8)
            SSL_write(ssl, bytes, Int32(bytes.count))
            exchange()
        }

        func close() {
            SSL_shutdown(ssl)
            exchange()
        }

        func take() -> String {
            exchange()
            defer { received = [] }
            return String(decoding: received, as: UTF8.self)
        }
    }

    @Test("A handshake, requests and answers, at any cut", arguments: [.max, 1, 7])
    func request(piece: Int) throws {
        let bench = try Self.bench()
        let client = try Client(bench, piece: piece)
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

    @Test("A slow TLS client gets a long answer whole; a long body goes up whole")
    func long() throws {
        let bench = try Self.bench()
        let client = try Client(bench)
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
        let client = try Client(bench)

        client.exchange()

        #expect(client.hasFailed)
        #expect(bench.count(Counter.handshakesFailed) == 1)
        #expect(bench.count(ReasonCode.clientHandshakeFailed) == 1)
        #expect(bench.ring.isClosed(client.descriptor))
        bench.expectEmpty()
    }

    @Test("Rubbish after the handshake ends the connection")
    func rubbish() throws {
        let bench = try Self.bench()
        let client = try Client(bench)
        client.exchange()

        bench.send(client.descriptor, "this is no record at all, whatever comes")

        #expect(bench.ring.isClosed(client.descriptor))
        #expect(bench.count(ReasonCode.clientTLSError) == 1)
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
}
