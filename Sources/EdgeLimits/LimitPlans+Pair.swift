package import EdgeCore

/// What the other node of a pair says of what it has admitted.
extension LimitPlans {
    /// Where in `limits` each identity is; the same limit at several places has one.
    package var numbersByIdentity: [UInt64: Int] {
        var numbers: [UInt64: Int] = [:]
        for (number, limit) in limits.enumerated() { numbers[limit.identity] = number }
        return numbers
    }

    /// Counts what the other node has admitted: TAT = max(TAT, now) + cost × interval.
    ///
    /// - Parameter number: of the limit in `limits`.
    package func merge(
        _ number: Int, _ subject: LimitSubject, cost: UInt32, now: Instant, in table: LimitTable
    ) {
        let limit = limits[number]
        let key = table.key(limit.identity, subject)
        // Else what was used up under the former rate would be forgotten by this.
        let debt = inherited(limit, subject, key, now, in: table)
        if debt > 0 { table.raise(key, toDebt: debt, now: now) }
        table.merge(key, limit.rate, cost: cost, now: now)
    }
}
