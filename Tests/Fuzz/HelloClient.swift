internal import CEdge

/// An OpenSSL client over memory whose ciphertext somebody tampers with.
final class HelloClient {
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    // One thread at a time, as for the engine.
    nonisolated(unsafe) private static let context = SSL_CTX_new(TLS_client_method())
    /// Resumed by some clients, so that tickets are read too.
    nonisolated(unsafe) private static var ticket: OpaquePointer?

    init?(isOld: Bool, resumes: Bool) {
        guard let context = Self.context, let ssl = SSL_new(context),
            let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { return nil }
        self.ssl = ssl
        self.input = input
        self.output = output
        SSL_set_bio(ssl, input, output)
        SSL_set_connect_state(ssl)
        _ = ce_ssl_set_sni(ssl, "www.home.example")
        if isOld { SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil) }
        if resumes, let ticket = Self.ticket { SSL_set_session(ssl, ticket) }
    }

    deinit { SSL_free(ssl) }

    /// Takes the server's bytes in, goes on, and returns what it says.
    func step(_ bytes: [UInt8], writing text: [UInt8]) -> [UInt8] {
        if !bytes.isEmpty { BIO_write(input, bytes, Int32(bytes.count)) }
        if SSL_do_handshake(ssl) == 1 {
            var block = [UInt8](repeating: 0, count: 1024)
            _ = SSL_read(ssl, &block, 1024)
            if !text.isEmpty { SSL_write(ssl, text, Int32(text.count)) }
        }
        ERR_clear_error()
        var said: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16 << 10)
        for _ in 0..<64 {
            let count = BIO_read(output, &block, Int32(block.count))
            guard count > 0 else { break }
            said += block.prefix(Int(count))
        }
        return said
    }

    var isOpen: Bool { SSL_is_init_finished(ssl) == 1 }

    /// Ends in order, and keeps the session for the next client.
    func close() -> [UInt8] {
        SSL_shutdown(ssl)
        if let session = SSL_get1_session(ssl) {
            if let ticket = Self.ticket { SSL_SESSION_free(ticket) }
            Self.ticket = session
        }
        return step([], writing: [])
    }
}
