import CEdge
import EdgeCore
import EdgeHTTP
import EdgeSystem
import EdgeTesting
import Testing

@testable import EdgeProxy

/// A worker over a scripted kernel with interfaces `lo`, `eth0` (2) and `wg0` (3), and what it does
/// with one connection and one request.
final class ExplainedWorker {
    /// What a client and the upstreams have seen.
    struct Observation {
        var hasAlert = false
        var isClosed = false
        /// The newest connection to an upstream; nil: none was made.
        var member: SocketAddress?
        /// What was sent on it.
        var forwarded: [UInt8] = []
        /// What the client got, decrypted.
        var answer = ""

        var lines: [String] {
            String(decoding: forwarded, as: UTF8.self).split(separator: "\r\n").map { "\($0)" }
        }

        /// Of the answer; nil: there is none.
        var status: Int? {
            let words = answer.split(separator: " ")
            return words.count > 1 ? Int(words[1]) : nil
        }

        var location: String? {
            let line = answer.split(separator: "\r\n").first { $0.hasPrefix("Location: ") }
            return line.map { "\($0.dropFirst("Location: ".count))" }
        }
    }

    private let ring = ScriptedRing(buffers: 64)
    private let worker: Worker
    private let board: SharedBoard
    private var now = Instant(nanoseconds: 1_000_000_000_000)

    init(_ snapshot: RuntimeSnapshot) throws {
        let file = try MemoryFile.make(name: "board", byteCount: SharedBoard.byteCount(workers: 1))
        board = try SharedBoard(descriptor: file.raw, workers: 1, create: true)
        let keys = try MemoryFile.make(name: "tickets", byteCount: TicketMemory.byteCount)
        let mailbox = try #require(Mailbox())
        worker = try Worker(
            Worker.Setup(
                index: 0,
                listeners: snapshot.listeners.indices.map { ($0, 100 + Int32($0)) },
                connectionsMax: 256, chunkBudget: 64 << 20,
                tickets: try TicketMemory(descriptor: keys.raw), seed: 1,
                loopMark: LoopMark(id: 1),
                interfaces: {
                    [
                        NetworkInterface(index: 1, name: "lo"),
                        NetworkInterface(index: 2, name: "eth0"),
                        NetworkInterface(index: 3, name: "wg0"),
                    ]
                }),
            ring: ring, block: board.block(1), mailbox: mailbox, snapshot: snapshot, now: now,
            report: { _ in })
        worker.handle(.serve)
        settle()
    }

    private func settle() {
        for _ in 0..<50 {
            ring.step()
            worker.startTurn(now)
            ring.step()
            if ring.isQuiet { return }
        }
    }

    /// - Parameter serverName: nil: without TLS; empty: without SNI.
    func observe(
        listener: Int, interface: Int32, from: SocketAddress, serverName: String?, _ request: String
    ) throws -> Observation {
        now = now.advanced(by: .milliseconds(1))
        ring.arrival = { _ in interface }
        let before = (ring.accepted.count, ring.opened.count)
        ring.incoming(100 + Int32(listener), [from])
        settle()
        var seen = Observation()
        guard ring.accepted.count > before.0 else {
            seen.isClosed = true
            return seen
        }
        let client = ring.accepted[before.0]
        if let serverName {
            let tls = try MemoryClient(serverName)
            talk(tls, client, request, &seen)
        } else {
            ring.receives(client, request)
            settle()
            seen.answer = String(decoding: ring.sent(to: client), as: UTF8.self)
        }
        seen.isClosed = ring.isClosed(client) && seen.answer.isEmpty
        if ring.opened.count > before.1, let upstream = ring.opened.last {
            seen.member = ring.address(of: upstream)
            seen.forwarded = ring.sent(to: upstream)
        }
        // Its connection is not for another client.
        ring.ends(client)
        settle()
        return seen
    }

    private func talk(
        _ tls: MemoryClient, _ client: Int32, _ request: String, _ seen: inout Observation
    ) {
        var taken = 0
        var isSent = false
        for _ in 0..<20 {
            let fresh = ring.sent(to: client).dropFirst(taken)
            taken += fresh.count
            let output = tls.step(Array(fresh))
            if !output.isEmpty { ring.receives(client, output) }
            if tls.isOpen, !isSent {
                isSent = true
                ring.receives(client, tls.encrypt(request))
            }
            settle()
        }
        seen.hasAlert = tls.hasFailed
        seen.answer = String(decoding: tls.received, as: UTF8.self)
    }
}

/// An OpenSSL client that offers `http/1.1` and believes every certificate.
private final class MemoryClient {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private(set) var isOpen = false
    private(set) var hasFailed = false
    private(set) var received: [UInt8] = []

    init(_ serverName: String) throws {
        guard let context = SSL_CTX_new(TLS_client_method()), let ssl = SSL_new(context),
            let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { throw KitError("no TLS") }
        self.context = context
        self.ssl = ssl
        self.input = input
        self.output = output
        SSL_set_bio(ssl, input, output)
        SSL_set_connect_state(ssl)
        if !serverName.isEmpty { _ = ce_ssl_set_sni(ssl, serverName) }
        let offer = [UInt8(8)] + Array("http/1.1".utf8)
        SSL_set_alpn_protos(ssl, offer, UInt32(offer.count))
    }

    deinit {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// Takes what the server has sent.
    ///
    /// - Returns: what the server gets.
    func step(_ bytes: [UInt8]) -> [UInt8] {
        if !bytes.isEmpty { BIO_write(input, bytes, Int32(bytes.count)) }
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
        return takeOutput()
    }

    func encrypt(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        SSL_write(ssl, bytes, Int32(bytes.count))
        return takeOutput()
    }

    private func takeOutput() -> [UInt8] {
        var all: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = BIO_read(output, &block, Int32(block.count))
            guard count > 0 else { return all }
            all += block.prefix(Int(count))
        }
    }
}
