internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeRouting
internal import EdgeUpstream

/// Steps 5, 6, 7 and 9 of a request: route, upstream, request up, and the one end that every
/// exchange comes to. Knows no wire format of the client's: what an HTTP/2 stream begins is the
/// same exchange.
extension Worker {
    // MARK: - Beginning

    /// A request's head is complete and in `requestHead`; its ranges lie in `head`.
    // hot: once per request; no allocation in the steady state.
    func beginExchange(_ slot: Int, _ head: Span<UInt8>) {
        let downstream = downstreams[slot]
        downstream.pointee.requestCount &+= 1
        block.add(.requests)
        let begun =
            downstream.pointee.headBegun.nanoseconds == 0 ? now : downstream.pointee.headBegun
        defer { downstream.pointee.headBegun = Instant(nanoseconds: 0) }
        downstream.pointee.closesAfterAnswer =
            (!requestHead.keepAlive || isDismissing || phase == .draining
                || retiredListeners.contains(downstream.pointee.listener)) && !isStream(slot)
        if isDismissing, isStream(slot) { leaveHTTP2(Int(stream(slot).pointee.connection)) }
        routedSite = TrafficTable.other
        guard let route = route(slot, head) else { return }
        routedSite = route.traffic
        let rules = rules(route.policy)
        let plan = limitPlan(route.policy)
        if plan >= 0, !isWithinLimits(slot, head, plan, route.policy) { return }
        if requestHead.hasCDNLoop, setup.loopMark.isIn(requestHead.fields, head) {
            dropRequestCounts()
            decline(slot, head, status: 508, .loopDetected, by: route.policy)
            return
        }
        if let rules {
            if !permits(slot, head, route, rules) {
                dropRequestCounts()
                return
            }
        }
        guard route.pool >= 0 else {
            dropRequestCounts()
            decline(slot, head, status: 404, .noRoute, by: route.policy)
            return
        }
        let bodyMax = rules?.bodyMax ?? snapshot.client.requestBodyMax
        if case .length(let count) = requestHead.framing, count > bodyMax {
            dropRequestCounts()
            decline(slot, head, status: 413, .clientBodyTooLarge, by: route.policy)
            return
        }
        guard let exchange = exchangeSlots.take() else {
            dropRequestCounts()
            decline(slot, head, status: 503, .memoryLimit, by: route.policy)
            return
        }
        block.add(.requestsActive)
        let framing = requestHead.framing
        var flags: Exchange.Flags = .replayable
        if requestHead.expectContinue { flags.insert(.expectsContinue) }
        if requestHead.dropsTrailers { flags.insert(.dropsRequestTrailers) }
        let upgrade = upgrade(of: Int(route.site), head)
        if !framing.hasContent { flags.insert(.requestComplete) }
        exchanges[exchange].pointee = Exchange(
            phase: .awaitingUpstream, flags: flags, method: requestHead.method,
            clientMinor: requestHead.versionMinor, attempts: 0, status: 0,
            requestFraming: framing, answerFraming: .none, downstream: Int32(slot), upstream: -1,
            pool: route.pool, tried: 0, prefix: nil, upgrade: upgrade.0)
        exchanges[exchange].pointee.rules = route.policy
        exchanges[exchange].pointee.traffic = route.traffic
        exchanges[exchange].pointee.times.begun = begun
        exchanges[exchange].pointee.times.head = now
        if plan >= 0 { holdRequestCounts(exchange) }
        if accessLog.isOn { logBegin(exchange, slot, head) }
        noteKeys(exchange, slot, head)
        downstream.pointee.exchange = Int32(exchange)
        downstream.pointee.decoder = BodyDecoder(framing: framing)
        downstream.pointee.phase =
            flags.contains(.requestComplete) ? .awaitingAnswer : .receivingBody
        if !flags.contains(.requestComplete) { setDeadline(slot, .body, snapshot.timeouts.body) }
        guard writeRequestHead(exchange, slot, head, upgrade: upgrade.1, rules) else {
            refuse(slot, status: 503, .memoryLimit)
            return
        }
        if flags.contains(.expectsContinue), !flags.contains(.requestComplete) {
            sendContinue(slot, exchange)
        }
        if plan >= 0, isHeldBack(exchange, plan) { return }
        acquireUpstream(exchange, allowsReuse: true)
    }

    /// The request's head as the upstream gets it, kept until the answer begins.
    private func writeRequestHead(
        _ exchange: Int, _ slot: Int, _ head: Span<UInt8>, upgrade: ByteRange,
        _ rules: RequestRules?
    ) -> Bool {
        let context = forwardingContext(exchange, slot, head, upgrade: upgrade)
        let subject = rules == nil ? [] : subjectLine(slot, rules)
        let headRules = rules?.head
        if let headRules, !keepValues(exchange, headRules, context, head) { return false }
        let size =
            HTTP1Writer.requestBytesMax(
                requestHead, from: head, context: context, host: Span(), rules: headRules)
            + subject.count
        guard size <= Worker.headsBytes else {
            guard let chunk = chunks.take(size) else { return false }
            exchanges[exchange].pointee.prefix = chunk
            return writeRequestHead(
                exchange, head, context, headRules, subject, chunk,
                UnsafeMutableRawBufferPointer(
                    start: chunk.bytes, count: Int(chunk.pointee.capacity)))
        }
        return writeRequestHead(
            exchange, head, context, headRules, subject, nil,
            UnsafeMutableRawBufferPointer(start: heads, count: Worker.headsBytes))
    }

    /// - Parameter chunk: whose memory `space` is; nil: one that fits what is written is taken.
    private func writeRequestHead(
        _ exchange: Int, _ head: Span<UInt8>, _ context: ForwardingContext,
        _ rules: HeadRules?, _ subject: [UInt8], _ chunk: ChunkPointer?,
        _ space: UnsafeMutableRawBufferPointer
    ) -> Bool {
        var writer = ByteWriter(space)
        let cookie = hiddenCookie(exchange)
        let isWritten =
            if let rules {
                HTTP1Writer.writeRequest(
                    requestHead, from: head, context: context, host: Span(),
                    hiding: cookie.span, by: rules, adding: subject.span, into: &writer)
            } else {
                HTTP1Writer.writeRequest(
                    requestHead, from: head, context: context, host: Span(),
                    hiding: cookie.span, into: &writer)
            }
        guard isWritten else { return false }
        exchanges[exchange].pointee.prefixHead = Int32(writer.count)
        if let chunk {
            chunk.pointee.end = Int32(writer.count)
            return true
        }
        guard let chunk = chunks.take(writer.count) else { return false }
        _ = chunk.append(heads, count: writer.count)
        exchanges[exchange].pointee.prefix = chunk
        return true
    }

    /// Tells the client to send its body: we take it whatever the upstream thinks (RFC 9110
    /// §10.1.1 lets an intermediary answer at once).
    private func sendContinue(_ slot: Int, _ exchange: Int) {
        guard exchanges[exchange].pointee.clientMinor > 0,
            exchanges[exchange].pointee.flags.contains(.expectsContinue)
        else { return }
        exchanges[exchange].pointee.flags.remove(.expectsContinue)
        block.add(.responses1xx)
        if isStream(slot) {
            submitContinue(slot)
            return
        }
        var writer = ByteWriter(stageSpace(slot, 64))
        if HTTP1Writer.writeContinue(into: &writer) { staged(writer.count) }
    }

    /// Answers a request that has no exchange; the connection goes on if the request had no body
    /// and the answer to another one may differ.
    ///
    /// - Parameters:
    ///   - policy: rules of its route; -1: none was found.
    ///   - counts: an error is held against the client where policies say so.
    func decline(
        _ slot: Int, _ head: Span<UInt8>, status: UInt16, _ reason: ReasonCode,
        field: AnswerField = .none, by policy: Int32 = -1, counts: Bool = true
    ) {
        let downstream = downstreams[slot]
        let hasBody = requestHead.framing.hasContent
        let close =
            hasBody || downstream.pointee.closesAfterAnswer
            || status == 421 && isProfileGone(slot)
        block.add(reason)
        countDeclined(status: status, reason)
        if status >= 400, counts {
            let plan = limitPlan(policy)
            if plan >= 0 { noteErrorAnswer(slot, plan, status) }
        }
        if accessLog.isOn { logUnserved(slot, head, status, reason) }
        answer(
            slot, status: status, reason.label, close: close,
            isHead: requestHead.method == .head, field: ruled(field, slot, head, by: policy))
        if close || isStream(slot) { closeDownstream(slot) } else { setIdleDeadline(slot) }
    }

    // MARK: - Upstream

    /// Step 6: the next member in turn; an unused connection of its, or a new one.
    func acquireUpstream(_ exchange: Int, allowsReuse: Bool) {
        let state = exchanges[exchange]
        guard var pool = pool(Int(state.pointee.pool)) else {
            failExchange(exchange, .noAddress)
            return
        }
        if pool.isRetired { pool = inherit(exchange, from: pool) }
        guard admit(exchange, pool) else { return }
        let ahead = precedes(exchange) ? pool.queuePreceding : pool.queueCount
        if ahead > 0, !state.pointee.flags.contains(.queued) {
            // Behind those that wait for a connection which all of them will share.
            enqueue(exchange, pool, isBounded: pool.http2Connecting | pool.http2Late == 0)
            return
        }
        leaveQueue(exchange)
        var choice = choice(exchange, pool)
        var limited: UInt64 = 0
        while let member = pool.group.members.next(choice, now: now) {
            guard let failure = use(member, pool, exchange, allowsReuse: allowsReuse) else {
                return
            }
            state.pointee.tried |= MemberTable.bit(member)
            choice.tried |= MemberTable.bit(member)
            guard failure != .none else { continue }
            state.pointee.attempts &+= 1
            block.add(.upstreamConnectFailures)
            pool.group.row.add(UpstreamCells.connectFailures)
            block.add(failure)
            if failure == .descriptorLimit { limited |= MemberTable.bit(member) }
        }
        if limited != 0, awaitsDescriptor(exchange, pool, limited) { return }
        if pool.group.members.isWorthWaiting(choice),
            state.pointee.rival < 0 || hasPlace(exchange, pool)
        {
            enqueue(exchange, pool)
            return
        }
        if returnToRival(exchange) { return }
        if awaitsLate(exchange, pool) {
            enqueue(exchange, pool, isBounded: false)
            return
        }
        failExchange(exchange, nobodyLeft(pool, tried: state.pointee.tried))
    }

    /// Why nobody serves a request.
    private func nobodyLeft(_ pool: UpstreamPool, tried: UInt64) -> ReasonCode {
        guard pool.group.members.hasCurrentMember else { return .noAddress }
        guard pool.group.members.hasUsableMember else { return .upstreamAllDown }
        return .upstreamConnectFailed
    }

    /// Counts the exchange among its upstream's.
    ///
    /// - Returns: false if that has as many as it may have: the exchange is over.
    private func admit(_ exchange: Int, _ pool: UpstreamPool) -> Bool {
        let state = exchanges[exchange]
        guard !state.pointee.flags.contains(.counted) else { return true }
        let limit = pool.group.view.requestsMax
        guard limit == 0 || pool.group.active < limit else {
            failExchange(exchange, .upstreamRequestLimit)
            return false
        }
        state.pointee.flags.insert(.counted)
        pool.group.active += 1
        let row = pool.group.row
        row.add(UpstreamCells.active)
        state.pointee.upstreamRow = row
        pool.group.budget.requested(now: now)
        return true
    }

    /// Finds the exchange a place on an unused or shared connection to the member, or opens one.
    ///
    /// - Returns: nil if it has one or will have; `.none` if the member has no room, else why there
    ///   is none.
    func use(
        _ member: Int, _ pool: UpstreamPool, _ exchange: Int, allowsReuse: Bool
    ) -> ReasonCode? {
        let isShared = multiplexes(exchange, pool, member)
        if isShared, share(exchange, pool, member) { return nil }
        guard pool.group.members.hasRoom(member) else { return ReasonCode.none }
        let allowsReuse =
            allowsReuse && !exchanges[exchange].pointee.flags.contains(.relay)
            && !pool.settings.sendsProxyHeader
        while allowsReuse, !isShared || pool.settings.version == .auto,
            let idle = pool.takeIdle(member)
        {
            let channel = channels[Int(idle)]
            if channel.pointee.backlogged == 0,
                channel.pointee.flags.isDisjoint(
                    with: [.peerEnded, .broken, .tlsFailed, .closeNotified])
            {
                attach(exchange, to: Int(idle))
                return nil
            }
            // Its end has arrived in this very turn.
            endIdle(Int(idle))
        }
        return connect(pool, member, exchange)
    }

    private func attach(_ exchange: Int, to slot: Int) {
        let upstream = self.upstream(slot)
        upstream.pointee.phase = .awaitingHead
        upstream.pointee.exchange = Int32(exchange)
        upstream.pointee.isReused = true
        upstream.pointee.answerStarted = false
        upstream.pointee.interimCount = 0
        assign(exchange, slot)
        if let pool = pools[Int(upstream.pointee.pool)] {
            let member = pool.group.members.members[Int(upstream.pointee.member)].address
            noteConnecting(exchange, to: member, isReused: true)
        }
        block.add(.upstreamReused)
        block.subtract(.upstreamConnectionsIdle)
        clearDeadline(slot)
        if receivesOnce(slot) { stopReceiving(slot) }
    }

    // MARK: - Request up

    /// Step 7: sends the head and what of the body has come with it, once there is a connection.
    func sendRequest(_ exchange: Int) {
        let state = exchanges[exchange]
        let slot = Int(state.pointee.upstream)
        guard slot >= 0, !state.pointee.flags.contains(.prefixSent),
            upstream(slot).pointee.phase == .awaitingHead, let prefix = state.pointee.prefix
        else { return }
        state.pointee.flags.insert(.prefixSent)
        state.pointee.times.sent = now
        if state.pointee.rival >= 0 { dropRivals(exchange) }
        if state.pointee.phase == .awaitingUpstream { state.pointee.phase = .forwarding }
        if isStream(slot) {
            submitRequest(exchange, slot, prefix)
        } else if state.pointee.requestFraming.isChunked {
            writeChunkedPrefix(exchange, slot, prefix)
        } else {
            write(slot, prefix.waiting, count: prefix.count)
        }
        if state.pointee.flags.contains(.requestComplete) { awaitAnswer(exchange, slot) }
        if isBlocked(slot) {
            pauseBody(exchange)
        } else {
            resumeBody(exchange)
        }
    }

    /// What is kept of a request without a length, framed.
    private func writeChunkedPrefix(_ exchange: Int, _ slot: Int, _ prefix: ChunkPointer) {
        let state = exchanges[exchange]
        let headCount = Int(state.pointee.prefixHead)
        let content = UnsafeRawBufferPointer(
            start: prefix.waiting + headCount, count: prefix.count - headCount)
        stageContent(slot, prefix.waiting, count: headCount)
        if !content.isEmpty {
            stageBody(slot, content.bindMemory(to: UInt8.self).span, isChunked: true)
        }
        if state.pointee.flags.contains(.requestComplete) {
            let lines = state.pointee.trailers
            var writer = ByteWriter(stageSpace(slot, 8 + (lines?.count ?? 0)))
            writer.append("0\r\n")
            if let lines {
                let bytes = UnsafeRawBufferPointer(start: lines.waiting, count: lines.count)
                writer.append(bytes.bindMemory(to: UInt8.self).span)
            }
            writer.append("\r\n")
            staged(writer.count)
        }
        flushStage()
    }

    /// The client's body has to wait: that is not the client's fault, so its deadline rests.
    private func pauseBody(_ exchange: Int) {
        let client = Int(exchanges[exchange].pointee.downstream)
        pauseInput(client)
        if channels[client].pointee.deadlineKind == .body { clearDeadline(client) }
    }

    /// The client's body may come.
    func resumeBody(_ exchange: Int) {
        let client = Int(exchanges[exchange].pointee.downstream)
        resumeInput(client)
        if downstreams[client].pointee.phase == .receivingBody {
            setDeadline(client, .body, snapshot.timeouts.body)
        }
    }

    /// The request is out: the answer's deadline runs.
    private func awaitAnswer(_ exchange: Int, _ slot: Int) {
        guard !isBlocked(slot), upstream(slot).pointee.phase == .awaitingHead,
            let pool = pools[Int(exchanges[exchange].pointee.pool)]
        else { return }
        awaitHead(exchange, slot, pool)
    }

    /// A piece of the request's body. As long as the head waits for its connection the body is kept
    /// with it: one send for both, and both can be sent again.
    func requestBody(_ exchange: Int, _ content: Span<UInt8>) {
        let state = exchanges[exchange]
        state.pointee.received &+= UInt64(content.count)
        guard allowContent(exchange) else { return }
        if !state.pointee.flags.contains(.prefixSent) {
            if keepInPrefix(exchange, content) { return }
            sendRequest(exchange)
            guard state.pointee.flags.contains(.prefixSent) else {
                refuse(Int(state.pointee.downstream), status: 503, .memoryLimit)
                return
            }
        }
        let slot = Int(state.pointee.upstream)
        if slot < 0 || !isStream(slot) || !keepForReplay(exchange, content) {
            state.pointee.flags.remove(.replayable)
            dropPrefix(exchange)
        }
        guard slot >= 0 else { return }
        stageBody(slot, content, isChunked: state.pointee.requestFraming.isChunked)
        if isBlocked(slot) { pauseBody(exchange) }
    }

    /// Content kept of a request whose stream may yet be refused: whatever it is, it can be sent
    /// again then (RFC 9113 §8.7). Before anything of it has left, all that has come in the turn.
    static let replayMax = 64 * 1024
    static let unsentMax = 1 << 20

    /// - Returns: false if it is too much to be kept.
    private func keepForReplay(_ exchange: Int, _ content: Span<UInt8>) -> Bool {
        let state = exchanges[exchange]
        guard state.pointee.flags.contains(.replayable), let prefix = state.pointee.prefix else {
            return false
        }
        let isSent = stream(Int(state.pointee.upstream)).pointee.flags.contains(.requestSent)
        let count = prefix.count - Int(state.pointee.prefixHead) + content.count
        guard count <= (isSent ? Worker.replayMax : Worker.unsentMax) else { return false }
        return appendToPrefix(exchange, prefix, content)
    }

    private func appendToPrefix(
        _ exchange: Int, _ prefix: ChunkPointer, _ content: Span<UInt8>
    ) -> Bool {
        var prefix = prefix
        if prefix.room < content.count {
            guard let larger = chunks.take(prefix.count + content.count) else { return false }
            _ = larger.append(prefix.waiting, count: prefix.count)
            chunks.give(prefix)
            prefix = larger
            exchanges[exchange].pointee.prefix = larger
        }
        content.withUnsafeBytes {
            if let start = $0.baseAddress { _ = prefix.append(start, count: $0.count) }
        }
        return true
    }

    /// - Returns: false if there is too much of it and the connection is ready, or no memory.
    private func keepInPrefix(_ exchange: Int, _ content: Span<UInt8>) -> Bool {
        let state = exchanges[exchange]
        guard let prefix = state.pointee.prefix else { return false }
        if prefix.room < content.count {
            let slot = Int(state.pointee.upstream)
            let isReady = slot >= 0 && upstream(slot).pointee.phase == .awaitingHead
            guard !isReady else { return false }
        }
        guard appendToPrefix(exchange, prefix, content) else { return false }
        if state.pointee.prefix?.count ?? 0 > 16 * 1024 { pauseBody(exchange) }
        return true
    }

    /// The request's body is complete.
    ///
    /// - Parameter trailers: their bytes; parsed, they are in `trailerFields`.
    func requestEnded(_ exchange: Int, trailers: Span<UInt8>?) {
        let state = exchanges[exchange]
        let dropsTrailers = state.pointee.flags.contains(.dropsRequestTrailers)
        let slot = Int(state.pointee.upstream)
        if slot >= 0, isStream(slot), state.pointee.flags.contains(.prefixSent) {
            if trailers != nil { state.pointee.flags.remove(.replayable) }
            endContent(slot, trailers: dropsTrailers ? nil : trailers, isRequest: true)
        } else if state.pointee.requestFraming.isChunked,
            !endChunks(exchange, dropsTrailers ? nil : trailers)
        {
            refuse(Int(state.pointee.downstream), status: 503, .memoryLimit)
            return
        }
        state.pointee.flags.insert(.requestComplete)
        guard state.pointee.flags.contains(.prefixSent) else { return }
        if slot >= 0 {
            flushStage()
            state.pointee.times.sent = now
            awaitAnswer(exchange, slot)
        }
    }

    /// - Returns: false if there is no memory: the request must not look complete then.
    private func endChunks(_ exchange: Int, _ trailers: Span<UInt8>?) -> Bool {
        let state = exchanges[exchange]
        if !state.pointee.flags.contains(.prefixSent), state.pointee.prefix != nil {
            let (lines, isWhole) = keepTrailers(trailers, isRequest: true, exchange)
            state.pointee.trailers = lines
            return isWhole
        }
        let size = lastChunkBytes(trailers)
        let slot = Int(state.pointee.upstream)
        guard slot >= 0 else { return true }
        state.pointee.flags.remove(.replayable)
        var writer = ByteWriter(stageSpace(slot, size))
        guard writeLastChunk(trailers, isRequest: true, exchange, &writer) else { return false }
        staged(writer.count)
        return true
    }

    /// What the last chunk takes at most: a normalised line is one byte longer than `a:b`.
    func lastChunkBytes(_ trailers: Span<UInt8>?) -> Int {
        guard let trailers else { return 16 }
        return 16 + trailers.count + trailerFields.count
    }

    func writeLastChunk(
        _ trailers: Span<UInt8>?, isRequest: Bool, _ exchange: Int, _ writer: inout ByteWriter
    ) -> Bool {
        if let trailers {
            return HTTP1Writer.writeLastChunk(
                trailers: trailerFields, from: trailers, isRequest: isRequest,
                edits: trailerEdits(exchange, isRequest: isRequest), into: &writer)
        }
        return HTTP1Writer.writeLastChunk(into: &writer)
    }

    /// Content on its way to `slot`, in our own chunks if it is chunked.
    func stageBody(_ slot: Int, _ content: Span<UInt8>, isChunked: Bool) {
        if isStream(slot) {
            content.withUnsafeBytes {
                if let start = $0.baseAddress { appendContent(slot, start, count: $0.count) }
            }
            return
        }
        if isChunked {
            var writer = ByteWriter(stageSpace(slot, HTTP1Writer.chunkHeaderBytesMax))
            _ = HTTP1Writer.writeChunkHeader(content.count, into: &writer)
            staged(writer.count)
        }
        content.withUnsafeBufferPointer {
            if let start = $0.baseAddress { stageContent(slot, start, count: $0.count) }
        }
        if isChunked {
            var writer = ByteWriter(stageSpace(slot, 2))
            _ = HTTP1Writer.writeChunkEnd(into: &writer)
            staged(writer.count)
        }
    }

    // MARK: - Ending

    /// Step 9, the good end: the whole answer is on its way to the client.
    func finishExchange(_ exchange: Int) {
        let state = exchanges[exchange]
        let slot = Int(state.pointee.downstream)
        let isComplete = state.pointee.flags.contains(.requestComplete)
        releaseUpstream(exchange, isReusable: isComplete)
        releaseExchange(exchange)
        let downstream = downstreams[slot]
        downstream.pointee.exchange = -1
        if isStream(slot) {
            finishStream(slot)
            return
        }
        if downstream.pointee.closesAfterAnswer || !isComplete
            || phase == .draining && !isPatient
        {
            // The rest of the answer and close_notify leave in one segment.
            holdsWire = stageSlot == slot
            flushStage()
            holdsWire = false
            closeDownstream(slot)
            return
        }
        flushStage()
        downstream.pointee.phase = .awaitingHead
        nextRequest(slot)
    }

    /// The client's next request may come, once it has taken the answers so far.
    private func nextRequest(_ slot: Int) {
        setIdleDeadline(slot)
        guard !isBlocked(slot) else { return }
        resumeInput(slot)
        if downstreams[slot].pointee.held != nil { callAttention(to: slot) }
        if channels[slot].pointee.flags.contains(.peerEnded) { callAttention(to: slot) }
    }

    /// The end for a reason: an error answer if none has begun, else a visible cut. None as long as
    /// another attempt may still be answered.
    ///
    /// - Parameter retryAfter: seconds after which it is worth while to ask again; 0: nobody knows.
    func failExchange(_ exchange: Int, _ reason: ReasonCode, retryAfter: UInt64 = 0) {
        if fallBack(exchange) { return }
        let state = exchanges[exchange]
        let slot = Int(state.pointee.downstream)
        let downstream = downstreams[slot]
        takeBackUnsentAnswer(exchange)
        let isAnswering = state.pointee.phase == .answering
        let isComplete = state.pointee.flags.contains(.requestComplete)
        let isHead = state.pointee.method == .head
        let isRelay = state.pointee.flags.contains(.relay)
        if !isAnswering { state.pointee.status = reason.answerStatus }
        let id = state.pointee.requestID
        var field = isAnswering || isRelay ? .none : ruledField(of: exchange)
        if retryAfter > 0 { field.append("Retry-After", decimal: retryAfter) }
        abandon(exchange, reason)
        downstream.pointee.exchange = -1
        if isAnswering || isRelay {
            cutAnswer(slot)
            return
        }
        let close = downstream.pointee.closesAfterAnswer || !isComplete || isStream(slot)
        answer(
            slot, status: reason.answerStatus, reason.label, close: close, isHead: isHead,
            field: field, id: id)
        if close {
            closeDownstream(slot)
        } else {
            flushStage()
            downstream.pointee.phase = .awaitingHead
            nextRequest(slot)
        }
    }

    /// An answer that turns out to be none before anything of it was sent, by a broken first chunk
    /// in the segment of its head, say, is not cut but becomes a 502. What is staged behind its
    /// beginning is its own: a client's HTTP/1 connection has one exchange at a time.
    private func takeBackUnsentAnswer(_ exchange: Int) {
        let state = exchanges[exchange]
        guard state.pointee.phase == .answering, unsentAnswer >= 0,
            stageSlot == Int(state.pointee.downstream)
        else { return }
        stageCount = unsentAnswer
        unsentAnswer = -1
        state.pointee.sent = 0
        state.pointee.phase = .forwarding
    }

    /// Drops an exchange without a word to the client; the caller sees to that side.
    func abandon(_ exchange: Int, _ reason: ReasonCode) {
        block.add(reason)
        if reason != .none { exchanges[exchange].pointee.reason = reason }
        let upstream = Int(exchanges[exchange].pointee.upstream)
        if reason != .none, upstream >= 0, exchanges[exchange].pointee.flags.contains(.relay) {
            // What is cut on one side of a relayed connection is cut on the other.
            channels[upstream].pointee.flags.insert(.resets)
        }
        releaseUpstream(exchange, isReusable: isUntouched(exchange))
        releaseExchange(exchange)
    }

    /// Nothing has been sent over the connection that was taken for the exchange: whoever asks and
    /// takes it back at once costs no connection.
    private func isUntouched(_ exchange: Int) -> Bool {
        let slot = Int(exchanges[exchange].pointee.upstream)
        guard slot >= 0, !isStream(slot), upstream(slot).pointee.isReused,
            upstream(slot).pointee.phase == .awaitingHead,
            exchanges[exchange].pointee.flags.isDisjoint(with: [.prefixSent, .relay])
        else { return false }
        upstream(slot).pointee.phase = .ended
        return true
    }

    /// The request will not be sent again.
    func dropPrefix(_ exchange: Int) {
        if let trailers = exchanges[exchange].pointee.trailers {
            chunks.give(trailers)
            exchanges[exchange].pointee.trailers = nil
        }
        guard let prefix = exchanges[exchange].pointee.prefix else { return }
        chunks.give(prefix)
        exchanges[exchange].pointee.prefix = nil
    }

    private func releaseExchange(_ exchange: Int) {
        let state = exchanges[exchange]
        guard state.pointee.phase != .free else { return }
        if state.pointee.isMetered { endMeters(exchange) }
        leaveQueue(exchange)
        dropRivals(exchange)
        dropElder(exchange, hasFailed: false)
        if state.pointee.flags.contains(.counted) {
            pools[Int(state.pointee.pool)]?.group.active -= 1
            state.pointee.upstreamRow?.subtract(UpstreamCells.active)
        }
        if state.pointee.flags.contains(.holdsCounts) { leaveRequestCounts(exchange) }
        noteEnd(exchange)
        // Upgrades were counted when they began, and relayed connections have no status.
        if state.pointee.phase == .answering, state.pointee.status >= 200 {
            countStatus(state.pointee.status)
        }
        dropPrefix(exchange)
        if let kept = state.pointee.kept {
            chunks.give(kept)
            state.pointee.kept = nil
        }
        state.pointee.phase = .free
        exchangeSlots.give(exchange)
        block.subtract(.requestsActive)
    }
}

extension ReasonCode {
    /// The status that a client gets when its request ends for this reason before an answer.
    var answerStatus: UInt16 {
        switch self {
        case .upstreamConnectTimeout, .upstreamHeadTimeout, .upstreamBodyTimeout: 504
        case .upstreamConnectRefused, .upstreamConnectFailed, .upstreamTLSFailed,
            .upstreamNotVerified, .upstreamReset, .upstreamClosedEarly, .upstreamBadResponse,
            .upstreamTruncated, .upstreamSurplusBytes, .upstreamStreamRefused,
            .upstreamUnreachable:
            502
        case .noAddress, .connectionLimit, .descriptorLimit, .memoryLimit, .draining, .notServing,
            .upstreamQueueFull, .upstreamQueueTimeout, .upstreamAllDown, .upstreamRequestLimit,
            .retryBudgetEmpty, .maintenance, .noView, .evictedUnused, .evictedIdle, .evictedHTTP2,
            .evictedUnfinished, .overloaded, .memoryPressure:
            503
        case .clientForbidden: 403
        case .clientMethodNotAllowed: 405
        case .loopDetected: 508
        case .noRoute: 404
        case .clientBodyTooLarge: 413
        case .rateLimited: 429
        case .misdirected: 421
        case .clientHeadTimeout, .clientBodyTimeout: 408
        case .redirected: 308
        case .clientClosed, .clientReset, .clientHelloTimeout, .clientHandshakeTimeout,
            .clientHandshakeFailed, .clientIdleTimeout, .clientReadTimeout, .clientTLSError,
            .clientBadRequest, .clientResetFlood, .clientPingFlood, .clientSettingsFlood,
            .clientPriorityFlood, .clientWindowFlood, .clientEmptyDataFlood,
            .clientUnknownFrameFlood, .clientHeaderFlood, .clientConnectionMemory,
            .clientProtocolError, .clientNotTrusted, .clientProxyHeaderInvalid,
            .clientProxyHeaderTimeout:
            400
        case .none, .internalError, .certificateUnusable, .tunnelTimeout: 500
        }
    }
}
