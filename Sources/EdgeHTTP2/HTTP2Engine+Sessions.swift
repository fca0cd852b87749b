internal import CEdge
package import EdgeCore
internal import Glibc

/// Making sessions.
extension HTTP2Engine {
    /// A client's connection: we are the server. Our SETTINGS wait to be sent.
    ///
    /// - Parameter tag: the handler's number of the connection.
    /// - Returns: nil without memory.
    package func makeServer(_ tag: Int32, _ limits: HTTP2Limits, now: Instant) -> HTTP2Session? {
        let entries = [
            setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams),
            setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            setting(
                NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                UInt32(clamping: limits.headBytes)),
            // WebSocket (RFC 8441 §3), and nobody's priorities (RFC 9218 §2.1).
            setting(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
            setting(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        return make(tag, isServer: true, limits, now: now, entries)
    }

    /// A connection to an upstream: we are the client. Preface and SETTINGS wait to be sent.
    package func makeClient(_ tag: Int32, _ limits: HTTP2Limits, now: Instant) -> HTTP2Session? {
        let entries = [
            setting(NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0),
            setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindow),
            setting(
                NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                UInt32(clamping: limits.headBytes)),
            setting(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        return make(tag, isServer: false, limits, now: now, entries)
    }

    private func setting(
        _ id: nghttp2_settings_id, _ value: UInt32
    ) -> nghttp2_settings_entry {
        nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: value)
    }

    private func make(
        _ tag: Int32, isServer: Bool, _ limits: HTTP2Limits, now: Instant,
        _ entries: [nghttp2_settings_entry]
    ) -> HTTP2Session? {
        let state = UnsafeMutablePointer<HTTP2Session.State>.allocate(capacity: 1)
        state.initialize(
            to: HTTP2Session.State(
                engine: .passUnretained(self), tag: tag, isServer: isServer,
                limits: limits,
                meter: FrameMeter(preface: isServer ? 24 : 0), now: now))
        state.pointee.memory = Self.memory(state)
        state.pointee.sharesFrameBuffer = isServer && sharesFrameBuffer
        var session: OpaquePointer?
        let result =
            isServer
            ? nghttp2_session_server_new3(
                &session, callbacks, state, serverOptions, &state.pointee.memory)
            : nghttp2_session_client_new3(
                &session, callbacks, state, clientOptions, &state.pointee.memory)
        guard result == 0, let session else {
            state.deallocate()
            return nil
        }
        state.pointee.session = session
        let isReady =
            nghttp2_submit_settings(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count) == 0
            && nghttp2_session_set_local_window_size(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0,
                Int32(clamping: limits.connectionWindow)) == 0
        let made = HTTP2Session(state: state)
        guard isReady else {
            made.free()
            return nil
        }
        return made
    }

    /// nghttp2's memory, counted per session.
    private static func memory(
        _ state: UnsafeMutablePointer<HTTP2Session.State>
    ) -> nghttp2_mem {
        nghttp2_mem(
            mem_user_data: state,
            malloc: { count, context in
                HTTP2Engine.sharedBuffer(count, context)
                    ?? HTTP2Engine.note(malloc(count), context)
            },
            free: { block, context in
                guard let block, !HTTP2Engine.isShared(block, context) else { return }
                HTTP2Session(context)?.state.pointee.bytes -= malloc_usable_size(block)
                free(block)
            },
            calloc: { count, size, context in HTTP2Engine.note(calloc(count, size), context) },
            realloc: { block, count, context in
                guard let block else {
                    return HTTP2Engine.sharedBuffer(count, context)
                        ?? HTTP2Engine.note(malloc(count), context)
                }
                guard !HTTP2Engine.isShared(block, context) else {
                    return HTTP2Engine.unshared(block, count, context)
                }
                let before = malloc_usable_size(block)
                guard let other = realloc(block, count) else { return nil }
                HTTP2Session(context)?.state.pointee.bytes -= before
                return HTTP2Engine.note(other, context)
            })
    }

    @inline(__always)
    private static func note(
        _ block: UnsafeMutableRawPointer?, _ context: UnsafeMutableRawPointer?
    ) -> UnsafeMutableRawPointer? {
        if let block { HTTP2Session(context)?.state.pointee.bytes += malloc_usable_size(block) }
        return block
    }

    // MARK: - The frame buffer

    /// Whether the block of that size is what we take it for: a session's first frame is in it.
    func hasFramesInBuffer() -> Bool {
        guard let session = makeServer(-1, HTTP2Limits(), now: Instant(nanoseconds: 0)) else {
            return false
        }
        defer { session.free() }
        guard let first = session.output()?.baseAddress else { return false }
        return first >= UnsafeRawPointer(frameBuffer)
            && first < UnsafeRawPointer(frameBuffer) + Self.frameBufferBytes
    }

    /// The engine's frame buffer, if that is what nghttp2 asks for.
    @inline(__always)
    private static func sharedBuffer(
        _ count: Int, _ context: UnsafeMutableRawPointer?
    ) -> UnsafeMutableRawPointer? {
        guard count == HTTP2Engine.frameBufferBytes, let state = HTTP2Session(context)?.state,
            state.pointee.sharesFrameBuffer
        else { return nil }
        // Chunks behind the first, of a head that is longer, are the session's own.
        state.pointee.sharesFrameBuffer = false
        return state.pointee.engine._withUnsafeGuaranteedRef { $0.frameBuffer }
    }

    @inline(__always)
    private static func isShared(
        _ block: UnsafeMutableRawPointer, _ context: UnsafeMutableRawPointer?
    ) -> Bool {
        HTTP2Session(context)?.state.pointee.engine._withUnsafeGuaranteedRef {
            $0.frameBuffer == block
        } == true
    }

    /// The library wants another size: from then on it is the session's own.
    private static func unshared(
        _ block: UnsafeMutableRawPointer, _ count: Int, _ context: UnsafeMutableRawPointer?
    ) -> UnsafeMutableRawPointer? {
        guard let other = note(malloc(count), context) else { return nil }
        other.copyMemory(from: block, byteCount: min(count, HTTP2Engine.frameBufferBytes))
        return other
    }
}
