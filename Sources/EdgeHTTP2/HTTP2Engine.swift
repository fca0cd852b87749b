internal import CEdge
internal import EdgeCore
internal import EdgeHTTP
internal import Glibc

/// A worker's HTTP/2: what all its sessions share. nghttp2 does frames, HPACK and stream states
/// (RFC 9113, RFC 7541); what it is told to do and asked about is here.
package final class HTTP2Engine {
    let handler: HTTP2Handler
    let callbacks: OpaquePointer
    let serverOptions: OpaquePointer
    let clientOptions: OpaquePointer
    var collector: HeadCollector
    /// For `submit…`: filled by the caller.
    package var fields = FieldBlock()
    /// Fields of the head or of the trailers being told that are never to be indexed.
    package var neverIndexed: FieldNames { collector.neverIndexed }
    private var identifiers: SplitMix64
    /// The first chunk of every server session's frame buffer. nghttp2 packs a frame and gives it
    /// out within one call, and the bytes are copied before the next: what lies in it between two
    /// calls is never read again, but for the header of a DATA frame that waits for room, and that
    /// is made anew (`writeData`). A session of its own has 16 KiB, of which a few hundred bytes
    /// are used. A client's holds the preface until it is sent: it has one of its own.
    let frameBuffer: UnsafeMutableRawPointer
    /// As nghttp2 asks for it: a frame of the usual size with its header and a pad length.
    static let frameBufferBytes = 16384 + 9 + 1
    /// Sessions use it: this nghttp2 has its frames there.
    private(set) var sharesFrameBuffer = true
    /// A session is writing its output: another one's has to wait.
    var isWriting = false

    /// - Parameter handler: lives at least as long as the engine.
    /// - Returns: nil without memory.
    package init?(_ handler: HTTP2Handler, seed: UInt64) {
        var callbacks: OpaquePointer?
        var serverOptions: OpaquePointer?
        var clientOptions: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0,
            nghttp2_option_new(&serverOptions) == 0, nghttp2_option_new(&clientOptions) == 0,
            let callbacks, let serverOptions, let clientOptions
        else { return nil }
        self.handler = handler
        self.callbacks = callbacks
        self.serverOptions = serverOptions
        self.clientOptions = clientOptions
        collector = HeadCollector()
        identifiers = SplitMix64(seed: seed)
        frameBuffer = .allocate(byteCount: Self.frameBufferBytes, alignment: 64)
        for options in [serverOptions, clientOptions] {
            // Windows move when content has gone on (back-pressure).
            nghttp2_option_set_no_auto_window_update(options, 1)
            nghttp2_option_set_no_closed_streams(options, 1)
            nghttp2_option_set_max_outbound_ack(options, 256)
            // What the meter bounds, as configured, is not bounded a second time.
            nghttp2_option_set_stream_reset_rate_limit(options, 1 << 32, 1 << 32)
            nghttp2_option_set_max_continuations(options, 1 << 20)
            // The largest head that can be configured; what is longer would hang its stream.
            nghttp2_option_set_max_send_header_block_length(options, 4 << 20)
        }
        nghttp2_option_set_peer_max_concurrent_streams(clientOptions, 100)
        installCallbacks()
        sharesFrameBuffer = hasFramesInBuffer()
    }

    deinit {
        nghttp2_session_callbacks_del(callbacks)
        nghttp2_option_del(serverOptions)
        nghttp2_option_del(clientOptions)
        collector.deallocate()
        frameBuffer.deallocate()
    }

    /// 24 characters of base64 for 16 random bytes (RFC 6455 §4.1).
    func webSocketKey() -> InlineArray<24, UInt8> {
        var key: InlineArray<24, UInt8> = .init(repeating: UInt8(ascii: "="))
        let alphabet: StaticString =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        var random: UInt64 = 0
        for index in 0..<21 {
            // Ten digits of six bits each from one number.
            if index % 10 == 0 { random = identifiers.next() }
            key[index] = alphabet.utf8Start[Int(random & 63)]
            random >>= 6
        }
        // 128 bits are 21 digits and one of which only two bits count.
        key[21] = alphabet.utf8Start[Int(random & 3) << 4]
        return key
    }

    // MARK: - Callbacks

    private func installCallbacks() {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.blockBegins(frame)
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, _, name, nameCount, value, valueCount, flags, context in
            guard let name, let value, let session = HTTP2Session(context) else { return 0 }
            guard session.takesField(nameCount + valueCount) else {
                return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            session.state.pointee.engine._withUnsafeGuaranteedRef {
                $0.collector.add(
                    name, nameCount, value, valueCount,
                    isSecret: UInt32(flags) & NGHTTP2_NV_FLAG_NO_INDEX.rawValue != 0)
            }
            return 0
        }
        // Dropping such a field is the library's way; the message is malformed (§8.1.1).
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
            _, _, _, _, _, _, _, _ in
            Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.received(frame)
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            _, _, id, bytes, count, context in
            guard let session = HTTP2Session(context) else { return 0 }
            session.handler.contentReceived(
                connection: session.tag, stream: session.tag(of: id), id: id,
                bytes: UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) {
            _, id, code, context in
            guard let session = HTTP2Session(context) else { return 0 }
            session.closed(id, code)
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.sent(frame)
            return 0
        }
        nghttp2_session_callbacks_set_before_frame_send_callback(callbacks) { _, frame, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.willSend(frame)
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) {
            _, frame, failure, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.notSent(frame, failure)
            return 0
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) {
            _, frame, _, context in
            guard let frame, let session = HTTP2Session(context) else { return 0 }
            session.invalid(frame)
            return 0
        }
        nghttp2_session_callbacks_set_send_data_callback(callbacks) {
            _, frame, _, count, source, context in
            guard let frame, let source, let session = HTTP2Session(context) else {
                return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            return session.writeData(
                frame.pointee.hd, count, stream: HTTP2Session.tag(source.pointee))
        }
    }
}
