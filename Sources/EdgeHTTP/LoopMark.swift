/// What this proxy adds to CDN-Loop of every request that it forwards (RFC 8586): a request that
/// comes with it has passed here before. A name and 64 random bits, so that nobody else's mark is
/// the same.
package struct LoopMark: Sendable {
    /// The random part; 0: requests are neither marked nor looked at.
    package let id: UInt64
    /// `edged-` and 16 hex digits: a `cdn-id` by its form of a pseudonym (RFC 8586 §2).
    private let text: InlineArray<22, UInt8>

    package init(id: UInt64) {
        self.id = id
        let prefix: InlineArray<6, UInt8> = [0x65, 0x64, 0x67, 0x65, 0x64, 0x2D]
        text = .init { index in
            guard index >= 6 else { return prefix[index] }
            let digit = UInt8(truncatingIfNeeded: id >> UInt64(4 * (21 - index)) & 15)
            return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
        }
    }

    /// Whether a CDN-Loop field has the mark, wherever in its list. Also one that Connection names:
    /// nothing may take the mark away.
    package func isIn(_ fields: borrowing FieldList, _ bytes: Span<UInt8>) -> Bool {
        guard id != 0 else { return false }
        for index in 0..<fields.count where fields[index].name == .cdnLoop {
            let value = fields[index].value.indices
            var start = value.lowerBound
            while start + text.count <= value.upperBound {
                if isAt(start, bytes) { return true }
                start += 1
            }
        }
        return false
    }

    private func isAt(_ start: Int, _ bytes: Span<UInt8>) -> Bool {
        for index in text.indices where bytes[start + index] != text[index] { return false }
        return true
    }

    /// The whole line.
    // hot: once per request.
    package static func writeLine(_ id: UInt64, into output: inout ByteWriter) {
        output.append("CDN-Loop: edged-")
        output.append(hexWord: id)
        output.append("\r\n")
    }
}
