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
        failoverSecret = secret
        try failover.use(
            current.configuration.failover,
            FailoverOptions(
                secret: secret, acceptedSecrets: acceptedSecrets,
                programVersion: String(EdgedVersion.text.prefix(32)),
                configurationFingerprint: current.fingerprint), resuming: handover)
    }

    /// Of the file as it is now: it has been looked at before this, and proves nothing of ours.
    private var acceptedSecrets: [[UInt8]] {
        guard let failover = current.configuration.failover else { return [] }
        do throws(ConfigurationRefusal) {
            return [try OwnerOnlyFile.acceptedSecret(of: failover)].compactMap { $0 }
        } catch {
            for line in error.diagnostics { Log.error(line) }
            return []
        }
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
        let troubles = toldTroubles.intersection(Self.knownTroubles)
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

    /// What a proxy may say of itself.
    private static let knownTroubles: Fitness.Troubles = [
        .upstreams, .certificates, .names, .configuration, .resources, .publicSide,
    ]
    /// What it says within this time is taken together.
    private static let troublesInterval = Duration.milliseconds(100)

    func proxyTold(_ troubles: UInt32) {
        self.troubles = Fitness.Troubles(rawValue: troubles)
        // Whatever a proxy does, the failover thread is told seldom.
        guard !areTroublesDue else { return }
        areTroublesDue = true
        noteTroubles()
        loop.schedule(after: Self.troublesInterval) { [weak self] in
            guard let self else { return }
            self.areTroublesDue = false
            self.noteTroubles()
        }
    }

    private func noteTroubles() {
        toldTroubles = troubles
        noteFitness()
    }

    // MARK: - Orders of the proxy

    func nodeRequested(_ request: UInt64, drains: Bool) {
        guard let link else { return }
        guard drains else {
            failover.undrain()
            return answer(request, .done, "", on: link)
        }
        guard begins(.drain, request, link) else { return }
        failover.drain { [weak self, weak link] outcome in
            if let link { self?.answer(.drain, request, outcome, on: link) }
        }
    }

    func yieldRequested(_ request: UInt64, isForced: Bool) {
        guard let link, begins(.yield, request, link) else { return }
        failover.yield(isForced: isForced) { [weak self, weak link] outcome in
            if let link { self?.answer(.yield, request, outcome, on: link) }
        }
    }

    /// One order of a kind at a time.
    private func begins(_ order: ProxyLink.Order, _ request: UInt64, _ link: ProxyLink) -> Bool {
        guard link.orders.insert(order).inserted else {
            answer(request, .failed, "the same has been ordered and is under way", on: link)
            return false
        }
        return true
    }

    /// Only to the proxy that has asked: the next one counts its requests from 1 again.
    private func answer(
        _ order: ProxyLink.Order, _ request: UInt64, _ outcome: HandoverMachine.Outcome,
        on link: ProxyLink
    ) {
        link.orders.remove(order)
        switch outcome {
        case .moved: answer(request, .done, "the addresses are on another node", on: link)
        case .stayed(let why): answer(request, .refused, why, on: link)
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
            guard let self else { return }
            switch self.supervisor.state {
            // A second word has ended it.
            case .stopping, .stopped: return
            // The proxy may be gone by now, or another be on its way.
            case .idle, .starting, .awaitingServing, .serving, .suspended, .aborting, .killed,
                .backingOff:
                break
            }
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
