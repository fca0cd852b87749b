internal import EdgeCore
internal import EdgeTLS

/// Steps 2 and 3 of a request: ciphertext in, handshake, plaintext out; and back. The wire is the
/// worker's: whatever a step leaves on it is taken off before anything else may run.
extension Worker {
    /// Feeds received ciphertext to the session and hands plaintext on.
    ///
    /// - Returns: bytes taken; less than `count` if input stopped being wanted.
    // hot: once per receive; no allocation of our own.
    func consumeTLS(_ slot: Int, _ bytes: UnsafeMutableRawPointer, count: Int) -> Int {
        let channel = channels[slot]
        guard let session = channel.pointee.session ?? startServerSession(slot) else { return 0 }
        let generation = channel.pointee.generation
        var taken = 0
        if channel.pointee.phase == .handshaking,
            channel.pointee.flags.isDisjoint(with: [.tlsFailed, .broken])
        {
            // What the client says next may be much.
            if shedsLoad, defersHandshake(slot) { return 0 }
            engine.wire.offer(bytes, count: count)
            continueHandshake(slot, session)
            taken = count - engine.wire.takeInput().count
            _ = engine.wire.takeHandshakeMessages()
            guard isOpen(slot, generation) else { return taken }
        }
        while taken < count, channel.pointee.phase == .established,
            channel.pointee.flags.contains(.wantsInput),
            channel.pointee.flags.isDisjoint(with: [.tlsFailed, .closeNotified, .broken])
        {
            engine.wire.offer(bytes + taken, count: count - taken)
            let filled = decrypt(slot, session)
            taken = count - engine.wire.takeInput().count
            if filled > 0 { handOn(slot, .init(start: scratch + Worker.headRoom, count: filled)) }
            guard isOpen(slot, generation) else { return taken }
        }
        if channel.pointee.flags.contains(.owesRelease), session.releaseBuffers() {
            channel.pointee.flags.remove(.owesRelease)
        }
        // What comes after the session's end means nothing.
        let isOver = !channel.pointee.flags.isDisjoint(with: [.tlsFailed, .closeNotified])
        return isOver ? count : taken
    }

    /// For a client of whom nothing is known but where it came from.
    private func startServerSession(_ slot: Int) -> TLSSession? {
        guard isDownstream(slot) else {
            markBroken(slot, .memoryLimit)
            return nil
        }
        if defersHandshake(slot) { return nil }
        return startServerSession(slot, profile: clientView(slot)?.profile ?? -1, .known)
    }

    /// Decrypts whole records into the scratch until the input or the room is used up.
    private func decrypt(_ slot: Int, _ session: TLSSession) -> Int {
        var filled = 0
        loop: while engine.wire.hasInput, Worker.scratchBytes - filled >= 16 * 1024 {
            var count = 0
            switch session.read(
                into: scratch + Worker.headRoom + filled, capacity: Worker.scratchBytes - filled,
                count: &count)
            {
            case .done: filled += count
            case .wantsInput: break loop
            case .wantsOutput: flushWire(slot)
            case .closed:
                channels[slot].pointee.flags.formUnion([.closeNotified, .peerEnded])
                callAttention(to: slot)
                break loop
            case .failed:
                channels[slot].pointee.flags.insert(.tlsFailed)
                // A server of TLS 1.3 refuses our certificate only now.
                if !isDownstream(slot) { noteUpstreamTLSFailure(slot, TLSFailure.takeErrorText()) }
                _ = TLSFailure.takeErrorText()
                markBroken(slot, isDownstream(slot) ? .clientTLSError : .upstreamTLSFailed)
                break loop
            }
        }
        flushWire(slot)
        limitHandshakeMessages(slot)
        return filled
    }

    /// Key updates cost us far more than the peer; a connection has use for a few (RFC 8446
    /// §4.6.3).
    private func limitHandshakeMessages(_ slot: Int) {
        let messages = engine.wire.takeHandshakeMessages()
        guard messages > 0 else { return }
        if !isDownstream(slot) { keepUpstreamSessions(slot) }
        let channel = channels[slot]
        let total = Int(channel.pointee.afterHandshake) + messages
        channel.pointee.afterHandshake = UInt8(min(total, 255))
        if total > Worker.handshakeMessagesMax {
            markBroken(slot, isDownstream(slot) ? .clientTLSError : .upstreamTLSFailed)
        }
    }

    /// Goes on with the handshake of either side with what is on the wire.
    func continueHandshake(_ slot: Int, _ session: TLSSession) {
        for _ in 0..<16 {
            handshakingSlot = slot
            let step = session.handshake()
            if let refusal = helloRefusal {
                endRefusedHandshake(slot, refusal)
                return
            }
            noteHelloAnswered(slot)
            flushWire(slot)
            switch step {
            case .done:
                handshakeCompleted(slot, session)
                return
            case .wantsInput:
                noteHelloIncomplete(slot)
                return
            case .wantsOutput: continue
            case .closed, .failed:
                handshakeFailed(slot, session)
                return
            }
        }
    }

    private func handshakeCompleted(_ slot: Int, _ session: TLSSession) {
        channels[slot].pointee.phase = .established
        if isDownstream(slot) {
            block.add(.handshakesCompleted)
            if session.isResumed { block.add(.handshakesResumed) }
            if session.isTLS13 { channels[slot].pointee.flags.insert(.owesTicket) }
            if session.isHTTP2 {
                startClientHTTP2(slot)
            } else {
                setDeadline(slot, .keepAlive, snapshot.timeouts.keepAlive)
            }
            listIdle(slot)
        } else {
            upstreamHandshakeCompleted(slot, session)
        }
    }

    private func handshakeFailed(_ slot: Int, _ session: TLSSession) {
        channels[slot].pointee.flags.insert(.tlsFailed)
        if isDownstream(slot) {
            block.add(.handshakesFailed)
            _ = TLSFailure.takeErrorText()
            let failure = engine.takeCertificateFailure()
            if let failure, failure.isNews { Log.error("\(failure.problem)") }
            markBroken(slot, failure == nil ? .clientHandshakeFailed : .certificateUnusable)
        } else {
            upstreamHandshakeFailed(slot, session)
        }
    }

    /// Sends what a step put on the wire.
    func flushWire(_ slot: Int) {
        let count = engine.wire.outputCount
        guard count > 0 else { return }
        sendBytes(slot, engine.wire.output, count: count)
        engine.wire.clearOutput()
    }

    /// Sends message bytes, encrypted where the channel is.
    // hot: once per message.
    func write(_ slot: Int, _ bytes: UnsafeRawPointer, count: Int) {
        guard let session = channels[slot].pointee.session else {
            // Plaintext never goes out on a connection that was to be encrypted.
            if count > 0, !channels[slot].pointee.flags.contains(.isTLS) {
                sendBytes(slot, bytes, count: count)
            }
            return
        }
        let offersTicket = channels[slot].pointee.flags.contains(.owesTicket)
        if offersTicket {
            channels[slot].pointee.flags.remove(.owesTicket)
            session.offerTicket()
        }
        var offset = 0
        while offset < count,
            channels[slot].pointee.flags.isDisjoint(with: [.broken, .tlsFailed])
        {
            if count - offset >= Worker.directWriteMin, !session.hasSmallRecords {
                let used = writeMuch(slot, session, bytes + offset, count: count - offset)
                offset += used
                if used > 0 { continue }
            }
            // So much that its records fit on the wire together.
            let piece = min(count - offset, Worker.wirePiece)
            switch session.write(bytes + offset, count: piece) {
            case .done: offset += piece
            case .wantsOutput: break
            case .wantsInput, .closed, .failed:
                _ = TLSFailure.takeErrorText()
                markBroken(slot, isDownstream(slot) ? .clientTLSError : .upstreamTLSFailed)
            }
            if offset < count || !holdsWire { flushWire(slot) }
        }
        if offersTicket, !session.releaseBuffers() {
            channels[slot].pointee.flags.insert(.owesRelease)
        }
    }

    // MARK: - Stage: pieces of a message become one record and one send

    /// Where `count` more bytes for `slot` can be put. Call `staged` with what was put there.
    func stageSpace(_ slot: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
        if stageSlot != slot || stageCount + count > Worker.stageBytes { flushStage() }
        stageSlot = slot
        return UnsafeMutableRawBufferPointer(
            start: stage + stageCount, count: Worker.stageBytes - stageCount)
    }

    func staged(_ count: Int) { stageCount += count }

    /// Adds content. Much of it, with nothing staged before it, goes out without being copied.
    func stageContent(_ slot: Int, _ bytes: UnsafeRawPointer, count: Int) {
        let isFirst = stageSlot != slot || stageCount == 0
        if count >= 48 * 1024 || (isFirst && count >= 8 * 1024) {
            flushStage()
            write(slot, bytes, count: count)
            return
        }
        let space = stageSpace(slot, count)
        space.baseAddress!.copyMemory(from: bytes, byteCount: count)
        staged(count)
    }

    func flushStage() {
        unsentAnswer = -1
        guard stageSlot >= 0 else { return }
        let slot = stageSlot
        let count = stageCount
        stageSlot = -1
        stageCount = 0
        if count > 0 { write(slot, stage, count: count) }
    }
}
