package import EdgeCore

extension LimitPlans {
    /// Asks all limits of a plan about `cost`, and charges all of them or none.
    ///
    /// One after the other is charged, narrow ones first; when one refuses, those before it are
    /// given back what they took. In between, another request of the *same* client may find them
    /// fuller than they are, and is refused by one in the end that it could have passed; nobody
    /// else is, for what is everybody's is charged last. Refused requests that count
    /// (`countsRefused`) are charged to the limit that refuses.
    ///
    /// - Parameters:
    ///   - plan: index of the place; -1: nothing is limited.
    ///   - journal: what was admitted, for the other node.
    // hot: no allocation; per limit a hash and one or two cache lines
    package func charge(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, cost: UInt32 = 1,
        now: Instant, in table: LimitTable, journal: inout AdmittedJournal
    ) -> LimitVerdict {
        var verdict = LimitVerdict()
        verdict.cost = cost
        guard plan >= 0, cost > 0 else { return verdict }
        let span = plans[Int(plan)].rates[Int(thing.rawValue)]
        guard span.count > 0 else { return verdict }
        let first = Int(span.first)
        let end = first + Int(span.count)
        var leastLeft = UInt64.max
        for index in first..<end {
            let limit = limits[index]
            if caller.isExempt(limit.policy) { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            if limit.ceiling >= 0, !limit.isShadow,
                !isFair(limit, caller, key, cost: cost, now: now, in: table)
            {
                verdict.refusedBy = Int32(index)
                verdict.isUnfair = true
                verdict.debt = table.debt(key, now: now)
                refund(first..<index, caller, cost: cost, now: now, in: table)
                return verdict
            }
            let decision = table.admit(
                key, limit.rate, cost: cost, now: now,
                charge: limit.isShadow
                    ? .unconditionally : limit.countsRefused ? .always : .ifAdmitted,
                initialDebt: inherited(limit, subject, key, now, in: table))
            if limit.isShadow {
                if verdict.shadow < 0, decision.debt > limit.rate.span {
                    verdict.shadow = Int32(index)
                }
                continue
            }
            guard decision.isAdmitted else {
                verdict.refusedBy = Int32(index)
                verdict.debt = decision.debt
                verdict.tightest = -1
                refund(first..<index, caller, cost: cost, now: now, in: table)
                return verdict
            }
            let left = limit.rate.span - min(decision.debt, limit.rate.span)
            if left < leastLeft {
                leastLeft = left
                (verdict.tightest, verdict.debt) = (Int32(index), decision.debt)
            }
        }
        note(first..<end, caller, cost: cost, in: &journal)
        return verdict
    }

    /// What has been moved already (bytes): charges it, whatever the limit.
    ///
    /// - Returns: nanoseconds until more may be moved; 0: at once.
    // hot: as `charge`
    package func spend(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, amount: UInt32,
        now: Instant, in table: LimitTable, journal: inout AdmittedJournal
    ) -> UInt64 {
        guard plan >= 0, amount > 0 else { return 0 }
        let span = plans[Int(plan)].rates[Int(thing.rawValue)]
        let range = Int(span.first)..<Int(span.first) + Int(span.count)
        var longest: UInt64 = 0
        for index in range {
            let limit = limits[index]
            if caller.isExempt(limit.policy) { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            let debt = table.admit(
                key, limit.rate, cost: amount, now: now, charge: .unconditionally
            ).debt
            guard !limit.isShadow, debt > limit.rate.span else { continue }
            longest = max(longest, RateLimit.nanoseconds(debt - limit.rate.span))
        }
        note(range, caller, cost: amount, in: &journal)
        return longest
    }

    /// Takes back what the first limits of a plan were charged.
    private func refund(
        _ range: Range<Int>, _ caller: LimitCaller, cost: UInt32, now: Instant,
        in table: LimitTable
    ) {
        for index in range {
            let limit = limits[index]
            if limit.isShadow || caller.isExempt(limit.policy) { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            table.refund(table.key(limit.identity, subject), limit.rate, cost: cost, now: now)
        }
    }

    private func note(
        _ range: Range<Int>, _ caller: LimitCaller, cost: UInt32, in journal: inout AdmittedJournal
    ) {
        guard journal.isOpen else { return }
        for index in range {
            let limit = limits[index]
            if caller.isExempt(limit.policy) { continue }
            journal.add(
                limit.identity,
                limit.subject(client: caller.address, text: caller.texts[Int(limit.text)]),
                cost: cost)
        }
    }

    /// The debt that a key without one has under the limit's former rate.
    @inline(__always)
    private func inherited(
        _ limit: CompiledLimit, _ subject: LimitSubject, _ key: UInt64, _ now: Instant,
        in table: LimitTable
    ) -> UInt64 {
        guard limit.former >= 0, now < formerUntil else { return 0 }
        let old = former[Int(limit.former)]
        guard !table.isKnown(key, now: now) else { return 0 }
        let debt = table.debt(table.key(old.identity, subject), now: now)
        return limit.rate.rescaled(debt: debt, from: old.rate)
    }

    /// Whether the client may have that of a ceiling; see `FairShare`.
    private func isFair(
        _ limit: CompiledLimit, _ caller: LimitCaller, _ key: UInt64, cost: UInt32, now: Instant,
        in table: LimitTable
    ) -> Bool {
        guard table.debt(key, now: now) > limit.rate.span / 2 else { return true }
        let subject = LimitSubject(
            client: caller.address, ipv4Bits: limit.ipv4Bits, ipv6Bits: limit.ipv6Bits)
        let own = table.key(limit.identity ^ 0x7368_6172_65, subject)
        let clients = FairShare(table, ceiling: limit.ceiling)
            .clients(including: own, ticks: table.table.ticks(now))
        return table.admit(
            own, limit.rate.part(of: clients), cost: cost, now: now
        ).isAdmitted
    }
}

extension LimitTable {
    /// The key has a cell, be it one without debt.
    package func isKnown(_ key: UInt64, now: Instant) -> Bool {
        table.find(key, table.ticks(now)) != nil
    }
}
