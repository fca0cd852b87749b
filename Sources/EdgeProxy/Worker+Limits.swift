internal import EdgeCore
internal import EdgeHTTP
internal import EdgeLimits
internal import EdgeRouting

/// Step 5 of a request: whether its client may have it. What is asked and charged is
/// `LimitPlans`' to decide; all workers, and the proxy before or after this one, count in one
/// table.
extension Worker {
    /// Charges a request to the policies of its place.
    ///
    /// - Returns: false if one refuses: the request has been answered.
    // hot: once per request of a place with policies; no allocation, no lock
    // Never inlined: requests without policies do not pay for its frame.
    @inline(never)
    func isWithinLimits(_ slot: Int, _ head: Span<UInt8>, _ rules: RequestRules) -> Bool {
        guard let memory = setup.limits else { return true }
        let plan = rules.limitPlan
        // Once: each reading of the snapshot's would count all references to its arrays.
        let plans = snapshot.limits
        let caller = plans.caller(downstreams[slot].pointee.peer)
        switch plans.standing(plan, caller, now: now, in: memory.bans) {
        case .welcome: break
        case .denied:
            decline(slot, head, status: 403, .clientForbidden, by: rules)
            return false
        case .banned(let policy, let remaining):
            refuseBanned(slot, head, policy, remaining, rules)
            return false
        }
        let verdict = plans.charge(
            plan, .requests, caller, now: now, in: memory.rates, journal: &admitted)
        if verdict.shadow >= 0 { block.add(.requestsOverShadowLimit) }
        guard !verdict.isAdmitted else { return true }
        refuseLimited(slot, head, verdict, rules)
        return false
    }

    private func refuseBanned(
        _ slot: Int, _ head: Span<UInt8>, _ policy: Int32, _ remaining: UInt64,
        _ rules: RequestRules
    ) {
        var field = AnswerField.none
        field.append("Retry-After", decimal: max(1, LimitFields.seconds(remaining)))
        let status = policy >= 0 ? snapshot.limits.policies[Int(policy)].status : 429
        decline(slot, head, status: status, .rateLimited, field: field, by: rules)
    }

    private func refuseLimited(
        _ slot: Int, _ head: Span<UInt8>, _ verdict: LimitVerdict, _ rules: RequestRules
    ) {
        let limit = snapshot.limits.limits[Int(verdict.refusedBy)]
        let policy = snapshot.limits.policies[Int(limit.policy)]
        var field = AnswerField.none
        field.append(
            "Retry-After",
            decimal: LimitFields.retryAfter(limit.rate, debt: verdict.debt, cost: verdict.cost))
        // What is left of a ceiling says nothing about this client's part of it.
        if limit.ceiling < 0, !policy.policyField.isEmpty {
            field.append("RateLimit-Policy", policy.policyField)
            var state: [UInt8] = []
            LimitFields.appendState(policy.name, limit.rate, debt: verdict.debt, to: &state)
            field.append("RateLimit", state)
        }
        decline(slot, head, status: policy.status, .rateLimited, field: field, by: rules)
    }
}

extension AnswerField {
    /// Adds a line.
    fileprivate mutating func append(_ name: StaticString, _ value: [UInt8]) {
        name.withUTF8Buffer { lines.append(contentsOf: $0) }
        lines += [UInt8(ascii: ":"), UInt8(ascii: " ")] + value
        lines += [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
    }

    fileprivate mutating func append(_ name: StaticString, decimal value: UInt64) {
        append(name, Array("\(value)".utf8))
    }
}
