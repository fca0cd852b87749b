internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1

/// What `ClientPolicy` says, carried out.
extension Worker {
    // MARK: - ClientHello

    /// Called with what a step of the handshake has put on the wire not yet sent: a server says
    /// nothing before the ClientHello is complete, so from its first byte on the handshake's own
    /// time runs.
    func noteHelloAnswered(_ slot: Int) {
        guard isDownstream(slot), engine.wire.outputCount > 0 else { return }
        noteHandshakeBegun(slot, isRetry: engine.wire.outputIsHelloRetry)
        guard channels[slot].pointee.deadlineKind == .clientHello else { return }
        setDeadline(slot, .handshake, snapshot.timeouts.handshake)
    }

    // MARK: - Requests

    /// What the request may switch to, and where its name stands in the head (nowhere for
    /// WebSocket, which every site allows).
    func upgrade(of site: Int, _ head: Span<UInt8>) -> (UpgradeProtocol, ByteRange) {
        if requestHead.upgradeWebSocket { return (.webSocket, .none) }
        guard !requestHead.upgradeOffer.isEmpty, site >= 0, site < snapshot.client.upgrades.count
        else { return (.none, .none) }
        return UpgradeProtocol.first(
            of: requestHead.upgradeOffer, in: head, allowed: snapshot.client.upgrades[site])
            ?? (.none, .none)
    }

    /// How the head in `requestHead` goes on.
    func forwardingContext(
        _ exchange: Int, _ slot: Int, _ head: Span<UInt8>, upgrade: ByteRange
    ) -> ForwardingContext {
        let peer = downstreams[slot].pointee.peer
        var context = ForwardingContext(
            client: peer,
            scheme: channels[transport(slot)].pointee.flags.contains(.isTLS) ? .https : .http,
            requestID: (identifiers.next(), identifiers.next()),
            framing: requestHead.framing)
        context.port = snapshot.listeners[Int(downstreams[slot].pointee.listener)].port
        context.isClientTrusted =
            !snapshot.client.trusted.isEmpty && snapshot.client.trusted.contains(peer)
        context.sendsForwarded = snapshot.client.sendsForwarded
        context.passesUnderscores = snapshot.client.passesUnderscores
        context.upgrade = upgrade
        context.loopID = setup.loopMark.id
        if requestHead.hasTrace || looksForTraces {
            context.trace = trace(
                exchange, head, isTrusted: context.isClientTrusted, id: context.requestID)
        }
        context.acceptsTrailers = requestHead.hasTETrailers && requestHead.versionMinor > 0
        // A trusted client's own ID is not known here: its text is the client's.
        guard !context.isClientTrusted || requestHead.fields.first(.xRequestID) == nil else {
            return context
        }
        exchanges[exchange].pointee.requestID = .init(
            high: context.requestID.high, low: context.requestID.low)
        logIdentifier(exchange, context.requestID)
        return context
    }

    /// Looks whether a chunked body has become too long.
    ///
    /// - Returns: false if it has: the request has been refused.
    func allowContent(_ exchange: Int) -> Bool {
        let state = exchanges[exchange]
        guard state.pointee.requestFraming.isChunked,
            state.pointee.received
                > rules(state.pointee.rules)?.bodyMax ?? snapshot.client.requestBodyMax
        else { return true }
        refuse(Int(state.pointee.downstream), status: 413, .clientBodyTooLarge)
        return false
    }

    // MARK: - Answers of our own

    /// True if the bytes begin a HEAD request, empty lines aside: a refusal of it has no content.
    static func beginsHEAD(_ bytes: Span<UInt8>) -> Bool {
        var start = 0
        while start < min(bytes.count, 4), bytes[start] == 0x0D || bytes[start] == 0x0A {
            start += 1
        }
        guard bytes.count >= start + 5 else { return false }
        return bytes[start] == UInt8(ascii: "H") && bytes[start + 1] == UInt8(ascii: "E")
            && bytes[start + 2] == UInt8(ascii: "A") && bytes[start + 3] == UInt8(ascii: "D")
            && bytes[start + 4] == UInt8(ascii: " ")
    }

    /// The same of what is held of an incomplete head.
    func heldBeginsHEAD(_ slot: Int) -> Bool {
        guard let held = downstreams[slot].pointee.held else { return false }
        let bytes = UnsafeRawBufferPointer(start: held.waiting, count: held.count)
        return Worker.beginsHEAD(bytes.bindMemory(to: UInt8.self).span)
    }

    /// Puts an answer with an operator's page on the stage; a large page goes out in pieces.
    func answer(
        _ slot: Int, status: UInt16, _ label: String, page: ErrorPage, field: AnswerField,
        id: RequestID, close: Bool, isHead: Bool
    ) {
        let length = page.byteCount(reason: label.utf8.count, id: id.textCount)
        var head = ByteWriter(stageSpace(slot, 512 + field.byteCount))
        guard
            CannedResponse.writeHead(
                status: status, contentType: page.kind.contentType, contentLength: length,
                field: field.name, field.value.span, lines: field.lines.span, close: close,
                into: &head)
        else { return }
        staged(head.count)
        countStatus(status)
        guard !isHead else { return }
        page.bytes.withUnsafeBytes { bytes in
            for part in page.parts {
                if case .text(let range) = part {
                    let text = UnsafeRawBufferPointer(rebasing: bytes[range.indices])
                    if let start = text.baseAddress {
                        stageContent(slot, start, count: text.count)
                    }
                    continue
                }
                var writer = ByteWriter(stageSpace(slot, 128))
                switch part {
                case .text: break
                case .status: writer.append(decimal: UInt64(status))
                case .reason: writer.append(string: label)
                case .id: id.write(&writer)
                }
                staged(writer.count)
            }
        }
    }
}

/// The ID that an upstream got with a request; zeros: none, or another than ours.
struct RequestID: BitwiseCopyable, Equatable {
    var high: UInt64 = 0
    var low: UInt64 = 0

    var isNone: Bool { high == 0 && low == 0 }
    var textCount: Int { isNone ? 1 : 32 }

    func write(_ output: inout ByteWriter) {
        guard !isNone else {
            output.append(UInt8(ascii: "-"))
            return
        }
        output.append(hexWord: high)
        output.append(hexWord: low)
    }
}
