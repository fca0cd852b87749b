internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

extension GuardianService {
    /// Reads every thread's heartbeat and replaces a proxy that hangs.
    ///
    /// - Returns: false if there is nothing more to watch.
    func sampleHeartbeats() -> Bool {
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
            let block = property.board.block(thread)
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
        let thread = property.board.block(hang.thread).thread
        Log.error(
            "\(name) of proxy \(proxy.processID) hangs: no progress for \(hang.lasting) while "
                + (hang.isBusy ? "working" : "waiting"))
        for line in ThreadProbe(processID: proxy.processID).report(thread) { Log.error(line) }
        // Its handler prints the stack. A thread id that is not the proxy's is refused.
        if let thread = Int32(exactly: thread), thread > 0 {
            _ = ce_tgkill(proxy.processID, thread, SIGABRT)
        }
    }

    /// What the admin socket says while no proxy serves.
    var status: StatusReply {
        let now = Instant.now()
        let since = supervisor.notServingSince ?? now
        var restart: Double?
        if case .backingOff(let until) = supervisor.state {
            restart = Double(until.nanoseconds(since: now)) / 1e9
        }
        return StatusReply(
            state: supervisor.state.label,
            secondsNotServing: Double(now.nanoseconds(since: since)) / 1e9,
            lastExit: supervisor.lastExit?.description, restarts: supervisor.restarts,
            secondsUntilRestart: restart, isListening: supervisor.isListening,
            log: property.board.lastLogLines(50))
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
