/// What a client has said on its streams itself, by the order of its own frames: whatever we did to
/// a stream meanwhile, nothing may follow where the client has ended it (RFC 9113 §5.1), and
/// numbers only grow (§5.1.1). nghttp2 forgets streams that are closed and ignores frames for
/// them, which is right only for those that may have been on their way when we reset the stream.
///
/// Knows the last 128 numbers, in two words of bits; frames for older ones are let pass, and
/// ignored.
struct PeerStreams: BitwiseCopyable {
    private enum State {
        /// Not a client's number, not used yet, or too long ago.
        case unknown
        /// Below a number that was used, and never used itself.
        case skipped
        case open
        /// By END_STREAM or RST_STREAM of the client's.
        case ended
    }

    private static let count: UInt32 = 128

    private var last: UInt32 = 0
    /// Bit n is of the n-th number below the last: it was used.
    private var used: UInt128 = 0
    /// It was used and has not ended.
    private var open: UInt128 = 0

    // hot: per frame of a stream, no branch that is hard to foresee.
    private func state(_ stream: UInt32) -> State {
        guard stream & 1 == 1, stream <= last else { return .unknown }
        let distance = (last - stream) / 2
        guard distance < Self.count else { return .unknown }
        let bit = UInt128(1) &<< UInt128(distance)
        if open & bit != 0 { return .open }
        return used & bit != 0 ? .ended : .skipped
    }

    private mutating func end(_ stream: UInt32) {
        open &= ~(UInt128(1) &<< UInt128((last - stream) / 2))
    }

    /// HEADERS: a request, or its trailers.
    mutating func head(on stream: UInt32, isLast: Bool) throws(HTTP2Breach) {
        if stream > last, stream & 1 == 1 {
            let distance = (stream - last + 1) / 2
            used = distance < Self.count ? used &<< UInt128(distance) : 0
            open = distance < Self.count ? open &<< UInt128(distance) : 0
            last = stream
            used |= 1
            if !isLast { open |= 1 }
            return
        }
        try content(on: stream, isLast: isLast)
    }

    /// DATA, or HEADERS on a stream that is not new.
    mutating func content(on stream: UInt32, isLast: Bool) throws(HTTP2Breach) {
        switch state(stream) {
        case .unknown: break
        case .skipped: throw .protocolRule
        case .ended: throw .streamClosed
        case .open: if isLast { end(stream) }
        }
    }

    /// RST_STREAM; harmless on a stream that has ended.
    mutating func reset(_ stream: UInt32) {
        if state(stream) == .open { end(stream) }
    }
}
