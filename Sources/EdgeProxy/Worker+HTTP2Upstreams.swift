internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2
internal import EdgeTLS
internal import EdgeUpstream

/// Requests over upstreams' HTTP/2: connections that several exchanges share, a stream for each.
extension Worker {
    /// A connection with streams that is silent for so long is asked whether it is alive.
    static let pingAfter: UInt64 = 30_000_000_000
    /// Once it has answered: some servers take more for an attack (gRPC's: two in five minutes).
    static let pingAgainAfter: UInt64 = 310_000_000_000
    /// Streams at once over one connection: as many as its window has room for.
    static let upstreamStreamsMax: UInt32 = 256
    /// And has so long to answer.
    static let pingLimit: UInt64 = 10_000_000_000
    /// What we have written ourselves is read again without limits of the configuration's.
    static let ownLimits = {
        var limits = HeadLimits()
        limits.requestLineBytesMax = 1 << 24
        limits.headBytesMax = 1 << 24
        limits.fieldsMax = FieldList.capacity
        return limits
    }()

    // MARK: - Connections

    /// The exchange may go over a connection that others use, too. An upgrade needs one of its own:
    /// WebSocket goes over HTTP/1.1.
    func multiplexes(_ exchange: Int, _ pool: UpstreamPool, _ member: Int) -> Bool {
        guard exchanges[exchange].pointee.upgrade == .none,
            !exchanges[exchange].pointee.flags.contains(.relay)
        else { return false }
        switch pool.settings.version {
        case .http1: return false
        case .http2: return true
        case .auto:
            return pool.settings.tls != nil
                && pool.http1Members & MemberTable.bit(member) == 0
        }
    }

    /// Finds the exchange a stream on a connection that is there, or has it wait for one that will
    /// be soon.
    ///
    /// - Returns: false if it needs a new connection.
    func share(_ exchange: Int, _ pool: UpstreamPool, _ member: Int) -> Bool {
        if let connection = connectionWithRoom(pool, member),
            openUpstreamStream(exchange, connection, isReused: true)
        {
            sendRequest(exchange)
            return true
        }
        guard (pool.http2Connecting | pool.http2Late) & MemberTable.bit(member) != 0 else {
            return false
        }
        // Should it have refused this request before, it may take it over a fresh connection.
        exchanges[exchange].pointee.tried &= ~MemberTable.bit(member)
        // Its own connection is late, and no longer what it expects most of.
        unassign(exchange)
        enqueue(exchange, pool, isBounded: false)
        return true
    }

    private func connectionWithRoom(_ pool: UpstreamPool, _ member: Int) -> Int? {
        for slot in pool.http2
        where upstream(Int(slot)).pointee.member == Int32(member) && hasRoom(Int(slot)) {
            return Int(slot)
        }
        return nil
    }

    private func hasRoom(_ connection: Int) -> Bool {
        guard let session = channels[connection].pointee.http2,
            !channels[connection].pointee.flags.contains(.broken),
            !links[connection].pointee.isLeaving, session.hasMoreIds
        else { return false }
        return UInt32(links[connection].pointee.streamCount)
            < min(session.peerStreamsMax, Worker.upstreamStreamsMax)
    }

    /// Members with a connection that takes one more stream, whether or not they may have another
    /// connection (`MemberTable.bit`).
    func sharedRoom(_ exchange: Int, _ pool: UpstreamPool) -> UInt64 {
        guard pool.group.members.useMax > 0 else { return 0 }
        var members: UInt64 = 0
        for slot in pool.http2 {
            let member = Int(upstream(Int(slot)).pointee.member)
            if multiplexes(exchange, pool, member), hasRoom(Int(slot)) {
                members |= MemberTable.bit(member)
            }
        }
        return members
    }

    /// Connected to an upstream that speaks HTTP/2.
    func startUpstreamHTTP2(_ slot: Int) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard let pool = pools[Int(upstream.pointee.pool)] else {
            upstreamFailed(slot, .noAddress)
            return
        }
        let limits = HTTP2Limits(
            streams: 0, streamWindow: 65535, connectionWindow: 16 << 20,
            headBytes: snapshot.responseLimits.headBytesMax,
            continuations: UInt32(clamping: snapshot.http2.continuationsMax), resets: 10_000,
            pings: 1000, settings: 100, priorities: 1000, windowUpdates: 100_000,
            emptyData: 1000, unknownFrames: 1000)
        guard let session = engineOfHTTP2()?.makeClient(Int32(slot), limits, now: now) else {
            upstreamFailed(slot, .memoryLimit)
            return
        }
        // The next one to this member may be made as soon as this one is full.
        upstream.pointee.isShared = false
        pool.sharedEnded(Int(upstream.pointee.member))
        pool.http1Members &= ~MemberTable.bit(Int(upstream.pointee.member))
        channels[slot].pointee.http2 = session
        links[slot].pointee = HTTP2Link()
        upstream.pointee.phase = .multiplexing
        upstream.pointee.exchange = -1
        if pool.isRetired || !pool.group.members.isKept(Int(upstream.pointee.member)) {
            links[slot].pointee.isLeaving = true
        } else {
            pool.http2.append(Int32(slot))
        }
        block.add(.upstreamHTTP2Connections)
        touchHTTP2(slot)
        if exchange >= 0 {
            unassign(exchange)
            if openUpstreamStream(exchange, slot, isReused: false) {
                sendRequest(exchange)
            } else {
                failExchange(exchange, .memoryLimit)
            }
        } else {
            upstreamStreamOver(slot)
        }
        callQueue(pool)
    }

    /// The connection is not used for further requests.
    func leavePool(_ connection: Int) {
        let upstream = self.upstream(connection)
        guard let pool = pools[Int(upstream.pointee.pool)] else { return }
        pool.http2.removeAll { $0 == Int32(connection) }
    }

    /// Connections of a pool that is being left: those in use finish what they have.
    func leaveAllHTTP2(_ pool: UpstreamPool) {
        for slot in pool.http2 { links[Int(slot)].pointee.isLeaving = true }
        let connections = pool.http2
        pool.http2.removeAll()
        for slot in connections where links[Int(slot)].pointee.streamCount == 0 {
            endHTTP2(Int(slot), .noError, .none)
        }
    }

    func goAwayReceived(_ connection: Int, _ code: UInt32) {
        guard !isDownstream(connection) else { return }
        // Streams that it did not take are closed as refused.
        links[connection].pointee.isLeaving = true
        leavePool(connection)
        if links[connection].pointee.streamCount == 0 { callAttentionToEnd(connection) }
    }

    func settingsReceived(_ connection: Int) {
        links[connection].pointee.hasSettings = true
        guard !isDownstream(connection), let pool = pools[Int(upstream(connection).pointee.pool)]
        else { return }
        callQueue(pool)
    }

    /// The connection's last stream is gone, and no more come: ended where nothing is told.
    private func callAttentionToEnd(_ connection: Int) {
        setDeadline(connection, .idle, 0)
    }

    /// A connection that is idle, or asked to be alive.
    func upstreamConnectionDue(_ connection: Int) {
        let link = links[connection]
        guard link.pointee.streamCount > 0 else {
            endHTTP2(connection, .noError, .none)
            return
        }
        let silence = now.nanoseconds(since: link.pointee.heardAt)
        let wait = link.pointee.wasPinged ? Worker.pingAgainAfter : Worker.pingAfter
        if silence + Worker.tick < wait, !link.pointee.isPinged || silence < Worker.pingLimit {
            link.pointee.isPinged = false
            setDeadline(connection, .idle, wait - silence)
            return
        }
        link.pointee.wasPinged = false
        guard !link.pointee.isPinged, let session = channels[connection].pointee.http2 else {
            upstreamFailed(connection, .upstreamHeadTimeout)
            return
        }
        link.pointee.isPinged = true
        session.ping()
        touchHTTP2(connection)
        setDeadline(connection, .idle, Worker.pingLimit)
    }

    /// What the connection waited with has been taken.
    func restoreUpstreamDeadline(_ connection: Int) {
        if links[connection].pointee.streamCount == 0 {
            upstreamStreamOver(connection)
        } else {
            let isPinged = links[connection].pointee.isPinged
            setDeadline(connection, .idle, isPinged ? Worker.pingLimit : Worker.pingAfter)
        }
    }

    /// Its session has ended: nothing more is read.
    func closeUpstreamConnection(_ slot: Int) {
        upstream(slot).pointee.phase = .ended
        if let session = channels[slot].pointee.session {
            session.closeNotify()
            flushWire(slot)
        }
        terminate(slot)
    }

    // MARK: - Streams

    private func openUpstreamStream(_ exchange: Int, _ connection: Int, isReused: Bool) -> Bool {
        guard let index = upstreamStreamSlots.take() else { return false }
        let slot = upstreamStreamBase + index
        let parent = upstream(connection)
        openStream(slot, 0, of: connection)
        upstream(slot).pointee = Upstream(
            phase: .awaitingHead, isReused: isReused, answerStarted: false, interimCount: 0,
            keepAlive: true, pool: parent.pointee.pool, member: parent.pointee.member,
            exchange: Int32(exchange), scanner: HeadScanner(.response),
            decoder: BodyDecoder(framing: .none), held: nil, idleSince: now,
            address: .init(repeating: 0), addressCount: 0)
        assign(exchange, slot)
        if let pool = pools[Int(parent.pointee.pool)] {
            let member = pool.group.members.members[Int(parent.pointee.member)].address
            noteConnecting(exchange, to: member, isReused: true)
        }
        if isReused { block.add(.upstreamReused) }
        if links[connection].pointee.streamCount == 1 {
            setDeadline(connection, .idle, Worker.pingAfter)
        }
        return true
    }

    /// Sends the request that is kept for the exchange on its stream.
    // hot: once per request.
    func submitRequest(_ exchange: Int, _ slot: Int, _ prefix: ChunkPointer) {
        let state = exchanges[exchange]
        let headCount = Int(state.pointee.prefixHead)
        let isComplete = state.pointee.flags.contains(.requestComplete)
        let bodyCount = prefix.count - headCount
        let hasContent = !isComplete || bodyCount > 0 || state.pointee.trailers != nil
        let head = UnsafeRawBufferPointer(start: prefix.waiting, count: headCount)
        guard submitHead(exchange, slot, head, hasContent: hasContent) else {
            markBroken(slot, .internalError)
            return
        }
        let stream = stream(slot)
        stream.pointee.flags.insert(.answered)
        if state.pointee.method == .head { stream.pointee.flags.insert(.isHead) }
        touchHTTP2(Int(stream.pointee.connection))
        guard hasContent else {
            stream.pointee.flags.insert(.ends)
            return
        }
        appendContent(slot, prefix.waiting + headCount, count: bodyCount)
        if isComplete { endContent(slot, trailers: copy(state.pointee.trailers)) }
    }

    private func copy(_ lines: ChunkPointer?) -> ChunkPointer? {
        guard let lines, let chunk = chunks.take(lines.count) else { return nil }
        _ = chunk.append(lines.waiting, count: lines.count)
        return chunk
    }

    /// The head as it would go over HTTP/1.1, in fields (RFC 9113 §8.3.1).
    private func submitHead(
        _ exchange: Int, _ slot: Int, _ bytes: UnsafeRawBufferPointer, hasContent: Bool
    ) -> Bool {
        guard let engine = http2Engine, let session = session(of: slot) else { return false }
        let span = bytes.bindMemory(to: UInt8.self).span
        do {
            try HTTP1Parser.parseRequest(span, into: &requestHead, limits: Worker.ownLimits)
        } catch {
            return false
        }
        let isTLS = channels[transport(slot)].pointee.flags.contains(.isTLS)
        engine.fields.begin()
        engine.fields.neverIndexed = secrets(slot)
        engine.fields.append(":method", slice(bytes, requestHead.methodRange))
        engine.fields.append(":scheme", isTLS ? "https" : "http")
        engine.fields.append(":authority", slice(bytes, requestHead.authority))
        engine.fields.append(":path", slice(bytes, requestHead.target))
        for index in 0..<requestHead.fields.count {
            let field = requestHead.fields[index]
            guard !field.flags.contains(.hopByHop), field.name != .host else { continue }
            engine.fields.append(
                lowering: slice(bytes, field.nameRange), slice(bytes, field.value))
        }
        if requestHead.hasTETrailers { engine.fields.append("te", "trailers") }
        guard engine.fields.isWhole,
            let id = session.submitRequest(stream: Int32(slot), hasContent: hasContent)
        else { return false }
        stream(slot).pointee.id = id
        return true
    }

    private func slice(
        _ bytes: UnsafeRawBufferPointer, _ range: ByteRange
    ) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[range.indices])
    }

    // MARK: - Answers

    /// An answer's head on a stream, interim or final.
    func streamAnswered(_ slot: Int, _ text: UnsafeRawBufferPointer, isLast: Bool) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0, upstream.pointee.phase == .awaitingHead else { return }
        upstream.pointee.answerStarted = true
        if exchanges[exchange].pointee.times.answered.nanoseconds == 0 {
            exchanges[exchange].pointee.times.answered = now
        }
        noteSecrets(slot)
        let head = text.bindMemory(to: UInt8.self).span
        do {
            try HTTP1Parser.parseResponse(
                head, requestMethod: exchanges[exchange].pointee.method, upgrade: .none,
                into: &responseHead, limits: snapshot.responseLimits)
        } catch {
            block.addViolation(error.rawValue)
            exchanges[exchange].pointee.violation = error.rawValue
            upstreamFailed(slot, .upstreamBadResponse)
            return
        }
        guard settleHedge(slot, exchange) else { return }
        if responseHead.isInterim {
            _ = interim(slot, exchange, head)
            return
        }
        stream(slot).pointee.flags.insert(.gotHead)
        answerHead(slot, exchange, head)
    }

    func answerContent(_ slot: Int, _ content: Span<UInt8>) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0, upstream.pointee.phase == .receivingBody,
            exchanges[exchange].pointee.answerFraming.hasContent
        else { return }
        awaitContent(slot)
        exchanges[exchange].pointee.sent &+= UInt64(content.count)
        let client = Int(exchanges[exchange].pointee.downstream)
        stageBody(
            client, content, isChunked: exchanges[exchange].pointee.answerFraming.isChunked)
        if exchanges[exchange].pointee.flags.contains(.metersDownload) { chargeDownload(exchange) }
        guard isBlocked(client) else { return }
        pauseInput(slot)
        if channels[slot].pointee.deadlineKind == .body { clearDeadline(slot) }
    }

    func answerStreamEnded(_ slot: Int) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0 else { return }
        guard upstream.pointee.phase == .receivingBody else {
            upstreamFailed(slot, .upstreamBadResponse)
            return
        }
        clearDeadline(slot)
        let chunk = stream(slot).pointee.receivedTrailers
        stream(slot).pointee.receivedTrailers = nil
        defer { if let chunk { chunks.give(chunk) } }
        guard let chunk else {
            answerEnded(slot, exchange, trailers: nil)
            flushStage()
            return
        }
        let bytes = UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count)
        let span = bytes.bindMemory(to: UInt8.self).span
        do {
            try HTTP1Parser.parseTrailers(
                span, into: &trailerFields, limits: snapshot.responseLimits)
            answerEnded(slot, exchange, trailers: span)
        } catch {
            block.addViolation(error.rawValue)
            exchanges[exchange].pointee.violation = error.rawValue
            upstreamFailed(slot, .upstreamBadResponse)
        }
        flushStage()
    }

    // MARK: - Ends

    /// The exchange has no use for its stream any more.
    func releaseUpstreamStream(_ slot: Int, isReusable: Bool) {
        let upstream = self.upstream(slot)
        upstream.pointee.exchange = -1
        let isOver =
            isReusable && upstream.pointee.phase == .ended
            && stream(slot).pointee.flags.contains(.ends)
        upstream.pointee.phase = .ended
        wheel.disarm(slot)
        channels[slot].pointee.deadlineKind = .none
        // One that has outlived its session's is freed so, too.
        if !isOver || stream(slot).pointee.id == 0 { resetStream(slot, .cancel) }
        resumeInput(slot)
    }

    /// The stream is lost with its connection.
    func upstreamStreamFailed(_ slot: Int, _ reason: ReasonCode) {
        let exchange = Int(upstream(slot).pointee.exchange)
        guard exchange >= 0 else { return }
        if isWhole(slot) {
            finishClosedStream(slot)
            return
        }
        let isTruncated = upstream(slot).pointee.phase == .receivingBody
        upstreamFailed(slot, isTruncated ? .upstreamTruncated : reason)
    }

    /// The session has closed the stream; its exchange may not have got all.
    func upstreamStreamClosed(_ slot: Int, _ code: UInt32) {
        let upstream = self.upstream(slot)
        guard upstream.pointee.exchange >= 0 else { return }
        // What is kept of the answer goes down before its end is looked at.
        if code == HTTP2Code.noError.rawValue,
            stream(slot).pointee.flags.contains(.peerEnded),
            !channels[slot].pointee.stash.isEmpty
                || channels[slot].pointee.flags.contains(.peerEnded)
        {
            finishClosedStream(slot)
            return
        }
        if code == HTTP2Code.refusedStream.rawValue || code == HTTP2Code.http11Required.rawValue {
            if code == HTTP2Code.http11Required.rawValue,
                let pool = pools[Int(upstream.pointee.pool)]
            {
                pool.http1Members |= MemberTable.bit(Int(upstream.pointee.member))
            }
            upstreamFailed(slot, .upstreamStreamRefused)
            return
        }
        // Its connection lives: this is no silent end of an old one.
        upstream.pointee.isReused = false
        upstreamFailed(
            slot, upstream.pointee.phase == .receivingBody ? .upstreamTruncated : .upstreamReset)
    }

    /// Both sides of a stream have ended while its answer is paused: it goes on, without a number,
    /// until what is kept has gone down as its limit says.
    ///
    /// - Returns: false if it is another case.
    func outlivesSession(_ slot: Int, _ code: UInt32) -> Bool {
        guard code == HTTP2Code.noError.rawValue, upstream(slot).pointee.exchange >= 0,
            upstream(slot).pointee.phase == .receivingBody,
            channels[slot].pointee.flags.isSuperset(of: [.paused, .peerEnded])
        else { return false }
        stream(slot).pointee.id = 0
        stream(slot).pointee.flags.remove(.wasReset)
        return true
    }

    /// The session is done with the stream, and all of its answer has come.
    private func isWhole(_ slot: Int) -> Bool {
        stream(slot).pointee.id == 0 && upstream(slot).pointee.phase == .receivingBody
            && channels[slot].pointee.flags.contains(.peerEnded)
    }

    /// Both sides of the stream have ended, and a slow client has not taken all: what is kept is
    /// the client's now, whatever its limit.
    private func finishClosedStream(_ slot: Int) {
        let channel = channels[slot]
        channel.pointee.flags.insert(.wantsInput)
        let exchange = Int(upstream(slot).pointee.exchange)
        let link = links[Int(stream(slot).pointee.connection)]
        while let chunk = channel.pointee.stash.popFirst() {
            link.pointee.bytesKept -= chunk.count
            link.pointee.bytesStashed -= chunk.count
            if upstream(slot).pointee.exchange == Int32(exchange) {
                let bytes = UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count)
                answerContent(slot, bytes.bindMemory(to: UInt8.self).span)
            }
            chunks.give(chunk)
        }
        if upstream(slot).pointee.exchange == Int32(exchange) { answerStreamEnded(slot) }
    }

    /// One stream less on a connection.
    func upstreamStreamOver(_ connection: Int) {
        let link = links[connection]
        guard channels[connection].pointee.phase == .established,
            channels[connection].pointee.http2 != nil
        else { return }
        let pool = pools[Int(upstream(connection).pointee.pool)]
        if let pool { callQueue(pool) }
        guard link.pointee.streamCount == 0 else { return }
        let takesNone =
            link.pointee.hasSettings && channels[connection].pointee.http2?.peerStreamsMax == 0
        let isUseless =
            link.pointee.isLeaving || phase == .draining || pool?.isRetired != false || takesNone
        setDeadline(
            connection, .idle, isUseless ? 0 : pool?.settings.idleTimeout ?? 0)
    }
}
