/// Keeps a flood of one message from filling the disk: each place in the source that logs has a
/// bucket of lines which fills again with time; what finds it empty is left out and counted. Pure:
/// the caller brings the time.
public struct LogRateLimit {
    /// What becomes of a line.
    public enum Decision: Equatable, Sendable {
        /// It is written. `omitted`: lines of this place left out since the last one written.
        case write(omitted: Int)
        case omit
    }

    private struct Bucket {
        /// When the bucket will be full again, as in GCRA: one word instead of count and time.
        var full: Instant
        var omitted = 0
    }

    /// Lines of one place at once: a long list of what is wrong with a configuration fits.
    private let burst: UInt64
    /// Between two lines of a place that has used up its burst, in nanoseconds.
    private let interval: UInt64
    private var buckets: [String: Bucket] = [:]

    public init(burst: Int = 100, perSecond: Int = 5) {
        self.burst = UInt64(burst)
        interval = 1_000_000_000 / UInt64(perSecond)
    }

    /// - Parameter place: of the source; their number is bounded, so the table is.
    public mutating func admit(_ place: String, now: Instant) -> Decision {
        var bucket = buckets[place] ?? Bucket(full: now)
        let next = max(bucket.full, now).advanced(byNanoseconds: interval)
        guard next.nanoseconds(since: now) <= burst * interval else {
            bucket.omitted += 1
            buckets[place] = bucket
            return .omit
        }
        let omitted = bucket.omitted
        bucket.full = next
        bucket.omitted = 0
        buckets[place] = bucket
        return .write(omitted: omitted)
    }

    /// Places whose flood is over, with what was left out of it: said once, so that the last part
    /// of a flood is not passed over in silence.
    public mutating func takeOmitted(now: Instant) -> [(place: String, omitted: Int)] {
        var result: [(place: String, omitted: Int)] = []
        for (place, bucket) in buckets
        where bucket.omitted > 0
            && bucket.full.nanoseconds(since: now) <= (burst - 1) * interval
        {
            result.append((place, bucket.omitted))
            buckets[place]?.omitted = 0
        }
        return result.sorted { $0.place < $1.place }
    }
}
