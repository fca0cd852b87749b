internal import EdgeCore

/// A backup: waiting for the master's silence, and who may end the wait.
extension ElectionMachine {
    mutating func becomeBackup(
        _ cause: TransitionCause, now: Instant, _ actions: inout [Action]
    ) {
        let from = state
        if from == .master { actions.append(.takeAddressesOff) }
        beginWait(now: now)
        changed(from: from, cause, now: now, &actions)
    }

    /// A whole wait from now on.
    mutating func beginWait(now: Instant) {
        var wait = Wait(beganAt: now)
        let end = now.advanced(byNanoseconds: settings.isOwner ? 0 : masterDownNanoseconds)
        for settings in settings.families { wait.ends[settings.family] = end }
        if settings.isOwner { wait.cause = .owner }
        phase = .backup(wait)
        pause = nil
        steadySince = nil
        noteSteadiness(now: now)
    }

    /// When the master counts as silent. One word of either family keeps the wait going: they have
    /// one fate at the sender too.
    func silenceEnds(_ wait: Wait) -> Instant {
        let last = wait.ends.values.max() ?? .never
        return last.advanced(byNanoseconds: wait.forgiven)
    }

    /// While nothing is heard a backup looks at the clock once per interval, to notice that it was
    /// stopped itself.
    func wakeUp(_ wait: Wait) -> Instant {
        var next = wait.lookAgain ?? silenceEnds(wait)
        if next > lookedAt { next = min(next, lookedAt.advanced(byNanoseconds: tick)) }
        return next
    }

    /// RFC 9568 §6.4.2.
    mutating func hearAsBackup(
        _ heard: Heard, _ wait: Wait, now: Instant, _ actions: inout [Action]
    ) {
        var wait = wait
        if heard.priority == 0 {
            // The master leaves, in every family; whoever has the highest priority is first.
            let skew = Self.skew(
                centiseconds: adoptedCentiseconds == 0
                    ? settings.centiseconds : adoptedCentiseconds, priority: priority)
            let end = heard.receivedAt.advanced(byNanoseconds: skew)
            for family in wait.ends.keys { wait.ends[family] = end }
            wait.cause = .masterLeft
            wait.clearObstacles()
            phase = .backup(wait)
            return
        }
        if heard.priority < priority, mayPreempt(now: now) {
            wait.cause = settings.isOwner ? .owner : .preempted
            phase = .backup(wait)
            return
        }
        adoptedCentiseconds = heard.centiseconds
        unheardMasterID = nil
        let end = heard.receivedAt.advanced(
            byNanoseconds: Self.masterDown(
                centiseconds: heard.centiseconds, priority: priority))
        // Also if that is earlier: a pause that was announced is over.
        wait.ends[heard.family] = end
        wait.cause = .masterSilent
        wait.clearObstacles()
        wait.beganAt = heard.receivedAt
        phase = .backup(wait)
    }

    mutating func timerAsBackup(_ wait: Wait, now: Instant, _ actions: inout [Action]) {
        guard now >= (wait.lookAgain ?? silenceEnds(wait)) else { return }
        guard let obstacle = obstacle(wait, now: now) else {
            takeOver(wait.cause, now: now, &actions)
            return
        }
        var wait = wait
        if wait.blockedSince == nil {
            wait.blockedSince = now
            counters.takeOversDeferred += 1
        }
        wait.lookAgain = max(obstacle.until, now.advanced(byNanoseconds: 1))
        if obstacle.isCourtesy { wait.courtesyUntil = obstacle.until }
        phase = .backup(wait)
    }

    /// Something about this node or its peers has changed: if the wait is over but for an obstacle,
    /// look again now.
    mutating func reviewWait(now: Instant, _ actions: inout [Action]) {
        guard case .backup(var wait) = phase, wait.blockedSince != nil else { return }
        wait.lookAgain = now
        timerAsBackup(wait, now: now, &actions)
    }

    private struct Obstacle {
        /// When to look again.
        let until: Instant
        /// True for letting another go first, which is done once per wait.
        var isCourtesy = false
    }

    /// What keeps a backup from taking over although its master is silent.
    private func obstacle(_ wait: Wait, now: Instant) -> Obstacle? {
        let down = masterDownNanoseconds
        let later = now.advanced(byNanoseconds: down)
        if !isGateOpen, now < gateUntil { return Obstacle(until: gateUntil) }
        // An unfit node alone is better than nobody, while its proxy answers.
        guard standing.fitness.answers else {
            return Obstacle(until: later)
        }
        let able = livePeers(now: now).filter { $0.canHold }
        if let better = able.first(where: { $0.standing.outclasses(standing) }) {
            return Obstacle(until: min(later, better.liveUntil))
        }
        if damper.isHeld(now: now), wait.cause == .masterSilent,
            let master = able.first(where: { $0.instance?.state == .master })
        {
            // It is alive and says that it holds them: what we don't hear is our trouble.
            return Obstacle(until: min(later, master.liveUntil))
        }
        if let master = able.first(where: {
            $0.nodeID == unheardMasterID && $0.instance?.state == .master
        }) {
            return Obstacle(until: min(later, master.liveUntil))
        }
        guard let courtesy = courtesy(wait, towards: able, now: now), now < courtesy else {
            return nil
        }
        return Obstacle(until: courtesy, isCourtesy: true)
    }

    /// Until when others are let go first, once per wait; nil: nobody is better placed. A peer that
    /// has become master meanwhile is about to be heard.
    private func courtesy(
        _ wait: Wait, towards able: [PeerReport], now: Instant
    ) -> Instant? {
        let first = able.filter {
            $0.instance?.state == .backup || wait.courtesyUntil != nil
                || $0.stateSince > wait.beganAt
        }
        if first.contains(where: { $0.standing.isStrictlyFitter(than: standing) }) {
            return wait.courtesyUntil ?? now.advanced(byNanoseconds: masterDownNanoseconds)
        }
        if first.contains(where: { goesFirst($0) }) {
            let interval = UInt64(settings.centiseconds) * 10_000_000
            return wait.courtesyUntil ?? now.advanced(byNanoseconds: interval)
        }
        return nil
    }

    /// Of two equally fit backups the one with the higher priority takes over; priorities that
    /// differ by one differ in skew by less than a network's jitter.
    private func goesFirst(_ peer: PeerReport) -> Bool {
        guard let instance = peer.instance, !standing.isStrictlyFitter(than: peer.standing) else {
            return false
        }
        return instance.priority > priority
    }

    // MARK: - Preemption

    /// Whether advertisements of lower priority are discarded (RFC 9568 §6.4.2).
    func mayPreempt(now: Instant) -> Bool {
        guard !standing.fitness.isUnfit, !standing.isInMaintenance, isGateOpen else {
            return false
        }
        guard
            !livePeers(now: now).contains(where: {
                $0.standing.isStrictlyFitter(than: standing)
            })
        else { return false }
        if settings.isOwner { return priority == 255 && !isPreemptBlocked(now: now) }
        guard !damper.isHeld(now: now), !isPreemptBlocked(now: now) else { return false }
        switch settings.preemption {
        case .never: return false
        case .always: return true
        case .after(let delay):
            return steadySince.map { now.nanoseconds(since: $0) >= delay.nanoseconds } ?? false
        }
    }

    func isPreemptBlocked(now: Instant) -> Bool {
        preemptBlockedUntil.map { now < $0 } ?? false
    }

    /// Keeps `steadySince`: a fit backup without interruption.
    mutating func noteSteadiness(now: Instant) {
        guard case .backup = phase, standing == Standing(fitness: .fit) else {
            steadySince = nil
            return
        }
        if steadySince == nil { steadySince = now }
    }
}

extension ElectionMachine.Wait {
    /// A master has been heard: the next wait begins with a clean slate.
    mutating func clearObstacles() {
        forgiven = 0
        blockedSince = nil
        lookAgain = nil
        courtesyUntil = nil
    }
}
