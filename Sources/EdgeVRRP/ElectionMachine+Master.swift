internal import EdgeCore

/// A master: its rhythm, its announcements, and what it does when it hears another.
extension ElectionMachine {
    mutating func takeOver(
        _ cause: TransitionCause, now: Instant, _ actions: inout [Action]
    ) {
        let from = state
        counters.takeOvers += 1
        // Nobody's interval but ours counts from here on (RFC 9568 §6.4.1).
        adoptedCentiseconds = 0
        damper.noteTakeOver(now: now, settings: settings.damping)
        var hold = Hold(
            nextAdvertisement: now, lastAdvertisement: now, listensUntil: nil,
            repetitions: settings.announcements.repeats,
            nextRepetition: now.advanced(by: settings.announcements.spacing),
            nextRefresh: now.advanced(by: settings.announcements.refresh), rival: nil,
            fitterSince: nil, announcedAt: now)
        // RFC 9568 §6.4.2: the advertisement first.
        advertise(&hold, now: now, &actions)
        steadySince = nil
        // Whoever takes over although it can't serve has found nobody else.
        if standing.fitness.isUnfit, !knowsEdgedPeer {
            handoverRetryAt = now.advanced(by: Self.handoverRetryMin)
        }
        actions.append(.putAddressesOn)
        announce(.takeOver, &hold, now: now, &actions)
        phase = .master(hold)
        changed(from: from, cause, now: now, &actions)
    }

    mutating func announce(
        _ why: Announcement, _ hold: inout Hold, now: Instant, _ actions: inout [Action]
    ) {
        counters.announcements += 1
        hold.announcedAt = now
        actions.append(.announce(why))
    }

    /// One advertisement in each family; the next is due one interval after this one was, so that
    /// lateness does not add up.
    mutating func advertise(_ hold: inout Hold, now: Instant, _ actions: inout [Action]) {
        send(priority: priority, &actions)
        let interval = UInt64(settings.centiseconds) * 10_000_000
        let next = hold.nextAdvertisement.advanced(byNanoseconds: interval)
        hold.nextAdvertisement = next > now ? next : now.advanced(byNanoseconds: interval)
        hold.lastAdvertisement = now
        hold.listensUntil = nil
    }

    mutating func send(priority: UInt8, _ actions: inout [Action]) {
        for family in speakingFamilies {
            actions.append(.send(family, priority: priority, centiseconds: centiseconds))
            counters.advertisementsSent += 1
            if priority == 0 { counters.priorityZeroSent += 1 }
        }
    }

    func wakeUp(_ hold: Hold) -> Instant {
        var next = min(hold.listensUntil ?? hold.nextAdvertisement, hold.nextRefresh)
        if hold.repetitions > 0 { next = min(next, hold.nextRepetition) }
        if let rival = hold.rival { next = min(next, rival.quietAt) }
        if let at = handoverDue(hold) { next = min(next, at) }
        return next
    }

    // MARK: - Timers

    mutating func timerAsMaster(_ hold: Hold, now: Instant, _ actions: inout [Action]) {
        var hold = hold
        if let pause, now >= pause.until { self.pause = nil }
        if let until = hold.listensUntil {
            // Nobody has taken over while we were silent.
            if now >= until { advertise(&hold, now: now, &actions) }
        } else if now >= hold.nextAdvertisement {
            if isOverdue(hold, now: now) {
                hold.listensUntil = now.advanced(
                    byNanoseconds: UInt64(settings.centiseconds) * 10_000_000 + slack)
            } else {
                advertise(&hold, now: now, &actions)
            }
        }
        announceWhatIsDue(&hold, now: now, &actions)
        phase = .master(hold)
        reviewHold(now: now, &actions)
    }

    /// True if another may have taken over lawfully since we were heard last, and is to keep what
    /// it has: then we listen before we speak.
    private func isOverdue(_ hold: Hold, now: Instant) -> Bool {
        guard yieldsAfterSilence else { return false }
        let highest = peers.compactMap(\.instance?.priority).max() ?? 254
        return now.nanoseconds(since: hold.lastAdvertisement)
            > Self.masterDown(centiseconds: centiseconds, priority: highest)
    }

    /// Who preempts at once gets the addresses back anyway.
    private var yieldsAfterSilence: Bool { settings.preemption != .always && !settings.isOwner }

    private mutating func announceWhatIsDue(
        _ hold: inout Hold, now: Instant, _ actions: inout [Action]
    ) {
        var why: Announcement?
        // Settings may have changed since the take-over.
        hold.repetitions = min(hold.repetitions, settings.announcements.repeats)
        if hold.repetitions > 0, now >= hold.nextRepetition {
            let done = settings.announcements.repeats - hold.repetitions + 1
            hold.repetitions -= 1
            let span = settings.announcements.spacing.nanoseconds << UInt64(min(done, 16))
            hold.nextRepetition = now.advanced(byNanoseconds: span)
            why = .repetition
        }
        if now >= hold.nextRefresh {
            hold.nextRefresh = now.advanced(by: settings.announcements.refresh)
            why = .refresh
        }
        if let rival = hold.rival, now >= rival.quietAt {
            hold.rival = nil
            // Its last announcements may have come after ours.
            hold.repetitions = settings.announcements.repeats
            hold.nextRepetition = now.advanced(by: settings.announcements.spacing)
            why = .conflictOver
        }
        if let why { announce(why, &hold, now: now, &actions) }
    }

    // MARK: - Another master

    /// RFC 9568 §6.4.3.
    mutating func hearAsMaster(
        _ heard: Heard, _ hold: Hold, now: Instant, _ actions: inout [Action]
    ) {
        var hold = hold
        // What is heard decides; presence need not.
        hold.contest = nil
        if heard.priority == 0 {
            assertMastery(&hold, now: now, &actions)
            phase = .master(hold)
            return
        }
        let silence = heard.receivedAt.nanoseconds(since: hold.lastAdvertisement)
        let lawful = Self.masterDown(centiseconds: centiseconds, priority: heard.priority)
        if yieldsAfterSilence, hold.listensUntil != nil || silence > lawful {
            lose(heard, .wasSilent(by: heard.source), now: now, &actions)
            return
        }
        if isOutranked(by: heard) {
            lose(heard, .outranked(by: heard.source), now: now, &actions)
            return
        }
        let rival = note(heard, of: hold.rival, now: now)
        if isDeaf(rival, now: now) {
            // Who has long been master with nobody against him has been heard. How long it takes
            // to find a rival deaf says nothing: with long intervals that is minutes.
            if rival.since.nanoseconds(since: since) > Self.preemptBlock.nanoseconds {
                unheardLosses = 0
            }
            lose(heard, .unheard(by: heard.source), now: now, &actions)
            return
        }
        if hold.rival == nil { counters.conflictsWon += 1 }
        hold.rival = rival
        assertMastery(&hold, now: now, &actions)
        if rival.announcedAt.map({
            now.nanoseconds(since: $0) >= Self.conflictSpacing
        }) ?? true {
            announce(.conflict, &hold, now: now, &actions)
            hold.rival?.announcedAt = now
        }
        phase = .master(hold)
    }

    /// RFC 9568 §6.4.3: what another master says is answered at once, and the rhythm begins anew;
    /// but a flood of theirs makes no flood of ours: in `assertionSpacing` the next answer is due.
    private mutating func assertMastery(
        _ hold: inout Hold, now: Instant, _ actions: inout [Action]
    ) {
        let earliest = hold.lastAdvertisement.advanced(byNanoseconds: Self.assertionSpacing)
        guard now >= earliest else {
            hold.nextAdvertisement = min(hold.nextAdvertisement, earliest)
            return
        }
        hold.nextAdvertisement = now
        advertise(&hold, now: now, &actions)
    }

    /// Between two answers to other masters, and between two announcements against them.
    private static let assertionSpacing: UInt64 = 1_000_000
    private static let conflictSpacing: UInt64 = 10_000_000

    private mutating func lose(
        _ heard: Heard, _ cause: TransitionCause, now: Instant, _ actions: inout [Action]
    ) {
        counters.conflictsLost += 1
        if case .unheard = cause {
            blockPreemption(now: now, doubled: unheardLosses)
            unheardLosses = min(unheardLosses + 1, Self.unheardLossesMax)
        }
        adoptedCentiseconds = heard.centiseconds
        becomeBackup(cause, now: now, &actions)
        follow(heard, now: now, &actions)
    }

    /// What has been moved on purpose is not taken back at once.
    mutating func blockPreemption(now: Instant, doubled times: UInt64 = 0) {
        preemptBlockedUntil = now.advanced(
            byNanoseconds: Self.preemptBlock.nanoseconds << times)
    }

    /// Begins the wait for the master that was heard.
    mutating func follow(_ heard: Heard, now: Instant, _ actions: inout [Action]) {
        // What has just been decided is not undone by preemption.
        preemptBlockedUntil = max(
            preemptBlockedUntil ?? now,
            now.advanced(byNanoseconds: 2 * masterDownNanoseconds))
        guard case .backup(let wait) = phase else { return }
        hearAsBackup(heard, wait, now: now, &actions)
    }

    private func isOutranked(by heard: Heard) -> Bool {
        guard heard.priority == priority else { return heard.priority > priority }
        // One fate: the first family in which both can be heard decides for both.
        guard let lead = speakingFamilies.first, let ours = localAddresses[lead] else {
            return true
        }
        if heard.family == lead { return heard.source.bare.outranks(ours) }
        if let known = heardMaster, known.source.family == lead, known.priority == priority {
            return known.source.bare.outranks(ours)
        }
        return localAddresses[heard.family].map { heard.source.bare.outranks($0) } ?? true
    }

    private func note(_ heard: Heard, of known: Rival?, now: Instant) -> Rival {
        var rival =
            known
            ?? Rival(
                source: heard.source, since: heard.receivedAt, heardAt: heard.receivedAt,
                downNanoseconds: 0, count: 0, announcedAt: nil, hasOurAddresses: true)
        rival.source = heard.source
        rival.heardAt = max(rival.heardAt, heard.receivedAt)
        rival.downNanoseconds = Self.masterDown(centiseconds: heard.centiseconds, priority: 1)
        rival.count += 1
        if heard.addressesDiffer { rival.hasOurAddresses = false }
        return rival
    }

    /// A router of lower rank that goes on as master does not hear us. Then clients around it don't
    /// either: two masters for ever, unless we leave. Only if it serves the same addresses.
    private func isDeaf(_ rival: Rival, now: Instant) -> Bool {
        yieldsAfterSilence && rival.hasOurAddresses && rival.count > Self.unansweredMax
            && rival.heardAt.nanoseconds(since: rival.since) > 3 * rival.downNanoseconds
    }
}

extension ElectionMachine.Rival {
    /// When it counts as gone.
    var quietAt: Instant { heardAt.advanced(byNanoseconds: downNanoseconds) }
}
