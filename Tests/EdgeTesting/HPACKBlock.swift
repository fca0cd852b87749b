/// A field block (RFC 7541) put together by hand: every representation, and broken ones.
package struct HPACKBlock: Sendable, Equatable {
    package private(set) var bytes: [UInt8]

    /// RFC 7541 §6.2.
    package enum Form: Sendable, CaseIterable {
        case indexed, plain, never

        fileprivate var pattern: UInt8 {
            switch self {
            case .indexed: 0x40
            case .plain: 0x00
            case .never: 0x10
            }
        }

        fileprivate var prefix: Int { self == .indexed ? 6 : 4 }
    }

    package init(_ bytes: [UInt8] = []) { self.bytes = bytes }

    /// Literals that change nothing in any table, as they are.
    package init(_ fields: [(String, String)]) {
        self.init()
        for (name, value) in fields { bytes += HPACKBlock.literal(name, value).bytes }
    }

    /// A field of the static or dynamic table, counted from 1.
    package static func indexed(_ index: Int) -> HPACKBlock {
        HPACKBlock(integer(index, prefix: 7, pattern: 0x80))
    }

    package static func literal(
        _ name: String, _ value: String, _ form: Form = .plain, huffman: Bool = false
    ) -> HPACKBlock {
        literal(Array(name.utf8), Array(value.utf8), form, huffman: huffman)
    }

    package static func literal(
        _ name: [UInt8], _ value: [UInt8], _ form: Form = .plain, huffman: Bool = false
    ) -> HPACKBlock {
        HPACKBlock(
            [form.pattern] + string(name, huffman: huffman) + string(value, huffman: huffman))
    }

    /// A literal whose name stands in a table.
    package static func literal(
        nameAt index: Int, _ value: String, _ form: Form = .plain, huffman: Bool = false
    ) -> HPACKBlock {
        HPACKBlock(
            integer(index, prefix: form.prefix, pattern: form.pattern)
                + string(Array(value.utf8), huffman: huffman))
    }

    /// RFC 7541 §6.3.
    package static func tableSize(_ count: Int) -> HPACKBlock {
        HPACKBlock(integer(count, prefix: 5, pattern: 0x20))
    }

    /// A string literal (§5.2) with a body that need not be one.
    package static func string(raw body: [UInt8], huffman: Bool) -> [UInt8] {
        integer(body.count, prefix: 7, pattern: huffman ? 0x80 : 0) + body
    }

    package static func string(_ text: [UInt8], huffman: Bool) -> [UInt8] {
        string(raw: huffman ? HuffmanCode.encode(text) : text, huffman: huffman)
    }

    /// An integer (§5.1) with `prefix` bits in its first byte.
    package static func integer(_ value: Int, prefix: Int, pattern: UInt8) -> [UInt8] {
        let full = (1 << prefix) - 1
        guard value >= full else { return [pattern | UInt8(value)] }
        var bytes = [pattern | UInt8(full)]
        var rest = value - full
        while rest >= 128 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    package static func joined(_ parts: HPACKBlock...) -> HPACKBlock {
        HPACKBlock(parts.flatMap(\.bytes))
    }

    package static func + (left: HPACKBlock, right: HPACKBlock) -> HPACKBlock {
        HPACKBlock(left.bytes + right.bytes)
    }

    package static func += (left: inout HPACKBlock, right: HPACKBlock) { left = left + right }
}

/// The code of RFC 7541 Appendix B. It is canonical: the lengths say it all.
package enum HuffmanCode {
    /// Bits per byte value.
    private static let lengths: [UInt8] = [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30,
        28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5,
        7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
        22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
        22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22,
        21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26,
        26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
        24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27,
        27, 28, 27, 27, 27, 27, 27, 26,
    ]

    private static let codes: [UInt32] = {
        var result = [UInt32](repeating: 0, count: 256)
        var next: UInt32 = 0
        for length in 1...30 as ClosedRange<UInt8> {
            next <<= 1
            for symbol in 0..<256 where lengths[symbol] == length {
                result[symbol] = next
                next += 1
            }
        }
        return result
    }()

    /// With the padding of ones that §5.2 asks for.
    package static func encode(_ text: [UInt8]) -> [UInt8] {
        let (whole, rest, count) = bits(text)
        guard count > 0 else { return whole }
        return whole + [UInt8(truncatingIfNeeded: rest << (8 - count) | (0xFF >> UInt64(count)))]
    }

    /// Whole bytes, and what is left of bits.
    package static func bits(_ text: [UInt8]) -> (whole: [UInt8], rest: UInt64, count: Int) {
        var whole: [UInt8] = []
        var held: UInt64 = 0
        var count = 0
        for byte in text {
            held = held << UInt64(lengths[Int(byte)]) | UInt64(codes[Int(byte)])
            count += Int(lengths[Int(byte)])
            while count >= 8 {
                count -= 8
                whole.append(UInt8(truncatingIfNeeded: held >> UInt64(count)))
            }
            held &= (1 << UInt64(count)) - 1
        }
        return (whole, held, count)
    }
}
