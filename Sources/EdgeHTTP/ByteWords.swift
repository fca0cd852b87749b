/// Text eight bytes at a time.
enum ByteWords {
    /// `bytes[start..<start + 8]`.
    @inline(__always)
    static func load(_ bytes: Span<UInt8>, _ start: Int) -> UInt64 {
        // Bounds-checked by RawSpan, and any bit pattern is an integer.
        unsafe bytes.bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt64.self)
    }

    /// Up to seven bytes, the rest zeros.
    @inline(__always)
    static func loadRest(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
        var word: UInt64 = 0
        for index in range { word = word << 8 | UInt64(bytes[index]) }
        return word
    }

    /// Upper-case letters of ASCII become lower-case ones.
    @inline(__always)
    static func lower(_ word: UInt64) -> UInt64 {
        let low = word & (0x7F * each)
        // The high bit of each byte: at least `A`, above `Z`.
        let isFromA = low &+ (0x80 - 0x41) * each
        let isBehindZ = low &+ (0x7F - 0x5A) * each
        let isUpper = (isFromA ^ isBehindZ) & ~word & (0x80 * each)
        return word | isUpper >> 2
    }

    /// Whether one of the bytes is a control character of ASCII.
    @inline(__always)
    static func hasControl(_ word: UInt64) -> Bool {
        let low = word & (0x7F * each)
        // The high bit of each byte: at least a space, DEL.
        let isText = low &+ (0x80 - 0x20) * each
        let isDelete = low &+ each
        return (~isText | isDelete) & ~word & (0x80 * each) != 0
    }

    @inline(__always)
    private static var each: UInt64 { 0x0101_0101_0101_0101 }
}
