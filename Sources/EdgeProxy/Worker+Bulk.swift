internal import EdgeCore
internal import EdgeRing
internal import EdgeTLS
internal import Glibc

/// Bulk transfers: bytes per round decide what they cost (4 KiB at a time cost 2.5 times as much as
/// 256 KiB, measured), so a connection that fills its buffers is read in growing pieces, and one
/// that does not returns to the small ones. Pieces shrink when the chunk budget gets scarce.
extension Worker {
    /// Levels of growth: 64, 128, 256, 512 KiB a round.
    static let receiveLevelMax: UInt8 = 4
    /// Provided buffers filled in a row before a connection counts as bulk.
    static let fullBuffers: UInt8 = 2
    /// Small receives in a row after which it no longer does.
    static let smallReceives: UInt8 = 4
    /// Bytes in a worker's chunks from which on none are received that may have to be kept.
    static let keptMuch = 8 << 20
    /// Plaintext from which on encrypting straight into a chunk beats copying what the socket does
    /// not take.
    static let directWriteMin = 32 * 1024

    static func roundBytes(_ level: UInt8) -> Int { 32 * 1024 << Int(level) }

    /// Rounds of bulk in a turn: some 2 MiB at most, which take a millisecond or two. Whoever has
    /// less to say does not wait behind all downloads that there are.
    static let bulkRoundsPerTurn = 4

    // MARK: - Turns

    /// A connection in bulk that has something to be read: nothing has been received yet, so that
    /// it may wait.
    // hot: once per completion.
    @inline(__always)
    func isBulk(_ completion: Completion) -> Bool {
        completion.result > 0 && completion.buffer == nil
            && completion.token.operation == .receive
    }

    /// At the end of a turn, behind what is small: the next few rounds.
    @inline(never)
    func moveBulk() {
        for _ in 0..<Worker.bulkRoundsPerTurn where bulkFirst < bulkReady.count {
            let completion = bulkReady[bulkFirst]
            bulkFirst += 1
            complete(completion)
        }
        if bulkFirst == bulkReady.count || bulkFirst >= 1024 {
            bulkReady.removeFirst(bulkFirst)
            bulkFirst = 0
        }
    }

    // MARK: - Receiving

    /// After a provided buffer: is this bulk? Then the kernel is asked to fill no more of them.
    // hot: once per receive.
    func noteReceived(_ slot: Int, _ count: Int) {
        let channel = channels[slot]
        guard count == Ring.bufferBytes else {
            channel.pointee.receiveStreak = 0
            return
        }
        channel.pointee.receiveStreak &+= 1
        guard channel.pointee.receiveStreak >= Worker.fullBuffers,
            channel.pointee.receiveLevel == 0, channel.pointee.phase == .established
        else { return }
        channel.pointee.receiveLevel = 2
        channel.pointee.receiveStreak = 0
        stopReceiving(slot)
    }

    /// The kernel has something for a channel in bulk: one round of it, then the others have their
    /// turn.
    func receiveMuch(_ slot: Int) {
        let channel = channels[slot]
        if channel.pointee.phase == .established,
            !channel.pointee.flags.contains(.wantsInput)
        {
            // Paused since it was asked: it stays in the kernel until it is wanted again.
            return
        }
        let wanted = Worker.roundBytes(bulkLevel(slot))
        let capacity = hasOutlet(slot) ? shapedMax(slot, roundMax(slot, wanted)) : Ring.bufferBytes
        if let peer = plainPeer(slot), let chunk = chunks.take(capacity) {
            let count = ring.tryReceive(
                from: channel.pointee.descriptor, into: chunk.bytes, capacity: capacity)
            guard count > 0 else {
                chunks.give(chunk)
                if count != -Int(EAGAIN) { receiveEnded(slot, Int32(truncatingIfNeeded: count)) }
                return
            }
            chunk.pointee.end = Int32(count)
            adaptLevel(slot, count, wanted: wanted)
            passOn(slot, chunk, to: peer)
            return
        }
        let count = ring.tryReceive(
            from: channel.pointee.descriptor, into: rounds + Worker.headRoom, capacity: capacity)
        guard count > 0 else {
            if count != -Int(EAGAIN) { receiveEnded(slot, Int32(truncatingIfNeeded: count)) }
            return
        }
        adaptLevel(slot, count, wanted: wanted)
        received(slot, rounds + Worker.headRoom, count: count)
    }

    /// What comes can go on at once. A client's heads, and a body that waits for its upstream, are
    /// kept: large rounds of them would be memory that a client fills for nothing.
    private func hasOutlet(_ slot: Int) -> Bool {
        guard isDownstream(slot), channels[slot].pointee.http2 == nil else { return true }
        switch downstreams[slot].pointee.phase {
        case .tunnel, .ended: return true
        case .awaitingHead, .awaitingAnswer: return false
        case .receivingBody:
            let exchange = Int(downstreams[slot].pointee.exchange)
            return exchange >= 0 && exchanges[exchange].pointee.flags.contains(.prefixSent)
        }
    }

    /// What a client's stream will not let go at once is not received at once.
    private func roundMax(_ slot: Int, _ wanted: Int) -> Int {
        let most = chunks.roundMax(wanted)
        guard !isDownstream(slot), channels[slot].pointee.http2 == nil else { return most }
        let exchange = Int(upstream(slot).pointee.exchange)
        guard exchange >= 0 else { return most }
        let client = Int(exchanges[exchange].pointee.downstream)
        guard isStream(client), let session = session(of: client) else { return most }
        if isBlocked(transport(client)) { return Ring.bufferBytes }
        let window =
            session.window(of: stream(client).pointee.id)
            - channels[client].pointee.output.byteCount
        let room = snapshot.http2.memoryMax / 2 - links[transport(client)].pointee.bytesKept
        return max(Ring.bufferBytes, min(most, window, room))
    }

    /// What is limited is not received in pieces that it would have to pause for.
    @inline(__always)
    private func shapedMax(_ slot: Int, _ most: Int) -> Int {
        guard channels[slot].pointee.http2 == nil else { return most }
        let exchange = Int(
            isDownstream(slot)
                ? downstreams[slot].pointee.exchange : upstream(slot).pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.isMetered else { return most }
        return meteredRound(slot, exchange, most)
    }

    private func adaptLevel(_ slot: Int, _ count: Int, wanted: Int) {
        let channel = channels[slot]
        if count == wanted {
            channel.pointee.receiveStreak = 0
            channel.pointee.receiveLevel = min(
                channel.pointee.receiveLevel + 1, Worker.receiveLevelMax)
        } else if count < Ring.bufferBytes {
            channel.pointee.receiveStreak &+= 1
            guard channel.pointee.receiveStreak >= Worker.smallReceives else { return }
            channel.pointee.receiveStreak = 0
            channel.pointee.receiveLevel = 0
        } else {
            channel.pointee.receiveStreak = 0
        }
    }

    /// One buffer at a time: an answer for a client's stream, which may be stalled by its window as
    /// hundreds of others are. On a connection that has served before, only once much is kept:
    /// receives that go on are cheaper.
    func receivesOnce(_ slot: Int) -> Bool {
        guard !isDownstream(slot), channels[slot].pointee.http2 == nil,
            channels[slot].pointee.phase == .established
        else { return false }
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0, isStream(Int(exchanges[exchange].pointee.downstream)) else {
            return false
        }
        return !upstream.pointee.isReused || chunks.bytesInUse > Worker.keptMuch
    }

    // MARK: - Sending

    /// Encrypts up to a round's worth straight into a chunk: what the socket does not take stays
    /// where it is.
    ///
    /// - Returns: bytes of plaintext used; 0 if there is no chunk for it.
    func writeMuch(
        _ slot: Int, _ session: TLSSession, _ bytes: UnsafeRawPointer, count: Int
    ) -> Int {
        let piece = min(count, chunks.roundMax(Worker.roundBytes(Worker.receiveLevelMax)))
        // A record of 16 KiB grows by at most 29 bytes; what the session itself has to say fits
        // the rest.
        guard let chunk = chunks.take(piece + (piece >> 14 + 1) * 64 + 1024) else { return 0 }
        engine.wire.redirectOutput(to: chunk.bytes, capacity: Int(chunk.pointee.capacity))
        let step = session.write(bytes, count: piece)
        chunk.pointee.end = Int32(engine.wire.endRedirection())
        if step != .done {
            _ = TLSFailure.takeErrorText()
            markBroken(slot, isDownstream(slot) ? .clientTLSError : .upstreamTLSFailed)
        }
        sendChunk(slot, chunk)
        return piece
    }

    /// Sends a chunk's bytes: at once what the socket takes, the rest through the ring. Order is
    /// kept; the chunk is the worker's again.
    func sendChunk(_ slot: Int, _ chunk: ChunkPointer) {
        let channel = channels[slot]
        guard channel.pointee.flags.isDisjoint(with: [.broken, .sendFailed]), chunk.count > 0
        else {
            chunks.give(chunk)
            return
        }
        block.add(
            isDownstream(slot) ? .clientBytesSent : .upstreamBytesSent, UInt64(chunk.count))
        if channel.pointee.output.isEmpty {
            let sent = ring.trySend(
                to: channel.pointee.descriptor, chunk.waiting, count: chunk.count)
            if sent == chunk.count || (sent < 0 && sent != -Int(EAGAIN) && sent != -Int(EINTR)) {
                chunks.give(chunk)
                if sent < 0 { sendFailed(slot) }
                return
            }
            chunk.pointee.start += Int32(max(sent, 0))
        }
        if chunk.count <= Int(chunk.pointee.capacity) / 4 {
            // A little must not hold much for as long as a slow peer likes.
            let isKept = channel.pointee.output.append(
                chunk.waiting, count: chunk.count, from: &chunks)
            chunks.give(chunk)
            guard isKept else {
                markBroken(slot, .memoryLimit)
                return
            }
        } else {
            channel.pointee.output.pushLast(chunk)
        }
        sendOutput(slot)
    }
}
