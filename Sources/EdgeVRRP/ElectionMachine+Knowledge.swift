internal import EdgeCore

/// What is known of this node and of others, and what changes with it.
extension ElectionMachine {
    mutating func stand(_ new: Standing, now: Instant, _ actions: inout [Action]) {
        guard new != standing else { return }
        standing = new
        noteSteadiness(now: now)
        actions.append(.tellPeers)
        // A new state of things is a new try.
        forgetFailedHandovers()
        reviewHold(now: now, &actions)
        reviewWait(now: now, &actions)
    }

    mutating func hear(_ heard: Heard, now: Instant, _ actions: inout [Action]) {
        guard settings.families.contains(where: { $0.family == heard.family }) else { return }
        let live = livePeers(now: now)
        if settings.trustsPresentPeersOnly, live.isEmpty {
            counters.advertisementsDistrusted += 1
            hearWithoutTrust(heard, now: now, &actions)
            return
        }
        counters.advertisementsHeard += 1
        if live.isEmpty { forgetEdgedPeer(heard, now: now) } else { vouch(heard, live) }
        if heard.addressesDiffer { counters.addressListsDiffering += 1 }
        if heard.priority == 0 {
            counters.priorityZeroHeard += 1
        } else {
            remember(heard)
        }
        guard isStarted || state == .master else { return }
        seen(now: now, &actions)
        switch phase {
        case .initialize, .fault: break
        case .backup(let wait): hearAsBackup(heard, wait, now: now, &actions)
        case .master(let hold): hearAsMaster(heard, hold, now: now, &actions)
        case .handingOver(let handover):
            hearWhileHandingOver(heard, handover, now: now, &actions)
        }
    }

    // MARK: - Trust

    /// Where only present peers are trusted, nothing that is heard while none is present makes us
    /// give the addresses up, nor take them earlier. But that presence is lost is no reason for two
    /// masters: who was vouched for keeps a backup waiting, by no longer interval than before.
    private mutating func hearWithoutTrust(
        _ heard: Heard, now: Instant, _ actions: inout [Action]
    ) {
        guard case .backup(let wait) = phase, heard.priority > 0,
            vouchedSources.contains(heard.source.bare)
        else { return }
        var bounded = heard
        bounded.centiseconds = min(
            heard.centiseconds, max(settings.centiseconds, adoptedCentiseconds))
        hearAsBackup(bounded, wait, now: now, &actions)
    }

    /// A guardian stands for what is heard if it says that it is master with that priority.
    private mutating func vouch(_ heard: Heard, _ live: [PeerReport]) {
        guard settings.trustsPresentPeersOnly,
            live.contains(where: {
                $0.instance?.state == .master && $0.instance?.priority == heard.priority
            }), vouchedSources.last != heard.source.bare
        else { return }
        vouchedSources.removeAll { $0 == heard.source.bare }
        if vouchedSources.count == Self.vouchedSourcesMax { vouchedSources.removeFirst() }
        vouchedSources.append(heard.source.bare)
    }

    /// Where edged was, another implementation may be by now: it knows fitness as priority only.
    private mutating func forgetEdgedPeer(_ heard: Heard, now: Instant) {
        guard knowsEdgedPeer, heard.priority > 0,
            now.nanoseconds(since: presenceHeardAt ?? now) >= Self.edgedPeerMemory.nanoseconds
        else { return }
        knowsEdgedPeer = false
        peers = []
        forgetFailedHandovers()
    }

    /// Of a master heard in both families, the lead family's word stays while it is fresh.
    private mutating func remember(_ heard: Heard) {
        let new = ElectionStatus.HeardMaster(
            source: heard.source, priority: heard.priority,
            interval: .milliseconds(Int(heard.centiseconds) * 10), at: heard.receivedAt)
        if let known = heardMaster, known.source.family < heard.family,
            heard.receivedAt.nanoseconds(since: known.at) < 2 * known.interval.nanoseconds
        {
            return
        }
        heardMaster = new
    }

    mutating func note(_ report: PeerReport, now: Instant, _ actions: inout [Action]) {
        if !knowsEdgedPeer { handoverRetryAt = nil }
        knowsEdgedPeer = true
        presenceHeardAt = now
        let known = peers.firstIndex { $0.nodeID == report.nodeID }
        let isBack =
            known.map { now >= peers[$0].liveUntil || peers[$0].bootID != report.bootID } ?? true
        if let known {
            if isBack || report.differs(from: peers[known]) { forgetFailedHandovers() }
            peers[known] = report
        } else {
            if peers.count == Self.peersMax { peers.removeFirst() }
            peers.append(report)
        }
        guard isStarted else { return }
        // A guardian that runs is a sight of the peer, whatever it holds.
        seen(now: now, &actions)
        if report.instance?.asksToTakeOver == true, report.instance?.state == .master {
            takeOverIfAsked(now: now, &actions)
        }
        reviewAnnouncements(report, isBack: isBack, now: now, &actions)
        reviewContest(report, isBack: isBack, now: now, &actions)
        reviewHold(now: now, &actions)
        reviewWait(now: now, &actions)
    }

    private mutating func forgetFailedHandovers() {
        handoverRetryAt = nil
        failedHandovers = 0
    }

    /// What we announced while the peer was away may have reached nobody; and a peer that has
    /// become a backup since may have announced the addresses, unheard by us.
    private mutating func reviewAnnouncements(
        _ report: PeerReport, isBack: Bool, now: Instant, _ actions: inout [Action]
    ) {
        guard case .master(var hold) = phase else { return }
        let hasLeft =
            report.instance != nil && report.instance?.state != .master
            && report.stateSince > hold.announcedAt
        guard isBack || hasLeft else { return }
        announce(isBack ? .refresh : .conflictOver, &hold, now: now, &actions)
        phase = .master(hold)
    }

    /// The master's own word is as good as priority 0, and needs no skew: it asked us.
    private mutating func takeOverIfAsked(now: Instant, _ actions: inout [Action]) {
        guard case .backup = phase, readiness == .all, !standing.fitness.isUnfit,
            !standing.isInMaintenance
        else { return }
        takeOver(.asked, now: now, &actions)
    }

    /// Heard recently enough to be believed alive.
    func livePeers(now: Instant) -> [PeerReport] { peers.filter { now < $0.liveUntil } }

    // MARK: - Time

    /// How late `.timer` may be without being called late.
    var slack: UInt64 { max(2_000_000, UInt64(settings.centiseconds) * 10_000_000 / 16) }

    /// How long a backup does not look at the clock.
    var tick: UInt64 {
        let interval = UInt64(max(settings.centiseconds, adoptedCentiseconds)) * 10_000_000
        return interval + interval / 4
    }

    mutating func timer(now: Instant, _ actions: inout [Action]) {
        let due = nextDeadline
        guard now >= due else { return }
        let late = now.nanoseconds(since: due)
        if late > slack { forgive(late, now: now) }
        switch phase {
        case .initialize:
            // Nobody is waited for any more; what is missing here is told when it is there.
            isGateOpen = isGateOpen || now >= gateUntil
            enter(.prepared, now: now, &actions)
        case .fault: break
        case .backup(let wait): timerAsBackup(wait, now: now, &actions)
        case .master(let hold): timerAsMaster(hold, now: now, &actions)
        case .handingOver: timerWhileHandingOver(now: now, &actions)
        }
    }

    /// This node was stopped, or its scheduler busy: what others have said meanwhile may be lost or
    /// still on its way. The wait is longer by the time that was lost, at most by one master-down
    /// interval in all.
    private mutating func forgive(_ late: UInt64, now: Instant) {
        for index in peers.indices
        where peers[index].liveUntil.nanoseconds &+ late > now.nanoseconds {
            let bounded = min(late, 2 * masterDownNanoseconds)
            peers[index].liveUntil = peers[index].liveUntil.advanced(byNanoseconds: bounded)
        }
        guard case .backup(var wait) = phase, wait.lookAgain == nil, !settings.isOwner else {
            return
        }
        let bound = masterDownNanoseconds
        let more = min(late, bound - min(bound, wait.forgiven))
        let end = silenceEnds(wait)
        // Counted from now if the wait is over already.
        let overdue = now.nanoseconds(since: end)
        guard more > 0 else { return }
        counters.latenessForgiven += 1
        counters.latenessNanoseconds &+= more
        wait.forgiven += overdue + more
        phase = .backup(wait)
    }
}

extension PeerReport {
    /// True if a handover that failed may succeed now.
    fileprivate func differs(from old: PeerReport) -> Bool {
        bootID != old.bootID || standing != old.standing
            || isReadyBackup != old.isReadyBackup
    }
}
