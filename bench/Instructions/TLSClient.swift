internal import CEdge

/// An OpenSSL client whose bytes go from memory to memory.
final class TLSClient {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private var block = [UInt8](repeating: 0, count: 32 * 1024)

    /// - Parameter isHTTP2: nothing else is offered.
    init?(name: String, isHTTP2: Bool = false) {
        guard let context = SSL_CTX_new(TLS_client_method()), let ssl = SSL_new(context),
            let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { return nil }
        self.context = context
        self.ssl = ssl
        self.input = input
        self.output = output
        SSL_set_bio(ssl, input, output)
        SSL_set_connect_state(ssl)
        _ = ce_ssl_set_sni(ssl, name)
        let protocols: [UInt8] = [2] + Array("h2".utf8)
        if isHTTP2 { SSL_set_alpn_protos(ssl, protocols, UInt32(protocols.count)) }
    }

    deinit {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// - Returns: whether the handshake is complete.
    func advance() -> Bool { SSL_do_handshake(ssl) == 1 }

    func take(_ bytes: UnsafeRawPointer, _ count: Int) { BIO_write(input, bytes, Int32(count)) }

    /// Hands what is to be sent to `body`, if anything.
    func send(_ body: (UnsafeRawBufferPointer) -> Void) {
        let count = BIO_read(output, &block, Int32(block.count))
        if count > 0 { block.withUnsafeBytes { body(.init(rebasing: $0[..<Int(count)])) } }
    }

    func write(_ bytes: [UInt8]) { _ = SSL_write(ssl, bytes, Int32(bytes.count)) }

    /// How many bytes of content there were.
    func read(into target: inout [UInt8]) -> Int {
        max(0, Int(SSL_read(ssl, &target, Int32(target.count))))
    }
}
