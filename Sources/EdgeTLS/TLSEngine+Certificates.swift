internal import CEdge

/// Which certificate a handshake gets: by SNI from the store, parsed on first use.
extension TLSEngine {
    /// Serves from now on what `store` holds; sessions that are open keep what they have.
    ///
    /// - Parameter fallback: the name whose certificate is for clients without SNI or with an
    ///   unknown one; nil: they get the alert `unrecognized_name`.
    package func use(_ store: CertificateStore, fallback: String?) {
        guard store !== self.store || fallback != self.fallback else { return }
        self.store = store
        self.fallback = fallback
        parsed.removeAll()
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
                let engine = Unmanaged<TLSEngine>.fromOpaque(argument).takeUnretainedValue()
                guard engine.certificates(for: session).isEmpty else { return SSL_TLSEXT_ERR_OK }
                alert?.pointee = SSL_AD_UNRECOGNIZED_NAME
                return SSL_TLSEXT_ERR_ALERT_FATAL
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Entries for the name that the client asked for, or the fallback's.
    private func certificates(for session: OpaquePointer) -> [Int] {
        if let name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) {
            let found = store.matches(for: String(cString: name))
            if !found.isEmpty { return found }
        }
        return fallback.map { store.matches(for: $0) } ?? []
    }

    /// OpenSSL asks for a certificate, after SNI and signature algorithms are known. All key types
    /// are attached; OpenSSL takes the one that the client can verify.
    private func attachCertificate(to session: OpaquePointer) -> Int32 {
        var attached = false
        for index in certificates(for: session) {
            let certificate: ParsedCertificate
            if let known = parsed[index] {
                certificate = known
            } else if let fresh = ParsedCertificate(store.entries[index], library: library) {
                parsed[index] = fresh
                certificate = fresh
            } else {
                continue
            }
            if certificate.attach(to: session) { attached = true }
        }
        // One that could not be attached must not make the next step look failed.
        ERR_clear_error()
        return attached ? 1 : 0
    }
}

/// A certificate, its chain and key as OpenSSL objects of one worker.
final class ParsedCertificate {
    private let leaf: OpaquePointer
    private let key: OpaquePointer
    private let chain: OpaquePointer

    init?(_ entry: CertificateStore.Entry, library: OpaquePointer) {
        guard let leaf = Self.certificate(entry.leaf, library),
            let key = Self.privateKey(entry.privateKey, library),
            let chain = ce_sk_x509_new()
        else {
            ERR_clear_error()
            return nil
        }
        self.leaf = leaf
        self.key = key
        self.chain = chain
        for issuer in entry.chain {
            guard let certificate = Self.certificate(issuer, library) else { continue }
            _ = ce_sk_x509_push(chain, certificate)
        }
    }

    deinit {
        X509_free(leaf)
        EVP_PKEY_free(key)
        ce_sk_x509_free(chain)
    }

    func attach(to session: OpaquePointer) -> Bool {
        SSL_use_cert_and_key(session, leaf, key, chain, 1) == 1
    }

    private static func certificate(_ der: [UInt8], _ library: OpaquePointer) -> OpaquePointer? {
        var result = X509_new_ex(library, nil)
        return der.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_X509(&result, &start, $0.count)
        }
    }

    private static func privateKey(_ der: [UInt8], _ library: OpaquePointer) -> OpaquePointer? {
        der.withUnsafeBufferPointer {
            var start = $0.baseAddress
            return d2i_AutoPrivateKey_ex(nil, &start, $0.count, library, nil)
        }
    }
}
