internal import EdgeCore
internal import EdgeTLS

/// TLS towards upstreams: handshakes, and sessions that spare the next one its signatures.
extension Worker {
    func startClientHandshake(_ slot: Int, _ tls: RuntimeSnapshot.PoolTLS) {
        let channel = channels[slot]
        let offer = sessionOffer(slot)
        defer { offer?.give() }
        let protocols = protocolOffer(slot)
        do {
            let session =
                try tls.name.map {
                    try $0.withUnsafeBufferPointer {
                        try engine.makeClientSession(
                            tls.trust, identity: tls.identity, name: $0.baseAddress,
                            resuming: offer?.session, protocols: protocols)
                    }
                }
                ?? engine.makeClientSession(
                    tls.trust, identity: tls.identity, name: nil, resuming: offer?.session,
                    protocols: protocols)
            guard let session else {
                upstreamFailed(slot, .memoryLimit)
                return
            }
            channel.pointee.session = session
            channel.pointee.phase = .handshaking
            channel.pointee.flags.insert(.isTLS)
            armReceive(slot)
            continueHandshake(slot, session)
        } catch {
            noteUpstreamTLSFailure(slot, "\(error)")
            upstreamFailed(slot, .upstreamTLSFailed)
        }
    }

    private func protocolOffer(_ slot: Int) -> ALPNOffer {
        let upstream = self.upstream(slot)
        guard upstream.pointee.isShared, let pool = pools[Int(upstream.pointee.pool)] else {
            return .http1
        }
        return pool.settings.version == .auto ? .both : .http2
    }

    func upstreamHandshakeCompleted(_ slot: Int, _ session: TLSSession) {
        block.add(.upstreamTLSHandshakes)
        if session.isResumed { block.add(.upstreamTLSResumed) }
        keepUpstreamSessions(slot)
        upstreamReady(slot)
    }

    func upstreamHandshakeFailed(_ slot: Int, _ session: TLSSession) {
        let notVerified = session.verificationFailed
        let text = TLSFailure.takeErrorText()
        noteUpstreamTLSFailure(slot, notVerified ? "\(text): \(session.verificationText)" : text)
        // Should it have been the session's fault, the next handshake does without.
        if let address = memberAddress(slot) {
            upstreamSessions.remove(upstream(slot).pointee.pool, address)
        }
        markBroken(slot, notVerified ? .upstreamNotVerified : .upstreamTLSFailed)
    }

    /// One line in the log, at most one a second and upstream.
    func noteUpstreamTLSFailure(_ slot: Int, _ text: String) {
        guard let pool = pools[Int(upstream(slot).pointee.pool)] else { return }
        let member = pool.group.members.members[Int(upstream(slot).pointee.member)].address
        guard now.nanoseconds(since: pool.lastTLSLog) >= 1_000_000_000 else { return }
        pool.lastTLSLog = now
        let name = pool.settings.tls?.name.map { name in
            String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        Log.warning(
            "upstream: TLS failed: \(text)",
            [
                "upstream": pool.settings.upstream, "member": "\(member)",
                "name": name ?? "none",
            ])
    }

    // MARK: - Sessions

    private func sessionOffer(_ slot: Int) -> UpstreamSessions.Offer? {
        memberAddress(slot).flatMap {
            upstreamSessions.take(upstream(slot).pointee.pool, $0, now: now)
        }
    }

    /// Keeps what the upstream has offered in the step just done.
    func keepUpstreamSessions(_ slot: Int) {
        guard engine.hasFreshSessions else { return }
        let pool = upstream(slot).pointee.pool
        let address = pools[Int(pool)].flatMap { $0.isRetired ? nil : memberAddress(slot) }
        while let session = engine.takeFreshSession() {
            if let address {
                upstreamSessions.put(session, pool, address, now: now)
            } else {
                session.free()
            }
        }
    }

    private func memberAddress(_ slot: Int) -> SocketAddress? {
        let upstream = self.upstream(slot)
        guard let pool = pools[Int(upstream.pointee.pool)] else { return nil }
        return pool.group.members.members[Int(upstream.pointee.member)].address
    }

    // MARK: - What clients are offered

    /// How TLS is spoken with clients from the next connection on.
    func usePolicy(_ policy: TLSPolicy) {
        do {
            try engine.use(policy)
        } catch {
            Log.error("worker \(setup.index): \(error)")
        }
    }

    /// The newest ticket keys, if there are others than before.
    // hot: once per TLS connection; one load from shared memory.
    @inline(__always)
    func refreshTicketKeys() {
        if setup.tickets.generation != ticketGeneration { takeTicketKeys() }
    }

    private func takeTicketKeys() {
        guard let (generation, keys) = setup.tickets.read() else { return }
        engine.useTickets(keys)
        ticketGeneration = generation
    }
}
