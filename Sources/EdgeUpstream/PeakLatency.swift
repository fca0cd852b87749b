internal import EdgeCore
internal import Glibc

/// How long a member takes to answer: a moving average that rises at once to a longer time and
/// falls slowly (peak-EWMA), in nanoseconds.
///
/// A member that gets no requests is believed to become faster, by the factor e every
/// `timeConstant`, so that it is asked again; being asked takes that belief away until the answer
/// is there. One that is `r` times slower than the others so gets about one request in
/// `timeConstant × ln r`, which is also the longest that its recovery goes unseen.
struct PeakLatency: Sendable {
    private var peak = PeakLatency.assumed
    private var isKnown = false
    private var wasChosen = false
    private var sampledAt = Instant(nanoseconds: 0)
    /// The newer of the last sample and the last choice.
    private var touchedAt = Instant(nanoseconds: 0)

    /// Nanoseconds.
    static let timeConstant: Double = 10e9
    /// What a member is worth that has been chosen and has not answered yet: a second.
    private static let assumed: Double = 1e9

    mutating func chosen(now: Instant) {
        wasChosen = true
        touchedAt = now
    }

    mutating func add(_ sample: UInt64, now: Instant) {
        let sample = Double(max(sample, 1))
        let past = Self.decay(now.nanoseconds(since: sampledAt))
        let kept = peak * past
        peak = isKnown && sample < kept ? kept + sample * (1 - past) : sample
        isKnown = true
        sampledAt = now
        touchedAt = now
    }

    /// Nanoseconds that are to be expected; 0 for a member that nothing is known of and that was
    /// never chosen.
    func expected(now: Instant) -> Double {
        guard isKnown || wasChosen else { return 0 }
        return peak * Self.decay(now.nanoseconds(since: touchedAt))
    }

    /// What is left of a value after a time.
    private static func decay(_ nanoseconds: UInt64) -> Double {
        nanoseconds < 1_000_000 ? 1 : exp(-Double(nanoseconds) / timeConstant)
    }
}
