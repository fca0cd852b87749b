package import EdgeCore

/// Decides when a proxy is started, told to serve, stopped or killed, and when the sockets listen.
/// Pure: events and a time in, actions out. There is never more than one proxy.
///
///     idle → starting → awaitingServing → serving ⇄ suspended
///               ↑              │ died          any ─ hung, late → aborting → killed ─┐
///               └ backingOff ←───────────────────────────── died ────────────────────┘
///     any but idle ─ TERM, INT → stopping → stopped(code)
package struct SupervisorMachine {
    package enum State: Equatable, Sendable {
        case idle
        /// A proxy runs and prepares.
        case starting(since: Instant)
        /// It is prepared, the sockets listen and it has been told to serve.
        case awaitingServing(since: Instant)
        case serving(since: Instant)
        /// The proxy was stopped by a signal and told to continue; killed at `until` if it did
        /// not. `served`: what `serving` goes on with.
        case suspended(until: Instant, served: Instant)
        /// It prints its stack; SIGKILL at `killAt`.
        case aborting(killAt: Instant)
        /// SIGKILL is sent, its death is awaited.
        case killed
        /// No proxy runs; the next is started at `until`.
        case backingOff(until: Instant)
        /// The proxy finishes what it has; SIGKILL at `killAt` (`.never`: it was sent).
        case stopping(killAt: Instant)
        case stopped(code: Int32)
    }

    /// How a proxy ended.
    package enum Exit: Equatable, Sendable, CustomStringConvertible {
        case code(Int32)
        case signal(Int32)
        /// posix_spawn failed with this errno.
        case notSpawned(Int32)

        package var description: String {
            switch self {
            case .code(let code): "exit code \(code)"
            case .signal(let number): "signal \(number)"
            case .notSpawned(let code): "could not be started, errno \(code)"
            }
        }
    }

    package enum Action: Equatable, Sendable {
        case spawn
        /// To the proxy, if it still runs.
        case kill(ProxySignal)
        case sendServe
        case sendStop(deadline: Duration)
        case sendStopNow
        case listen
        case stopListening
        /// The guardian ends: only sockets stop listening that nobody keeps for its successor.
        case leaveListeners
        case beginReload
        /// Read the configuration for the next proxy: none runs that could refuse it.
        case reloadForNextStart
        case notify(Notice)
        case exit(code: Int32)
        /// The proxy did what it may not do now: logged and counted.
        case refuse(String)
    }

    package enum ProxySignal: Equatable, Sendable {
        case kill, resume
    }

    /// What systemd and the log are told.
    package enum Notice: Equatable, Sendable {
        case ready
        case notServing(String)
        case stopping
    }

    package struct Configuration: Sendable {
        package var serveDeadline: Duration
        package var hangTimeout: Duration
        package var drainDeadline: Duration
        /// From spawn until `prepared`.
        package var startTimeout: Duration
        /// From the order to serve until `serving`.
        var serveTimeout: Duration { max(serveDeadline, .seconds(2)) }

        package init(
            serveDeadline: Duration, hangTimeout: Duration, drainDeadline: Duration,
            startTimeout: Duration = .seconds(30)
        ) {
            self.serveDeadline = serveDeadline
            self.hangTimeout = hangTimeout
            self.drainDeadline = drainDeadline
            self.startTimeout = startTimeout
        }
    }

    package private(set) var state = State.idle
    /// Whether some sockets listen; a former guardian's do from the start.
    package private(set) var isListening = false
    /// Whether all of them do.
    private var isListeningComplete = false
    /// Since when no proxy serves; nil while one does.
    package private(set) var notServingSince: Instant?
    /// Proxies started after the first.
    package private(set) var restarts = 0
    package private(set) var lastExit: Exit?
    /// True from a first `serving` on: from then on a death is restarted.
    package private(set) var hasServed = false

    package var configuration: Configuration
    /// Deaths since a proxy last served for `steadyAfter`.
    private var failures = 0
    private var isReloadQueued = false
    private var servedSince: Instant?

    package static let backOffMin = Duration.milliseconds(100)
    package static let backOffMax = Duration.seconds(5)
    /// Serving for so long makes the next death a first one.
    package static let steadyAfter = Duration.seconds(10)
    /// Between the request for a stack and SIGKILL.
    package static let abortGrace = Duration.milliseconds(200)
    /// What a graceful stop gets beyond its deadline.
    package static let stopGrace = Duration.seconds(1)
    package static let stopNowGrace = Duration.milliseconds(250)
    /// The guardian's exit code when the first proxy ended by a signal or without a code.
    package static let startFailedCode: Int32 = 70

    package init(_ configuration: Configuration) { self.configuration = configuration }

    // MARK: - Life

    /// - Parameter isListening: some sockets listen already. If no proxy serves them within the
    ///   serve deadline, they stop as if one had died.
    package mutating func start(now: Instant, isListening: Bool = false) -> [Action] {
        guard case .idle = state else { return [.refuse("started twice")] }
        self.isListening = isListening
        state = .starting(since: now)
        notServingSince = now
        return [.spawn]
    }

    package mutating func proxyPrepared(now: Instant) -> [Action] {
        switch state {
        case .starting:
            state = .awaitingServing(since: now)
            return listenAgain() + [.sendServe]
        case .awaitingServing: return [.refuse("prepared twice")]
        case .idle, .backingOff, .stopped: return [.refuse("prepared without a proxy")]
        case .serving, .suspended: return [.refuse("prepared while serving")]
        // Too late, but no offence: it crossed our signal.
        case .aborting, .killed, .stopping: return []
        }
    }

    package mutating func proxyServing(now: Instant) -> [Action] {
        switch state {
        case .awaitingServing: return enterServing(since: now)
        case .starting: return [.refuse("serving before it was told to")]
        case .idle, .backingOff, .stopped: return [.refuse("serving without a proxy")]
        case .serving, .suspended: return [.refuse("serving twice")]
        case .aborting, .killed, .stopping: return []
        }
    }

    /// Whether the proxy is being ended because it does not do its work.
    package var isEndingProxy: Bool {
        switch state {
        case .aborting, .killed: true
        case .idle, .starting, .awaitingServing, .serving, .suspended, .backingOff, .stopping,
            .stopped:
            false
        }
    }

    /// Another proxy, of another program, serves in its place: whatever was to become of the one
    /// before is no longer this machine's business.
    package mutating func proxyReplaced(now: Instant) -> [Action] {
        switch state {
        case .serving, .suspended, .aborting, .killed:
            let wasSilent = notServingSince != nil
            state = .serving(since: now)
            servedSince = now
            notServingSince = nil
            return wasSilent ? [.notify(.ready)] : []
        case .idle, .starting, .awaitingServing, .backingOff, .stopping, .stopped:
            return [.refuse("replaced while there is nothing to replace")]
        }
    }

    /// This process goes on as another program, while a proxy serves.
    package mutating func resume(restarts: Int, now: Instant) {
        self.restarts = restarts
        isListening = true
        isListeningComplete = true
        state = .awaitingServing(since: now)
        _ = enterServing(since: now)
    }

    private mutating func enterServing(since: Instant) -> [Action] {
        state = .serving(since: since)
        hasServed = true
        notServingSince = nil
        servedSince = since
        var actions: [Action] = [.notify(.ready)]
        if isReloadQueued {
            isReloadQueued = false
            actions.append(.beginReload)
        }
        return actions
    }

    package mutating func proxyDied(_ exit: Exit, now: Instant) -> [Action] {
        switch state {
        case .idle, .backingOff, .stopped: return [.refuse("died without a proxy")]
        case .stopping:
            lastExit = exit
            state = .stopped(code: 0)
            return leave() + [.exit(code: 0)]
        case .starting, .awaitingServing, .serving, .suspended, .aborting, .killed:
            lastExit = exit
            return hasServed ? restart(now: now) : giveUp(exit)
        }
    }

    /// The first proxy never served: its code says what is wrong with this host or configuration.
    private mutating func giveUp(_ exit: Exit) -> [Action] {
        let code: Int32 =
            switch exit {
            case .code(let code): code == 0 ? Self.startFailedCode : code
            case .signal: Self.startFailedCode
            case .notSpawned: 71
            }
        state = .stopped(code: code)
        return stopAccepting() + [.exit(code: code)]
    }

    private mutating func restart(now: Instant) -> [Action] {
        var notices: [Action] = []
        if notServingSince == nil {
            notServingSince = now
            notices = [.notify(.notServing("the proxy died: \(lastExit?.description ?? "")"))]
        }
        if let servedSince, now.nanoseconds(since: servedSince) >= Self.steadyAfter.nanoseconds {
            failures = 0
        }
        let delay = Self.backOff(failuresBefore: failures, hasServed: servedSince != nil)
        servedSince = nil
        failures += 1
        guard delay > .zero else { return notices + spawnNext(now: now) }
        state = .backingOff(until: now.advanced(by: delay))
        return notices
    }

    /// What has served is restarted at once three times, what has not once; then after 100 ms,
    /// doubled up to 5 s.
    package static func backOff(failuresBefore: Int, hasServed: Bool) -> Duration {
        let free = hasServed ? 3 : 1
        guard failuresBefore >= free else { return .zero }
        return min(backOffMax, backOffMin * (1 << min(failuresBefore - free, 10)))
    }

    private mutating func spawnNext(now: Instant) -> [Action] {
        restarts += 1
        state = .starting(since: now)
        return [.spawn]
    }

    // MARK: - Hung and stopped proxies

    /// A thread makes no progress, or the proxy broke the protocol: it is replaced. The driver
    /// asks it for a stack first.
    package mutating func proxyHung(now: Instant) -> [Action] {
        switch state {
        case .starting, .awaitingServing, .serving, .suspended:
            state = .aborting(killAt: now.advanced(by: Self.abortGrace))
            return noteNotServing("the proxy hangs", now)
        case .aborting, .killed, .stopping: return []
        case .idle, .backingOff, .stopped: return [.refuse("hung without a proxy")]
        }
    }

    /// The proxy was stopped by SIGSTOP or a debugger.
    package mutating func proxyStopped(now: Instant) -> [Action] {
        switch state {
        case .serving(let since):
            let until = now.advanced(by: configuration.hangTimeout)
            state = .suspended(until: until, served: since)
            return noteNotServing("the proxy was stopped by a signal", now) + [.kill(.resume)]
        // Their own deadlines end these; a stopped process would miss the request for its stack.
        case .starting, .awaitingServing, .aborting, .stopping: return [.kill(.resume)]
        case .suspended, .killed: return []
        case .idle, .backingOff, .stopped: return [.refuse("stopped without a proxy")]
        }
    }

    package mutating func proxyContinued(now: Instant) -> [Action] {
        guard case .suspended(_, let served) = state else { return [] }
        return enterServing(since: served)
    }

    private mutating func noteNotServing(_ why: String, _ now: Instant) -> [Action] {
        guard notServingSince == nil else { return [] }
        notServingSince = now
        return [.notify(.notServing(why))]
    }

    // MARK: - Operator

    package mutating func hangUp(now: Instant) -> [Action] {
        switch state {
        case .serving: return [.beginReload]
        case .backingOff: return [.reloadForNextStart]
        case .starting, .awaitingServing, .suspended, .aborting, .killed:
            isReloadQueued = true
            return []
        case .idle, .stopping, .stopped: return []
        }
    }

    package mutating func terminate(now: Instant) -> [Action] {
        switch state {
        case .serving:
            let end = now.advanced(by: configuration.drainDeadline)
            state = .stopping(killAt: end.advanced(by: Self.stopGrace))
            return [.notify(.stopping), .sendStop(deadline: configuration.drainDeadline)]
        case .stopping: return interrupt(now: now)
        case .idle, .starting, .awaitingServing, .suspended, .aborting, .killed, .backingOff,
            .stopped:
            // Nothing is in flight that could be finished.
            return interrupt(now: now)
        }
    }

    package mutating func interrupt(now: Instant) -> [Action] {
        let soon = now.advanced(by: Self.stopNowGrace)
        switch state {
        case .serving:
            state = .stopping(killAt: soon)
            return [.notify(.stopping)] + leave() + [.sendStopNow]
        case .stopping(let killAt) where killAt > soon && killAt != .never:
            state = .stopping(killAt: soon)
            return leave() + [.sendStopNow]
        case .stopping: return []
        case .starting, .awaitingServing, .suspended, .aborting:
            state = .stopping(killAt: .never)
            return [.notify(.stopping)] + leave() + [.kill(.kill)]
        case .killed:
            state = .stopping(killAt: .never)
            return [.notify(.stopping)] + leave()
        case .idle, .backingOff:
            state = .stopped(code: 0)
            return [.notify(.stopping)] + leave() + [.exit(code: 0)]
        case .stopped: return []
        }
    }

    /// After `sendStop`: the proxy has taken what was queued and takes nothing more.
    package mutating func proxyDrained(now: Instant) -> [Action] {
        guard case .stopping = state else { return [.refuse("drained without being told to stop")] }
        return leave()
    }

    // MARK: - Time

    /// When `tick` is to be called at the latest.
    package var deadline: Instant {
        min(stateDeadline, listenDeadline)
    }

    private var stateDeadline: Instant {
        switch state {
        case .starting(let since): since.advanced(by: configuration.startTimeout)
        case .awaitingServing(let since): since.advanced(by: configuration.serveTimeout)
        case .suspended(let until, _): until
        case .aborting(let killAt): killAt
        case .backingOff(let until): until
        case .stopping(let killAt): killAt
        case .idle, .serving, .killed, .stopped: .never
        }
    }

    private var listenDeadline: Instant {
        guard isListening, let notServingSince else { return .never }
        switch state {
        // The proxy has its accepts armed, which do not survive a stop: these states have
        // deadlines of their own, after which it is killed.
        case .awaitingServing, .suspended, .stopping: return .never
        case .idle, .starting, .serving, .aborting, .killed, .backingOff, .stopped:
            return notServingSince.advanced(by: configuration.serveDeadline)
        }
    }

    package mutating func tick(now: Instant) -> [Action] {
        var actions: [Action] = now >= listenDeadline ? stopAccepting() : []
        guard now >= stateDeadline else { return actions }
        switch state {
        case .starting, .awaitingServing:
            state = .aborting(killAt: now.advanced(by: Self.abortGrace))
        case .suspended, .aborting:
            state = .killed
            actions.append(.kill(.kill))
        case .backingOff: actions += spawnNext(now: now)
        case .stopping:
            state = .stopping(killAt: .never)
            actions += leave() + [.kill(.kill)]
        case .idle, .serving, .killed, .stopped: break
        }
        return actions
    }

    // MARK: - Listening

    private mutating func listenAgain() -> [Action] {
        guard !isListeningComplete else { return [] }
        isListening = true
        isListeningComplete = true
        return [.listen]
    }

    /// Nobody serves: clients are to know it, whoever keeps the sockets.
    private mutating func stopAccepting() -> [Action] { endListening(.stopListening) }

    /// We go, and may have a successor.
    private mutating func leave() -> [Action] { endListening(.leaveListeners) }

    private mutating func endListening(_ action: Action) -> [Action] {
        guard isListening else { return [] }
        isListening = false
        isListeningComplete = false
        return [action]
    }
}
