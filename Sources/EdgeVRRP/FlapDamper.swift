internal import EdgeCore

/// Counts take-overs in a sliding window; too many begin a hold-down, during which nothing moves by
/// choice. The list is bounded by the settings' limit plus one.
struct FlapDamper: Sendable {
    private(set) var takeOvers: [Instant] = []
    private(set) var heldUntil: Instant?
    /// Hold-downs since the window was last quiet.
    private(set) var holdDowns = 0

    init() {}

    init(takeOvers: [Instant], heldUntil: Instant?, holdDowns: Int) {
        self.takeOvers = takeOvers
        self.heldUntil = heldUntil
        self.holdDowns = holdDowns
    }

    mutating func noteTakeOver(now: Instant, settings: DampingSettings) {
        let window = settings.window.nanoseconds
        takeOvers.removeAll { now.nanoseconds(since: $0) > window }
        if takeOvers.isEmpty, !isHeld(now: now) { holdDowns = 0 }
        takeOvers.append(now)
        if takeOvers.count > settings.takeOversMax + 1 { takeOvers.removeFirst() }
        guard takeOvers.count > settings.takeOversMax else { return }
        let factor = UInt64(1) << UInt64(min(holdDowns, 20))
        let (span, overflow) = settings.holdDown.nanoseconds.multipliedReportingOverflow(
            by: factor)
        let longest = settings.holdDownMax.nanoseconds
        heldUntil = now.advanced(byNanoseconds: overflow ? longest : min(span, longest))
        holdDowns += 1
    }

    func isHeld(now: Instant) -> Bool { heldUntil.map { now < $0 } ?? false }
}
