internal import EdgeCore

/// Giving the addresses away: to a fitter peer, on demand, before stopping. Priority 0 is sent, the
/// addresses stay until another is heard as master.
extension ElectionMachine {
    mutating func beginHandover(
        _ reason: HandoverReason, hold: Hold, now: Instant, _ actions: inout [Action]
    ) {
        let interval = UInt64(settings.centiseconds) * 10_000_000
        var wait = masterDownNanoseconds + 2 * interval
        // Who is known to be dead is not waited for.
        if reason == .stop, knowsEdgedPeer, livePeers(now: now).isEmpty { wait = 0 }
        counters.handovers += 1
        phase = .handingOver(
            Handover(
                reason: reason, since: now,
                resendAt: now.advanced(byNanoseconds: interval + interval / 2),
                until: now.advanced(byNanoseconds: wait), hold: hold))
        send(priority: 0, &actions)
        actions.append(.tellPeers)
        if wait == 0 { timerWhileHandingOver(now: now, &actions) }
    }

    /// Another master is there: it has what we gave.
    mutating func hearWhileHandingOver(
        _ heard: Heard, _ handover: Handover, now: Instant, _ actions: inout [Action]
    ) {
        guard heard.priority > 0, heard.receivedAt >= handover.since else { return }
        failedHandovers = 0
        handoverRetryAt = nil
        switch handover.reason {
        case .stop:
            end(.gaveWay(.stop), now: now, &actions)
        case .operatorAsked, .fitness, .maintenance:
            adoptedCentiseconds = heard.centiseconds
            becomeBackup(.gaveWay(handover.reason), now: now, &actions)
            follow(heard, now: now, &actions)
            blockPreemption(now: now)
            if handover.reason == .operatorAsked { actions.append(.yieldEnded(isMoved: true)) }
        }
    }

    mutating func timerWhileHandingOver(now: Instant, _ actions: inout [Action]) {
        guard case .handingOver(let handover) = phase else { return }
        guard now >= handover.until else {
            if now >= handover.resendAt {
                send(priority: 0, &actions)
                phase = .handingOver(handover.resent)
            }
            return
        }
        counters.handoversFailed += 1
        failedHandovers += 1
        if handover.reason == .operatorAsked { actions.append(.yieldEnded(isMoved: false)) }
        if handover.reason == .stop {
            end(.stopped, now: now, &actions)
        } else if !standing.fitness.answers {
            becomeBackup(.notAnswering, now: now, &actions)
        } else {
            // Nobody has taken the addresses: they stay, and so does the state.
            let factor = UInt64(1) << UInt64(min(failedHandovers - 1, 8))
            let first = knowsEdgedPeer ? Self.handoverRetryKnown : Self.handoverRetryMin
            handoverRetryAt = now.advanced(
                byNanoseconds: min(
                    first.nanoseconds * factor, Self.handoverRetryMax.nanoseconds))
            var hold = handover.hold
            hold.nextAdvertisement = now
            hold.rival = nil
            hold.fitterSince = nil
            advertise(&hold, now: now, &actions)
            announce(.conflictOver, &hold, now: now, &actions)
            phase = .master(hold)
            actions.append(.tellPeers)
        }
    }

    // MARK: - Why

    mutating func yield(isForced: Bool, now: Instant, _ actions: inout [Action]) {
        switch phase {
        case .handingOver: actions.append(.yieldRefused(.underWay))
        case .initialize, .backup, .fault: actions.append(.yieldRefused(.notMaster))
        case .master(let hold):
            if !isForced, let refusal = yieldRefusal(now: now) {
                actions.append(.yieldRefused(refusal))
            } else {
                beginHandover(.operatorAsked, hold: hold, now: now, &actions)
            }
        }
    }

    private func yieldRefusal(now: Instant) -> YieldRefusal? {
        let live = livePeers(now: now)
        guard let first = live.first else { return .noPeer }
        // One that is less fit would give them back.
        let isReady = live.contains {
            $0.isReadyBackup && !$0.standing.fitness.isUnfit && !$0.standing.isInMaintenance
                && !standing.isStrictlyFitter(than: $0.standing)
        }
        guard !isReady else { return nil }
        return .peerNotReady(first.standing, first.instance?.state ?? .initialize)
    }

    /// Gives the addresses away if there is a reason and the time for it has come.
    mutating func reviewHold(now: Instant, _ actions: inout [Action]) {
        guard case .master(var hold) = phase else { return }
        let hasFitter = hasFitterPeer(now: now)
        if !hasFitter {
            hold.fitterSince = nil
        } else if hold.fitterSince == nil {
            hold.fitterSince = now
        }
        phase = .master(hold)
        guard let due = handoverDue(hold), now >= due else { return }
        let isDrained = standing.isInMaintenance && !standing.fitness.isUnfit
        beginHandover(isDrained ? .maintenance : .fitness, hold: hold, now: now, &actions)
    }

    /// Ready to take over, live, and strictly fitter than we are.
    private func hasFitterPeer(now: Instant) -> Bool {
        livePeers(now: now).contains {
            $0.isReadyBackup && $0.standing.isStrictlyFitter(than: standing)
        }
    }

    /// When the addresses are to be given away as things stand; nil: they stay.
    func handoverDue(_ hold: Hold) -> Instant? {
        let canServe = !standing.fitness.isUnfit && !standing.isInMaintenance
        var due: Instant
        if let fitterSince = hold.fitterSince {
            // Somebody serves better. A node that serves is in no hurry: what ails it may reach the
            // peer in a moment.
            due = canServe ? fitterSince.advanced(by: settings.degradedHold) : fitterSince
            if canServe, let heldUntil = damper.heldUntil { due = max(due, heldUntil) }
        } else if !standing.fitness.answers {
            // Nobody is worse than somebody who answers nothing.
            due = lookedAt
        } else if !canServe, !knowsEdgedPeer {
            // Another implementation does not say whether it is there: it is asked now and then.
            due = lookedAt
        } else {
            return nil
        }
        if let handoverRetryAt { due = max(due, handoverRetryAt) }
        return due
    }
}

extension ElectionMachine.Handover {
    /// Priority 0 has been said twice: that was the last time.
    var resent: Self {
        var copy = self
        copy.resendAt = until
        return copy
    }
}
