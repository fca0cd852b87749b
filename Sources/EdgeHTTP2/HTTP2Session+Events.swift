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

    func received(_ frame: UnsafePointer<nghttp2_frame>) {
        let id = frame.pointee.hd.stream_id
        let isLast = frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        switch UInt32(frame.pointee.hd.type) {
        case NGHTTP2_DATA.rawValue:
            if isLast { handler.streamEnded(connection: tag, stream: tag(of: id)) }
        case NGHTTP2_HEADERS.rawValue: blockEnded(id, isLast: isLast)
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
        do {
            try state.pointee.meter.countEnd(isReset: code != HTTP2Code.noError.rawValue)
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
        let type = UInt32(frame.pointee.hd.type)
        guard type == NGHTTP2_DATA.rawValue || type == NGHTTP2_HEADERS.rawValue,
            frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        else { return }
        let id = frame.pointee.hd.stream_id
        let stream = tag(of: id)
        guard stream >= 0 else { return }
        handler.endSent(connection: tag, stream: stream, id: id)
    }

    /// A request that never went out, as the peer takes no more streams.
    func notSent(_ frame: UnsafePointer<nghttp2_frame>) {
        guard UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue else { return }
        let stream = tag(of: frame.pointee.hd.stream_id)
        guard stream >= 0, !state.pointee.isServer else { return }
        handler.streamClosed(
            connection: tag, stream: stream, code: HTTP2Code.refusedStream.rawValue)
    }

    /// A frame that a reset or GOAWAY of ours answers: it counts like a reset of the peer's.
    func noteInvalidFrame() {
        state.pointee.faults &+= 1
        do {
            try state.pointee.meter.countReset(state.pointee.limits, now: state.pointee.now)
        } catch {
            state.pointee.breach = error
        }
    }
}
