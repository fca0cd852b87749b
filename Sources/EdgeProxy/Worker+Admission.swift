internal import EdgeCore
internal import EdgeLimits

/// A handshake of a view of low priority that waits for its turn.
struct DeferredHandshake {
    let slot: Int32
    let generation: UInt32
    let since: Instant
}

/// What is taken on when there is more to do than time: established connections and views of high
/// priority go first. Handshakes of the others are begun a few per turn; how long they wait, how
/// long turns take and how long clients queue to be accepted is the delay that decides whether
/// new ones come in at all (`AdmissionController`).
///
/// Only where a view has low priority; others pay one branch per turn.
extension Worker {
    /// Handshakes of low priority that are begun per turn. One takes as long as twenty requests:
    /// whoever comes meanwhile waits for one of them, not for all; a turn more for each costs a
    /// hundredth. How they end is a request's work.
    static let handshakesPerTurn = 1
    /// After something of the LAN no handshake of low priority is begun for so long: the answer to
    /// it, or what it says next, is about to come, and would wait for all of the handshake.
    private static let answerTime: UInt64 = 1_000_000
    /// However much the LAN says, one is begun every so often.
    private static let handshakePause: UInt64 = 4_000_000
    /// A handshake that has waited longer is not worth its cost while others are refused.
    static let deferredMax: UInt64 = 500_000_000
    /// A wait as long as this one was for work: nothing had been left undone.
    static let idleWait: UInt64 = 100_000

    // MARK: - Priorities

    func isLowPriority(_ slot: Int) -> Bool {
        isLow(view: Int(downstreams[slot].pointee.view))
    }

    @inline(__always)
    func isLow(view number: Int) -> Bool {
        number < lowViews.count && lowViews[number]
    }

    /// What a snapshot's views and listeners come to.
    func rankListeners() {
        let routing = snapshot.routing
        shedsLoad = routing.hasLow
        lowViews = routing.lowViews
        // The last places are for those that matter more.
        slotReserve = routing.hasLow && routing.hasHigh ? max(1, setup.connectionsMax / 16) : 0
        listenerRanks = snapshot.listeners.map { routing.rank(of: $0.views) }
        if !shedsLoad {
            admission = AdmissionController(now: now)
            tellAdmission()
        }
    }

    // MARK: - Newcomers

    /// Streams have places that are not for clients of low priority, as connections have.
    func hasStreamPlace(_ connection: Int) -> Bool {
        let left = clientStreamSlots.capacity - clientStreamSlots.used
        guard slotReserve > 0, left <= clientStreamSlots.capacity / 16 else { return true }
        return !isLowPriority(connection)
    }

    /// Why a connection that has just been accepted is not taken, whoever its client is; `none`: it
    /// is, if there is a place for it.
    // hot: once per connection
    func refusal(view number: Int) -> ReasonCode {
        let memory = setup.pressure.memory
        guard memory != .exhausted else { return .memoryPressure }
        guard shedsLoad, isLow(view: number) else { return .none }
        if memory == .scarce { return .memoryPressure }
        return admission.admits() ? .none : .overloaded
    }

    // MARK: - Delay

    /// Begins a turn.
    ///
    /// - Parameter lag: nanoseconds that the turn before took, if work had come meanwhile.
    @inline(never)
    func noteDelay(_ lag: UInt64) {
        var delay = lag
        if deferredFirst < deferred.count {
            delay = max(delay, now.nanoseconds(since: deferred[deferredFirst].since))
        }
        if let oldest = backlog.oldest { delay = max(delay, now.nanoseconds(since: oldest)) }
        if phase == .serving, acceptPending == .now {
            if queueStands == .never { queueStands = now }
            delay = max(delay, now.nanoseconds(since: queueStands))
        } else {
            queueStands = .never
        }
        worstDelay = max(worstDelay, delay)
        if admission.note(delay, now: now) { tellAdmission() }
    }

    /// What is not of low priority has had its turn.
    ///
    /// - Parameters:
    ///   - count: completions of it.
    ///   - lag: nanoseconds that they may have waited before the turn.
    func notePreferred(_ count: Int, lag: UInt64) {
        guard count > 0 else { return }
        preferredAt = now
        let delay = lag + clock().nanoseconds(since: now)
        worstPreferredDelay = max(worstPreferredDelay, delay)
    }

    private func tellAdmission() {
        let since = admission.since
        guard block.overloadedSince != (since?.nanoseconds ?? 0) else { return }
        block.overloadedSince = since?.nanoseconds ?? 0
        let words: Log.Fields = [
            "worker": "\(setup.index)", "delay_us": "\(admission.lastMinimum / 1000)",
            "waiting": "\(deferred.count - deferredFirst)",
        ]
        if since != nil {
            Log.warning("overloaded: newcomers of low priority are refused", words)
        } else {
            Log.notice("no longer overloaded", words)
        }
    }

    /// Once a second.
    func keepPressure() {
        block.set(.queueDelayMicroseconds, worstDelay / 1000)
        block.set(.queueDelayPreferredMicroseconds, worstPreferredDelay / 1000)
        worstDelay = 0
        worstPreferredDelay = 0
        descriptorReserve.refill()
        switch setup.pressure.memory {
        case .enough: break
        case .scarce: evict(evictionShare, includingHigh: false)
        case .exhausted: evict(evictionShare, includingHigh: true)
        }
        if setup.pressure.memory != .enough { chunks.trim() }
    }

    /// An eighth of the connections per second.
    private var evictionShare: Int { max(1, downstreamSlots.used / 8) }

    // MARK: - Handshakes

    /// Nanoseconds until a handshake of low priority may be begun, as far as the LAN is concerned.
    var handshakeWait: UInt64 {
        let quiet = now.nanoseconds(since: preferredAt)
        let pause = now.nanoseconds(since: handshakeAt)
        guard shedsLoad, quiet < Worker.answerTime, pause < Worker.handshakePause else { return 0 }
        return min(Worker.answerTime - quiet, Worker.handshakePause - pause)
    }

    private func handshakeBegins(_ slot: Int) {
        handshakesBegun += 1
        channels[slot].pointee.flags.insert(.handshakeDue)
    }

    /// Its ClientHello has been answered: that was the dear part of it, unless the answer asks for
    /// another hello (HelloRetryRequest), whose turn is yet to come.
    func noteHandshakeBegun(_ slot: Int, isRetry: Bool) {
        let channel = channels[slot]
        if !isRetry { channel.pointee.flags.insert(.helloAnswered) }
        guard channel.pointee.flags.contains(.handshakeDue) else { return }
        channel.pointee.flags.remove(.handshakeDue)
        handshakeAt = now
    }

    /// Its ClientHello is not complete: a turn that was given to it has not been used, and what
    /// comes next of it waits for another.
    func noteHelloIncomplete(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.contains(.handshakeDue) else { return }
        channel.pointee.flags.remove(.handshakeDue)
        handshakesBegun = max(0, handshakesBegun - 1)
    }

    /// Bytes have come of a handshake whose hello has not been answered.
    ///
    /// - Returns: true if it has to wait; it goes on by itself.
    @inline(never)
    func defersHandshake(_ slot: Int) -> Bool {
        guard shedsLoad, isDownstream(slot), isLowPriority(slot),
            channels[slot].pointee.flags.isDisjoint(with: [.handshakeDue, .helloAnswered])
        else { return false }
        if handshakesBegun < Worker.handshakesPerTurn, deferredFirst == deferred.count,
            handshakeWait == 0
        {
            handshakeBegins(slot)
            return false
        }
        if !channels[slot].pointee.flags.contains(.deferred) {
            channels[slot].pointee.flags.insert(.deferred)
            deferred.append(
                DeferredHandshake(
                    slot: Int32(slot), generation: channels[slot].pointee.generation, since: now))
            block.add(.handshakesDeferred)
        }
        pauseInput(slot)
        return true
    }

    /// At the end of a turn: the next few that wait.
    @inline(never)
    func beginDeferred() {
        // All of them when nobody is of low priority any more: nothing counts their turns then.
        while deferredFirst < deferred.count,
            handshakesBegun < Worker.handshakesPerTurn || !shedsLoad
        {
            let next = deferred[deferredFirst]
            deferredFirst += 1
            let slot = Int(next.slot)
            guard isOpen(slot, next.generation),
                channels[slot].pointee.phase == .handshaking
            else { continue }
            guard !channels[slot].pointee.flags.contains(.peerEnded) else {
                downstreamFailed(slot, .clientClosed)
                continue
            }
            if admission.isShedding, channels[slot].pointee.session == nil,
                now.nanoseconds(since: next.since) > Worker.deferredMax
            {
                refuseDeferred(slot)
                continue
            }
            channels[slot].pointee.flags.remove(.deferred)
            handshakeBegins(slot)
            resumeInput(slot)
        }
        if deferredFirst == deferred.count || deferredFirst >= 1024 {
            deferred.removeFirst(deferredFirst)
            deferredFirst = 0
        }
        attendAll()
    }

    /// It has waited for too long, and that was not its fault.
    func refuseDeferred(_ slot: Int) {
        block.add(.connectionsRefused)
        channels[slot].pointee.flags.insert(.resets)
        downstreamFailed(slot, .overloaded)
    }
}
