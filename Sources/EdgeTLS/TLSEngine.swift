internal import CEdge

/// A worker's TLS: its own library context (no locks shared between cores: −8 to −10 % per
/// handshake with two threads, measured), one server context for all certificates, one client
/// context per set of trusted CAs, and the certificates it has served so far, parsed.
package final class TLSEngine {
    package let wire: Wire
    let library: OpaquePointer
    private let server: OpaquePointer
    // Of TLSEngine+Certificates.swift.
    var store: CertificateStore
    var fallback: String?
    let shelf: CertificateShelf
    var certificateFailure: CertificateFailure?
    private var clients: [ObjectIdentifier: OpaquePointer] = [:]
    /// Keeps the objects alive whose identity is a key of `clients`.
    private var trusts: [ClientTrust] = []

    /// TLS 1.3 suites; AES-128 first, because its SHA-256 has an instruction and SHA-384 has none.
    private static let suites =
        "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
    /// TLS 1.2: AEAD with forward secrecy only (Mozilla "intermediate" without DHE).
    private static let ciphers =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
        + "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
        + "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    private static let groups = "X25519:P-256:P-384"

    /// Bytes of ticket key material that all workers share.
    package static let ticketKeyBytes = 80

    /// - Parameter ticketKeys: `ticketKeyBytes` random bytes, the same for every worker, so that a
    ///   ticket resumes on any of them.
    package init(ticketKeys: [UInt8]) throws(TLSFailure) {
        guard let library = OSSL_LIB_CTX_new() else { throw .library("OSSL_LIB_CTX_new") }
        guard let wire = Wire() else { throw .library("BIO_meth_new") }
        guard let server = SSL_CTX_new_ex(library, nil, TLS_server_method()) else {
            throw .library("SSL_CTX_new_ex")
        }
        self.library = library
        self.wire = wire
        self.server = server
        store = CertificateStore(entries: [])
        shelf = CertificateShelf(parser: CertificateParser(library: library))
        try Self.configure(server)
        try configureServer(ticketKeys)
    }

    deinit {
        shelf.removeAll()
        for context in clients.values { SSL_CTX_free(context) }
        SSL_CTX_free(server)
        OSSL_LIB_CTX_free(library)
    }

    /// - Returns: nil if OpenSSL has no memory.
    package func makeServerSession() -> TLSSession? {
        guard let session = makeSession(server) else { return nil }
        SSL_set_accept_state(session)
        return TLSSession(ssl: session)
    }

    /// - Parameters:
    ///   - name: SNI, and the name to be verified; a NUL-terminated host name, or nil to send none
    ///     (then nothing is verified but the chain).
    /// - Throws: if the trusted CAs can't be used on this thread.
    package func makeClientSession(
        _ trust: ClientTrust, name: UnsafePointer<CChar>?
    ) throws(TLSFailure) -> TLSSession? {
        let context = try clientContext(trust)
        guard let session = makeSession(context) else { return nil }
        if let name {
            let parameters = SSL_get0_param(session)
            if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) != 1 {
                ERR_clear_error()
                _ = ce_ssl_set_sni(session, name)
                SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
                SSL_set1_host(session, name)
            }
        }
        SSL_set_connect_state(session)
        return TLSSession(ssl: session)
    }

    private func makeSession(_ context: OpaquePointer) -> OpaquePointer? {
        guard let session = SSL_new(context) else { return nil }
        guard let bio = wire.makeBIO() else {
            SSL_free(session)
            return nil
        }
        SSL_set_bio(session, bio, bio)
        return session
    }

    // MARK: - Contexts

    private static func configure(_ context: OpaquePointer) throws(TLSFailure) {
        guard ce_ssl_ctx_set_versions(context, TLS1_2_VERSION, TLS1_3_VERSION) == 1,
            SSL_CTX_set_ciphersuites(context, suites) == 1,
            SSL_CTX_set_cipher_list(context, ciphers) == 1,
            ce_ssl_ctx_set_groups(context, groups) == 1
        else { throw .library("TLS versions, suites and groups") }
        ce_ssl_ctx_set_mode(
            context, Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER))
        ce_ssl_ctx_set_options(
            context,
            CE_SSL_OP_NO_RENEGOTIATION | CE_SSL_OP_NO_COMPRESSION
                | CE_SSL_OP_CIPHER_SERVER_PREFERENCE | CE_SSL_OP_PRIORITIZE_CHACHA
                | CE_SSL_OP_IGNORE_UNEXPECTED_EOF)
        ce_ssl_ctx_set_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        Wire.countMessages(in: context)
    }

    private func configureServer(_ ticketKeys: [UInt8]) throws(TLSFailure) {
        var keys = ticketKeys
        guard keys.count == Self.ticketKeyBytes,
            ce_ssl_ctx_set_ticket_keys(server, &keys, keys.count) == 1,
            SSL_CTX_set_num_tickets(server, 1) == 1,
            SSL_CTX_set_session_id_context(server, "edged", 5) == 1
        else { throw .library("session tickets") }
        SSL_CTX_set_alpn_select_cb(
            server,
            { _, selected, selectedCount, offered, offeredCount, _ in
                TLSEngine.selectProtocol(selected, selectedCount, offered, offeredCount)
            }, nil)
        SSL_CTX_set_session_ticket_cb(
            server, { _, _ in 1 },
            { session, ticket, _, _, status, _ in
                TLSEngine.judgeTicket(session, ticket, status)
            }, nil)
        installCertificateCallbacks(in: server)
    }

    private func clientContext(_ trust: ClientTrust) throws(TLSFailure) -> OpaquePointer {
        if let context = clients[ObjectIdentifier(trust)] { return context }
        guard let context = SSL_CTX_new_ex(library, nil, TLS_client_method()) else {
            throw .library("SSL_CTX_new_ex")
        }
        do {
            try Self.configure(context)
            try trust.install(in: context)
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        SSL_CTX_set_verify(context, trust.verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        SSL_CTX_set_alpn_protos(context, [8] + Array("http/1.1".utf8), 9)
        clients[ObjectIdentifier(trust)] = context
        trusts.append(trust)
        return context
    }

    /// Drops client contexts whose CAs no pool uses any more.
    package func keepTrusts(_ kept: [ClientTrust]) {
        let keep = Set(kept.map { ObjectIdentifier($0) })
        for (key, context) in clients where !keep.contains(key) {
            SSL_CTX_free(context)
            clients[key] = nil
        }
        trusts.removeAll { !keep.contains(ObjectIdentifier($0)) }
    }

    // MARK: - Callbacks

    /// ALPN (RFC 7301): http/1.1; a client that offers only others is told so by an alert.
    private static func selectProtocol(
        _ selected: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
        _ selectedCount: UnsafeMutablePointer<UInt8>?,
        _ offered: UnsafePointer<UInt8>?, _ offeredCount: UInt32
    ) -> Int32 {
        guard let selected, let selectedCount, let offered else {
            return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        var offset = 0
        while offset < Int(offeredCount) {
            let length = Int(offered[offset])
            let name = UnsafeBufferPointer(start: offered + offset + 1, count: length)
            guard offset + 1 + length <= Int(offeredCount) else { break }
            if name.elementsEqual("http/1.1".utf8) {
                selected.pointee = offered + offset + 1
                selectedCount.pointee = UInt8(length)
                return SSL_TLSEXT_ERR_OK
            }
            offset += 1 + length
        }
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }

    /// A session is resumed only for the name it was made for (RFC 8446 §4.2.11, RFC 6066 §3): else
    /// a ticket of one site would skip another's certificate.
    private static func judgeTicket(
        _ session: OpaquePointer?, _ ticket: OpaquePointer?, _ status: Int32
    ) -> Int32 {
        guard let session, let ticket,
            status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
        else { return SSL_TICKET_RETURN_IGNORE_RENEW }
        let made = SSL_SESSION_get0_hostname(ticket).map { String(cString: $0).lowercased() }
        guard made == helloName(session)?.lowercased() else {
            return SSL_TICKET_RETURN_IGNORE_RENEW
        }
        return status == SSL_TICKET_SUCCESS
            ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
    }

    /// The server_name extension of the ClientHello being processed; OpenSSL has not parsed it yet
    /// when it looks at tickets. RFC 6066 §3: list length, type, name length, name.
    private static func helloName(_ session: OpaquePointer) -> String? {
        var start: UnsafePointer<UInt8>?
        var count = 0
        guard
            SSL_client_hello_get0_ext(
                session, UInt32(TLSEXT_TYPE_server_name), &start, &count) == 1,
            let start, count > 5, start[2] == UInt8(TLSEXT_NAMETYPE_host_name)
        else { return nil }
        let length = Int(start[3]) << 8 | Int(start[4])
        guard length == count - 5 else { return nil }
        return String(
            decoding: UnsafeBufferPointer(start: start + 5, count: length), as: UTF8.self)
    }
}
