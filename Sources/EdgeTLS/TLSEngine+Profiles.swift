internal import CEdge

/// Sessions of views: which certificates, which tickets, whether clients are asked for theirs.
extension TLSEngine {
    /// Serves these from now on, by number; nil where there is none. Sessions that are open keep
    /// what they have; handshakes under way go on with the profile of the same number.
    package func use(_ profiles: [ServerProfile?]) {
        self.profiles = profiles
        shelf.keep(stores)
        let kept = Set(profiles.compactMap { $0?.clients.map { ObjectIdentifier($0.trust) } })
        for (trust, context) in askingContexts where !kept.contains(trust) {
            // Its sessions hold it.
            SSL_CTX_free(context)
            askingContexts[trust] = nil
        }
    }

    /// All that certificates may come from.
    var stores: [CertificateStore] { [store] + profiles.compactMap { $0?.certificates } }

    /// - Parameters:
    ///   - profile: its number; negative: none.
    ///   - name: what is known of the name in the ClientHello that is offered next.
    /// - Returns: nil if OpenSSL has no memory, or there is no such profile any more.
    package func makeServerSession(profile number: Int, name: NameKnowledge) -> TLSSession? {
        guard profiles.indices.contains(number), let profile = profiles[number],
            let context = askingContext(profile),
            let session = makeSession(context)
        else { return nil }
        // Not a place in memory: the number and what is known of the name, never 0.
        let mark = UInt(number) << 2 | UInt(name.rawValue)
        guard SSL_set_ex_data(session, 0, UnsafeMutableRawPointer(bitPattern: mark)) == 1,
            bind(session, to: profile.context),
            !profile.requiresTLS13 || ce_ssl_set_min_version(session, TLS1_3_VERSION) == 1
        else {
            SSL_free(session)
            return nil
        }
        if let clients = profile.clients {
            let mode = clients.isRequired ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
            SSL_set_verify(session, SSL_VERIFY_PEER | mode, nil)
            assumeTime(session)
        }
        SSL_set_accept_state(session)
        return TLSSession(ssl: session)
    }

    /// - Returns: false if OpenSSL has no memory.
    func bind(_ session: OpaquePointer, to context: SessionContext?) -> Bool {
        guard let context else { return true }
        return withUnsafeBytes(of: context.digest) {
            SSL_set_session_id_context(
                session, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), 32)
        } == 1
    }

    /// Which profile a session was made with, and what was known of its name; nil: none.
    func profile(of session: OpaquePointer) -> (ServerProfile?, NameKnowledge)? {
        guard let mark = SSL_get_ex_data(session, 0).map({ UInt(bitPattern: $0) }),
            let name = NameKnowledge(rawValue: UInt8(mark & 3))
        else { return nil }
        let number = Int(mark >> 2)
        // One that has left in the middle of a handshake has no certificates any more.
        guard number < profiles.count, let profile = profiles[number] else {
            return (nil, .refused)
        }
        return (profile, name)
    }

    /// Whether the certificates that a client was shown also stand for another name.
    ///
    /// - Parameter host: any letter case.
    // Only where a request's host is not the name that its client asked for.
    package func covers(_ host: Span<UInt8>, session: TLSSession) -> Bool {
        let choice = choice(for: session.pointer)
        return host.withUnsafeBufferPointer { host in
            let host =
                host.last == UInt8(ascii: ".")
                ? UnsafeBufferPointer(rebasing: host.dropLast()) : host
            var isCovered = false
            choice.choice.forEach { index in
                if !isCovered { isCovered = choice.store.entries[index].covers(host) }
            }
            return isCovered
        }
    }

    private func askingContext(_ profile: ServerProfile) -> OpaquePointer? {
        guard let clients = profile.clients else { return server }
        let key = ObjectIdentifier(clients.trust)
        if let known = askingContexts[key] { return known }
        guard let context = try? makeServerContext() else { return nil }
        do throws(TLSFailure) {
            try clients.trust.install(in: context)
            try clients.trust.announce(in: context)
        } catch {
            SSL_CTX_free(context)
            return nil
        }
        askingContexts[key] = context
        return context
    }
}
