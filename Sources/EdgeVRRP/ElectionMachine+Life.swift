internal import EdgeCore

/// Starting, stopping, the boot gate, link and addresses.
extension ElectionMachine {
    mutating func start(now: Instant, _ actions: inout [Action]) {
        guard !isStarted else { return }
        isStarted = true
        closeGate(now: now)
        enter(.started, now: now, &actions)
    }

    /// A master gives the addresses away first; whoever is not known to be dead gets the time to
    /// take them.
    mutating func stop(now: Instant, _ actions: inout [Action]) {
        isStarted = false
        switch phase {
        case .master(let hold): beginHandover(.stop, hold: hold, now: now, &actions)
        case .handingOver(let handover):
            if handover.reason == .operatorAsked { actions.append(.yieldEnded(isMoved: false)) }
            // The one under way serves this purpose too, if it comes to an end.
            beginHandover(.stop, hold: handover.hold, now: now, &actions)
        case .initialize: actions.append(.stopped)
        case .backup, .fault: end(.stopped, now: now, &actions)
        }
    }

    mutating func end(_ cause: TransitionCause, now: Instant, _ actions: inout [Action]) {
        let from = state
        if from == .master { actions.append(.takeAddressesOff) }
        phase = .initialize
        isStarted = false
        changed(from: from, cause, now: now, &actions)
        actions.append(.stopped)
    }

    mutating func link(isUp: Bool, now: Instant, _ actions: inout [Action]) {
        guard isUp != isLinkUp else { return }
        isLinkUp = isUp
        if isUp {
            closeGate(now: now)
            enter(.linkUp, now: now, &actions)
        } else {
            fail(.linkDown, now: now, &actions)
        }
    }

    mutating func localAddress(
        _ family: IPFamily, _ address: SocketAddress?, now: Instant, _ actions: inout [Action]
    ) {
        localAddresses[family] = address?.bare
        if speakingFamilies.isEmpty {
            fail(.noAddress, now: now, &actions)
        } else {
            enter(.addressAppeared, now: now, &actions)
        }
    }

    mutating func ready(_ parts: Readiness, now: Instant, _ actions: inout [Action]) {
        readiness = parts
        enter(.prepared, now: now, &actions)
    }

    /// Without a link or an address nothing can be held or heard: addresses off at once.
    private mutating func fail(
        _ cause: TransitionCause, now: Instant, _ actions: inout [Action]
    ) {
        let from = state
        switch phase {
        case .fault: return
        case .initialize where !isStarted: return
        case .handingOver(let handover) where handover.reason == .stop:
            end(cause, now: now, &actions)
            return
        case .handingOver(let handover) where handover.reason == .operatorAsked:
            actions.append(.yieldEnded(isMoved: false))
        case .initialize, .backup, .master, .handingOver: break
        }
        if from == .master { actions.append(.takeAddressesOff) }
        phase = .fault
        isGateOpen = false
        adoptedCentiseconds = 0
        unheardMasterID = nil
        steadySince = nil
        changed(from: from, cause, now: now, &actions)
    }

    /// From here on a peer must be seen, or `bootGate` go by, before this node may be master.
    private mutating func closeGate(now: Instant) {
        isGateOpen = false
        gateUntil = now.advanced(by: settings.bootGate)
        heardMaster = nil
        adoptedCentiseconds = 0
        unheardMasterID = nil
    }

    /// Another router of this instance has been seen: our link works.
    mutating func seen(now: Instant, _ actions: inout [Action]) {
        guard !isGateOpen else { return }
        isGateOpen = true
        // From now on we are ready to be asked.
        actions.append(.tellPeers)
        enter(.prepared, now: now, &actions)
    }

    /// Goes on from `initialize` or `fault` as far as things allow.
    mutating func enter(_ cause: TransitionCause, now: Instant, _ actions: inout [Action]) {
        switch phase {
        case .backup, .master, .handingOver: return
        case .initialize, .fault: break
        }
        guard isStarted else { return }
        guard isLinkUp, !speakingFamilies.isEmpty else {
            if phase == .initialize { fail(isLinkUp ? .noAddress : .linkDown, now: now, &actions) }
            return
        }
        if phase == .fault {
            phase = .initialize
            changed(from: .fault, cause, now: now, &actions)
        }
        // Link-local addresses are tentative for a second after the link has come up.
        let speaksAll = speakingFamilies.count == settings.families.count
        guard readiness == .all, speaksAll || isGateOpen || now >= gateUntil else { return }
        becomeBackup(.prepared, now: now, &actions)
    }
}
