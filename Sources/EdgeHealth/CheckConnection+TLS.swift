internal import CEdge
internal import EdgeCore
internal import EdgeTLS
internal import EdgeUpstream

/// TLS of a check, as workers speak it with upstreams, over the checker's one wire: it is empty
/// before and after each of these functions.
extension CheckConnection {
    /// Seven of the handshake itself, and some tickets and key updates: of those, a peer could send
    /// any number, and each costs us far more than the peer (RFC 8446 §4.6.3).
    private static let handshakeMessagesMax = 64

    func startHandshake(_ tls: CheckTLS) {
        let protocols: ALPNOffer =
            switch target.policy.kind {
            case .http2, .grpc: .http2
            // Which of them is spoken is not asked, and a server may have but one.
            case .tls: .both
            case .tcp, .http, .kubeAPIServer, .activeMember: .http1
            }
        ERR_clear_error()
        let engine: TLSEngine
        do {
            engine = try tools.engine()
        } catch {
            return failOurs("TLS: \(error)")
        }
        do {
            let session =
                try tls.name.map { name in
                    try Array(name.utf8CString).withUnsafeBufferPointer {
                        try engine.makeClientSession(
                            tls.trust, identity: tls.identity, name: $0.baseAddress,
                            protocols: protocols)
                    }
                }
                ?? engine.makeClientSession(
                    tls.trust, identity: tls.identity, name: nil, protocols: protocols)
            guard let session else { return failOurs("no memory for TLS") }
            phase = .handshaking(session)
            continueHandshake(session, engine)
        } catch {
            // Traffic's connections fail for it as well.
            fail("TLS: \(error)")
        }
    }

    func receiveTLS(_ bytes: UnsafeRawBufferPointer, _ session: TLSSession) {
        guard let engine = try? tools.engine(), let start = bytes.baseAddress else { return }
        // What other users of OpenSSL on this thread have left would be taken for ours.
        ERR_clear_error()
        engine.wire.offer(start, count: bytes.count)
        if case .handshaking = phase { continueHandshake(session, engine) }
        if case .exchanging = phase { decrypt(session, engine) }
        _ = engine.wire.takeInput()
        // Of this connection alone: there are none before, and none of another's meanwhile.
        handshakeMessages += engine.wire.takeHandshakeMessages()
        if handshakeMessages > Self.handshakeMessagesMax {
            fail("TLS: too many handshake messages")
        }
    }

    /// - Parameter bytes: plaintext, not empty.
    func encrypt(_ bytes: [UInt8], _ session: TLSSession) {
        guard let engine = try? tools.engine() else { return }
        let step = bytes.withUnsafeBytes { bytes -> TLSSession.Step in
            guard let start = bytes.baseAddress else { return .done }
            return repeatStep(engine) { session.write(start, count: bytes.count) }
        }
        if step == .failed { fail("TLS: \(TLSFailure.takeErrorText())") }
    }

    /// Says that nothing more comes, if the socket takes it, and ends the session.
    func endTLS(_ session: TLSSession) {
        if let engine = try? tools.engine() {
            ERR_clear_error()
            session.closeNotify()
            flushWire(engine)
        }
        session.free()
    }

    private func continueHandshake(_ session: TLSSession, _ engine: TLSEngine) {
        switch repeatStep(engine, { session.handshake() }) {
        case .done:
            noteCertificate(session)
            phase = .exchanging(session)
            guard !target.policy.kind.speaksHTTP2 || session.isHTTP2 else {
                return fail(CheckReason.noHTTP2)
            }
            beginExchange()
        case .wantsInput, .wantsOutput: break
        case .closed: fail("connection closed in the TLS handshake")
        case .failed:
            let text = TLSFailure.takeErrorText()
            noteCertificate(session)
            let isVerified = target.tls?.trust.verifies == false || !session.verificationFailed
            fail(isVerified ? "TLS: \(text)" : session.verificationText)
        }
    }

    private func decrypt(_ session: TLSSession, _ engine: TLSEngine) {
        while report == nil {
            guard let start = tools.plaintext.baseAddress else { return }
            var count = 0
            let step = repeatStep(engine) {
                session.read(into: start, capacity: tools.plaintext.count, count: &count)
            }
            switch step {
            case .done: deliver(UnsafeRawBufferPointer(start: start, count: count))
            case .wantsInput, .wantsOutput: return
            case .closed: return peerEnded()
            case .failed: return fail("TLS: \(TLSFailure.takeErrorText())")
            }
        }
    }

    /// A step, repeated with the wire emptied as long as it is full. Sessions to be resumed are
    /// let go.
    private func repeatStep(
        _ engine: TLSEngine, _ body: () -> TLSSession.Step
    ) -> TLSSession.Step {
        var step = body()
        flushWire(engine)
        while step == .wantsOutput, report == nil {
            step = body()
            flushWire(engine)
        }
        while let session = engine.takeFreshSession() { session.free() }
        return step
    }

    private func flushWire(_ engine: TLSEngine) {
        guard engine.wire.outputCount > 0 else { return }
        send(UnsafeRawBufferPointer(start: engine.wire.output, count: engine.wire.outputCount))
        engine.wire.clearOutput()
    }

    private func noteCertificate(_ session: TLSSession) {
        certificateNotAfter = session.peerCertificateEnd
        guard let tls = target.tls else { return }
        if tls.trust.verifies {
            if session.verificationFailed { certificateProblem = session.verificationText }
        } else if let end = certificateNotAfter, end < Int64(WallClock.now() / 1_000_000_000) {
            certificateProblem = "certificate has expired"
        }
    }
}
