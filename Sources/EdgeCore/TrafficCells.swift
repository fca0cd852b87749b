/// What is counted per site: the order of its cells, in workers' tables and in their sums. A row
/// is four cache lines, of which a request writes two or three.
public enum SiteCells {
    /// Requests by the class of their status, `status / 100`; 0: no answer was begun.
    @inlinable public static var classes: Int { 0 }
    @inlinable public static var classCount: Int { 6 }
    /// Bytes of requests' content, and of answers', without framing.
    @inlinable public static var received: Int { 6 }
    @inlinable public static var sent: Int { 7 }
    /// Requests that ended badly, by whose fault it was, in the order of `blames`.
    @inlinable public static var failures: Int { 8 }
    /// Nanoseconds of all requests that are in the histogram.
    @inlinable public static var durationSum: Int { 11 }
    /// `Timing.bucketCount` of them: as `Timing.requestDuration`.
    @inlinable public static var durations: Int { 12 }
    /// Cells that are written.
    @inlinable public static var count: Int { 32 }
    /// From one row to the next: whole cache lines.
    @inlinable public static var stride: Int { 32 }

    public static let blames: [ReasonCode.Blame] = [.client, .edge, .upstream]
}

/// What is counted per upstream, as `SiteCells`.
public enum UpstreamCells {
    /// Times that a request or relayed connection was given a connection, or one was begun for it.
    @inlinable public static var attempts: Int { 0 }
    /// Connections that were begun.
    @inlinable public static var connects: Int { 1 }
    /// Of those that could not be made.
    @inlinable public static var connectFailures: Int { 2 }
    /// Requests that failed on a connection that was there, through no fault of their clients'.
    @inlinable public static var failures: Int { 3 }
    /// Requests and relayed connections under way: a gauge.
    @inlinable public static var active: Int { 4 }
    /// Nanoseconds of all answers that are in the histogram.
    @inlinable public static var responseSum: Int { 5 }
    /// `Timing.bucketCount` of them: as `Timing.upstreamResponse`.
    @inlinable public static var responses: Int { 6 }
    @inlinable public static var count: Int { 26 }
    @inlinable public static var stride: Int { 32 }
}
