/// Which pattern a host name falls under, per view: exact names first, then a wildcard of one
/// label, then the pattern for any name. Immutable and flat, one table for all views: a look-up
/// hashes the name once and compares it at most twice, however many patterns there are, and
/// allocates nothing.
struct HostTable: Sendable {
    /// How specific a pattern is, the most specific first.
    enum Level: CaseIterable {
        case exact, wildcard, any
    }

    /// A host name, ready to be looked up. O(count) to make.
    struct Key {
        /// Bytes of the name that count: without a final dot. 0: too long, or none.
        fileprivate let count: Int
        /// Index of the first label's end; -1: no wildcard can match.
        fileprivate let dot: Int
        fileprivate let exact: UInt32
        fileprivate let wildcard: UInt32
    }

    private struct Name: Sendable {
        /// In `text`; of a wildcard what stands behind `*.`.
        var start: Int32
        var count: Int32
        var view: Int32
        var level: Level
    }

    private struct Bucket: Sendable {
        var hash: UInt32
        /// Index into `names`; -1: empty.
        var name: Int32
    }

    /// RFC 1035 §2.3.4, and what nothing in the configuration exceeds.
    private static let hostBytesMax = 255

    private var names: [Name] = []
    private var text: [UInt8] = []
    private var buckets: [Bucket]
    /// Per view the pattern `*`; -1: it has none.
    private var anyNames: [Int32]
    private let mask: Int

    /// - Parameter patterns: lower-case: a name, `*.` and a name, or `*`, and the view it is in,
    ///   below `views`. Of equal patterns the first counts (the configuration refuses them before).
    init(_ patterns: [(view: Int, pattern: String)], views: Int) {
        var size = 16
        while size < patterns.count * 2 { size *= 2 }
        mask = size - 1
        buckets = Array(repeating: Bucket(hash: 0, name: -1), count: size)
        anyNames = Array(repeating: -1, count: views)
        names.reserveCapacity(patterns.count)
        text.reserveCapacity(patterns.reduce(0) { $0 + $1.pattern.utf8.count })
        for (view, pattern) in patterns { insert(view, Array(pattern.utf8)) }
    }

    private mutating func insert(_ view: Int, _ pattern: [UInt8]) {
        let number = Int32(names.count)
        let isAny = pattern.elementsEqual("*".utf8)
        let isWildcard = pattern.count > 2 && pattern.starts(with: "*.".utf8)
        let bytes = isAny ? [] : Array(pattern.dropFirst(isWildcard ? 2 : 0))
        names.append(
            Name(
                start: Int32(text.count), count: Int32(bytes.count), view: Int32(view),
                level: isAny ? .any : isWildcard ? .wildcard : .exact))
        text += bytes
        if isAny {
            if anyNames[view] < 0 { anyNames[view] = number }
            return
        }
        let state = bytes.reversed().reduce(Self.seed(view)) { Self.step($0, $1) }
        let hash = Self.finish(state, isWildcard: isWildcard)
        var index = Int(hash) & mask
        while buckets[index].name >= 0 { index = (index + 1) & mask }
        buckets[index] = Bucket(hash: hash, name: number)
    }

    /// The pattern's text, for people.
    func pattern(_ number: Int32) -> String {
        let name = names[Int(number)]
        let tail = String(
            decoding: text[Int(name.start)..<Int(name.start + name.count)], as: UTF8.self)
        return switch name.level {
        case .exact: tail
        case .wildcard: "*." + tail
        case .any: "*"
        }
    }

    /// The number, in the order of the patterns, of the one that is the most specific for a host as
    /// the client wrote it: any letter case, one final dot allowed; -1: none.
    ///
    /// - Parameter host: without port and brackets; any bytes.
    // hot: once per request; no allocation.
    func find(_ host: Span<UInt8>, view: Int) -> Int32 {
        let key = Self.key(host, view: view)
        let exact = find(key, host, view: view, .exact)
        if exact >= 0 { return exact }
        let wildcard = find(key, host, view: view, .wildcard)
        return wildcard >= 0 ? wildcard : anyNames[view]
    }

    /// The same at one level.
    func find(_ key: Key, _ host: Span<UInt8>, view: Int, _ level: Level) -> Int32 {
        switch level {
        case .exact:
            return key.count > 0 ? find(key.exact, host, 0..<key.count, view: view, .exact) : -1
        case .wildcard:
            guard key.dot > 0 else { return -1 }
            return find(key.wildcard, host, key.dot + 1..<key.count, view: view, .wildcard)
        case .any: return anyNames[view]
        }
    }

    /// Hashes from the end, so that the hash of what stands behind the first label is a by-product.
    static func key(_ host: Span<UInt8>, view: Int) -> Key {
        var count = host.count
        if count > 0, host[count - 1] == UInt8(ascii: ".") { count -= 1 }
        guard count > 0, count <= hostBytesMax else {
            return Key(count: 0, dot: -1, exact: 0, wildcard: 0)
        }
        var state = seed(view)
        var behindDot = state
        var dot = -1
        var index = count
        while index > 0 {
            index -= 1
            if host[index] == UInt8(ascii: ".") {
                dot = index
                behindDot = state
            }
            state = step(state, lower(host[index]))
        }
        return Key(
            count: count, dot: dot + 1 < count ? dot : -1,
            exact: finish(state, isWildcard: false), wildcard: finish(behindDot, isWildcard: true))
    }

    private func find(
        _ hash: UInt32, _ host: Span<UInt8>, _ range: Range<Int>, view: Int, _ level: Level
    ) -> Int32 {
        var index = Int(hash) & mask
        while buckets[index].name >= 0 {
            let bucket = buckets[index]
            if bucket.hash == hash, matches(names[Int(bucket.name)], host, range, view, level) {
                return bucket.name
            }
            index = (index + 1) & mask
        }
        return -1
    }

    private func matches(
        _ name: Name, _ host: Span<UInt8>, _ range: Range<Int>, _ view: Int, _ level: Level
    ) -> Bool {
        guard Int(name.count) == range.count, Int(name.view) == view, name.level == level else {
            return false
        }
        for offset in 0..<range.count
        where text[Int(name.start) + offset] != Self.lower(host[range.lowerBound + offset]) {
            return false
        }
        return true
    }

    /// Whether two names that clients wrote are the same one.
    static func areSame(_ one: Span<UInt8>, _ other: Span<UInt8>) -> Bool {
        let dot = UInt8(ascii: ".")
        let count = one.count - (one.count > 0 && one[one.count - 1] == dot ? 1 : 0)
        let otherCount = other.count - (other.count > 0 && other[other.count - 1] == dot ? 1 : 0)
        guard count == otherCount else { return false }
        for index in 0..<count where lower(one[index]) != lower(other[index]) { return false }
        return true
    }

    // FNV-1a. Names in the table come from the configuration only, so nobody outside can make
    // them collide.

    private static func seed(_ view: Int) -> UInt64 {
        0xCBF2_9CE4_8422_2325 ^ (UInt64(truncatingIfNeeded: view) &* 0x9E37_79B9_7F4A_7C15)
    }

    @inline(__always)
    private static func step(_ state: UInt64, _ byte: UInt8) -> UInt64 {
        (state ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    private static func finish(_ state: UInt64, isWildcard: Bool) -> UInt32 {
        let mixed = (isWildcard ? ~state : state) &* 0xFF51_AFD7_ED55_8CCD
        return UInt32(truncatingIfNeeded: mixed >> 32)
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
