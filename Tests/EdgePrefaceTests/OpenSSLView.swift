import CEdge

/// What OpenSSL's server makes of the first bytes of a connection, up to the point at which it has
/// taken the whole ClientHello in: it then asks which certificate to use, and is stopped.
final class OpenSSLView {
    /// OpenSSL has accepted every extension that it knows.
    private(set) var isTaken = false
    private(set) var name: [UInt8]?
    /// The ALPN extension's contents.
    private(set) var protocols: [UInt8]?

    // Tests of this suite run one after another.
    nonisolated(unsafe) private static let context = SSL_CTX_new(TLS_server_method())

    init(_ bytes: [UInt8]) {
        guard let context = Self.context, let ssl = SSL_new(context) else { return }
        defer { SSL_free(ssl) }
        let argument = Unmanaged.passUnretained(self).toOpaque()
        SSL_CTX_set_client_hello_cb(
            context,
            { ssl, _, argument in
                guard let ssl, let argument else { return SSL_CLIENT_HELLO_ERROR }
                let view = Unmanaged<OpenSSLView>.fromOpaque(argument).takeUnretainedValue()
                var start: UnsafePointer<UInt8>?
                var count = 0
                if SSL_client_hello_get0_ext(ssl, 16, &start, &count) == 1 {
                    view.protocols = Array(UnsafeBufferPointer(start: start, count: count))
                }
                return SSL_CLIENT_HELLO_SUCCESS
            }, argument)
        _ = ce_ssl_ctx_set_servername_callback(
            context,
            { ssl, _, argument in
                guard let ssl, let argument else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                let view = Unmanaged<OpenSSLView>.fromOpaque(argument).takeUnretainedValue()
                view.isTaken = true
                if var byte = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) {
                    var name: [UInt8] = []
                    while byte.pointee != 0 {
                        name.append(UInt8(bitPattern: byte.pointee))
                        byte += 1
                    }
                    view.name = name
                }
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }, argument)
        let input = BIO_new(BIO_s_mem())
        let output = BIO_new(BIO_s_mem())
        SSL_set_bio(ssl, input, output)
        SSL_set_accept_state(ssl)
        BIO_write(input, bytes, Int32(bytes.count))
        SSL_do_handshake(ssl)
        ERR_clear_error()
    }
}

/// The first flight of an OpenSSL client.
func openSSLHello(name: String?, protocols: [String], version: Int32?) -> [UInt8] {
    guard let context = SSL_CTX_new(TLS_client_method()), let ssl = SSL_new(context) else {
        return []
    }
    defer {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }
    if let name { _ = ce_ssl_set_sni(ssl, name) }
    let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    if !list.isEmpty { SSL_set_alpn_protos(ssl, list, UInt32(list.count)) }
    if let version { SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil) }
    let output = BIO_new(BIO_s_mem())
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), output)
    SSL_set_connect_state(ssl)
    SSL_do_handshake(ssl)
    ERR_clear_error()
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = BIO_read(output, &bytes, Int32(bytes.count))
    return Array(bytes.prefix(max(Int(count), 0)))
}
