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
        case .readPrevious: offerPrevious()
        case .commit(let id): commit(id)
        case .sendAbort(let id): channel?.send(.reloadAbort(id: id))
        case .adopt: adopt()
        case .adoptOnTrial:
            previous = current
            adopt()
            watchForBurst()
        case .forgetPrevious: previous = nil
        case .adoptPrevious: adoptPrevious()
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
        case .success(let offer):
            for warning in offer.loaded.warnings { Log.warning(warning) }
            self.offer(offer, channel)
        }
    }

    /// Back to what was in use before the reload that nobody confirmed.
    private func offerPrevious() {
        guard let previous, let channel, channel.isOpen, case .serving = supervisor.state else {
            adoptPrevious()
            perform(reload.rejected(.failed, reason: "the next proxy gets what was in use before"))
            return
        }
        Log.warning("the reload before is taken back: it was not confirmed, or errors burst")
        switch checked(previous) {
        case .failure(let refusal): perform(reload.rejected(refusal.outcome, reason: refusal.text))
        case .success(let offer): self.offer(offer, channel)
        }
    }

    /// No proxy runs that could be asked.
    private func adoptPrevious() {
        guard let previous else { return }
        self.previous = nil
        switch checked(previous) {
        case .failure(let refusal): log(refusal.text)
        case .success(let offer):
            offered = offer
            adopt()
            Log.warning("the reload before is taken back: its proxy did not survive it")
        }
    }

    private func offer(_ offer: Offer, _ channel: ProxyChannel) {
        offered = offer
        let id = reload.offered(now: loop.now)
        channel.send(.reload(id: id), descriptors: [offer.loaded.descriptor])
        reschedule()
    }

    /// The proxy has prepared: new sockets listen, and it is told which are whose, then to commit.
    private func commit(_ id: UInt64) {
        guard let offer = offered, let channel else { return }
        let places = property.places
        let new = offer.layout.flatMap { $0 }.filter(places.isNew)
        do throws(SystemError) {
            for place in new { try place.group.listen() }
        } catch {
            perform(reload.notListening(id: id, reason: "\(error)"))
            return
        }
        for (listener, row) in offer.layout.enumerated() {
            for (address, place) in row.enumerated() {
                if places.isNew(place) {
                    send(place, listener: listener, address: address, to: channel)
                } else {
                    channel.send(
                        .place(
                            .init(listener: listener, address: address, group: place.number)))
                }
            }
        }
        channel.send(.reloadCommit(id: id))
        reschedule()
    }

    /// While no proxy runs, a valid configuration is simply what the next one gets.
    func reloadForNextStart() {
        switch readChecked() {
        case .failure(let refusal): log(refusal.text)
        case .success(let offer):
            perform(reload.forgetTrial())
            offered = offer
            adopt()
            Log.notice("the next proxy gets the new configuration")
        }
    }

    private struct Refusal: Error {
        let outcome: ReloadOutcome
        let text: String
    }

    private func readChecked() -> Result<Offer, Refusal> {
        do throws(ConfigurationRefusal) {
            return checked(try source.read(path: options.configPath))
        } catch {
            return .failure(
                Refusal(outcome: .refused, text: error.diagnostics.joined(separator: "\n")))
        }
    }

    /// Our part of it: what cannot change while we run, and the sockets.
    private func checked(_ loaded: LoadedConfiguration) -> Result<Offer, Refusal> {
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
        let secret: [UInt8]?
        switch failoverSecret(of: loaded) {
        case .success(let bytes): secret = bytes
        case .failure(let refusal): return .failure(refusal)
        }
        do throws(SystemError) {
            return .success(
                Offer(
                    loaded: loaded, layout: try property.places.layout(for: loaded.configuration),
                    secret: secret))
        } catch {
            return .failure(Refusal(outcome: .refused, text: "\(options.configPath): \(error)"))
        }
    }

    private func failoverSecret(of loaded: LoadedConfiguration) -> Result<[UInt8]?, Refusal> {
        guard let failover = loaded.configuration.failover else { return .success(nil) }
        var problems = OwnerOnlyFile.problems(of: failover)
        if !options.canMoveAddresses { problems.append(FailoverKeeper.rightsMissing) }
        do throws(ConfigurationRefusal) {
            if problems.isEmpty { return .success(try OwnerOnlyFile.secret(of: failover)) }
        } catch { problems += error.diagnostics }
        return .failure(
            Refusal(
                outcome: .refused,
                text: problems.map { "\(options.configPath): \($0)" }.joined(separator: "\n")))
    }

    /// Keys whose change cannot be applied while running, by their names in the file.
    static func changesThatNeedRestart(
        from old: Configuration, to new: Configuration
    ) -> [String] {
        var keys: [String] = []
        if old.runAs != new.runAs { keys.append("user") }
        if old.workers != new.workers { keys.append("workers") }
        // Probes are the proxy's, which takes others at once.
        let (before, after) = (old.admin, new.admin)
        if (before.socket, before.group, before.http) != (after.socket, after.group, after.http) {
            keys.append("admin")
        }
        return keys
    }

    private func adopt() {
        guard let offer = offered else { return }
        offered = nil
        current = offer.loaded
        use(offer.layout)
        let process = current.configuration.process
        supervisor.configuration = .init(process)
        detector = HangDetector(
            threads: property.workers + 1, hangTimeout: process.hangTimeout)
        // Last: whatever else could be refused is in use.
        do throws(SystemError) {
            try useFailover(offer.secret)
        } catch {
            Log.error("failover: \(error); it is tried again")
        }
        noteFitness()
    }

    private func finish(_ outcome: ReloadOutcome, _ requests: [UInt64], _ reason: String) {
        switch outcome {
        case .committed, .unchanged, .planned, .confirmed, .upgraded, .done:
            Log.notice("reload: \(outcome)")
        case .refused, .needsRestart, .failed:
            log(reason)
            Log.error("reload: \(outcome); what ran before keeps running")
        }
        if outcome == .refused || outcome == .failed, previous != nil,
            reload.confirmationDue == nil
        {
            Log.error("the reload before could not be taken back; tried again in 5 s")
            loop.schedule(after: .seconds(5)) { [weak self] in
                guard let self, self.previous != nil, self.reload.confirmationDue == nil else {
                    return
                }
                self.perform(self.reload.retryReturn())
            }
        }
        if case .serving = supervisor.state {
            service?.ready(status: "serving; last reload: \(outcome)")
        }
        for request in requests { answer(request, outcome, reason) }
    }

    /// - Parameter asker: nil: the proxy that serves.
    func answer(
        _ request: UInt64, _ outcome: ReloadOutcome, _ reason: String, on asker: ProxyLink? = nil
    ) {
        guard let channel = (asker ?? link)?.channel, channel.isOpen else { return }
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

    // MARK: - On trial

    /// Looks once a second whether the reload does harm, until it is confirmed or taken back.
    private func watchForBurst() {
        burst.begin(before: startTotals, now: totals)
        sampleForBurst()
    }

    private func sampleForBurst() {
        loop.schedule(after: .seconds(1)) { [weak self] in
            guard let self, self.reload.confirmationDue != nil else { return }
            if self.burst.sample(self.totals) {
                Log.error("errors burst since the reload")
                self.perform(self.reload.goesWrong(now: self.loop.now))
            } else {
                self.sampleForBurst()
            }
        }
    }

    private var startTotals: BurstDetector.Totals { .init(answers: 0, errors: 0) }

    /// Of all workers since the board was made.
    var totals: BurstDetector.Totals {
        var totals = BurstDetector.Totals(answers: 0, errors: 0)
        for block in property.board.allBlocks {
            for counter in [
                Counter.responses2xx, .responses3xx, .responses4xx, .responses5xx,
            ] { totals.answers &+= block.value(counter) }
            totals.errors &+= block.value(.responses5xx)
        }
        return totals
    }

    private func log(_ lines: String) {
        for line in lines.split(separator: "\n") { Log.error(String(line)) }
    }
}

/// A configuration and the sockets for it.
struct Offer {
    let loaded: LoadedConfiguration
    let layout: ListenerPlaces.Layout
    /// Of the nodes that addresses move between.
    let secret: [UInt8]?
}

extension SupervisorMachine.Configuration {
    init(_ process: Configuration.Process) {
        self.init(
            serveDeadline: process.serveDeadline, hangTimeout: process.hangTimeout,
            drainDeadline: process.drainDeadline)
    }
}
