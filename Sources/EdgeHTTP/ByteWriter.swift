package import EdgeCore

/// Appends bytes to a fixed buffer. What does not fit is left out and remembered: nothing traps,
/// and a writer that overflowed stays overflowed.
///
/// Public, so that the head writers of other targets inline it.
@safe
@frozen
public struct ByteWriter {
    // Points to at least `capacity` bytes, which the maker of the writer keeps alive and to itself
    // for the writer's life; every append is checked against `capacity` first.
    @usableFromInline
    let base: UnsafeMutableRawPointer?
    @usableFromInline
    let capacity: Int
    @usableFromInline
    var used = 0
    @usableFromInline
    var overflow = false

    /// The buffer must outlive the writer, and nobody else writes to it meanwhile.
    @inlinable
    public init(_ buffer: UnsafeMutableRawBufferPointer) {
        unsafe base = buffer.baseAddress
        capacity = buffer.count
    }

    /// Bytes written.
    @inlinable
    public var count: Int { used }

    /// True from the first append that did not fit.
    @inlinable
    public var hasOverflowed: Bool { overflow }

    @inlinable
    public var bytesLeft: Int { capacity - used }

    /// Takes back everything behind the first `count` bytes, an overflow included.
    @inlinable
    public mutating func rewind(to count: Int) {
        precondition(count >= 0 && count <= used, "a rewind goes back")
        used = count
        overflow = false
    }

    @inlinable
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        guard let destination = unsafe reserve(1) else { return }
        unsafe destination.storeBytes(of: byte, as: UInt8.self)
    }

    /// A constant, copied without allocation.
    @inlinable
    @inline(__always)
    public mutating func append(_ text: StaticString) {
        let length = text.utf8CodeUnitCount
        guard let destination = unsafe reserve(length) else { return }
        // A static string is `length` bytes for ever; `reserve` checked the other side.
        unsafe destination.copyMemory(from: text.utf8Start, byteCount: length)
    }

    /// `bytes[range]`.
    @inlinable
    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a range is inside")
        guard !range.isEmpty, let destination = unsafe reserve(range.count) else { return }
        unsafe bytes.withUnsafeBufferPointer { source in
            // The range was checked above, so the source is in bounds and not empty.
            guard let start = source.baseAddress else { return }
            unsafe destination.copyMemory(from: start + range.lowerBound, byteCount: range.count)
        }
    }

    @inlinable
    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>, _ range: ByteRange) {
        append(bytes, range.indices)
    }

    @inlinable
    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>) { append(bytes, 0..<bytes.count) }

    /// Takes back CR LF, which were written last.
    package mutating func takeBackLineEnd() {
        if !overflow { rewind(to: used - 2) }
    }

    /// Bytes that this writer has written before, once more.
    package mutating func append(again range: Range<Int>) {
        // Of what did not fit nothing is there.
        guard !overflow, let base = unsafe base else { return }
        precondition(range.lowerBound >= 0 && range.upperBound <= used, "a range was written")
        guard let destination = unsafe reserve(range.count) else { return }
        // Up to `used` all is initialised, and the new bytes come behind.
        unsafe destination.copyMemory(from: base + range.lowerBound, byteCount: range.count)
    }

    /// Where the next `count` bytes go, or nil if they do not fit.
    @inlinable
    @inline(__always)
    mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer? {
        guard !overflow, count <= capacity - used, let base = unsafe base else {
            overflow = true
            return nil
        }
        // `used + count` is within the capacity.
        let destination = unsafe base + used
        used += count
        return unsafe destination
    }
}

extension ByteWriter {
    /// Text made at run time, on cold paths.
    package mutating func append(string text: String) {
        for byte in text.utf8 { append(byte) }
    }

    // hot: a dozen times per request, with numbers below 1,000 almost always.
    package mutating func append(decimal number: UInt64) {
        let zero = UInt8(ascii: "0")
        guard number >= 1000 else {
            let hundreds = UInt8(truncatingIfNeeded: number / 100)
            let tens = UInt8(truncatingIfNeeded: number / 10 % 10)
            if hundreds > 0 { append(zero + hundreds) }
            if number >= 10 { append(zero + tens) }
            append(zero + UInt8(truncatingIfNeeded: number % 10))
            return
        }
        var digits: InlineArray<20, UInt8> = .init(repeating: 0)
        var rest = number
        var first = 20
        repeat {
            first -= 1
            digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        append(digits.span, first..<20)
    }

    /// Exactly 16 lower-case hex digits.
    // hot: twice per request; eight digits at a time, without a branch.
    package mutating func append(hexWord number: UInt64) {
        guard let destination = unsafe reserve(16) else { return }
        let high = Self.hexDigits(UInt32(truncatingIfNeeded: number >> 32))
        let low = Self.hexDigits(UInt32(truncatingIfNeeded: number))
        // `reserve` has room for both.
        unsafe destination.storeBytes(of: high.bigEndian, as: UInt64.self)
        unsafe destination.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// The eight digits of a number, the first in the highest byte.
    private static func hexDigits(_ number: UInt32) -> UInt64 {
        // A nibble per byte, by halves.
        var word = UInt64(number)
        word = (word | word << 16) & 0x0000_FFFF_0000_FFFF
        word = (word | word << 8) & 0x00FF_00FF_00FF_00FF
        word = (word | word << 4) & 0x0F0F_0F0F_0F0F_0F0F
        // 1 in each byte that holds ten or more: those are letters.
        let letters = (word &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return word &+ 0x3030_3030_3030_3030 &+ letters &* UInt64(0x61 - 0x3A)
    }

    /// Lower-case hex without leading zeros.
    package mutating func append(hex number: UInt64) {
        var digits: InlineArray<16, UInt8> = .init(repeating: UInt8(ascii: "0"))
        var rest = number
        var first = 16
        while rest > 0 {
            first -= 1
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            digits[first] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
            rest >>= 4
        }
        append(digits.span, min(first, 15)..<16)
    }

    /// The address without its port, IPv6 as RFC 5952 says and without brackets.
    package mutating func append(address: SocketAddress) {
        if address.isIPv4 {
            let value = address.ipv4
            append(decimal: UInt64(value >> 24))
            append(UInt8(ascii: "."))
            append(decimal: UInt64(value >> 16 & 255))
            append(UInt8(ascii: "."))
            append(decimal: UInt64(value >> 8 & 255))
            append(UInt8(ascii: "."))
            append(decimal: UInt64(value & 255))
            return
        }
        let zeros = longestZeroRun(address)
        var index = 0
        while index < 8 {
            if index == zeros.lowerBound, !zeros.isEmpty {
                append("::")
                index = zeros.upperBound
                continue
            }
            if index > 0, index != zeros.upperBound || zeros.isEmpty { append(UInt8(ascii: ":")) }
            append(hex: group(address, index))
            index += 1
        }
    }

    private func group(_ address: SocketAddress, _ index: Int) -> UInt64 {
        let word = index < 4 ? address.high : address.low
        return word >> UInt64(48 - 16 * (index & 3)) & 0xFFFF
    }

    /// The first longest run of at least two zero groups (RFC 5952 §4.2), else empty.
    private func longestZeroRun(_ address: SocketAddress) -> Range<Int> {
        var best = 0..<0
        var start = 0
        for index in 0...8 {
            if index < 8, group(address, index) == 0 { continue }
            if index - start > max(best.count, 1) { best = start..<index }
            start = index + 1
        }
        return best
    }
}
