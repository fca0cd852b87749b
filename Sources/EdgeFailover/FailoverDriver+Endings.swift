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
        guard !asked.isEmpty, !isFrozen, !isStopping else {
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

    /// Whoever waits for an instance that has ended is told.
    private func abandonYields(of instance: InstanceDriver) {
        while yields.contains(where: { $0.waiting.contains(instance.settings.name) }) {
            yieldEnded(instance, .notMoved)
        }
    }

    // MARK: - The end

    func stop(within deadline: Duration, _ completion: @escaping () -> Void) {
        stopCompletions.append(completion)
        // A second call may be a more urgent one.
        loop.schedule(after: deadline) { [weak self] in self?.end() }
        guard !isStopping else { return }
        cancelExec()
        isStopping = true
        for instance in instances where !instance.hasStopped { instance.handle(.stop) }
        stopped()
    }

    /// An instance has ended, or all are to be looked at.
    func stopped() {
        if isStopping {
            if instances.allSatisfy(\.hasStopped) { end() }
            return
        }
        // Not from within the instance that says so.
        loop.schedule(at: loop.now) { [weak self] in self?.removeStopped() }
    }

    private func removeStopped() {
        let ended = instances.filter { $0.isLeaving && $0.hasStopped }
        guard !ended.isEmpty, !isStopping, !isFrozen else { return }
        for instance in ended {
            instance.end()
            abandonYields(of: instance)
        }
        instances.removeAll { $0.isLeaving && $0.hasStopped }
        // One that came back to the file meanwhile begins now.
        apply(settings, options: options)
    }

    private func end() {
        for instance in instances {
            instance.end()
            abandonYields(of: instance)
        }
        for completion in stopCompletions { completion() }
        stopCompletions = []
        loop.stop()
    }

    // MARK: - Another program

    func prepareForExec(
        silence: Duration, _ completion: @escaping (FailoverHandover) -> Void
    ) {
        for instance in instances { instance.handle(.announcePause(silence)) }
        // One interval more, so that the announced one has been said twice.
        let interval = instances.map(\.settings.interval).max() ?? .zero
        if let execTimer { loop.cancel(execTimer) }
        execTimer = loop.schedule(after: min(interval, .milliseconds(500))) { [weak self] in
            guard let self else { return }
            execTimer = nil
            completion(freeze())
        }
    }

    private func freeze() -> FailoverHandover {
        isFrozen = true
        for instance in instances { instance.freeze() }
        // What arrives from now on is the next program's to read.
        for channel in channels.values { channel.suspend() }
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

    /// Also if it has only been announced yet.
    func cancelExec() {
        if let execTimer {
            loop.cancel(execTimer)
            self.execTimer = nil
            for instance in instances { instance.handle(.endPause) }
        }
        guard isFrozen else { return }
        isFrozen = false
        for channel in channels.values {
            for socket in channel.sockets.values {
                try? Descriptor.setCloseOnExec(socket.descriptor)
            }
            channel.resume()
        }
        keeper.resume()
        for instance in instances {
            instance.thaw()
            instance.handle(.readiness(readiness))
        }
        presence?.thaw()
        // What has happened meanwhile was not looked at.
        hasLostEvents = true
        survey.request()
        restand()
        stopped()
        if let postponed { apply(postponed.settings, options: postponed.options) }
        postponed = nil
    }
}
