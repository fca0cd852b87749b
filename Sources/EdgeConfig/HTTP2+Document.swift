/// How HTTP/2 is spoken: `http2:`, checked and with its defaults filled in. Rates are per second
/// and connection; what exceeds one ends the connection.
package struct HTTP2Configuration: Sendable, Equatable {
    /// Offered to the clients of `tls` listeners. Upstreams have a key of their own.
    package let isEnabled: Bool
    /// At once on a connection.
    package let streamsMax: Int
    /// Bytes that a peer may send on a stream before it is told that there is room for more.
    package let streamWindow: Int
    /// Bytes that a connection may occupy, over all of its streams.
    package let memoryMax: Int
    /// Frames that continue a header block.
    package let continuationsMax: Int
    /// Streams that end by a reset, by whichever side.
    package let resets: UInt32
    package let pings: UInt32
    package let settings: UInt32
    package let priorities: UInt32
    package let windowUpdates: UInt32
    /// DATA frames without a byte that do not end their stream.
    package let emptyData: UInt32
    /// Frames of types that no RFC we follow defines.
    package let unknownFrames: UInt32

    /// Without arguments: what a file that says nothing about it means.
    package init(
        isEnabled: Bool = true, streamsMax: Int = 100, streamWindow: Int = 64 << 10,
        memoryMax: Int = 2 << 20, continuationsMax: Int = 8, resets: UInt32 = 100,
        pings: UInt32 = 200, settings: UInt32 = 20, priorities: UInt32 = 500,
        windowUpdates: UInt32 = 2000, emptyData: UInt32 = 200, unknownFrames: UInt32 = 200
    ) {
        self.isEnabled = isEnabled
        self.streamsMax = streamsMax
        self.streamWindow = streamWindow
        self.memoryMax = memoryMax
        self.continuationsMax = continuationsMax
        self.resets = resets
        self.pings = pings
        self.settings = settings
        self.priorities = priorities
        self.windowUpdates = windowUpdates
        self.emptyData = emptyData
        self.unknownFrames = unknownFrames
    }
}

extension HTTP2Configuration {
    private enum Answer: String { case no, yes }

    /// What a field of a head costs besides its bytes (RFC 9113 §6.5.2).
    private static let fieldCost = 32

    /// - Parameter limits: what a request's head may be; it has to fit into a connection's memory.
    static func decode(_ section: Section, limits: Configuration.Limits) -> Self {
        let result = Self(
            isEnabled: section.choice("enabled", as: Answer.self) != .no,
            streamsMax: section.integer("streams") ?? 1,
            streamWindow: section.size("stream_window"), memoryMax: section.size("memory"),
            continuationsMax: section.integer("continuations") ?? 1,
            resets: rate(section, "resets"), pings: rate(section, "pings"),
            settings: rate(section, "settings"), priorities: rate(section, "priorities"),
            windowUpdates: rate(section, "window_updates"),
            emptyData: rate(section, "empty_data"),
            unknownFrames: rate(section, "unknown_frames"))
        checkMemory(
            result, section, headBytes: limits.requestHeadBytes + limits.headerFields * fieldCost)
        return result
    }

    /// The schema bounds it to what fits.
    private static func rate(_ section: Section, _ name: String) -> UInt32 {
        UInt32(section.integer(name) ?? 1)
    }

    /// The defaults fit each other, whatever `limits` says: what does not fit was written.
    private static func checkMemory(_ result: Self, _ section: Section, headBytes: Int) {
        if result.streamWindow > result.memoryMax {
            section.error(
                section.location(of: "stream_window"),
                "http2.stream_window is more than http2.memory",
                hint: "one stream may fill its window: at most "
                    + Quantity.text(bytes: result.memoryMax))
        }
        if headBytes > result.memoryMax {
            section.error(
                section.location(of: "memory"),
                "http2.memory has no room for one request's head",
                hint: "limits.request_head and \(fieldCost) bytes for each of "
                    + "limits.header_fields: at least \(Quantity.text(bytes: headBytes))")
        }
    }
}
