internal import EdgeCore
internal import EdgeUpstream

/// Which member serves an exchange, and what is learnt of members on the way. Workers only see and
/// tell; the control thread judges for all of them.
extension Worker {
    /// The connection or stream `slot` is what the exchange uses from now on.
    func assign(_ exchange: Int, _ slot: Int) {
        unassign(exchange)
        let member = upstream(slot).pointee.member
        exchanges[exchange].pointee.upstream = Int32(slot)
        exchanges[exchange].pointee.member = member
        exchanges[exchange].pointee.upstreamRow?.add(UpstreamCells.attempts)
        pools[Int(exchanges[exchange].pointee.pool)]?.group.members.began(Int(member))
    }

    /// The exchange uses no connection any more.
    func unassign(_ exchange: Int) {
        let state = exchanges[exchange]
        state.pointee.upstream = -1
        guard state.pointee.member >= 0 else { return }
        pools[Int(state.pointee.pool)]?.group.members.ended(Int(state.pointee.member))
        state.pointee.member = -1
    }

    /// What the exchange asks of the choice of its member.
    func choice(_ exchange: Int, _ pool: UpstreamPool) -> MemberTable.Choice {
        let state = exchanges[exchange]
        var choice = MemberTable.Choice(
            tried: state.pointee.tried | late(exchange, pool), shared: sharedRoom(exchange, pool),
            key: state.pointee.key)
        // Looked up each time: a number may be another member's after a reload.
        if state.pointee.token != 0,
            let member = pool.group.members.member(forToken: state.pointee.token)
        {
            choice.bound = member
        }
        return choice
    }

    /// Members to which a connection that the exchange could share is being made, and is late:
    /// others are tried first.
    func late(_ exchange: Int, _ pool: UpstreamPool) -> UInt64 {
        guard pool.http2Late != 0,
            exchanges[exchange].pointee.upgrade == .none,
            !exchanges[exchange].pointee.flags.contains(.relay)
        else { return 0 }
        return pool.http2Late
    }

    // MARK: - What is seen

    /// A connection could not be made, or its host is gone. Told at once, not more often than every
    /// 50 ms and member.
    func observe(_ pool: UpstreamPool, _ member: Int, _ observation: MemberObservation) {
        reportStale(pool)
        guard pool.group.members.members[member].isCurrent,
            pool.group.members.shouldTell(member, now: now)
        else { return }
        report(
            .observed(
                upstream: pool.settings.upstream,
                address: pool.group.members.members[member].address, observation))
    }

    /// Tells the control thread, at most twice a second and upstream, that addresses may be stale.
    private func reportStale(_ pool: UpstreamPool) {
        let group = pool.group
        guard now.nanoseconds(since: group.lastReport) >= 500_000_000 else { return }
        group.lastReport = now
        report(.connectFailed(upstream: pool.settings.upstream))
    }

    /// A request has failed on a connection that was there, through no fault of its client's.
    func noteFailure(_ pool: UpstreamPool, _ member: Int) {
        pool.group.row.add(UpstreamCells.failures)
        tellFailures(pool, member, pool.group.members.failed(member))
    }

    /// An answer's head has come.
    // hot: once per request.
    func noteAnswer(_ exchange: Int, _ slot: Int, status: UInt16) {
        let state = exchanges[exchange]
        guard let pool = pools[Int(state.pointee.pool)] else { return }
        let latency = state.pointee.times.answered.nanoseconds(since: state.pointee.times.sent)
        let bucket = Timing.bucket(of: latency)
        block.observe(.upstreamResponse, bucket: bucket, latency)
        if let row = state.pointee.upstreamRow {
            row.add(UpstreamCells.responses + bucket)
            row.add(UpstreamCells.responseSum, latency)
        }
        let member = Int(upstream(slot).pointee.member)
        let failures = pool.group.members.answered(
            member, latency: latency, isFailure: status >= 500, now: now)
        if failures > 0 { tellFailures(pool, member, failures) }
    }

    private func tellFailures(_ pool: UpstreamPool, _ member: Int, _ failures: Int) {
        let limit = pool.group.view.tellsFailures
        let isEnough =
            failures >= limit && failures % max(limit, 1) == 0
            || pool.group.members.isOnTrial(member, now: now)
        guard limit > 0, isEnough, pool.group.members.members[member].isCurrent else { return }
        pool.group.members.endTrial(member)
        report(
            .observed(
                upstream: pool.settings.upstream,
                address: pool.group.members.members[member].address,
                .consecutiveFailures(max(failures, limit))))
    }

    /// Once a second: what traffic has shown.
    func tellSummaries() {
        for group in groups {
            guard let group else { continue }
            let summaries = group.members.takeSummaries()
            guard !summaries.isEmpty else { continue }
            report(.summarised(upstream: group.view.name, summaries))
        }
    }

    /// Connections of HTTP/2 to members that have left or are down: those in use finish what they
    /// have.
    func leaveMembers(_ pool: UpstreamPool) {
        guard pool.http2.contains(where: { !isKept($0, pool) }) else { return }
        let leaving = pool.http2.filter { !isKept($0, pool) }
        pool.http2.removeAll { leaving.contains($0) }
        for slot in leaving {
            links[Int(slot)].pointee.isLeaving = true
            if links[Int(slot)].pointee.streamCount == 0 { endHTTP2(Int(slot), .noError, .none) }
        }
    }

    private func isKept(_ slot: Int32, _ pool: UpstreamPool) -> Bool {
        pool.group.members.isKept(Int(upstream(Int(slot)).pointee.member))
    }
}
