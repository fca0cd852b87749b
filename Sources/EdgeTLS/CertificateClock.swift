internal import EdgeCore
internal import Glibc
internal import Synchronization

/// The time that certificates' dates are judged by: the system's, unless that is known to be too
/// early. A machine without a battery begins in 1970 until its clock has been set, and every
/// certificate would be "not yet valid". Any thread.
package enum CertificateClock {
    /// Seconds since 1970; 0: the system's clock is believed.
    private static let earliest = Atomic<Int64>(0)

    /// It cannot be earlier than this, because it was this late before.
    ///
    /// - Parameter seconds: since 1970; nil: the system's clock is believed.
    package static func assume(notBefore seconds: Int64?) {
        earliest.store(seconds ?? 0, ordering: .relaxed)
    }

    /// Seconds since 1970.
    package static func now() -> Int64 {
        max(Int64(time(nil)), earliest.load(ordering: .relaxed))
    }

    /// The time if it is not the system's.
    static var assumed: Int64? {
        let earliest = earliest.load(ordering: .relaxed)
        return earliest > Int64(time(nil)) ? earliest : nil
    }

    /// `2026-11-22`, of seconds since 1970.
    package static func day(_ seconds: Int64) -> String {
        String(WallClock.text(UInt64(clamping: seconds) &* 1_000_000_000).prefix(10))
    }
}
