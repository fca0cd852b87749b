internal import CEdge

/// A worker's TLS: its own library context (no locks shared between cores: −8 to −10 % per
/// handshake with two threads, measured), one server context for all certificates, one client
/// context per set of trusted CAs, and the certificates it has served so far, parsed.
package final class TLSEngine {
    package let wire: Wire
    let library: OpaquePointer
    let server: OpaquePointer
    // Of TLSEngine+Certificates.swift.
    var store: CertificateStore
    var fallback: String?
    let shelf: CertificateShelf
    var certificateFailure: CertificateFailure?
    // Of TLSEngine+Profiles.swift.
    var profiles: [ServerProfile?] = []
    /// Contexts that ask clients for certificates, by whom they trust.
    var askingContexts: [ObjectIdentifier: OpaquePointer] = [:]
    private var policy = TLSPolicy()
    // Of TLSEngine+Tickets.swift.
    let ticketKeys: TicketKeys
    // Of TLSEngine+Protocols.swift.
    var offersHTTP2 = true
    /// Asked about each ClientHello once it is known whether a session is resumed, before a
    /// certificate is chosen, a key is made or anything is signed; twice if the client had to be
    /// asked for another key share (RFC 8446 §4.1.4). False: the handshake fails. Nil: all go on.
    package var helloJudge: ((_ session: TLSSession, _ isResumed: Bool) -> Bool)?
    // Of TLSEngine+Client.swift.
    var clients: [ClientPolicy: OpaquePointer] = [:]
    var freshSessions: [ResumableSession] = []

    /// TLS 1.3 suites; AES-128 first, because its SHA-256 has an instruction and SHA-384 has none.
    private static let suites =
        "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
    /// TLS 1.2: AEAD with forward secrecy only (Mozilla "intermediate" without DHE).
    private static let ciphers =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
        + "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
        + "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    private static let groups = "X25519:P-256:P-384"

    /// Signatures that we make and believe: no SHA-1, no PKCS #1 v1.5 before PSS.
    private static let signatures =
        "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:RSA-PSS+SHA384:"
        + "RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

    /// Serves nothing and resumes nothing until it is told what to use.
    package init() throws(TLSFailure) {
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
        ticketKeys = try TicketKeys(library: library)
        try prepare(server)
    }

    deinit {
        shelf.removeAll()
        for session in freshSessions { session.free() }
        for context in clients.values { SSL_CTX_free(context) }
        for context in askingContexts.values { SSL_CTX_free(context) }
        SSL_CTX_free(server)
        OSSL_LIB_CTX_free(library)
    }

    /// Speaks so with clients from now on; sessions that are open keep what they have.
    package func use(_ policy: TLSPolicy) throws(TLSFailure) {
        self.policy = policy
        offersHTTP2 = policy.offersHTTP2
        try apply(policy, to: server)
        for context in askingContexts.values { try apply(policy, to: context) }
    }

    private func apply(_ policy: TLSPolicy, to context: OpaquePointer) throws(TLSFailure) {
        let lowest =
            switch policy.minimum {
            case .tls12: TLS1_2_VERSION
            case .tls13: TLS1_3_VERSION
            }
        guard ce_ssl_ctx_set_versions(context, lowest, TLS1_3_VERSION) == 1 else {
            throw .library("TLS versions")
        }
        SSL_CTX_set_timeout(context, Int(policy.ticketLifetime.components.seconds))
    }

    /// - Parameter context: what a ticket must have been made in to be resumed here; nil: the one
    ///   view, without client certificates.
    /// - Returns: nil if OpenSSL has no memory.
    package func makeServerSession(_ context: SessionContext? = nil) -> TLSSession? {
        guard let session = makeSession(server) else { return nil }
        _ = bind(session, to: context)
        SSL_set_accept_state(session)
        return TLSSession(ssl: session)
    }

    func makeSession(_ context: OpaquePointer) -> OpaquePointer? {
        guard let session = SSL_new(context) else { return nil }
        guard let bio = wire.makeBIO() else {
            SSL_free(session)
            return nil
        }
        SSL_set_bio(session, bio, bio)
        return session
    }

    // MARK: - Contexts

    static func configure(_ context: OpaquePointer) throws(TLSFailure) {
        guard ce_ssl_ctx_set_versions(context, TLS1_2_VERSION, TLS1_3_VERSION) == 1,
            SSL_CTX_set_ciphersuites(context, suites) == 1,
            SSL_CTX_set_cipher_list(context, ciphers) == 1,
            ce_ssl_ctx_set_groups(context, groups) == 1,
            ce_ssl_ctx_set_signatures(context, signatures) == 1
        else { throw .library("TLS versions, suites, groups and signatures") }
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

    /// One more context for clients, like the first.
    func makeServerContext() throws(TLSFailure) -> OpaquePointer {
        guard let context = SSL_CTX_new_ex(library, nil, TLS_server_method()) else {
            throw .library("SSL_CTX_new_ex")
        }
        do throws(TLSFailure) {
            try prepare(context)
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        return context
    }

    private func prepare(_ context: OpaquePointer) throws(TLSFailure) {
        try Self.configure(context)
        try installTickets(in: context)
        installProtocolChoice(in: context)
        installCertificateCallbacks(in: context)
        try apply(policy, to: context)
    }
}
