/// How a worker speaks HTTP/2, and what one connection may cost it. Rates are per second and
/// connection.
package struct HTTP2Settings: Sendable, Equatable {
    /// Clients are offered it. What is spoken with upstreams is their pools' to say.
    package var isEnabled = true
    /// Streams at once per connection, each counted until its upstream's work is released.
    package var streamsMax = 100
    /// Bytes of a stream's content that may be on the way to us.
    package var streamWindow = 64 << 10
    /// Bytes that the streams of a connection may occupy together.
    package var memoryMax = 2 << 20
    /// Frames behind the first of a header block.
    package var continuationsMax = 8
    /// By either side.
    package var resets: UInt32 = 100
    package var pings: UInt32 = 200
    package var settings: UInt32 = 20
    package var priorities: UInt32 = 500
    package var windowUpdates: UInt32 = 2000
    /// DATA frames that carry nothing and end nothing.
    package var emptyData: UInt32 = 200
    package var unknownFrames: UInt32 = 200

    package init() {}
}
