internal import EdgeCore
internal import EdgeProxy
internal import EdgeSystem

/// The access log's life: begun when a configuration comes into use, written out before the
/// process ends.
extension ProxyService {
    /// How long a process that has nothing else to do waits for the log's file.
    private static let flushGrace = Duration.seconds(1)
    /// What workers get to hand over their lines when everything has to end at once.
    private static let stopGrace = Duration.milliseconds(200)

    /// Starts the log of a configuration that is about to be used, unless it runs already.
    func startAccessLog(_ preparation: Preparation) {
        guard let log = preparation.accessLog, log !== current?.accessLog else { return }
        do throws(SystemError) {
            try log.start()
        } catch {
            // Lines will be dropped and counted; requests go on.
            Log.error("access log: \(error)")
        }
    }

    func reopenLogs() {
        guard let log = current?.accessLog else {
            Log.notice("there is no log file to open anew")
            return
        }
        log.reopen()
    }

    /// All workers have gone: the last lines are written, then the process ends.
    func finish() {
        channel?.send(.finished)
        awaitLog(until: Instant.now().advanced(by: Self.flushGrace))
    }

    private func awaitLog(until deadline: Instant) {
        guard let log = current?.accessLog, !log.isFinished, Instant.now() < deadline else {
            return exit(0)
        }
        loop.schedule(after: .milliseconds(5)) { [weak self] in self?.awaitLog(until: deadline) }
    }

    /// The end, at once; but with a log, workers hand over their lines first.
    func stopNow() {
        closeIncidents()
        guard current?.accessLog != nil, stopWorkers() else { return exit(0) }
        loop.schedule(after: Self.stopGrace) { [weak self] in self?.exit(0) }
    }
}
