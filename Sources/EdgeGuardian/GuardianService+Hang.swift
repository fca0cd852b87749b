internal import CEdge
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

extension GuardianService {
    /// Reads every thread's heartbeat and replaces a proxy that hangs.
    ///
    /// - Returns: false if there is nothing more to watch.
    func sampleHeartbeats() -> Bool {
        Log.reportOmitted()
        guard let proxy else { return false }
        switch supervisor.state {
        case .serving: break
        // A stopped proxy makes no progress; its own deadline runs.
        case .suspended: return true
        // Deadlines of their own; to abort a draining proxy would cut what the others finish.
        case .idle, .starting, .awaitingServing, .stopping, .aborting, .killed, .backingOff,
            .stopped:
            return false
        }
        let probe = ThreadProbe(processID: proxy.processID)
        let readings = (0...property.workers).map { thread in
            let block = property.board.block(thread, bank: bank)
            let (heartbeat, isBusy) = block.heartbeat
            return HangDetector.Reading(
                heartbeat: heartbeat, isBusy: isBusy,
                scheduling: probe.scheduling(block.thread))
        }
        guard let hang = detector.sample(readings, now: .now()) else { return true }
        report(hang, of: proxy)
        perform(supervisor.proxyHung(now: loop.now))
        return false
    }

    private func report(_ hang: HangDetector.Hang, of proxy: ProxyProcess) {
        let name = hang.thread == 0 ? "the control thread" : "worker \(hang.thread)"
        let thread = property.board.block(hang.thread, bank: bank).thread
        Log.error(
            "\(name) of proxy \(proxy.processID) hangs: no progress for \(hang.lasting) while "
                + (hang.isBusy ? "working" : "waiting"))
        for line in ThreadProbe(processID: proxy.processID).report(thread) { Log.error(line) }
        // Its handler prints the stack. A thread id that is not the proxy's is refused.
        if let thread = Int32(exactly: thread), thread > 0 {
            _ = ce_tgkill(proxy.processID, thread, SIGABRT)
        }
    }

    /// What the admin socket says while no proxy serves: since when, why, and what happens next.
    var status: StatusReply {
        let now = Instant.now()
        let time = Int64(Glibc.time(nil))
        let since = supervisor.notServingSince ?? now
        let age = Int64(now.nanoseconds(since: since) / 1_000_000_000)
        var state = NodeState.notServing
        switch supervisor.state {
        case .starting, .awaitingServing: state = supervisor.hasServed ? .notServing : .starting
        case .stopping: state = .draining
        case .idle, .serving, .suspended, .aborting, .killed, .backingOff, .stopped: break
        }
        var reply = StatusReply(
            version: EdgedVersion.text, state: state, since: time - age, why: reason(now),
            now: time, pid: Int64(getpid()), started: startedTime, epoch: 0,
            configPath: options.configPath, configFingerprint: "",
            log: property.board.lastLogLines(50))
        reply.vip = vip
        return reply
    }

    private func reason(_ now: Instant) -> String {
        var parts = ["no proxy serves: \(supervisor.state.label)"]
        if let exit = supervisor.lastExit { parts.append("the last one ended with \(exit)") }
        if supervisor.restarts > 0 { parts.append("\(supervisor.restarts) restarts") }
        if case .backingOff(let until) = supervisor.state {
            let milliseconds = until.nanoseconds(since: now) / 1_000_000
            parts.append("next start in \(milliseconds) ms")
        }
        if !supervisor.isListening { parts.append("not listening, clients are refused") }
        return parts.joined(separator: ", ")
    }
}

extension SupervisorMachine.State {
    /// The word in status and log.
    package var label: String {
        switch self {
        case .idle: "idle"
        case .starting, .awaitingServing: "starting"
        case .serving: "serving"
        case .suspended: "suspended"
        case .aborting, .killed: "replacing"
        case .backingOff: "backing_off"
        case .stopping: "stopping"
        case .stopped: "stopped"
        }
    }
}
