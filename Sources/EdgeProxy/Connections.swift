internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgePreface

/// The client's half of HTTP/1.1 on one connection: requests in, answers out. A slot of the
/// downstream table, parallel to its `Channel`.
///
///     awaitingHead ─▶ receivingBody ─▶ awaitingAnswer ─▶ awaitingHead …
///          │               │                 │
///          └───────────────┴─────────────────┴─▶ ended (input is thrown away)
///                                  tunnel: after an upgrade, bytes both ways
struct Downstream: BitwiseCopyable {
    enum Phase: UInt8 {
        /// Awaits a request's head, or the rest of it.
        case awaitingHead
        /// Awaits the rest of a request's body.
        case receivingBody
        /// The request is complete; awaits the end of the answer. Further bytes are held.
        case awaitingAnswer
        /// Awaits bytes of an upgraded connection, or of one that is relayed from the start.
        case tunnel
        /// Nothing more is read from this client.
        case ended
    }

    enum Preface: UInt8 {
        case none
        /// Awaits a PROXY header, or the rest of it.
        case proxyHeader
        /// Awaits the rest of a ClientHello.
        case hello
    }

    var phase: Phase
    /// Answer and close: asked by the client, forced by a failure, or while draining.
    var closesAfterAnswer: Bool
    /// A head has begun to arrive: its total deadline runs.
    var headStarted: Bool
    var listener: UInt16
    /// Number of its view, which a connection keeps whatever happens to its interface.
    var view: UInt16
    /// What is read before anything else.
    var preface = Preface.none
    var helloProgress = ClientHello.Progress()
    /// Number of what its handshake was made with (`RuntimeSnapshot.profiles`); -1: it had none.
    var profile: Int32 = -1
    var exchange: Int32
    var scanner: HeadScanner
    var decoder: BodyDecoder
    /// Plaintext of an incomplete head, or of pipelined requests.
    var held: ChunkPointer?
    var peer: SocketAddress
    var requestCount: UInt32
    /// Has been given up to make room.
    var isEvicted = false
    /// When the first byte of an incomplete head arrived; 0: there is none.
    var headBegun = Instant(nanoseconds: 0)
    /// Of the site that its ClientHello was for (`ConnectionPlans.Site.own`); -1: none.
    var judgedPlan: Int32 = -1
    /// Of the limit that its last request was asked about first, for `LimitTable.touch`; 0: none.
    var limitKey: UInt64 = 0
}

/// The upstream's half of HTTP/1.1 on one connection. A slot of the upstream table, parallel to its
/// `Channel` (upstream slots follow the downstream ones).
struct Upstream: BitwiseCopyable {
    enum Phase: UInt8 {
        /// Awaits connect or handshake.
        case connecting
        /// Unused, in its pool: any byte or end closes it.
        case idle
        /// Awaits an answer's head, or the rest of it.
        case awaitingHead
        /// Awaits the rest of an answer's body.
        case receivingBody
        /// Awaits bytes of an upgraded connection.
        case tunnel
        /// Carries streams, which have rows of their own.
        case multiplexing
        /// The answer is over; nothing more may come.
        case ended
    }

    var phase: Phase
    /// Has carried an exchange before: its silent end is no failure of the member.
    var isReused: Bool
    /// Bytes of an answer have arrived.
    var answerStarted: Bool
    /// Interim answers seen for this request.
    var interimCount: UInt8
    /// The answer's head said that another request may follow.
    var keepAlive: Bool
    /// A PROXY header was sent: it serves that client alone, whatever is configured since.
    var namesClient = false
    /// Meant to be shared by many exchanges, if the upstream speaks HTTP/2.
    var isShared = false
    var pool: Int32
    var member: Int32
    var exchange: Int32
    /// The next older connection that is being made for the same exchange (`Exchange.rival`); -1:
    /// none.
    var nextRival: Int32 = -1
    /// Goes on being made for its pool's sake: its exchange has found another.
    var isUnclaimed = false
    var scanner: HeadScanner
    var decoder: BodyDecoder
    var held: ChunkPointer?
    var idleSince: Instant
    /// The client's connection that a reset stream is charged to until this is let go of, and who
    /// had that slot then; -1: none.
    var payer: Int32 = -1
    var payerGeneration: UInt32 = 0
    /// The kernel's form of the member's address, for the connect operation.
    var address: InlineArray<28, UInt8>
    var addressCount: UInt8
}

/// One request and its answer, whatever protocols carry them: the only thing that client and
/// upstream connection share. Every exchange ends in `Worker.finishExchange`.
///
///     awaitingUpstream ─▶ forwarding ─▶ answering ─▶ (finished)
struct Exchange: BitwiseCopyable {
    enum Phase: UInt8 {
        case free
        /// Awaits a connection to the upstream.
        case awaitingUpstream
        /// The head has gone up; awaits the answer.
        case forwarding
        /// The answer's head has gone down.
        case answering
    }

    struct Flags: OptionSet {
        let rawValue: UInt32
        /// The request's last byte has been given to the upstream side.
        static let requestComplete = Flags(rawValue: 1)
        /// What was sent so far is all in `prefix`: it can be sent again.
        static let replayable = Flags(rawValue: 2)
        /// The prefix has been written to the current upstream connection.
        static let prefixSent = Flags(rawValue: 4)
        /// The client asked to be told before it sends the body.
        static let expectsContinue = Flags(rawValue: 8)
        /// Connection names fields that the request's trailers may hold.
        static let dropsRequestTrailers = Flags(rawValue: 16)
        /// A TCP connection: bytes are passed on as they are, each direction ends by itself.
        static let relay = Flags(rawValue: 32)
        static let clientEnded = Flags(rawValue: 64)
        static let upstreamEnded = Flags(rawValue: 128)
        /// A tunnel whose peers the kernel does not probe yet.
        static let unprobed = Flags(rawValue: 2048)
        /// Waits in its pool's queue.
        static let queued = Flags(rawValue: 256)
        /// Has a record for the access log.
        static let logged = Flags(rawValue: 512)
        /// Connection names fields that the answer's trailers may hold.
        static let dropsAnswerTrailers = Flags(rawValue: 1024)
        /// Is one of its upstream's requests under way.
        static let counted = Flags(rawValue: 4096)
        /// Its upstream's members are told apart by a cookie of ours.
        static let sticky = Flags(rawValue: 8192)
        /// Has been sent to a second member, or was not for lack of budget: once is enough.
        static let hedged = Flags(rawValue: 16384)
        /// Has waited so long for its answer that its member was held to have failed.
        static let heldAgainst = Flags(rawValue: 32768)
        /// Some policy counts it while it lasts (`Worker.exchangeCounts`).
        static let holdsCounts = Flags(rawValue: 65536)
        /// Bytes from the client are charged (`Meter`).
        static let metersUpload = Flags(rawValue: 131_072)
        /// Bytes to the client are charged.
        static let metersDownload = Flags(rawValue: 262_144)
        /// Waits in its pool's queue before those of low priority.
        static let precedes = Flags(rawValue: 524_288)
    }

    var phase: Phase
    var flags: Flags
    var method: Method
    var clientMinor: UInt8
    var attempts: UInt8
    var status: UInt16
    /// How the request's body goes up.
    var requestFraming: BodyFraming
    /// How the answer's body goes down.
    var answerFraming: BodyFraming
    var downstream: Int32
    var upstream: Int32
    var pool: Int32
    /// Members tried in vain (`MemberTable.bit`).
    var tried: UInt64
    /// Of `upstream`; -1: none.
    var member: Int32 = -1
    /// The newest of the older connections that are still being made for it (`Upstream.nextRival`
    /// leads to the others); whichever is ready first is used. -1: none.
    var rival: Int32 = -1
    /// An older connection or stream that was sent the request, and may still answer it; -1: none.
    var elder: Int32 = -1
    /// The member that the client's cookie names, as `MemberTable.token` has it; 0: none.
    var token: UInt64 = 0
    /// Attempts beside the first of what had been sent.
    var resends: UInt8 = 0
    /// What `BalancePolicy.hash` goes by.
    var key: UInt64 = 0
    /// The request's head as HTTP/1.1 has it, and the first bytes of its content, unframed: kept
    /// until the answer begins, so that it can be sent again on another connection, by whatever
    /// protocol that speaks.
    var prefix: ChunkPointer?
    /// Bytes of it that are the head.
    var prefixHead: Int32 = 0
    /// The lines behind the content, if all of that is in the prefix.
    var trailers: ChunkPointer?
    /// Number of the rules that apply to it (`Routing.rules`); -1: none.
    var rules: Int32 = -1
    /// The row that it is counted in (`TrafficTable.site`).
    var traffic = TrafficTable.other
    /// And that of its upstream, once it is one of its requests under way.
    var upstreamRow: TrafficTable.Row?
    /// What the answer's rules need to know of the request's head (`KeptValues`).
    var kept: ChunkPointer?
    /// Neighbours in the pool's queue; -1: none.
    var queueNext: Int32 = -1
    var queuePrevious: Int32 = -1
    var times = ExchangeTimes()
    /// As they were of `elder`.
    var elderTimes = ExchangeTimes()
    /// Why it failed; set where it ends.
    var reason = ReasonCode.none
    /// What the client or the upstream did against HTTP/1, for the access log.
    var violation = AccessLine.noViolation
    /// The last connection had carried an exchange before.
    var isReused = false
    /// Bytes of the request's body, and of the answer's, without framing.
    var received: UInt64 = 0
    var sent: UInt64 = 0
    /// What the request, as it was forwarded, may switch to.
    var upgrade = UpgradeProtocol.none
    /// Of what an upgrade to WebSocket brings down.
    var frames = WebSocketBoundary()
    var requestID = RequestID()
}
