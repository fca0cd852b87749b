/// A path as upstreams may read it, in a bounded place on the stack: percent-encoding undone, dot
/// segments and empty ones taken out. Never what is forwarded; only what rules are compared with.
struct PathText: ~Copyable {
    /// Longer paths that have to be rewritten to be compared are refused. Paths that are written
    /// plainly have no limit here.
    static let bytesMax = 4096
    /// How often percent-encoding is undone to look for `..`.
    private static let decodingsMax = 4

    private var bytes = InlineArray<4096, UInt8>(repeating: 0)
    private var count = 0
    /// Index of the first byte that upstreams do not agree about; nil: they agree about all.
    private(set) var firstUnclear: Int?

    init() {}

    /// As `PathTable.longest`.
    func longest(in table: borrowing PathTable, _ range: Range<Int>) -> Int32 {
        table.longest(bytes.span.extracting(0..<count), in: range)
    }

    /// As `PathTable.hasPrefix(beginningWith:in:)`.
    func isBeginning(in table: borrowing PathTable, _ range: Range<Int>) -> Bool {
        table.hasPrefix(beginningWith: bytes.span.extracting(0..<count), in: range)
    }

    var text: [UInt8] { (0..<count).map { bytes[$0] } }

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
    var hasParent: Bool {
        for index in 0..<count where isParent(at: index) { return true }
        return false
    }

    /// Whether some upstream may see a segment `..`: however often it is encoded, between whatever
    /// may separate segments or end one.
    static func mayHaveParent(_ path: Span<UInt8>) -> Bool {
        var text = PathText()
        guard text.decode(path, keepsSlash: false) else { return true }
        var rounds = 1
        while text.firstUnclear != nil, text.decodeAgain() {
            rounds += 1
            if rounds > decodingsMax { return true }
        }
        return text.hasParent
    }

    private func isParent(at index: Int) -> Bool {
        guard index + 1 < count, bytes[index] == Self.dot, bytes[index + 1] == Self.dot,
            index == 0 || bytes[index - 1] == Self.slash || bytes[index - 1] == Self.backslash
        else { return false }
        guard index + 2 < count else { return true }
        let next = bytes[index + 2]
        return next == Self.slash || (Self.isUnclear(next) && next != Self.percent)
    }

    // MARK: - Rewriting

    /// Takes a path over, percent-encoding undone once. `%25` stays, as nobody could tell what is
    /// behind it any more; so does `%2F`, as `keepsSlash` says, and what is not hexadecimal.
    ///
    /// - Returns: false if it is too long.
    mutating func decode(_ path: Span<UInt8>, keepsSlash: Bool = true) -> Bool {
        guard path.count <= Self.bytesMax else { return false }
        firstUnclear = nil
        var read = 0
        count = 0
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
            bytes[count] = byte
            count += 1
        }
        return true
    }

    /// Undoes percent-encoding once more, in place.
    ///
    /// - Returns: false if there was none.
    private mutating func decodeAgain() -> Bool {
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
    mutating func keepClear() {
        guard let firstUnclear else { return }
        var tail = firstUnclear
        while tail > 0, bytes[tail - 1] != Self.slash { tail -= 1 }
        // A segment `.` may vanish with what is behind it.
        let vanishes = tail + 1 == firstUnclear && bytes[tail] == Self.dot
        var write = resolved(dropsEmpty: true, upTo: tail)
        bytes[write] = Self.slash
        write += 1
        move(tail..<(vanishes ? tail : firstUnclear), to: &write)
        count = write
    }

    /// Takes dot segments out (RFC 3986 §5.2.4), and with `dropsEmpty` empty ones before that; a
    /// final slash with them.
    mutating func resolve(dropsEmpty: Bool) {
        count = resolved(dropsEmpty: dropsEmpty, upTo: count)
    }

    /// Rewrites what is before `end`, which is the path's or behind a slash; returns how much of it
    /// there is now.
    private mutating func resolved(dropsEmpty: Bool, upTo end: Int) -> Int {
        var write = 0
        var read = 0
        while read < end {
            let start = read + 1
            read = start
            while read < end, bytes[read] != Self.slash { read += 1 }
            let length = read - start
            if length == 0, dropsEmpty || read == end { continue }
            if length == 1, bytes[start] == Self.dot { continue }
            if length == 2, bytes[start] == Self.dot, bytes[start + 1] == Self.dot {
                while write > 0 {
                    write -= 1
                    if bytes[write] == Self.slash { break }
                }
                continue
            }
            move(start - 1..<read, to: &write)
        }
        return write
    }

    /// To the left, or where it is.
    private mutating func move(_ range: Range<Int>, to write: inout Int) {
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
