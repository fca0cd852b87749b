internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
package import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// The running guardian: carries out what its machines decide, on one loop, without ever waiting.
package final class GuardianService {
    package let loop: PollLoop
    package let property: GuardianProperty
    /// Set once everything is over.
    package private(set) var exitCode: Int32?

    package var state: SupervisorMachine.State { supervisor.state }
    /// Nil while no proxy runs.
    package var proxyProcessID: Int32? { proxy?.processID }
    /// Proxies that were replaced and finish what they have.
    package var leavingCount: Int { leaving.count }

    let options: GuardianOptions
    let source: any ConfigurationSource
    /// What the next proxy gets.
    var current: LoadedConfiguration
    /// What the proxy is preparing or committing.
    var offered: Offer?
    /// What was in use before a reload that waits for its confirmation.
    var previous: LoadedConfiguration?
    var burst = BurstDetector()
    var supervisor: SupervisorMachine
    var reload = ReloadMachine()
    var detector: HangDetector
    /// The proxy, from its start to its end.
    var link: ProxyLink?
    var proxy: ProxyProcess? { link?.process }
    var channel: ProxyChannel? { link?.channel }
    /// The proxy's part of the board.
    var bank: Int { link?.bank ?? 0 }
    var upgrade = UpgradeMachine()
    /// The proxy of another program, until it serves.
    var next: ProxyLink?
    /// What asks the other program.
    var helper: ProxyProcess?
    /// Proxies that were replaced and finish what they have.
    var leaving: [ProxyLink] = []
    /// A reload was asked for in the middle of an upgrade.
    var isReloadDue = false
    /// With what we end when the last of them has.
    private var pendingExit: Int32?
    let service: ServiceNotify?
    let store: ListenerStore
    private let tap: Int
    /// Unix seconds.
    private(set) var startedTime = Int64(time(nil))

    /// Addresses that move between nodes.
    private(set) lazy var failover = makeFailover()
    /// What the proxy says that it lacks.
    var troubles: Fitness.Troubles = []
    /// What of it has been passed on.
    var toldTroubles: Fitness.Troubles = []
    var areTroublesDue = false
    /// Of the nodes that addresses move between, as in use.
    var failoverSecret: [UInt8]?
    /// Since when this process waits to become another program.
    var waitsSince: Instant?
    private var isAwaitingHooks = false
    /// A stop has begun with the addresses.
    var isLeavingAddresses = false
    private var hasEndedFailover = false
    /// What the proxy has not been told yet.
    var untold: [Incident] = []
    var isNewsDue = false
    /// Since when no proxy serves (Unix seconds), and why.
    var outage: (begun: Int64, why: String, totals: BurstDetector.Totals)?

    private var responder: StatusResponder?
    private var signals: SignalSource?
    private var timer: TimerID?
    private var hangTimer: TimerID?

    /// A proxy that breaks the protocol so often is replaced.
    private static let offencesMax = 16
    /// The operator's program has so long to hear of the end.
    private static let hooksEnd = Duration.seconds(2)
    /// In this time the addresses are off, whoever has them then.
    private static let failoverEnd = Duration.seconds(3)
    /// A proxy that closed its channel and lives on longer is replaced.
    private static let orphanGrace = Duration.seconds(1)

    init(
        options: GuardianOptions, source: any ConfigurationSource, loaded: LoadedConfiguration,
        loop: PollLoop, property: GuardianProperty, manager: ServiceNotify?
    ) {
        self.options = options
        self.source = source
        self.loop = loop
        self.property = property
        service = manager
        store = ListenerStore(service: manager, loop: loop)
        store.adopted(property.groups)
        current = loaded
        let process = loaded.configuration.process
        supervisor = SupervisorMachine(.init(process))
        detector = HangDetector(
            threads: property.workers + 1, hangTimeout: process.hangTimeout)
        let board = property.board
        tap = Log.addTap { board.appendLog($0) }
    }

    deinit { Log.removeTap(tap) }

    /// - Parameters:
    ///   - succession: what this process had as another program; nil: this is a start.
    ///   - secret: of the nodes that addresses move between.
    func start(_ succession: Succession? = nil, secret: [UInt8]? = nil) throws(SystemError) {
        if options.takesSignals {
            signals = try SignalSource(loop: loop) { [weak self] in self?.deliver($0) }
        }
        if let admin = property.admin {
            responder = StatusResponder(loop: loop, listener: admin) { [unowned self] in status }
            responder?.activate()
        }
        if let interval = service?.watchdogInterval { keepAlive(every: interval) }
        takeOver()
        if let succession {
            troubles = Fitness.Troubles(rawValue: succession.troubles)
            toldTroubles = troubles
            failover.resume(succession)
        }
        if current.configuration.failover != nil {
            do throws(SystemError) {
                try useFailover(secret, resuming: succession?.failover)
            } catch {
                // There is no way back to the program before.
                guard succession != nil else { throw error }
                Log.error("failover: \(error); it is tried again")
            }
        }
        refreshNews()
        if let succession { return resume(succession) }
        perform(
            supervisor.start(
                now: loop.now, isListening: property.groups.contains { $0.adoptedCount > 0 }))
    }

    /// Goes on where another program left off.
    private func resume(_ succession: Succession) {
        startedTime = succession.started
        supervisor.resume(restarts: succession.restarts, now: loop.now)
        do throws(SystemError) {
            if let proxy = succession.proxy { link = try resume(proxy) }
        } catch {
            Log.error("the proxy is gone: \(error)")
        }
        for proxy in succession.leaving {
            do throws(SystemError) {
                let link = try resume(proxy)
                leaving.append(link)
                end(link, after: .milliseconds(max(proxy.millisecondsLeft ?? 0, 1)))
            } catch {
                Log.info("a proxy that was replaced has ended: \(error)")
            }
        }
        Log.notice("the guardian is another program now, proxy \(proxy?.processID ?? 0)")
        if link == nil {
            perform(supervisor.proxyDied(.signal(0), now: loop.now))
        } else {
            perform([SupervisorMachine.Action.notify(.ready)])
            store.keep(property.groups)
            startSampling()
            noteFitness()
            // They may have changed meanwhile.
            for link in [link].compactMap({ $0 }) + leaving { link.process?.wait() }
        }
        if succession.isReloadDue { deliver(.hangUp) }
    }

    /// Acts on a signal as if it had come from the kernel.
    package func deliver(_ signal: DaemonSignal) {
        let now = loop.now
        switch signal {
        case .hangUp:
            if upgrade.isActive { isReloadDue = true } else { perform(supervisor.hangUp(now: now)) }
        case .terminate:
            perform(upgrade.stop())
            if leaveAddresses() { break }
            if isLeavingAddresses, case .serving = supervisor.state {
                // A second one: what is left of the way is cut short.
                failover.hurry()
                endLeaving()
                perform(supervisor.interrupt(now: now))
                break
            }
            switch supervisor.state {
            // A second one.
            case .stopping, .stopped: endLeaving()
            case .idle, .starting, .awaitingServing, .serving, .suspended, .aborting, .killed,
                .backingOff:
                break
            }
            perform(supervisor.terminate(now: now))
        case .interrupt:
            perform(upgrade.stop())
            isLeavingAddresses = true
            failover.hurry()
            endLeaving()
            perform(supervisor.interrupt(now: now))
        case .user1:
            channel?.send(.reopenLogs)
            for link in leaving { link.channel?.send(.reopenLogs) }
        case .user2: upgradeRequested(nil)
        case .child:
            for link in [link, next].compactMap({ $0 }) + leaving { link.process?.wait() }
            helper?.wait()
            failover.hooks.wait()
        }
    }

    /// The systemd watchdog guards this loop only: a hung proxy is our business.
    private func keepAlive(every interval: Duration) {
        service?.watchdog()
        loop.schedule(after: interval) { [weak self] in self?.keepAlive(every: interval) }
    }

    // MARK: - Supervisor

    func perform(_ actions: [SupervisorMachine.Action]) {
        for action in actions { perform(action) }
        if case .serving = supervisor.state {
            responder?.deactivate()
        } else if exitCode == nil, supervisor.notServingSince != nil {
            responder?.activate()
        }
        noteFitness()
        reschedule()
    }

    private func perform(_ action: SupervisorMachine.Action) {
        switch action {
        case .spawn: spawn()
        case .kill(.kill): proxy?.kill(SIGKILL)
        case .kill(.resume): proxy?.kill(SIGCONT)
        case .sendServe: channel?.send(.serve)
        case .sendStop(let deadline):
            let milliseconds = min(
                deadline.nanoseconds / 1_000_000, UInt64(ProxyCommand.deadlineMax))
            channel?.send(.stop(deadlineMilliseconds: Int(milliseconds)))
        case .sendStopNow: channel?.send(.stopNow)
        case .listen: if !listen() { exitCode = 71 }
        case .stopListening:
            Log.notice("listening stops")
            stopListening()
        case .leaveListeners: leaveListeners()
        case .beginReload: perform(reload.requested(nil, now: loop.now))
        case .reloadForNextStart: reloadForNextStart()
        case .notify(let notice): announce(notice)
        case .exit(let code):
            Log.notice("exit code \(code)")
            pendingExit = code
            exitIfDone()
        case .refuse(let what): offended(what)
        }
    }

    private func announce(_ notice: SupervisorMachine.Notice) {
        noteServing(notice)
        switch notice {
        case .ready:
            Log.notice("serving, proxy \(proxy?.processID ?? 0)")
            service?.ready(status: "serving, \(supervisor.restarts) restarts")
        case .notServing(let why):
            Log.error("not serving: \(why)")
            service?.status("not serving: \(why)")
        case .stopping:
            Log.notice("stopping")
            service?.stopping(status: "stopping")
        }
    }

    /// Those that were replaced are left the time that they were given, unless we are told to be
    /// quick.
    func exitIfDone() {
        guard let pendingExit, leaving.isEmpty || pendingExit != 0 else { return }
        guard failover.isActive, !hasEndedFailover else {
            guard !isAwaitingHooks else { return }
            isAwaitingHooks = true
            return awaitHooks(pendingExit, until: loop.now.advanced(by: Self.hooksEnd))
        }
        failover.end(within: Self.failoverEnd) { [weak self] in
            self?.hasEndedFailover = true
            self?.exitIfDone()
        }
    }

    /// The last change is the one that the operator's program is to hear of.
    private func awaitHooks(_ code: Int32, until deadline: Instant) {
        guard !failover.hooks.isIdle, loop.now < deadline else {
            exitCode = code
            return
        }
        loop.schedule(after: .milliseconds(10)) { [weak self] in
            self?.awaitHooks(code, until: deadline)
        }
    }

    private func endLeaving() {
        for link in leaving { link.process?.kill(SIGKILL) }
    }

    // MARK: - Proxy

    private func spawn() {
        detector.reset()
        do throws(SystemError) {
            link = try start(
                executable: options.executable,
                flags: supervisor.restarts > 0 ? .restarted : [])
        } catch {
            Log.error("\(error)")
            // Not from within the actions that led here.
            loop.schedule(at: loop.now) { [weak self] in
                guard let self, self.proxy == nil else { return }
                self.perform(self.supervisor.proxyDied(.notSpawned(error.code), now: loop.now))
            }
        }
    }

    /// Starts a proxy and hands it over what it needs to prepare.
    func start(
        executable: String, flags: ProxyCommand.Flags
    ) throws(SystemError) -> ProxyLink {
        let used = ([link, next].compactMap { $0 } + leaving).map(\.bank)
        let link = ProxyLink(bank: (0..<SharedBoard.banks).first { !used.contains($0) } ?? 0)
        property.board.resetForNewProcess(bank: link.bank)
        let (ours, theirs) = try Descriptor.socketPair()
        let mine = FileDescriptor(owning: ours)
        let its = FileDescriptor(owning: theirs)
        var arguments = options.arguments
        if let runAs = current.configuration.runAs, Privileges.canChangeUser {
            arguments += ["--user", runAs.user]
            if let group = runAs.group { arguments += ["--group", group] }
        }
        link.process = try ProxyProcess(
            executable: executable, arguments: arguments, channel: its.raw, loop: loop
        ) { [weak self, weak link] change in
            if let link { self?.changed(link, change) }
        }
        let channel = try makeChannel(mine, of: link)
        link.channel = channel
        Log.info("proxy \(link.process?.processID ?? 0) started")
        introduce(channel, flags, bank: link.bank)
        return link
    }

    private func makeChannel(
        _ socket: consuming FileDescriptor, of link: ProxyLink
    ) throws(SystemError) -> ProxyChannel {
        try ProxyChannel(
            loop: loop, socket: socket,
            handlers: .init(
                received: { [weak self, weak link] report, _ in
                    if let link { self?.received(report, from: link) }
                },
                violated: { [weak self, weak link] in
                    if let link, self?.link === link { self?.offended("no message: \($0)") }
                },
                closed: { [weak self, weak link] in
                    if let link { self?.channelClosed(of: link) }
                }))
    }

    /// Goes on with a proxy that this process has had as another program.
    ///
    /// - Throws: it is gone.
    func resume(_ proxy: Succession.Proxy) throws(SystemError) -> ProxyLink {
        let link = ProxyLink(bank: proxy.bank)
        if let channel = proxy.channel {
            link.channel = try makeChannel(FileDescriptor(owning: channel), of: link)
        }
        link.process = try ProxyProcess(resuming: proxy.processID, loop: loop) {
            [weak self, weak link] change in
            if let link { self?.changed(link, change) }
        }
        return link
    }

    private func changed(_ link: ProxyLink, _ change: ProxyProcess.Change) {
        if link === self.link {
            proxyChanged(change)
        } else if link === next {
            guard case .died(let exit) = change else { return }
            perform(upgrade.nextEnded("ended with \(exit)"))
        } else {
            leavingChanged(link, change)
        }
    }

    private func received(_ report: ProxyReport, from link: ProxyLink) {
        if link === self.link {
            received(report)
        } else if link === next {
            nextReported(report)
        } else {
            switch report {
            case .groupLeft(let number): groupLeft(number)
            case .reloadPlease(let id, _), .confirmPlease(let id), .upgradePlease(let id):
                link.channel?.send(.reloadResult(requestID: id, outcome: .failed))
            case .nodePlease(let id, _), .yieldPlease(let id, _):
                link.channel?.send(.reloadResult(requestID: id, outcome: .failed))
            case .prepared, .serving, .reloadPrepared, .reloadRefused, .reloadCommitted, .drained,
                .finished, .fitness:
                break
            }
        }
    }

    private func introduce(
        _ channel: ProxyChannel, _ given: ProxyCommand.Flags, bank: Int
    ) {
        var flags = given
        if failover.isDrained { flags.insert(.drained) }
        var descriptors = [
            current.descriptor, property.boardFile.raw, property.ticketFile.raw,
        ]
        if let admin = property.admin {
            flags.insert(.adminSocket)
            descriptors.append(admin.socket)
        }
        flags.insert(.limitMemory)
        descriptors.append(property.limitFile.raw)
        channel.send(
            .hello(
                .init(
                    workers: property.workers,
                    socketsPerListener: property.groups.map(\.sockets.count).max()
                        ?? property.workers,
                    listenerAddresses: property.groups.count, flags: flags, bank: bank)),
            descriptors: descriptors)
        for (listener, places) in property.places.current.enumerated() {
            for (address, place) in places.enumerated() {
                send(place, listener: listener, address: address, to: channel)
            }
        }
        channel.send(.start)
    }

    private func proxyChanged(_ change: ProxyProcess.Change) {
        let now = loop.now
        switch change {
        case .died(let exit):
            Log.notice("proxy \(proxy?.processID ?? 0) ended: \(exit)")
            // What it said last may still lie in the socket, but a dead proxy's word is void.
            channel?.close()
            link = nil
            stopSampling()
            dropLeaving()
            perform(upgrade.proxyLost())
            perform(reload.proxyDied())
            perform(supervisor.proxyDied(exit, now: now))
        case .stopped: perform(supervisor.proxyStopped(now: now))
        case .continued:
            detector.reset()
            perform(supervisor.proxyContinued(now: now))
        }
    }

    private func received(_ report: ProxyReport) {
        let now = loop.now
        switch report {
        case .prepared: perform(supervisor.proxyPrepared(now: now))
        case .serving:
            perform(supervisor.proxyServing(now: now))
            startSampling()
        case .drained: perform(supervisor.proxyDrained(now: now))
        case .finished: Log.info("the proxy has finished")
        case .reloadPlease(let id, let mode): perform(requestFromProxy(id, mode))
        case .confirmPlease(let id): perform(reload.confirmed(id))
        case .upgradePlease(let id): upgradeRequested(id)
        case .groupLeft(let number): groupLeft(number)
        case .fitness(let troubles): proxyTold(troubles)
        case .nodePlease(let id, let drains): nodeRequested(id, drains: drains)
        case .yieldPlease(let id, let isForced): yieldRequested(id, isForced: isForced)
        case .reloadPrepared(let id): perform(reload.prepared(id: id, now: now))
        case .reloadRefused(let id, let reason):
            perform(reload.refused(id: id, reason: reason))
        case .reloadCommitted(let id): perform(reload.committed(id: id, now: now))
        }
    }

    private func requestFromProxy(_ id: UInt64, _ mode: ReloadMode) -> [ReloadMachine.Action] {
        guard case .serving = supervisor.state else {
            channel?.send(.reloadResult(requestID: id, outcome: .failed))
            return []
        }
        if upgrade.isActive {
            return [.finished(.failed, requests: [id], reason: "an upgrade is under way")]
        }
        return reload.requested(id, mode, now: loop.now)
    }

    /// The proxy broke the protocol: what it said is void; too often, and it is replaced.
    func offended(_ what: String) {
        guard let link else { return Log.error("without a proxy: \(what)") }
        link.offences += 1
        guard link.offences <= Self.offencesMax else { return }
        Log.error("the proxy broke the protocol: \(what)")
        if link.offences == Self.offencesMax { replaceProxy("it breaks the protocol") }
    }

    private func channelClosed(of link: ProxyLink) {
        loop.schedule(after: Self.orphanGrace) { [weak self, weak link] in
            guard let self, let link, self.link === link else { return }
            self.replaceProxy("it closed its channel")
        }
    }

    func replaceProxy(_ why: String) {
        Log.error("proxy \(proxy?.processID ?? 0) is replaced: \(why)")
        perform(supervisor.proxyHung(now: loop.now))
    }

    // MARK: - Time

    func reschedule() {
        if let timer { loop.cancel(timer) }
        timer = nil
        let deadline = min(supervisor.deadline, reload.deadline, upgrade.deadline)
        guard deadline != .never, exitCode == nil else { return }
        timer = loop.schedule(at: deadline) { [weak self] in
            guard let self else { return }
            self.timer = nil
            self.perform(self.reload.tick(now: self.loop.now))
            self.perform(self.upgrade.tick(now: self.loop.now))
            self.perform(self.supervisor.tick(now: self.loop.now))
        }
    }

    func startSampling() {
        stopSampling()
        hangTimer = loop.schedule(after: detector.interval) { [weak self] in
            guard let self else { return }
            self.hangTimer = nil
            if self.sampleHeartbeats() { self.startSampling() }
        }
    }

    func stopSampling() {
        if let hangTimer { loop.cancel(hangTimer) }
        hangTimer = nil
    }
}
