internal import EdgeCore
internal import EdgeFailover
internal import EdgeSystem
internal import Glibc

/// Another binary on the same listeners.
extension GuardianService {
    /// - Parameter request: the proxy's number for it; nil: SIGUSR2.
    func upgradeRequested(_ request: UInt64?) {
        Log.notice("upgrade to \(options.installedProgram)")
        perform(upgrade.requested(request, obstacle: upgradeObstacle, now: loop.now))
    }

    private var nodeArguments: [String] { options.node.map { ["--node", $0] } ?? [] }

    private var upgradeObstacle: String? {
        guard case .serving = supervisor.state else { return "no proxy serves" }
        if reload.isActive { return "a reload is under way" }
        if reload.confirmationDue != nil { return "a reload waits for its confirmation" }
        if !property.places.leaving.isEmpty { return "a listener is being left" }
        if let fault = InstalledProgram.fault(of: options.installedProgram) { return fault }
        if leaving.count > SharedBoard.banks - 2 {
            return "\(leaving.count) earlier proxies still finish their connections"
        }
        return nil
    }

    func perform(_ actions: [UpgradeMachine.Action]) {
        for action in actions { perform(action) }
        reschedule()
        if !upgrade.isActive, isReloadDue {
            isReloadDue = false
            deliver(.hangUp)
        }
    }

    private func perform(_ action: UpgradeMachine.Action) {
        switch action {
        case .check:
            ask(["edged", "--check", "-c", options.configPath] + nodeArguments, about: nil)
        case .startNext: startNext()
        case .serveNext:
            next?.mayHaveClients = true
            next?.channel?.send(.serve)
        case .handOver: handOver()
        case .askSuccessor: askSuccessor()
        case .become:
            waitsSince = nil
            becomeSuccessor()
        case .drop:
            helper = nil
            if let next { dismiss(next) }
            next = nil
        case .finished(let outcome, let requests, let reason):
            if outcome == .upgraded {
                Log.notice("the new program serves, proxy \(next?.process?.processID ?? 0)")
            } else {
                Log.error("upgrade abandoned: \(reason); what ran before keeps running")
            }
            for request in requests { answer(request, outcome, reason) }
        case .refuse(let what): Log.error("upgrade: \(what)")
        }
    }

    /// Runs the new program for an answer: exit code 0 is yes.
    ///
    /// - Parameter descriptor: what it finds at descriptor 3.
    private func ask(_ arguments: [String], about descriptor: Int32?) {
        do throws(SystemError) {
            // Something must be there; nobody answers at its other end.
            let (ours, theirs) = try Descriptor.socketPair()
            let ends = OwnedDescriptors([ours, theirs])
            helper = try ProxyProcess(
                executable: options.installedProgram, arguments: arguments,
                channel: descriptor ?? ends.borrowed[1], loop: loop
            ) { [weak self] change in
                guard case .died(let exit) = change else { return }
                self?.answered(exit)
            }
        } catch {
            let failure = SupervisorMachine.Exit.notSpawned(error.code)
            loop.schedule(at: loop.now) { [weak self] in self?.answered(failure) }
        }
    }

    private func answered(_ exit: SupervisorMachine.Exit) {
        let fault = exit == .code(0) ? nil : "\(exit)"
        switch upgrade.state {
        case .checking: perform(upgrade.checked(fault: fault, now: loop.now))
        case .succeeding:
            if let fault {
                Log.error("the guardian stays what it is: the new program says \(fault)")
            }
            perform(upgrade.successorAnswered(fault: fault))
        case .idle, .starting, .awaitingServing: break
        }
    }

    private func startNext() {
        do throws(SystemError) {
            next = try start(executable: options.installedProgram, flags: .successor)
        } catch {
            Log.error("\(error)")
            loop.schedule(at: loop.now) { [weak self] in
                guard let self else { return }
                self.perform(self.upgrade.nextEnded("could not be started: \(error)"))
            }
        }
    }

    func nextReported(_ report: ProxyReport) {
        switch report {
        case .prepared: perform(upgrade.nextPrepared(now: loop.now))
        case .serving: perform(upgrade.nextServing(now: loop.now))
        default: Log.error("the new proxy said what it may not say yet")
        }
    }

    private func handOver() {
        guard let link, let next else { return }
        stopSampling()
        // One that hangs has nothing to finish.
        if supervisor.isEndingProxy { link.process?.kill(SIGKILL) }
        self.link = next
        self.next = nil
        leaving.append(link)
        detector.reset()
        perform(supervisor.proxyReplaced(now: loop.now))
        startSampling()
        finish(link)
    }

    /// Another one serves: this one finishes what it has.
    private func finish(_ link: ProxyLink) {
        let deadline = supervisor.configuration.drainDeadline
        link.channel?.send(
            .stop(
                deadlineMilliseconds: Int(
                    min(deadline.nanoseconds / 1_000_000, UInt64(ProxyCommand.deadlineMax))),
                isReplaced: true))
        end(link, after: deadline + SupervisorMachine.stopGrace)
    }

    /// A new proxy that is not to serve after all ends; what it has accepted by now is served.
    private func dismiss(_ next: ProxyLink) {
        leaving.append(next)
        if next.mayHaveClients {
            finish(next)
        } else {
            next.process?.kill(SIGKILL)
        }
    }

    /// A proxy that was replaced is killed if it outlives its deadline.
    func end(_ link: ProxyLink, after span: Duration) {
        link.endsAt = loop.now.advanced(by: span)
        loop.schedule(after: span) { [weak link] in
            guard let process = link?.process else { return }
            Log.warning("proxy \(process.processID) did not finish in time")
            process.kill(SIGKILL)
        }
    }

    func leavingChanged(_ link: ProxyLink, _ change: ProxyProcess.Change) {
        guard case .died(let exit) = change else { return }
        Log.notice("proxy \(link.process?.processID ?? 0), which was replaced, ended: \(exit)")
        link.channel?.close()
        leaving.removeAll { $0 === link }
        property.board.resetForNewProcess(bank: link.bank)
        exitIfDone()
    }

    // MARK: - The guardian itself

    /// Asks the new program whether it could go on from here.
    private func askSuccessor() {
        guard options.becomesSuccessor else {
            return perform(upgrade.successorAnswered(fault: "it is not asked"))
        }
        var state = succession
        // That there is something to go on with is what decides.
        if current.configuration.failover != nil {
            state.failover = FailoverHandover(instances: [], sockets: [], presence: nil)
        }
        do throws(SystemError) {
            let file = try MemoryFile.makeSealed(
                name: "edged-guardian", Array(state.json.text.utf8))
            ask(["edged", "--check-successor"], about: file.raw)
        } catch {
            perform(upgrade.successorAnswered(fault: "\(error)"))
        }
    }

    /// Becomes the new program, with everything that is open; the process stays the same.
    private func becomeSuccessor() {
        // Another upgrade has begun: it ends with this as well.
        guard !upgrade.isActive else { return }
        // What is in the middle of something comes to its end first.
        guard isStill else { return awaitStillness() }
        waitsSince = nil
        guard case .serving = supervisor.state else {
            Log.error("the guardian stays what it is: the proxy died meanwhile")
            return
        }
        failover.prepareForExec { [weak self] preparation in
            switch preparation {
            case .nothing: self?.execute(nil)
            case .still(let handover): self?.execute(handover)
            case .silent:
                self?.failover.cancelExec()
                Log.error("the guardian stays what it is: the failover thread does not answer")
            }
        }
    }

    private func awaitStillness() {
        let since = waitsSince ?? loop.now
        if waitsSince != .never, loop.now >= since.advanced(by: Self.stillnessSpan) {
            Log.warning("the guardian is not the new program yet: \(obstacles) for a minute")
            // Said once.
            waitsSince = .never
        } else {
            waitsSince = since
        }
        loop.schedule(after: .milliseconds(50)) { [weak self] in self?.becomeSuccessor() }
    }

    private static let stillnessSpan = Duration.seconds(60)

    /// What is in the middle of something.
    private var obstacles: String {
        let all = [
            (reload.isActive || reload.confirmationDue != nil, "a reload is under way"),
            (!property.places.leaving.isEmpty, "a listener is being left"),
            (!failover.hooks.isIdle, "failover.on_change runs"),
            (!failover.handoverText.isEmpty || !failover.isSettled, "addresses are moving"),
        ]
        let words = all.filter(\.0).map(\.1)
        return words.isEmpty
            ? "a proxy does not read what it is told" : words.joined(separator: ", ")
    }

    /// The failover thread is still, and says so to its peers for a second.
    private func execute(_ handover: FailoverHandover?) {
        guard !upgrade.isActive, isStill, case .serving = supervisor.state else {
            failover.cancelExec()
            loop.schedule(after: .milliseconds(50)) { [weak self] in self?.becomeSuccessor() }
            return
        }
        var state = succession
        state.failover = handover
        state.isDrained = failover.isDrained
        state.troubles = troubles.rawValue
        do throws(SystemError) {
            let secret = OwnedDescriptors(
                try failoverSecret.map { bytes throws(SystemError) in
                    [try MemoryFile.makeSealed(name: "edged-secret", bytes).release()]
                } ?? [])
            defer { withExtendedLifetime(secret) {} }
            state.secret = secret.borrowed.first
            let file = try MemoryFile.makeSealed(
                name: "edged-guardian", Array(state.json.text.utf8))
            let all = state.descriptors + [file.raw]
            for descriptor in all { try Descriptor.setCloseOnExec(descriptor, false) }
            let arguments =
                [
                    options.installedProgram, "--successor", String(file.raw), "-c",
                    options.configPath,
                ] + nodeArguments
            let words = arguments.map { strdup($0) } + [nil]
            execv(options.installedProgram, words)
            let error = SystemError(errnoOf: "execv", subject: options.installedProgram)
            for word in words { free(word) }
            for descriptor in all { try Descriptor.setCloseOnExec(descriptor) }
            throw error
        } catch {
            failover.cancelExec()
            Log.error("the guardian stays what it is: \(error)")
        }
    }

    /// Nothing is in the middle of something.
    private var isStill: Bool {
        !reload.isActive && reload.confirmationDue == nil && property.places.leaving.isEmpty
            && link?.channel?.isIdle == true && leaving.allSatisfy { $0.channel?.isIdle != false }
            && failover.handoverText.isEmpty && failover.hooks.isIdle && failover.isSettled
            && !isLeavingAddresses
    }

    /// All that another program needs to go on as this process.
    var succession: Succession {
        func proxy(_ link: ProxyLink) -> Succession.Proxy {
            Succession.Proxy(
                processID: link.process?.processID ?? 0, channel: link.channel?.descriptor,
                bank: link.bank,
                millisecondsLeft: link.endsAt.map {
                    Int64($0.nanoseconds(since: loop.now) / 1_000_000)
                })
        }
        return Succession(
            workers: property.workers, started: startedTime, restarts: supervisor.restarts,
            configuration: current.descriptor, board: property.boardFile.raw,
            tickets: property.ticketFile.raw,
            admin: property.admin.map { .init(path: $0.path, socket: $0.socket) },
            listeners: property.places.current.map { row in
                row.map { place in
                    Succession.Place(
                        number: place.number, asked: place.asked, bound: place.group.address,
                        sockets: place.group.sockets, adoptedCount: place.group.adoptedCount,
                        isKept: store.isKept(place.group))
                }
            },
            proxy: link.map(proxy), leaving: leaving.map(proxy), isReloadDue: isReloadDue,
            limits: property.limitFile.raw)
    }
}
