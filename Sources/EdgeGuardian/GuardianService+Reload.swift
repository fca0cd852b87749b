internal import EdgeConfig
internal import EdgeCore
internal import EdgeSystem

extension GuardianService {
    func perform(_ actions: [ReloadMachine.Action]) {
        for action in actions { perform(action) }
        reschedule()
    }

    private func perform(_ action: ReloadMachine.Action) {
        switch action {
        case .read: readAndOffer()
        case .sendCommit(let id): channel?.send(.reloadCommit(id: id))
        case .sendAbort(let id): channel?.send(.reloadAbort(id: id))
        case .adopt: adopt()
        case .discard: offered = nil
        case .finished(let outcome, let requests, let reason):
            finish(outcome, requests, reason)
        case .replaceProxy: replaceProxy("it did not commit a reload")
        case .refuse(let what): offended(what)
        }
    }

    private func readAndOffer() {
        guard let channel, channel.isOpen, case .serving = supervisor.state else {
            perform(reload.rejected(.failed, reason: "no proxy serves"))
            return
        }
        Log.notice("reload of \(options.configPath)")
        service?.reloading()
        switch readChecked() {
        case .failure(let refusal): perform(reload.rejected(refusal.outcome, reason: refusal.text))
        case .success(let loaded):
            for warning in loaded.warnings { Log.warning(warning) }
            offered = loaded
            let id = reload.offered(now: loop.now)
            channel.send(.reload(id: id), descriptors: [loaded.descriptor])
            reschedule()
        }
    }

    /// While no proxy runs, a valid configuration is simply what the next one gets.
    func reloadForNextStart() {
        switch readChecked() {
        case .failure(let refusal): log(refusal.text)
        case .success(let loaded):
            offered = loaded
            adopt()
            Log.notice("the next proxy gets the new configuration")
        }
    }

    private struct Refusal: Error {
        let outcome: ReloadOutcome
        let text: String
    }

    private func readChecked() -> Result<LoadedConfiguration, Refusal> {
        let loaded: LoadedConfiguration
        do throws(ConfigurationRefusal) {
            loaded = try source.read(path: options.configPath)
        } catch {
            return .failure(
                Refusal(outcome: .refused, text: error.diagnostics.joined(separator: "\n")))
        }
        let fixed = Self.changesThatNeedRestart(
            from: current.configuration, to: loaded.configuration)
        guard fixed.isEmpty else {
            return .failure(
                Refusal(
                    outcome: .needsRestart,
                    text: "\(options.configPath): needs restart: "
                        + fixed.joined(separator: ", ")
                        + " (the running configuration stays; systemctl restart edged)"))
        }
        return .success(loaded)
    }

    /// Keys whose change cannot be applied while running, by their names in the file.
    static func changesThatNeedRestart(
        from old: Configuration, to new: Configuration
    ) -> [String] {
        var keys: [String] = []
        if old.listeners != new.listeners { keys.append("listeners") }
        if old.runAs != new.runAs { keys.append("user") }
        if old.workers != new.workers { keys.append("workers") }
        if old.admin != new.admin { keys.append("admin") }
        return keys
    }

    private func adopt() {
        guard let loaded = offered else { return }
        offered = nil
        current = loaded
        let process = loaded.configuration.process
        supervisor.configuration = .init(process)
        detector = HangDetector(
            threads: property.workers + 1, hangTimeout: process.hangTimeout)
    }

    private func finish(_ outcome: ReloadOutcome, _ requests: [UInt64], _ reason: String) {
        switch outcome {
        case .committed, .unchanged: Log.notice("reload: \(outcome)")
        case .refused, .needsRestart, .failed:
            log(reason)
            Log.error("reload: \(outcome); what ran before keeps running")
        }
        if case .serving = supervisor.state {
            service?.ready(status: "serving; last reload: \(outcome)")
        }
        for request in requests { answer(request, outcome, reason) }
    }

    private func answer(_ request: UInt64, _ outcome: ReloadOutcome, _ reason: String) {
        guard let channel, channel.isOpen else { return }
        do throws(SystemError) {
            let report = try MemoryFile.makeSealed(
                name: "edged-reload", Array(reason.utf8.prefix(1 << 16)))
            channel.send(
                .reloadResult(requestID: request, outcome: outcome), descriptors: [report.raw])
        } catch {
            Log.error("\(error)")
            channel.send(.reloadResult(requestID: request, outcome: outcome))
        }
    }

    private func log(_ lines: String) {
        for line in lines.split(separator: "\n") { Log.error(String(line)) }
    }
}

extension SupervisorMachine.Configuration {
    init(_ process: Configuration.Process) {
        self.init(
            serveDeadline: process.serveDeadline, hangTimeout: process.hangTimeout,
            drainDeadline: process.drainDeadline)
    }
}
