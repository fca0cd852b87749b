internal import EdgeHTTP

/// The byte loops of the parsers: eight bytes at a time where that is possible.
enum ByteScan {
    static let cr = UInt8(ascii: "\r")
    static let lf = UInt8(ascii: "\n")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
    static let colon = UInt8(ascii: ":")
    static let comma = UInt8(ascii: ",")

    /// RFC 9110 §5.6.2 token characters.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        // !#$%&'*+-. and digits; letters and ^_`|~.
        let low: UInt64 = 0x03FF_6CFA_0000_0000
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
        let word = byte < 64 ? low : high
        return byte < 128 && (word >> UInt64(byte & 63)) & 1 == 1
    }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// The eight bytes at `offset`, the first in the lowest place.
    @inline(__always)
    private static func word(_ bytes: Span<UInt8>, _ offset: Int) -> UInt64 {
        // RawSpan checks the bounds, and any bit pattern is an integer.
        unsafe UInt64(
            littleEndian: bytes.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let tops: UInt64 = 0x8080_8080_8080_8080

    /// Marks the top bit of zero bytes; above the lowest marked byte marks may be wrong.
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & tops }

    /// Index of the first `byte` at or after `start`, or nil.
    @inline(__always)
    static func first(_ byte: UInt8, in bytes: Span<UInt8>, from start: Int) -> Int? {
        let pattern = ones &* UInt64(byte)
        var position = start
        while position &+ 8 <= bytes.count {
            let marks = zeros(word(bytes, position) ^ pattern)
            if marks != 0 { return position + marks.trailingZeroBitCount / 8 }
            position &+= 8
        }
        while position < bytes.count {
            if bytes[position] == byte { return position }
            position += 1
        }
        return nil
    }

    /// Index of the first byte at or after `start` that no token contains, or the count; and
    /// whether there was a `_` before it.
    @inline(__always)
    static func endOfToken(_ bytes: Span<UInt8>, from start: Int) -> (end: Int, underscore: Bool) {
        var position = start
        var underscore = false
        while position < bytes.count {
            // Letters and hyphens, of which most names consist, eight at a time.
            while position &+ 8 <= bytes.count {
                let others = ~lettersAndHyphens(word(bytes, position)) & tops
                if others != 0 {
                    position &+= others.trailingZeroBitCount / 8
                    break
                }
                position &+= 8
            }
            guard position < bytes.count else { break }
            let byte = bytes[position]
            if byte == colon || !isToken(byte) { break }
            if byte == UInt8(ascii: "_") { underscore = true }
            position &+= 1
        }
        return (position, underscore)
    }

    /// Marks the top bit of exactly the bytes that are ASCII letters or `-`.
    @inline(__always)
    private static func lettersAndHyphens(_ word: UInt64) -> UInt64 {
        // Sums of two seven-bit numbers carry into no other byte.
        let low = (word | ones &* 0x20) & ~tops
        let fromA = low &+ ones &* (0x80 - 0x61)
        let beyondZ = low &+ ones &* (0x80 - 0x7B)
        let letters = fromA & ~beyondZ & ~word
        let difference = word ^ ones &* 0x2D
        let hyphens = ~((difference & ~tops) &+ ~tops | difference)
        return (letters | hyphens) & tops
    }

    /// Index of the first byte at or after `start` that may not stand in a field value (a control
    /// byte other than HTAB, or DEL), or the count.
    static func endOfValue(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var position = start
        while position < bytes.count {
            while position &+ 8 <= bytes.count {
                let eight = word(bytes, position)
                let controls = (eight &- ones &* 0x20) & ~eight & tops
                let marks = controls | zeros(eight ^ (ones &* 0x7F))
                if marks != 0 {
                    position += marks.trailingZeroBitCount / 8
                    break
                }
                position &+= 8
            }
            guard position < bytes.count else { break }
            let byte = bytes[position]
            if byte < 0x20 && byte != tab || byte == 0x7F { return position }
            position += 1
        }
        return bytes.count
    }

    /// Index of the first byte at or after `start` that may not stand in a request target
    /// (anything but visible ASCII, or `#`), or the count.
    static func endOfTarget(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var position = start
        while position &+ 8 <= bytes.count {
            let eight = word(bytes, position)
            let low = (eight &- ones &* 0x21) & ~eight & tops
            let marks =
                low | eight & tops | zeros(eight ^ (ones &* 0x7F)) | zeros(eight ^ (ones &* 0x23))
            if marks != 0 { return position + marks.trailingZeroBitCount / 8 }
            position &+= 8
        }
        while position < bytes.count {
            let byte = bytes[position]
            if byte < 0x21 || byte > 0x7E || byte == 0x23 { return position }
            position += 1
        }
        return position
    }

    /// True if the bytes are `text`, which is in lower case, in any letter case.
    static func matches(_ bytes: Span<UInt8>, _ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { letters in
            for offset in 0..<letters.count {
                // Offsets are below the text's length.
                let letter = unsafe letters[offset]
                guard lowered(bytes[range.lowerBound + offset]) == letter else { return false }
            }
            return true
        }
    }

    /// True if the two ranges hold the same text in any letter case.
    static func matches(_ bytes: Span<UInt8>, _ range: Range<Int>, _ other: Range<Int>) -> Bool {
        guard range.count == other.count else { return false }
        for offset in 0..<range.count
        where lowered(bytes[range.lowerBound + offset])
            != lowered(bytes[other.lowerBound + offset])
        {
            return false
        }
        return true
    }

    @inline(__always)
    static func lowered(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }
}

/// The elements of a comma-separated list of tokens (RFC 9110 §5.6.1), empty ones left out.
struct TokenList: ~Copyable {
    private var position: Int
    private let end: Int

    init(_ range: ByteRange) {
        position = Int(range.start)
        end = range.end
    }

    /// The next element, or nil at the end.
    ///
    /// - Throws: `violation` if an element is not a token.
    mutating func next(
        _ bytes: Span<UInt8>, orThrow violation: HTTP1Violation
    ) throws(HTTP1Violation) -> Range<Int>? {
        while position < end, ByteScan.isBlank(bytes[position]) || bytes[position] == ByteScan.comma
        {
            position += 1
        }
        guard position < end else { return nil }
        let start = position
        while position < end, ByteScan.isToken(bytes[position]) { position += 1 }
        let token = start..<position
        while position < end, ByteScan.isBlank(bytes[position]) { position += 1 }
        guard !token.isEmpty, position == end || bytes[position] == ByteScan.comma else {
            throw violation
        }
        return token
    }
}

extension ByteScan {
    /// True if the bytes are the first of `text`, letter case respected.
    static func isPrefix(
        _ bytes: Span<UInt8>, _ range: Range<Int>, of text: StaticString
    ) -> Bool {
        guard range.count <= text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { letters in
            // Offsets are below the text's length.
            for offset in 0..<range.count
            where unsafe letters[offset] != bytes[range.lowerBound + offset] {
                return false
            }
            return true
        }
    }

    /// True if `text`, which is in lower case, is an element of the comma-separated list, in any
    /// letter case. What else the list holds does not matter.
    static func list(_ bytes: Span<UInt8>, _ list: ByteRange, contains text: StaticString) -> Bool {
        var position = Int(list.start)
        while position < list.end {
            var start = position
            while position < list.end, bytes[position] != comma { position += 1 }
            var end = position
            while start < end, isBlank(bytes[start]) { start += 1 }
            while end > start, isBlank(bytes[end - 1]) { end -= 1 }
            if matches(bytes, start..<end, text) { return true }
            position += 1
        }
        return false
    }
}
