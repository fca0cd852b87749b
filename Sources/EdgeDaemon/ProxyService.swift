internal import CEdge
internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeHTTP
internal import EdgePair
internal import EdgeProxy
internal import EdgeRing
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream
internal import Glibc

/// The proxy process as its control thread sees it: takes sockets and configuration from the
/// guardian, runs the workers, resolves names, answers the admin socket, and publishes snapshots.
///
///     awaitingStart ─ start ─▶ starting ─ all workers up ─▶ prepared ─ serve ─▶ serving
///                                                                  └─ stop ─▶ draining ─▶ (exit)
final class ProxyService {
    enum Phase: String {
        case awaitingStart, starting, prepared, serving, draining
    }

    let loop: PollLoop
    var channel: SupervisorChannel?
    private(set) var phase = Phase.awaitingStart
    private(set) var exitCode: Int32?
    private var isExiting = false
    let startedAt = Instant.now()
    let startedTime = Int64(time(nil))
    var phaseSince = Int64(time(nil))

    // What the guardian has given.
    private(set) var hello: ProxyCommand.Hello?
    private var bundle: ConfigurationBundle?
    private(set) var board: SharedBoard?
    private var ticketMemory: TicketMemory?
    private(set) var limitMemory: LimitMemory?
    /// Who is banned, by name, and what limits have done.
    var limitDesk = LimitDesk(memory: nil)
    let limitFiles: LimitFileKeeper
    private(set) var tickets: TicketKeeper?
    private var adminSocket: Int32?
    var sockets = ListenerSockets()

    // What is running.
    private(set) var current: Preparation?
    private(set) var snapshot: RuntimeSnapshot?
    private var prepared: (id: UInt64, preparation: Preparation)?
    let builder = SnapshotBuilder()
    private var memoryReturn = MemoryReturn()
    let pressure = PressureKeeper()
    let audit = CertificateAudit()
    let certificateKeeper: CertificateKeeper
    private(set) var resolver: Resolver?
    private(set) var health: HealthKeeper?
    private let nameWait: NameWait
    private(set) var workers: WorkerGroup?
    /// What each worker counts per site and upstream.
    private(set) var traffic: [TrafficTable] = []
    /// Who waits for these figures as text.
    var trafficReaders: [([UInt8]) -> Void] = []
    private(set) var server: ControlServer?
    private var adminListener: ListenerGroup?
    let probes: ProbeListeners
    private var workersUp = 0
    private var workersServing: Set<Int> = []
    private var workersGone = 0
    private var awaitedEpoch: (epoch: UInt64, id: UInt64)?
    private var workersDrained = 0
    private var drainAt: Instant?
    /// Clients are not hurried: another proxy serves already.
    private var isPatient = false
    /// What was asked of the guardian, by the number it was told.
    var requests: [UInt64: (EdgeSystem.ReloadOutcome, [String]) -> Void] = [:]
    var nextRequest: UInt64 = 1
    /// Plans that are awaited, and the newest one.
    var plansWanted = 0
    var lastPlan: ReloadPlanReply?
    var lastPlanFacts = PairPlan.Facts()
    /// Unix seconds until which the reload in use is to be confirmed.
    var confirmUntil: Int64?
    /// What administrators have ordered of the node, and what happened to it.
    let operation = NodeOperation()
    /// The link to the other node, once this one serves.
    private(set) var pair: PairSide?
    var pairReload: PairReloadRun?
    var pairDesk = PairOrderDesk()
    /// Why the newest reload was refused by this process.
    var lastRefusal: [String] = []

    init(loop: PollLoop) {
        self.loop = loop
        nameWait = NameWait(loop: loop)
        probes = ProbeListeners(loop: loop)
        certificateKeeper = CertificateKeeper(loop: loop)
        limitFiles = LimitFileKeeper(loop: loop)
    }

    /// Ends this process; the last word of the incidents is waited for.
    func exit(_ code: Int32) {
        guard exitCode == nil, !isExiting else { return }
        isExiting = true
        guard let store = operation.closingStore else {
            exitCode = code
            return
        }
        store.whenWritten(within: .seconds(1)) { [weak self] in self?.exitCode = code }
    }

    // MARK: - From the guardian

    func received(_ command: ProxyCommand, _ descriptors: OwnedDescriptors) {
        switch command {
        case .hello(let hello): greet(hello, descriptors.take())
        case .listener(let given):
            sockets.take(given, descriptors.take(), isPrepared: phase != .awaitingStart)
        case .place(let place): sockets.place(place)
        case .leaveGroup(let group): leave(group)
        case .start: start()
        case .serve: serve()
        case .reload(let id): prepareReload(id, descriptors)
        case .reloadCommit(let id): commitReload(id)
        case .reloadAbort(let id): abortReload(id)
        case .reloadResult(let request, let outcome):
            answered(request, outcome, descriptors)
        case .stop(let milliseconds, let isReplaced): stop(milliseconds, isReplaced: isReplaced)
        case .stopNow: stopNow()
        case .reopenLogs: reopenLogs()
        case .news: took(descriptors)
        case .dismissClients(let dismisses):
            dismissClients(dismisses || operation.drainedSince != nil)
        }
    }

    private func greet(_ hello: ProxyCommand.Hello, _ descriptors: [Int32]) {
        self.hello = hello
        do {
            bundle = try ConfigurationBundle(descriptor: descriptors[0])
            let board = try SharedBoard(
                descriptor: descriptors[1], workers: hello.workers, bank: hello.bank,
                create: false)
            board.resetForNewProcess(bank: hello.bank)
            self.board = board
            ticketMemory = try TicketMemory(descriptor: descriptors[2])
            Log.addTap { board.appendLog($0) }
        } catch let error as ConfigError {
            for line in error.diagnostics { Log.error("\(line)") }
            exit(78)
        } catch {
            Log.error("shared memory: \(error)")
            exit(71)
        }
        let hasLimits = hello.flags.contains(.limitMemory)
        limitMemory = Self.limitMemory(hasLimits ? descriptors.last : nil)
        for descriptor in descriptors.prefix(3) { Glibc.close(descriptor) }
        if hasLimits, let last = descriptors.last { Glibc.close(last) }
        if hello.flags.contains(.adminSocket) { adminSocket = descriptors[3] }
        guard hello.flags.contains(.drained) else { return }
        operation.drainedSince = Int64(time(nil))
        operation.isDismissing = true
    }

    /// Where workers count what clients use. From a guardian that has none, or none of this
    /// version's, it is this process's own: limits hold, but do not outlive it.
    private static func limitMemory(_ given: Int32?) -> LimitMemory? {
        let seed = (randomWord(), randomWord())
        if let given {
            do throws(LimitMemory.Failure) {
                return try LimitMemory(descriptor: given, now: .now(), seed: seed)
            } catch {
                Log.warning("limits begin anew: \(error)")
            }
        }
        do {
            let file = try MemoryFile.make(
                name: "edged-limits", byteCount: Configuration.RateLimits().memoryByteCount)
            return try LimitMemory(descriptor: file.raw, now: .now(), seed: seed)
        } catch {
            Log.error("no request is limited: \(error)")
            return nil
        }
    }

    // MARK: - Starting

    private func start() {
        guard phase == .awaitingStart, let hello, let bundle, let board, let ticketMemory else {
            return
        }
        enter(.starting)
        do {
            try Ring.probe()
        } catch {
            Log.error("\(error)")
            return exit(71)
        }
        let preparation: Preparation
        do {
            preparation = try Preparation.prepare(
                bundle, previous: nil, workers: hello.workers,
                tolerance: hello.flags.isDisjoint(with: [.restarted, .successor])
                    ? .none : .everything)
        } catch {
            for line in error.diagnostics { Log.error(line) }
            return exit(78)
        }
        self.bundle = nil
        current = preparation
        certificateKeeper.begin(preparation)
        beginLimits(preparation)
        do {
            try preparation.accessLog?.start()
            startResolver(preparation)
            tickets = try TicketKeeper(
                memory: ticketMemory, loop: loop, block: board.block(0),
                lifetime: preparation.configuration.tls.ticketLifetime)
            builder.secret = UpstreamSecret.load(preparation.configuration.stateDirectory)
            let snapshot = makeSnapshot(preparation)
            self.snapshot = snapshot
            try startWorkers(hello, board, ticketMemory, snapshot, preparation.configuration)
            try startServer(preparation.configuration)
        } catch {
            Log.error("\(error)")
            exit(71)
        }
        rememberIncidents(preparation, hello.flags)
        ce_give_back_memory()
        beat()
    }

    private func startResolver(_ preparation: Preparation) {
        let configuration = preparation.configuration
        let resolver = Resolver(
            loop: loop, groups: configuration.resolverGroups,
            settings: configuration.resolverSettings, seed: Self.randomWord()
        ) { [weak self] name in
            self?.proposalChanged(name)
        }
        self.resolver = resolver
        resolver.track(names: configuration.upstreamNames, services: configuration.serviceNames)
        let health = HealthKeeper(
            loop: loop, resolver: resolver, seed: Self.randomWord(),
            count: { [weak self] in self?.board?.block(0).add($0) },
            onActive: { [weak self] in self?.nameWait.found($0) },
            onChange: { [weak self] in self?.publish($0) })
        self.health = health
        health.use(preparation)
    }

    private func proposalChanged(_ name: String) {
        let addresses = resolver?.addresses(of: name) ?? []
        let text = addresses.map { "\($0)" }.joined(separator: ", ")
        Log.notice("dns: addresses", ["name": name, "addresses": text.isEmpty ? "none" : text])
        health?.proposalChanged(name)
        pair?.nameChanged(name)
        if !addresses.isEmpty { nameWait.found(name) }
    }

    /// Goes on when the names have addresses, or after the span.
    private func awaitNames(
        _ names: Set<String>, atMost span: Duration, _ body: @escaping () -> Void
    ) {
        nameWait.begin(
            names, atMost: span,
            hasAddress: {
                resolver?.proposal(for: $0).endpoints.isEmpty == false
                    || health?.hasActiveMember($0) == true
            }, body)
    }

    /// Asks DNS for the names of what is in use and of what may be.
    private func trackNames(_ configurations: Configuration?...) {
        let known = configurations.compactMap { $0 }
        resolver?.track(
            names: known.reduce(into: []) { $0.formUnion($1.upstreamNames) },
            services: known.reduce(into: []) { $0.formUnion($1.serviceNames) })
    }

    private func startWorkers(
        _ hello: ProxyCommand.Hello, _ board: SharedBoard, _ tickets: TicketMemory,
        _ snapshot: RuntimeSnapshot, _ configuration: Configuration
    ) throws {
        let poster = loop.poster
        let service = LoopBound(self)
        let group = WorkerGroup(board: board) { event in
            poster.post { service.value.happened(event) }
        }
        workers = group
        let connections = connectionsPerWorker(hello.workers, configuration)
        pressure.look(
            board, workers: hello.workers, memory: configuration.limits.memory,
            tables: configuration.rateLimits.memoryByteCount)
        sockets.number(snapshot.listenerNumbers)
        let loopMark = LoopMark(id: Self.randomWord())
        let tables = (1...hello.workers).map { _ in TrafficTable() }
        traffic = tables.compactMap { $0 }
        let setups = (1...hello.workers).map { index in
            Worker.Setup(
                index: index,
                listeners: listeners(of: index - 1, snapshot).map { ($0.listener, $0.descriptor) },
                connectionsMax: connections,
                chunkBudget: 64 << 20, tickets: tickets, seed: Self.randomWord(),
                loopMark: loopMark, traffic: tables[index - 1], limits: limitMemory,
                pressure: pressure.shared, descriptorReserve: PressureKeeper.sparesPerWorker)
        }
        try group.start(setups, snapshot: snapshot)
    }

    private func listeners(of worker: Int, _ snapshot: RuntimeSnapshot) -> [ListeningSocket] {
        sockets.sockets(
            of: worker, workers: hello?.workers ?? 1, numbers: snapshot.listenerNumbers)
    }

    /// A proxied connection takes two descriptors; some are left for everything else.
    private func connectionsPerWorker(_ workers: Int, _ configuration: Configuration) -> Int {
        let limit = Privileges.raiseDescriptorLimit()
        let possible = max((limit - PressureKeeper.descriptorsKept) / 2 / workers, 64)
        let wanted = configuration.limits.connections.map { ($0 + workers - 1) / workers }
        return min(wanted ?? 32768, possible)
    }

    private func startServer(_ configuration: Configuration) throws {
        let server = ControlServer(loop: loop, target: self)
        if let address = configuration.admin.http {
            let listener = try ListenerGroup(address: address, count: 1)
            // What it cannot answer yet stays with the one before it.
            if hello?.flags.contains(.successor) != true { try listener.listen() }
            adminListener = listener
        }
        self.server = server
    }

    /// The admin socket is the guardian's until this proxy serves.
    func listenForAdmins() {
        do {
            try adminListener?.listen()
            try server?.listen(
                unixSockets: adminSocket.map { [$0] } ?? [],
                tcpSockets: adminListener?.sockets ?? [], probeSockets: probes.sockets)
        } catch {
            Log.error("admin socket: \(error)")
        }
    }

    /// The control thread's own heartbeat.
    private func beat() {
        guard let board else { return }
        let block = board.block(0)
        block.thread = UInt64(ce_gettid())
        block.endTurn(Instant.now())
        returnMemory(board)
        if let hello, let current {
            pressure.look(
                board, workers: hello.workers, memory: current.configuration.limits.memory,
                tables: current.configuration.rateLimits.memoryByteCount)
        }
        observeNode()
        keepBans()
        Log.reportOmitted()
        loop.schedule(after: .milliseconds(500)) { [weak self] in self?.beat() }
    }

    private func returnMemory(_ board: SharedBoard) {
        let open = board.workerBlocks.reduce(UInt64(0)) { sum, block in
            sum &+ block.value(Counter.connectionsOpen)
                &+ block.value(Counter.upstreamConnectionsOpen)
        }
        // An arena is locked while it is walked: a few milliseconds per 10,000 closed connections.
        if memoryReturn.isDue(open: open) { malloc_trim(0) }
    }

    // MARK: - Workers

    private func happened(_ event: WorkerGroup.Event) {
        switch event {
        case .started:
            workersUp += 1
            guard workersUp == hello?.workers, phase == .starting else { return }
            let names = (current?.configuration.allNames ?? [])
                .union(health?.activeMembersAwaited ?? [])
            awaitNames(names, atMost: .milliseconds(400)) { [weak self] in self?.becomePrepared() }
        case .notStarted(let index, let failure):
            Log.error("worker \(index): \(failure.text)")
            exit(failure.code)
        case .worker(let event): happened(event)
        }
    }

    private func happened(_ event: WorkerEvent) {
        switch event {
        case .applied(let worker, let epoch): applied(worker, epoch)
        case .left(_, let descriptor): left(descriptor)
        case .counted(let worker, let counts): counted(worker, counts)
        case .admitted: pair?.limits?.admitted()
        case .drained:
            workersDrained += 1
            if workersDrained == hello?.workers { allDrained() }
        case .stopped:
            workersGone += 1
            if workersGone == hello?.workers { finish() }
        case .failed(let worker, let reason):
            Log.error("worker \(worker): \(reason)")
            exit(71)
        case .connectFailed(let upstream): health?.askAgain(upstream)
        case .observed(let upstream, let address, let observation):
            health?.observed(upstream, address, observation)
        case .summarised(let upstream, let summaries): health?.summarised(upstream, summaries)
        case .limited(let news): limitDesk.took(news, at: .now())
        }
    }

    private func becomePrepared() {
        guard phase == .starting else { return }
        enter(.prepared)
        channel?.send(.prepared)
    }

    private func serve() {
        guard phase == .prepared else { return }
        enter(.serving)
        workers?.post(.serve)
        if operation.isDismissing { workers?.post(.dismissClients(true)) }
        channel?.send(.serving)
        listenForAdmins()
        useProbes()
        auditCertificates()
        certificateKeeper.watch { [weak self] in self?.use($0) }
        watchLimitFiles()
        beginPair()
        Log.notice("serving with \(hello?.workers ?? 0) workers")
    }

    // MARK: - Snapshots

    private func makeSnapshot(_ preparation: Preparation) -> RuntimeSnapshot {
        builder.build(
            preparation, workers: hello?.workers ?? 1,
            hasConnections: { [self] in isInUse(listener: $0) }
        ) { [weak self] upstream in
            self?.health?.members(of: upstream.name) ?? []
        }
    }

    /// Gives the workers what is known now.
    private func publish() {
        guard let current, workers != nil else { return }
        let snapshot = makeSnapshot(current)
        self.snapshot = snapshot
        workers?.post(.apply(snapshot))
        observeAllMembers()
        pair?.stateChanged()
    }

    /// Gives the workers new verdicts about some upstreams' members.
    private func publish(_ upstreams: Set<String>) {
        guard let known = snapshot, let health, workers != nil else { return }
        let members = Dictionary(
            uniqueKeysWithValues: upstreams.map { ($0, health.members(of: $0)) })
        let snapshot = builder.update(known, members: members)
        self.snapshot = snapshot
        workers?.post(.apply(snapshot))
        observeMembers(of: upstreams)
        pair?.membersChanged()
    }

    /// Gives the workers other files of the same configuration.
    private func use(_ files: RotatingFiles) {
        guard let known = current else { return }
        let preparation = known.with(files)
        current = preparation
        guard !files.servesSame(as: known.files) else { return }
        health?.use(preparation)
        publish()
        auditCertificates()
    }

    /// Gives the workers other blocks of addresses; debts and bans stand.
    func use(_ files: LimitFiles) {
        guard let known = current else { return }
        current = known.with(files)
        publish()
    }

    // MARK: - Reload

    /// Phase one: everything is read and checked, nothing changes.
    private func prepareReload(_ id: UInt64, _ descriptors: OwnedDescriptors) {
        do {
            guard let descriptor = descriptors.borrowed.first else { return }
            let bundle = try ConfigurationBundle(descriptor: descriptor)
            let preparation = try Preparation.prepare(
                bundle, previous: current, workers: hello?.workers, tolerance: .ofDrops)
            let count = preparation.configuration.listeners.count
            guard
                builder.listenerNumbers.hasRoom(
                    for: count, hasConnections: { isInUse(listener: $0) })
            else {
                refuseReload(
                    id, ["listeners: too many former ones still have connections; try again later"])
                return
            }
            sockets.forgetPrepared()
            prepared = (id, preparation)
            notePlan(preparation)
            certificateKeeper.hold()
            limitFiles.hold()
            // Servers under new names are known before the old ones are let go of.
            trackNames(current?.configuration, preparation.configuration)
            awaitNames(preparation.configuration.allNames, atMost: .milliseconds(600)) {
                [weak self] in self?.channel?.send(.reloadPrepared(id: id))
            }
        } catch let error as Preparation.Refusal {
            refuseReload(id, error.diagnostics)
        } catch {
            refuseReload(id, ["\(error)"])
        }
    }

    private func refuseReload(_ id: UInt64, _ diagnostics: [String]) {
        lastRefusal = diagnostics
        note(.reloadRefused, diagnostics.first ?? "")
        for line in diagnostics { Log.error("reload refused: \(line)") }
        channel?.send(.reloadRefused(id: id, reason: 1))
    }

    private func abortReload(_ id: UInt64) {
        guard prepared?.id == id else { return }
        prepared = nil
        sockets.forgetPrepared()
        certificateKeeper.release()
        limitFiles.release()
        nameWait.cancel()
        trackNames(current?.configuration)
    }

    /// Phase two: workers get it; committed when all have it.
    private func commitReload(_ id: UInt64) {
        guard let prepared, prepared.id == id else { return }
        self.prepared = nil
        sockets.usePrepared()
        startAccessLog(prepared.preparation)
        current = prepared.preparation
        confirmUntil = nil
        pairDesk.configurationChanged()
        for warning in prepared.preparation.warnings { Log.warning(warning) }
        let configuration = prepared.preparation.configuration
        resolver?.configure(
            groups: configuration.resolverGroups, settings: configuration.resolverSettings)
        trackNames(configuration)
        health?.use(prepared.preparation)
        tickets?.use(lifetime: prepared.preparation.configuration.tls.ticketLifetime)
        publish()
        beginPair()
        listenAsPlaced()
        useProbes()
        ce_give_back_memory()
        if let snapshot { awaitedEpoch = (snapshot.epoch, id) }
        auditCertificates()
        certificateKeeper.follow(prepared.preparation)
        followLimits(prepared.preparation)
    }

    private func applied(_ worker: Int, _ epoch: UInt64) {
        guard let awaited = awaitedEpoch, let board, let hello else { return }
        let all = (1...hello.workers).allSatisfy { board.block($0).epoch >= awaited.epoch }
        guard all else { return }
        awaitedEpoch = nil
        Log.notice("configuration \(awaited.epoch) is in use")
        channel?.send(.reloadCommitted(id: awaited.id))
    }

    // MARK: - Leaving

    private func stop(_ milliseconds: Int, isReplaced: Bool = false) {
        guard phase != .draining else { return }
        let wasStarted = workersUp == hello?.workers && phase != .awaitingStart
        enter(.draining)
        closeProbes()
        closePair()
        if !isReplaced { closeIncidents() }
        guard wasStarted else { return exit(0) }
        drainAt = Instant.now().advanced(by: .milliseconds(milliseconds))
        isPatient = isReplaced
        if isReplaced { yieldToSuccessor() }
        workers?.post(.stopAccepting)
    }

    /// As the configuration in use has it.
    private func beginPair() {
        guard phase == .serving, let configuration = current?.configuration else { return }
        if pair == nil, configuration.pair != nil { pair = PairSide(self) }
        pair?.use(configuration.pair)
        guard configuration.pair == nil else { return }
        pair = nil
        // A predecessor may have followed another node.
        tickets?.follow(0)
    }

    /// The other node is told that it is not it that failed.
    private func closePair() {
        pair?.close()
        pair = nil
    }

    /// What only one process may keep is another's from now on.
    func stopKeepers() {
        tickets = nil
        resolver?.stopKeeping()
        certificateKeeper.stopKeeping()
        operation.incidentStore = nil
        operation.banStore = nil
        limitFiles.stopKeeping()
    }

    func closeServer() {
        server?.close()
        server = nil
        adminListener = nil
        // Who connects to it now is for whoever has it.
        if let adminSocket { Glibc.close(adminSocket) }
        adminSocket = nil
    }

    /// - Returns: false if there are none.
    func stopWorkers() -> Bool {
        guard workersUp > workersGone else { return false }
        workers?.post(.stop)
        return true
    }

    private func allDrained() {
        channel?.send(.drained)
        workers?.post(.drain(until: drainAt ?? Instant.now(), isPatient: isPatient))
    }

    /// The guardian is gone: nobody restarts us, so what is open is served and then we leave. The
    /// listeners are closed at once, so that a new guardian's get all clients.
    func guardianLost() {
        guard exitCode == nil, !isExiting else { return }
        Log.error("the guardian is gone; finishing what is open")
        // A new guardian takes over where nobody answers any more.
        closeServer()
        let seconds = current?.configuration.process.drainDeadline ?? .seconds(5)
        stop(Int(seconds.nanoseconds / 1_000_000))
    }

    private func enter(_ phase: Phase) {
        self.phase = phase
        phaseSince = Int64(time(nil))
    }

    // MARK: - Chance

    private static func randomWord() -> UInt64 { UInt64.random(in: 0...UInt64.max) }
}

/// Carries a value of the loop's thread through another thread.
struct LoopBound<Value>: @unchecked Sendable {
    // Sendable: read only in bodies that the loop runs on its own thread.
    let value: Value

    init(_ value: Value) { self.value = value }
}

extension Configuration {
    var resolverGroups: [ResolverGroup] {
        resolvers.map { ResolverGroup(name: $0.name, servers: $0.servers, domains: $0.domains) }
    }

    /// Addresses that clients reach us at: nobody's server is there.
    private var ownAddresses: [SocketAddress] {
        listeners.flatMap(\.addresses).filter { !$0.isUnspecified && !$0.isLoopback }
            + (failover?.addresses ?? [])
    }

    var resolverSettings: ResolverSettings {
        ResolverSettings(
            refresh: dns.refresh, stale: dns.stale, usesHosts: dns.usesHosts,
            stateDirectory: stateDirectory, ownAddresses: ownAddresses)
    }
}
