internal import EdgeCore
internal import EdgeLimits
internal import EdgePreface
internal import EdgeTLS

/// Why a policy does not let a client in.
struct LimitRefusal {
    let reason: ReasonCode
    /// Index into `LimitPlans.policies`; -1: an administrator's ban.
    let policy: Int32

    init(_ reason: ReasonCode, _ policy: Int32) {
        self.reason = reason
        self.policy = policy
    }
}

/// Limits on connections and handshakes: whom nothing is done for. Refused connections are reset at
/// once, so that nothing of them is left; a handshake is refused before anything is computed for
/// it. Behind a PROXY header the client is the one that it names, and nobody is asked about before
/// it is there: whoever forwards is not limited himself.
extension Worker {
    // MARK: - Arriving

    /// Whether a client may have one more connection. It holds its counts until its slot is free.
    ///
    /// - Returns: why not; nil: it may.
    // Never inlined: connections of places without policies do not pay for its frame.
    @inline(never)
    func connectionRefusal(
        _ slot: Int, _ client: SocketAddress, _ plan: Int32, asksStanding: Bool = true
    ) -> LimitRefusal? {
        guard let memory = limitTables else { return nil }
        let plans = limits
        let caller = plans.caller(client)
        if asksStanding {
            switch plans.standing(plan, caller, now: now, in: memory.bans) {
            case .welcome: break
            case .denied(let policy): return refused(client, .clientForbidden, policy)
            case .banned(let policy, _): return refused(client, .rateLimited, policy)
            }
        }
        let held = connectionCounts[slot]
        let count = plans.enter(
            plan, .connections, caller, in: memory.counts, held: &held.pointee)
        guard count.isAdmitted else {
            return refused(client, .rateLimited, plans.counts[Int(count.refusedBy)].policy)
        }
        let verdict = plans.charge(
            plan, .connections, caller, now: now, in: memory.rates, journal: &admitted)
        guard verdict.isAdmitted else {
            plans.leave(&held.pointee, in: memory.counts)
            return refused(client, .rateLimited, plans.limits[Int(verdict.refusedBy)].policy)
        }
        if verdict.shadow >= 0 || count.shadow >= 0 {
            block.add(.connectionsOverShadowLimit)
            let policy =
                verdict.shadow >= 0
                ? plans.limits[Int(verdict.shadow)].policy
                : plans.counts[Int(count.shadow)].policy
            tally.refused(client, by: policy, of: plans, isShadow: true, now: now)
        }
        return nil
    }

    /// Counted by who and by what.
    private func refused(
        _ client: SocketAddress, _ reason: ReasonCode, _ policy: Int32
    ) -> LimitRefusal {
        tally.refused(client, by: policy, of: limits, now: now)
        return LimitRefusal(reason, policy)
    }

    /// The slot is free: whatever way its connection has ended, it counts no more.
    func leaveConnectionCounts(_ slot: Int) {
        guard let memory = limitTables, !connectionCounts[slot].pointee.isEmpty else { return }
        limits.leave(&connectionCounts[slot].pointee, in: memory.counts)
    }

    /// Its client has just become known, by its PROXY header.
    ///
    /// - Returns: false if he may not come: the connection is closed.
    func admitsNamedClient(_ slot: Int) -> Bool {
        let downstream = downstreams[slot]
        let plan = snapshot.routing.connections.arrival(
            view: Int(downstream.pointee.view), listener: Int(downstream.pointee.listener))
        guard plan >= 0,
            let refusal = connectionRefusal(slot, downstream.pointee.peer, plan)
        else { return true }
        turnAway(slot, refusal)
        return false
    }

    /// A ClientHello says that the connection is for a site that is passed on: it is asked about
    /// before anything is opened for it.
    ///
    /// - Returns: false if it is closed.
    func admitsPassthrough(_ slot: Int, view: Int, site: Int32) -> Bool {
        let connections = snapshot.routing.connections
        guard connections.judgesHellos else { return true }
        let client = downstreams[slot].pointee.peer
        let plans = connections.site(view: view, site)
        if let plans, let refusal = connectionRefusal(slot, client, plans.own) {
            turnAway(slot, refusal)
            return false
        }
        let all = plans?.all ?? arrivalPlan(slot)
        guard let refusal = handshakeRefusal(client, all, .handshakes) else { return true }
        turnAway(slot, refusal)
        return false
    }

    func arrivalPlan(_ slot: Int) -> Int32 {
        snapshot.routing.connections.arrival(
            view: Int(downstreams[slot].pointee.view),
            listener: Int(downstreams[slot].pointee.listener))
    }

    /// Resets a connection that a policy refuses.
    func turnAway(_ slot: Int, _ refusal: LimitRefusal) {
        block.add(.connectionsRefused)
        block.add(refusal.reason)
        if accessLog.isOn {
            refusingPolicy = refusal.policy
            logRefused(
                downstreams[slot].pointee.peer, listener: Int(downstreams[slot].pointee.listener),
                view: Int(downstreams[slot].pointee.view), refusal.reason)
        }
        drop(slot)
    }

    private func drop(_ slot: Int) {
        downstreams[slot].pointee.phase = .ended
        terminate(slot, reset: true)
    }

    // MARK: - Handshakes

    /// A client's first bytes of TLS have come, and there is no session for them yet: it is asked
    /// for whatever is known without reading them.
    ///
    /// - Returns: false if the connection is closed.
    func admitsHandshake(_ slot: Int) -> Bool {
        guard snapshot.routing.connections.judgesHellos,
            let refusal = handshakeRefusal(
                downstreams[slot].pointee.peer, arrivalPlan(slot), .handshakes)
        else { return true }
        endRefusedHandshake(slot, refusal)
        return false
    }

    /// OpenSSL has read a ClientHello, knows whether a session is resumed, and has computed nothing
    /// for it: neither a certificate nor a key has been looked for. Called by it, in the middle of
    /// a step of `handshakingSlot`; once more after a HelloRetryRequest.
    ///
    /// - Returns: false if the handshake is to end here (`helloRefusal`).
    @inline(never)
    func permitsHandshake(_ session: TLSSession, isResumed: Bool) -> Bool {
        let slot = handshakingSlot
        guard slot >= 0, isDownstream(slot) else { return true }
        let channel = channels[slot]
        // Of a second hello what differs from the first: it may leave the session out that the
        // first has offered, or be for another site.
        let isFirst = !channel.pointee.flags.contains(.helloJudged)
        let isCharged =
            !isFirst && (isResumed || !channel.pointee.flags.contains(.judgedResumed))
        channel.pointee.flags.insert(.helloJudged)
        if isResumed {
            channel.pointee.flags.insert(.judgedResumed)
        } else {
            channel.pointee.flags.remove(.judgedResumed)
        }
        let client = downstreams[slot].pointee.peer
        let site = sitePlans(slot, session)
        let isOther = downstreams[slot].pointee.judgedPlan != site?.own ?? -1
        downstreams[slot].pointee.judgedPlan = site?.own ?? -1
        if let site, isOther {
            // Its list of whom it does not serve is for requests, which get an answer.
            helloRefusal =
                connectionRefusal(slot, client, site.own, asksStanding: false)
                ?? handshakeRefusal(client, site.own, .handshakes)
        }
        if helloRefusal == nil, !isCharged {
            helloRefusal = handshakeRefusal(
                client, site?.all ?? arrivalPlan(slot),
                isResumed ? .resumedHandshakes : .fullHandshakes)
        }
        return helloRefusal == nil
    }

    /// Of the site that the ClientHello is for; nil: it has none of its own.
    private func sitePlans(_ slot: Int, _ session: TLSSession) -> ConnectionPlans.Site? {
        let connections = snapshot.routing.connections
        guard connections.hasSites, let view = clientView(slot) else { return nil }
        let name = session.serverNameBytes ?? UnsafeRawBufferPointer(start: nil, count: 0)
        let route = snapshot.routing.router.connection(
            view: view.index, serverName: name.bindMemory(to: UInt8.self).span,
            offers: { _ in false })
        switch route {
        case .terminate(let site, _), .terminateUnknown(let site, _):
            return connections.site(view: view.index, site)
        case .passthrough, .refuse: return nil
        }
    }

    private func handshakeRefusal(
        _ client: SocketAddress, _ plan: Int32, _ thing: LimitedThing
    ) -> LimitRefusal? {
        guard plan >= 0, let memory = limitTables else { return nil }
        let plans = limits
        let verdict = plans.charge(
            plan, thing, plans.caller(client), now: now, in: memory.rates, journal: &admitted)
        guard verdict.isAdmitted else {
            return refused(client, .rateLimited, plans.limits[Int(verdict.refusedBy)].policy)
        }
        if verdict.shadow >= 0 {
            block.add(.handshakesOverShadowLimit)
            let policy = plans.limits[Int(verdict.shadow)].policy
            tally.refused(client, by: policy, of: plans, isShadow: true, now: now)
        }
        return nil
    }

    /// A handshake that was refused is over: what OpenSSL would say about it stays unsaid, and
    /// nothing of the connection is kept.
    @inline(never)
    func endRefusedHandshake(_ slot: Int, _ refusal: LimitRefusal) {
        helloRefusal = nil
        engine.wire.clearOutput()
        _ = TLSFailure.takeErrorText()
        block.add(.handshakesRefused)
        block.add(refusal.reason)
        if accessLog.isOn {
            refusingPolicy = refusal.policy
            logFailure(slot, refusal.reason)
        }
        drop(slot)
    }
}
