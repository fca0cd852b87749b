internal import CEdge

/// TLS 1.3 between two nodes that know each other's certificate, for either side of a connection.
/// One thread. Both show a certificate, and only the pinned one will do; nothing is resumed, so
/// that each connection proves it anew.
package final class PinnedTLS {
    package let wire: Wire
    package let identity: PinnedIdentity
    private let library: OpaquePointer
    private let server: OpaquePointer
    private let client: OpaquePointer
    /// The SHA-256 of the peer's certificate, where OpenSSL's callbacks find it.
    private let pin: UnsafeMutablePointer<UInt8>

    private static let pinBytes = 32
    private static let suites = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

    package init(_ identity: PinnedIdentity) throws(TLSFailure) {
        guard let library = OSSL_LIB_CTX_new() else { throw .library("OSSL_LIB_CTX_new") }
        guard let wire = Wire() else {
            OSSL_LIB_CTX_free(library)
            throw .library("BIO_meth_new")
        }
        guard let server = SSL_CTX_new_ex(library, nil, TLS_server_method()),
            let client = SSL_CTX_new_ex(library, nil, TLS_client_method())
        else {
            OSSL_LIB_CTX_free(library)
            throw .library("SSL_CTX_new_ex")
        }
        self.library = library
        self.wire = wire
        self.server = server
        self.client = client
        self.identity = identity
        pin = .allocate(capacity: Self.pinBytes)
        pin.initialize(from: identity.peer.bytes, count: Self.pinBytes)
        for context in [server, client] { try configure(context) }
    }

    deinit {
        SSL_CTX_free(server)
        SSL_CTX_free(client)
        OSSL_LIB_CTX_free(library)
        pin.deallocate()
    }

    private func configure(_ context: OpaquePointer) throws(TLSFailure) {
        guard ce_ssl_ctx_set_versions(context, TLS1_3_VERSION, TLS1_3_VERSION) == 1,
            SSL_CTX_set_ciphersuites(context, Self.suites) == 1,
            ce_ssl_ctx_set_groups(context, "X25519:P-256") == 1,
            SSL_CTX_set_num_tickets(context, 0) == 1
        else { throw .library("TLS version, suites and groups") }
        ce_ssl_ctx_set_mode(
            context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER))
        ce_ssl_ctx_set_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        Wire.countMessages(in: context)
        try identity.identity.install(in: context, library)
        SSL_CTX_set_verify(
            context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        // In place of all that OpenSSL would check of a chain. That the peer has the key is proved
        // by the handshake itself (RFC 8446 §4.4.3).
        SSL_CTX_set_cert_verify_callback(
            context,
            { store, pin in
                guard let store, let pin, PinnedTLS.isPinned(store, pin) else {
                    if let store {
                        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED)
                    }
                    return 0
                }
                X509_STORE_CTX_set_error(store, X509_V_OK)
                return 1
            }, pin)
    }

    private static func isPinned(_ store: OpaquePointer, _ pin: UnsafeMutableRawPointer) -> Bool {
        guard let certificate = X509_STORE_CTX_get0_cert(store) else { return false }
        var digest = [UInt8](repeating: 0, count: pinBytes)
        var count = UInt32(pinBytes)
        guard X509_digest(certificate, EVP_sha256(), &digest, &count) == 1,
            count == pinBytes
        else { return false }
        return CRYPTO_memcmp(digest, pin, pinBytes) == 0
    }

    /// - Returns: nil if OpenSSL has no memory.
    package func makeSession(isServer: Bool) -> TLSSession? {
        guard let session = SSL_new(isServer ? server : client) else { return nil }
        guard let bio = wire.makeBIO() else {
            SSL_free(session)
            return nil
        }
        SSL_set_bio(session, bio, bio)
        if isServer { SSL_set_accept_state(session) } else { SSL_set_connect_state(session) }
        return TLSSession(ssl: session)
    }

    /// Whether the peer has shown another certificate than the pinned one.
    package func hasRefused(_ session: TLSSession) -> Bool {
        SSL_get_verify_result(session.pointer) == Int(X509_V_ERR_CERT_REJECTED)
    }
}
