/// The names that a view's clients know sites by (external) and those that the sites' servers know
/// them by (internal). Immutable and flat: a look-up hashes the name once or twice and compares it
/// once, however many sites there are, and allocates nothing.
///
/// Names that a site has under no other name belong into it as well: they tell which names a
/// wildcard does not mean.
package final class HostMap: Sendable {
    /// A name as the other side has it: the first bytes of the name that was looked up, then some
    /// of the map's. To be used with the map and the name that it came from.
    package struct Name: BitwiseCopyable, Equatable, Sendable {
        /// Of the name that was looked up: none, or its first label with the dot.
        let keptCount: Int32
        fileprivate let start: Int32
        fileprivate let count: Int32

        package var byteCount: Int { Int(keptCount) + Int(count) }
    }

    /// One after the other are the two sides of one kind.
    private enum Kind: UInt8, Sendable {
        case externalName, internalName, externalWildcard, internalWildcard
        /// An internal Domain of cookies.
        case domain
    }

    private struct Bucket: Sendable {
        var hash: UInt64 = 0
        var start: Int32 = 0
        /// -1: empty.
        var count: Int32 = -1
        var kind = Kind.externalName
        var otherStart: Int32 = 0
        /// -1: two others are meant, so none is.
        var otherCount: Int32 = 0
    }

    /// RFC 1035 §2.3.4, and what nothing in the configuration exceeds.
    private static let hostBytesMax = 255

    private let buckets: [Bucket]
    private let names: [UInt8]
    private let mask: Int
    /// Bytes by which a name can become longer, whichever way it is translated.
    package let growthMax: Int

    /// - Parameter pairs: lower-case patterns, both names or both `*.` and a name; others mean
    ///   nothing. Of two pairs with the same name on one side the first counts for that side.
    package init(_ pairs: [(external: String, internal: String)]) {
        var builder = Builder(pairs)
        for pair in pairs { builder.insert(pair) }
        for pair in pairs { builder.insertDomains(pair) }
        buckets = builder.buckets
        names = builder.names
        mask = builder.mask
        growthMax = builder.growthMax
    }

    // MARK: - Names

    /// What the servers call what clients call `host`.
    ///
    /// - Parameter host: any bytes, in any letter case; one trailing dot is not looked at.
    /// - Returns: nil if it has no other name. Cost: O(count), no allocation.
    package func internalName(of host: Span<UInt8>) -> Name? {
        let count = Self.countWithoutDot(host)
        guard count > 0 else { return nil }
        let name = host.extracting(0..<count)
        if let found = find(.externalName, name, from: 0) { return found }
        guard let suffix = Self.suffix(name) else { return nil }
        return find(.externalWildcard, name, from: suffix)
    }

    /// What clients call what servers call `host`. As `internalName`.
    package func externalName(of host: Span<UInt8>) -> Name? {
        let count = Self.countWithoutDot(host)
        guard count > 0 else { return nil }
        let name = host.extracting(0..<count)
        if let found = find(.internalName, name, from: 0) { return found }
        guard let suffix = Self.suffix(name),
            let found = find(.internalWildcard, name, from: suffix)
        else { return nil }
        // Clients would get to the site which has that very name.
        return isExternal(found, name) ? nil : found
    }

    /// What clients' cookies are for where servers say `domain`: a name of the map, or what is left
    /// of one when labels are taken away in front that both its sides begin with.
    ///
    /// - Parameter domain: without a dot in front.
    package func externalDomain(of domain: Span<UInt8>) -> Name? {
        if let found = externalName(of: domain) { return found }
        let count = Self.countWithoutDot(domain)
        guard count > 0 else { return nil }
        return find(.domain, domain.extracting(0..<count), from: 0)
    }

    /// Writes a name that was found for `host`.
    package func write(_ name: Name, of host: Span<UInt8>, into output: inout ByteWriter) {
        if name.keptCount > 0 { output.append(host, 0..<Int(name.keptCount)) }
        let names = names
        output.append(names.span, Int(name.start)..<Int(name.start) + Int(name.count))
    }

    // MARK: - Table

    /// Bytes without a trailing dot; 0 for what is no name.
    private static func countWithoutDot(_ host: Span<UInt8>) -> Int {
        var count = host.count
        if count > 0, host[count - 1] == UInt8(ascii: ".") { count -= 1 }
        return count <= hostBytesMax ? count : 0
    }

    /// Index behind the first dot, if there is something on both of its sides.
    private static func suffix(_ name: Span<UInt8>) -> Int? {
        var dot = 0
        while dot < name.count, name[dot] != UInt8(ascii: ".") { dot += 1 }
        return dot > 0 && dot + 1 < name.count ? dot + 1 : nil
    }

    /// - Parameter start: bytes in front of it are kept.
    private func find(_ kind: Kind, _ name: Span<UInt8>, from start: Int) -> Name? {
        guard let bucket = bucket(kind, name, from: start), bucket.otherCount >= 0 else {
            return nil
        }
        return Name(keptCount: Int32(start), start: bucket.otherStart, count: bucket.otherCount)
    }

    private func bucket(_ kind: Kind, _ name: Span<UInt8>, from start: Int) -> Bucket? {
        let names = names
        let hash = Self.hash(kind, name, from: start)
        var index = Int(truncatingIfNeeded: hash) & mask
        while buckets[index].count >= 0 {
            let bucket = buckets[index]
            if bucket.hash == hash, bucket.kind == kind, Int(bucket.count) == name.count - start,
                Self.matches(names.span, Int(bucket.start), name, from: start)
            {
                return bucket
            }
            index = (index + 1) & mask
        }
        return nil
    }

    /// Whether what was found for `host` is an external name without a wildcard.
    private func isExternal(_ name: Name, _ host: Span<UInt8>) -> Bool {
        guard name.byteCount <= Self.hostBytesMax else { return false }
        var whole: InlineArray<255, UInt8> = .init(repeating: 0)
        let kept = Int(name.keptCount)
        for index in 0..<kept { whole[index] = host[index] }
        for index in 0..<Int(name.count) { whole[kept + index] = names[Int(name.start) + index] }
        return bucket(.externalName, whole.span.extracting(0..<name.byteCount), from: 0) != nil
    }

    /// Whether lower-case bytes are those of a name in any letter case.
    @inline(__always)
    private static func matches(
        _ names: Span<UInt8>, _ own: Int, _ name: Span<UInt8>, from start: Int
    ) -> Bool {
        let count = name.count - start
        guard count >= 8 else {
            for offset in 0..<count where names[own + offset] != lower(name[start + offset]) {
                return false
            }
            return true
        }
        var offset = 0
        while true {
            let word = ByteWords.lower(ByteWords.load(name, start + offset))
            guard ByteWords.load(names, own + offset) == word else { return false }
            guard offset + 8 < count else { return true }
            // The last word overlaps the one before it.
            offset = min(offset + 8, count - 8)
        }
    }

    /// Of the lower-case bytes. Names in the table come from the configuration only, so nobody
    /// outside can make them collide.
    @inline(__always)
    private static func hash(_ kind: Kind, _ name: Span<UInt8>, from start: Int) -> UInt64 {
        let count = name.count - start
        var hash = 0xCBF2_9CE4_8422_2325 ^ UInt64(kind.rawValue) << 56 ^ UInt64(count)
        guard count >= 8 else {
            let word = ByteWords.loadRest(name, start..<name.count)
            return mix(hash, ByteWords.lower(word))
        }
        var offset = 0
        while true {
            hash = mix(hash, ByteWords.lower(ByteWords.load(name, start + offset)))
            guard offset + 8 < count else { return hash }
            offset = min(offset + 8, count - 8)
        }
    }

    @inline(__always)
    private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
        let product = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
        return product ^ product >> 32
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}

// MARK: - Building

extension HostMap {
    private struct Builder {
        var buckets: [Bucket]
        var names: [UInt8] = []
        var growthMax = 0
        private(set) var mask: Int

        init(_ pairs: [(external: String, internal: String)]) {
            // Both sides, and as many Domains as names have labels, of which most are the same.
            let labels = pairs.reduce(0) { sum, pair in
                sum + pair.internal.utf8.count { $0 == UInt8(ascii: ".") } + 1
            }
            var size = 16
            while size < (pairs.count * 2 + labels) * 2 { size *= 2 }
            mask = size - 1
            buckets = Array(repeating: Bucket(), count: size)
        }

        mutating func insert(_ pair: (external: String, internal: String)) {
            guard let (external, inside, isWildcard) = Self.sides(pair) else { return }
            insert(isWildcard ? .externalWildcard : .externalName, external, means: inside)
            insert(isWildcard ? .internalWildcard : .internalName, inside, means: external)
        }

        /// A Domain is a name that ends like the cookie's host (RFC 6265 §5.1.3): what both sides
        /// of the pair are below.
        mutating func insertDomains(_ pair: (external: String, internal: String)) {
            guard let sides = Self.sides(pair) else { return }
            var (external, inside) = (sides.0, sides.1)
            // A name itself is found before.
            if sides.isWildcard { insertDomain(inside, means: external) }
            while let (first, outer) = Self.split(external),
                let (second, inner) = Self.split(inside),
                first == second
            {
                (external, inside) = (Array(outer), Array(inner))
                insertDomain(inside, means: external)
            }
        }

        /// Cookies for a whole top-level domain are nobody's.
        private mutating func insertDomain(_ inside: [UInt8], means external: [UInt8]) {
            if external.contains(UInt8(ascii: ".")) { insert(.domain, inside, means: external) }
        }

        private mutating func insert(_ kind: Kind, _ name: [UInt8], means other: [UInt8]) {
            guard name.count <= hostBytesMax, other.count <= hostBytesMax else { return }
            let whole = hash(kind, name.span, from: 0)
            var index = Int(truncatingIfNeeded: whole) & mask
            while buckets[index].count >= 0 {
                let bucket = buckets[index]
                if bucket.kind == kind, isEqual(bucket.start, bucket.count, name) {
                    let isSame = isEqual(bucket.otherStart, bucket.otherCount, other)
                    if kind == .domain, !isSame { buckets[index].otherCount = -1 }
                    return
                }
                index = (index + 1) & mask
            }
            growthMax = max(growthMax, other.count - name.count)
            let start = Int32(names.count)
            names += name
            let otherStart = Int32(names.count)
            names += other
            buckets[index] = Bucket(
                hash: whole, start: start, count: Int32(name.count), kind: kind,
                otherStart: otherStart, otherCount: Int32(other.count))
        }

        private func isEqual(_ start: Int32, _ count: Int32, _ name: [UInt8]) -> Bool {
            count == name.count && names[Int(start)...].prefix(name.count).elementsEqual(name)
        }

        /// Both sides in lower case, without the `*.` of wildcards.
        private static func sides(
            _ pair: (external: String, internal: String)
        ) -> ([UInt8], [UInt8], isWildcard: Bool)? {
            let external = pair.external.utf8.map(lower)
            let inside = pair.internal.utf8.map(lower)
            let star = Array("*.".utf8)
            let isWildcard = external.starts(with: star)
            guard inside.starts(with: star) == isWildcard else { return nil }
            let sides =
                isWildcard
                ? (Array(external.dropFirst(2)), Array(inside.dropFirst(2))) : (external, inside)
            let isName = [sides.0, sides.1].allSatisfy {
                !$0.isEmpty && !$0.contains(UInt8(ascii: "*"))
            }
            return isName ? (sides.0, sides.1, isWildcard) : nil
        }

        private static func split(_ name: [UInt8]) -> (ArraySlice<UInt8>, ArraySlice<UInt8>)? {
            guard let dot = name.firstIndex(of: UInt8(ascii: ".")), dot + 1 < name.count else {
                return nil
            }
            return (name[..<dot], name[(dot + 1)...])
        }
    }
}
