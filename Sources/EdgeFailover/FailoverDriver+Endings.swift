internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP

/// Giving addresses away, ending, and becoming another program.
extension FailoverDriver {
    // MARK: - Giving away

    func yield(
        instance name: String?, isForced: Bool,
        _ completion:
            @escaping ([(instance: String, outcome: FailoverService.YieldOutcome)]) -> Void
    ) {
        let asked = instances.filter {
            !$0.isLeaving && (name == nil || $0.settings.name == name)
        }
        guard !asked.isEmpty, !isFrozen, stopCompletion == nil else {
            return completion([(name ?? "", .noSuchInstance)])
        }
        yields.append(Yield(waiting: Set(asked.map(\.settings.name)), completion: completion))
        for instance in asked { instance.handle(.yield(isForced: isForced)) }
    }

    func yieldEnded(_ instance: InstanceDriver, _ outcome: FailoverService.YieldOutcome) {
        let name = instance.settings.name
        // Refused because one is under way: the later question is answered by that.
        let place =
            outcome == .refused(.underWay)
            ? yields.lastIndex { $0.waiting.contains(name) }
            : yields.firstIndex { $0.waiting.contains(name) }
        guard let place else { return }
        yields[place].waiting.remove(name)
        yields[place].outcomes.append((name, outcome))
        guard yields[place].waiting.isEmpty else { return }
        let ended = yields.remove(at: place)
        ended.completion(ended.outcomes)
    }

    // MARK: - The end

    func stop(within deadline: Duration, _ completion: @escaping () -> Void) {
        guard stopCompletion == nil else { return }
        stopCompletion = completion
        isFrozen = false
        loop.schedule(after: deadline) { [weak self] in self?.end() }
        for instance in instances where !instance.hasStopped { instance.handle(.stop) }
        stopped()
    }

    /// An instance has ended, or all are to be looked at.
    func stopped() {
        if stopCompletion != nil {
            if instances.allSatisfy(\.hasStopped) { end() }
            return
        }
        // Not from within the instance that says so.
        loop.schedule(at: loop.now) { [weak self] in self?.removeStopped() }
    }

    func removeStopped() {
        let ended = instances.filter { $0.isLeaving && $0.hasStopped }
        guard !ended.isEmpty else { return }
        for instance in ended { instance.end() }
        instances.removeAll { $0.isLeaving && $0.hasStopped }
        // One that came back to the file meanwhile begins now.
        apply(settings, options: options)
    }

    func end() {
        guard let completion = stopCompletion else { return }
        stopCompletion = {}
        for instance in instances { instance.end() }
        completion()
        loop.stop()
    }

    // MARK: - Another program

    func prepareForExec(
        silence: Duration, _ completion: @escaping (FailoverHandover) -> Void
    ) {
        for instance in instances { instance.handle(.announcePause(silence)) }
        // One interval more, so that the announced one has been said twice.
        let interval = instances.map(\.settings.interval).max() ?? .zero
        loop.schedule(after: min(interval, .milliseconds(500))) { [weak self] in
            guard let self else { return }
            completion(freeze())
        }
    }

    func freeze() -> FailoverHandover {
        isFrozen = true
        for instance in instances { instance.freeze() }
        presence?.freeze()
        keeper.suspend()
        let sockets = channels.values.flatMap { channel in
            channel.sockets.map { family, socket in
                FailoverHandover.Socket(
                    descriptor: socket.descriptor, interfaceName: channel.name,
                    interfaceIndex: channel.index, family: family,
                    isMulticast: socket.isMulticast)
            }
        }
        for socket in sockets { try? Descriptor.setCloseOnExec(socket.descriptor, false) }
        return FailoverHandover(
            instances: instances.filter { !$0.isLeaving }.map {
                .init(name: $0.settings.name, record: $0.record)
            },
            sockets: sockets, presence: presence?.handover)
    }

    func cancelExec() {
        guard isFrozen else { return }
        isFrozen = false
        for channel in channels.values {
            for socket in channel.sockets.values {
                try? Descriptor.setCloseOnExec(socket.descriptor)
            }
        }
        keeper.resume()
        for instance in instances { instance.thaw() }
        presence?.thaw()
    }
}
