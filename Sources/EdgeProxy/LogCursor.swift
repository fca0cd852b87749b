internal import EdgeCore
internal import EdgeHTTP

/// Where the next byte of a log line goes. Trusts its caller, who has reserved room for the longest
/// line. No allocation, no String.
struct LogCursor {
    private(set) var at: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer) { at = start }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        at.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        at += text.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func put(byte: UInt8) {
        at.storeBytes(of: byte, as: UInt8.self)
        at += 1
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawPointer, count: Int) {
        at.copyMemory(from: bytes, byteCount: count)
        at += count
    }

    /// Bytes that are JSON already.
    mutating func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes {
            if let start = $0.baseAddress { put(start, count: $0.count) }
        }
    }

    // MARK: - Numbers

    mutating func put(decimal number: UInt64) {
        if number < 10 {
            put(byte: 0x30 + UInt8(truncatingIfNeeded: number))
            return
        }
        var count = 2
        var rest = number / 100
        while rest > 0 {
            count &+= 1
            rest /= 10
        }
        rest = number
        var index = count
        while index > 0 {
            index -= 1
            at.storeBytes(
                of: 0x30 + UInt8(truncatingIfNeeded: rest % 10), toByteOffset: index,
                as: UInt8.self)
            rest /= 10
        }
        at += count
    }

    /// Three digits, zeros in front.
    @inline(__always)
    mutating func put(threeDigits number: UInt64) {
        put(byte: 0x30 + UInt8(truncatingIfNeeded: number / 100))
        put(byte: 0x30 + UInt8(truncatingIfNeeded: number / 10 % 10))
        put(byte: 0x30 + UInt8(truncatingIfNeeded: number % 10))
    }

    /// Nanoseconds as milliseconds with three digits behind the point.
    mutating func put(milliseconds nanoseconds: UInt64) {
        let microseconds = nanoseconds / 1_000
        put(decimal: microseconds / 1_000)
        put(byte: UInt8(ascii: "."))
        put(threeDigits: microseconds % 1_000)
    }

    /// 16 lower-case digits.
    mutating func put(hex word: UInt64) {
        put(hex: UInt32(truncatingIfNeeded: word >> 32))
        put(hex: UInt32(truncatingIfNeeded: word))
    }

    /// Eight digits at once: one nibble per byte, then letters where it is over nine.
    @inline(__always)
    private mutating func put(hex half: UInt32) {
        var word = UInt64(half)
        word = (word << 16 | word) & 0x0000_FFFF_0000_FFFF
        word = (word << 8 | word) & 0x00FF_00FF_00FF_00FF
        word = (word << 4 | word) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = ((word &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
        word = word &+ 0x3030_3030_3030_3030 &+ letters &* 0x27
        at.storeBytes(of: word.bigEndian, as: UInt64.self)
        at += 8
    }

    // MARK: - Addresses

    /// Without the port; IPv6 as RFC 5952 says.
    mutating func put(address: SocketAddress) {
        guard address.isIPv4 else {
            var writer = ByteWriter(UnsafeMutableRawBufferPointer(start: at, count: 46))
            writer.append(address: address)
            at += writer.count
            return
        }
        let value = address.ipv4
        put(decimal: UInt64(value >> 24))
        put(byte: UInt8(ascii: "."))
        put(decimal: UInt64(value >> 16 & 255))
        put(byte: UInt8(ascii: "."))
        put(decimal: UInt64(value >> 8 & 255))
        put(byte: UInt8(ascii: "."))
        put(decimal: UInt64(value & 255))
    }

    /// `192.0.2.1:443` or `[2001:db8::1]:443`.
    mutating func put(endpoint: SocketAddress) {
        if !endpoint.isIPv4 { put(byte: UInt8(ascii: "[")) }
        put(address: endpoint)
        if !endpoint.isIPv4 { put(byte: UInt8(ascii: "]")) }
        put(byte: UInt8(ascii: ":"))
        put(decimal: UInt64(endpoint.port))
    }

    // MARK: - Strings of peers

    /// The most bytes that `put(escaped:)` makes of one.
    static let escapedMax = 6

    /// The inside of a JSON string (RFC 8259 §7). Every byte but printable ASCII is `\u00XX`, so
    /// nothing that a peer sends can end the string or the line, nor be invalid UTF-8.
    // hot: eight bytes at a time where nothing is to be escaped.
    mutating func put(escaped bytes: UnsafeRawPointer, count: Int) {
        var index = 0
        while index &+ 8 <= count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if Self.isPlain(word) {
                at.storeBytes(of: word, as: UInt64.self)
                at += 8
            } else {
                for offset in index..<index &+ 8 {
                    put(escaped: bytes.load(fromByteOffset: offset, as: UInt8.self))
                }
            }
            index &+= 8
        }
        while index < count {
            put(escaped: bytes.load(fromByteOffset: index, as: UInt8.self))
            index &+= 1
        }
    }

    /// No byte below 0x20 or above 0x7E, no quote and no backslash. The usual tests of bit tricks:
    /// exact for "is there any", which is all that is asked.
    @inline(__always)
    private static func isPlain(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        func hasZero(_ value: UInt64) -> UInt64 { (value &- ones) & ~value & tops }
        let controls = (word &- ones &* 0x20) & ~word & tops
        let deletes = hasZero(word ^ ones &* 0x7F)
        let quotes = hasZero(word ^ ones &* 0x22)
        let slashes = hasZero(word ^ ones &* 0x5C)
        return (word & tops) | controls | deletes | quotes | slashes == 0
    }

    private mutating func put(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): put("\\\"")
        case UInt8(ascii: "\\"): put("\\\\")
        case 0x20...0x7E: put(byte: byte)
        default:
            put("\\u00")
            put(byte: Self.hexDigit(byte >> 4))
            put(byte: Self.hexDigit(byte & 15))
        }
    }

    private static func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 0x30 + nibble : 0x57 + nibble
    }
}
