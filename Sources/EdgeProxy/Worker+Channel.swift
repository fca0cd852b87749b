internal import EdgeCore
internal import EdgeRing
internal import EdgeTLS
internal import Glibc

/// The transport: receiving, stashing, sending, closing. Knows which machine is above only by
/// `isDownstream`.
extension Worker {
    func token(_ slot: Int, _ operation: Operation) -> CompletionToken {
        CompletionToken(
            slot: slot, generation: channels[slot].pointee.generation, operation: operation)
    }

    /// Takes over a slot that `SlotList` handed out; its generation goes on.
    func openChannel(_ slot: Int, _ descriptor: Int32, _ phase: Channel.Phase) {
        let channel = channels[slot]
        channel.pointee = Channel(
            descriptor: descriptor, generation: channel.pointee.generation, phase: phase,
            inFlight: [], flags: .wantsInput, deadlineKind: .none, receiveLevel: 0,
            receiveStreak: 0, afterHandshake: 0, failure: .none, backlogged: 0, session: nil,
            http2: nil,
            output: ChunkList(), stash: ChunkList(), pace: Pace())
    }

    /// The slot still has the user it had when `generation` was read.
    func isOpen(_ slot: Int, _ generation: UInt32) -> Bool {
        let channel = channels[slot]
        return channel.pointee.generation == generation && channel.pointee.phase != .closing
    }

    // MARK: - Receiving

    func armReceive(_ slot: Int) {
        let channel = channels[slot]
        guard !channel.pointee.inFlight.contains(.receive),
            channel.pointee.flags.isDisjoint(with: [.peerEnded, .isStream])
        else { return }
        channel.pointee.inFlight.insert(.receive)
        // Scarce memory: what nobody may be able to take stays in the kernel.
        if channel.pointee.receiveLevel == 0, !chunks.isScarce {
            if receivesOnce(slot) {
                ring.receiveOnce(token(slot, .receive), from: channel.pointee.descriptor)
            } else {
                ring.receive(token(slot, .receive), from: channel.pointee.descriptor)
            }
        } else {
            ring.watchReadable(token(slot, .receive), on: channel.pointee.descriptor)
        }
    }

    // hot: once per receive; no allocation.
    /// - Parameter copy: the bytes, if the completion's buffer has been returned; it is given back.
    func completeReceive(
        _ slot: Int, _ completion: Completion, copied copy: ChunkPointer? = nil
    ) {
        defer { if let copy { chunks.give(copy) } }
        let channel = channels[slot]
        if !completion.hasMore {
            channel.pointee.inFlight.remove(.receive)
            channel.pointee.flags.subtract([.receiveStopping, .receiveOver])
        }
        let buffer = copy == nil ? completion.buffer : nil
        if channel.pointee.phase == .closing {
            if let buffer { ring.returnBuffer(buffer) }
            finalizeIfIdle(slot)
            return
        }
        let generation = channel.pointee.generation
        if let copy {
            noteReceived(slot, copy.count)
            received(slot, copy.waiting, count: copy.count)
        } else if completion.result > 0, let buffer {
            noteReceived(slot, Int(completion.result))
            received(slot, ring.bytes(of: buffer), count: Int(completion.result))
            ring.returnBuffer(buffer)
        } else if completion.result > 0 {
            receiveMuch(slot)
        } else {
            if let buffer { ring.returnBuffer(buffer) }
            receiveEnded(slot, completion.result)
        }
        guard isOpen(slot, generation), !channel.pointee.inFlight.contains(.receive) else { return }
        if channel.pointee.flags.contains(.wantsInput) || channel.pointee.phase == .lingering {
            armReceive(slot)
        }
    }

    func receiveEnded(_ slot: Int, _ result: Int32) {
        let channel = channels[slot]
        switch -result {
        case 0:
            channel.pointee.flags.insert(.peerEnded)
            if channel.pointee.phase == .lingering {
                terminate(slot)
            } else {
                callAttention(to: slot)
            }
        case ENOBUFS: block.add(.receiveBuffersExhausted)
        case ECANCELED, EINTR, EAGAIN: break
        default:
            channel.pointee.flags.insert(.peerEnded)
            markBroken(slot, isDownstream(slot) ? .clientReset : .upstreamReset)
        }
    }

    func received(_ slot: Int, _ bytes: UnsafeMutableRawPointer, count: Int) {
        let channel = channels[slot]
        if isDownstream(slot) {
            block.add(.clientBytesReceived, UInt64(count))
            // Its next request will be asked about as its last one was: from memory, that takes
            // longer than the limit itself.
            let key = downstreams[slot].pointee.limitKey
            if key != 0 { limitTables?.rates.touch(key) }
        } else {
            block.add(.upstreamBytesReceived, UInt64(count))
        }
        switch channel.pointee.phase {
        case .flushing, .lingering, .closing, .free, .connecting: return
        case .handshaking, .established: break
        }
        var taken = 0
        if channel.pointee.flags.contains(.wantsInput), channel.pointee.stash.isEmpty,
            channel.pointee.flags.isDisjoint(with: .holdsPlaintext)
        {
            let generation = channel.pointee.generation
            taken = consume(slot, bytes, count: count)
            guard isOpen(slot, generation) else { return }
        }
        guard taken < count else { return }
        guard channel.pointee.stash.append(bytes + taken, count: count - taken, from: &chunks)
        else {
            markBroken(slot, .memoryLimit)
            return
        }
        if channel.pointee.stash.byteCount > Worker.stashMax { stopReceiving(slot) }
    }

    /// Tells the kernel to receive no more; what has arrived by then still comes.
    func stopReceiving(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.inFlight.contains(.receive),
            !channel.pointee.inFlight.contains(.cancel),
            channel.pointee.flags.isDisjoint(with: [.receiveStopping, .receiveOver])
        else { return }
        channel.pointee.flags.insert(.receiveStopping)
        channel.pointee.inFlight.insert(.cancel)
        ring.cancel(token(slot, .cancel), token(slot, .receive))
    }

    /// From now on input is stashed.
    func pauseInput(_ slot: Int) {
        channels[slot].pointee.flags.subtract([.wantsInput, .resumesLater])
    }

    /// Input is wanted again: the stash first, at the end of the turn.
    func resumeInput(_ slot: Int) {
        let channel = channels[slot]
        guard !channel.pointee.flags.contains(.wantsInput) else { return }
        guard !channel.pointee.flags.contains(.paused) else {
            channel.pointee.flags.insert(.resumesLater)
            return
        }
        channel.pointee.flags.insert(.wantsInput)
        callAttention(to: slot)
    }

    /// Hands received bytes on, through TLS if there is any.
    ///
    /// - Returns: how many were taken; the rest is to be stashed.
    func consume(_ slot: Int, _ bytes: UnsafeMutableRawPointer, count: Int) -> Int {
        let flags = channels[slot].pointee.flags
        if flags.contains(.awaitsPreface) { return consumePreface(slot, bytes, count: count) }
        if flags.contains(.isTLS) { return consumeTLS(slot, bytes, count: count) }
        handOn(slot, UnsafeMutableRawBufferPointer(start: bytes, count: count))
        return count
    }

    /// Plaintext to the machine above.
    func handOn(_ slot: Int, _ bytes: UnsafeMutableRawBufferPointer) {
        if let session = channels[slot].pointee.http2 {
            http2Input(slot, session, UnsafeRawBufferPointer(bytes))
        } else if isStream(slot) {
            stashedContent(slot, UnsafeRawBufferPointer(bytes))
        } else if isDownstream(slot) {
            downstreamInput(slot, UnsafeRawBufferPointer(bytes))
        } else {
            upstreamInput(slot, UnsafeRawBufferPointer(bytes))
        }
    }

    // MARK: - End of turn

    func attend(_ slot: Int) {
        let channel = channels[slot]
        channel.pointee.flags.remove(.queued)
        switch channel.pointee.phase {
        case .free, .closing: return
        case .flushing, .lingering:
            if channel.pointee.flags.contains(.broken) { terminate(slot) }
            return
        case .connecting:
            // Nothing to receive or to deliver before there is a connection.
            if channel.pointee.flags.contains(.broken) { failed(slot, channel.pointee.failure) }
            return
        case .handshaking, .established: break
        }
        if freeUnborn(slot) { return }
        if channel.pointee.flags.contains(.broken) {
            failed(slot, channel.pointee.failure)
            return
        }
        let generation = channel.pointee.generation
        if channel.pointee.flags.contains(.drained) {
            channel.pointee.flags.remove(.drained)
            if channel.pointee.output.isEmpty || isStream(slot) { drained(slot) }
            guard isOpen(slot, generation) else { return }
        }
        guard channel.pointee.flags.contains(.wantsInput) else { return }
        if isDownstream(slot) {
            // What came first is used first.
            continueInput(slot)
            guard isOpen(slot, generation) else { return }
        }
        if channel.pointee.flags.contains(.holdsPlaintext) {
            takeHeldPlaintext(slot)
            guard isOpen(slot, generation), channel.pointee.flags.contains(.wantsInput) else {
                return
            }
        }
        feedStash(slot)
        guard isOpen(slot, generation), channel.pointee.flags.contains(.wantsInput) else { return }
        deliverEnd(slot)
        guard isOpen(slot, generation), channel.pointee.flags.contains(.wantsInput) else { return }
        armReceive(slot)
    }

    private func feedStash(_ slot: Int) {
        let channel = channels[slot]
        let generation = channel.pointee.generation
        while channel.pointee.flags.contains(.wantsInput),
            let chunk = channel.pointee.stash.popFirst()
        {
            let taken = consume(slot, chunk.waiting, count: chunk.count)
            chunk.pointee.start += Int32(taken)
            guard isOpen(slot, generation) else {
                chunks.give(chunk)
                return
            }
            if chunk.count == 0 {
                chunks.give(chunk)
            } else {
                channel.pointee.stash.pushFirst(chunk)
                if channel.pointee.flags.contains(.wantsInput) {
                    // Wanted and not taken: the session has ended.
                    return
                }
            }
        }
    }

    private func deliverEnd(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.contains(.peerEnded), channel.pointee.stash.isEmpty,
            !channel.pointee.flags.contains(.endDelivered)
        else { return }
        channel.pointee.flags.insert(.endDelivered)
        if isStream(slot) {
            deliverStreamEnd(slot)
        } else if isDownstream(slot) {
            downstreamEnded(slot)
        } else {
            upstreamEnded(slot)
        }
    }

    private func drained(_ slot: Int) {
        if channels[slot].pointee.http2 != nil {
            http2Drained(slot)
        } else if isDownstream(slot) {
            downstreamDrained(slot)
        } else {
            upstreamDrained(slot)
        }
    }

    private func failed(_ slot: Int, _ reason: ReasonCode) {
        if isDownstream(slot) {
            downstreamFailed(slot, reason)
        } else {
            upstreamFailed(slot, reason)
        }
    }

    // MARK: - Sending

    /// Sends ciphertext (or plaintext on a plain connection): at once what the socket takes, the
    /// rest through the ring. Order is kept.
    // hot: once per message; no allocation unless the socket is full.
    func sendBytes(_ slot: Int, _ bytes: UnsafeRawPointer, count: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.isDisjoint(with: [.broken, .sendFailed, .isStream]) else {
            if isStream(slot) { appendContent(slot, bytes, count: count) }
            return
        }
        block.add(isDownstream(slot) ? .clientBytesSent : .upstreamBytesSent, UInt64(count))
        var sent = 0
        if channel.pointee.output.isEmpty {
            sent = ring.trySend(to: channel.pointee.descriptor, bytes, count: count)
            if sent == count { return }
            if sent < 0 {
                guard sent == -Int(EAGAIN) || sent == -Int(EINTR) else {
                    sendFailed(slot)
                    return
                }
                sent = 0
            }
        }
        guard channel.pointee.output.append(bytes + sent, count: count - sent, from: &chunks)
        else {
            markBroken(slot, .memoryLimit)
            return
        }
        sendOutput(slot)
    }

    func sendOutput(_ slot: Int) {
        let channel = channels[slot]
        guard !channel.pointee.inFlight.contains(.send), let chunk = channel.pointee.output.first
        else { return }
        channel.pointee.inFlight.insert(.send)
        ring.send(
            token(slot, .send), to: channel.pointee.descriptor, chunk.waiting, count: chunk.count)
        guard channel.pointee.deadlineKind != .write else { return }
        switch channel.pointee.phase {
        case .established, .flushing: startPace(slot)
        // The handshake has a deadline of its own.
        case .handshaking, .connecting, .lingering, .closing, .free: break
        }
    }

    func completeSend(_ slot: Int, _ completion: Completion) {
        let channel = channels[slot]
        channel.pointee.inFlight.remove(.send)
        if channel.pointee.phase == .closing {
            finalizeIfIdle(slot)
            return
        }
        guard completion.result > 0 else {
            switch -completion.result {
            case EINTR, EAGAIN: sendOutput(slot)
            default: sendFailed(slot)
            }
            return
        }
        channel.pointee.output.consume(Int(completion.result), to: &chunks)
        channel.pointee.pace.moved &+= Int(completion.result)
        if !channel.pointee.output.isEmpty {
            sendOutput(slot)
        } else if channel.pointee.phase == .flushing {
            linger(slot)
        } else {
            if channel.pointee.deadlineKind == .write { clearDeadline(slot) }
            channel.pointee.flags.insert(.drained)
            callAttention(to: slot)
        }
    }

    /// The peer takes no more. An upstream may have answered before it closed (RFC 9112 §9.5): what
    /// it sent is read to the end, and the rest of the request goes nowhere.
    func sendFailed(_ slot: Int) {
        let channel = channels[slot]
        guard !isDownstream(slot), channel.pointee.inFlight.contains(.receive),
            !channel.pointee.flags.contains(.peerEnded)
        else {
            markBroken(slot, isDownstream(slot) ? .clientReset : .upstreamReset)
            return
        }
        switch upstream(slot).pointee.phase {
        case .awaitingHead, .receivingBody: break
        case .connecting, .idle, .tunnel, .multiplexing, .ended:
            markBroken(slot, .upstreamReset)
            return
        }
        channel.pointee.flags.insert(.sendFailed)
        channel.pointee.output.removeAll(to: &chunks)
        channel.pointee.flags.insert(.drained)
        setDeadline(slot, .response, Worker.lastWords)
        callAttention(to: slot)
    }

    /// Bytes wait for the socket: whoever feeds this channel should pause.
    func isBlocked(_ slot: Int) -> Bool {
        !channels[slot].pointee.output.isEmpty && (!isStream(slot) || isStreamBlocked(slot))
    }

    func markBroken(_ slot: Int, _ reason: ReasonCode) {
        let channel = channels[slot]
        guard !channel.pointee.flags.contains(.broken) else { return }
        channel.pointee.flags.insert(.broken)
        channel.pointee.failure = reason
        callAttention(to: slot)
    }

    // MARK: - Closing

    /// Sends what is left, says good-bye, waits for the peer's end, closes.
    func closeGracefully(_ slot: Int) {
        let channel = channels[slot]
        if isStream(slot) {
            if isDownstream(slot) { finishStream(slot) } else { resetStream(slot, .cancel) }
            return
        }
        if let session = channel.pointee.session, channel.pointee.phase == .established,
            channel.pointee.flags.isDisjoint(with: [.tlsFailed, .closingSaid])
        {
            channel.pointee.flags.insert(.closingSaid)
            session.closeNotify()
        }
        flushWire(slot)
        guard channel.pointee.flags.isDisjoint(with: [.broken, .resets]) else {
            terminate(slot)
            return
        }
        if channel.pointee.output.isEmpty { linger(slot) } else { flush(slot) }
    }

    /// Nothing more is written; what waits has to be taken at the least rate or better.
    func flush(_ slot: Int) {
        channels[slot].pointee.phase = .flushing
        if channels[slot].pointee.deadlineKind != .write { startPace(slot) }
    }

    /// All is sent: FIN, then the peer's last bytes are thrown away, so that they cause no RST
    /// which would take the answer with it (RFC 9112 §9.6).
    private func linger(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.isDisjoint(with: [.peerEnded, .resets]) else {
            terminate(slot)
            return
        }
        if !channel.pointee.flags.contains(.sendingShut) {
            ring.shutdownSending(channel.pointee.descriptor)
        }
        channel.pointee.phase = .lingering
        channel.pointee.stash.removeAll(to: &chunks)
        channel.pointee.deadlineKind = .none
        if phase == .draining {
            lingerBriefly(slot)
        } else {
            setDeadline(slot, .linger, Worker.lingerTime)
        }
        armReceive(slot)
    }

    /// Gives up everything at once. The slot is free when the kernel has let go of it.
    func terminate(_ slot: Int, reset: Bool = false) {
        let channel = channels[slot]
        guard channel.pointee.phase != .closing, channel.pointee.phase != .free else { return }
        if isStream(slot) {
            resetStream(slot, isDownstream(slot) ? .internalError : .cancel)
            return
        }
        abandonHTTP2(slot, isDownstream(slot) ? .clientReset : .upstreamReset)
        if stageSlot == slot {
            stageSlot = -1
            stageCount = 0
        }
        if reset { channel.pointee.flags.insert(.resets) }
        channel.pointee.phase = .closing
        clearDeadline(slot)
        channel.pointee.session?.free()
        channel.pointee.session = nil
        channel.pointee.stash.removeAll(to: &chunks)
        if !channel.pointee.inFlight.isDisjoint(with: [.receive, .send, .connect]) {
            if !channel.pointee.inFlight.contains(.cancel) {
                channel.pointee.inFlight.insert(.cancel)
                ring.cancelAll(token(slot, .cancel), on: channel.pointee.descriptor)
            } else {
                channel.pointee.flags.insert(.cancelsAgain)
            }
        }
        finalizeIfIdle(slot)
    }

    /// Frees the slot of a closing channel once nothing of it is in the kernel: only then can no
    /// completion name it, and no buffer of it be written or read.
    func finalizeIfIdle(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.phase == .closing else { return }
        guard channel.pointee.inFlight.isEmpty else {
            if !channel.pointee.inFlight.contains(.cancel),
                channel.pointee.flags.contains(.cancelsAgain)
            {
                channel.pointee.flags.remove(.cancelsAgain)
                channel.pointee.inFlight.insert(.cancel)
                ring.cancelAll(token(slot, .cancel), on: channel.pointee.descriptor)
            }
            return
        }
        channel.pointee.output.removeAll(to: &chunks)
        ring.close(
            channel.pointee.descriptor, reset: channel.pointee.flags.contains(.resets))
        channel.pointee.phase = .free
        channel.pointee.generation =
            (channel.pointee.generation &+ 1) & CompletionToken.generationMask
        channel.pointee.flags = []
        if isDownstream(slot) {
            releaseDownstreamSlot(slot)
        } else {
            releaseUpstreamSlot(slot)
        }
    }
}
