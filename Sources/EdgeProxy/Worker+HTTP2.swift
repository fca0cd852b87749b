internal import EdgeCore
internal import EdgeHTTP2
internal import EdgeTLS

/// Connections that multiplex (RFC 9113), either side: input to the session, what it has to say out
/// in one write per turn, and the connection's end. Streams are in `Worker+HTTP2Streams`.
extension Worker {
    /// Content kept per stream before who sends it has to wait (BEHAVIOUR: 33).
    static let streamOutputMax = 32 * 1024
    /// Of a connection that keeps much, and of a stream beyond its windows.
    static let streamOutputLess = 8 * 1024
    /// What a client may go on sending after its answer: so long, and so much.
    static let streamLinger: UInt64 = 2_000_000_000
    static let streamLingerBytes: Int32 = 1 << 20
    /// What a session with an upstream may occupy beside content.
    static let upstreamMemoryMax = 16 << 20
    /// Control frames that may wait for a peer that takes nothing before it is no longer read.
    static let framesQueuedMax = 128

    /// The engine, made at its first use.
    func engineOfHTTP2() -> HTTP2Engine? {
        if let http2Engine { return http2Engine }
        http2Engine = HTTP2Engine(HTTP2Events(self), seed: identifiers.next())
        return http2Engine
    }

    // MARK: - Beginning

    /// The client has chosen h2 (RFC 9113 §3.3).
    func startClientHTTP2(_ slot: Int) {
        let limits = snapshot.http2.limits(headBytes: snapshot.requestLimits.headBytesMax)
        guard let session = engineOfHTTP2()?.makeServer(Int32(slot), limits, now: now) else {
            markBroken(slot, .memoryLimit)
            return
        }
        channels[slot].pointee.http2 = session
        links[slot].pointee = HTTP2Link()
        block.add(.http2Connections)
        setDeadline(slot, .keepAlive, snapshot.timeouts.keepAlive)
        if phase == .draining || isProfileGone(slot) { leaveHTTP2(slot) }
        touchHTTP2(slot)
    }

    // MARK: - Input

    /// Plaintext of a connection that multiplexes.
    func http2Input(_ slot: Int, _ session: HTTP2Session, _ bytes: UnsafeRawBufferPointer) {
        links[slot].pointee.heardAt = now
        let isLow = shedsLoad && isDownstream(slot) && isLowPriority(slot)
        let input = isLow ? receiveInPieces(slot, session, bytes) : session.receive(bytes, now: now)
        http2Fed(slot, session, input)
    }

    /// A round of input has been handled, or as much of it as there was time for.
    func http2Fed(_ slot: Int, _ session: HTTP2Session, _ outcome: HTTP2Session.Outcome) {
        let generation = channels[slot].pointee.generation
        let isClient = isDownstream(slot)
        switch outcome {
        case .open: break
        case .breach(let breach):
            endHTTP2(slot, breach.code, isClient ? breach.reason : .upstreamBadResponse)
            return
        case .failed:
            endHTTP2(
                slot, .protocolError, isClient ? .clientProtocolError : .upstreamBadResponse)
            return
        }
        sendBegun()
        flushStage()
        guard isOpen(slot, generation), channels[slot].pointee.http2 != nil else { return }
        // Content is bounded by windows and by back-pressure: it is nobody's fault.
        let most = isClient ? snapshot.http2.memoryMax : Worker.upstreamMemoryMax
        guard session.byteCount <= most else {
            endHTTP2(
                slot, .enhanceYourCalm,
                isClient ? .clientConnectionMemory : .upstreamBadResponse)
            return
        }
        noteBlock(slot, session)
        touchHTTP2(slot)
    }

    /// Requests whose heads came in this round, with what came of their content.
    private func sendBegun() {
        guard !http2Begun.isEmpty else { return }
        for index in http2Begun.indices {
            let slot = Int(http2Begun[index])
            guard channels[slot].pointee.phase == .established else { continue }
            let exchange = Int(downstreams[slot].pointee.exchange)
            if exchange >= 0 { sendRequest(exchange) }
        }
        http2Begun.removeAll(keepingCapacity: true)
    }

    /// A head in several pieces has a total deadline (BEHAVIOUR: 35).
    private func noteBlock(_ slot: Int, _ session: HTTP2Session) {
        guard isDownstream(slot) else { return }
        let downstream = downstreams[slot]
        guard session.isInBlock != downstream.pointee.headStarted else { return }
        downstream.pointee.headStarted = session.isInBlock
        if session.isInBlock {
            setDeadline(slot, .requestHead, snapshot.timeouts.requestHead)
        } else {
            setHTTP2Idle(slot)
        }
    }

    // MARK: - Output

    /// The session has something to say; it goes out at the end of the turn.
    func touchHTTP2(_ slot: Int) {
        let link = links[slot]
        guard !link.pointee.isDirty else { return }
        link.pointee.isDirty = true
        http2Dirty.append(Int32(slot))
    }

    func flushAllHTTP2() {
        // Flushing one may touch another; that one is in the list by then.
        var index = 0
        while index < http2Dirty.count {
            flushHTTP2(Int(http2Dirty[index]))
            index += 1
        }
        http2Dirty.removeAll(keepingCapacity: true)
    }

    /// One write for all that the streams of a connection have to say.
    // hot: once per turn and connection.
    private func flushHTTP2(_ slot: Int) {
        let link = links[slot]
        let channel = channels[slot]
        link.pointee.isDirty = false
        guard let session = channel.pointee.http2, channel.pointee.phase == .established,
            !channel.pointee.flags.contains(.broken)
        else { return }
        writeSession(slot, session)
        guard channel.pointee.http2 != nil, !channel.pointee.flags.contains(.broken) else {
            return
        }
        if let breach = session.takeBreach() {
            endHTTP2(
                slot, breach.code,
                isDownstream(slot) ? breach.reason : .upstreamBadResponse)
            return
        }
        if isBlocked(slot) {
            if session.queuedFrames > Worker.framesQueuedMax { pauseInput(slot) }
        } else if session.isOver {
            if session.blamedPeer { noteBlame(slot, .clientProtocolError) }
            closeHTTP2(slot)
            return
        }
        if link.pointee.bytesKept > 0 { noteStalled(slot) }
    }

    func writeSession(_ slot: Int, _ session: HTTP2Session) {
        while !isBlocked(slot), let bytes = session.output(), let start = bytes.baseAddress {
            let space = stageSpace(slot, bytes.count)
            space.baseAddress!.copyMemory(from: start, byteCount: bytes.count)
            staged(bytes.count)
        }
        flushStage()
    }

    /// The socket has taken what waited.
    func http2Drained(_ slot: Int) {
        touchHTTP2(slot)
        if channels[slot].pointee.flags.contains(.holdsPlaintext) {
            callHeld(slot)
        } else {
            resumeInput(slot)
        }
        // The deadline for what waited has stood in place of another.
        guard channels[slot].pointee.deadlineKind == .none else { return }
        if !isDownstream(slot) {
            restoreUpstreamDeadline(slot)
        } else if downstreams[slot].pointee.headStarted {
            setDeadline(slot, .requestHead, snapshot.timeouts.requestHead)
        } else {
            setHTTP2Idle(slot)
        }
    }

    // MARK: - Deadlines

    /// A connection without streams is idle, whatever else it says.
    func setHTTP2Idle(_ slot: Int) {
        guard isDownstream(slot) else { return }
        if links[slot].pointee.streamCount == 0 {
            let limit =
                links[slot].pointee.isLeaving ? Worker.drainGrace : snapshot.timeouts.keepAlive
            // Whoever leaves has no more time for being idle again and again.
            if !links[slot].pointee.isLeaving || channels[slot].pointee.deadlineKind != .keepAlive {
                setDeadline(slot, .keepAlive, limit)
            }
            if channels[slot].pointee.flags.contains(.listsWhenIdle) { listIdle(slot) }
        } else if !links[slot].pointee.isLeaving || links[slot].pointee.isGone {
            clearDeadline(slot)
        } else if channels[slot].pointee.deadlineKind != .keepAlive {
            setDeadline(slot, .keepAlive, Worker.drainGrace)
        }
    }

    /// Idle for too long; or leaving, and the client has had time to hear of it.
    func clientHTTP2Due(_ slot: Int) {
        guard links[slot].pointee.streamCount == 0 else {
            // From here on only what there is goes on (RFC 9113 §6.8).
            links[slot].pointee.isGone = true
            channels[slot].pointee.http2?.sayGone()
            touchHTTP2(slot)
            return
        }
        block.add(.clientIdleTimeout)
        endHTTP2(slot, .noError, .none)
    }

    // MARK: - Ends

    /// Takes no more streams; those that are open go on.
    func leaveHTTP2(_ slot: Int) {
        guard let session = channels[slot].pointee.http2, !links[slot].pointee.isLeaving else {
            return
        }
        links[slot].pointee.isLeaving = true
        session.sayLeaving()
        touchHTTP2(slot)
        setDeadline(slot, .keepAlive, Worker.drainGrace)
    }

    /// Ends the connection: GOAWAY with the reason, all its streams given up.
    func endHTTP2(_ slot: Int, _ code: HTTP2Code, _ reason: ReasonCode) {
        guard let session = channels[slot].pointee.http2 else { return }
        if reason != .none { noteBlame(slot, reason) }
        session.terminate(code)
        dropStreams(slot, reason == .none ? .clientClosed : reason, isCounted: false)
        writeSession(slot, session)
        closeHTTP2(slot)
    }

    /// A connection ends for what its client did; an upstream's reasons are its streams'.
    private func noteBlame(_ slot: Int, _ reason: ReasonCode) {
        guard isDownstream(slot) else { return }
        block.add(reason)
        if accessLog.isOn { logFailure(slot, reason) }
    }

    /// Says good-bye and closes; nothing more is read.
    private func closeHTTP2(_ slot: Int) {
        dropStreams(slot, isDownstream(slot) ? .clientClosed : .upstreamReset)
        retireHTTP2(slot)
        if isDownstream(slot) {
            downstreams[slot].pointee.phase = .ended
            closeGracefully(slot)
        } else {
            closeUpstreamConnection(slot)
        }
    }

    /// The connection is gone, and its streams with it.
    func abandonHTTP2(_ slot: Int, _ reason: ReasonCode) {
        guard channels[slot].pointee.http2 != nil else { return }
        dropStreams(slot, reason)
        retireHTTP2(slot)
    }

    private func retireHTTP2(_ slot: Int) {
        guard let session = channels[slot].pointee.http2 else { return }
        channels[slot].pointee.http2 = nil
        dropHeldPlaintext(slot)
        // It may be what is calling us.
        http2Retired.append(session)
        if isDownstream(slot) { block.subtract(.http2Connections) }
    }

    func freeRetiredHTTP2() {
        for session in http2Retired { session.free() }
        http2Retired.removeAll(keepingCapacity: true)
    }
}

extension HTTP2Breach {
    var code: HTTP2Code {
        switch self {
        case .resets, .resetShare, .pings, .settings, .priorities, .windowUpdates, .emptyData,
            .unknownFrames, .continuations, .headerBlock:
            .enhanceYourCalm
        case .frameSize: .frameSizeError
        case .streamClosed: .streamClosed
        case .protocolRule: .protocolError
        }
    }

    var reason: ReasonCode {
        switch self {
        case .resets, .resetShare: .clientResetFlood
        case .pings: .clientPingFlood
        case .settings: .clientSettingsFlood
        case .priorities: .clientPriorityFlood
        case .windowUpdates: .clientWindowFlood
        case .emptyData: .clientEmptyDataFlood
        case .unknownFrames: .clientUnknownFrameFlood
        case .continuations, .headerBlock: .clientHeaderFlood
        case .frameSize, .streamClosed, .protocolRule: .clientProtocolError
        }
    }
}
