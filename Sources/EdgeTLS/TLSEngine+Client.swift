internal import CEdge

/// Whom a client context is for: one per set of trusted CAs and certificate of our own. Sessions
/// never cross from one to another.
struct ClientPolicy: Hashable {
    let trust: ClientTrust
    let identity: ClientIdentity?

    static func == (left: ClientPolicy, right: ClientPolicy) -> Bool {
        left.trust === right.trust && left.identity === right.identity
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(ObjectIdentifier(trust))
        hasher.combine(identity.map { ObjectIdentifier($0) })
    }
}

/// Sessions towards upstreams.
extension TLSEngine {
    /// - Parameters:
    ///   - identity: the certificate that is shown if the upstream asks for one; nil: none.
    ///   - name: SNI, and the name to be verified; a NUL-terminated host name, or nil to send none
    ///     (then nothing is verified but the chain).
    ///   - resuming: a session that `takeFreshSession` gave for the same upstream, trust, identity
    ///     and name: the handshake that it comes from has verified the upstream. It stays the
    ///     caller's; the upstream may decline it, and it is not offered where what was spoken on
    ///     it is not.
    ///   - protocols: what the upstream may choose of (`TLSSession.isHTTP2` tells what it chose).
    /// - Throws: if the trusted CAs or the certificate can't be used on this thread.
    package func makeClientSession(
        _ trust: ClientTrust, identity: ClientIdentity? = nil, name: UnsafePointer<CChar>?,
        resuming: ResumableSession? = nil, protocols: ALPNOffer = .http1
    ) throws(TLSFailure) -> TLSSession? {
        let context = try clientContext(ClientPolicy(trust: trust, identity: identity))
        guard let session = makeSession(context) else { return nil }
        guard offer(protocols, on: session) else {
            SSL_free(session)
            return nil
        }
        assumeTime(session)
        if let name {
            let parameters = SSL_get0_param(session)
            if X509_VERIFY_PARAM_set1_ip_asc(parameters, name) != 1 {
                ERR_clear_error()
                _ = ce_ssl_set_sni(session, name)
                SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
                SSL_set1_host(session, name)
            }
        }
        // One that does not fit is no reason not to connect.
        if let resuming, resuming.fits(protocols),
            SSL_set_session(session, resuming.pointer) != 1
        {
            ERR_clear_error()
        }
        SSL_set_connect_state(session)
        return TLSSession(ssl: session)
    }

    /// Peers' certificates are judged by the time that ours are judged by.
    func assumeTime(_ session: OpaquePointer) {
        guard let seconds = CertificateClock.assumed else { return }
        X509_VERIFY_PARAM_set_time(SSL_get0_param(session), time_t(seconds))
    }

    /// Sessions that upstreams have offered since this was last asked: ask after each step of a
    /// client session, so that it is known whose they are.
    ///
    /// - Returns: one of them, which the caller frees; nil when there is none left.
    package func takeFreshSession() -> ResumableSession? { freshSessions.popLast() }

    package var hasFreshSessions: Bool { !freshSessions.isEmpty }

    private func clientContext(_ policy: ClientPolicy) throws(TLSFailure) -> OpaquePointer {
        if let context = clients[policy] { return context }
        guard let context = SSL_CTX_new_ex(library, nil, TLS_client_method()) else {
            throw .library("SSL_CTX_new_ex")
        }
        do {
            try Self.configure(context)
            try policy.trust.install(in: context)
            try policy.identity?.install(in: context, library)
        } catch {
            SSL_CTX_free(context)
            throw error
        }
        let verifies = policy.trust.verifies
        SSL_CTX_set_verify(context, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        keepSessions(of: context)
        clients[policy] = context
        return context
    }

    /// OpenSSL hands each new session over and keeps none.
    private func keepSessions(of context: OpaquePointer) {
        ce_ssl_ctx_set_cache_mode(
            context, Int(SSL_SESS_CACHE_CLIENT) | Int(SSL_SESS_CACHE_NO_INTERNAL))
        SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_sess_set_new_cb(context) { session, fresh in
            guard let session, let fresh, let engine = TLSEngine.engine(of: session),
                engine.freshSessions.count < TLSEngine.freshSessionsMax
            else { return 0 }
            engine.freshSessions.append(ResumableSession(pointer: fresh))
            return 1
        }
    }

    /// An upstream may send any number of tickets in one step; more than these are dropped.
    private static let freshSessionsMax = 2

    /// Drops client contexts that no pool uses any more; sessions that are open stay.
    package func keepClients(_ kept: [(trust: ClientTrust, identity: ClientIdentity?)]) {
        let keep = Set(kept.map { ClientPolicy(trust: $0.trust, identity: $0.identity) })
        for (policy, context) in clients where !keep.contains(policy) {
            SSL_CTX_free(context)
            clients[policy] = nil
        }
    }
}

/// A session with an upstream that may be resumed. A trivial handle: whoever has it frees it once.
package struct ResumableSession: BitwiseCopyable, Equatable {
    let pointer: OpaquePointer

    package func free() { SSL_SESSION_free(pointer) }

    /// TLS 1.3 tickets are for one handshake each (RFC 8446 §C.4); sessions of TLS 1.2 are not.
    package var isForOneUse: Bool { SSL_SESSION_get_protocol_version(pointer) >= TLS1_3_VERSION }

    package var isResumable: Bool { SSL_SESSION_is_resumable(pointer) == 1 }
}
