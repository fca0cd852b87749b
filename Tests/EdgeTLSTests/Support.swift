import CEdge
import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeTLS

/// One of our sessions with its engine, fed with bytes and drained of them.
final class OurEnd {
    let engine: TLSEngine
    let session: TLSSession
    private(set) var step = TLSSession.Step.wantsInput
    private var held: [UInt8] = []
    private(set) var output: [UInt8] = []
    private(set) var received: [UInt8] = []
    private var isDone = false
    private var isFreed = false

    init(_ engine: TLSEngine, _ session: TLSSession) {
        self.engine = engine
        self.session = session
    }

    deinit { free() }

    func free() {
        if !isFreed { session.free() }
        isFreed = true
    }

    var isOpen: Bool { isDone }

    // Asked here, so that the session is not gone before it has answered.
    var isHTTP2: Bool { session.isHTTP2 }
    var isResumed: Bool { session.isResumed }

    func feed(_ bytes: [UInt8]) {
        held += bytes
        held.withUnsafeBytes { all in
            if let start = all.baseAddress { engine.wire.offer(start, count: all.count) }
            if !isDone {
                step = session.handshake()
                drain()
                isDone = step == .done
                if isDone { session.offerTicket() }
            }
            if isDone { read() }
        }
        held = Array(held.suffix(engine.wire.takeInput().count))
        drain()
    }

    private func read() {
        var block = [UInt8](repeating: 0, count: 16 * 1024)
        for _ in 0..<1_000 {
            var count = 0
            let result = block.withUnsafeMutableBytes {
                session.read(into: $0.baseAddress!, capacity: $0.count, count: &count)
            }
            step = result
            guard result == .done else { return }
            received += block.prefix(count)
        }
    }

    func write(_ bytes: [UInt8]) -> TLSSession.Step {
        defer { drain() }
        return bytes.withUnsafeBytes { session.write($0.baseAddress!, count: $0.count) }
    }

    func closeNotify() {
        session.closeNotify()
        drain()
    }

    private func drain() {
        output += UnsafeRawBufferPointer(start: engine.wire.output, count: engine.wire.outputCount)
        engine.wire.clearOutput()
    }

    func take() -> [UInt8] {
        defer { output = [] }
        return output
    }
}

/// A client made of OpenSSL alone, over memory.
final class PlainClient {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let outputBIO: OpaquePointer
    private(set) var isOpen = false
    private(set) var failure: String?
    private(set) var received: [UInt8] = []
    private(set) var sawEnd = false

    init(
        _ name: String?, roots: String? = nil, alpn: [String] = [], algorithms: String? = nil,
        versions: ClosedRange<Int32> = TLS1_2_VERSION...TLS1_3_VERSION,
        resuming: OpaquePointer? = nil, ciphers: String? = nil, isFallback: Bool = false
    ) throws {
        guard let context = SSL_CTX_new(TLS_client_method()),
            let input = BIO_new(BIO_s_mem()), let outputBIO = BIO_new(BIO_s_mem())
        else { throw KitError("no client") }
        self.context = context
        self.input = input
        self.outputBIO = outputBIO
        // Level 0, so that old versions can be offered at all.
        SSL_CTX_set_security_level(context, 0)
        _ = ce_ssl_ctx_set_versions(context, versions.lowerBound, versions.upperBound)
        if let ciphers {
            if ciphers.hasPrefix("TLS_") {
                SSL_CTX_set_ciphersuites(context, ciphers)
            } else {
                SSL_CTX_set_cipher_list(context, ciphers)
            }
        }
        if isFallback { ce_ssl_ctx_set_mode(context, Int(SSL_MODE_SEND_FALLBACK_SCSV)) }
        if let algorithms {
            _ = algorithms.withCString {
                // SSL_CTRL_SET_SIGALGS_LIST
                SSL_CTX_ctrl(context, 98, 0, UnsafeMutableRawPointer(mutating: $0))
            }
        }
        guard let ssl = SSL_new(context) else { throw KitError("no client") }
        self.ssl = ssl
        SSL_set_bio(ssl, input, outputBIO)
        SSL_set_connect_state(ssl)
        if let name { _ = ce_ssl_set_sni(ssl, name) }
        if !alpn.isEmpty {
            let list = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            SSL_set_alpn_protos(ssl, list, UInt32(list.count))
        }
        if let resuming { SSL_set_session(ssl, resuming) }
    }

    deinit {
        // The session outlives a connection that nobody has closed.
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// Offers these bytes as a ticket of TLS 1.2 (RFC 5077 §3.1).
    func offer(ticket: [UInt8]) {
        var copy = ticket
        _ = SSL_set_session_ticket_ext(ssl, &copy, Int32(copy.count))
    }

    func feed(_ bytes: [UInt8]) {
        if !bytes.isEmpty { BIO_write(input, bytes, Int32(bytes.count)) }
        if !isOpen, failure == nil {
            let status = SSL_do_handshake(ssl)
            if status == 1 {
                isOpen = true
            } else if SSL_get_error(ssl, status) != SSL_ERROR_WANT_READ {
                failure = TLSFailure.takeErrorText()
            }
        }
        guard isOpen else { return }
        var block = [UInt8](repeating: 0, count: 16 * 1024)
        for _ in 0..<1_000 {
            let count = SSL_read(ssl, &block, Int32(block.count))
            guard count > 0 else {
                sawEnd = SSL_get_error(ssl, count) == SSL_ERROR_ZERO_RETURN
                ERR_clear_error()
                return
            }
            received += block.prefix(Int(count))
        }
    }

    func write(_ bytes: [UInt8]) { SSL_write(ssl, bytes, Int32(bytes.count)) }

    func take() -> [UInt8] {
        var all: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = BIO_read(outputBIO, &block, Int32(block.count))
            guard count > 0 else { return all }
            all += block.prefix(Int(count))
        }
    }

    var alpn: String {
        var bytes: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &bytes, &count)
        return String(
            decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
    }

    var isResumed: Bool { SSL_session_reused(ssl) == 1 }

    /// The caller owns it.
    var session: OpaquePointer? { SSL_get1_session(ssl) }

    var cipher: String { String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))) }

    /// How long the server lets the session be resumed, in seconds.
    var ticketLifetime: UInt {
        SSL_SESSION_get_ticket_lifetime_hint(SSL_get_session(ssl))
    }

    /// Names and key type of the server's certificate.
    var certificate: (name: String, isRSA: Bool)? {
        guard let leaf = SSL_get1_peer_certificate(ssl) else { return nil }
        defer { X509_free(leaf) }
        var text = [CChar](repeating: 0, count: 256)
        X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, &text, 256)
        let name = text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        return (name, EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)) == EVP_PKEY_RSA)
    }
}

/// Certificates that the tests share; RSA keys take their time.
enum Shared {
    static let mint = Result { try CertificateMint() }
    static let leaves = Result {
        let mint = try Self.mint.get()
        return [
            try mint.leaf("www.home.example"), try mint.leaf("*.home.example"),
            try mint.leaf("www.home.example", key: .rsa2048), try mint.leaf("fallback.example"),
        ]
    }

    /// A store as the daemon would load it.
    static func store(_ leaves: [MintedCertificate]) throws -> CertificateStore {
        let folder = try TemporaryDirectory()
        for (index, leaf) in leaves.enumerated() {
            try leaf.writeBundle("c\(index)", in: folder.path)
        }
        return try CertificateFolder.load(folder.path)
    }

    static let common = Result { try store(Self.leaves.get()) }

    /// A ticket key that consists of one byte.
    static func key(_ byte: UInt8, madeAt: UInt64 = 0) -> TicketKey {
        TicketKey(
            random: [UInt8](repeating: byte, count: TicketKey.randomBytes),
            madeAt: Instant(nanoseconds: madeAt), createdSeconds: 1_700_000_000)
    }

    static func server(
        _ store: CertificateStore? = nil, fallback: String? = nil,
        keys: [TicketKey] = [Shared.key(9)]
    ) throws -> TLSEngine {
        let engine = try TLSEngine()
        engine.use(try store ?? common.get(), fallback: fallback)
        engine.useTickets(keys)
        return engine
    }
}

/// Passes bytes to and fro until both are open, one has failed, or nothing moves.
func connect(_ client: PlainClient, _ server: OurEnd, piece: Int = .max) {
    client.feed([])
    for _ in 0..<20 {
        let up = client.take()
        pass(up, piece) { server.feed($0) }
        let down = server.take()
        pass(down, piece) { client.feed($0) }
        if up.isEmpty, down.isEmpty { return }
    }
}

func connect(_ client: OurEnd, _ server: OurEnd, piece: Int = .max) {
    client.feed([])
    for _ in 0..<20 {
        let up = client.take()
        pass(up, piece) { server.feed($0) }
        let down = server.take()
        pass(down, piece) { client.feed($0) }
        if up.isEmpty, down.isEmpty { return }
    }
}

private func pass(_ bytes: [UInt8], _ piece: Int, _ body: ([UInt8]) -> Void) {
    var rest = bytes[...]
    while !rest.isEmpty {
        body(Array(rest.prefix(piece)))
        rest = rest.dropFirst(piece)
    }
}
