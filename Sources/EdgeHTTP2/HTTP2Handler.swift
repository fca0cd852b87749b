/// What a session has found in its input or needs for its output, told at once, in the order of the
/// wire. A class to be derived from, not a protocol: a call is one jump.
///
/// While it is being told, the handler may submit frames and resets on any session; it must not
/// feed, flush or free the session that is telling (`HTTP2Session.isBusy`). What is told during
/// one's output is no time for another's, which is none then.
///
/// `connection` and `stream` are the handler's own numbers (`tag`); a stream without one is -1.
open class HTTP2Handler {
    public init() {}

    /// A request, or an answer's head. `text` is that of an HTTP/1.1 head, valid during the call.
    ///
    /// - Parameters:
    ///   - id: the stream's.
    ///   - isLast: no content follows, nor trailers.
    open func headReceived(
        connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer, isLast: Bool,
        isExtendedConnect: Bool
    ) {}

    /// A request's head is longer than it may be. Its stream is open.
    open func headTooLarge(connection: Int32, stream: Int32, id: Int32, isLast: Bool) {}

    /// The lines of a trailer section, with the empty one; the message is complete.
    open func trailersReceived(
        connection: Int32, stream: Int32, text: UnsafeRawBufferPointer
    ) {}

    /// Content. It counts against the window until `consume`.
    open func contentReceived(
        connection: Int32, stream: Int32, id: Int32, bytes: UnsafeRawBufferPointer
    ) {}

    /// The peer has ended its side, without trailers.
    open func streamEnded(connection: Int32, stream: Int32) {}

    /// The stream is no more; its number means nothing from now on.
    open func streamClosed(connection: Int32, stream: Int32, code: UInt32) {}

    /// A request's head has been written: the peer may see it.
    open func requestSent(connection: Int32, stream: Int32, id: Int32) {}

    /// Our side of the stream has ended with the frame just written.
    open func endSent(connection: Int32, stream: Int32, id: Int32) {}

    /// The peer takes no streams above `last`.
    open func goAwayReceived(connection: Int32, last: Int32, code: UInt32) {}

    open func settingsReceived(connection: Int32) {}

    open func pingAnswered(connection: Int32) {}

    /// An answer's final head has come on this stream: what follows are trailers.
    open func awaitsTrailers(stream: Int32) -> Bool { false }

    /// The request of this stream was HEAD.
    open func isHeadRequest(stream: Int32) -> Bool { false }

    /// Content that waits to be sent, at most `max` bytes of it.
    open func contentWaiting(
        connection: Int32, stream: Int32, id: Int32, max: Int
    ) -> WaitingContent { .none }

    /// Content that `contentWaiting` promised for a frame is not there any more.
    open func isContentGone(
        connection: Int32, stream: Int32, id: Int32, count: Int
    ) -> Bool { false }

    /// Writes a DATA frame: its header, then `count` bytes of the content that waits.
    ///
    /// - Returns: false if there is no room now; it is asked for again.
    open func writeContent(
        connection: Int32, stream: Int32, id: Int32, header: UnsafePointer<UInt8>, count: Int
    ) -> Bool { false }
}

/// What a stream has to send.
public enum WaitingContent {
    /// Nothing yet: `HTTP2Session.resume` when there is.
    case none
    case some(Int)
    /// So many bytes (perhaps none), and those are the last.
    case last(Int)
    /// As `last`, and trailers follow: `HTTP2Session.submitTrailers` was called for them.
    case lastBeforeTrailers(Int)
}
