internal import EdgeCore
internal import EdgeLimits

/// What an exchange whose bytes are limited has beside its row: a row of the meter table, by the
/// exchange's number; meaningful while the exchange `isMetered`.
struct Meter: BitwiseCopyable {
    /// Who is charged.
    var caller: LimitCaller
    /// In the snapshot's `LimitPlans`; -1: nothing is charged any more.
    var plan: Int32
    /// From the client.
    var upload: TransferMeter
    /// To the client.
    var download: TransferMeter
    /// It has not been given an upstream yet: a debt has to be paid first.
    var isHeldBack = false
    /// When that began.
    var heldBackAt = Instant(nanoseconds: 0)
    /// Nanoseconds that it lasted.
    var heldBackFor: UInt64 = 0
}

extension Exchange {
    /// Its bytes are charged in one direction at least.
    @inline(__always)
    var isMetered: Bool { !flags.isDisjoint(with: [.metersUpload, .metersDownload]) }
}
