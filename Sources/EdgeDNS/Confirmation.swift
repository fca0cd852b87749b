package import EdgeCore

/// What the addresses of a name, or the targets of a service, are worth.
package enum NameState: String, Sendable, CaseIterable {
    /// No answer so far.
    case unresolved
    /// The newest answer was good.
    case fresh
    /// Last-known-good: queries since have failed, or there was no answer yet since the start.
    case stale
    /// The newest answer looks wrong; what was known before is kept beside it.
    case suspicious
    /// DNS has not confirmed what is known for longer than `stale`: nothing is proposed.
    case expired
}

/// Until when something is good that DNS has once said.
package struct Confirmation: Sendable, Equatable {
    /// When it was confirmed, or taken from disk; nil: never.
    package private(set) var at: Instant?
    /// How old it was at that moment already.
    package private(set) var ageBefore: Duration = .zero
    /// Whether the newest answer confirmed it.
    package private(set) var isNewest = false
    package private(set) var isExpired = false

    package init() {}

    package mutating func confirmed(now: Instant) {
        self = Confirmation()
        at = now
        isNewest = true
    }

    package mutating func restored(age: Duration, now: Instant) {
        self = Confirmation()
        at = now
        ageBefore = age
    }

    /// The newest answer was no confirmation.
    package mutating func missed() { isNewest = false }

    package func age(now: Instant) -> Duration? {
        at.map { ageBefore + Duration(nanoseconds: now.nanoseconds(since: $0)) }
    }

    /// When it counts no more unless it is confirmed; `.never` if it always will.
    package func expiry(timing: NameTiming) -> Instant {
        guard let at, !isNewest, let stale = timing.stale else { return .never }
        return at.advanced(by: max(stale - ageBefore, .zero))
    }

    package mutating func advance(now: Instant, timing: NameTiming) {
        isExpired = expiry(timing: timing) <= now
    }
}
