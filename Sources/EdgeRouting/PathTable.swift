/// Path prefixes of many hosts in one array; each host has a range of it. A prefix is for whole
/// segments: `/api` is for `/api` and `/api/x`, not for `/apix`. Immutable and flat: a look-up is a
/// binary search and a walk to shorter prefixes, and allocates nothing.
struct PathTable: Sendable {
    /// What a path was found to be.
    struct Match: BitwiseCopyable {
        /// Index of the prefix; -1: none.
        var prefix: Int32
        var reading: PathReading
    }

    private struct Prefix: Sendable {
        /// In `text`; without a final slash, so `/` is empty.
        var start: Int32
        var count: Int32
        /// The longest one of the same host that this one begins with; -1: none.
        var parent: Int32
    }

    private var prefixes: [Prefix] = []
    private var text: [UInt8] = []

    /// Adds a host's prefixes; of equal ones the first counts.
    ///
    /// - Returns: where they are, and for each the index of the one that it was made of.
    mutating func add(_ written: [String]) -> (range: Range<Int>, origins: [Int]) {
        let first = prefixes.count
        let keys = written.map { Self.key($0) }
        let order = keys.indices.sorted {
            keys[$0] == keys[$1] ? $0 < $1 : Self.isOrdered(keys[$0], keys[$1])
        }
        var origins: [Int] = []
        for index in order {
            if let last = origins.last, keys[last] == keys[index] { continue }
            let key = keys[index]
            var parent = prefixes.count > first ? Int32(prefixes.count - 1) : -1
            while parent >= 0 {
                if holds(parent, key.span) { break }
                parent = prefixes[Int(parent)].parent
            }
            prefixes.append(
                Prefix(start: Int32(text.count), count: Int32(key.count), parent: parent))
            text += key
            origins.append(index)
        }
        return (first..<prefixes.count, origins)
    }

    /// Whether paths can be compared with a prefix without doubt. One that is not plain refuses
    /// what might be meant by it.
    static func isPlain(_ prefix: String) -> Bool {
        let path = Array(prefix.utf8)
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var place = storage.mutableSpan
        guard path.first == PathText.slash, var text = PathText(path.span, &place),
            text.firstUnclear == nil
        else { return false }
        let count = text.count
        let endsWithSlash = count > 1 && place[count - 1] == PathText.slash
        text.resolve(&place)
        // Nothing else has gone.
        return text.count == (count == 1 ? 0 : endsWithSlash ? count - 1 : count)
    }

    /// How a prefix is kept: as `PathText` reads paths.
    private static func key(_ prefix: String) -> [UInt8] {
        let path = Array(prefix.utf8)
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var place = storage.mutableSpan
        guard var text = PathText(path.span, &place) else { return path }
        text.resolve(&place)
        return (0..<text.count).map { place[$0] }
    }

    /// The prefix without a final slash, for people and for comparisons.
    func prefix(_ index: Int32) -> String {
        let prefix = prefixes[Int(index)]
        let bytes = text[Int(prefix.start)..<Int(prefix.start + prefix.count)]
        return bytes.isEmpty ? "/" : String(decoding: bytes, as: UTF8.self)
    }

    /// Bytes of the prefix; 0 for `/`.
    func byteCount(_ index: Int32) -> Int32 { prefixes[Int(index)].count }

    // MARK: - Look-ups

    /// The longest prefix of a path as the client wrote it, without its query.
    // hot: once per request; no allocation.
    func match(_ path: Span<UInt8>, in range: Range<Int>) -> Match {
        // `*`, and the empty path in front of a query (RFC 9112 §3.2), are for the root.
        guard path.count > 0, path[0] == PathText.slash else {
            return Match(prefix: longest(path.extracting(0..<0), in: range), reading: .literal)
        }
        guard !PathText.isPlain(path), !range.isEmpty else {
            return Match(prefix: longest(path, in: range), reading: .literal)
        }
        // The last one is empty if `/` is the only one: the path decides nothing, but may lead out
        // of what `/` is replaced with.
        guard prefixes[range.upperBound - 1].count > 0 else {
            let reading: PathReading = mayHaveParent(path) ? .normalised : .literal
            return Match(prefix: longest(path, in: range), reading: reading)
        }
        return matchUnclear(path, range)
    }

    private func mayHaveParent(_ path: Span<UInt8>) -> Bool {
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var place = storage.mutableSpan
        return PathText.mayHaveParent(path, &place)
    }

    private func matchUnclear(_ path: Span<UInt8>, _ range: Range<Int>) -> Match {
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var place = storage.mutableSpan
        guard var text = PathText(path, &place) else {
            return Match(prefix: longest(path, in: range), reading: .ambiguous)
        }
        let unresolved = longest(place.span.extracting(0..<text.count), in: range)
        let hasEmpty = text.hasEmpty(place.span)
        let hasParent = text.hasParent(place.span)
        let isUnclear = text.firstUnclear != nil
        text.resolve(&place)
        let found = longest(place.span.extracting(0..<text.count), in: range)
        let reading: PathReading
        if isUnclear, PathText.mayHaveParent(path, &place) || mayGoOn(path, &place, range) {
            reading = .ambiguous
        } else if hasParent {
            reading = !hasEmpty && unresolved == found ? .normalised : .ambiguous
        } else {
            reading = found < 0 || holds(found, path) ? .literal : .normalised
        }
        return Match(prefix: found, reading: reading)
    }

    /// Whether some prefix begins with all that upstreams agree about, so that what they do not
    /// agree about may decide.
    private func mayGoOn(
        _ path: Span<UInt8>, _ place: inout PathText.Place, _ range: Range<Int>
    ) -> Bool {
        guard var text = PathText(path, &place) else { return true }
        text.keepClear(&place)
        return hasPrefix(beginningWith: place.span.extracting(0..<text.count), in: range)
    }

    /// The longest prefix of a path that is compared as it is; -1: none.
    func longest(_ path: Span<UInt8>, in range: Range<Int>) -> Int32 {
        // What begins with a prefix stands right behind it, so the last prefix that is not behind
        // the path is the longest or begins with it.
        var start = range.lowerBound
        var end = range.upperBound
        while start < end {
            let middle = (start + end) / 2
            if isBehind(middle, path) { end = middle } else { start = middle + 1 }
        }
        guard start > range.lowerBound else { return -1 }
        var index = Int32(start - 1)
        while index >= 0, !holds(index, path) { index = prefixes[Int(index)].parent }
        return index
    }

    /// Whether a prefix begins with these bytes, or is the same.
    func hasPrefix(beginningWith bytes: Span<UInt8>, in range: Range<Int>) -> Bool {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end {
            let middle = (start + end) / 2
            if isBefore(middle, bytes) { start = middle + 1 } else { end = middle }
        }
        guard start < range.upperBound else { return false }
        let prefix = prefixes[start]
        return Int(prefix.count) >= bytes.count && common(prefix, bytes) == bytes.count
    }

    /// The path is in the prefix, on whole segments.
    private func holds(_ index: Int32, _ path: Span<UInt8>) -> Bool {
        let prefix = prefixes[Int(index)]
        let count = Int(prefix.count)
        guard path.count >= count, common(prefix, path) == count else { return false }
        return path.count == count || path[count] == PathText.slash
    }

    private func isBehind(_ index: Int, _ path: Span<UInt8>) -> Bool {
        let prefix = prefixes[index]
        let same = common(prefix, path)
        if same == Int(prefix.count) { return false }
        if same == path.count { return true }
        return Self.rank(text[Int(prefix.start) + same]) > Self.rank(path[same])
    }

    private func isBefore(_ index: Int, _ path: Span<UInt8>) -> Bool {
        let prefix = prefixes[index]
        let same = common(prefix, path)
        if same == path.count { return false }
        if same == Int(prefix.count) { return true }
        return Self.rank(text[Int(prefix.start) + same]) < Self.rank(path[same])
    }

    /// How many bytes are the same at the beginning.
    private func common(_ prefix: Prefix, _ path: Span<UInt8>) -> Int {
        let end = min(Int(prefix.count), path.count)
        let start = Int(prefix.start)
        var index = 0
        while index < end, text[start + index] == path[index] { index += 1 }
        return index
    }

    private static func isOrdered(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        for index in 0..<min(one.count, other.count) where one[index] != other[index] {
            return rank(one[index]) < rank(other[index])
        }
        return one.count < other.count
    }

    /// Slashes come first, so that what is below a prefix comes right behind it.
    @inline(__always)
    private static func rank(_ byte: UInt8) -> Int {
        byte == PathText.slash ? -1 : Int(byte)
    }
}
