internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2
internal import EdgeRing

/// Streams as channels, either side: their place in the tables, their content in both directions,
/// their end. What a client's stream begins and how it is answered is in `Worker+HTTP2Clients`.
extension Worker {
    /// The row of a stream's slot.
    func stream(_ slot: Int) -> UnsafeMutablePointer<HTTP2Stream> {
        streams[
            slot < upstreamBase
                ? slot - clientStreamBase
                : slot - upstreamStreamBase + upstreamBase - clientStreamBase]
    }

    func isStream(_ slot: Int) -> Bool { channels[slot].pointee.flags.contains(.isStream) }

    /// The slot is still that stream of that connection.
    func isStream(_ slot: Int32, _ id: Int32, of connection: Int32) -> Bool {
        guard slot >= 0, isStream(Int(slot)) else { return false }
        let stream = stream(Int(slot))
        return stream.pointee.id == id && stream.pointee.connection == connection
    }

    /// The slot is a stream of that connection.
    func isStream(_ slot: Int32, of connection: Int32) -> Bool {
        slot >= 0 && isStream(Int(slot)) && stream(Int(slot)).pointee.connection == connection
    }

    /// The slot whose socket carries the bytes of `slot`.
    func transport(_ slot: Int) -> Int {
        isStream(slot) ? Int(stream(slot).pointee.connection) : slot
    }

    func session(of slot: Int) -> HTTP2Session? {
        channels[Int(stream(slot).pointee.connection)].pointee.http2
    }

    // MARK: - Table

    /// Makes a stream's slot of a free one.
    func openStream(_ slot: Int, _ id: Int32, of connection: Int) {
        openChannel(slot, -1, .established)
        channels[slot].pointee.flags.insert(.isStream)
        let link = links[connection]
        let first = link.pointee.first
        stream(slot).pointee = HTTP2Stream(
            id: id, connection: Int32(connection), next: first, previous: -1)
        if first >= 0 { stream(Int(first)).pointee.previous = Int32(slot) }
        link.pointee.first = Int32(slot)
        link.pointee.streamCount += 1
        block.add(.http2Streams)
    }

    /// The slot's last act; its exchange has ended before.
    func freeStream(_ slot: Int) {
        let stream = stream(slot)
        let channel = channels[slot]
        let connection = Int(stream.pointee.connection)
        let link = links[connection]
        dropContent(slot)
        if let trailers = stream.pointee.trailers { chunks.give(trailers) }
        if let trailers = stream.pointee.receivedTrailers { chunks.give(trailers) }
        stream.pointee.trailers = nil
        stream.pointee.receivedTrailers = nil
        let next = stream.pointee.next
        let previous = stream.pointee.previous
        if next >= 0 { self.stream(Int(next)).pointee.previous = previous }
        if previous >= 0 {
            self.stream(Int(previous)).pointee.next = next
        } else {
            link.pointee.first = next
        }
        link.pointee.streamCount -= 1
        wheel.disarm(slot)
        channel.pointee.deadlineKind = .none
        channel.pointee.phase = .free
        channel.pointee.generation =
            (channel.pointee.generation &+ 1) & CompletionToken.generationMask
        channel.pointee.flags = []
        block.subtract(.http2Streams)
        if isDownstream(slot) {
            clientStreamSlots.give(slot - clientStreamBase)
            if link.pointee.streamCount == 0 { clientStreamsOver(connection) }
        } else {
            discharge(slot)
            upstreamStreamSlots.give(slot - upstreamStreamBase)
            upstreamStreamOver(connection)
        }
    }

    /// Content that waits in either direction is given up.
    private func dropContent(_ slot: Int) {
        let channel = channels[slot]
        let link = links[Int(stream(slot).pointee.connection)]
        link.pointee.bytesKept -=
            channel.pointee.output.byteCount + channel.pointee.stash.byteCount
        link.pointee.bytesStashed -= channel.pointee.stash.byteCount
        channel.pointee.output.removeAll(to: &chunks)
        channel.pointee.stash.removeAll(to: &chunks)
        giveWindowBack(Int(stream(slot).pointee.connection))
    }

    /// All streams of a connection end with it.
    ///
    /// - Parameter isCounted: each of their exchanges counts the reason.
    func dropStreams(_ connection: Int, _ reason: ReasonCode, isCounted: Bool = true) {
        let link = links[connection]
        let session = channels[connection].pointee.http2
        if !isDownstream(connection) { leavePool(connection) }
        while link.pointee.first >= 0 {
            let slot = Int(link.pointee.first)
            endStreamExchange(slot, reason, isCounted: isCounted)
            // A retry may have ended it.
            guard link.pointee.first == Int32(slot) else { continue }
            // The session still knows it, and will say so when it is closed.
            let id = stream(slot).pointee.id
            if id > 0 { session?.setTag(-1, of: id) }
            freeStream(slot)
        }
    }

    private func endStreamExchange(_ slot: Int, _ reason: ReasonCode, isCounted: Bool) {
        guard isDownstream(slot) else {
            upstreamStreamFailed(slot, reason)
            return
        }
        let exchange = Int(downstreams[slot].pointee.exchange)
        downstreams[slot].pointee.exchange = -1
        downstreams[slot].pointee.phase = .ended
        if exchange >= 0 { abandon(exchange, isCounted ? reason : .clientClosed) }
    }

    /// Resets the stream; its slot is free when the session has said so.
    func resetStream(_ slot: Int, _ code: HTTP2Code) {
        let stream = stream(slot)
        guard !stream.pointee.flags.contains(.wasReset), let session = session(of: slot) else {
            return
        }
        stream.pointee.flags.insert(.wasReset)
        dropContent(slot)
        wheel.disarm(slot)
        channels[slot].pointee.deadlineKind = .none
        if stream.pointee.id > 0 {
            session.reset(stream.pointee.id, code)
        } else {
            // The session knows nothing of it.
            callAttention(to: slot)
        }
        touchHTTP2(Int(stream.pointee.connection))
    }

    /// Frees a stream that has been given up before the session had it.
    ///
    /// - Returns: false if it is another kind of channel.
    func freeUnborn(_ slot: Int) -> Bool {
        guard isStream(slot), stream(slot).pointee.id == 0,
            stream(slot).pointee.flags.contains(.wasReset)
        else { return false }
        freeStream(slot)
        return true
    }

    /// The session is done with a stream.
    func streamClosed(_ slot: Int, _ code: UInt32) {
        let wasReset = stream(slot).pointee.flags.contains(.wasReset)
        // From here on there is nothing to be reset (RFC 9113 §5.4.2).
        stream(slot).pointee.flags.insert(.wasReset)
        if isDownstream(slot) {
            let exchange = Int(downstreams[slot].pointee.exchange)
            downstreams[slot].pointee.exchange = -1
            downstreams[slot].pointee.phase = .ended
            if exchange >= 0 {
                let upstream = Int(exchanges[exchange].pointee.upstream)
                abandon(exchange, wasReset ? .internalError : .clientReset)
                charge(Int(stream(slot).pointee.connection), for: upstream)
            }
        } else {
            if outlivesSession(slot, code) { return }
            upstreamStreamClosed(slot, code)
        }
        freeStream(slot)
    }

    // MARK: - Secrets

    /// Fields that just came and that its sender wants in no table (RFC 7541 §7.1.3).
    func noteSecrets(_ slot: Int) {
        guard let engine = http2Engine, !engine.neverIndexed.isEmpty else { return }
        stream(slot).pointee.neverIndexed.formUnion(engine.neverIndexed)
    }

    /// What is to be sent so on a stream: all that has come so on either side of its exchange.
    func secrets(_ slot: Int) -> FieldNames {
        let exchange = Int(
            isDownstream(slot)
                ? downstreams[slot].pointee.exchange : upstream(slot).pointee.exchange)
        if exchange >= 0 {
            let state = exchanges[exchange]
            let other = Int(
                isDownstream(slot) ? state.pointee.upstream : state.pointee.downstream)
            if other >= 0, isStream(other) {
                stream(slot).pointee.neverIndexed.formUnion(stream(other).pointee.neverIndexed)
            }
        }
        return stream(slot).pointee.neverIndexed
    }

    // MARK: - Content in

    /// Content of a stream, or of one that we know no more.
    func contentReceived(
        _ connection: Int, _ slot: Int, _ id: Int32, _ bytes: UnsafeRawBufferPointer
    ) {
        guard let session = channels[connection].pointee.http2, let start = bytes.baseAddress else {
            return
        }
        guard slot >= 0, !stream(slot).pointee.flags.contains(.wasReset) else {
            session.consumeConnection(bytes.count)
            return
        }
        let channel = channels[slot]
        let generation = channel.pointee.generation
        if channel.pointee.flags.contains(.wantsInput), channel.pointee.stash.isEmpty {
            session.consumeConnection(bytes.count)
            streamContent(slot, bytes)
            if isOpen(slot, generation) { session.consumeStream(id, bytes.count) }
            return
        }
        let link = links[connection]
        let before = channel.pointee.stash.byteCount
        let isKept = channel.pointee.stash.append(start, count: bytes.count, from: &chunks)
        link.pointee.bytesKept += channel.pointee.stash.byteCount - before
        link.pointee.bytesStashed += channel.pointee.stash.byteCount - before
        guard isKept else {
            session.consumeConnection(bytes.count)
            markBroken(slot, .memoryLimit)
            return
        }
        // An upstream's streams are other clients': one that is slow must not hold up the others.
        if !isDownstream(connection)
            || link.pointee.bytesStashed <= snapshot.http2.memoryMax / 2
        {
            session.consumeConnection(bytes.count)
        } else {
            // From here on the siblings wait, too.
            link.pointee.withheld += bytes.count
        }
    }

    /// Content that had been kept is wanted now.
    func stashedContent(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        let id = stream(slot).pointee.id
        let connection = Int(stream(slot).pointee.connection)
        links[connection].pointee.bytesKept -= bytes.count
        links[connection].pointee.bytesStashed -= bytes.count
        let generation = channels[slot].pointee.generation
        streamContent(slot, bytes)
        flushStage()
        giveWindowBack(connection)
        guard isOpen(slot, generation), id > 0,
            let session = channels[connection].pointee.http2
        else { return }
        session.consumeStream(id, bytes.count)
        touchHTTP2(connection)
    }

    private func giveWindowBack(_ connection: Int) {
        let link = links[connection]
        guard link.pointee.withheld > 0,
            link.pointee.bytesStashed <= snapshot.http2.memoryMax / 2,
            let session = channels[connection].pointee.http2
        else { return }
        session.consumeConnection(link.pointee.withheld)
        link.pointee.withheld = 0
        touchHTTP2(connection)
    }

    private func streamContent(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        let content = bytes.bindMemory(to: UInt8.self).span
        guard !content.isEmpty else { return }
        guard isDownstream(slot) else {
            answerContent(slot, content)
            return
        }
        switch downstreams[slot].pointee.phase {
        case .receivingBody:
            noteBodyProgress(slot, content.count)
            requestBody(Int(downstreams[slot].pointee.exchange), content)
            chargeStream(slot)
        case .tunnel:
            tunnelUp(slot, content)
            chargeStream(slot)
        case .ended:
            let stream = stream(slot)
            stream.pointee.drained &+= Int32(clamping: content.count)
            if stream.pointee.drained > Worker.streamLingerBytes { resetStream(slot, .noError) }
        case .awaitingHead, .awaitingAnswer: break
        }
    }

    /// After a piece of a client's content.
    @inline(__always)
    private func chargeStream(_ slot: Int) {
        let exchange = Int(downstreams[slot].pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.flags.contains(.metersUpload) else {
            return
        }
        chargeUpload(exchange)
    }

    // MARK: - Content out

    /// Content for the peer waits until its windows and the socket let it go.
    // hot: once per piece of content; one copy.
    func appendContent(_ slot: Int, _ bytes: UnsafeRawPointer, count: Int) {
        let stream = stream(slot)
        guard count > 0, stream.pointee.flags.isDisjoint(with: [.wasReset, .ends]) else { return }
        var bytes = bytes
        var count = count
        if count >= Worker.directContentMin, isDownstream(slot) {
            let generation = channels[slot].pointee.generation
            let sent = sendDirectly(slot, bytes, count: count)
            bytes += sent
            count -= sent
            guard count > 0, isOpen(slot, generation), isStream(slot),
                !stream.pointee.flags.contains(.wasReset)
            else { return }
        }
        let before = channels[slot].pointee.output.byteCount
        let isKept = channels[slot].pointee.output.append(bytes, count: count, from: &chunks)
        links[Int(stream.pointee.connection)].pointee.bytesKept +=
            channels[slot].pointee.output.byteCount - before
        guard isKept else {
            markBroken(slot, .memoryLimit)
            return
        }
        contentIsThere(slot)
    }

    /// All content has been appended; trailers follow if there are lines of them.
    func endContent(_ slot: Int, trailers: ChunkPointer?) {
        let stream = stream(slot)
        guard stream.pointee.flags.isDisjoint(with: [.wasReset, .ends]) else {
            if let trailers { chunks.give(trailers) }
            return
        }
        stream.pointee.flags.insert(.ends)
        stream.pointee.trailers = trailers
        contentIsThere(slot)
    }

    private func contentIsThere(_ slot: Int) {
        let stream = stream(slot)
        if stream.pointee.flags.contains(.deferred) {
            stream.pointee.flags.remove(.deferred)
            session(of: slot)?.resume(stream.pointee.id)
        }
        touchHTTP2(Int(stream.pointee.connection))
    }

    /// What the session may take of a stream's content.
    func contentWaiting(_ slot: Int, _ max: Int) -> WaitingContent {
        let stream = stream(slot)
        if let direct, direct.slot == Int32(slot), direct.count > 0 {
            return .some(min(max, direct.count, Worker.directFrameBytes))
        }
        let waiting = channels[slot].pointee.output.byteCount
        // Of a broken one a piece is missing: it will be reset.
        guard waiting > 0 || stream.pointee.flags.contains(.ends),
            !channels[slot].pointee.flags.contains(.broken)
        else {
            stream.pointee.flags.insert(.deferred)
            return .none
        }
        // A frame is of one chunk.
        let first = channels[slot].pointee.output.first?.count ?? 0
        let count = min(max, first)
        guard stream.pointee.flags.contains(.ends), count == waiting else { return .some(count) }
        guard let trailers = stream.pointee.trailers else { return .last(count) }
        return submitTrailers(slot, trailers) ? .lastBeforeTrailers(count) : .last(count)
    }

    /// A frame was made for content that has been given up since.
    func isContentGone(_ slot: Int, _ count: Int) -> Bool {
        if let direct, direct.slot == Int32(slot) { return count > direct.count }
        return count > channels[slot].pointee.output.first?.count ?? 0
    }

    /// Writes a frame of a stream's content.
    // hot: once per frame; one copy.
    func writeContent(
        _ connection: Int, _ slot: Int, _ header: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        if direct != nil { return writeDirectFrame(connection, slot, header, count) }
        guard !isBlocked(connection) else { return false }
        let space = stageSpace(connection, 9 + count)
        guard let start = space.baseAddress else { return false }
        start.copyMemory(from: header, byteCount: 9)
        if let chunk = channels[slot].pointee.output.first, count > 0 {
            (start + 9).copyMemory(from: chunk.waiting, byteCount: count)
            consumeOutput(slot, count)
        }
        staged(9 + count)
        return true
    }

    func consumeOutput(_ slot: Int, _ count: Int) {
        let channel = channels[slot]
        channel.pointee.output.consume(count, to: &chunks)
        channel.pointee.pace.moved &+= count
        links[Int(stream(slot).pointee.connection)].pointee.bytesKept -= count
        var isAwaited = false
        if channel.pointee.output.isEmpty, channel.pointee.deadlineKind == .write {
            // The deadline that this one has replaced runs again.
            channel.pointee.deadlineKind = .none
            wheel.disarm(slot)
            isAwaited = true
        }
        if stream(slot).pointee.flags.contains(.pausesOther), !isBlocked(slot) {
            stream(slot).pointee.flags.remove(.pausesOther)
            isAwaited = true
        }
        guard isAwaited else { return }
        channel.pointee.flags.insert(.drained)
        callAttention(to: slot)
    }

    /// As much waits for the stream as may.
    func isStreamBlocked(_ slot: Int) -> Bool {
        let count = channels[slot].pointee.output.byteCount
        guard count >= Worker.streamOutputLess else { return false }
        let link = links[Int(stream(slot).pointee.connection)]
        let isBlocked =
            count >= Worker.streamOutputMax
            || link.pointee.bytesKept >= snapshot.http2.memoryMax / 4
            || count - windowOf(slot) >= Worker.streamOutputLess
        // Whoever asks will wait to be told.
        if isBlocked { stream(slot).pointee.flags.insert(.pausesOther) }
        return isBlocked
    }

    /// Bytes that the peer takes of the stream, whatever the socket says.
    private func windowOf(_ slot: Int) -> Int {
        max(0, session(of: slot)?.window(of: stream(slot).pointee.id) ?? 0)
    }

    /// Content stays behind after all has been sent that can be: it has to move some time.
    func noteStalled(_ connection: Int) {
        var slot = Int(links[connection].pointee.first)
        while slot >= 0 {
            let channel = channels[slot]
            if !channel.pointee.output.isEmpty, channel.pointee.deadlineKind != .write {
                startPace(slot)
            }
            slot = Int(stream(slot).pointee.next)
        }
    }

    // MARK: - Trailers

    /// Kept lines become the fields of a HEADERS frame.
    private func submitTrailers(_ slot: Int, _ chunk: ChunkPointer) -> Bool {
        guard let engine = http2Engine, let session = session(of: slot) else { return false }
        engine.fields.begin()
        engine.fields.neverIndexed = secrets(slot)
        let bytes = UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count)
        engine.fields.append(lines: bytes)
        guard engine.fields.count > 0, engine.fields.isWhole else { return false }
        return session.submitTrailers(stream(slot).pointee.id)
    }

    /// Trailers, parsed into `trailerFields`, as lines to be kept.
    ///
    /// - Returns: those that may go on, nil if there are none; false without memory for them.
    func keepTrailers(
        _ trailers: Span<UInt8>?, isRequest: Bool, _ exchange: Int
    ) -> (ChunkPointer?, Bool) {
        guard let trailers else { return (nil, true) }
        guard let chunk = chunks.take(lastChunkBytes(trailers)) else { return (nil, false) }
        var writer = ByteWriter(
            UnsafeMutableRawBufferPointer(start: chunk.bytes, count: chunk.room))
        // `0` CR LF stands in front of them and an empty line behind.
        guard writeLastChunk(trailers, isRequest: isRequest, exchange, &writer), writer.count > 5
        else {
            chunks.give(chunk)
            return (nil, true)
        }
        chunk.pointee.start = 3
        chunk.pointee.end = Int32(writer.count - 2)
        return (chunk, true)
    }

    /// All content of a stream has been appended; these are its trailers.
    func endContent(_ slot: Int, trailers: Span<UInt8>?, isRequest: Bool) {
        let exchange =
            isDownstream(slot)
            ? downstreams[slot].pointee.exchange : upstream(slot).pointee.exchange
        let (lines, isWhole) = keepTrailers(trailers, isRequest: isRequest, Int(exchange))
        if lines != nil { _ = secrets(slot) }
        if isWhole { endContent(slot, trailers: lines) } else { markBroken(slot, .memoryLimit) }
    }
}
