internal import EdgeCore
internal import EdgeLimits

/// Requests under way, as policies count them: an exchange counts from its beginning to its end,
/// however long that is and whatever it turns into, a WebSocket or a stream of messages.
extension Worker {
    /// Counts one more request of a client. What it holds is the next exchange's to take over
    /// (`holdRequestCounts`); a request that becomes none gives it back (`dropRequestCounts`).
    ///
    /// - Returns: whether it may go on; -1 for `refusedBy`.
    func enterRequest(_ plan: Int32, _ caller: LimitCaller, _ plans: LimitPlans) -> CountVerdict {
        guard let memory = limitTables else { return CountVerdict() }
        return plans.enter(plan, .requests, caller, in: memory.counts, held: &requestCounts)
    }

    /// The request has become this exchange.
    @inline(never)
    func holdRequestCounts(_ exchange: Int) {
        guard !requestCounts.isEmpty else { return }
        exchangeCounts[exchange].pointee = requestCounts
        requestCounts = HeldCounts()
        exchanges[exchange].pointee.flags.insert(.holdsCounts)
    }

    /// The request has been answered without having become an exchange.
    @inline(never)
    func dropRequestCounts() {
        guard let memory = limitTables, !requestCounts.isEmpty else { return }
        limits.leave(&requestCounts, in: memory.counts)
    }

    /// The exchange is over.
    @inline(never)
    func leaveRequestCounts(_ exchange: Int) {
        exchanges[exchange].pointee.flags.remove(.holdsCounts)
        guard let memory = limitTables else { return }
        limits.leave(&exchangeCounts[exchange].pointee, in: memory.counts)
    }
}
