internal import EdgeConfig
internal import EdgeCore
package import EdgeSystem
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
    var proxy: ProxyProcess?
    var channel: ProxyChannel?
    /// The proxy's part of the board.
    var bank = 0
    let service: ServiceNotify?
    let store: ListenerStore
    private let tap: Int
    /// Unix seconds.
    let startedTime = Int64(time(nil))

    private var responder: StatusResponder?
    private var signals: SignalSource?
    private var timer: TimerID?
    private var hangTimer: TimerID?

    /// How often this proxy broke the protocol.
    private var offences = 0

    /// A proxy that breaks the protocol so often is replaced.
    private static let offencesMax = 16
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

    func start() throws(SystemError) {
        if options.takesSignals {
            signals = try SignalSource(loop: loop) { [weak self] in self?.deliver($0) }
        }
        if let admin = property.admin {
            responder = StatusResponder(loop: loop, listener: admin) { [unowned self] in status }
            responder?.activate()
        }
        if let interval = service?.watchdogInterval { keepAlive(every: interval) }
        takeOver()
        perform(
            supervisor.start(
                now: loop.now, isListening: property.groups.contains { $0.adoptedCount > 0 }))
    }

    /// Acts on a signal as if it had come from the kernel.
    package func deliver(_ signal: DaemonSignal) {
        let now = loop.now
        switch signal {
        case .hangUp: perform(supervisor.hangUp(now: now))
        case .terminate: perform(supervisor.terminate(now: now))
        case .interrupt: perform(supervisor.interrupt(now: now))
        case .user1: channel?.send(.reopenLogs)
        case .user2: Log.warning("upgrade is not available: restart the service")
        case .child: proxy?.wait()
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
            exitCode = code
        case .refuse(let what): offended(what)
        }
    }

    private func announce(_ notice: SupervisorMachine.Notice) {
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

    // MARK: - Proxy

    private func spawn() {
        offences = 0
        detector.reset()
        property.board.resetForNewProcess(bank: bank)
        do throws(SystemError) {
            let (ours, theirs) = try Descriptor.socketPair()
            let mine = FileDescriptor(owning: ours)
            let its = FileDescriptor(owning: theirs)
            var arguments = options.arguments
            if let runAs = current.configuration.runAs, Privileges.canChangeUser {
                arguments += ["--user", runAs.user]
                if let group = runAs.group { arguments += ["--group", group] }
            }
            let process = try ProxyProcess(
                executable: options.executable, arguments: arguments, channel: its.raw, loop: loop
            ) { [weak self] in self?.proxyChanged($0) }
            proxy = process
            let id = process.processID
            channel = try ProxyChannel(
                loop: loop, socket: mine,
                handlers: .init(
                    received: { [weak self] report, _ in self?.received(report) },
                    violated: { [weak self] in self?.offended("no message: \($0)") },
                    closed: { [weak self] in self?.channelClosed(of: id) }))
            Log.info("proxy \(id) started")
            introduce()
        } catch {
            Log.error("\(error)")
            // Not from within the actions that led here.
            loop.schedule(at: loop.now) { [weak self] in
                guard let self, self.proxy == nil else { return }
                self.perform(self.supervisor.proxyDied(.notSpawned(error.code), now: loop.now))
            }
        }
    }

    /// Hands over what the proxy needs to prepare.
    private func introduce() {
        guard let channel else { return }
        var flags: ProxyCommand.Flags = supervisor.restarts > 0 ? .restarted : []
        var descriptors = [
            current.descriptor, property.boardFile.raw, property.ticketFile.raw,
        ]
        if let admin = property.admin {
            flags.insert(.adminSocket)
            descriptors.append(admin.socket)
        }
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
            channel = nil
            proxy = nil
            stopSampling()
            dropLeaving()
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
        return reload.requested(id, mode, now: loop.now)
    }

    /// The proxy broke the protocol: what it said is void; too often, and it is replaced.
    func offended(_ what: String) {
        offences += 1
        guard offences <= Self.offencesMax else { return }
        Log.error("the proxy broke the protocol: \(what)")
        if offences == Self.offencesMax { replaceProxy("it breaks the protocol") }
    }

    private func channelClosed(of processID: Int32) {
        loop.schedule(after: Self.orphanGrace) { [weak self] in
            guard let self, self.proxy?.processID == processID else { return }
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
        let deadline = min(supervisor.deadline, reload.deadline)
        guard deadline != .never, exitCode == nil else { return }
        timer = loop.schedule(at: deadline) { [weak self] in
            guard let self else { return }
            self.timer = nil
            self.perform(self.reload.tick(now: self.loop.now))
            self.perform(self.supervisor.tick(now: self.loop.now))
        }
    }

    private func startSampling() {
        stopSampling()
        hangTimer = loop.schedule(after: detector.interval) { [weak self] in
            guard let self else { return }
            self.hangTimer = nil
            if self.sampleHeartbeats() { self.startSampling() }
        }
    }

    private func stopSampling() {
        if let hangTimer { loop.cancel(hangTimer) }
        hangTimer = nil
    }
}
