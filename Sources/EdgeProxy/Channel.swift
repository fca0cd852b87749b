internal import EdgeCore
internal import EdgeHTTP2
internal import EdgeRing
internal import EdgeTLS

/// The transport half of a connection, client's or upstream's alike: socket, TLS, what is in
/// flight in the kernel, and bytes that wait on either side. A slot of the channel table; which
/// side it is follows from the slot's number (`Worker.isDownstream`).
///
/// A stream of an HTTP/2 connection has a channel of its own, without socket and TLS: to all above
/// it looks like a connection, with deadlines, back-pressure and bytes that wait (`HTTP2Stream`).
///
///     free ─▶ connecting ─▶ handshaking ─▶ established ─▶ flushing ─▶ lingering ─▶ closing ─▶ free
///             (upstream)    (TLS)                             └────────────────────▶┘
struct Channel: BitwiseCopyable {
    enum Phase: UInt8 {
        case free
        /// Upstream only: awaits the connect.
        case connecting
        /// Awaits the peer's handshake bytes.
        case handshaking
        /// Carries messages.
        case established
        /// Awaits the kernel taking the last bytes; then lingers or closes.
        case flushing
        /// Our side is shut; awaits the peer's end so that its unread bytes cause no reset.
        case lingering
        /// Awaits the kernel giving up every operation in flight.
        case closing
    }

    /// Operations of this channel that are in the kernel: a bit is set exactly from submission to
    /// the final completion.
    struct InFlight: OptionSet {
        let rawValue: UInt8
        static let receive = InFlight(rawValue: 1)
        static let send = InFlight(rawValue: 2)
        static let connect = InFlight(rawValue: 4)
        static let cancel = InFlight(rawValue: 8)
    }

    struct Flags: OptionSet {
        let rawValue: UInt32
        /// The machine above wants input; else it is stashed.
        static let wantsInput = Flags(rawValue: 1)
        /// The peer has sent its end (FIN).
        static let peerEnded = Flags(rawValue: 2)
        /// The peer's end has been told to the machine above.
        static let endDelivered = Flags(rawValue: 4)
        /// Sending failed; told to the machine above at the end of the turn.
        static let broken = Flags(rawValue: 8)
        /// In the list of channels to be attended to at the end of the turn.
        static let queued = Flags(rawValue: 16)
        /// The receive operation has been told to stop.
        static let receiveStopping = Flags(rawValue: 32)
        /// It is over in the kernel: its last completion waits for its turn.
        static let receiveOver = Flags(rawValue: 536_870_912)
        /// Opened while a snapshot policy required TLS.
        static let isTLS = Flags(rawValue: 64)
        /// The session failed, or must not say good-bye: nothing more is written.
        static let tlsFailed = Flags(rawValue: 128)
        /// Its output was blocked and has drained since.
        static let drained = Flags(rawValue: 256)
        /// Closed by RST, so that a cut answer can't pass for a whole one.
        static let resets = Flags(rawValue: 512)
        /// The cancel in flight is for the receive alone; everything else has to follow.
        static let cancelsAgain = Flags(rawValue: 1024)
        /// The peer ended its direction with close_notify: what it sent is complete.
        static let closeNotified = Flags(rawValue: 2048)
        /// An upstream that takes no more of the request; its answer may still come.
        static let sendFailed = Flags(rawValue: 4096)
        /// Our direction ends when what waits has been sent.
        static let shutsWhenDrained = Flags(rawValue: 8192)
        /// Our direction has ended.
        static let sendingShut = Flags(rawValue: 16384)
        /// A client of TLS 1.3 that is owed a session ticket: it goes out with the first answer.
        static let owesTicket = Flags(rawValue: 32768)
        /// Our close_notify has been written.
        static let closingSaid = Flags(rawValue: 65536)
        /// Its record buffers could not be given back with the ticket.
        static let owesRelease = Flags(rawValue: 524_288)
        /// Its ClientHello has been charged to whatever limits it.
        static let helloJudged = Flags(rawValue: 1_048_576)
        /// As one that resumes a session.
        static let judgedResumed = Flags(rawValue: 67_108_864)
        /// A client's connection whose first bytes decide what it is (`Downstream.preface`).
        static let awaitsPreface = Flags(rawValue: 262_144)
        /// Its bytes are limited and in debt: it is not read, whoever wants input.
        static let paused = Flags(rawValue: 8_388_608)
        /// Input has been wanted during the pause: it is when that ends.
        static let resumesLater = Flags(rawValue: 16_777_216)
        /// An HTTP/2 stream: its bytes travel by another channel, its connection's.
        static let isStream = Flags(rawValue: 131_072)
        /// A client's connection that is to be put into `IdleLists` when it is idle.
        static let listsWhenIdle = Flags(rawValue: 33_554_432)
        /// Its handshake waits for its turn; and: it may begin.
        static let deferred = Flags(rawValue: 2_097_152)
        static let handshakeDue = Flags(rawValue: 4_194_304)
        /// Decrypted input of its HTTP/2 session waits (`HTTP2Link.held`), before what is stashed.
        static let holdsPlaintext = Flags(rawValue: 134_217_728)
        /// Something has been said to its ClientHello.
        static let helloAnswered = Flags(rawValue: 268_435_456)
    }

    var descriptor: Int32
    /// Counts the users of this slot; part of every token.
    var generation: UInt32
    var phase: Phase
    var inFlight: InFlight
    var flags: Flags
    var deadlineKind: DeadlineKind
    /// How much is received at a time: 0, what a provided buffer holds; else `32 KiB << level`,
    /// taken when the kernel says that there is something.
    var receiveLevel: UInt8
    /// Receives in a row that speak for another level.
    var receiveStreak: UInt8
    /// Handshake messages that came after the handshake; saturates.
    var afterHandshake: UInt8
    /// Why it failed, when `broken`.
    var failure: ReasonCode
    /// Its completions that wait in the backlog.
    var backlogged: UInt16
    var session: TLSSession?
    /// What multiplexes streams over this connection.
    var http2: HTTP2Session?
    /// Encrypted bytes that the socket did not take yet.
    var output: ChunkList
    /// Received bytes (ciphertext on TLS) that came while no input was wanted.
    var stash: ChunkList
    /// How well the peer takes what waits for it.
    var pace: Pace
}

/// A peer that has to take bytes may fall behind the least rate by one time-out's worth, no more.
/// Looked at a few times per time-out, while bytes wait.
struct Pace: BitwiseCopyable {
    /// Nanoseconds it may still be late.
    var allowance: UInt64 = 0
    /// What it had not acknowledged at the last look; -1: not looked yet.
    var unacknowledged = -1
    /// What the kernel has taken from us since.
    var moved = 0
    /// When it was last looked at.
    var lookedAt = Instant(nanoseconds: 0)
}

/// What a channel's one deadline is for.
enum DeadlineKind: UInt8 {
    case none
    case proxyHeader
    case clientHello
    case handshake
    case requestHead
    case keepAlive
    case body
    /// The next look at how a slow peer takes what waits (`Pace`).
    case write
    case connect
    /// The connection that is being made is slow: another member is tried as well.
    case race
    case response
    /// An answer is not there yet: does its server's host still acknowledge what we send?
    case stall
    case idle
    case tunnel
    case queue
    case linger
    /// The same while the worker leaves: who waits for its successor is not to wait for this.
    case lingerBriefly
}
