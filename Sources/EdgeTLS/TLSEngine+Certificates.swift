internal import CEdge
internal import Glibc

/// Which certificate a handshake gets: by SNI from the store, parsed on first use.
extension TLSEngine {
    /// Serves from now on what `store` holds; sessions that are open keep what they have, and
    /// what both stores hold stays parsed.
    ///
    /// - Parameter fallback: the name whose certificate is for clients without SNI or with an
    ///   unknown one; nil: they get the alert `unrecognized_name`.
    package func use(_ store: CertificateStore, fallback: String?) {
        self.fallback = fallback
        guard store !== self.store else { return }
        self.store = store
        shelf.keep(stores)
    }

    /// A handshake for which no certificate could be used.
    package struct CertificateFailure {
        package let problem: CertificateProblem
        /// True the first time that this engine meets it, when OpenSSL says why.
        package let isNews: Bool
    }

    /// Why the handshake that has just failed had no certificate, if that was the reason.
    package func takeCertificateFailure() -> CertificateFailure? {
        defer { certificateFailure = nil }
        return certificateFailure
    }

    func installCertificateCallbacks(in context: OpaquePointer) {
        // The engine outlives its context: both are freed in deinit, the context first.
        SSL_CTX_set_cert_cb(
            context,
            { session, argument in
                guard let session, let argument else { return 0 }
                let engine = Unmanaged<TLSEngine>.fromOpaque(argument).takeUnretainedValue()
                return engine.attachCertificate(to: session)
            }, Unmanaged.passUnretained(self).toOpaque())
        _ = ce_ssl_ctx_set_servername_callback(
            context,
            { session, alert, argument in
                guard let session, let argument else { return SSL_TLSEXT_ERR_OK }
                guard !TLSEngine.hasMalformedName(session) else {
                    alert?.pointee = SSL_AD_ILLEGAL_PARAMETER
                    return SSL_TLSEXT_ERR_ALERT_FATAL
                }
                let engine = Unmanaged<TLSEngine>.fromOpaque(argument).takeUnretainedValue()
                // OpenSSL asks here whether there is a name or not, with the session decided.
                if let judge = engine.helloJudge,
                    !judge(TLSSession(ssl: session), SSL_session_reused(session) == 1)
                {
                    alert?.pointee = SSL_AD_ACCESS_DENIED
                    return SSL_TLSEXT_ERR_ALERT_FATAL
                }
                guard engine.choice(for: session).choice.isEmpty else {
                    return SSL_TLSEXT_ERR_OK
                }
                alert?.pointee = SSL_AD_UNRECOGNIZED_NAME
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Certificates for the name that the client asked for, or the fallback's; and where they are.
    func choice(
        for session: OpaquePointer
    ) -> (choice: CertificateStore.Choice, store: CertificateStore) {
        let (profile, knowledge) = profile(of: session) ?? (nil, .known)
        let selection = CertificateSelection(store: store, profile: profile, fallback: fallback)
        let seconds = CertificateClock.now()
        guard let name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else {
            return selection.choose(nil, knowledge, at: seconds)
        }
        let count = strlen(name)
        return name.withMemoryRebound(to: UInt8.self, capacity: count) {
            selection.choose(.init(start: $0, count: count), knowledge, at: seconds)
        }
    }

    /// OpenSSL asks for a certificate, after SNI and signature algorithms are known. One of each
    /// key type is attached; OpenSSL takes the first in our order (ECDSA before RSA) that the
    /// client can verify.
    private func attachCertificate(to session: OpaquePointer) -> Int32 {
        var attached = false
        let (choice, store) = choice(for: session)
        choice.forEach { index in
            let entry = store.entries[index]
            if let certificate = shelf.certificate(entry), certificate.attach(to: session) {
                attached = true
            } else {
                let isNews = ERR_peek_error() != 0
                certificateFailure = CertificateFailure(
                    problem: .unusable(entry, TLSFailure.takeErrorText()), isNews: isNews)
            }
        }
        // One that could not be attached must not make the next step look failed.
        ERR_clear_error()
        if attached { certificateFailure = nil }
        return attached ? 1 : 0
    }
}
