internal import EdgeCore
internal import EdgeLimits

/// Who is given up when slots, descriptors or memory run short: connections that do nothing, the
/// least useful first, and never one with a request under way. In this order, for views of low
/// priority before those of high:
///
/// 1. such as have never said anything, a second after they came;
/// 2. HTTP/1.1 between two requests, for a second at least, the longest idle first (to within what
///    `isLongIdle` says);
/// 3. HTTP/2 without streams, after GOAWAY;
/// 4. such as have begun a handshake or a head and have not come to its end in three seconds, of
///    low priority only.
extension Worker {
    /// A client's first bytes are a round trip away.
    static let evictionGrace: UInt64 = 1_000_000_000
    static let unfinishedGrace: UInt64 = 3_000_000_000
    /// Idle for so long, it need not be asked a second time.
    static let longIdle: UInt64 = 10_000_000_000
    /// Connections looked at per search of a list.
    private static let looksMax = 64

    // MARK: - Room

    /// Whether a newcomer may be accepted now. If not, it waits in the kernel's queue: descriptors
    /// are scarce, or the places of those that were evicted are not free yet.
    // hot: once per connection
    @inline(__always)
    func hasRoom() -> Bool {
        if downstreamSlots.used < downstreamSlots.capacity, !descriptorReserve.isShort,
            descriptorsLeft > 0
        {
            return true
        }
        return awaitRoom()
    }

    /// Of this worker's share, without what is kept for connections to upstreams.
    private var descriptorsLeft: Int {
        let share = setup.pressure.descriptorShare
        guard share > 0 else { return Int.max }
        return share - max(min(16, share / 8), share / 32) - downstreamSlots.used
            - upstreamSlots.used
    }

    @inline(never)
    private func awaitRoom() -> Bool {
        let lacksSpares = descriptorReserve.isShort && !descriptorReserve.refill()
        if lacksSpares || descriptorsLeft <= 0 {
            block.add(.descriptorLimit)
            evictForDescriptors()
            acceptLater()
            return false
        }
        guard downstreamSlots.used < downstreamSlots.capacity else {
            acceptLater()
            return false
        }
        return true
    }

    /// Who waits does so in the kernel: how many do is not known.
    func evictForDescriptors() {
        guard evictionsPending == 0 else { return }
        evict(min(16, max(4, setup.connectionsMax / 64)), includingHigh: true)
    }

    /// Places that are not taken, before a newcomer's own; those of the evicted are on their way.
    private var placesLeft: Int { setup.connectionsMax - downstreamSlots.used + evictionsPending }

    /// Whether a newcomer that has just been accepted, and has its slot, gets a place: a free one,
    /// or that of somebody who does nothing.
    func hasPlace(isLow: Bool) -> Bool {
        if placesLeft >= (isLow ? slotReserve : 0) { return true }
        return evict(1, includingHigh: !isLow) == 1
    }

    /// A connection to an upstream cannot be made for lack of a descriptor.
    ///
    /// - Returns: whether it is worth another try.
    @inline(never)
    func giveUpDescriptor() -> Bool {
        // Somebody is evicted at the end of the turn, when no connection's input is being read.
        acceptPending = .now
        return descriptorReserve.release()
    }

    // MARK: - Lists

    /// A client's connection has become idle and is in no list, or not in the right one.
    @inline(never)
    func listIdle(_ slot: Int) {
        guard isDownstream(slot), !isStream(slot) else { return }
        channels[slot].pointee.flags.remove(.listsWhenIdle)
        let kind: IdleLists.Kind = channels[slot].pointee.http2 != nil ? .idleHTTP2 : .idle
        idleLists.place(
            slot, kind, isLow: isLowPriority(slot),
            requests: downstreams[slot].pointee.requestCount, now: idleSince(slot))
    }

    func listNew(_ slot: Int) {
        channels[slot].pointee.flags.insert(.listsWhenIdle)
        idleLists.place(slot, .young, isLow: isLowPriority(slot), requests: 0, now: now)
    }

    /// It has something to do: it comes back when it is idle.
    private func unlist(_ slot: Int) {
        idleLists.remove(slot)
        channels[slot].pointee.flags.insert(.listsWhenIdle)
    }

    private func isIdle(_ slot: Int) -> Bool {
        let channel = channels[slot]
        let downstream = downstreams[slot]
        guard channel.pointee.phase == .established, channel.pointee.output.isEmpty,
            channel.pointee.stash.isEmpty, channel.pointee.deadlineKind == .keepAlive,
            channel.pointee.backlogged == 0,
            channel.pointee.flags.isDisjoint(
                with: [.broken, .awaitsPreface, .queued, .holdsPlaintext]),
            !downstream.pointee.headStarted, downstream.pointee.held == nil
        else { return false }
        return channel.pointee.http2 != nil
            ? links[slot].pointee.streamCount == 0
            : downstream.pointee.phase == .awaitingHead && downstream.pointee.exchange < 0
    }

    private func isSilent(_ slot: Int) -> Bool {
        channels[slot].pointee.session == nil && channels[slot].pointee.http2 == nil
            && channels[slot].pointee.stash.isEmpty
            && channels[slot].pointee.backlogged == 0
            && downstreams[slot].pointee.held == nil && !downstreams[slot].pointee.headStarted
    }

    /// It is served, or on its way out: nothing to be had.
    private func isBusy(_ slot: Int) -> Bool {
        switch channels[slot].pointee.phase {
        case .handshaking: false
        case .established:
            downstreams[slot].pointee.exchange >= 0
                || downstreams[slot].pointee.requestCount > 0
                    && !isIdle(slot)
        case .free, .connecting, .flushing, .lingering, .closing: true
        }
    }

    // MARK: - Victims

    /// Closes up to `count` connections that do nothing. Their slots are free with the next turn.
    ///
    /// - Returns: how many.
    @discardableResult
    func evict(_ count: Int, includingHigh: Bool) -> Int {
        for done in 0..<count where !evictOne(includingHigh: includingHigh) { return done }
        return count
    }

    private func evictOne(includingHigh: Bool) -> Bool {
        for isLow in [true, false] where isLow || includingHigh {
            if let slot = silent(isLow) {
                give(up: slot, .evictedUnused)
                return true
            }
            if let slot = idle(.idle, isLow) {
                give(up: slot, .evictedIdle)
                return true
            }
            if let slot = idle(.idleHTTP2, isLow) {
                give(up: slot, .evictedHTTP2)
                return true
            }
            if isLow, let slot = unfinished() {
                give(up: slot, .evictedUnfinished)
                return true
            }
        }
        return false
    }

    private func silent(_ isLow: Bool) -> Int? {
        for _ in 0..<Worker.looksMax {
            guard let slot = idleLists.first(.young, isLow: isLow) else { return nil }
            let requests = downstreams[slot].pointee.requestCount
            if isBusy(slot) {
                unlist(slot)
            } else if isIdle(slot), requests > 0 || !isSilent(slot) {
                listIdle(slot)
            } else if isSilent(slot) {
                let age = now.nanoseconds(since: idleLists.entry(slot).placedAt)
                return age >= Worker.evictionGrace ? slot : nil
            } else {
                let since = idleLists.entry(slot).placedAt
                idleLists.place(slot, .unfinished, isLow: isLow, requests: 0, now: since)
            }
        }
        return nil
    }

    private func idle(_ kind: IdleLists.Kind, _ isLow: Bool) -> Int? {
        for _ in 0..<Worker.looksMax {
            guard let slot = idleLists.first(kind, isLow: isLow) else { return nil }
            guard isIdle(slot) else {
                unlist(slot)
                continue
            }
            let entry = idleLists.entry(slot)
            let requests = downstreams[slot].pointee.requestCount
            if entry.requests == requests || isLongIdle(slot) {
                let age = now.nanoseconds(since: entry.placedAt)
                return age >= Worker.evictionGrace ? slot : nil
            }
            // Used since: behind the others, as idle as it has been.
            idleLists.place(
                slot, kind, isLow: isLow, requests: requests, now: idleSince(slot))
        }
        return nil
    }

    /// By its deadline, which moves with each request.
    private func idleSince(_ slot: Int) -> Instant {
        let left = wheel.deadline(of: slot).nanoseconds(since: now)
        let passed = snapshot.timeouts.keepAlive - min(left, snapshot.timeouts.keepAlive)
        return Instant(nanoseconds: now.nanoseconds - min(passed, now.nanoseconds))
    }

    private func isLongIdle(_ slot: Int) -> Bool {
        now.nanoseconds(since: idleSince(slot)) >= Worker.longIdle
    }

    private func unfinished() -> Int? {
        for _ in 0..<Worker.looksMax {
            guard let slot = idleLists.first(.unfinished, isLow: true) else { return nil }
            if isBusy(slot) {
                unlist(slot)
            } else if isIdle(slot) {
                listIdle(slot)
            } else {
                let age = now.nanoseconds(since: idleLists.entry(slot).placedAt)
                return age >= Worker.unfinishedGrace ? slot : nil
            }
        }
        return nil
    }

    /// At once: nothing that was sent is on its way, and nobody waits for what the client says.
    private func give(up slot: Int, _ reason: ReasonCode) {
        noteEviction(reason)
        block.add(reason)
        let channel = channels[slot]
        if let session = channel.pointee.http2 {
            session.terminate(.noError)
            writeSession(slot, session)
        }
        if reason == .evictedIdle || reason == .evictedHTTP2,
            let session = channel.pointee.session,
            channel.pointee.flags.isDisjoint(with: [.tlsFailed, .closingSaid, .broken])
        {
            channel.pointee.flags.insert(.closingSaid)
            session.closeNotify()
            flushWire(slot)
        }
        downstreams[slot].pointee.phase = .ended
        downstreams[slot].pointee.isEvicted = true
        evictionsPending += 1
        terminate(slot, reset: reason == .evictedUnused || reason == .evictedUnfinished)
    }

    /// Once per ten seconds of it.
    private func noteEviction(_ reason: ReasonCode) {
        defer { evictedAt = now }
        guard now.nanoseconds(since: evictedAt) >= Worker.longIdle else { return }
        Log.warning(
            "idle connections are closed to make room",
            [
                "worker": "\(setup.index)", "first": reason.label,
                "connections": "\(downstreamSlots.used)",
                "upstream_connections": "\(upstreamSlots.used)",
            ])
    }
}
