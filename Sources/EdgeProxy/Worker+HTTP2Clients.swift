internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2

/// What clients' streams begin, and how they are answered.
extension Worker {
    // MARK: - Requests

    /// A request's head, as the text of an HTTP/1.1 one.
    // hot: once per request.
    func requestReceived(
        _ connection: Int, _ id: Int32, _ text: UnsafeRawBufferPointer, isLast: Bool,
        isExtendedConnect: Bool
    ) {
        guard let slot = openClientStream(connection, id, isLast: isLast) else { return }
        if isExtendedConnect {
            stream(slot).pointee.flags.insert(.extendedConnect)
            if isLast { channels[slot].pointee.flags.insert(.peerEnded) }
        }
        noteSecrets(slot)
        let head = text.bindMemory(to: UInt8.self).span
        do {
            try HTTP1Parser.parseRequest(head, into: &requestHead, limits: snapshot.requestLimits)
        } catch {
            violated(slot, error, isHead: Worker.beginsHEAD(head))
            return
        }
        if isGRPC(head) { stream(slot).pointee.flags.insert(.grpc) }
        beginExchange(slot, head)
        if channels[slot].pointee.phase == .established,
            downstreams[slot].pointee.exchange >= 0
        {
            http2Begun.append(Int32(slot))
        }
    }

    /// Answered by 431, without having been kept.
    func requestTooLarge(_ connection: Int, _ id: Int32, isLast: Bool) {
        guard let slot = openClientStream(connection, id, isLast: isLast) else { return }
        violated(slot, .headTooLarge)
    }

    private func openClientStream(_ connection: Int, _ id: Int32, isLast: Bool) -> Int? {
        guard let session = channels[connection].pointee.http2 else { return nil }
        let link = links[connection]
        // Those that were reset count until their upstream has been let go of (BEHAVIOUR: 29).
        let isFull =
            Int(link.pointee.streamCount) + Int(link.pointee.charged)
            >= snapshot.http2.streamsMax
        guard !isFull, phase != .stopped, hasStreamPlace(connection),
            let index = clientStreamSlots.take()
        else {
            session.reset(id, .refusedStream)
            touchHTTP2(connection)
            return nil
        }
        let slot = clientStreamBase + index
        if link.pointee.streamCount == 0, !link.pointee.isLeaving { clearDeadline(connection) }
        openStream(slot, id, of: connection)
        session.setTag(Int32(slot), of: id)
        if isLast { stream(slot).pointee.flags.insert(.peerEnded) }
        let parent = downstreams[connection]
        downstreams[slot].pointee = Downstream(
            phase: .awaitingHead, closesAfterAnswer: false, headStarted: false,
            listener: parent.pointee.listener, view: parent.pointee.view,
            profile: parent.pointee.profile, exchange: -1, scanner: HeadScanner(.request),
            decoder: BodyDecoder(framing: .none), held: nil, peer: parent.pointee.peer,
            requestCount: parent.pointee.requestCount)
        parent.pointee.requestCount &+= 1
        return slot
    }

    private func isGRPC(_ head: Span<UInt8>) -> Bool {
        guard let field = requestHead.fields.first(.contentType), field.value.count >= 16 else {
            return false
        }
        let start = Int(field.value.start)
        let prefix: StaticString = "application/grpc"
        for index in 0..<16 where head[start + index] | 0x20 != prefix.utf8Start[index] | 0x20 {
            return false
        }
        return true
    }

    /// The client's side of a stream is complete.
    ///
    /// - Parameter trailers: their lines and an empty one.
    func streamEnded(_ slot: Int, trailers: UnsafeRawBufferPointer?) {
        let stream = stream(slot)
        stream.pointee.flags.insert(.peerEnded)
        channels[slot].pointee.flags.insert(.peerEnded)
        guard trailers?.count ?? 0 <= trailersMax(slot) else {
            trailersTooLarge(slot)
            return
        }
        if let trailers, let start = trailers.baseAddress, trailers.count > 2,
            stream.pointee.receivedTrailers == nil
        {
            guard let chunk = chunks.take(trailers.count) else {
                markBroken(slot, .memoryLimit)
                return
            }
            _ = chunk.append(start, count: trailers.count)
            noteSecrets(slot)
            stream.pointee.receivedTrailers = chunk
        }
        guard channels[slot].pointee.flags.contains(.wantsInput),
            channels[slot].pointee.stash.isEmpty,
            !channels[slot].pointee.flags.contains(.endDelivered)
        else {
            // Behind the content that waits.
            callAttention(to: slot)
            return
        }
        channels[slot].pointee.flags.insert(.endDelivered)
        deliverStreamEnd(slot)
    }

    private func trailersMax(_ slot: Int) -> Int {
        let limits = isDownstream(slot) ? snapshot.requestLimits : snapshot.responseLimits
        return limits.trailersBytesMax
    }

    private func trailersTooLarge(_ slot: Int) {
        if !isDownstream(slot) {
            upstreamFailed(slot, .upstreamBadResponse)
        } else if downstreams[slot].pointee.phase == .receivingBody {
            violated(slot, .trailersTooLarge)
        }
    }

    func deliverStreamEnd(_ slot: Int) {
        if isDownstream(slot) { requestStreamEnded(slot) } else { answerStreamEnded(slot) }
    }

    private func requestStreamEnded(_ slot: Int) {
        let downstream = downstreams[slot]
        let exchange = Int(downstream.pointee.exchange)
        switch downstream.pointee.phase {
        case .receivingBody:
            downstream.pointee.phase = .awaitingAnswer
            clearDeadline(slot)
            let chunk = stream(slot).pointee.receivedTrailers
            stream(slot).pointee.receivedTrailers = nil
            defer { if let chunk { chunks.give(chunk) } }
            guard let chunk else {
                requestEnded(exchange, trailers: nil)
                flushStage()
                return
            }
            let bytes = UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count)
            let span = bytes.bindMemory(to: UInt8.self).span
            do {
                try HTTP1Parser.parseTrailers(
                    span, into: &trailerFields, limits: snapshot.requestLimits)
                requestEnded(exchange, trailers: span)
            } catch {
                violated(slot, error)
            }
            flushStage()
        case .tunnel: relayEnded(exchange, .clientEnded, isClean: true)
        case .awaitingHead, .awaitingAnswer, .ended: break
        }
    }

    // MARK: - Answers

    /// An upstream's answer, final or interim, whose head is in `responseHead`.
    ///
    /// - Returns: false if it can't be submitted.
    func submitAnswer(
        _ slot: Int, _ head: Span<UInt8>, framing: BodyFraming, isInterim: Bool
    ) -> Bool {
        guard let engine = http2Engine, let session = session(of: slot) else { return false }
        let stream = stream(slot)
        let isUpgrade = responseHead.isUpgradeAccepted
        return head.withUnsafeBytes { bytes in
            engine.fields.begin()
            engine.fields.neverIndexed = secrets(slot)
            engine.fields.append(
                ":status", decimal: isUpgrade ? 200 : UInt64(responseHead.status))
            if isInterim {
                appendFields(bytes, to: engine, isUpgrade: isUpgrade, framing: framing)
                return engine.fields.isWhole && session.submitInterim(stream.pointee.id)
            }
            let cookie = stickyCookie(slot)
            let hasRules = appendRuledFields(
                slot, head, to: engine, behind: cookie.count, isUpgrade: isUpgrade,
                framing: framing)
            if !hasRules {
                appendFields(bytes, to: engine, isUpgrade: isUpgrade, framing: framing)
            }
            if !cookie.isEmpty { engine.fields.append("set-cookie", cookie) }
            switch framing {
            case .length(let length): engine.fields.append("content-length", decimal: length)
            case .none:
                if !isUpgrade, let declared = responseHead.declaredLength {
                    engine.fields.append("content-length", decimal: declared)
                }
            case .chunked, .untilClose: break
            }
            guard engine.fields.isWhole else { return false }
            let hasContent = isUpgrade || framing.hasContent
            stream.pointee.flags.insert(.answered)
            if !hasContent { stream.pointee.flags.insert(.ends) }
            touchHTTP2(Int(stream.pointee.connection))
            return session.submitAnswer(
                stream.pointee.id, stream: Int32(slot), hasContent: hasContent)
        }
    }

    private func appendFields(
        _ bytes: UnsafeRawBufferPointer, to engine: HTTP2Engine, isUpgrade: Bool,
        framing: BodyFraming
    ) {
        for index in 0..<responseHead.fields.count {
            let field = responseHead.fields[index]
            guard !field.flags.contains(.hopByHop), field.name != .contentLength,
                field.name != .trailer || framing.isChunked
            else { continue }
            let name = UnsafeRawBufferPointer(rebasing: bytes[field.nameRange.indices])
            // The handshake of RFC 6455 is not made over HTTP/2 (RFC 8441 §5).
            if isUpgrade, name.count == 20, isAccept(name) { continue }
            engine.fields.append(
                lowering: name, UnsafeRawBufferPointer(rebasing: bytes[field.value.indices]))
        }
    }

    /// The answer's fields as rules change them.
    ///
    /// - Parameter used: bytes of `heads` that are in use.
    /// - Returns: false if there are no rules: nothing has been appended.
    private func appendRuledFields(
        _ slot: Int, _ head: Span<UInt8>, to engine: HTTP2Engine, behind used: Int,
        isUpgrade: Bool, framing: BodyFraming
    ) -> Bool {
        let exchange = Int(downstreams[slot].pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.rules >= 0 else { return false }
        return withAnswerRules(slot) { rules, kept, _ in
            guard let rules else { return false }
            let space = UnsafeMutableRawBufferPointer(
                start: heads + used, count: Worker.headsBytes - used)
            var writer = ByteWriter(space)
            HTTP1Writer.writeResponseFields(
                responseHead, from: head, announcesTrailers: framing.isChunked, by: rules,
                kept: kept, into: &writer)
            guard !writer.hasOverflowed else {
                engine.fields.overflow()
                return true
            }
            engine.fields.append(
                lines: UnsafeRawBufferPointer(rebasing: space[..<writer.count]),
                without: isUpgrade ? "sec-websocket-accept" : nil)
            return true
        }
    }

    private func isAccept(_ name: UnsafeRawBufferPointer) -> Bool {
        let accept: StaticString = "sec-websocket-accept"
        for index in 0..<20 where name[index] | 0x20 != accept.utf8Start[index] | 0x20 {
            return false
        }
        return true
    }

    /// Says that the body may come (RFC 9110 §10.1.1).
    func submitContinue(_ slot: Int) {
        guard let engine = http2Engine, let session = session(of: slot) else { return }
        engine.fields.begin()
        engine.fields.append(":status", "100")
        if session.submitInterim(stream(slot).pointee.id) {
            touchHTTP2(Int(stream(slot).pointee.connection))
        }
    }

    /// Ends the client's side of a stream with its content or its answer's last byte.
    func finishStream(_ slot: Int) {
        downstreams[slot].pointee.phase = .ended
        clearDeadline(slot)
        let stream = stream(slot)
        guard stream.pointee.flags.contains(.answered) else {
            resetStream(slot, .internalError)
            return
        }
        if !stream.pointee.flags.contains(.peerEnded) {
            stream.pointee.flags.insert(.resetsAfterEnd)
        }
        endContent(slot, trailers: nil)
        // What still comes is thrown away.
        resumeInput(slot)
    }

    /// Our END_STREAM has been written. A request that is not complete may be: some clients take a
    /// reset, though it says that nothing is wrong (RFC 9113 §8.1), for a failure of the answer.
    func streamEndSent(_ connection: Int, _ slot: Int, _ id: Int32) {
        guard isStream(Int32(slot), id, of: Int32(connection)) else { return }
        let stream = stream(slot)
        guard stream.pointee.flags.contains(.resetsAfterEnd),
            !stream.pointee.flags.contains(.peerEnded)
        else { return }
        setDeadline(slot, .linger, Worker.streamLinger)
    }

    // MARK: - Answers of our own

    /// As `answer`, for a stream.
    func answerStream(
        _ slot: Int, status: UInt16, _ label: String, isHead: Bool, field: AnswerField,
        id: RequestID
    ) {
        countStatus(status)
        guard let engine = http2Engine, let session = session(of: slot),
            !stream(slot).pointee.flags.contains(.wasReset)
        else { return }
        engine.fields.begin()
        if stream(slot).pointee.flags.contains(.grpc) {
            answerGRPC(slot, engine, session, status: status, label, field)
            return
        }
        var content = ownContent(status: status, label, id)
        let type = content.type
        engine.fields.append(":status", decimal: UInt64(status))
        engine.fields.append("content-type", type)
        engine.fields.append("cache-control", "no-store")
        engine.fields.append("content-length", decimal: UInt64(content.bytes.count))
        if isHead { content.bytes.removeAll() }
        let hasContent = !content.bytes.isEmpty
        let isSubmitted = field.value.withUnsafeBytes { bytes in
            if !bytes.isEmpty { engine.fields.append(field.lowered, bytes) }
            return submitOwn(slot, engine, session, field, hasContent: hasContent)
        }
        guard isSubmitted else { return }
        stream(slot).pointee.flags.insert(.answered)
        touchHTTP2(Int(stream(slot).pointee.connection))
        content.bytes.withUnsafeBytes {
            if let start = $0.baseAddress { appendContent(slot, start, count: $0.count) }
        }
    }

    /// An error that a gRPC client understands: a status in trailers, and nothing before them
    /// (gRPC over HTTP2, "Trailers-Only").
    private func answerGRPC(
        _ slot: Int, _ engine: HTTP2Engine, _ session: HTTP2Session, status: UInt16,
        _ label: String, _ field: AnswerField
    ) {
        var text = label
        let isSubmitted = text.withUTF8 { bytes in
            engine.fields.append(":status", "200")
            engine.fields.append("content-type", "application/grpc")
            engine.fields.append("grpc-status", decimal: GRPCStatus(http: status).rawValue)
            engine.fields.append("grpc-message", UnsafeRawBufferPointer(bytes))
            return submitOwn(slot, engine, session, field, hasContent: false)
        }
        guard isSubmitted else { return }
        stream(slot).pointee.flags.formUnion([.answered, .ends])
        touchHTTP2(Int(stream(slot).pointee.connection))
    }

    /// Submits the head that has been put together, and what rules add to it.
    private func submitOwn(
        _ slot: Int, _ engine: HTTP2Engine, _ session: HTTP2Session, _ field: AnswerField,
        hasContent: Bool
    ) -> Bool {
        field.lines.withUnsafeBytes { lines in
            engine.fields.append(lines: lines)
            return session.submitAnswer(
                stream(slot).pointee.id, stream: Int32(slot), hasContent: hasContent)
        }
    }

    /// Cold: the operator's page for the status, or a line of text.
    private func ownContent(
        status: UInt16, _ label: String, _ id: RequestID
    ) -> (bytes: [UInt8], type: StaticString) {
        guard status >= 400, let page = snapshot.client.errorPages.page(for: status) else {
            return (Array(label.utf8) + [UInt8(ascii: "\n")], "text/plain")
        }
        let count = page.byteCount(reason: label.utf8.count, id: id.textCount)
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            var writer = ByteWriter(UnsafeMutableRawBufferPointer(buffer))
            for part in page.parts {
                switch part {
                case .text(let range): writer.append(page.bytes.span, range)
                case .status: writer.append(decimal: UInt64(status))
                case .reason: writer.append(string: label)
                case .id: id.write(&writer)
                }
            }
            used = writer.count
        }
        return (bytes, page.kind.contentType)
    }

    // MARK: - Ends

    /// The client's stream has failed; nobody is there to be answered.
    func clientStreamFailed(_ slot: Int, _ reason: ReasonCode) {
        let exchange = Int(downstreams[slot].pointee.exchange)
        downstreams[slot].pointee.exchange = -1
        downstreams[slot].pointee.phase = .ended
        if exchange >= 0 { abandon(exchange, reason) } else { block.add(reason) }
        resetStream(slot, reason == .clientReadTimeout ? .cancel : .internalError)
    }

    /// The last stream of a client's connection has ended.
    func clientStreamsOver(_ connection: Int) {
        guard channels[connection].pointee.phase == .established else { return }
        let channel = channels[connection]
        // What has been received is answered first.
        let isInHand =
            channel.pointee.backlogged > 0 || channel.pointee.flags.contains(.holdsPlaintext)
            || !channel.pointee.stash.isEmpty
        // A client of a node that goes on has time to hear of it; a request may be on its way.
        let isOver =
            links[connection].pointee.isLeaving && !isDismissing || phase == .draining
        if isOver, !isInHand {
            channels[connection].pointee.http2?.sayGone()
            links[connection].pointee.isLeaving = true
            touchHTTP2(connection)
        }
        setHTTP2Idle(connection)
    }
}

/// Statuses of gRPC that we give (gRPC, "Status codes and their use").
enum GRPCStatus: UInt64 {
    case deadlineExceeded = 4
    case permissionDenied = 7
    case resourceExhausted = 8
    case unimplemented = 12
    case internalError = 13
    case unavailable = 14
    case unauthenticated = 16

    /// What stands for a status of HTTP ("HTTP to gRPC status code mapping").
    init(http status: UInt16) {
        self =
            switch status {
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .unimplemented
            case 413, 429, 431: .resourceExhausted
            case 408, 504: .deadlineExceeded
            case 502, 503: .unavailable
            default: .internalError
            }
    }
}
