internal import EdgeCore

/// Which trace a request is part of (W3C Trace Context, level 1): what a `traceparent` field says.
package struct TraceContext: Sendable, Equatable, BitwiseCopyable {
    /// trace-id: never all zero.
    package var high: UInt64
    package var low: UInt64
    /// parent-id: never zero.
    package var parent: UInt64

    package init(high: UInt64, low: UInt64, parent: UInt64) {
        self.high = high
        self.low = low
        self.parent = parent
    }

    /// Of bytes that fields have, `00-` and the three parts.
    private static let byteCount = 55

    /// Reads the value of a field: lower-case digits only, no ID that is all zero, not version
    /// `ff`; of a version to come what it has in common with 00, as §3.2.2 and §4.3 have it.
    ///
    /// - Returns: nil if it is not sound.
    // hot: once per request that has one; no allocation.
    package init?(_ bytes: Span<UInt8>, _ range: ByteRange) {
        let start = Int(range.start)
        let count = Int(range.count)
        guard count >= Self.byteCount,
            let version = Self.hex(bytes, start, 2), version != 0xFF,
            count == Self.byteCount || version > 0 && bytes[start + 55] == Self.dash,
            bytes[start + 2] == Self.dash, bytes[start + 35] == Self.dash,
            bytes[start + 52] == Self.dash,
            let high = Self.hex(bytes, start + 3, 16), let low = Self.hex(bytes, start + 19, 16),
            let parent = Self.hex(bytes, start + 36, 16), Self.hex(bytes, start + 53, 2) != nil,
            high | low != 0, parent != 0
        else { return nil }
        self.init(high: high, low: low, parent: parent)
    }

    /// The context of a request's fields; nil if there is none, or not exactly one, or it is not
    /// sound, or Connection takes it away.
    package init?(_ fields: borrowing FieldList, _ bytes: Span<UInt8>) {
        var found: ByteRange?
        for index in 0..<fields.count where fields[index].name == .traceparent {
            guard found == nil, !fields[index].flags.contains(.hopByHop) else { return nil }
            found = fields[index].value
        }
        guard let found else { return nil }
        self.init(bytes, found)
    }

    /// A trace that begins with this request: its trace-id is the request's.
    package init(requestID: (high: UInt64, low: UInt64)) {
        self.init(
            high: requestID.high, low: requestID.low,
            parent: (requestID.high ^ requestID.low) | 1)
    }

    /// The whole line, of a trace that begins here: sampled, or those that follow the flag would
    /// never record one.
    package func writeLine(into output: inout ByteWriter) {
        output.append("traceparent: 00-")
        output.append(hexWord: high)
        output.append(hexWord: low)
        output.append("-")
        output.append(hexWord: parent)
        output.append("-01\r\n")
    }

    private static let dash = UInt8(ascii: "-")

    /// Nil unless all of them are lower-case digits.
    private static func hex(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> UInt64? {
        var value: UInt64 = 0
        for index in start..<start + count {
            switch bytes[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                value = value << 4 | UInt64(bytes[index] - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                value = value << 4 | UInt64(bytes[index] - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }
}

/// What becomes of a request's trace fields.
package enum TracePassage: UInt8, Sendable {
    /// They go on as they are, if there are any.
    case asTheyAre
    /// They do not go on.
    case dropped
    /// They do not go on, and a trace begins: `TraceContext(requestID:)`.
    case begun
}
