package import EdgeCore

/// A guardian that executes itself: silent for a moment, the same afterwards.
extension ElectionMachine {
    /// The longest pause that can be announced.
    package static let pauseMax = Duration.seconds(10)

    /// A master names an interval of which backups forgive the loss of three: the pause fits in.
    mutating func announcePause(_ span: Duration, now: Instant, _ actions: inout [Action]) {
        guard case .master(var hold) = phase, hold.listensUntil == nil else { return }
        let interval = UInt64(settings.centiseconds) * 10_000_000
        let needed = min(span, Self.pauseMax).nanoseconds + 2 * interval
        let centiseconds = (needed / 3 + 9_999_999) / 10_000_000
        pause = Pause(
            centiseconds: UInt16(clamping: min(centiseconds, 4095)),
            until: now.advanced(byNanoseconds: 4 * needed))
        hold.nextAdvertisement = now
        advertise(&hold, now: now, &actions)
        phase = .master(hold)
    }

    mutating func endPause(now: Instant, _ actions: inout [Action]) {
        guard pause != nil else { return }
        pause = nil
        guard case .master(var hold) = phase, hold.listensUntil == nil else { return }
        hold.nextAdvertisement = now
        advertise(&hold, now: now, &actions)
        phase = .master(hold)
    }

    /// What the next program must know.
    package func export() -> ElectionRecord {
        var advertised: UInt64 = 0
        switch phase {
        case .master(let hold): advertised = hold.lastAdvertisement.nanoseconds
        case .handingOver(let handover): advertised = handover.hold.lastAdvertisement.nanoseconds
        case .initialize, .backup, .fault: break
        }
        return ElectionRecord(
            routerID: settings.routerID, state: state.rawValue, sinceNanoseconds: since.nanoseconds,
            advertisedNanoseconds: advertised, advertisedCentiseconds: centiseconds,
            adoptedCentiseconds: adoptedCentiseconds, isGateOpen: isGateOpen,
            knowsEdgedPeer: knowsEdgedPeer,
            takeOverNanoseconds: damper.takeOvers.map(\.nanoseconds),
            dampedUntilNanoseconds: damper.heldUntil?.nanoseconds ?? 0,
            holdDowns: UInt32(clamping: damper.holdDowns),
            preemptBlockedUntilNanoseconds: preemptBlockedUntil?.nanoseconds ?? 0,
            counters: counters)
    }

    /// Goes on where a record ends, with what the driver knows at this moment: `start` and the
    /// events of the beginning need not be repeated. A master is master; its addresses are on, and
    /// are asked for again. If it was silent longer than it had announced it listens first.
    ///
    /// - Parameter readiness: listeners are inherited, so mostly `.all`.
    /// - Returns: what is to be done.
    package mutating func resume(
        _ record: ElectionRecord, localAddresses: [IPFamily: SocketAddress], readiness: Readiness,
        standing: Standing, now: Instant
    ) -> [Action] {
        var actions: [Action] = []
        isStarted = true
        isLinkUp = true
        self.localAddresses = localAddresses.mapValues(\.bare)
        self.readiness = readiness
        self.standing = standing
        counters = record.counters
        knowsEdgedPeer = record.knowsEdgedPeer
        presenceHeardAt = now
        adoptedCentiseconds = record.adoptedCentiseconds
        isGateOpen = record.isGateOpen
        gateUntil = now.advanced(by: settings.bootGate)
        damper = FlapDamper(
            takeOvers: record.takeOverNanoseconds.prefix(settings.damping.takeOversMax + 1)
                .map { Instant(nanoseconds: $0) },
            heldUntil: record.dampedUntilNanoseconds == 0
                ? nil : Instant(nanoseconds: record.dampedUntilNanoseconds),
            holdDowns: Int(record.holdDowns))
        if record.preemptBlockedUntilNanoseconds != 0 {
            preemptBlockedUntil = Instant(nanoseconds: record.preemptBlockedUntilNanoseconds)
        }
        lookedAt = now
        switch ElectionState(rawValue: record.state) {
        case .master where !speakingFamilies.isEmpty:
            resumeAsMaster(record, now: now, &actions)
        case .backup where readiness == .all && !speakingFamilies.isEmpty:
            goOn(since: record.sinceNanoseconds, now: now)
            beginWait(now: now)
        case .initialize, .backup, .master, .fault, nil:
            if record.state == ElectionState.master.rawValue { actions.append(.takeAddressesOff) }
            enter(.started, now: now, &actions)
        }
        return actions
    }

    private mutating func goOn(since nanoseconds: UInt64, now: Instant) {
        since = Instant(nanoseconds: min(nanoseconds, now.nanoseconds))
        cause = .resumed
    }

    private mutating func resumeAsMaster(
        _ record: ElectionRecord, now: Instant, _ actions: inout [Action]
    ) {
        goOn(since: record.sinceNanoseconds, now: now)
        let last = Instant(nanoseconds: min(record.advertisedNanoseconds, now.nanoseconds))
        let hold = Hold(
            nextAdvertisement: now, lastAdvertisement: last, listensUntil: nil, repetitions: 0,
            nextRepetition: now, nextRefresh: now.advanced(by: settings.announcements.refresh),
            rival: nil, fitterSince: nil, announcedAt: since)
        // The announced interval is what others have waited by.
        pause = Pause(centiseconds: record.advertisedCentiseconds, until: .never)
        phase = .master(hold)
        actions.append(.putAddressesOn)
        timerAsMaster(hold, now: now, &actions)
        pause = nil
        guard case .master(var spoken) = phase, spoken.listensUntil == nil else { return }
        // Said once with the long interval by the line above; now the usual one.
        spoken.nextAdvertisement = now
        advertise(&spoken, now: now, &actions)
        announce(.resumed, &spoken, now: now, &actions)
        phase = .master(spoken)
        actions.append(.tellPeers)
    }

    /// Takes other settings of the same instance (router id, interface and families are what they
    /// were) without a change of state.
    package mutating func reconfigure(_ new: InstanceSettings, now: Instant) -> [Action] {
        var actions: [Action] = []
        let hasOtherAddresses = new.families != settings.families
        settings = new
        switch phase {
        case .initialize, .backup, .fault: break
        case .handingOver: actions.append(.putAddressesOn)
        case .master(var hold):
            actions.append(.putAddressesOn)
            hold.nextAdvertisement = now
            if hold.listensUntil == nil { advertise(&hold, now: now, &actions) }
            if hasOtherAddresses { announce(.resumed, &hold, now: now, &actions) }
            phase = .master(hold)
        }
        actions.append(.tellPeers)
        return actions
    }
}
