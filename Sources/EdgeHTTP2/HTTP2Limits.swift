/// What a peer may do on one connection. A breach ends the connection with GOAWAY; each has a name
/// of its own (`HTTP2Breach`).
package struct HTTP2Limits: Sendable, BitwiseCopyable {
    /// Streams at once that the peer may open.
    package var streams: UInt32
    /// Bytes of one stream's content that may be on their way to us (RFC 9113 §6.9.2).
    package var streamWindow: UInt32
    /// The same of all streams together.
    package var connectionWindow: UInt32
    /// Bytes of a head as decoded, each field with 32 more (RFC 7541 §4.1); also of the compressed
    /// block, where it is more than `blockBytesMin`.
    package var headBytes: Int
    /// CONTINUATION frames per header block.
    package var continuations: UInt32
    // Frames per second.
    package var resets: UInt32
    package var pings: UInt32
    package var settings: UInt32
    package var priorities: UInt32
    package var windowUpdates: UInt32
    package var emptyData: UInt32
    package var unknownFrames: UInt32

    /// A header block as compressed may always have so many bytes.
    static let blockBytesMin = 64 * 1024
    /// Bytes of fields, decoded, that one moment of a worker may bring: some 5 ms. A hundred heads
    /// of 40 KB are fewer; a bound per block would not hold who sends a thousand small ones.
    static let decodedMax = 4 << 20

    package init(
        streams: UInt32 = 100, streamWindow: UInt32 = 65536, connectionWindow: UInt32 = 1 << 20,
        headBytes: Int = 65536, continuations: UInt32 = 8, resets: UInt32 = 100,
        pings: UInt32 = 200, settings: UInt32 = 20, priorities: UInt32 = 500,
        windowUpdates: UInt32 = 2000, emptyData: UInt32 = 200, unknownFrames: UInt32 = 200
    ) {
        self.streams = streams
        self.streamWindow = streamWindow
        self.connectionWindow = connectionWindow
        self.headBytes = headBytes
        self.continuations = continuations
        self.resets = resets
        self.pings = pings
        self.settings = settings
        self.priorities = priorities
        self.windowUpdates = windowUpdates
        self.emptyData = emptyData
        self.unknownFrames = unknownFrames
    }
}

/// Which limit a peer has gone beyond, or which rule it has broken.
package enum HTTP2Breach: UInt8, Error, Sendable, CaseIterable {
    case resets, pings, settings, priorities, windowUpdates, emptyData, unknownFrames
    case continuations, headerBlock
    /// More than half of its last streams were reset.
    case resetShare
    /// A frame is larger than we said (RFC 9113 §4.2).
    case frameSize
    /// Frames on a stream that the peer had ended (§5.1).
    case streamClosed
    /// What is PROTOCOL_ERROR and has no name of its own.
    case protocolRule
}

/// RFC 9113 §7.
package enum HTTP2Code: UInt32, Sendable {
    case noError = 0
    case protocolError = 1
    case internalError = 2
    case flowControlError = 3
    case settingsTimeout = 4
    case streamClosed = 5
    case frameSizeError = 6
    case refusedStream = 7
    case cancel = 8
    case compressionError = 9
    case connectError = 10
    case enhanceYourCalm = 11
    case inadequateSecurity = 12
    case http11Required = 13
}
