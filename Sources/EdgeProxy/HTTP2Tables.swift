internal import EdgeCore
internal import EdgeHTTP2

/// What a stream of HTTP/2 has beside its channel: a row of the stream table. Its `Downstream` or
/// `Upstream` is the same as a connection's, so that an exchange can't tell the difference.
///
///     open ─▶ answered ─▶ ends ─▶ (closed by the session) ─▶ free
///        └────────── wasReset ────────────┘
struct HTTP2Stream: BitwiseCopyable {
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// Our HEADERS have been submitted.
        static let answered = Flags(rawValue: 1)
        /// All of our content has been given to the channel.
        static let ends = Flags(rawValue: 2)
        /// The session has asked for content and got none: it waits to be told.
        static let deferred = Flags(rawValue: 4)
        /// The peer's side has ended.
        static let peerEnded = Flags(rawValue: 8)
        /// Our side ends before the peer's: the rest of it is declined (RFC 9113 §8.1).
        static let resetsAfterEnd = Flags(rawValue: 16)
        /// We have reset it.
        static let wasReset = Flags(rawValue: 32)
        /// Errors are told as gRPC statuses.
        static let grpc = Flags(rawValue: 64)
        /// Extended CONNECT (RFC 8441).
        static let extendedConnect = Flags(rawValue: 128)
        /// The upstream's final head has come.
        static let gotHead = Flags(rawValue: 256)
        /// The request of an upstream's stream was HEAD.
        static let isHead = Flags(rawValue: 512)
        /// An upstream's: the request's head has left.
        static let requestSent = Flags(rawValue: 2048)
        /// The other side has been told to wait, as too much is kept for this one.
        static let pausesOther = Flags(rawValue: 1024)
    }

    /// 0: the session has not given one, or knows nothing of the stream any more.
    var id: Int32
    /// Its connection's slot.
    var connection: Int32
    /// Neighbours in the connection's list; -1: none.
    var next: Int32
    var previous: Int32
    var flags: Flags = []
    /// What either side of its exchange wants in no table.
    var neverIndexed = FieldNames()
    /// Content that came after our end and was thrown away.
    var drained: Int32 = 0
    /// Lines to be sent behind the content, in normal form.
    var trailers: ChunkPointer?
    /// Lines that the peer has sent behind its content, with the empty one.
    var receivedTrailers: ChunkPointer?
}

/// What a connection that multiplexes has beside its channel.
struct HTTP2Link: BitwiseCopyable {
    /// Head of the list of streams.
    var first: Int32 = -1
    var streamCount: Int32 = 0
    /// Streams of this client that are gone and whose upstream is still being let go of.
    var charged: Int32 = 0
    /// Content that waits in either direction.
    var bytesKept = 0
    /// Of it, what the peer has sent.
    var bytesStashed = 0
    /// Received content whose room in the connection's window is given back later.
    var withheld = 0
    /// In the list of connections to be flushed.
    var isDirty = false
    /// GOAWAY has been said, or heard: no new streams.
    var isLeaving = false
    /// The client has been told that no stream behind the last one is served.
    var isGone = false
    /// Its PING has not been answered.
    var isPinged = false
    /// A PING has been answered: the next one has more time.
    var wasPinged = false
    /// When an upstream last said something.
    var heardAt = Instant(nanoseconds: 0)
    /// The peer's SETTINGS have come.
    var hasSettings = false
    /// Decrypted input that waits for its turn (`Channel.Flags.holdsPlaintext`).
    var held: ChunkPointer?
    /// It is in the backlog for that.
    var heldWaits = false
}

extension HTTP2Settings {
    /// What a session may be sent.
    ///
    /// - Parameter headBytes: a head's bytes, as decoded.
    func limits(headBytes: Int) -> HTTP2Limits {
        HTTP2Limits(
            streams: UInt32(clamping: streamsMax), streamWindow: UInt32(clamping: streamWindow),
            connectionWindow: UInt32(clamping: max(memoryMax / 2, streamWindow)),
            headBytes: headBytes, continuations: UInt32(clamping: continuationsMax),
            resets: resets, pings: pings, settings: settings, priorities: priorities,
            windowUpdates: windowUpdates, emptyData: emptyData, unknownFrames: unknownFrames)
    }
}
