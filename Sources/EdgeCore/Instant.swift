internal import Glibc

/// A point on the monotonic clock, in nanoseconds. Machines are given one, they never ask for it:
/// only an event loop reads the clock, once per turn.
public struct Instant: Sendable, Hashable, Comparable, BitwiseCopyable {
    /// Nanoseconds since an arbitrary start (CLOCK_MONOTONIC: the same in every process).
    public var nanoseconds: UInt64

    @inlinable
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Later than any real time; a deadline that never comes.
    @inlinable public static var never: Instant { Instant(nanoseconds: .max) }

    /// Reads CLOCK_MONOTONIC (vDSO, about 20 ns).
    public static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(
            nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    @inlinable
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// Saturates at `.never`.
    @inlinable
    public func advanced(byNanoseconds span: UInt64) -> Instant {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(span)
        return Instant(nanoseconds: overflow ? .max : sum)
    }

    @inlinable
    public func advanced(by span: Duration) -> Instant {
        advanced(byNanoseconds: span.nanoseconds)
    }

    /// Nanoseconds from `earlier` to here; 0 if `earlier` is later.
    @inlinable
    public func nanoseconds(since earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds &- earlier.nanoseconds : 0
    }
}

extension Duration {
    /// Whole nanoseconds, saturating; negative spans are 0.
    @inlinable
    public var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return .max }
        let (sum, more) = whole.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        return more ? .max : sum
    }

    @inlinable
    public init(nanoseconds: UInt64) {
        self.init(
            secondsComponent: Int64(nanoseconds / 1_000_000_000),
            attosecondsComponent: Int64(nanoseconds % 1_000_000_000) * 1_000_000_000)
    }
}
