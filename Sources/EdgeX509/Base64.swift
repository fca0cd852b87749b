/// Base64 as PEM has it (RFC 4648 §4 in lines of any length).
enum Base64 {
    private static let blank: UInt8 = 0x40
    private static let pad: UInt8 = 0x41
    private static let invalid: UInt8 = 0xFF

    /// What each byte stands for: 0…63, or one of the above.
    private static let values: [UInt8] = {
        var table = [UInt8](repeating: invalid, count: 256)
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (value, byte) in alphabet.utf8.enumerated() { table[Int(byte)] = UInt8(value) }
        for byte in [0x09, 0x0A, 0x0D, 0x20] { table[byte] = blank }
        table[Int(UInt8(ascii: "="))] = pad
        return table
    }()

    /// Appends what `range` of `text` stands for.
    ///
    /// - Throws: `encrypted` if there is a header line, `notBase64` for anything else that is not
    ///   base64, and for text that ends within four characters.
    static func decode(
        _ text: Span<UInt8>, _ range: Range<Int>, into output: inout [UInt8]
    ) throws(X509Violation) {
        let table = values.span
        var position = range.lowerBound
        let end = range.upperBound
        output.reserveCapacity(output.count + range.count / 4 * 3 + 3)
        var word: UInt32 = 0
        var digits = 0
        var padding = 0
        while position < end {
            // Whole groups without blanks, which is nearly everything.
            while digits == 0, padding == 0, position + 4 <= end {
                let a = table[Int(text[position])]
                let b = table[Int(text[position + 1])]
                let c = table[Int(text[position + 2])]
                let d = table[Int(text[position + 3])]
                guard (a | b | c | d) < blank else { break }
                output.append(a << 2 | b >> 4)
                output.append(b << 4 | c >> 2)
                output.append(c << 6 | d)
                position += 4
            }
            guard position < end else { break }
            let value = table[Int(text[position])]
            position += 1
            if value == blank { continue }
            guard value != invalid else {
                throw hasColon(text, range) ? .encrypted : .notBase64
            }
            if value == pad {
                padding += 1
                guard digits >= 2, digits + padding <= 4 else { throw .notBase64 }
                continue
            }
            guard padding == 0 else { throw .notBase64 }
            word = word << 6 | UInt32(value)
            digits += 1
            if digits == 4 {
                output.append(UInt8(truncatingIfNeeded: word >> 16))
                output.append(UInt8(truncatingIfNeeded: word >> 8))
                output.append(UInt8(truncatingIfNeeded: word))
                digits = 0
                word = 0
            }
        }
        guard digits == 0 || digits + padding == 4 else { throw .notBase64 }
        if digits == 2 { output.append(UInt8(truncatingIfNeeded: word >> 4)) }
        if digits == 3 {
            output.append(UInt8(truncatingIfNeeded: word >> 10))
            output.append(UInt8(truncatingIfNeeded: word >> 2))
        }
    }

    private static func hasColon(_ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        for index in range where text[index] == UInt8(ascii: ":") { return true }
        return false
    }
}
