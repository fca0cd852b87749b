/// What is measured per request as a histogram: how long it took. One set of cells per worker on
/// the `SharedBoard`. Names are Prometheus names with `edged_` in front and `_seconds` behind.
@frozen
public enum Timing: Int, Sendable, CaseIterable {
    /// From the first byte of a request until its exchange was over. Not for upgraded connections.
    case requestDuration
    /// From a request's last byte going up until the first byte of the answer.
    case upstreamResponse

    public var label: String { snakeCase("\(self)") }

    /// Buckets of every histogram, the last of which is without bound.
    public static let bucketCount = 20

    /// The lowest bound, 250 µs; each further one is twice the one before.
    private static let unit: UInt64 = 250_000

    /// The bucket that a span belongs to: constant time, no table.
    @inlinable
    public static func bucket(of nanoseconds: UInt64) -> Int {
        let steps = (nanoseconds &- (nanoseconds == 0 ? 0 : 1)) / 250_000
        return min(UInt64.bitWidth - steps.leadingZeroBitCount, bucketCount - 1)
    }

    /// The bucket's upper bound, inclusive, in nanoseconds; nil: it has none.
    public static func bound(of bucket: Int) -> UInt64? {
        bucket < bucketCount - 1 ? unit << UInt64(bucket) : nil
    }
}
