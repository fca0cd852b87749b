package import EdgeCore

/// When one name or service is asked for. Sans-IO: it is told the time and what became of a query.
///
///     waiting ──ask──► asking ──succeeded, failed──► waiting (TTL, or back-off after a failure)
///        ▲  hurry: sooner │ hurry: once more afterwards
///     literal: an address, never asked
package struct QuerySchedule: Sendable {
    package enum Activity: Sendable, Equatable {
        case literal
        case waiting(until: Instant)
        case asking(since: Instant, onceMore: Bool)
    }

    package private(set) var activity: Activity
    /// Answers without anything usable since the last good one.
    package private(set) var failures = 0
    /// Whether somebody waits for the next answer because what is known does not work.
    package private(set) var isHurried = false
    private var lastAsked: Instant?

    package init(isLiteral: Bool, now: Instant) {
        activity = isLiteral ? .literal : .waiting(until: now)
    }

    package var isLiteral: Bool { activity == .literal }

    /// When to ask; `.never` while asking and for literals.
    package var due: Instant {
        switch activity {
        case .waiting(let until): until
        case .asking, .literal: .never
        }
    }

    /// The query is sent.
    package mutating func asked(now: Instant) {
        switch activity {
        case .waiting:
            activity = .asking(since: now, onceMore: false)
            lastAsked = now
        case .asking, .literal: break  // Already under way; never to be asked.
        }
    }

    /// - Parameter ttl: in seconds; kept between the timing's bounds.
    package mutating func succeeded(
        ttl: UInt32, now: Instant, timing: NameTiming, random: inout SplitMix64
    ) {
        failures = 0
        let bounded = min(Duration.seconds(Int64(ttl)), timing.ceiling).nanoseconds
        let delay = max(Self.jittered(bounded, &random), timing.floor.nanoseconds)
        wait(delay, now: now, timing: timing)
    }

    package mutating func failed(
        _ failure: QueryFailure, now: Instant, timing: NameTiming, random: inout SplitMix64
    ) {
        guard failure != .cancelled else { return wait(0, now: now, timing: timing) }
        failures += 1
        let delay = Self.jittered(Self.backOff(failures: failures, timing: timing), &random)
        wait(delay, now: now, timing: timing)
    }

    /// Somebody failed to connect to what is known: ask soon, but not more often than
    /// `hurryInterval`. While a query is out, ask once more after it.
    package mutating func hurry(now: Instant, timing: NameTiming) {
        switch activity {
        case .literal: break
        case .asking(let since, _): activity = .asking(since: since, onceMore: true)
        case .waiting(let until):
            isHurried = true
            let earliest = lastAsked.map { $0.advanced(by: timing.hurryInterval) } ?? now
            activity = .waiting(until: min(until, max(now, earliest)))
        }
    }

    /// Another configuration: nothing waits longer than it allows.
    package mutating func bound(now: Instant, timing: NameTiming) {
        guard case .waiting(let until) = activity else { return }
        let longest = max(timing.ceiling, timing.retryMax)
        activity = .waiting(until: min(until, now.advanced(by: longest)))
    }

    /// - Parameter nanoseconds: from query to query, so that slow answers and time-outs do not make
    ///   the next one later.
    private mutating func wait(_ nanoseconds: UInt64, now: Instant, timing: NameTiming) {
        let onceMore: Bool
        let asked: Instant
        switch activity {
        case .literal: return
        case .waiting: (asked, onceMore) = (now, false)
        case .asking(let since, let again): (asked, onceMore) = (since, again)
        }
        isHurried = false
        activity = .waiting(until: max(now, asked.advanced(byNanoseconds: nanoseconds)))
        if onceMore { hurry(now: now, timing: timing) }
    }

    /// Up to a tenth sooner, so that names learnt together are not asked together for ever.
    private static func jittered(_ span: UInt64, _ random: inout SplitMix64) -> UInt64 {
        span - random.next(upperBound: span / 10 + 1)
    }

    private static func backOff(failures: Int, timing: NameTiming) -> UInt64 {
        let first = timing.retryMin.nanoseconds
        let doublings = min(failures - 1, 16)
        return min(first << UInt64(doublings), timing.retryMax.nanoseconds)
    }
}
