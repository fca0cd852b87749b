internal import EdgeCore
internal import EdgeUpstream

/// Requests whose answer is late are sent to another member as well (`RetryPolicy.hedgeAfter`). An
/// exchange has two attempts under way at most: the younger is its `upstream`, found, connected and
/// sent like any other; the older only awaits its answer (`Exchange.elder`). The first head that is
/// no failure is the exchange's answer, and the other attempt is let go of. As long as one of them
/// lives, the failure of the other is nobody's business.
extension Worker {
    // MARK: - Beginning

    /// After how long without an answer the request is sent to another member, too; nil: never.
    ///
    /// Only what asks for something and brings no content, and no client that is bound to its
    /// member: another one knows nothing of it.
    func hedgeDelay(_ exchange: Int, _ pool: UpstreamPool) -> UInt64? {
        guard let after = pool.group.view.retries.hedgeAfter else { return nil }
        let state = exchanges[exchange]
        guard state.pointee.method == .get || state.pointee.method == .head,
            state.pointee.flags.isSuperset(of: [.replayable, .requestComplete]),
            state.pointee.flags.isDisjoint(with: [.hedged, .relay]),
            state.pointee.upgrade == .none, state.pointee.token == 0,
            state.pointee.prefix != nil, !state.pointee.requestFraming.hasContent
        else { return nil }
        return after.nanoseconds
    }

    /// Sends the request to another member beside the one that has not answered.
    ///
    /// - Parameter rest: what is left for the older attempt's answer, nanoseconds.
    /// - Returns: false if there is nobody to send it to, or the budget is empty: all is as before.
    func hedge(_ exchange: Int, _ slot: Int, _ pool: UpstreamPool, rest: UInt64) -> Bool {
        let state = exchanges[exchange]
        guard state.pointee.phase == .forwarding, state.pointee.flags.contains(.prefixSent),
            !upstream(slot).pointee.answerStarted, !isBlocked(slot),
            state.pointee.attempts < Worker.attemptsMax
        else { return false }
        let member = Int(upstream(slot).pointee.member)
        var choice = choice(exchange, pool)
        choice.tried |= MemberTable.bit(member)
        guard pool.group.members.hasRoom(choice) else { return false }
        state.pointee.flags.insert(.hedged)
        guard takeResend(exchange, besides: member) else { return false }
        block.add(.upstreamHedges)
        state.pointee.attempts &+= 1
        state.pointee.tried = choice.tried
        state.pointee.elder = Int32(slot)
        state.pointee.elderTimes = state.pointee.times
        // Counted for itself from now on: the exchange's own count goes with the younger attempt.
        pool.group.members.began(member)
        unassign(exchange)
        state.pointee.flags.remove(.prefixSent)
        state.pointee.phase = .awaitingUpstream
        setDeadline(slot, .response, rest)
        while let other = pool.group.members.next(choice, now: now) {
            guard use(other, pool, exchange, allowsReuse: true) != nil else {
                // Where it found a connection that was there.
                sendRequest(exchange)
                return true
            }
            state.pointee.tried |= MemberTable.bit(other)
            choice.tried = state.pointee.tried
        }
        _ = fallBack(exchange)
        return true
    }

    // MARK: - Answers

    /// An answer's head has come, and is in `responseHead`: one attempt is left from now on. A
    /// failure leaves the client to the other attempt, if that has been sent.
    ///
    /// - Returns: false if the answer is dropped, and `slot` with it.
    // hot: once per answer.
    func settleHedge(_ slot: Int, _ exchange: Int) -> Bool {
        let state = exchanges[exchange]
        guard state.pointee.elder >= 0 else { return true }
        let isElder = state.pointee.elder == Int32(slot)
        if responseHead.status >= 500, !isElder || state.pointee.flags.contains(.prefixSent) {
            upstreamFailed(slot, .upstreamBadResponse)
            return false
        }
        if isElder { returnToElder(exchange) } else { dropElder(exchange, hasFailed: false) }
        state.pointee.times.answered = now
        return true
    }

    // MARK: - Failures

    /// The younger attempt has come to nothing: the exchange waits for the older one alone.
    ///
    /// - Returns: false if there is none.
    func fallBack(_ exchange: Int) -> Bool {
        let state = exchanges[exchange]
        let slot = Int(state.pointee.elder)
        guard slot >= 0, let pool = pools[Int(state.pointee.pool)] else { return false }
        returnToElder(exchange)
        let passed = now.nanoseconds(since: state.pointee.times.sent)
        let limit = answerLimit(exchange, pool)
        setDeadline(slot, .stall, min(Worker.stallAfter, limit > passed ? limit - passed : 0))
        return true
    }

    /// The older attempt has failed: the younger goes on.
    func elderFailed(_ slot: Int, _ reason: ReasonCode) {
        let upstream = self.upstream(slot)
        let isOld = upstream.pointee.isReused && !upstream.pointee.answerStarted
        let exchange = Int(upstream.pointee.exchange)
        if !isHeldAgainst(exchange, reason) {
            blame(Int(upstream.pointee.pool), Int(upstream.pointee.member), reason, isOld: isOld)
        }
        dropElder(exchange, hasFailed: true)
    }

    /// The older attempt is of no more use, if there is one. A member that hangs is told of all the
    /// same, or its requests would go on being answered by others, late.
    ///
    /// - Parameter hasFailed: its connection is, or its stream.
    func dropElder(_ exchange: Int, hasFailed: Bool) {
        let state = exchanges[exchange]
        let slot = Int(state.pointee.elder)
        guard slot >= 0 else { return }
        state.pointee.elder = -1
        let upstream = self.upstream(slot)
        if let pool = pools[Int(state.pointee.pool)] {
            let member = Int(upstream.pointee.member)
            pool.group.members.ended(member)
            let sent = state.pointee.elderTimes.sent
            if !hasFailed, !state.pointee.flags.contains(.heldAgainst),
                pool.group.members.isHanging(member, since: sent, now: now)
            {
                noteFailure(pool, member)
            }
        }
        if isStream(slot), !hasFailed {
            releaseUpstreamStream(slot, isReusable: false)
            return
        }
        upstream.pointee.exchange = -1
        upstream.pointee.phase = .ended
        terminate(slot)
    }

    /// The older attempt is the only one again; whatever the younger has come to is let go of.
    private func returnToElder(_ exchange: Int) {
        let state = exchanges[exchange]
        let slot = Int(state.pointee.elder)
        leaveQueue(exchange)
        letGoOfRivals(exchange)
        let younger = Int(state.pointee.upstream)
        if younger >= 0, !isStream(younger), upstream(younger).pointee.phase == .connecting {
            unassign(exchange)
            letGo(younger, isKept: true)
        } else {
            releaseUpstream(exchange, isReusable: false)
        }
        state.pointee.elder = -1
        assign(exchange, slot)
        let pool = pools[Int(state.pointee.pool)]
        pool?.group.members.ended(Int(state.pointee.member))
        if let member = pool?.group.members.members[Int(state.pointee.member)].address {
            noteConnecting(exchange, to: member, isReused: upstream(slot).pointee.isReused)
        }
        state.pointee.times = state.pointee.elderTimes
        state.pointee.flags.insert(.prefixSent)
        state.pointee.phase = .forwarding
    }
}
