internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeFailover
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// The guardian's glue to the addresses that move between nodes.
extension GuardianService {
    func makeFailover() -> FailoverKeeper {
        FailoverKeeper(
            loop: loop, factory: options.failover,
            hands: .init(
                dismissClients: { [weak self] in self?.dismissClients($0) },
                closeDoor: { [weak self] in self?.closeDoors() },
                openDoor: { [weak self] in self?.openDoors() },
                openConnections: { [weak self] in self?.openConnections ?? 0 },
                drainTime: { [weak self] in
                    self?.supervisor.configuration.drainDeadline ?? .zero
                },
                changed: { [weak self] in self?.newsChanged() },
                note: { [weak self] in self?.note($0) }))
    }

    /// Gives the failover thread what the configuration says; the last step of a reload.
    func useFailover(
        _ secret: [UInt8]?, resuming handover: FailoverHandover? = nil
    ) throws(SystemError) {
        try failover.use(
            current.configuration.failover,
            FailoverOptions(
                secret: secret, programVersion: String(EdgedVersion.text.prefix(32)),
                configurationFingerprint: current.fingerprint), resuming: handover)
    }

    // MARK: - How this node is

    /// After anything that may have changed it.
    func noteFitness() {
        if supervisor.isListening, supervisor.hasServed { failover.setReady(.listeners) }
        if supervisor.hasServed { failover.setReady(.certificates) }
        guard let fitness else { return }
        failover.set(fitness)
    }

    /// Nil: as before.
    private var fitness: Fitness? {
        if case .stopping = supervisor.state { return nil }
        if case .stopped = supervisor.state { return nil }
        guard let since = supervisor.notServingSince else {
            let isWhole = property.groups.allSatisfy(\.isListening)
            if !isWhole { return .unfit(.listenersMissing, answers: true) }
            return troubles.isEmpty ? .fit : .degraded(troubles)
        }
        guard supervisor.hasServed else { return .unfit(.starting, answers: false) }
        // A proxy that dies is another one in a moment: nobody is to move for it.
        let due = since.advanced(by: supervisor.configuration.serveDeadline)
        guard loop.now >= due else {
            loop.schedule(at: due) { [weak self] in self?.noteFitness() }
            return nil
        }
        return .unfit(.proxyNotServing, answers: false)
    }

    func proxyTold(_ troubles: UInt32) {
        self.troubles = Fitness.Troubles(rawValue: troubles)
        noteFitness()
    }

    // MARK: - Orders of the proxy

    func nodeRequested(_ request: UInt64, drains: Bool) {
        guard drains else {
            failover.undrain()
            return answer(request, .done, "")
        }
        failover.drain { [weak self] outcome in self?.answer(request, outcome) }
    }

    func yieldRequested(_ request: UInt64, isForced: Bool) {
        failover.yield(isForced: isForced) { [weak self] outcome in
            self?.answer(request, outcome)
        }
    }

    private func answer(_ request: UInt64, _ outcome: HandoverMachine.Outcome) {
        switch outcome {
        case .moved: answer(request, .done, "the addresses are on another node")
        case .stayed(let why): answer(request, .refused, why)
        }
    }

    // MARK: - Clients

    private func dismissClients(_ dismisses: Bool) {
        channel?.send(.dismissClients(dismisses))
    }

    private func closeDoors() {
        for group in property.groups {
            do throws(SystemError) { try group.closeDoor() } catch { Log.warning("\(error)") }
        }
    }

    private func openDoors() {
        for group in property.groups { group.openDoor() }
    }

    private var openConnections: Int {
        (1...property.workers).reduce(0) {
            $0
                + Int(
                    truncatingIfNeeded: property.board.block($1, bank: bank).value(
                        Counter.connectionsOpen))
        }
    }

    // MARK: - The end

    /// A planned end: the addresses go first, if somebody can take them.
    ///
    /// - Returns: false if there is nothing to wait for.
    func leaveAddresses() -> Bool {
        guard case .serving = supervisor.state, !isLeavingAddresses else { return false }
        let begun = loop.now
        isLeavingAddresses = failover.leave { [weak self] _ in
            guard let self, case .serving = self.supervisor.state else { return }
            // Clients have had their time; those of other addresses get what is left of it.
            let spent = Duration.nanoseconds(
                Int64(clamping: self.loop.now.nanoseconds(since: begun)))
            self.supervisor.configuration.drainDeadline = max(
                self.supervisor.configuration.drainDeadline - spent, .seconds(1))
            self.perform(self.supervisor.terminate(now: self.loop.now))
        }
        if isLeavingAddresses {
            Log.notice("stopping: the addresses go first")
            service?.stopping(status: "the addresses go to the other node")
        }
        return isLeavingAddresses
    }
}
