/// The pairs of a cookie-string (RFC 6265 §4.2.1) as lenient readers see them: cut at `;`, blanks
/// around pairs, names and values left out, empty pairs passed over, a name ends at the first `=`.
/// Nothing is an error.
package struct CookiePairs {
    /// One cookie; all ranges lie in the head's buffer.
    package struct Pair: Equatable {
        package let whole: ByteRange
        package let name: ByteRange
        /// Empty where there is no `=`.
        package let value: ByteRange

        /// Cookies' names are compared byte by byte (RFC 6265 §5.3).
        // hot: once per cookie where an upstream looks at one.
        package func isNamed(_ text: Span<UInt8>, in bytes: Span<UInt8>) -> Bool {
            guard Int(name.count) == text.count else { return false }
            let start = Int(name.start)
            for index in text.indices where bytes[start + index] != text[index] { return false }
            return true
        }
    }

    private var position: Int
    private let end: Int

    /// - Parameter value: a Cookie field's.
    package init(_ value: ByteRange) {
        position = Int(value.start)
        end = value.end
    }

    // hot: O(bytes); no allocation.
    package mutating func next(in bytes: Span<UInt8>) -> Pair? {
        while position < end {
            let start = position
            while position < end, bytes[position] != UInt8(ascii: ";") { position += 1 }
            let whole = Self.trimmed(start..<position, bytes)
            if position < end { position += 1 }
            guard !whole.isEmpty else { continue }
            var middle = whole.lowerBound
            while middle < whole.upperBound, bytes[middle] != UInt8(ascii: "=") { middle += 1 }
            let value = min(middle + 1, whole.upperBound)..<whole.upperBound
            return Pair(
                whole: ByteRange(whole),
                name: ByteRange(Self.trimmed(whole.lowerBound..<middle, bytes)),
                value: ByteRange(Self.trimmed(value, bytes)))
        }
        return nil
    }

    private static func trimmed(_ range: Range<Int>, _ bytes: Span<UInt8>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, isBlank(bytes[start]) { start += 1 }
        while end > start, isBlank(bytes[end - 1]) { end -= 1 }
        return start..<end
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }
}

extension FieldList {
    /// The value of the first cookie of that name, in whichever Cookie field it stands; nil: there
    /// is none, or Connection names them. O(bytes of cookies).
    package func cookie(_ name: Span<UInt8>, in bytes: Span<UInt8>) -> ByteRange? {
        for index in 0..<count {
            let field = self[index]
            guard field.name == .cookie, !field.flags.contains(.hopByHop) else { continue }
            var pairs = CookiePairs(field.value)
            while let pair = pairs.next(in: bytes) {
                if pair.isNamed(name, in: bytes) { return pair.value }
            }
        }
        return nil
    }

    /// The value of the first field of that name; nil: there is none, or it ends at this hop.
    ///
    /// - Parameter name: in lower case.
    package func value(of name: Span<UInt8>, in bytes: Span<UInt8>) -> ByteRange? {
        for index in 0..<count {
            let field = self[index]
            guard Int(field.nameRange.count) == name.count, !field.flags.contains(.hopByHop),
                Self.matches(bytes, field.nameRange, name)
            else { continue }
            return field.value
        }
        return nil
    }

    private static func matches(
        _ bytes: Span<UInt8>, _ range: ByteRange, _ name: Span<UInt8>
    ) -> Bool {
        let start = Int(range.start)
        for index in name.indices {
            let byte = bytes[start + index]
            let folded = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
            if folded != name[index] { return false }
        }
        return true
    }
}
