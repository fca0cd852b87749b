import EdgeCore

/// When one member is checked next.
///
///     waiting ──due: begin──► under way ──finished──► waiting
///        ▲ hurry: sooner          │ hurry: once more afterwards
///
/// A check whose outcome never comes is begun anew after three timeouts and five seconds.
struct CheckClock: Sendable {
    /// Between two checks of one member, however urgent.
    static let hurryGap = Duration.milliseconds(200)

    private(set) var due: Instant
    /// When the check that is under way has begun.
    private(set) var began: Instant?
    private var lastBegan: Instant?
    private var isWantedAgain = false

    init(now: Instant) { due = now }

    mutating func begin(timeout: Duration, now: Instant) {
        began = now
        lastBegan = now
        isWantedAgain = false
        due = now.advanced(by: timeout).advanced(by: timeout).advanced(by: timeout)
            .advanced(by: .seconds(5))
    }

    /// Something has failed: look at once.
    mutating func hurry(now: Instant) {
        guard began == nil else {
            isWantedAgain = true
            return
        }
        let earliest = lastBegan?.advanced(by: Self.hurryGap) ?? now
        due = min(due, max(now, earliest))
    }

    /// - Parameter span: until the next check, nanoseconds.
    mutating func finished(nextAfter span: UInt64, now: Instant) {
        began = nil
        due = now.advanced(byNanoseconds: span)
        if isWantedAgain {
            isWantedAgain = false
            hurry(now: now)
        }
    }

    /// Checks have become others.
    mutating func restart(now: Instant) {
        began = nil
        isWantedAgain = false
        due = now
    }
}

extension SplitMix64 {
    /// `span` give or take a tenth, nanoseconds.
    mutating func jittered(_ span: Duration) -> UInt64 {
        let whole = min(span.nanoseconds, .max / 2)
        return whole - whole / 10 + next() % (whole / 5 + 1)
    }

    /// Up to a tenth of `span`, nanoseconds.
    mutating func tenth(of span: UInt64) -> UInt64 { next() % (span / 10 + 1) }
}
