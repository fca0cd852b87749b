/// A checked `host[:port]`, of a Host field, an absolute-form target or `:authority`.
///
/// Stricter than RFC 3986 where no real name is lost: a host consists of letters, digits and
/// `-._~`, or is an IPv6 literal in brackets. Percent-encoding, user information, IPvFuture and
/// zone identifiers are refused, so that no two readers can see two hosts.
package struct Authority: Equatable {
    /// `host[:port]`; an empty port's colon is left out.
    package let whole: ByteRange
    /// An IPv6 literal without its brackets.
    package let host: ByteRange
    package let port: UInt16?

    /// nil if it is not valid. O(count).
    package init?(_ bytes: Span<UInt8>, _ range: ByteRange) {
        let start = Int(range.start)
        let end = range.end
        guard start < end, end <= bytes.count else { return nil }
        var position = start
        if bytes[start] == UInt8(ascii: "[") {
            guard let close = Self.endOfLiteral(bytes, from: start + 1, to: end) else { return nil }
            host = ByteRange(start + 1..<close)
            position = close + 1
        } else {
            while position < end, Self.isNameByte(bytes[position]) { position += 1 }
            guard position > start, position - start <= 255 else { return nil }
            host = ByteRange(start..<position)
        }
        guard position < end else {
            whole = range
            port = nil
            return
        }
        guard bytes[position] == UInt8(ascii: ":") else { return nil }
        guard position + 1 < end else {
            whole = ByteRange(start..<position)
            port = nil
            return
        }
        guard end - position - 1 <= 5 else { return nil }
        var number: UInt32 = 0
        var digit = position + 1
        while digit < end {
            let value = bytes[digit] &- UInt8(ascii: "0")
            guard value < 10 else { return nil }
            number = number * 10 + UInt32(value)
            digit += 1
        }
        guard number > 0, number <= 65535 else { return nil }
        whole = range
        port = UInt16(truncatingIfNeeded: number)
    }

    /// Index of the closing bracket.
    private static func endOfLiteral(_ bytes: Span<UInt8>, from: Int, to end: Int) -> Int? {
        var colons = 0
        var position = from
        while position < end {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "]"):
                return colons >= 2 && position - from <= 45 ? position : nil
            case UInt8(ascii: ":"): colons += 1
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
                break
            default: return nil
            }
            position += 1
        }
        return nil
    }

    @inline(__always)
    private static func isNameByte(_ byte: UInt8) -> Bool {
        // Bits of letters, digits and `-._~`, for the lower and upper 64 of ASCII.
        let low: UInt64 = 0x03FF_6000_0000_0000
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFE
        if byte < 64 { return (low >> UInt64(byte)) & 1 == 1 }
        return byte < 128 && (high >> UInt64(byte & 63)) & 1 == 1
    }
}
