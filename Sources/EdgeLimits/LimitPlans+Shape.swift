package import EdgeCore

/// Bytes per second: they are moved first and charged then, whatever the limit; who is in debt
/// pauses until it is paid. Each charge's pause ends where all that was charged before it has been
/// paid, too: so transfers under one limit take turns, whichever worker they are in, and their sum
/// is exact.
extension LimitPlans {
    /// A turn of a transfer: what is worth so many nanoseconds of the slowest limit.
    private static let turn: UInt64 = 50_000_000

    /// Charges bytes that have been moved.
    // hot: once per round of a limited transfer; as `charge`
    package func spend(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, amount: UInt32,
        now: Instant, in table: LimitTable, journal: inout AdmittedJournal
    ) -> LimitPause {
        var pause = LimitPause()
        guard plan >= 0, amount > 0 else { return pause }
        let range = range(plan, thing)
        for index in range {
            let limit = limits[index]
            if caller.isExempt(limit.policy) { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            let debt = table.admit(
                key, limit.rate, cost: amount, now: now,
                // What is only watched piles up nothing: it would hit the client when enforced.
                charge: limit.isShadow ? .always : .unconditionally,
                initialDebt: inherited(limit, subject, key, now, in: table)
            ).debt
            guard debt > limit.rate.span else { continue }
            if limit.isShadow {
                if pause.shadow < 0 { pause.shadow = Int32(index) }
            } else {
                pause.nanoseconds = max(
                    pause.nanoseconds, RateLimit.nanoseconds(debt - limit.rate.span))
            }
        }
        note(range, caller, cost: amount, keepsShadow: pause.shadow < 0, in: &journal)
        return pause
    }

    /// Takes back what was charged in advance.
    package func unspend(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, amount: UInt32,
        now: Instant, in table: LimitTable
    ) {
        guard plan >= 0, amount > 0 else { return }
        refund(range(plan, thing), caller, cost: amount, now: now, in: table)
    }

    /// Charges nothing.
    ///
    /// - Returns: nanoseconds until bytes may be moved; 0: at once.
    package func wait(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, now: Instant,
        in table: LimitTable
    ) -> UInt64 {
        longestWait(plan, thing, caller, now: now, in: table).nanoseconds
    }

    /// The policy for whose sake `wait` is as long as it is; -1: there is nothing to wait for.
    package func debtor(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, now: Instant,
        in table: LimitTable
    ) -> Int32 {
        longestWait(plan, thing, caller, now: now, in: table).policy
    }

    private func longestWait(
        _ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller, now: Instant,
        in table: LimitTable
    ) -> (nanoseconds: UInt64, policy: Int32) {
        guard plan >= 0 else { return (0, -1) }
        var longest: (nanoseconds: UInt64, policy: Int32) = (0, -1)
        for index in range(plan, thing) {
            let limit = limits[index]
            if limit.isShadow || caller.isExempt(limit.policy) { continue }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            let debt = max(
                table.debt(key, now: now), inherited(limit, subject, key, now, in: table))
            guard debt > limit.rate.span else { continue }
            let wait = RateLimit.nanoseconds(debt - limit.rate.span)
            if wait > longest.nanoseconds { longest = (wait, limit.policy) }
        }
        return longest
    }

    /// Bytes that a transfer moves between two pauses, so that it pauses some twenty times per
    /// second at most and holds nobody up for long.
    ///
    /// - Returns: 0: nothing limits the transfer, and nothing counts it.
    package func turn(_ plan: Int32, _ thing: LimitedThing, _ caller: LimitCaller) -> Int {
        guard plan >= 0 else { return 0 }
        var least = 0
        for index in range(plan, thing) {
            let limit = limits[index]
            if caller.isExempt(limit.policy) { continue }
            // What is only watched is not cut.
            let own =
                limit.isShadow
                ? Int.max : Int(clamping: min(limit.rate.amount(in: Self.turn), limit.rate.burst))
            least = least == 0 ? max(1, own) : max(1, min(least, own))
        }
        return least
    }

    /// Bytes are limited there, either way.
    package func shapes(_ plan: Int32) -> Bool {
        plan >= 0 && !(range(plan, .upload).isEmpty && range(plan, .download).isEmpty)
    }

    private func range(_ plan: Int32, _ thing: LimitedThing) -> Range<Int> {
        let span = plans[Int(plan)].rates[Int(thing.rawValue)]
        return Int(span.first)..<Int(span.first) + Int(span.count)
    }
}
