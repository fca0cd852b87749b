import EdgeCore

/// `120 per 10s burst 120`: so many at once, then so many per span. In any interval t at most
/// `burst + rate × t` pass.
///
/// The arithmetic (GCRA): each key has a time until which it has used up what it gets, its *lead*
/// over now is its *debt*. A cost of c is c × `interval` ticks (512 ns); it is admitted if the debt
/// after it is at most `span` = burst × interval. Intervals are rounded up: below 1,900 per second
/// to whole ticks, so that the burst is exact and the rate at most 0.1 % lower than said; above, in
/// fractions of 2^-20 ticks, and each cost is rounded up to a tick.
package struct RateLimit: Sendable, Hashable, BitwiseCopyable {
    /// Why there is no such limit.
    package enum Failure: Error, Equatable {
        /// Nothing per span, or so many in no time.
        case empty
        /// The burst lasts longer than a table can say; `RateLimit.spanMax`.
        case tooLong
        /// More than 10^12 per second.
        case tooFast
    }

    /// The longest that a used-up burst may take to come back.
    package static let spanMax = Duration.seconds(23 * 3600)

    private static let fractionBits: UInt64 = 20
    /// From here on an interval is a whole number of ticks: 524 µs.
    private static let wholeFrom: UInt64 = 1 << 10

    package let quantity: UInt64
    /// Nanoseconds for `quantity`.
    package let period: UInt64
    package let burst: UInt64
    /// Ticks for a cost of 1, times 2^20.
    let interval: UInt64
    /// Ticks for the burst.
    let span: UInt64

    /// - Throws: see `Failure`.
    package init(
        _ quantity: UInt64, per period: Duration, burst: UInt64? = nil
    ) throws(Failure) {
        self.quantity = quantity
        self.period = period.nanoseconds
        self.burst = burst ?? quantity
        guard quantity > 0, self.period > 0, self.burst > 0 else { throw .empty }
        guard self.period <= Self.spanMax.nanoseconds else { throw .tooLong }
        guard quantity / 1_000_000_000_000 <= self.period / 1_000_000_000 else { throw .tooFast }
        let tick: UInt64 = 1 << CellLayout.Kind.rates.tickShift
        let scaled = self.period.multipliedFullWidth(by: 1 << Self.fractionBits)
        // Below 2^127 by the guards above.
        let (divisor, overflow) = quantity.multipliedReportingOverflow(by: tick)
        guard !overflow, scaled.high < divisor else { throw .tooFast }
        let (whole, rest) = divisor.dividingFullWidth(scaled)
        var interval = whole + (rest == 0 ? 0 : 1)
        if interval >> Self.fractionBits >= Self.wholeFrom {
            let one: UInt64 = 1 << Self.fractionBits
            interval = (interval + one - 1) & ~(one - 1)
        }
        self.interval = max(1, interval)
        guard let span = Self.ticks(self.burst, self.interval),
            span <= Self.spanMax.nanoseconds / tick + 1
        else { throw .tooLong }
        self.span = span
    }

    /// What a cost takes, rounded up; at most what a table can say.
    // hot: one multiplication
    @inline(__always)
    func ticks(_ cost: UInt32) -> UInt64 {
        if cost == 1 { return (interval &+ (1 << Self.fractionBits) &- 1) &>> Self.fractionBits }
        return Self.ticks(UInt64(cost), interval) ?? CellTable.valueMax
    }

    /// Nil if a table can't say it.
    @inline(__always)
    private static func ticks(_ cost: UInt64, _ interval: UInt64) -> UInt64? {
        let product = cost.multipliedFullWidth(by: interval)
        guard product.high < 1 << (fractionBits - 1) else { return nil }
        let whole = product.high << (64 - fractionBits) | product.low >> fractionBits
        let rest = product.low & ((1 << fractionBits) - 1)
        let ticks = whole + (rest == 0 ? 0 : 1)
        return ticks <= CellTable.valueMax ? ticks : nil
    }

    // MARK: - What clients are told

    /// Costs of 1 that would be admitted now, with so much debt (ticks).
    package func remaining(debt: UInt64) -> UInt64 {
        guard debt < span else { return 0 }
        let one = max(1, interval)
        let left = (span - debt).multipliedFullWidth(by: 1 << Self.fractionBits)
        guard left.high < one else { return burst }
        return min(burst, one.dividingFullWidth(left).quotient)
    }

    /// Nanoseconds until a cost is admitted, if nothing else is; nil: never, it is more than the
    /// burst.
    package func wait(debt: UInt64, cost: UInt32) -> UInt64? {
        let needed = ticks(cost)
        guard needed <= span else { return nil }
        return debt + needed <= span ? 0 : Self.nanoseconds(debt + needed - span)
    }

    /// Nanoseconds until the whole burst is there again.
    package static func nanoseconds(_ ticks: UInt64) -> UInt64 {
        ticks << CellLayout.Kind.rates.tickShift
    }

    /// Costs of 1 that a span of nanoseconds is worth, rounded down.
    package func amount(in nanoseconds: UInt64) -> UInt64 {
        let ticks = nanoseconds >> CellLayout.Kind.rates.tickShift
        let scaled = ticks.multipliedFullWidth(by: 1 << Self.fractionBits)
        let one = max(1, interval)
        guard scaled.high < one else { return .max }
        return one.dividingFullWidth(scaled).quotient
    }

    /// Ticks of a span that another node has measured, rounded up.
    package static func ticks(nanoseconds: UInt64) -> UInt64 {
        let shift = CellLayout.Kind.rates.tickShift
        return min(CellTable.valueMax, nanoseconds >> shift + 1)
    }

    /// A debt under `old` that used up the same number of costs under this limit.
    package func rescaled(debt: UInt64, from old: RateLimit) -> UInt64 {
        guard debt > 0, old.interval > 0 else { return 0 }
        let product = min(debt, CellTable.valueMax).multipliedFullWidth(by: interval)
        guard product.high < old.interval else { return CellTable.valueMax }
        let (ticks, rest) = old.interval.dividingFullWidth(product)
        return min(CellTable.valueMax, rest == 0 ? ticks : ticks + 1)
    }
}

extension RateLimit {
    /// What each of so many gets, if all ask for more: each cost takes as many times longer, and
    /// at once there is what half of the span is worth, for that is what all of them share.
    // hot: no allocation
    func part(of clients: UInt64) -> RateLimit {
        let (product, overflow) = interval.multipliedReportingOverflow(by: clients)
        let one = UInt64(1) << Self.fractionBits
        let most = CellTable.valueMax << Self.fractionBits
        let own = overflow ? most : min(product, most)
        // One at a time is everybody's right.
        return RateLimit(
            self, interval: own, span: max(span / 2, (own + one - 1) >> Self.fractionBits))
    }

    private init(_ whole: RateLimit, interval: UInt64, span: UInt64) {
        quantity = whole.quantity
        period = whole.period
        burst = whole.burst
        self.interval = interval
        self.span = span
    }
}
