package import EdgeCore

extension LimitPlans {
    /// Asks all limits of a plan about `cost`, and charges all of them or none. Limits with prices
    /// of their own ask about `cost` times the caller's price instead, and not at all if it is 0.
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
            let own = caller.cost(limit, cost)
            if caller.isExempt(limit.policy) || own == 0 { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            if verdict.key == 0 { verdict.key = key }
            var share: Share?
            if limit.ceiling >= 0, !limit.isShadow {
                share = takeShare(limit, caller, key, cost: own, now: now, in: table)
                if let share, !share.isAdmitted {
                    verdict.cost = own
                    verdict.refusedBy = Int32(index)
                    verdict.isUnfair = true
                    verdict.debt = table.debt(key, now: now)
                    refund(first..<index, caller, cost: cost, now: now, in: table)
                    return verdict
                }
            }
            let decision = table.admit(
                key, limit.rate, cost: own, now: now,
                // Also what is only watched: else it would pile up what would not be charged, and
                // hit the client when it is enforced.
                charge: limit.countsRefused ? .always : .ifAdmitted,
                initialDebt: inherited(limit, subject, key, now, in: table))
            if limit.isShadow {
                if verdict.shadow < 0, !decision.isAdmitted { verdict.shadow = Int32(index) }
                continue
            }
            guard decision.isAdmitted else {
                verdict.refusedBy = Int32(index)
                verdict.cost = own
                verdict.debt = decision.debt
                verdict.tightest = -1
                if let share { table.refund(share.key, share.rate, cost: own, now: now) }
                refund(first..<index, caller, cost: cost, now: now, in: table)
                return verdict
            }
            let left = limit.rate.span - min(decision.debt, limit.rate.span)
            if left < leastLeft {
                leastLeft = left
                (verdict.tightest, verdict.debt) = (Int32(index), decision.debt)
            }
        }
        note(first..<end, caller, cost: cost, keepsShadow: verdict.shadow < 0, in: &journal)
        return verdict
    }

    /// Takes back what the first limits of a plan were charged.
    func refund(
        _ range: Range<Int>, _ caller: LimitCaller, cost: UInt32, now: Instant,
        in table: LimitTable
    ) {
        for index in range {
            let limit = limits[index]
            let own = caller.cost(limit, cost)
            if limit.isShadow || caller.isExempt(limit.policy) || own == 0 { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            table.refund(table.key(limit.identity, subject), limit.rate, cost: own, now: now)
        }
    }

    /// Says what has been charged.
    ///
    /// - Parameter keepsShadow: limits in shadow mode have admitted it as well.
    func note(
        _ range: Range<Int>, _ caller: LimitCaller, cost: UInt32, keepsShadow: Bool,
        in journal: inout AdmittedJournal
    ) {
        guard journal.isOpen else { return }
        for index in range {
            let limit = limits[index]
            if caller.isExempt(limit.policy) || limit.isShadow && !keepsShadow { continue }
            journal.add(
                limit.identity,
                limit.subject(client: caller.address, text: caller.texts[Int(limit.text)]),
                cost: caller.cost(limit, cost))
        }
    }

    /// The debt that a key without one has under the rate that the limit had when the key was last
    /// charged.
    @inline(__always)
    func inherited(
        _ limit: CompiledLimit, _ subject: LimitSubject, _ key: UInt64, _ now: Instant,
        in table: LimitTable
    ) -> UInt64 {
        guard limit.former >= 0, now < formerUntil else { return 0 }
        guard !table.isKnown(key, now: now) else { return 0 }
        return inherited(limit, subject, now, in: table)
    }

    @inline(never)
    private func inherited(
        _ limit: CompiledLimit, _ subject: LimitSubject, _ now: Instant, in table: LimitTable
    ) -> UInt64 {
        var index = limit.former
        while index >= 0 {
            let old = former[Int(index)]
            let key = table.key(old.identity, subject)
            if table.isKnown(key, now: now) {
                return limit.rate.rescaled(debt: table.debt(key, now: now), from: old.rate)
            }
            index = old.next
        }
        return 0
    }

    /// A client's part of a ceiling that is scarce.
    private struct Share {
        let key: UInt64
        let rate: RateLimit
        /// Whether he may have the cost of it, which has been charged then.
        let isAdmitted: Bool
    }

    /// Asks for a cost of the client's part of a ceiling; see `FairShare`.
    ///
    /// - Returns: nil: there is enough for everybody.
    private func takeShare(
        _ limit: CompiledLimit, _ caller: LimitCaller, _ key: UInt64, cost: UInt32, now: Instant,
        in table: LimitTable
    ) -> Share? {
        guard table.debt(key, now: now) > limit.rate.span / 2 else { return nil }
        let subject = LimitSubject(
            client: caller.address, ipv4Bits: limit.ipv4Bits, ipv6Bits: limit.ipv6Bits)
        let own = table.key(Self.shareIdentity(limit.identity), subject)
        let clients = FairShare(table, ceiling: limit.ceiling)
            .clients(including: own, ticks: table.table.ticks(now))
        let rate = limit.rate.part(of: clients)
        return Share(
            key: own, rate: rate,
            isAdmitted: table.admit(own, rate, cost: cost, now: now).isAdmitted)
    }
}

extension LimitTable {
    /// The key has a cell, be it one without debt.
    package func isKnown(_ key: UInt64, now: Instant) -> Bool {
        table.find(key, table.ticks(now)) != nil
    }
}
