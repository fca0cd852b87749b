internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import Glibc

/// Step 4 of a request: the client's plaintext becomes requests. Client side of HTTP/1.1.
extension Worker {
    /// Plaintext from a client. Bytes that can't be used yet are held in one chunk.
    func downstreamInput(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        let generation = channels[slot].pointee.generation
        guard downstreams[slot].pointee.phase != .ended else { return }
        guard let held = downstreams[slot].pointee.held else {
            let used = parseDownstream(slot, bytes)
            if isOpen(slot, generation), used < bytes.count {
                hold(slot, UnsafeRawBufferPointer(rebasing: bytes[used...]))
            }
            settle(slot, generation)
            return
        }
        downstreams[slot].pointee.held = nil
        guard let joined = join(held, bytes) else {
            refuse(slot, status: 431, .memoryLimit)
            return
        }
        parseHeld(slot, joined)
        settle(slot, generation)
    }

    /// Goes on with held bytes after an answer: pipelined requests.
    func continueInput(_ slot: Int) {
        // What is held then is no request.
        guard !channels[slot].pointee.flags.contains(.awaitsPreface) else { return }
        switch downstreams[slot].pointee.phase {
        case .awaitingHead, .tunnel: break
        case .receivingBody, .awaitingAnswer, .ended: return
        }
        guard let held = downstreams[slot].pointee.held else { return }
        let generation = channels[slot].pointee.generation
        downstreams[slot].pointee.held = nil
        parseHeld(slot, held)
        settle(slot, generation)
    }

    /// The chunk is out of the slot meanwhile: nothing that happens on the way can free it.
    private func parseHeld(_ slot: Int, _ chunk: ChunkPointer) {
        let generation = channels[slot].pointee.generation
        let used = parseDownstream(
            slot, UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count))
        chunk.pointee.start += Int32(used)
        if isOpen(slot, generation), chunk.count > 0, downstreams[slot].pointee.phase != .ended {
            downstreams[slot].pointee.held = chunk
            limitHeld(slot, chunk)
        } else {
            chunks.give(chunk)
        }
    }

    private func hold(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        guard downstreams[slot].pointee.phase != .ended, let start = bytes.baseAddress else {
            return
        }
        guard let chunk = chunks.take(bytes.count) else {
            refuse(slot, status: 503, .memoryLimit)
            return
        }
        _ = chunk.append(start, count: bytes.count)
        downstreams[slot].pointee.held = chunk
        limitHeld(slot, chunk)
    }

    /// Pipelined bytes are held up to a bound; then reading stops until the answer is out.
    private func limitHeld(_ slot: Int, _ chunk: ChunkPointer) {
        if downstreams[slot].pointee.phase == .awaitingAnswer, chunk.count > Worker.stashMax {
            pauseInput(slot)
        }
    }

    /// The held bytes and new ones in one piece.
    func join(_ chunk: ChunkPointer, _ bytes: UnsafeRawBufferPointer) -> ChunkPointer? {
        guard let start = bytes.baseAddress else { return chunk }
        if chunk.room >= bytes.count {
            _ = chunk.append(start, count: bytes.count)
            return chunk
        }
        defer { chunks.give(chunk) }
        guard let larger = chunks.take(chunk.count + bytes.count) else { return nil }
        _ = larger.append(chunk.waiting, count: chunk.count)
        _ = larger.append(start, count: bytes.count)
        return larger
    }

    /// After a round of input: what was put together goes out.
    private func settle(_ slot: Int, _ generation: UInt32) {
        guard isOpen(slot, generation) else { return }
        let exchange = Int(downstreams[slot].pointee.exchange)
        if exchange >= 0 {
            if exchanges[exchange].pointee.flags.contains(.metersUpload) { chargeUpload(exchange) }
            sendRequest(exchange)
        }
        flushStage()
    }

    /// Runs the client's machine over contiguous input.
    ///
    /// - Returns: bytes used; the rest is to be held.
    private func parseDownstream(_ slot: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        let downstream = downstreams[slot]
        let generation = channels[slot].pointee.generation
        let input = bytes.bindMemory(to: UInt8.self).span
        var offset = 0
        while isOpen(slot, generation), offset <= input.count {
            switch downstream.pointee.phase {
            case .awaitingHead:
                guard !isBlocked(slot) else {
                    // The next request waits until the client has taken its answers.
                    pauseInput(slot)
                    return offset
                }
                guard offset < input.count,
                    let used = parseHead(slot, input.extracting(offset...))
                else { return offset }
                offset += used
            case .receivingBody:
                guard let used = parseBody(slot, input.extracting(offset...)) else {
                    return offset
                }
                offset += used
            case .awaitingAnswer: return offset
            case .tunnel:
                tunnelUp(slot, input.extracting(offset...))
                return input.count
            case .ended: return input.count
            }
        }
        return min(offset, input.count)
    }

    /// - Returns: bytes of a whole head that has been dealt with; nil if there is none yet.
    private func parseHead(_ slot: Int, _ input: Span<UInt8>) -> Int? {
        let downstream = downstreams[slot]
        do {
            guard
                let count = try downstream.pointee.scanner.scan(
                    input, limits: snapshot.requestLimits)
            else {
                if !downstream.pointee.headStarted, !downstream.pointee.scanner.isEmpty {
                    downstream.pointee.headStarted = true
                    downstream.pointee.headBegun = now
                    setDeadline(slot, .requestHead, snapshot.timeouts.requestHead)
                }
                return nil
            }
            let skipped = downstream.pointee.scanner.skippedByteCount
            let head = input.extracting(skipped..<skipped + count)
            downstream.pointee.scanner = HeadScanner(.request)
            downstream.pointee.headStarted = false
            try HTTP1Parser.parseRequest(
                head, into: &requestHead, limits: snapshot.requestLimits)
            clearDeadline(slot)
            beginExchange(slot, head)
            return skipped + count
        } catch {
            violated(slot, error, isHead: Worker.beginsHEAD(input))
            return input.count
        }
    }

    private func parseBody(_ slot: Int, _ input: Span<UInt8>) -> Int? {
        let downstream = downstreams[slot]
        do {
            let (step, used) = try downstream.pointee.decoder.next(
                input, limits: snapshot.requestLimits)
            let exchange = Int(downstream.pointee.exchange)
            switch step {
            case .data(let start, let count):
                noteBodyProgress(slot, count)
                requestBody(exchange, input.extracting(start..<start + count))
            case .trailers(let start, let count):
                try HTTP1Parser.parseTrailers(
                    input.extracting(start..<start + count), into: &trailerFields,
                    limits: snapshot.requestLimits)
                downstream.pointee.phase = .awaitingAnswer
                clearDeadline(slot)
                requestEnded(
                    exchange, trailers: input.extracting(start..<start + count))
            case .needMore: return used > 0 ? used : nil
            case .end:
                if downstream.pointee.phase == .receivingBody {
                    downstream.pointee.phase = .awaitingAnswer
                    clearDeadline(slot)
                    requestEnded(exchange, trailers: nil)
                }
            }
            return used
        } catch {
            violated(slot, error)
            return input.count
        }
    }

    /// The client broke the protocol: it gets the offence's status, nothing of the message goes on,
    /// and nothing behind it is looked at (RFC 9112 §11.2).
    func violated(_ slot: Int, _ violation: HTTP1Violation, isHead: Bool = false) {
        block.addViolation(violation.rawValue)
        refuse(slot, status: violation.status, .clientBadRequest, violation, isHead: isHead)
    }

    // MARK: - Answers of our own

    /// Answers on our own account and closes. If an answer is under way already, it is cut.
    ///
    /// - Parameter isHead: of a request that has no exchange yet.
    func refuse(
        _ slot: Int, status: UInt16, _ reason: ReasonCode, _ violation: HTTP1Violation? = nil,
        isHead: Bool = false
    ) {
        let downstream = downstreams[slot]
        let exchange = Int(downstream.pointee.exchange)
        var isHead = isHead
        var id = RequestID()
        var field = AnswerField.none
        if exchange >= 0 {
            id = exchanges[exchange].pointee.requestID
            isHead = exchanges[exchange].pointee.method == .head
            let isAnswering = exchanges[exchange].pointee.phase == .answering
            if !isAnswering { field = ruledField(of: exchange) }
            downstream.pointee.exchange = -1
            if !isAnswering { exchanges[exchange].pointee.status = status }
            if let violation { exchanges[exchange].pointee.violation = violation.rawValue }
            abandon(exchange, reason)
            if isAnswering {
                cutAnswer(slot)
                return
            }
        } else {
            block.add(reason)
            // Who says what nobody understands is counted as who asks for what nobody has.
            let plan = arrivalPlan(transport(slot))
            if plan >= 0 { noteErrorAnswer(slot, plan, status) }
            if accessLog.isOn {
                logHeadless(slot, status, reason, violation?.rawValue ?? AccessLine.noViolation)
            }
        }
        answer(
            slot, status: status, violation?.label ?? reason.label, close: true, isHead: isHead,
            field: field, id: id)
        closeDownstream(slot)
    }

    /// Puts an answer of our own on the stage.
    func answer(
        _ slot: Int, status: UInt16, _ label: String, close: Bool, isHead: Bool,
        field: AnswerField = .none, id: RequestID = RequestID()
    ) {
        if isStream(slot) {
            answerStream(slot, status: status, label, isHead: isHead, field: field, id: id)
            return
        }
        if status >= 400, let page = snapshot.client.errorPages.page(for: status) {
            answer(
                slot, status: status, label, page: page, field: field, id: id, close: close,
                isHead: isHead)
            return
        }
        var writer = ByteWriter(stageSpace(slot, 4096 + field.byteCount))
        let isWritten = CannedResponse.write(
            status: status, reason: label, field: field.name, field.value.span,
            lines: field.lines.span, close: close, isHead: isHead, into: &writer)
        if isWritten { staged(writer.count) }
        countStatus(status)
    }

    func countStatus(_ status: UInt16) {
        switch status / 100 {
        case 1: block.add(.responses1xx)
        case 2: block.add(.responses2xx)
        case 3: block.add(.responses3xx)
        case 4: block.add(.responses4xx)
        default: block.add(.responses5xx)
        }
    }

    // MARK: - Ends

    /// Says what is left to say and closes; nothing more is read.
    func closeDownstream(_ slot: Int) {
        if isStream(slot) {
            finishStream(slot)
            return
        }
        if channels[slot].pointee.http2 != nil {
            endHTTP2(slot, .noError, .none)
            return
        }
        downstreams[slot].pointee.phase = .ended
        releaseHeld(slot)
        flushStage()
        closeGracefully(slot)
    }

    /// Ends an answer that can't be completed, so that the client sees that it was cut: without its
    /// last chunk, or short of its length, and by RST where only that tells.
    func cutAnswer(_ slot: Int) {
        downstreams[slot].pointee.phase = .ended
        if isStream(slot) {
            resetStream(slot, .internalError)
            return
        }
        releaseHeld(slot)
        flushStage()
        channels[slot].pointee.flags.insert(.tlsFailed)
        terminateAfterFlush(slot)
    }

    private func terminateAfterFlush(_ slot: Int) {
        channels[slot].pointee.flags.insert(.resets)
        if channels[slot].pointee.output.isEmpty { terminate(slot) } else { flush(slot) }
    }

    private func releaseHeld(_ slot: Int) {
        if let held = downstreams[slot].pointee.held {
            chunks.give(held)
            downstreams[slot].pointee.held = nil
        }
    }

    /// The client has sent its end.
    func downstreamEnded(_ slot: Int) {
        let downstream = downstreams[slot]
        if channels[slot].pointee.http2 != nil {
            abandonHTTP2(slot, .clientClosed)
            downstream.pointee.phase = .ended
        }
        switch downstream.pointee.phase {
        case .awaitingHead:
            // Between requests: a normal end. In the middle of a head: nobody to answer to.
            if downstream.pointee.headStarted {
                block.add(.clientClosed)
                if accessLog.isOn { logFailure(slot, .clientClosed) }
            }
            closeDownstream(slot)
        case .receivingBody: downstreamFailed(slot, .clientClosed)
        case .awaitingAnswer:
            // A client that only shut its sending side still gets all its answers.
            if downstream.pointee.held == nil {
                downstream.pointee.closesAfterAnswer = true
            } else {
                channels[slot].pointee.flags.remove(.endDelivered)
            }
        case .tunnel:
            relayEnded(Int(downstream.pointee.exchange), .clientEnded, isClean: true)
        case .ended: closeGracefully(slot)
        }
    }

    /// The client is gone, or what it does can't be answered.
    func downstreamFailed(_ slot: Int, _ reason: ReasonCode) {
        if isStream(slot) {
            clientStreamFailed(slot, reason)
            return
        }
        abandonHTTP2(slot, reason)
        let exchange = Int(downstreams[slot].pointee.exchange)
        var isAnswering = false
        if exchange >= 0 {
            isAnswering = exchanges[exchange].pointee.phase == .answering
            downstreams[slot].pointee.exchange = -1
            abandon(exchange, reason)
        } else if reason != .clientReset || downstreams[slot].pointee.headStarted {
            block.add(reason)
            if accessLog.isOn { logFailure(slot, reason) }
        }
        downstreams[slot].pointee.phase = .ended
        switch reason {
        case .clientHandshakeFailed, .certificateUnusable, .clientTLSError:
            // Our alert is on its way; a reset would take it along.
            channels[slot].pointee.flags.remove(.broken)
            closeGracefully(slot)
        default: terminate(slot, reset: isAnswering)
        }
    }

    func requestBodyTimedOut(_ slot: Int) {
        guard downstreams[slot].pointee.phase == .receivingBody else {
            downstreamFailed(slot, .clientBodyTimeout)
            return
        }
        refuse(slot, status: 408, .clientBodyTimeout)
    }

    /// The client took what was waiting: its upstream may go on.
    func downstreamDrained(_ slot: Int) {
        let exchange = Int(downstreams[slot].pointee.exchange)
        shutIfDue(slot)
        guard exchange >= 0 else {
            setIdleDeadline(slot)
            resumeInput(slot)
            callAttention(to: slot)
            return
        }

        resumeQueueDeadline(exchange)
        if downstreams[slot].pointee.phase == .receivingBody {
            setDeadline(slot, .body, snapshot.timeouts.body)
        }
        let upstream = Int(exchanges[exchange].pointee.upstream)
        guard upstream >= 0 else { return }
        resumeInput(upstream)
        if self.upstream(upstream).pointee.phase == .receivingBody {
            awaitContent(upstream)
        }
    }

    func setIdleDeadline(_ slot: Int) {
        guard downstreams[slot].pointee.phase == .awaitingHead, !isStream(slot) else { return }
        if downstreams[slot].pointee.headStarted {
            setDeadline(slot, .requestHead, snapshot.timeouts.requestHead)
        } else {
            setDeadline(slot, .keepAlive, snapshot.timeouts.keepAlive)
        }
        if channels[slot].pointee.flags.contains(.listsWhenIdle) { listIdle(slot) }
    }

    /// The slot's last act.
    func releaseDownstreamSlot(_ slot: Int) {
        releaseHeld(slot)
        leaveConnectionCounts(slot)
        idleLists.remove(slot)
        if downstreams[slot].pointee.isEvicted { evictionsPending -= 1 }
        downstreamSlots.give(slot)
        if acceptPending != .no { acceptPending = .now }
        block.subtract(.connectionsOpen)
        block.closed(listener: Int(downstreams[slot].pointee.listener))
        traffic.closed(view: downstreams[slot].pointee.view)
        checkDrained()
    }
}

/// What an answer of our own has beside what all have: a field whose value was made at run time,
/// and what rules add.
struct AnswerField {
    /// As HTTP/1 writes it, and in lower case.
    let name: StaticString
    let lowered: StaticString
    let value: [UInt8]
    /// Whole lines (`FieldEdits.ownLines`).
    var lines: [UInt8] = []

    var byteCount: Int { value.count + lines.count }

    static let none = AnswerField(name: "", lowered: "", value: [])

    static func location(_ value: [UInt8]) -> AnswerField {
        AnswerField(name: "Location", lowered: "location", value: value)
    }

    static func allow(_ value: [UInt8]) -> AnswerField {
        AnswerField(name: "Allow", lowered: "allow", value: value)
    }
}
