internal import EdgeCore
internal import EdgeUpstream

/// Members that take requests and answer none: their hosts acknowledge, so nothing but time tells.
/// A request that has waited for longer than is usual counts as failed on its member, once, while
/// it goes on waiting. If the member is taken out (for that, or by its checks), the request goes
/// elsewhere where that is safe.
extension Worker {
    /// Looks at a request that waits for its answer's head.
    ///
    /// - Returns: whether it has gone elsewhere, or failed there.
    func lookAtHang(_ slot: Int, _ exchange: Int, _ pool: UpstreamPool) -> Bool {
        let state = exchanges[exchange]
        let member = Int(upstream(slot).pointee.member)
        if !state.pointee.flags.contains(.heldAgainst) {
            guard pool.group.members.isHanging(member, since: state.pointee.times.sent, now: now)
            else {
                return false
            }
            state.pointee.flags.insert(.heldAgainst)
            noteFailure(pool, member)
        }
        return !pool.group.members.isKept(member) && leaveHanging(slot, exchange, pool)
    }

    /// Sends the request to another member, if it does no harm twice and there is one.
    private func leaveHanging(_ slot: Int, _ exchange: Int, _ pool: UpstreamPool) -> Bool {
        let state = exchanges[exchange]
        let member = Int(upstream(slot).pointee.member)
        let bit = MemberTable.bit(member)
        var choice = choice(exchange, pool)
        choice.tried |= bit
        guard state.pointee.method.isIdempotent, state.pointee.prefix != nil,
            state.pointee.flags.isSuperset(of: [.replayable, .requestComplete]),
            pool.group.members.hasRoom(choice), takeResend(exchange, besides: member)
        else { return false }
        state.pointee.tried |= bit
        releaseUpstream(exchange, isReusable: false)
        retry(exchange, .upstreamHeadTimeout, mayReturn: false)
        return true
    }

    /// The failure has been counted when the request had waited too long.
    func isHeldAgainst(_ exchange: Int, _ reason: ReasonCode) -> Bool {
        reason == .upstreamHeadTimeout && exchanges[exchange].pointee.flags.contains(.heldAgainst)
    }

    /// When to look again at a request that has waited for so long, nanoseconds: less and less
    /// often, but as soon as it may have waited too long.
    func nextLook(after passed: UInt64) -> UInt64 {
        let limit = MemberTable.hangMin
        let span = passed < limit ? min(passed, limit - passed) : limit / 2
        return max(span, Worker.stallAfter)
    }
}
