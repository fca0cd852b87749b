internal import CEdge
internal import EdgeCore
internal import EdgeHTTP

/// What nghttp2 calls.
extension HTTP2Session {
    private var engine: HTTP2Engine { state.pointee.engine._withUnsafeGuaranteedRef { $0 } }

    func blockBegins(_ frame: UnsafePointer<nghttp2_frame>) {
        guard frame.pointee.hd.type == UInt8(NGHTTP2_HEADERS.rawValue) else { return }
        let id = frame.pointee.hd.stream_id
        let kind: HeadCollector.Kind =
            if frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
                .request
            } else if frame.pointee.headers.cat == NGHTTP2_HCAT_RESPONSE {
                .response
            } else if state.pointee.isServer || handler.awaitsTrailers(stream: tag(of: id)) {
                .trailers
            } else {
                .response
            }
        engine.collector.begin(id, kind, limit: state.pointee.limits.headBytes)
    }

    /// Fields that we drop cost as much to decode as others: a reference of one byte is a field of
    /// 4 KB, each byte of which is looked at. Beyond a bound per moment the rest is not decoded.
    // hot: once per field.
    func takesField(_ byteCount: Int) -> Bool {
        state.pointee.decoded &+= byteCount
        guard state.pointee.decoded <= HTTP2Limits.decodedMax else {
            state.pointee.breach = .headerBlock
            engine.collector.end()
            return false
        }
        return true
    }

    func received(_ frame: UnsafePointer<nghttp2_frame>) {
        let id = frame.pointee.hd.stream_id
        let isLast = frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        switch UInt32(frame.pointee.hd.type) {
        case NGHTTP2_DATA.rawValue:
            if isLast { handler.streamEnded(connection: tag, stream: tag(of: id)) }
        case NGHTTP2_HEADERS.rawValue: blockEnded(id, isLast: isLast)
        case NGHTTP2_RST_STREAM.rawValue: state.pointee.isResetByPeer = tag(of: id) >= 0
        case NGHTTP2_GOAWAY.rawValue:
            handler.goAwayReceived(
                connection: tag, last: frame.pointee.goaway.last_stream_id,
                code: frame.pointee.goaway.error_code)
        case NGHTTP2_SETTINGS.rawValue:
            if frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 {
                handler.settingsReceived(connection: tag)
            }
        case NGHTTP2_PING.rawValue:
            if frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 {
                handler.pingAnswered(connection: tag)
            }
        default: break
        }
    }

    private func blockEnded(_ id: Int32, isLast: Bool) {
        let engine = engine
        guard engine.collector.stream == id else { return }
        let stream = tag(of: id)
        let isResponse = engine.collector.kind == .response
        let key = engine.collector.isExtendedConnect ? engine.webSocketKey() : .init(repeating: 0)
        engine.collector.finish(
            isLast: isLast,
            hasNoContent: isResponse && handler.isHeadRequest(stream: stream), key: key.span)
        engine.collector.end()
        switch engine.collector.fault {
        case .none: break
        case .tooLarge:
            if engine.collector.kind == .request {
                handler.headTooLarge(connection: tag, stream: stream, id: id, isLast: isLast)
            } else {
                reset(id, .enhanceYourCalm)
                noteInvalidFrame()
            }
            return
        case .malformed:
            reset(id, .protocolError)
            noteInvalidFrame()
            return
        }
        let text = engine.collector.bytes
        if engine.collector.kind == .trailers {
            handler.trailersReceived(connection: tag, stream: stream, text: text)
            return
        }
        let isExtended = engine.collector.isExtendedConnect
        handler.headReceived(
            connection: tag, stream: stream, id: id, text: text, isLast: isLast,
            isExtendedConnect: isExtended)
        // An answer without content ends with its head; a request's end is told with it.
        if isLast, isResponse {
            handler.streamEnded(connection: tag, stream: tag(of: id))
        }
    }

    func closed(_ id: Int32, _ code: UInt32) {
        // What became of its requests on our side is not the peer's doing.
        let isReset = state.pointee.isResetByPeer || Self.isProvoked(code)
        state.pointee.isResetByPeer = false
        do {
            try state.pointee.meter.countEnd(isReset: isReset)
        } catch {
            if state.pointee.isServer { state.pointee.breach = error }
        }
        let stream = tag(of: id)
        guard stream >= 0 else { return }
        handler.streamClosed(connection: tag, stream: stream, code: code)
    }

    /// A window that SETTINGS lift over 2^31 - 1 is an error of the connection (RFC 9113 §6.9.2),
    /// for which nghttp2 resets streams; whoever loses count of a window otherwise may be told the
    /// same (§5.4).
    func willSend(_ frame: UnsafePointer<nghttp2_frame>) {
        guard UInt32(frame.pointee.hd.type) == NGHTTP2_RST_STREAM.rawValue,
            frame.pointee.rst_stream.error_code == HTTP2Code.flowControlError.rawValue
        else { return }
        terminate(.flowControlError)
    }

    func sent(_ frame: UnsafePointer<nghttp2_frame>) {
        switch UInt32(frame.pointee.hd.type) {
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue: break
        case NGHTTP2_RST_STREAM.rawValue:
            resetSent(frame.pointee.rst_stream.error_code)
            return
        case NGHTTP2_GOAWAY.rawValue:
            state.pointee.goAwayCode = frame.pointee.goaway.error_code
            return
        default: return
        }
        let isLast = frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        let isRequest =
            !state.pointee.isServer && frame.pointee.hd.type == UInt8(NGHTTP2_HEADERS.rawValue)
        guard isLast || isRequest else { return }
        let id = frame.pointee.hd.stream_id
        let stream = tag(of: id)
        guard stream >= 0 else { return }
        if isRequest { handler.requestSent(connection: tag, stream: stream, id: id) }
        guard isLast else { return }
        handler.endSent(connection: tag, stream: stream, id: id)
    }

    /// A DATA frame is to be written. Its header is in the frame buffer only at the first attempt.
    ///
    /// - Returns: nghttp2's code.
    func writeData(_ frame: nghttp2_frame_hd, _ count: Int, stream: Int32) -> Int32 {
        // It waited for room, and its stream was reset meanwhile.
        guard
            !handler.isContentGone(
                connection: tag, stream: stream, id: frame.stream_id, count: count)
        else { return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
        // RFC 9113 §4.1; nothing is padded.
        let header: InlineArray<9, UInt8> = [
            UInt8(truncatingIfNeeded: frame.length >> 16),
            UInt8(truncatingIfNeeded: frame.length >> 8),
            UInt8(truncatingIfNeeded: frame.length), frame.type, frame.flags,
            UInt8(truncatingIfNeeded: frame.stream_id >> 24),
            UInt8(truncatingIfNeeded: frame.stream_id >> 16),
            UInt8(truncatingIfNeeded: frame.stream_id >> 8),
            UInt8(truncatingIfNeeded: frame.stream_id),
        ]
        let isWritten = header.span.withUnsafeBufferPointer {
            guard let start = $0.baseAddress else { return false }
            return handler.writeContent(
                connection: tag, stream: stream, id: frame.stream_id, header: start, count: count)
        }
        guard isWritten else { return Int32(NGHTTP2_ERR_WOULDBLOCK.rawValue) }
        state.pointee.meter.noteSent(count)
        return 0
    }

    /// A head that can't go out. A request's stream is closed next; an answer, or trailers, would
    /// be waited for in vain.
    func notSent(_ frame: UnsafePointer<nghttp2_frame>, _ failure: Int32) {
        guard UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue,
            frame.pointee.headers.cat != NGHTTP2_HCAT_REQUEST
        else { return }
        switch failure {
        case Int32(NGHTTP2_ERR_STREAM_CLOSED.rawValue),
            Int32(NGHTTP2_ERR_STREAM_CLOSING.rawValue),
            Int32(NGHTTP2_ERR_STREAM_SHUT_WR.rawValue),
            Int32(NGHTTP2_ERR_SESSION_CLOSING.rawValue):
            break
        default: reset(frame.pointee.hd.stream_id, .internalError)
        }
    }

    /// Codes of resets that only a peer's mistake makes nghttp2, or us, send.
    private static func isProvoked(_ code: UInt32) -> Bool {
        switch HTTP2Code(rawValue: code) {
        case .protocolError, .flowControlError, .streamClosed, .frameSizeError,
            .compressionError, .enhanceYourCalm:
            true
        default: false
        }
    }

    /// A reset that the peer has provoked costs as much as one of its own, and not all of those are
    /// told before they are sent (BEHAVIOUR: 29).
    private func resetSent(_ code: UInt32) {
        guard Self.isProvoked(code) else { return }
        guard state.pointee.faults == 0 else {
            state.pointee.faults -= 1
            return
        }
        countReset()
    }

    func invalid(_ frame: UnsafePointer<nghttp2_frame>) {
        // The rest of a block that was refused is not told.
        let collector = engine.collector.stream
        if collector != 0, collector == frame.pointee.hd.stream_id { engine.collector.end() }
        noteInvalidFrame()
    }

    /// A frame that a reset or GOAWAY of ours answers: it counts like a reset of the peer's.
    func noteInvalidFrame() {
        state.pointee.faults &+= 1
        countReset()
    }

    private func countReset() {
        do {
            try state.pointee.meter.countReset(state.pointee.limits, now: state.pointee.now)
        } catch {
            state.pointee.breach = error
        }
    }
}
