internal import EdgeCore
internal import EdgeHTTP1
internal import EdgeUpstream

/// What becomes of a request whose connection has failed, or whose answer is worth another attempt:
/// sent again where that is safe (RFC 9110 §9.2.2), to another member, within the budget of its
/// upstream.
extension Worker {
    /// Attempts of one request, whatever for.
    static let attemptsMax: UInt8 = 8

    /// The connection is of no more use. What becomes of its exchange depends on how far it was.
    func upstreamFailed(_ slot: Int, _ reason: ReasonCode) {
        let upstream = self.upstream(slot)
        if upstream.pointee.phase == .idle {
            closeIdleUpstream(slot)
            return
        }
        if upstream.pointee.phase == .multiplexing {
            // Its streams are retried or failed one by one.
            abandonHTTP2(slot, reason)
            closeUpstreamConnection(slot)
            return
        }
        if upstream.pointee.exchange >= 0,
            exchanges[Int(upstream.pointee.exchange)].pointee.elder == Int32(slot)
        {
            elderFailed(slot, reason)
            return
        }
        let wasConnecting = upstream.pointee.phase == .connecting
        // The slot may be free by the end of `terminate`.
        let wasShared = upstream.pointee.isShared
        let poolID = Int(upstream.pointee.pool)
        let member = Int(upstream.pointee.member)
        let remedy = remedy(slot, reason)
        let exchange: Int
        if wasConnecting {
            exchange = connectFailed(slot, reason)
        } else {
            exchange = Int(upstream.pointee.exchange)
            let isOld = upstream.pointee.isReused && !upstream.pointee.answerStarted
            if exchange >= 0, !isHeldAgainst(exchange, reason) {
                blame(poolID, member, reason, isOld: isOld)
            }
        }
        upstream.pointee.exchange = -1
        upstream.pointee.phase = .ended
        if exchange >= 0 { unassign(exchange) }
        terminate(slot)
        if wasConnecting, wasShared {
            noteWaitInVain(poolID, member)
            sharedConnectEnded(slot)
        }
        guard exchange >= 0 else { return }
        let state = exchanges[exchange]
        state.pointee.tried |= MemberTable.bit(member)
        guard remedy != .nowhere, state.pointee.attempts < Worker.attemptsMax,
            !isOverdue(exchange)
        else {
            failExchange(exchange, reason)
            return
        }
        retry(exchange, reason, mayReturn: remedy == .anyMember)
    }

    /// A member has failed a request.
    ///
    /// - Parameter isOld: the connection had served before, and has not answered: its silent end is
    ///   nobody's fault.
    func blame(_ id: Int, _ member: Int, _ reason: ReasonCode, isOld: Bool) {
        guard let pool = pools[id] else { return }
        switch reason {
        case .upstreamUnreachable:
            observe(pool, member, .unreachable)
            noteFailure(pool, member)
        case .upstreamHeadTimeout, .upstreamBodyTimeout, .upstreamBadResponse, .upstreamTruncated:
            noteFailure(pool, member)
        case .upstreamReset, .upstreamClosedEarly: if !isOld { noteFailure(pool, member) }
        default: break
        }
    }

    /// Those that waited for the connection have tried the member in vain, too.
    private func noteWaitInVain(_ id: Int, _ member: Int) {
        guard let pool = pools[id] else { return }
        var exchange = Int(pool.queueFirst)
        while exchange >= 0 {
            let state = exchanges[exchange]
            state.pointee.tried |= MemberTable.bit(member)
            state.pointee.attempts &+= 1
            exchange = Int(state.pointee.queueNext)
        }
    }

    // MARK: - Where to

    /// Where a request may be sent again whose connection has failed.
    private enum Remedy {
        case nowhere
        case anotherMember
        /// Also the one that failed: it closed an old connection, which does not mean that it
        /// refuses new ones.
        case anyMember
    }

    /// Only before a byte of the answer, and only what does no harm twice: on a reused connection
    /// its silent end is to be expected; a fresh one that ends is a member that is going away, or a
    /// request that kills members, so there the attempts are counted.
    private func remedy(_ slot: Int, _ reason: ReasonCode) -> Remedy {
        let upstream = self.upstream(slot)
        guard upstream.pointee.phase != .connecting else { return .anotherMember }
        guard !upstream.pointee.answerStarted, upstream.pointee.exchange >= 0 else {
            return .nowhere
        }
        let exchange = Int(upstream.pointee.exchange)
        let member = Int(upstream.pointee.member)
        let state = exchanges[exchange]
        // The older attempt may still be answered.
        guard state.pointee.flags.contains(.replayable), state.pointee.elder < 0 else {
            return .nowhere
        }
        switch reason {
        case .upstreamStreamRefused:
            // Whatever it is: nothing of it has been done (RFC 9113 §8.7).
            return .anyMember
        case .upstreamReset, .upstreamClosedEarly:
            let isUnsent = !state.pointee.flags.contains(.prefixSent)
            guard isUnsent || state.pointee.method.isIdempotent else { return .nowhere }
            if upstream.pointee.isReused { return .anyMember }
            return isUnsent || takeResend(exchange, besides: member) ? .anotherMember : .nowhere
        case .upstreamUnreachable:
            guard state.pointee.method.isIdempotent, takeResend(exchange, besides: member) else {
                return .nowhere
            }
            return .anotherMember
        case .upstreamHeadTimeout:
            guard pools[Int(state.pointee.pool)]?.group.view.retries.perTry != nil,
                state.pointee.method.isIdempotent, takeResend(exchange, besides: member)
            else { return .nowhere }
            return .anotherMember
        default: return .nowhere
        }
    }

    /// What has been sent may be sent once more: the policy and the deadline allow it, and there is
    /// somebody to send it to.
    private func mayResend(_ exchange: Int, besides member: Int) -> Bool {
        let state = exchanges[exchange]
        guard let pool = pools[Int(state.pointee.pool)],
            Int(state.pointee.resends) < pool.group.view.retries.attempts,
            state.pointee.attempts < Worker.attemptsMax, !isOverdue(exchange)
        else { return false }
        var choice = choice(exchange, pool)
        choice.tried |= MemberTable.bit(member)
        return pool.group.members.hasRoom(choice) || pool.group.members.isWorthWaiting(choice)
    }

    /// One more attempt of what was sent before, within the policy, the deadline and the budget.
    func takeResend(_ exchange: Int, besides member: Int) -> Bool {
        let state = exchanges[exchange]
        guard mayResend(exchange, besides: member),
            let group = pools[Int(state.pointee.pool)]?.group
        else { return false }
        guard group.budget.take(now: now) else {
            block.add(.retryBudgetEmpty)
            return false
        }
        state.pointee.resends &+= 1
        return true
    }

    /// Nanoseconds that the request has, from its head to its answer's.
    func timeLeft(_ exchange: Int, _ pool: UpstreamPool) -> UInt64 {
        guard let overall = pool.group.view.retries.overall else { return .max }
        var passed = now.nanoseconds(since: exchanges[exchange].pointee.times.head)
        if exchanges[exchange].pointee.isMetered {
            // That was the client's own debt.
            passed -= min(passed, meters[exchange].pointee.heldBackFor)
        }
        return overall.nanoseconds > passed ? overall.nanoseconds - passed : 0
    }

    private func isOverdue(_ exchange: Int) -> Bool {
        guard let pool = pools[Int(exchanges[exchange].pointee.pool)] else { return false }
        return timeLeft(exchange, pool) == 0
    }

    /// An answer whose status is worth another attempt, elsewhere.
    ///
    /// - Returns: whether it has been begun: the answer is dropped.
    func retriesAnswer(_ slot: Int, _ exchange: Int, status: UInt16) -> Bool {
        let state = exchanges[exchange]
        guard status >= 400, let pool = pools[Int(state.pointee.pool)],
            pool.group.view.retries.statuses.contains(status),
            state.pointee.method.isIdempotent,
            state.pointee.flags.isSuperset(of: [.replayable, .requestComplete]),
            state.pointee.prefix != nil
        else { return false }
        let member = Int(upstream(slot).pointee.member)
        var choice = choice(exchange, pool)
        choice.tried |= MemberTable.bit(member)
        guard pool.group.members.hasRoom(choice), takeResend(exchange, besides: member) else {
            return false
        }
        noteAnswer(exchange, slot, status: status)
        state.pointee.tried |= MemberTable.bit(member)
        state.pointee.times.answered = Instant(nanoseconds: 0)
        releaseUpstream(exchange, isReusable: false)
        retry(exchange, .upstreamBadResponse, mayReturn: false)
        return true
    }

    /// Another member, on a fresh connection: unused ones are likely to be as dead.
    ///
    /// - Parameter mayReturn: with no other member left, the one that failed is asked once more.
    func retry(_ exchange: Int, _ reason: ReasonCode, mayReturn: Bool) {
        let state = exchanges[exchange]
        state.pointee.attempts &+= 1
        state.pointee.flags.subtract([.prefixSent, .heldAgainst])
        state.pointee.phase = .awaitingUpstream
        block.add(.upstreamRetries)
        guard var pool = pools[Int(state.pointee.pool)] else {
            failExchange(exchange, reason)
            return
        }
        if pool.isRetired { pool = inherit(exchange, from: pool) }
        var choice = choice(exchange, pool)
        if pool.group.members.isWorthWaiting(choice), !pool.group.members.hasRoom(choice) {
            enqueue(exchange, pool)
            return
        }
        var next = pool.group.members.next(choice, now: now)
        if next == nil, mayReturn {
            choice.tried = 0
            next = pool.group.members.next(choice, now: now)
            if next == nil, pool.group.members.isWorthWaiting(choice) {
                // The dead connection counts until the kernel has let go of it.
                state.pointee.tried = 0
                enqueueFirst(exchange, pool)
                return
            }
            // It may have to wait for a connection that is being made.
            if next != nil { state.pointee.tried = 0 }
        }
        guard let member = next else {
            if awaitsLate(exchange, pool) {
                enqueue(exchange, pool, isBounded: false)
            } else {
                failExchange(exchange, reason)
            }
            return
        }
        if multiplexes(exchange, pool, member), share(exchange, pool, member) { return }
        guard pool.group.members.hasRoom(member) else {
            failExchange(exchange, reason)
            return
        }
        guard let failure = connect(pool, member, exchange) else { return }
        block.add(.upstreamConnectFailures)
        pool.group.row.add(UpstreamCells.connectFailures)
        state.pointee.tried |= MemberTable.bit(member)
        if state.pointee.attempts < Worker.attemptsMax {
            retry(exchange, failure, mayReturn: false)
        } else {
            failExchange(exchange, failure)
        }
    }

    // MARK: - Hosts that are gone

    /// Nanoseconds without an acknowledgement after which a host may be gone: on a LAN even a
    /// delayed one takes 40 ms.
    static let stallAfter: UInt64 = 120_000_000
    /// The kernel counts a silence in ticks: at the first look it may be short by one (100 Hz).
    static let silenceTick: UInt64 = 10_000_000
    /// After so long without one, a request that may not be sent twice has failed.
    static let stallMax: UInt64 = 10_000_000_000

    /// What the answer's head may take, from the request's last byte.
    func answerLimit(_ exchange: Int, _ pool: UpstreamPool) -> UInt64 {
        let retries = pool.group.view.retries
        var limit =
            rules(exchanges[exchange].pointee.rules)?.responseTimeout
            ?? pool.settings.responseTimeout
        if let perTry = retries.perTry { limit = min(limit, perTry.nanoseconds) }
        if let overall = retries.overall {
            let times = exchanges[exchange].pointee.times
            let passed = times.sent.nanoseconds(since: times.head)
            limit = min(limit, overall.nanoseconds > passed ? overall.nanoseconds - passed : 0)
        }
        return limit
    }

    /// Awaits the answer's head. A host that is gone says nothing: instead of waiting out the whole
    /// time, we look on the way at whether it acknowledges, and whether a hedge is due.
    func awaitHead(_ exchange: Int, _ slot: Int, _ pool: UpstreamPool) {
        let limit = answerLimit(exchange, pool)
        let look = limit > 2 * Worker.stallAfter ? Worker.stallAfter : limit
        if let hedge = hedgeDelay(exchange, pool), hedge < limit {
            setDeadline(slot, .stall, min(look, hedge))
        } else {
            setDeadline(slot, look < limit ? .stall : .response, look)
        }
    }

    func lookAtStall(_ slot: Int) {
        let exchange = Int(upstream(slot).pointee.exchange)
        guard exchange >= 0, upstream(slot).pointee.phase == .awaitingHead,
            exchanges[exchange].pointee.upstream == Int32(slot),
            let pool = pools[Int(exchanges[exchange].pointee.pool)]
        else { return }
        let passed = now.nanoseconds(since: exchanges[exchange].pointee.times.sent)
        let limit = answerLimit(exchange, pool)
        let silence = ring.silence(of: channels[transport(slot)].pointee.descriptor)
        if let silence, silence + Worker.silenceTick >= Worker.stallAfter,
            passed >= Worker.stallAfter,
            hostIsSilent(slot, pool, for: silence)
        {
            return
        }
        guard passed < limit else {
            upstreamFailed(slot, .upstreamHeadTimeout)
            return
        }
        if lookAtHang(slot, exchange, pool) { return }
        let rest = limit - passed
        var next = nextLook(after: passed)
        if let due = hedgeDelay(exchange, pool) {
            if passed < due {
                next = min(next, due - passed)
            } else if hedge(exchange, slot, pool, rest: rest) {
                return
            }
        }
        setDeadline(slot, rest <= next ? .response : .stall, min(rest, next))
    }

    /// One segment that was lost is no reason to fail a request: what can be had elsewhere moves at
    /// once, everything else goes on waiting for a while.
    ///
    /// - Returns: whether the slot's exchange is not there any more.
    private func hostIsSilent(_ slot: Int, _ pool: UpstreamPool, for silence: UInt64) -> Bool {
        let connection = transport(slot)
        if silence >= Worker.stallMax {
            upstreamFailed(connection, .upstreamUnreachable)
            return true
        }
        guard mayMove(slot) else {
            // Longer than a segment takes that was lost once: others should not go there.
            if silence >= 3 * Worker.stallAfter {
                observe(pool, Int(upstream(slot).pointee.member), .unreachable)
            }
            return false
        }
        guard isStream(slot) else {
            upstreamFailed(slot, .upstreamUnreachable)
            return true
        }
        moveStreams(connection)
        return true
    }

    /// All requests of a silent connection that can be sent elsewhere leave it; those that can't,
    /// and answers that have begun, stay.
    private func moveStreams(_ connection: Int) {
        links[connection].pointee.isLeaving = true
        leavePool(connection)
        var moving: [(slot: Int, generation: UInt32)] = []
        var isNeeded = false
        var slot = Int(links[connection].pointee.first)
        while slot >= 0 {
            if upstream(slot).pointee.exchange >= 0 {
                if mayMove(slot) {
                    moving.append((slot, channels[slot].pointee.generation))
                } else {
                    isNeeded = true
                }
            }
            slot = Int(stream(slot).pointee.next)
        }
        let generation = channels[connection].pointee.generation
        for (slot, generation) in moving where isOpen(slot, generation) {
            upstreamFailed(slot, .upstreamUnreachable)
        }
        if !isNeeded, isOpen(connection, generation) {
            upstreamFailed(connection, .upstreamUnreachable)
        }
    }

    /// Nothing of the answer has come, the request does no harm twice, and another member may have
    /// it.
    private func mayMove(_ slot: Int) -> Bool {
        let upstream = self.upstream(slot)
        guard upstream.pointee.phase == .awaitingHead, !upstream.pointee.answerStarted,
            upstream.pointee.exchange >= 0
        else { return false }
        let exchange = Int(upstream.pointee.exchange)
        let state = exchanges[exchange]
        guard state.pointee.method.isIdempotent, state.pointee.flags.contains(.replayable),
            mayResend(exchange, besides: Int(upstream.pointee.member)),
            let group = pools[Int(state.pointee.pool)]?.group
        else { return false }
        return group.budget.hasLeft(now: now)
    }
}
