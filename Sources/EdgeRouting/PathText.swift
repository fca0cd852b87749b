/// A path as upstreams may read it: percent-encoding undone, dot segments and empty ones taken out.
/// Never what is forwarded; only what rules are compared with.
///
/// The bytes are in a place that the caller lends for each call, always the same one: the compiler
/// copies an `InlineArray` that is part of a value whenever it is read.
struct PathText {
    typealias Place = MutableSpan<UInt8>

    /// What a place has to hold. Longer paths that have to be rewritten to be compared are refused;
    /// paths that are written plainly have no limit.
    static let bytesMax = 4096
    /// How often percent-encoding is undone to look for `..`.
    private static let decodingsMax = 4

    /// Bytes in the place, from its beginning.
    private(set) var count = 0
    /// Index of the first byte that upstreams do not agree about; nil: they agree about all.
    private(set) var firstUnclear: Int?

    /// Takes a path over, percent-encoding undone once. `%25` stays, as nobody could tell what is
    /// behind it any more; so does `%2F`, as `keepsSlash` says, and what is not hexadecimal.
    ///
    /// - Returns: nil if it is too long.
    init?(_ path: Span<UInt8>, _ place: inout Place, keepsSlash: Bool = true) {
        guard path.count <= Self.bytesMax else { return nil }
        var read = 0
        while read < path.count {
            var byte = path[read]
            read += 1
            if byte == Self.percent, read + 1 < path.count,
                let high = Self.hexValue(path[read]), let low = Self.hexValue(path[read + 1])
            {
                let decoded = high << 4 | low
                if !keepsSlash || (decoded != Self.slash && decoded != Self.percent) {
                    byte = decoded
                    read += 2
                }
            }
            if firstUnclear == nil, Self.isUnclear(byte) { firstUnclear = count }
            place[count] = byte
            count += 1
        }
    }

    // MARK: - What is there

    /// Nothing in the path means anything but what is written: no percent-encoding, nothing that
    /// upstreams do not agree about, no empty or dot segment.
    static func isPlain(_ path: Span<UInt8>) -> Bool {
        var last: UInt8 = 0
        for index in 0..<path.count {
            let byte = path[index]
            if isUnclear(byte) { return false }
            if last == slash, byte == slash || byte == dot { return false }
            last = byte
        }
        return true
    }

    /// `%` (of what stays encoded), `;`, `\`, and decoded `?`, `#` and control characters: some
    /// upstreams decode again, strip parameters of segments, take a backslash for a slash, or end
    /// the path there.
    private static func isUnclear(_ byte: UInt8) -> Bool {
        // Bits of the controls, `#`, `%`, `;` and `?`.
        if byte < 64 { return (0x8800_0028_FFFF_FFFF as UInt64 >> UInt64(byte)) & 1 == 1 }
        return byte == backslash || byte == 0x7F
    }

    /// Whether a segment is `..` as it stands here.
    func hasParent(_ bytes: Span<UInt8>) -> Bool {
        for index in 0..<count where isParent(bytes, at: index) { return true }
        return false
    }

    /// Whether a segment is empty, a final one left out.
    func hasEmpty(_ bytes: Span<UInt8>) -> Bool {
        for index in 1..<max(count, 1)
        where bytes[index] == Self.slash && bytes[index - 1] == Self.slash {
            return true
        }
        return false
    }

    /// Whether some upstream may see a segment `..`: however often it is encoded, between whatever
    /// may separate segments or end one.
    static func mayHaveParent(_ path: Span<UInt8>, _ place: inout Place) -> Bool {
        guard var text = PathText(path, &place, keepsSlash: false) else { return true }
        var rounds = 1
        while text.firstUnclear != nil, text.decodeAgain(&place) {
            rounds += 1
            if rounds > decodingsMax { return true }
        }
        return text.hasParent(place.span)
    }

    private func isParent(_ bytes: Span<UInt8>, at index: Int) -> Bool {
        guard index + 1 < count, bytes[index] == Self.dot, bytes[index + 1] == Self.dot,
            index == 0 || bytes[index - 1] == Self.slash || bytes[index - 1] == Self.backslash
        else { return false }
        guard index + 2 < count else { return true }
        let next = bytes[index + 2]
        return next == Self.slash || (Self.isUnclear(next) && next != Self.percent)
    }

    // MARK: - Rewriting

    /// Undoes percent-encoding once more, in place.
    ///
    /// - Returns: false if there was none.
    private mutating func decodeAgain(_ bytes: inout Place) -> Bool {
        var write = 0
        var read = 0
        while read < count {
            var byte = bytes[read]
            read += 1
            if byte == Self.percent, read + 1 < count,
                let high = Self.hexValue(bytes[read]), let low = Self.hexValue(bytes[read + 1])
            {
                byte = high << 4 | low
                read += 2
            }
            bytes[write] = byte
            write += 1
        }
        defer { count = write }
        return write < count
    }

    /// Cuts the path where upstreams cease to agree, and leaves what they read before that: whole
    /// segments, and what the next one begins with.
    mutating func keepClear(_ bytes: inout Place) {
        guard let firstUnclear else { return }
        var tail = firstUnclear
        while tail > 0, bytes[tail - 1] != Self.slash { tail -= 1 }
        // A segment `.` may vanish with what is behind it.
        let vanishes = tail + 1 == firstUnclear && bytes[tail] == Self.dot
        var write = Self.resolved(&bytes, upTo: tail)
        bytes[write] = Self.slash
        write += 1
        Self.move(&bytes, tail..<(vanishes ? tail : firstUnclear), to: &write)
        count = write
    }

    /// Takes empty segments out, a final slash with them, then dot segments (RFC 3986 §5.2.4).
    mutating func resolve(_ bytes: inout Place) { count = Self.resolved(&bytes, upTo: count) }

    /// Rewrites what is before `end`, which is the path's or behind a slash; returns how much of it
    /// there is now.
    private static func resolved(_ bytes: inout Place, upTo end: Int) -> Int {
        var write = 0
        var read = 0
        while read < end {
            let start = read + 1
            read = start
            while read < end, bytes[read] != slash { read += 1 }
            let length = read - start
            if length == 0 || (length == 1 && bytes[start] == dot) { continue }
            if length == 2, bytes[start] == dot, bytes[start + 1] == dot {
                while write > 0 {
                    write -= 1
                    if bytes[write] == slash { break }
                }
                continue
            }
            move(&bytes, start - 1..<read, to: &write)
        }
        return write
    }

    /// To the left, or where it is.
    private static func move(_ bytes: inout Place, _ range: Range<Int>, to write: inout Int) {
        for index in range {
            bytes[write] = bytes[index]
            write += 1
        }
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    static let slash = UInt8(ascii: "/")
    private static let dot = UInt8(ascii: ".")
    private static let backslash = UInt8(ascii: "\\")
    private static let percent = UInt8(ascii: "%")
}
