package import EdgeCore

/// Walks the frames of what a peer sends and counts them, before anything else looks at them: what
/// frames cost us is bounded whatever a library makes of them (BEHAVIOUR: 29, 30, 32). Refuses what
/// nghttp2 would pass over in silence (BEHAVIOUR: 28). Keeps no bytes but those of an incomplete
/// frame header.
package struct FrameMeter: BitwiseCopyable {
    /// RFC 9113 §6.
    private enum Kind {
        static let data: UInt8 = 0
        static let headers: UInt8 = 1
        static let priority: UInt8 = 2
        static let reset: UInt8 = 3
        static let settings: UInt8 = 4
        static let pushPromise: UInt8 = 5
        static let ping: UInt8 = 6
        static let goAway: UInt8 = 7
        static let windowUpdate: UInt8 = 8
        static let continuation: UInt8 = 9
    }

    private enum Flag {
        static let endStream: UInt8 = 1
        static let endHeaders: UInt8 = 4
        static let padded: UInt8 = 8
        static let priority: UInt8 = 32
    }

    private static let second: UInt64 = 1_000_000_000
    /// Bytes that a peer has taken and that earn it a WINDOW_UPDATE.
    private static let bytesPerUpdate = 512
    /// SETTINGS_MAX_FRAME_SIZE is what it is by default (RFC 9113 §6.5.2).
    private static let payloadMax = 16384

    /// Of the frame header that is incomplete.
    private var header: InlineArray<9, UInt8> = .init(repeating: 0)
    private var headerCount = 0
    /// Bytes to pass over: of the preface, or of a frame's payload.
    private var left: Int
    /// Bytes at the beginning of the payload that are looked at: a pad length, a dependency.
    private var peeking = 0
    /// The first of them is the pad length of a DATA frame with so much payload.
    private var paddedData = 0
    /// They are what this stream depends on.
    private var dependent: UInt32 = 0
    private var dependency: UInt32 = 0
    /// A header block is incomplete.
    package private(set) var isInBlock = false
    private var blockBytes = 0
    private var blockFrames: UInt32 = 0
    private var streams: PeerStreams?

    // Since the second began.
    private var secondBegan = Instant(nanoseconds: 0)
    private var resets: UInt32 = 0
    private var pings: UInt32 = 0
    private var settings: UInt32 = 0
    private var priorities: UInt32 = 0
    private var windowUpdates: UInt32 = 0
    private var emptyData: UInt32 = 0
    private var unknown: UInt32 = 0
    private var contentFrames: UInt32 = 0
    private var requests: UInt32 = 0
    private var bytesSent = 0

    // Of the last streams.
    private var streamsEnded: UInt32 = 0
    private var streamsReset: UInt32 = 0

    /// - Parameter preface: bytes in front of the first frame (24 of a client's, RFC 9113 §3.4);
    ///   with none it is a server's, which opens no streams.
    package init(preface: Int) {
        left = preface
        streams = preface > 0 ? PeerStreams() : nil
    }

    /// Looks at what came next.
    ///
    /// - Throws: the limit that was passed, or the rule that was broken.
    // hot: per frame, some 30 instructions.
    package mutating func scan(
        _ bytes: Span<UInt8>, _ limits: HTTP2Limits, now: Instant
    ) throws(HTTP2Breach) {
        startSecond(now)
        var offset = 0
        let count = bytes.count
        while offset < count {
            if left > 0 {
                if peeking > 0 {
                    try peek(bytes[offset], limits)
                    left -= 1
                    offset += 1
                    continue
                }
                let passed = min(left, count - offset)
                left -= passed
                offset += passed
                continue
            }
            header[headerCount] = bytes[offset]
            headerCount += 1
            offset += 1
            guard headerCount == 9 else { continue }
            headerCount = 0
            try begin(limits)
        }
    }

    /// A stream was reset because of what the peer did on it.
    package mutating func countReset(
        _ limits: HTTP2Limits, now: Instant
    ) throws(HTTP2Breach) {
        startSecond(now)
        resets &+= 1
        guard resets <= limits.resets else { throw .resets }
    }

    /// A stream has ended, well or not.
    package mutating func countEnd(isReset: Bool) throws(HTTP2Breach) {
        streamsEnded &+= 1
        if isReset { streamsReset &+= 1 }
        guard streamsEnded >= 1000 else { return }
        guard streamsReset &* 2 <= streamsEnded else { throw .resetShare }
        streamsEnded /= 2
        streamsReset /= 2
    }

    /// Content has been sent to the peer, which may answer by WINDOW_UPDATEs.
    package mutating func noteSent(_ count: Int) { bytesSent &+= count }

    private mutating func startSecond(_ now: Instant) {
        guard now.nanoseconds(since: secondBegan) >= Self.second else { return }
        secondBegan = now
        resets = 0
        pings = 0
        settings = 0
        priorities = 0
        windowUpdates = 0
        emptyData = 0
        unknown = 0
        contentFrames = 0
        requests = 0
        bytesSent = 0
    }

    private mutating func begin(_ limits: HTTP2Limits) throws(HTTP2Breach) {
        let length = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
        let flags = header[4]
        let stream =
            UInt32(header[5] & 0x7F) << 24 | UInt32(header[6]) << 16 | UInt32(header[7]) << 8
            | UInt32(header[8])
        left = length
        peeking = 0
        // RFC 9113 §4.2.
        guard length <= Self.payloadMax else { throw .frameSize }
        // §6.10.
        guard !isInBlock || header[3] == Kind.continuation else { throw .protocolRule }
        switch header[3] {
        case Kind.data:
            try streams?.content(on: stream, isLast: flags & Flag.endStream != 0)
            guard length > 0 else {
                if flags & Flag.endStream == 0 { try countEmpty(limits) }
                return
            }
            if flags & Flag.padded != 0, flags & Flag.endStream == 0 {
                paddedData = length
                peeking = 1
            } else {
                contentFrames &+= 1
            }
        case Kind.headers:
            try streams?.head(on: stream, isLast: flags & Flag.endStream != 0)
            beginBlock(length, flags)
            if flags & Flag.priority != 0 {
                peekDependency(of: stream, behind: flags & Flag.padded != 0 ? 1 : 0)
            }
        case Kind.pushPromise: beginBlock(length, flags)
        case Kind.continuation:
            if flags & Flag.endHeaders != 0 { isInBlock = false }
            blockBytes += length
            blockFrames &+= 1
            guard blockFrames <= limits.continuations else { throw .continuations }
            guard blockBytes <= max(limits.headBytes, HTTP2Limits.blockBytesMin) else {
                throw .headerBlock
            }
        case Kind.priority:
            priorities &+= 1
            guard priorities <= limits.priorities &+ 2 &* requests else { throw .priorities }
            guard stream != 0 else { throw .protocolRule }
            peekDependency(of: stream, behind: 0)
        case Kind.reset:
            streams?.reset(stream)
            resets &+= 1
            guard resets <= limits.resets else { throw .resets }
        case Kind.settings:
            settings &+= 1
            guard settings <= limits.settings else { throw .settings }
        case Kind.ping:
            // Some measure the way to us as long as they receive or send content.
            pings &+= 1
            let earned = contentFrames &+ UInt32(truncatingIfNeeded: bytesSent >> 14)
            guard pings <= limits.pings &+ earned else { throw .pings }
        case Kind.windowUpdate:
            windowUpdates &+= 1
            let earned = UInt32(truncatingIfNeeded: bytesSent / Self.bytesPerUpdate)
            guard windowUpdates <= limits.windowUpdates &+ earned &+ 2 &* requests else {
                throw .windowUpdates
            }
        case Kind.goAway: break
        default:
            unknown &+= 1
            guard unknown <= limits.unknownFrames else { throw .unknownFrames }
        }
    }

    private mutating func beginBlock(_ length: Int, _ flags: UInt8) {
        requests &+= 1
        isInBlock = flags & Flag.endHeaders == 0
        blockBytes = length
        blockFrames = 0
    }

    /// Nothing follows from priorities any more (RFC 9113 §5.3), but a stream that depends on
    /// itself was never one (RFC 7540 §5.3.1). Frames too short for it are nghttp2's to refuse.
    private mutating func peekDependency(of stream: UInt32, behind padding: Int) {
        guard left >= 5 + padding else { return }
        dependent = stream
        dependency = 0
        // A pad length is shifted out again.
        peeking = 4 + padding
    }

    private mutating func peek(_ byte: UInt8, _ limits: HTTP2Limits) throws(HTTP2Breach) {
        peeking -= 1
        guard paddedData == 0 else {
            try countPadded(byte, limits)
            return
        }
        dependency = dependency << 8 | UInt32(byte)
        guard peeking > 0 || dependency & 0x7FFF_FFFF != dependent else { throw .protocolRule }
    }

    /// Nothing but padding is empty, too.
    private mutating func countPadded(
        _ padding: UInt8, _ limits: HTTP2Limits
    ) throws(HTTP2Breach) {
        let isEmpty = paddedData <= Int(padding) + 1
        paddedData = 0
        if isEmpty { try countEmpty(limits) } else { contentFrames &+= 1 }
    }

    private mutating func countEmpty(_ limits: HTTP2Limits) throws(HTTP2Breach) {
        emptyData &+= 1
        guard emptyData <= limits.emptyData else { throw .emptyData }
    }
}
