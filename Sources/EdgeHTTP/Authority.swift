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
            var last = Self.dot
            while position < end, Self.isNameByte(bytes[position]) {
                // No label but the one behind a final dot is empty.
                if bytes[position] == Self.dot, last == Self.dot { return nil }
                last = bytes[position]
                position += 1
            }
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

    private static let dot = UInt8(ascii: ".")
    private static let colon = UInt8(ascii: ":")

    /// Index of the closing bracket behind a well-formed address (RFC 3986 §3.2.2 `IPv6address`).
    private static func endOfLiteral(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int? {
        var close = start
        while close < end, bytes[close] != UInt8(ascii: "]") { close += 1 }
        guard close < end, close - start <= 45, isIPv6(bytes, start..<close) else { return nil }
        return close
    }

    /// One to eight groups of one to four hex digits, `::` at most once and in place of at least
    /// one, the last two perhaps as an IPv4 address.
    private static func isIPv6(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        let end = range.upperBound
        var position = range.lowerBound
        var groups = 0
        var isCompressed = false
        if position + 1 < end, bytes[position] == colon, bytes[position + 1] == colon {
            isCompressed = true
            position += 2
        }
        while position < end, groups < 8 {
            let start = position
            while position < end, isHexDigit(bytes[position]) { position += 1 }
            if position < end, bytes[position] == dot {
                guard isIPv4(bytes, start..<end) else { return false }
                groups += 2
                position = end
                break
            }
            guard (1...4).contains(position - start) else { return false }
            groups += 1
            guard position < end else { break }
            guard bytes[position] == colon, position + 1 < end else { return false }
            position += 1
            if bytes[position] == colon {
                guard !isCompressed else { return false }
                isCompressed = true
                position += 1
            }
        }
        return position == end && (isCompressed ? groups <= 7 : groups == 8)
    }

    /// Four numbers up to 255 without leading zeros.
    private static func isIPv4(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var numbers = 0
        var position = range.lowerBound
        while numbers < 4 {
            let start = position
            var number = 0
            while position < range.upperBound, position - start < 3 {
                let digit = bytes[position] &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                number = number * 10 + Int(digit)
                position += 1
            }
            let count = position - start
            guard count > 0, number <= 255, count == 1 || bytes[start] != UInt8(ascii: "0")
            else { return false }
            numbers += 1
            if position == range.upperBound { break }
            guard bytes[position] == dot else { return false }
            position += 1
        }
        return numbers == 4 && position == range.upperBound
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    @inline(__always)
    static func isNameByte(_ byte: UInt8) -> Bool {
        // Bits of letters, digits and `-._~`, for the lower and upper 64 of ASCII.
        let low: UInt64 = 0x03FF_6000_0000_0000
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFE
        if byte < 64 { return (low >> UInt64(byte)) & 1 == 1 }
        return byte < 128 && (high >> UInt64(byte & 63)) & 1 == 1
    }
}
