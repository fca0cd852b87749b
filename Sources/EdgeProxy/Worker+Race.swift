internal import EdgeCore
internal import EdgeUpstream

/// Connections that take longer than is usual for their member are raced: another member is tried
/// as well, whichever is ready first is used, and a clean loser goes to its pool. An exchange has
/// one connection that it expects most of (`Exchange.upstream`) and a list of older ones
/// (`Exchange.rival`), all of them under way. With nobody left to try, or all others full, the
/// older ones are what it waits for.
extension Worker {
    /// Connections under way for one exchange.
    static let racersMax = 4

    // MARK: - Deadlines

    /// A connection begins to be made.
    func setConnectDeadline(_ slot: Int, _ pool: UpstreamPool, _ member: Int) {
        let limit = connectLimit(slot, pool)
        let after = pool.group.view.raceAfter
        if pool.group.members.members.count > 1,
            let patience = pool.group.members.members[member].clock.raceDelay(
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
        setDeadline(slot, .connect, connectLimit(slot, pool))
    }

    /// What is left for the connection to be made.
    private func connectLimit(_ slot: Int, _ pool: UpstreamPool) -> UInt64 {
        let limit = pool.settings.connectTimeout
        let passed = now.nanoseconds(since: upstream(slot).pointee.idleSince)
        let left = limit > passed ? limit - passed : 0
        let exchange = Int(upstream(slot).pointee.exchange)
        return exchange >= 0 ? min(left, timeLeft(exchange, pool)) : left
    }

    /// The connection is late: its exchange, and those that wait for it, try another member.
    func raceDue(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard let pool = pools[Int(upstream.pointee.pool)] else { return }
        endPatience(slot, pool)
        if upstream.pointee.isShared {
            let bit = MemberTable.bit(Int(upstream.pointee.member))
            pool.http2Connecting &= ~bit
            pool.http2Late |= bit
            callQueue(pool)
        }
        let exchange = Int(upstream.pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.upstream == Int32(slot) else { return }
        race(exchange, pool, slot)
    }

    /// Members have come or gone: requests whose connection is late, or is being made to a member
    /// that is down, need not wait for its end.
    func raceAgain() {
        for index in 0..<upstreamSlots.touched {
            let slot = upstreamBase + index
            let upstream = upstreams[index]
            switch channels[slot].pointee.phase {
            case .connecting, .handshaking: break
            case .free, .established, .flushing, .lingering, .closing: continue
            }
            guard upstream.pointee.phase == .connecting,
                let pool = pools[Int(upstream.pointee.pool)]
            else { continue }
            let isLate = channels[slot].pointee.deadlineKind == .connect
            let isKept = pool.group.members.isKept(Int(upstream.pointee.member))
            guard pool.group.view.raceAfter > .zero, isLate || !isKept else { continue }
            raceDue(slot)
        }
    }

    // MARK: - Competitors

    /// Tries another member beside the one whose connection is still being made.
    private func race(_ exchange: Int, _ pool: UpstreamPool, _ slot: Int) {
        let state = exchanges[exchange]
        guard state.pointee.phase == .awaitingUpstream, mayRace(exchange) else { return }
        let tried = state.pointee.tried
        state.pointee.tried |= MemberTable.bit(Int(upstream(slot).pointee.member))
        upstream(slot).pointee.nextRival = state.pointee.rival
        state.pointee.rival = Int32(slot)
        var choice = choice(exchange, pool)
        while let member = pool.group.members.next(choice, now: now) {
            guard use(member, pool, exchange, allowsReuse: true) != nil else {
                block.add(.upstreamRaces)
                // Where it found a connection that was there.
                sendRequest(exchange)
                return
            }
            choice.tried |= MemberTable.bit(member)
            state.pointee.tried |= MemberTable.bit(member)
        }
        if awaitsLate(exchange, pool)
            || pool.group.members.isWorthWaiting(choice) && hasPlace(exchange, pool)
        {
            // Room elsewhere, others' late connections, or its own: whichever comes first.
            unassign(exchange)
            enqueue(exchange, pool, isBounded: false)
            return
        }
        // Nobody else is left: the old one may still make it, also in a later attempt.
        state.pointee.tried = tried
        state.pointee.rival = upstream(slot).pointee.nextRival
        upstream(slot).pointee.nextRival = -1
    }

    /// Competitors are few, and take no slot that a request without any connection may need.
    private func mayRace(_ exchange: Int) -> Bool {
        var count = 1
        var slot = Int(exchanges[exchange].pointee.rival)
        while slot >= 0 {
            count += 1
            slot = Int(upstream(slot).pointee.nextRival)
        }
        return count < Worker.racersMax && hasSpareSlots
    }

    /// A quarter of all slots is for those that have no connection at all.
    private var hasSpareSlots: Bool {
        upstreamSlots.used < upstreamSlots.capacity / 4 * 3
    }

    /// Nobody else serves the exchange: the newest of its older connections is its hope again.
    ///
    /// - Returns: false if there is none.
    func returnToRival(_ exchange: Int) -> Bool {
        let state = exchanges[exchange]
        let rival = Int(state.pointee.rival)
        guard rival >= 0 else { return false }
        state.pointee.rival = upstream(rival).pointee.nextRival
        upstream(rival).pointee.nextRival = -1
        assign(exchange, rival)
        noteMember(exchange, rival)
        return true
    }

    /// - Returns: whether it was one of the older ones; it is none any more.
    private func unlinkRival(_ slot: Int, of exchange: Int) -> Bool {
        let next = upstream(slot).pointee.nextRival
        guard exchanges[exchange].pointee.rival != Int32(slot) else {
            exchanges[exchange].pointee.rival = next
            upstream(slot).pointee.nextRival = -1
            return true
        }
        var previous = Int(exchanges[exchange].pointee.rival)
        while previous >= 0 {
            let link = upstream(previous)
            guard link.pointee.nextRival != Int32(slot) else {
                link.pointee.nextRival = next
                upstream(slot).pointee.nextRival = -1
                return true
            }
            previous = Int(link.pointee.nextRival)
        }
        return false
    }

    // MARK: - Ends

    /// The connection is ready, first of those that were made for the exchange.
    func winRace(_ slot: Int, _ exchange: Int) {
        let state = exchanges[exchange]
        guard unlinkRival(slot, of: exchange) else {
            dropRivals(exchange)
            return
        }
        let younger = Int(state.pointee.upstream)
        leaveQueue(exchange)
        assign(exchange, slot)
        noteMember(exchange, slot)
        if younger >= 0 { letGo(younger, isKept: true) }
        // Of these, the newer ones have not been late for longer than the winner.
        letGoOfRivals(exchange)
    }

    /// None of the older connections is needed; their pools keep them.
    func letGoOfRivals(_ exchange: Int) {
        while let rival = takeRival(exchange) { letGo(rival, isKept: true) }
    }

    /// Another connection was ready sooner, or the exchange is over.
    func dropRivals(_ exchange: Int) {
        let state = exchanges[exchange]
        guard state.pointee.rival >= 0 else { return }
        let isOvertaken = state.pointee.upstream >= 0
        if isOvertaken { block.add(.upstreamRacesWon) }
        while let rival = takeRival(exchange) {
            if isOvertaken, let pool = pools[Int(state.pointee.pool)] {
                observe(pool, Int(upstream(rival).pointee.member), .connectTimedOut)
            }
            // A client that has left needs no connection, and its member may be short of them.
            letGo(rival, isKept: isOvertaken)
        }
    }

    private func takeRival(_ exchange: Int) -> Int? {
        let rival = Int(exchanges[exchange].pointee.rival)
        guard rival >= 0 else { return nil }
        exchanges[exchange].pointee.rival = upstream(rival).pointee.nextRival
        upstream(rival).pointee.nextRival = -1
        return rival
    }

    /// The connection that is being made serves nobody any more. It goes on for its pool's sake
    /// where that can keep it and has not many such.
    func letGo(_ slot: Int, isKept: Bool) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        upstream.pointee.exchange = -1
        guard let pool = pools[Int(upstream.pointee.pool)] else { return }
        let isRelay =
            exchange >= 0 && exchanges[exchange].pointee.flags.contains(.relay)
        let isWanted =
            isKept && !isRelay && !pool.settings.sendsProxyHeader && phase != .draining
            && pool.unclaimed < UpstreamPool.unclaimedMax && hasSpareSlots
        guard upstream.pointee.isShared || isWanted, upstream.pointee.phase == .connecting else {
            upstream.pointee.phase = .ended
            terminate(slot)
            return
        }
        if !upstream.pointee.isShared {
            upstream.pointee.isUnclaimed = true
            pool.unclaimed += 1
        }
        endPatience(slot, pool)
    }

    /// A connection whose exchange found another is ready: the pool's from now on.
    func keepUnclaimed(_ slot: Int) {
        let upstream = self.upstream(slot)
        noteClaimed(slot)
        upstream.pointee.phase = .ended
        upstream.pointee.keepAlive = true
        poolConnection(slot, isReusable: true)
    }

    /// It is no longer one that is made for its pool alone.
    func noteClaimed(_ slot: Int) {
        guard upstream(slot).pointee.isUnclaimed else { return }
        upstream(slot).pointee.isUnclaimed = false
        pools[Int(upstream(slot).pointee.pool)]?.unclaimed -= 1
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
        pool.group.row.add(UpstreamCells.connectFailures)
        if let observation = MemberObservation(reason) { observe(pool, member, observation) }
        guard exchange >= 0 else { return -1 }
        let state = exchanges[exchange]
        state.pointee.tried |= MemberTable.bit(member)
        if unlinkRival(slot, of: exchange) {
            // Waiting for room alone is worth it only where there may be some.
            if state.pointee.flags.contains(.queued) { callOwnQueue(pool) }
            return -1
        }
        // An older one is the hope again, beside whoever is left.
        guard returnToRival(exchange) else { return exchange }
        state.pointee.attempts &+= 1
        if state.pointee.attempts < Worker.attemptsMax {
            race(exchange, pool, Int(state.pointee.upstream))
        }
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
