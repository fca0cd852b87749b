internal import EdgeCore
internal import EdgeLimits

/// Error answers that count against who brought them about, and what limits tell of themselves.
extension Worker {
    /// An exchange ends with an error's status, where rules apply.
    // Never inlined: what ends well does not pay for its frame.
    @inline(never)
    func noteErrorAnswer(_ exchange: Int) {
        let state = exchanges[exchange]
        let plan = limitPlan(state.pointee.rules)
        guard plan >= 0 else { return }
        noteErrorAnswer(Int(state.pointee.downstream), plan, state.pointee.status)
    }

    /// A request is answered with an error before it becomes an exchange, and not by a limit.
    @inline(never)
    func noteErrorAnswer(_ slot: Int, _ plan: Int32, _ status: UInt16) {
        guard let memory = limitTables else { return }
        let plans = limits
        guard plans.hasErrorLimits else { return }
        let caller = plans.caller(downstreams[slot].pointee.peer)
        let banned = plans.noteAnswer(
            plan, status: status, caller, now: now, in: memory.rates, bans: memory.bans)
        guard banned != 0 else { return }
        tally.banned(caller.address, by: banned, of: plans)
        guard bansTold < Worker.bansToldMax else { return }
        bansTold += 1
        tellLimits()
    }

    /// Somebody is served whom only policies in shadow mode would keep out.
    @inline(never)
    func noteShadowDenial(_ plan: Int32, _ caller: LimitCaller) {
        let policy = limits.shadowDenial(plan, caller)
        guard policy >= 0 else { return }
        block.add(.requestsOverShadowLimit)
        tally.refused(caller.address, by: policy, of: limits, isShadow: true, now: now)
    }

    /// Once a second, before other policies are used, and when somebody is banned.
    func tellLimits() {
        if let news = tally.take(limits) { report(.limited(news)) }
    }

    /// Once a second.
    func keepLimits() {
        bansTold = 0
        tellLimits()
    }
}
