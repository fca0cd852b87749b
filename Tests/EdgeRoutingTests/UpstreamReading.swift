/// One way in which an upstream may read a path: a plain model of what servers are known to do, to
/// compare the matcher with. Slow and obvious.
struct UpstreamReading {
    enum Parameters: CaseIterable { case kept, cutFirst, cutLast }
    enum Empty: CaseIterable { case kept, droppedFirst, droppedLast }

    /// How often percent-encoding is undone.
    var decodings = 1
    /// `%2F` separates segments.
    var decodesSlash = false
    /// `\` does.
    var takesBackslash = false
    /// What is done about `;x=1`, before or after everything else.
    var parameters = Parameters.kept
    /// The path ends at a control character, `?` or `#`.
    var endsEarly = false
    /// What is done about empty segments, before or after dot segments.
    var empty = Empty.droppedFirst
    var resolvesDots = true

    /// All of them that can differ for a path with these bytes.
    static func all(for path: [UInt8]) -> [UpstreamReading] {
        let text = String(decoding: path, as: UTF8.self).lowercased()
        let isTwice = text.contains("%25") || text.contains("%%")
        let mayHave = { (needles: [String]) in isTwice || needles.contains { text.contains($0) } }
        let both = [false, true]
        var result: [UpstreamReading] = []
        for decodings in isTwice ? [1, 2, 3] : [1] {
            for decodesSlash in mayHave(["%2f"]) ? both : [false] {
                for takesBackslash in mayHave(["\\", "%5c"]) ? both : [false] {
                    for parameters in mayHave([";", "%3b"]) ? Parameters.allCases : [.kept] {
                        for endsEarly in mayHave(["%0", "%1", "%3f", "%23"]) ? both : [false] {
                            for empty in Empty.allCases {
                                for resolvesDots in both {
                                    result.append(
                                        UpstreamReading(
                                            decodings: decodings, decodesSlash: decodesSlash,
                                            takesBackslash: takesBackslash, parameters: parameters,
                                            endsEarly: endsEarly, empty: empty,
                                            resolvesDots: resolvesDots))
                                }
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    /// A slash that is data.
    private static let dataSlash: UInt16 = 0x12F
    private static let slash = UInt16(UInt8(ascii: "/"))

    /// The path's segments, as this upstream sees them.
    func segments(_ path: [UInt8]) -> [[UInt16]] {
        var text = path.map { UInt16($0) }
        if parameters == .cutFirst { text = Self.withoutParameters(text) }
        for _ in 0..<decodings { text = decoded(text) }
        if takesBackslash { text = text.map { $0 == 0x5C ? Self.slash : $0 } }
        if endsEarly {
            let end = text.firstIndex { $0 < 0x20 || $0 == 0x7F || $0 == 0x3F || $0 == 0x23 }
            text = Array(text[..<(end ?? text.count)])
        }
        if parameters == .cutLast { text = Self.withoutParameters(text) }
        var segments = text.split(separator: Self.slash, omittingEmptySubsequences: false)
            .dropFirst()
            .map { Array($0) }
        if empty == .droppedFirst { segments.removeAll(where: \.isEmpty) }
        if resolvesDots { segments = Self.resolved(segments) }
        if empty == .droppedLast { segments.removeAll(where: \.isEmpty) }
        return segments
    }

    private func decoded(_ text: [UInt16]) -> [UInt16] {
        var result: [UInt16] = []
        var index = 0
        while index < text.count {
            if text[index] == 0x25, index + 2 < text.count,
                let high = Self.hex(text[index + 1]), let low = Self.hex(text[index + 2])
            {
                let byte = high << 4 | low
                result.append(byte == Self.slash && !decodesSlash ? Self.dataSlash : byte)
                index += 3
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    private static func hex(_ byte: UInt16) -> UInt16? {
        guard byte < 0x80, let value = Character(UnicodeScalar(UInt8(byte))).hexDigitValue else {
            return nil
        }
        return UInt16(value)
    }

    private static func withoutParameters(_ text: [UInt16]) -> [UInt16] {
        let segments = text.split(separator: slash, omittingEmptySubsequences: false)
        return Array(segments.map { Array($0.prefix { $0 != 0x3B }) }.joined(separator: [slash]))
    }

    private static func resolved(_ segments: [[UInt16]]) -> [[UInt16]] {
        segments.reduce(into: []) { result, segment in
            if segment == [0x2E, 0x2E] {
                _ = result.popLast()
            } else if segment != [0x2E] {
                result.append(segment)
            }
        }
    }

    /// The longest of some prefixes that this upstream's path is below, by trying all.
    func longest(_ prefixes: [String], _ path: [UInt8]) -> String? {
        let segments = segments(path)
        return prefixes.filter { prefix in
            let wanted = prefix.utf8.map { UInt16($0) }.split(separator: Self.slash)
            return segments.count >= wanted.count
                && zip(segments, wanted).allSatisfy { $0.elementsEqual($1) }
        }.max { $0.utf8.count < $1.utf8.count }
    }
}
