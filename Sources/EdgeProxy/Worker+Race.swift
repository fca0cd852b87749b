internal import EdgeCore
internal import EdgeUpstream

/// Connects that take longer than is usual for their member are raced: another member is tried as
/// well, whichever is ready first is used, and a clean loser goes to its pool. An exchange has at
/// most two connections under way (`Exchange.upstream`, and the older `rival`); a third attempt
/// lets go of the oldest.
extension Worker {
    /// A connection begins to be made.
    func setConnectDeadline(_ slot: Int, _ pool: UpstreamPool, _ member: Int) {
        let limit = pool.settings.connectTimeout
        let after = pool.group.view.raceAfter
        if pool.members.members.count > 1,
            let patience = pool.members.members[member].clock.raceDelay(
                raceAfter: after, timeout: .nanoseconds(Int64(clamping: limit))),
            patience < limit
        {
            setDeadline(slot, .race, patience)
            return
        }
        setDeadline(slot, .connect, limit)
    }

    /// The rest of its time is for the connection alone.
    private func endPatience(_ slot: Int, _ pool: UpstreamPool) {
        guard channels[slot].pointee.deadlineKind != .connect else { return }
        let limit = pool.settings.connectTimeout
        let passed = now.nanoseconds(since: upstream(slot).pointee.idleSince)
        setDeadline(slot, .connect, limit > passed ? limit - passed : 0)
    }

    /// The connection is late: its exchange, and those that wait for it, try another member.
    func raceDue(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard let pool = pools[Int(upstream.pointee.pool)] else { return }
        endPatience(slot, pool)
        if upstream.pointee.isShared {
            noteSlow(pool, Int(upstream.pointee.member))
            pool.http2Connecting &= ~MemberTable.bit(Int(upstream.pointee.member))
            callQueue(pool)
        }
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.upstream == Int32(slot) else { return }
        race(exchange, pool, slot)
    }

    /// Tries another member beside the one whose connection is still being made.
    private func race(_ exchange: Int, _ pool: UpstreamPool, _ slot: Int) {
        let state = exchanges[exchange]
        guard state.pointee.phase == .awaitingUpstream else { return }
        let tried = state.pointee.tried
        state.pointee.tried |= MemberTable.bit(Int(upstream(slot).pointee.member))
        let oldest = Int(state.pointee.rival)
        while let member = pool.members.next(choice(exchange, pool), now: now) {
            if oldest >= 0, state.pointee.rival == Int32(oldest) { letGo(oldest, isKept: true) }
            state.pointee.rival = Int32(slot)
            guard use(member, pool, exchange, allowsReuse: true) != nil else {
                block.add(.upstreamRaces)
                // Where it found a connection that was there.
                sendRequest(exchange)
                return
            }
            state.pointee.tried |= MemberTable.bit(member)
        }
        // Nobody else is left: the old one may still make it.
        state.pointee.tried = tried
        if state.pointee.rival == Int32(slot) { state.pointee.rival = -1 }
    }

    /// Those that wait for the member's connection try others; they may come back to it.
    private func noteSlow(_ pool: UpstreamPool, _ member: Int) {
        var exchange = Int(pool.queueFirst)
        while exchange >= 0 {
            exchanges[exchange].pointee.tried |= MemberTable.bit(member)
            exchange = Int(exchanges[exchange].pointee.queueNext)
        }
    }

    /// The connection is ready, first of those that were made for the exchange.
    func winRace(_ slot: Int, _ exchange: Int) {
        let state = exchanges[exchange]
        if state.pointee.rival == Int32(slot) {
            let younger = Int(state.pointee.upstream)
            state.pointee.rival = -1
            leaveQueue(exchange)
            assign(exchange, slot)
            if younger >= 0 { letGo(younger, isKept: true) }
        } else if state.pointee.rival >= 0 {
            block.add(.upstreamRacesWon)
            dropRival(exchange)
        }
    }

    /// Another connection was ready sooner, or the exchange is over.
    func dropRival(_ exchange: Int) {
        let state = exchanges[exchange]
        let rival = Int(state.pointee.rival)
        guard rival >= 0 else { return }
        state.pointee.rival = -1
        let isOvertaken = state.pointee.upstream >= 0
        if isOvertaken, let pool = pools[Int(state.pointee.pool)] {
            observe(pool, Int(upstream(rival).pointee.member), .connectTimedOut)
        }
        // A client that has left needs no connection, and its member may be short of them.
        letGo(rival, isKept: isOvertaken)
    }

    /// The connection that is being made serves nobody any more. It goes on for its pool's sake
    /// where that can keep it.
    private func letGo(_ slot: Int, isKept: Bool) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        upstream.pointee.exchange = -1
        guard let pool = pools[Int(upstream.pointee.pool)] else { return }
        let isRelay =
            exchange >= 0 && exchanges[exchange].pointee.flags.contains(.relay)
        let isKept =
            upstream.pointee.isShared
            || (isKept && !isRelay && !pool.settings.sendsProxyHeader && phase != .draining)
        guard isKept, upstream.pointee.phase == .connecting else {
            upstream.pointee.phase = .ended
            terminate(slot)
            return
        }
        endPatience(slot, pool)
    }

    /// A connection whose exchange found another is ready: the pool's from now on.
    func keepUnclaimed(_ slot: Int) {
        let upstream = self.upstream(slot)
        upstream.pointee.phase = .ended
        upstream.pointee.keepAlive = true
        poolConnection(slot, isReusable: true)
    }

    // MARK: - Failures

    /// A connection could not be made.
    ///
    /// - Returns: the exchange that has to go on without it; -1: none, or it has another.
    func connectFailed(_ slot: Int, _ reason: ReasonCode) -> Int {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        upstream.pointee.exchange = -1
        guard let pool = pools[Int(upstream.pointee.pool)] else { return exchange }
        let member = Int(upstream.pointee.member)
        block.add(.upstreamConnectFailures)
        if let observation = MemberObservation(reason) { observe(pool, member, observation) }
        guard exchange >= 0 else { return -1 }
        let state = exchanges[exchange]
        state.pointee.tried |= MemberTable.bit(member)
        let rival = Int(state.pointee.rival)
        guard rival >= 0 else { return exchange }
        state.pointee.rival = -1
        guard rival != slot else { return -1 }
        // The older one is the hope again, beside whoever is left.
        state.pointee.attempts &+= 1
        assign(exchange, rival)
        if state.pointee.attempts < Worker.attemptsMax { race(exchange, pool, rival) }
        return -1
    }
}

extension MemberObservation {
    /// What a failed connection says of its member; nil if it says nothing of it.
    fileprivate init?(_ reason: ReasonCode) {
        switch reason {
        case .upstreamConnectRefused: self = .connectRefused
        case .upstreamConnectTimeout: self = .connectTimedOut
        case .upstreamConnectFailed, .upstreamReset, .upstreamClosedEarly: self = .connectFailed
        case .upstreamTLSFailed, .upstreamNotVerified: self = .tlsFailed
        default: return nil
        }
    }
}
