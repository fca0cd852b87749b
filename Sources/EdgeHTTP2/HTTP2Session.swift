internal import CEdge
package import EdgeCore
internal import EdgeHTTP
internal import Glibc

/// One HTTP/2 connection's protocol state, either side of it. Sans-IO: bytes go in by `receive` and
/// come out by `output`; events go to the engine's handler. A trivial handle of what `free` ends.
package struct HTTP2Session: BitwiseCopyable {
    struct State {
        let engine: Unmanaged<HTTP2Engine>
        let tag: Int32
        let isServer: Bool
        var limits: HTTP2Limits
        var meter: FrameMeter
        var now: Instant
        /// nghttp2's; nil only while it is being made.
        var session: OpaquePointer?
        var suspended: HeadCollector.Suspended?
        /// Bytes that nghttp2 holds for this session.
        var bytes = 0
        var isBusy = false
        var breach: HTTP2Breach?
        /// Bytes of fields that were decoded at this moment (`now`).
        var decoded = 0
        /// Frames that were counted as resets before the reset that answers them was sent.
        var faults: UInt32 = 0
        /// The peer has reset the stream that is about to be closed.
        var isResetByPeer = false
        /// nghttp2 can't go on.
        var hasFailed = false
        /// Of the GOAWAY that was sent last.
        var goAwayCode: UInt32 = 0
        var memory = nghttp2_mem()
        /// The next block of that size is the engine's frame buffer.
        var sharesFrameBuffer = false
    }

    let state: UnsafeMutablePointer<State>

    init(state: UnsafeMutablePointer<State>) { self.state = state }

    /// From a callback's context.
    @inline(__always)
    init?(_ context: UnsafeMutableRawPointer?) {
        guard let context else { return nil }
        state = context.assumingMemoryBound(to: State.self)
    }

    var session: OpaquePointer? { state.pointee.session }
    package var tag: Int32 { state.pointee.tag }
    var handler: HTTP2Handler { state.pointee.engine._withUnsafeGuaranteedRef { $0.handler } }

    /// The handler is being told something: not to be fed, flushed or freed now.
    package var isBusy: Bool { state.pointee.isBusy }

    /// Bytes held for the session: what nghttp2 has, and an incomplete head.
    package var byteCount: Int {
        state.pointee.bytes + (state.pointee.suspended?.byteCount ?? 0)
    }

    // MARK: - Input

    /// How a round of input went.
    package enum Outcome {
        case open
        /// The peer went beyond a limit.
        case breach(HTTP2Breach)
        /// nghttp2 gave up (no memory, or a preface that is none).
        case failed
    }

    /// Feeds received bytes; all are taken.
    // hot: once per receive
    @inline(__always)
    package func receive(_ bytes: UnsafeRawBufferPointer, now: Instant) -> Outcome {
        if let breach = examine(bytes, now: now) { return .breach(breach) }
        return feed(bytes)
    }

    /// The first half of `receive`: whether the peer goes beyond a limit on frames with this.
    package func examine(_ bytes: UnsafeRawBufferPointer, now: Instant) -> HTTP2Breach? {
        if state.pointee.now != now { state.pointee.decoded = 0 }
        state.pointee.now = now
        do {
            let span = bytes.bindMemory(to: UInt8.self).span
            try state.pointee.meter.scan(span, state.pointee.limits, now: now)
        } catch {
            return error
        }
        return nil
    }

    /// The second half of `receive`: what has been examined, all of it or piece by piece.
    package func feed(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return .open
        }
        resumeBlock()
        state.pointee.isBusy = true
        let used = nghttp2_session_mem_recv(session, start, bytes.count)
        state.pointee.isBusy = false
        suspendBlock()
        if let breach = takeBreach() { return .breach(breach) }
        return used < 0 ? .failed : .open
    }

    /// A limit that was passed by what has been answered since the last round of input.
    package func takeBreach() -> HTTP2Breach? {
        let breach = state.pointee.breach
        state.pointee.breach = nil
        return breach
    }

    /// A header block has begun and is not complete.
    package var isInBlock: Bool { state.pointee.meter.isInBlock }

    private func resumeBlock() {
        guard let block = state.pointee.suspended else { return }
        state.pointee.suspended = nil
        state.pointee.engine._withUnsafeGuaranteedRef { $0.collector.resume(block) }
    }

    private func suspendBlock() {
        state.pointee.engine._withUnsafeGuaranteedRef { engine in
            guard engine.collector.stream != 0 else { return }
            if state.pointee.meter.isInBlock || nghttp2_session_want_read(session) != 0 {
                state.pointee.suspended = engine.collector.suspend()
            } else {
                engine.collector.end()
            }
        }
    }

    // MARK: - Output

    /// The next bytes to be sent, valid until anything else is asked of the session, or of another
    /// one of the engine for its output; DATA frames go to `HTTP2Handler.writeContent` meanwhile.
    /// Nil: nothing more now.
    package func output() -> UnsafeRawBufferPointer? {
        let engine = state.pointee.engine
        guard !engine._withUnsafeGuaranteedRef({ $0.isWriting }) else { return nil }
        var bytes: UnsafePointer<UInt8>?
        state.pointee.isBusy = true
        engine._withUnsafeGuaranteedRef { $0.isWriting = true }
        let count = nghttp2_session_mem_send(session, &bytes)
        engine._withUnsafeGuaranteedRef { $0.isWriting = false }
        state.pointee.isBusy = false
        if count < 0 { state.pointee.hasFailed = true }
        guard count > 0, let bytes else { return nil }
        return UnsafeRawBufferPointer(start: bytes, count: count)
    }

    package var wantsOutput: Bool { nghttp2_session_want_write(session) != 0 }

    /// Both sides have said all there is: the connection may be closed.
    package var isOver: Bool {
        state.pointee.hasFailed
            || (nghttp2_session_want_read(session) == 0
                && nghttp2_session_want_write(session) == 0)
    }

    /// The last GOAWAY that was sent blames the peer (RFC 9113 §5.4.1).
    package var blamedPeer: Bool { state.pointee.goAwayCode != HTTP2Code.noError.rawValue }

    /// Control frames that wait to be sent.
    package var queuedFrames: Int { nghttp2_session_get_outbound_queue_size(session) }

    // MARK: - Streams

    @inline(__always)
    static func tag(_ source: nghttp2_data_source) -> Int32 {
        Int32(truncatingIfNeeded: Int(bitPattern: source.ptr) - 1)
    }

    /// The handler's number of a stream; -1: it has none.
    package func tag(of id: Int32) -> Int32 {
        let pointer = nghttp2_session_get_stream_user_data(session, id)
        return Int32(truncatingIfNeeded: Int(bitPattern: pointer) - 1)
    }

    /// Gives a stream the handler's number; -1: nothing is told of it any more.
    package func setTag(_ tag: Int32, of id: Int32) {
        nghttp2_session_set_stream_user_data(
            session, id, UnsafeMutableRawPointer(bitPattern: Int(tag) + 1))
    }

    /// Resets a stream, or refuses it.
    package func reset(_ id: Int32, _ code: HTTP2Code) {
        nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    }

    /// There is content again for a stream whose `contentWaiting` was `.none`.
    package func resume(_ id: Int32) { nghttp2_session_resume_data(session, id) }

    /// Content of a stream has gone on: the peer may send so much more.
    package func consumeStream(_ id: Int32, _ count: Int) {
        nghttp2_session_consume_stream(session, id, count)
    }

    package func consumeConnection(_ count: Int) {
        nghttp2_session_consume_connection(session, count)
    }

    /// Bytes that the peer is ready to take of this stream's content.
    package func window(of id: Int32) -> Int {
        Int(
            min(
                nghttp2_session_get_stream_remote_window_size(session, id),
                nghttp2_session_get_remote_window_size(session)))
    }

    // MARK: - Messages

    /// An answer's head, of the fields in the engine's block.
    ///
    /// - Parameter hasContent: content follows, or trailers: `contentWaiting` is asked for it.
    /// - Returns: false without memory, or for a stream that is no more.
    package func submitAnswer(_ id: Int32, stream: Int32, hasContent: Bool) -> Bool {
        withProvider(stream, hasContent) { provider in
            state.pointee.engine._withUnsafeGuaranteedRef {
                nghttp2_submit_response(session, id, $0.fields.first, $0.fields.count, provider)
            } == 0
        }
    }

    /// An interim answer (RFC 9113 §8.1).
    package func submitInterim(_ id: Int32) -> Bool {
        state.pointee.engine._withUnsafeGuaranteedRef {
            nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, nil, $0.fields.first,
                $0.fields.count, nil)
        } == 0
    }

    /// A request's head; it opens a stream.
    ///
    /// - Returns: the stream's id; nil without memory, or if there are no more ids.
    package func submitRequest(stream: Int32, hasContent: Bool) -> Int32? {
        let id = withProvider(stream, hasContent) { provider in
            state.pointee.engine._withUnsafeGuaranteedRef {
                nghttp2_submit_request(
                    session, nil, $0.fields.first, $0.fields.count, provider,
                    UnsafeMutableRawPointer(bitPattern: Int(stream) + 1))
            }
        }
        return id > 0 ? id : nil
    }

    /// Trailers, of the fields in the engine's block. Call it within `contentWaiting`.
    package func submitTrailers(_ id: Int32) -> Bool {
        state.pointee.engine._withUnsafeGuaranteedRef {
            nghttp2_submit_trailer(session, id, $0.fields.first, $0.fields.count)
        } == 0
    }

    private func withProvider<Result>(
        _ stream: Int32, _ hasContent: Bool,
        _ body: (UnsafePointer<nghttp2_data_provider>?) -> Result
    ) -> Result {
        guard hasContent else { return body(nil) }
        var provider = nghttp2_data_provider()
        provider.source.ptr = UnsafeMutableRawPointer(bitPattern: Int(stream) + 1)
        provider.read_callback = { _, id, _, max, flags, source, context in
            guard let source, let flags, let session = HTTP2Session(context) else {
                return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            return session.provide(HTTP2Session.tag(source.pointee), id, max, flags)
        }
        return withUnsafePointer(to: provider) { body($0) }
    }

    private func provide(
        _ stream: Int32, _ id: Int32, _ max: Int, _ flags: UnsafeMutablePointer<UInt32>
    ) -> Int {
        let count: Int
        var what = NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        switch handler.contentWaiting(connection: tag, stream: stream, id: id, max: max) {
        case .none: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        case .some(let waiting): count = waiting
        case .last(let waiting):
            count = waiting
            what |= NGHTTP2_DATA_FLAG_EOF.rawValue
        case .lastBeforeTrailers(let waiting):
            count = waiting
            what |= NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        }
        // Nothing to write needs nobody to write it.
        if count == 0 { what &= ~NGHTTP2_DATA_FLAG_NO_COPY.rawValue }
        flags.pointee |= UInt32(what)
        return count
    }

    // MARK: - The connection

    /// Says that it is over; streams that are open are reset by the handler.
    package func terminate(_ code: HTTP2Code) {
        nghttp2_session_terminate_session(session, code.rawValue)
    }

    /// Says that it will be over: requests on their way are still served (RFC 9113 §6.8).
    package func sayLeaving() { nghttp2_submit_shutdown_notice(session) }

    /// Takes no stream behind the last one that has come.
    package func sayGone() {
        nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue),
            nghttp2_session_get_last_proc_stream_id(session), HTTP2Code.noError.rawValue, nil, 0)
    }

    package func ping() {
        nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
    }

    /// Streams at once that the peer allows.
    package var peerStreamsMax: UInt32 {
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
    }

    /// The peer takes extended CONNECT (RFC 8441 §3).
    package var peerTakesExtendedConnect: Bool {
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// Another request can be begun as far as ids go.
    package var hasMoreIds: Bool { nghttp2_session_get_next_stream_id(session) < 1 << 30 }

    /// Ends it. Streams are the handler's to end before: nothing is told any more.
    package func free() {
        invariant(!isBusy, "a session is freed when it is told nothing")
        state.pointee.suspended?.free()
        nghttp2_session_del(session)
        state.deinitialize(count: 1)
        state.deallocate()
    }
}
