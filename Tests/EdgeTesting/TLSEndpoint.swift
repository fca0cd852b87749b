internal import CEdge
internal import Foundation

/// How a test client speaks TLS. Sessions are kept for resumption only on request.
package final class ClientTLS: @unchecked Sendable {
    // Sendable: the context is set up in init and then only used through OpenSSL's own locking.
    let context: OpaquePointer
    package let serverName: String?
    let alpn: [String]

    /// - Parameters:
    ///   - serverName: SNI and the name to verify; nil sends none and verifies the chain only.
    ///   - trusting: PEM text of the roots; nil accepts any certificate.
    ///   - identity: a client certificate.
    package init(
        serverName: String?, trusting roots: String? = nil, alpn: [String] = [],
        identity: MintedCertificate? = nil, versions: ClosedRange<TLSVersion> = .v12 ... .v13
    ) throws {
        context = try makeContext(TLS_client_method(), versions)
        self.serverName = serverName
        self.alpn = alpn
        if let roots {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
            try addRoots(roots, to: context)
        }
        if let identity { try use(identity, in: context) }
    }

    deinit { SSL_CTX_free(context) }

    /// A session object for one connection; the caller frees it.
    ///
    /// - Parameter ticket: of an earlier connection, to be offered.
    func makeSession(_ descriptor: Int32, resuming ticket: ClientTicket? = nil) throws
        -> OpaquePointer
    {
        guard let session = SSL_new(context) else { throw openSSLError("SSL_new") }
        SSL_set_fd(session, descriptor)
        SSL_set_connect_state(session)
        if let ticket { SSL_set_session(session, ticket.pointer) }
        if let serverName {
            _ = ce_ssl_set_sni(session, serverName)
            SSL_set1_host(session, serverName)
        }
        if !alpn.isEmpty {
            let list = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            SSL_set_alpn_protos(session, list, UInt32(list.count))
        }
        return session
    }
}

/// What a server gave a client to come back with (RFC 5077, RFC 8446 §4.6.1).
package final class ClientTicket: @unchecked Sendable {
    // Sendable: never changed after init; OpenSSL counts references atomically.
    let pointer: OpaquePointer

    /// - Parameter session: of a connection; nil if nothing can be resumed with it.
    init?(of session: OpaquePointer) {
        guard let pointer = SSL_get1_session(session) else { return nil }
        self.pointer = pointer
        guard SSL_SESSION_is_resumable(pointer) == 1 else { return nil }
    }

    deinit { SSL_SESSION_free(pointer) }
}

/// How a test server speaks TLS.
package final class ServerTLS: @unchecked Sendable {
    // Sendable: as for ClientTLS; the ALPN list is constant after init.
    private let context: OpaquePointer
    private let alpn: [UInt8]

    /// - Parameter clientRoots: PEM text; given, a client certificate is required.
    package init(
        _ identity: MintedCertificate, alpn: [String] = [], clientRoots: String? = nil,
        versions: ClosedRange<TLSVersion> = .v12 ... .v13
    ) throws {
        context = try makeContext(TLS_server_method(), versions)
        self.alpn = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        try use(identity, in: context)
        if let clientRoots {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
            try addRoots(clientRoots, to: context)
        }
        SSL_CTX_set_alpn_select_cb(
            context,
            { _, out, outLength, offered, offeredLength, argument in
                let server = Unmanaged<ServerTLS>.fromOpaque(argument!).takeUnretainedValue()
                let ours = server.alpn
                guard !ours.isEmpty else { return SSL_TLSEXT_ERR_NOACK }
                var chosen: UnsafeMutablePointer<UInt8>?
                // The result points into one of the two lists; the client's outlives the call.
                let result = SSL_select_next_proto(
                    &chosen, outLength, ours, UInt32(ours.count), offered, offeredLength)
                guard result == OPENSSL_NPN_NEGOTIATED, let chosen else {
                    return SSL_TLSEXT_ERR_NOACK
                }
                let name = Array(UnsafeBufferPointer(start: chosen, count: Int(outLength!.pointee)))
                out!.pointee = position(of: name, in: offered!, Int(offeredLength))
                return out!.pointee == nil ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit { SSL_CTX_free(context) }

    func makeSession(_ descriptor: Int32) throws -> OpaquePointer {
        guard let session = SSL_new(context) else { throw openSSLError("SSL_new") }
        SSL_set_fd(session, descriptor)
        SSL_set_accept_state(session)
        return session
    }
}

/// Where a protocol name stands in an ALPN list.
private func position(
    of name: [UInt8], in list: UnsafePointer<UInt8>, _ count: Int
) -> UnsafePointer<UInt8>? {
    var at = 0
    while at < count {
        let length = Int(list[at])
        let entry = UnsafeBufferPointer(start: list + at + 1, count: min(length, count - at - 1))
        if entry.elementsEqual(name) { return list + at + 1 }
        at += length + 1
    }
    return nil
}

package enum TLSVersion: Int, Sendable, Comparable {
    case v12, v13

    package static func < (left: TLSVersion, right: TLSVersion) -> Bool {
        left.rawValue < right.rawValue
    }

    fileprivate var number: Int32 { self == .v12 ? TLS1_2_VERSION : TLS1_3_VERSION }
}

private func makeContext(
    _ method: OpaquePointer?, _ versions: ClosedRange<TLSVersion>
) throws -> OpaquePointer {
    // OpenSSL writes with write(2), which has no MSG_NOSIGNAL. Programs that the kit starts get the
    // default action back.
    signal(SIGPIPE, SIG_IGN)
    guard let context = SSL_CTX_new(method) else { throw openSSLError("SSL_CTX_new") }
    _ = ce_ssl_ctx_set_versions(context, versions.lowerBound.number, versions.upperBound.number)
    // Partial writes (1) from a buffer that may move (2).
    ce_ssl_ctx_set_mode(context, 3)
    return context
}

private func withPEM<Result>(_ text: String, _ body: (OpaquePointer) throws -> Result) throws
    -> Result
{
    let bytes = Array(text.utf8)
    guard let source = BIO_new_mem_buf(bytes, Int32(bytes.count)) else {
        throw openSSLError("BIO_new_mem_buf")
    }
    defer { BIO_free(source) }
    return try withExtendedLifetime(bytes) { try body(source) }
}

private func certificates(_ text: String) throws -> [OpaquePointer] {
    var source = text
    source += "\n"
    return try withPEM(source) { bio in
        var found: [OpaquePointer] = []
        while let next = PEM_read_bio_X509(bio, nil, nil, nil), found.count < 16 {
            found.append(next)
        }
        ERR_clear_error()
        return found
    }
}

private func addRoots(_ text: String, to context: OpaquePointer) throws {
    let store = SSL_CTX_get_cert_store(context)
    for root in try certificates(text) {
        X509_STORE_add_cert(store, root)
        X509_free(root)
    }
}

private func use(_ identity: MintedCertificate, in context: OpaquePointer) throws {
    let chain = try certificates(identity.certificatePEM + identity.chainPEM)
    defer { for one in chain { X509_free(one) } }
    let stack = ce_sk_x509_new()
    for one in chain.dropFirst() {
        X509_up_ref(one)
        _ = ce_sk_x509_push(stack, one)
    }
    defer { ce_sk_x509_free(stack) }
    try withPEM(identity.keyPEM) { source in
        guard let key = PEM_read_bio_PrivateKey(source, nil, nil, nil) else {
            throw openSSLError("key")
        }
        defer { EVP_PKEY_free(key) }
        guard let leaf = chain.first,
            SSL_CTX_use_cert_and_key(context, leaf, key, stack, 1) == 1
        else { throw openSSLError("certificate and key") }
    }
}
