internal import EdgeCore

/// When the files that may be replaced are looked at: after a change has been followed by quiet,
/// or has gone on for long enough; and now and then without one, because not every file system
/// tells. One round at a time. No clock of its own.
///
///     quiet ── changed ──▶ unsettled ── due ──▶ looking ── finished ──▶ quiet
///       └───────── period over ─────────────────▶ ┘   (changed meanwhile: unsettled)
struct RotationRounds {
    struct Spans {
        /// Nothing has changed for so long: whoever writes has finished.
        var quiet = Duration.milliseconds(100)
        /// A change is looked at after this at the latest.
        var atMost = Duration.milliseconds(500)
        /// Without any sign of a change.
        var period = Duration.seconds(10)
        /// After a change has been used: a clock that ticks in milliseconds may hide another one.
        var settling = Duration.milliseconds(1_200)
    }

    private enum State {
        case quiet(next: Instant)
        case unsettled(first: Instant, last: Instant)
        case looking(changed: Instant?)
        /// A reload looks at everything by itself.
        case held
    }

    private let spans: Spans
    private var state: State

    init(_ spans: Spans = Spans(), now: Instant) {
        self.spans = spans
        state = .quiet(next: now.advanced(by: spans.period))
    }

    /// When the next round is to begin; nil: not before something happens.
    var due: Instant? {
        switch state {
        case .quiet(let next): next
        case .unsettled(let first, let last):
            min(first.advanced(by: spans.atMost), last.advanced(by: spans.quiet))
        case .looking, .held: nil
        }
    }

    /// A sign of a change.
    mutating func changed(now: Instant) {
        switch state {
        case .quiet: state = .unsettled(first: now, last: now)
        case .unsettled(let first, _): state = .unsettled(first: first, last: now)
        case .looking(let changed): state = .looking(changed: changed ?? now)
        case .held: break
        }
    }

    /// - Returns: whether a round begins; it ends with `finished`.
    mutating func begin(now: Instant) -> Bool {
        guard let due, due <= now else { return false }
        state = .looking(changed: nil)
        return true
    }

    /// - Parameters:
    ///   - isNews: it has found something new.
    ///   - again: when there is a reason of its own to look again; nil: none.
    mutating func finished(now: Instant, isNews: Bool, again: Instant? = nil) {
        switch state {
        case .looking(.some(let changed)):
            state = .unsettled(first: changed, last: now)
        case .looking(nil):
            var next = now.advanced(by: isNews ? spans.settling : spans.period)
            if let again, again < next { next = max(again, now.advanced(by: spans.quiet)) }
            state = .quiet(next: next)
        case .quiet, .unsettled, .held: break
        }
    }

    /// No round begins until `release`; what the current one finds must not be used.
    mutating func hold() { state = .held }

    /// The next round is due at once: what was held may have missed something.
    mutating func release(now: Instant) {
        guard case .held = state else { return }
        state = .quiet(next: now)
    }
}
