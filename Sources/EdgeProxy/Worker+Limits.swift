internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeLimits
internal import EdgeRouting

/// Step 5 of a request: whether its client may have it. What is asked and charged is
/// `LimitPlans`' to decide; all workers, and the proxy before or after this one, count in one
/// table.
extension Worker {
    /// Charges a request to the policies of its place.
    ///
    /// - Parameter place: number of the rules of its route; -1: none was found.
    /// - Returns: false if one refuses: the request has been answered.
    // hot: once per request of a place with policies; no allocation, no lock
    // Never inlined: requests without policies do not pay for its frame.
    @inline(never)
    func isWithinLimits(
        _ slot: Int, _ head: Span<UInt8>, _ plan: Int32, _ place: Int32
    ) -> Bool {
        guard let memory = limitTables else { return true }
        let plans = limits
        var caller = plans.caller(downstreams[slot].pointee.peer)
        if plans.asksHeads { describe(&caller, head, memory.rates) }
        switch plans.standing(plan, caller, now: now, in: memory.bans) {
        case .welcome: if caller.denied != 0 { noteShadowDenial(plan, caller) }
        case .denied(let policy):
            leaveAfterRefusal(slot, policy)
            tally.refused(caller.address, by: policy, of: plans, now: now)
            decline(slot, head, status: 403, .clientForbidden, by: place, counts: false)
            return false
        case .banned(let policy, let remaining):
            tally.refused(caller.address, by: policy, of: plans, now: now)
            refuseBanned(slot, head, policy, remaining, place)
            return false
        }
        let count = enterRequest(plan, caller, plans)
        guard count.isAdmitted else {
            let policy = plans.counts[Int(count.refusedBy)].policy
            tally.refused(caller.address, by: policy, of: plans, now: now)
            refuseCounted(slot, head, policy, place)
            return false
        }
        let verdict = plans.charge(
            plan, .requests, caller, now: now, in: memory.rates, journal: &admitted)
        downstreams[transport(slot)].pointee.limitKey = verdict.key
        if verdict.shadow >= 0 || count.shadow >= 0 {
            block.add(.requestsOverShadowLimit)
            let policy =
                verdict.shadow >= 0
                ? plans.limits[Int(verdict.shadow)].policy
                : plans.counts[Int(count.shadow)].policy
            tally.refused(caller.address, by: policy, of: plans, isShadow: true, now: now)
        }
        guard !verdict.isAdmitted else {
            tally.admitted(plan, caller, by: plans)
            return true
        }
        dropRequestCounts()
        let policy = plans.limits[Int(verdict.refusedBy)].policy
        tally.refused(caller.address, by: policy, of: plans, now: now)
        refuseLimited(slot, head, verdict, place)
        return false
    }

    /// What of a request's head matters to limits.
    @inline(never)
    private func describe(_ caller: inout LimitCaller, _ head: Span<UInt8>, _ table: LimitTable) {
        let plans = limits
        for index in plans.texts.indices {
            let value: ByteRange? =
                switch plans.texts[index] {
                case .field(let name): requestHead.fields.value(of: name.span, in: head)
                case .cookie(let name): requestHead.fields.cookie(name.span, in: head)
                }
            guard let value, !value.isEmpty else { continue }
            // 0 says that there is none.
            caller.texts[index] = max(1, table.hash(head.extracting(value.indices)))
        }
        describedTexts = caller.texts
        guard !plans.priceLists.isEmpty else { return }
        let target = head.extracting(requestHead.writtenTarget.indices)
        var end = target.count
        for index in 0..<target.count where target[index] == UInt8(ascii: "?") {
            end = index
            break
        }
        let path = target.extracting(0..<end)
        let certain = RequestCosts.certainPrefix(of: path)
        for index in plans.priceLists.indices {
            caller.prices[index + 1] = plans.priceLists[index].cost(
                method: head.extracting(requestHead.methodRange.indices), path: path,
                certain: certain)
        }
    }

    private func refuseBanned(
        _ slot: Int, _ head: Span<UInt8>, _ policy: Int32, _ remaining: UInt64,
        _ place: Int32
    ) {
        var field = AnswerField.none
        field.append("Retry-After", decimal: max(1, LimitFields.seconds(remaining)))
        leaveAfterRefusal(slot, policy)
        let status = policy >= 0 ? limits.policies[Int(policy)].status : 429
        decline(
            slot, head, status: status, .rateLimited, field: field, by: place, counts: false)
    }

    /// Whoever is not served at all keeps no connection: it ends with this answer.
    private func leaveAfterRefusal(_ slot: Int, _ policy: Int32) {
        nameRefusing(policy)
        if isStream(slot) {
            leaveHTTP2(Int(stream(slot).pointee.connection))
        } else {
            downstreams[slot].pointee.closesAfterAnswer = true
        }
    }

    func nameRefusing(_ policy: Int32) {
        if accessLog.isOn { refusingPolicy = policy }
    }

    /// There are as many requests under way as there may be.
    private func refuseCounted(
        _ slot: Int, _ head: Span<UInt8>, _ policy: Int32, _ place: Int32
    ) {
        nameRefusing(policy)
        var field = AnswerField.none
        field.append("Retry-After", decimal: 1)
        let status = limits.policies[Int(policy)].status
        decline(
            slot, head, status: status, .rateLimited, field: field, by: place, counts: false)
    }

    private func refuseLimited(
        _ slot: Int, _ head: Span<UInt8>, _ verdict: LimitVerdict, _ place: Int32
    ) {
        let limit = limits.limits[Int(verdict.refusedBy)]
        let policy = limits.policies[Int(limit.policy)]
        nameRefusing(limit.policy)
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
        decline(
            slot, head, status: policy.status, .rateLimited, field: field, by: place, counts: false)
    }
}

extension AnswerField {
    /// Adds a line.
    fileprivate mutating func append(_ name: StaticString, _ value: [UInt8]) {
        name.withUTF8Buffer { lines.append(contentsOf: $0) }
        lines += [UInt8(ascii: ":"), UInt8(ascii: " ")] + value
        lines += [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
    }

    mutating func append(_ name: StaticString, decimal value: UInt64) {
        append(name, Array("\(value)".utf8))
    }
}
