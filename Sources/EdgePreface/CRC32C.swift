/// CRC-32C (Castagnoli; RFC 9260, appendix A), half a byte at a time: headers are short and their
/// checksums rare.
struct CRC32C {
    private var state = UInt32.max

    private static let table = InlineArray<16, UInt32> { index in
        var rest = UInt32(index)
        for _ in 0..<4 { rest = rest >> 1 ^ (rest & 1 == 1 ? 0x82F6_3B78 : 0) }
        return rest
    }

    var value: UInt32 { ~state }

    mutating func add(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        for index in range { add(bytes[index]) }
    }

    mutating func addZeros(_ count: Int) {
        for _ in 0..<count { add(0) }
    }

    private mutating func add(_ byte: UInt8) {
        state ^= UInt32(byte)
        state = state >> 4 ^ Self.table[Int(state & 15)]
        state = state >> 4 ^ Self.table[Int(state & 15)]
    }
}
