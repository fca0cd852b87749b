import EdgeCore

/// The time after a member's return: until it has answered, it gets one request per second and
/// worker if there is anybody else to ask, and its first failure takes it out again. So a member
/// that is still ill costs few requests each time its ejection ends.
///
///     off ──begin──► on ──end, its time is over──► off
struct MemberTrial: Sendable {
    /// Zero: off.
    private var until = Instant(nanoseconds: 0)
    private var sparedUntil = Instant(nanoseconds: 0)

    /// Answers that take longer are nothing to wait for.
    static let span = Duration.seconds(10)
    static let pause = Duration.seconds(1)

    mutating func begin(now: Instant) {
        until = now.advanced(by: Self.span)
        sparedUntil = now
    }

    mutating func end() { until = Instant(nanoseconds: 0) }

    /// It gets a request.
    mutating func chosen(now: Instant) {
        if isOn(now: now) { sparedUntil = now.advanced(by: Self.pause) }
    }

    func isOn(now: Instant) -> Bool { now < until }

    /// Others are to be asked.
    func isSpared(now: Instant) -> Bool { isOn(now: now) && now < sparedUntil }
}
