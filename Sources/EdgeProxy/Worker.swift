package import EdgeCore
package import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2
internal import EdgeLimits
internal import EdgePreface
package import EdgeRing
internal import EdgeRouting
package import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream

/// One thread, one ring, its share of the connections: everything from accept to close happens
/// here, without locks and without a word to the other workers. Bounded by its tables, which are
/// reserved at start, and by its chunk budget.
///
/// Decisions are taken by the machines (`HTTP1Parser`, `BodyDecoder`, `RouteTable`, `MemberTable`,
/// `TimerWheel`); the worker's extensions carry them out. Nothing calls back into the input of a
/// connection that is being read: failures and wake-ups found on the way go to `attention` and are
/// handled at the end of the turn.
package final class Worker {
    /// What a worker is made of.
    package struct Setup {
        package let index: Int
        /// Listening sockets this worker serves at first: listener's number in the snapshot,
        /// descriptor.
        package let listeners: [(listener: Int, descriptor: Int32)]
        package let connectionsMax: Int
        /// Bytes of chunks this worker may hold at a time.
        package let chunkBudget: Int
        package let tickets: TicketMemory
        package let seed: UInt64
        /// The same for all workers.
        package let loopMark: LoopMark
        /// The machine's interfaces at the moment; asked for only where there are several views.
        package let interfaces: () -> [NetworkInterface]
        /// Where it counts per site and upstream; nil: in a table that nobody else sees.
        package let traffic: TrafficTable?
        /// What clients have used up; nil: no limit is looked at.
        package let limits: LimitMemory?
        /// Of the process, as the control thread has measured it.
        package let pressure: ProcessPressure
        /// Descriptors held for connections to upstreams.
        package let descriptorReserve: Int

        package init(
            index: Int, listeners: [(listener: Int, descriptor: Int32)], connectionsMax: Int,
            chunkBudget: Int, tickets: TicketMemory, seed: UInt64, loopMark: LoopMark,
            interfaces: @escaping () -> [NetworkInterface] = Setup.readInterfaces,
            traffic: TrafficTable? = nil, limits: LimitMemory? = nil,
            pressure: ProcessPressure = ProcessPressure(), descriptorReserve: Int = 0
        ) {
            self.pressure = pressure
            self.descriptorReserve = descriptorReserve
            self.limits = limits
            self.traffic = traffic
            self.interfaces = interfaces
            self.index = index
            self.listeners = listeners
            self.connectionsMax = connectionsMax
            self.chunkBudget = chunkBudget
            self.tickets = tickets
            self.seed = seed
            self.loopMark = loopMark
        }

        package static func readInterfaces() -> [NetworkInterface] {
            do throws(SystemError) {
                return try NetworkInterface.readAll()
            } catch {
                Log.error("the network interfaces cannot be read", ["error": "\(error)"])
                return []
            }
        }
    }

    /// Why a worker can't be made.
    package enum SetupFailure: Error {
        case tls(TLSFailureText)
        case memory
        package struct TLSFailureText: Sendable { package let text: String }
    }

    /// Resolution of deadlines: 32 ms, so at most 32 ms late.
    static let tick: UInt64 = 32_000_000
    /// Housekeeping interval; also the longest wait, so that a lost wake-up can't last.
    static let housekeeping: UInt64 = 1_000_000_000
    /// Between two looks at listeners when descriptors or slots have run out.
    static let acceptPause: UInt64 = 100_000_000
    /// Connections taken from one listener before the others have their turn.
    static let acceptsPerTurn = 64
    /// Bytes kept for a connection whose input is not wanted before receiving is stopped.
    static let stashMax = 16 * 1024
    /// Plaintext of one round: of the largest, and a record that was half there before it.
    static let scratchBytes = roundBytes(receiveLevelMax) + 32 * 1024
    /// Plaintext whose records fit on the wire's own output together.
    static let wirePiece = 64 * 1024
    /// Clients' slots beyond those of `connectionsMax`: for newcomers in place of connections that
    /// are being closed.
    static let evictionSlots = 16
    /// How long a client's last bytes are awaited when it has been told the end.
    static let lingerTime: UInt64 = 2_000_000_000
    /// The same when the worker drains, if the client's host has acknowledged everything by then.
    static let drainLinger: UInt64 = 250_000_000
    /// What a silent connection gets when the worker drains.
    static let drainGrace: UInt64 = 1_000_000_000
    /// A tunnel that is silent for this long has its server probed.
    static let probeAfter: UInt64 = 30_000_000_000
    /// For an answer of an upstream that has stopped taking its request.
    static let lastWords: UInt64 = 5_000_000_000
    /// Handshake messages of a peer after its handshake; one more and the connection is closed.
    static let handshakeMessagesMax = 64
    /// Messages being put together: the largest head and a full round of content.
    static let stageBytes = 160 * 1024
    static let headsBytes = 64 * 1024
    /// Bans per second that are told at once; more come with the next second's word.
    static let bansToldMax = 16
    /// Kept free in front of received bytes: for the header of a frame that they become.
    static let headRoom = 64

    let setup: Setup
    let ring: Ring
    let engine: TLSEngine
    let block: SharedBoard.Block
    let traffic: TrafficTable
    /// Of `traffic`.
    let siteRows: TrafficTable.Row
    /// `ClientPolicy.trace` of the snapshot is another than to pass traces on.
    var looksForTraces = false
    /// The row of the site that the request which begins is for.
    var routedSite = TrafficTable.other
    let mailbox: Mailbox
    let report: @Sendable (WorkerEvent) -> Void

    /// Slots below this are clients', from here on upstreams'. On both sides connections come
    /// first, then their HTTP/2 streams.
    let upstreamBase: Int
    let clientStreamBase: Int
    let upstreamStreamBase: Int
    let streams: ReservedArray<HTTP2Stream>
    /// By the connection's slot.
    let links: ReservedArray<HTTP2Link>
    var clientStreamSlots: SlotList
    var upstreamStreamSlots: SlotList
    /// Made when the first client or upstream speaks HTTP/2.
    var http2Engine: HTTP2Engine?
    /// Connections whose sessions have something to send.
    var http2Dirty: [Int32] = []
    /// Content that is being sent from where it was received.
    var direct: DirectContent?
    /// Sessions of connections that are closed, freed at the end of the turn.
    var http2Retired: [HTTP2Session] = []
    /// Requests that wait for the end of what was received with them.
    var http2Begun: [Int32] = []
    let channels: ReservedArray<Channel>
    let downstreams: ReservedArray<Downstream>
    let upstreams: ReservedArray<Upstream>
    let exchanges: ReservedArray<Exchange>
    /// By the exchange's number.
    let meters: ReservedArray<Meter>
    var downstreamSlots: SlotList
    var upstreamSlots: SlotList
    var exchangeSlots: SlotList
    var wheel: TimerWheel
    /// When channels that are paused are read again; their deadlines are in `wheel`.
    var pauses: TimerWheel
    /// The last of these; 0: there is none.
    var lastPause = Instant(nanoseconds: 0)
    var chunks: ChunkPool
    var idleLists: IdleLists
    var descriptorReserve: DescriptorReserve
    /// Connections that were evicted and whose slots are not free yet.
    var evictionsPending = 0
    /// When a connection was last evicted.
    var evictedAt = Instant(nanoseconds: 0)

    /// A view of the snapshot has low priority.
    var shedsLoad = false
    /// By view: whether it has.
    var lowViews: [Bool] = []
    /// Places that are not for clients of low priority.
    var slotReserve = 0
    /// By listener (`Routing.rank`).
    var listenerRanks: [UInt8] = []
    var admission: AdmissionController
    /// Handshakes that wait, from `deferredFirst` on.
    var deferred: [DeferredHandshake] = []
    var deferredFirst = 0
    /// In this turn.
    var handshakesBegun = 0
    /// What of low priority has come and waits for the turn's end.
    var backlog = Backlog()
    /// When a handshake of low priority was last begun, or went on.
    var handshakeAt = Instant(nanoseconds: 0)
    /// In this turn a handshake of low priority goes on, and not the backlog.
    var handshakesGo = false
    /// Until when what is of low priority may go on in this turn.
    var lowPriorityEnd = Instant(nanoseconds: 0)
    /// Read where `now` is too old: to see how long something takes.
    var clock: () -> Instant = { Instant.now() }
    /// Since when listeners' queues have not been emptied; never: they have.
    var queueStands = Instant.never
    /// When there was last something to do that is not of low priority.
    var preferredAt = Instant(nanoseconds: 0)
    /// Nanoseconds, since it was last told: of all work, and of what is not of low priority.
    var worstDelay: UInt64 = 0
    var worstPreferredDelay: UInt64 = 0

    /// Readable connections in bulk, in the order that they became so; those before `bulkFirst`
    /// have been read.
    var bulkReady: [Completion] = []
    var bulkFirst = 0
    /// The one reading of the clock of this turn.
    var now: Instant
    var snapshot: RuntimeSnapshot
    /// The snapshot's, as this worker's own.
    var limits: LimitPlans
    /// By the numbers of `Routing.rules`.
    var ruleTraits: [RuleTraits]
    /// Of the request whose limits were asked last, as `LimitCaller.texts`.
    var describedTexts: [4 of UInt64] = .init(repeating: 0)
    /// The tables of `Setup.limits`, which keeps their memory.
    let limitTables: LimitTables?
    /// Its first one has been put to use.
    var isApplied = false
    /// By pool id; nil where no snapshot has one.
    var pools: [UpstreamPool?] = []
    /// By upstream id; nil where none was used yet.
    var groups: [UpstreamGroup?] = []
    var upstreamSessions = UpstreamSessions()
    /// Whose keys the engine has; 0: none.
    var ticketGeneration: UInt64 = 0
    /// The machine's, as they were last read.
    var interfaces: [NetworkInterface] = []
    /// The kernel's numbers of them.
    /// And what they are called.
    var knownInterfaces: [Int32: SIMD16<UInt8>] = [:]
    /// The snapshot's, with these.
    var places: ViewTable
    /// The hello that is being looked at.
    var hello = ClientHello()
    /// Channels to be handled at the end of the turn, and those being handled.
    var attention: [Int32] = []
    private var attentionRound: [Int32] = []
    /// Pools whose queue may go on.
    var queueAttention: [Int32] = []
    var requestHead = RequestHead()
    var responseHead = ResponseHead()
    var trailerFields = FieldList()
    /// Where bulk is received; its pages are touched by bulk only.
    let rounds: UnsafeMutableRawPointer
    /// Where ciphertext is decrypted to.
    let scratch: UnsafeMutableRawPointer
    let stage: UnsafeMutableRawPointer
    /// Where heads are written whose size is not known before.
    let heads: UnsafeMutableRawPointer
    var stageCount = 0
    /// Between the end of an answer and the close_notify that goes out with it.
    var holdsWire = false
    /// Whom the staged bytes are for; -1: nobody.
    var stageSlot = -1
    /// Where on the stage an answer begins of which nothing has been sent; -1: there is none.
    var unsentAnswer = -1
    var identifiers: SplitMix64
    let accessLog: AccessLogStage
    /// What was charged, for another node; closed as long as nobody is told.
    var admitted = AdmittedJournal(capacity: 0)
    /// Where that goes at the end of a turn; nil: nowhere.
    var admittedRing: AdmittedRing?
    /// Of what the journal has lost, what the ring knows.
    var admittedLost: UInt64 = 0
    /// What clients' connections hold of limits on how many there are, by slot.
    let connectionCounts: ReservedArray<HeldCounts>
    /// The same of exchanges that have `holdsCounts`.
    let exchangeCounts: ReservedArray<HeldCounts>
    /// The same of a request that is not an exchange yet.
    var requestCounts = HeldCounts()
    /// Whose handshake OpenSSL goes on with, as far as clients' are limited.
    var handshakingSlot = -1
    /// Why it shall not.
    var helloRefusal: LimitRefusal?
    /// The policy that the next line of the access log names; -1: none.
    var refusingPolicy: Int32 = -1
    /// What limits have done since that was told.
    var tally = LimitTally()
    /// Bans that were told at once in this second.
    var bansTold = 0

    var phase = WorkerPhase.waiting
    /// By the number in their completions; nil: free.
    var sockets: [ServedSocket?]
    /// When listeners that have left the configuration are cut off.
    var retirements: [Retirement] = []
    /// Some of `pools` are retired.
    var hasRetiredPools = false
    var retiredListeners = ListenerSet()
    var nextHousekeeping: Instant
    /// Listeners' queues were not emptied: out of slots, descriptors, or turn.
    var acceptPending = AcceptPending.no
    /// Listeners whose poll ended in an error; watched again at the next housekeeping.
    var listenersLost: [Int] = []
    let mailCell: UnsafeMutablePointer<UInt64>
    var failure: String?
    /// When draining ends whatever is left.
    var drainDeadline = Instant.never
    /// Whoever has been promised another request on a connection may bring it.
    var isPatient = false
    /// Clients are told to go after their answer; those that come are served (`Worker+Dismiss`).
    var isDismissing = false

    /// - Parameter snapshot: what to serve; the worker accepts only after `.serve`.
    package init(
        _ setup: Setup, ring: Ring, block: SharedBoard.Block, mailbox: Mailbox,
        snapshot: RuntimeSnapshot, now: Instant, report: @escaping @Sendable (WorkerEvent) -> Void
    ) throws(SetupFailure) {
        self.setup = setup
        sockets = setup.listeners.map {
            ServedSocket(ListeningSocket(listener: $0.listener, descriptor: $0.descriptor))
        }
        self.ring = ring
        self.block = block
        self.mailbox = mailbox
        self.snapshot = snapshot
        limits = LimitPlans(copyOf: snapshot.limits)
        ruleTraits = snapshot.routing.ruleTraits
        limitTables = setup.limits.map { LimitTables($0) }
        places = snapshot.routing.places
        self.now = now
        self.report = report
        do {
            engine = try TLSEngine()
        } catch {
            throw .tls(.init(text: "\(error)"))
        }
        // An exchange needs one connection on each side; as many unused ones may be kept, and some
        // more are on their way out.
        let clients = setup.connectionsMax + Worker.evictionSlots
        let clientStreams = max(1024, min(4 * clients, 65536))
        let requests = clients + clientStreams
        let servers = 2 * clients + clientStreams + 256
        let slots = requests + servers + requests
        guard let channels = ReservedArray<Channel>(capacity: slots),
            let downstreams = ReservedArray<Downstream>(capacity: requests),
            let upstreams = ReservedArray<Upstream>(capacity: servers + requests),
            let exchanges = ReservedArray<Exchange>(capacity: requests),
            let meters = ReservedArray<Meter>(capacity: requests),
            let streams = ReservedArray<HTTP2Stream>(capacity: clientStreams + requests),
            let links = ReservedArray<HTTP2Link>(capacity: slots),
            let downstreamSlots = SlotList(capacity: clients),
            let clientStreamSlots = SlotList(capacity: clientStreams),
            let upstreamSlots = SlotList(capacity: servers),
            let upstreamStreamSlots = SlotList(capacity: requests),
            let exchangeSlots = SlotList(capacity: requests),
            let connectionCounts = ReservedArray<HeldCounts>(capacity: clients),
            let exchangeCounts = ReservedArray<HeldCounts>(capacity: requests),
            let wheel = TimerWheel(capacity: slots, tick: Worker.tick, now: now),
            let pauses = TimerWheel(capacity: slots, tick: Worker.pauseTick, now: now),
            let accessLog = AccessLogStage(exchanges: requests),
            let idleLists = IdleLists(capacity: clients),
            let traffic = setup.traffic ?? TrafficTable()
        else { throw .memory }
        clientStreamBase = clients
        upstreamBase = requests
        upstreamStreamBase = requests + servers
        self.streams = streams
        self.links = links
        self.clientStreamSlots = clientStreamSlots
        self.upstreamStreamSlots = upstreamStreamSlots
        self.channels = channels
        self.downstreams = downstreams
        self.upstreams = upstreams
        self.exchanges = exchanges
        self.meters = meters
        self.downstreamSlots = downstreamSlots
        self.upstreamSlots = upstreamSlots
        self.exchangeSlots = exchangeSlots
        self.connectionCounts = connectionCounts
        self.exchangeCounts = exchangeCounts
        self.wheel = wheel
        self.pauses = pauses
        self.idleLists = idleLists
        descriptorReserve = DescriptorReserve(size: setup.descriptorReserve)
        admission = AdmissionController(now: now)
        self.accessLog = accessLog
        self.traffic = traffic
        siteRows = traffic.firstSite
        chunks = ChunkPool(budget: setup.chunkBudget)
        rounds = .allocate(
            byteCount: Worker.headRoom + Worker.roundBytes(Worker.receiveLevelMax), alignment: 64)
        scratch = .allocate(byteCount: Worker.headRoom + Worker.scratchBytes, alignment: 64)
        stage = .allocate(byteCount: Worker.stageBytes, alignment: 64)
        heads = .allocate(byteCount: Worker.headsBytes, alignment: 64)
        mailCell = .allocate(capacity: 1)
        mailCell.initialize(to: 0)
        identifiers = SplitMix64(seed: setup.seed)
        nextHousekeeping = now
        attention.reserveCapacity(1024)
        queueAttention.reserveCapacity(64)
        attentionRound.reserveCapacity(1024)
        apply(snapshot)
    }

    deinit {
        rounds.deallocate()
        // Before the engine, whose library they need.
        upstreamSessions.removeAll { _ in true }
        scratch.deallocate()
        stage.deallocate()
        heads.deallocate()
        mailCell.deallocate()
    }

    func isDownstream(_ slot: Int) -> Bool { slot < upstreamBase }

    func upstream(_ slot: Int) -> UnsafeMutablePointer<Upstream> { upstreams[slot - upstreamBase] }

    // MARK: - The loop

    /// Serves until stopped. Called once, on the thread that made the ring.
    package func run() {
        block.thread = UInt64(currentThreadID())
        watchMail()
        while phase != .stopped, turn(waitingAtMost: waitLimit) {}
        closeEverything()
        report(
            failure.map { .failed(worker: setup.index, reason: $0) }
                ?? .stopped(worker: setup.index))
    }

    /// One turn: wait, reap, attend, expire.
    ///
    /// - Returns: false if the ring failed.
    package func turn(waitingAtMost limit: UInt64) -> Bool {
        var lag: UInt64 = 0
        var end = now
        if shedsLoad {
            end = clock()
            lag = end.nanoseconds(since: now)
        }
        block.endTurn(now)
        if let number = ring.wait(atMost: limit) {
            failure = "io_uring_enter failed: errno \(number)"
            return false
        }
        let start = Instant.now()
        if start.nanoseconds(since: end) > Worker.idleWait { lag = 0 }
        startTurn(start, lag: lag)
        return true
    }

    /// What a turn does after the wait; tests call it with a time of their own.
    ///
    /// - Parameter lag: nanoseconds that the turn before has taken, if work had come meanwhile.
    package func startTurn(_ time: Instant, lag: UInt64 = 0) {
        now = time
        block.beginTurn(time)
        block.add(.loopTurns)
        handshakesBegun = 0
        if shedsLoad { noteDelay(lag) }
        var count = 0
        var preferred = 0
        // What waits is not overtaken by what comes after it, though nobody waits any more.
        let putsOff = shedsLoad || !backlog.isEmpty
        while let completion = ring.next() {
            if putsOff, putOff(completion) {
                // It is dealt with behind all else.
            } else if isBulk(completion) {
                bulkReady.append(completion)
            } else {
                if putsOff, isPreferred(completion) { preferred &+= 1 }
                complete(completion)
            }
            count &+= 1
            // A long turn is progress, not a hang.
            if count & 31 == 0 { block.beginTurn(Instant.now()) }
        }
        if bulkFirst < bulkReady.count { moveBulk() }
        attendAll()
        if shedsLoad { notePreferred(preferred, lag: lag) }
        if !backlog.isEmpty || deferredFirst < deferred.count { moveLowPriority() }
        if phase == .serving, isAcceptDue { acceptFromAll() }
        expireDue()
        if lastPause.nanoseconds != 0 { endPauses() }
        if now >= nextHousekeeping { keepHouse() }
        attendAll()
        if admitted.count > 0 { tellAdmitted() }
    }

    /// Until the next deadline or housekeeping.
    private var waitLimit: UInt64 {
        guard attention.isEmpty, queueAttention.isEmpty, http2Dirty.isEmpty,
            deferredFirst == deferred.count || handshakeWait > 0, bulkFirst == bulkReady.count,
            backlog.isEmpty
        else { return 0 }
        var limit = nextHousekeeping.nanoseconds(since: now)
        if deferredFirst < deferred.count { limit = min(limit, handshakeWait) }
        if let next = wheel.nanosecondsUntilNext(now: now) { limit = min(limit, next) }
        if lastPause.nanoseconds != 0, let next = pauses.nanosecondsUntilNext(now: now) {
            limit = min(limit, next)
        }
        if phase == .serving {
            switch acceptPending {
            case .no: break
            case .now: limit = 0
            case .at(let retry): limit = min(limit, retry.nanoseconds(since: now))
            }
        }
        return limit
    }

    private var isAcceptDue: Bool {
        switch acceptPending {
        case .no: false
        case .now: true
        case .at(let retry): now >= retry
        }
    }

    /// Handles what was found on the way. Bounded: a channel that is found again while its round is
    /// on is handled in the next one, and there are few rounds.
    func attendAll() {
        var rounds = 0
        while rounds < 8,
            !attention.isEmpty || !queueAttention.isEmpty || !http2Dirty.isEmpty
        {
            rounds &+= 1
            swap(&attention, &attentionRound)
            for index in attentionRound.indices { attend(Int(attentionRound[index])) }
            attentionRound.removeAll(keepingCapacity: true)
            if !queueAttention.isEmpty { serveQueues() }
            // Last, so that all that the round has brought goes out together.
            if attention.isEmpty, !http2Dirty.isEmpty { flushAllHTTP2() }
        }
        if !http2Retired.isEmpty { freeRetiredHTTP2() }
    }

    /// Puts a channel on the list for the end of the turn.
    func callAttention(to slot: Int) {
        let channel = channels[slot]
        guard !channel.pointee.flags.contains(.queued) else { return }
        channel.pointee.flags.insert(.queued)
        attention.append(Int32(slot))
    }

    func complete(_ completion: Completion) {
        let slot = completion.token.slot
        guard let operation = completion.token.operation else {
            block.add(.staleCompletions)
            return
        }
        switch operation {
        case .incoming:
            completeIncoming(slot, completion)
            return
        case .mail:
            handleMail()
            return
        case .receive, .send, .connect, .cancel: break
        }
        let channel = channels[slot]
        guard
            channel.pointee.generation & CompletionToken.generationMask
                == completion.token.generation
        else {
            if let buffer = completion.buffer { ring.returnBuffer(buffer) }
            block.add(.staleCompletions)
            return
        }
        switch operation {
        case .receive: completeReceive(slot, completion)
        case .send: completeSend(slot, completion)
        case .connect: completeConnect(slot, completion)
        case .cancel:
            channel.pointee.inFlight.remove(.cancel)
            finalizeIfIdle(slot)
        case .incoming, .mail: break
        }
    }

    /// Once a second: looks at the listeners whatever the ring says (a dying process may have eaten
    /// a wake-up), and publishes what is not counted as it happens.
    private func keepHouse() {
        nextHousekeeping = now.advanced(byNanoseconds: Worker.housekeeping)
        if phase == .serving {
            watchLostListeners()
            acceptFromAll()
        }
        keepPressure()
        block.set(.chunkBytes, UInt64(chunks.bytesInUse))
        chunks.trim()
        keepAccessLog()
        tellSummaries()
        keepLimits()
        checkDrained()
        endRetired()
        learnInterfaces()
    }
}

/// Whether connections wait that a worker could not take.
enum AcceptPending: Equatable {
    case no
    /// The turn's share was taken, or something has become free: look again at once.
    case now
    /// Something has run out: look again then.
    case at(Instant)
}

/// Whether a worker takes new connections.
///
///     waiting ─ serve ─▶ serving ─ stopAccepting ─▶ closing ─▶ closed
///                                        closed ─ drain ─▶ draining ─▶ stopped
enum WorkerPhase {
    /// Awaits `.serve`.
    case waiting
    case serving
    /// Awaits the end of the polls on the listeners.
    case closing
    /// Accepts nothing; serves what it has.
    case closed
    /// Leaves when the last connection is gone.
    case draining
    case stopped
}
