internal import CEdge

/// Sessions towards upstreams.
extension TLSEngine {
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
}
