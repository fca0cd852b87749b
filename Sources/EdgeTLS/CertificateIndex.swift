/// Finds entries by name: an open-addressed table over the names where they stand in the
/// certificates' DER. Two look-ups per name, however many there are; 24 bytes per name.
struct CertificateIndex: Sendable {
    /// One name of one entry.
    private struct Candidate: Sendable {
        let entry: Int32
        /// Place of the name in the entry's bytes; of a wildcard, behind `*.`.
        let start: Int32
        let count: Int16
        let isWildcard: Bool
        /// The next one of the same name; -1: none.
        var next: Int32
    }

    private let entries: [CertificateEntry]
    private var candidates: [Candidate] = []
    /// First candidate of a name; -1: empty.
    private var buckets: [Int32]
    private let mask: Int

    /// Certificates for the very same name and key type beyond this many are not looked at: the
    /// ones that end last are kept.
    private static let sameMax = 4
    /// RFC 1035 §2.3.4: longer names are never asked for.
    private static let nameBytesMax = 255

    init(_ entries: [CertificateEntry]) {
        self.entries = entries
        var count = 0
        for entry in entries { entry.forEachName { _ in count += 1 } }
        var size = 16
        while size < count * 2 { size *= 2 }
        mask = size - 1
        buckets = Array(repeating: -1, count: size)
        candidates.reserveCapacity(count)
        for (index, entry) in entries.enumerated() {
            entry.forEachName { insert($0, of: entry, Int32(index)) }
        }
    }

    /// Calls `body` with every entry for `name`, those for the very name first.
    ///
    /// - Parameter name: any letter case.
    func forEach(_ name: UnsafeBufferPointer<UInt8>, _ body: (Int, _ isExact: Bool) -> Void) {
        guard (1...Self.nameBytesMax).contains(name.count) else { return }
        walk(name, isWildcard: false) { body($0, true) }
        guard let dot = name.firstIndex(of: UInt8(ascii: ".")), dot > 0, dot + 1 < name.count
        else { return }
        walk(UnsafeBufferPointer(rebasing: name[(dot + 1)...]), isWildcard: true) {
            body($0, false)
        }
    }

    private func walk(
        _ name: UnsafeBufferPointer<UInt8>, isWildcard: Bool, _ body: (Int) -> Void
    ) {
        var current = buckets[bucket(of: name, isWildcard)]
        while current >= 0 {
            body(Int(candidates[Int(current)].entry))
            current = candidates[Int(current)].next
        }
    }

    private mutating func insert(_ place: Range<Int>, of entry: CertificateEntry, _ index: Int32) {
        entry.bytes.withUnsafeBufferPointer { bytes in
            let isWildcard =
                place.count > 2 && bytes[place.lowerBound] == UInt8(ascii: "*")
                && bytes[place.lowerBound + 1] == UInt8(ascii: ".")
            let start = place.lowerBound + (isWildcard ? 2 : 0)
            let name = UnsafeBufferPointer(rebasing: bytes[start..<place.upperBound])
            let candidate = Candidate(
                entry: index, start: Int32(start), count: Int16(name.count),
                isWildcard: isWildcard, next: -1)
            let bucket = bucket(of: name, isWildcard)
            guard buckets[bucket] >= 0 else {
                buckets[bucket] = Int32(candidates.count)
                candidates.append(candidate)
                return
            }
            append(candidate, after: buckets[bucket])
        }
    }

    /// Appends to a chain, or takes the place of the one that ends first if there are too many.
    private mutating func append(_ candidate: Candidate, after first: Int32) {
        let entry = entries[Int(candidate.entry)]
        var same = 0
        var soonest = -1
        var current = Int(first)
        while true {
            let other = entries[Int(candidates[current].entry)]
            // One certificate may say a name twice.
            if other === entry { return }
            if other.key == entry.key {
                same += 1
                if soonest < 0
                    || other.notAfter < entries[Int(candidates[soonest].entry)].notAfter
                {
                    soonest = current
                }
            }
            guard candidates[current].next >= 0 else { break }
            current = Int(candidates[current].next)
        }
        if same < Self.sameMax {
            candidates[current].next = Int32(candidates.count)
            candidates.append(candidate)
        } else if entries[Int(candidates[soonest].entry)].notAfter < entry.notAfter {
            let next = candidates[soonest].next
            candidates[soonest] = candidate
            candidates[soonest].next = next
        }
    }

    /// Where the name is, or would be put.
    private func bucket(of name: UnsafeBufferPointer<UInt8>, _ isWildcard: Bool) -> Int {
        var index = Int(truncatingIfNeeded: Self.hash(name)) & mask
        while buckets[index] >= 0 {
            let candidate = candidates[Int(buckets[index])]
            if candidate.isWildcard == isWildcard, isName(name, of: candidate) { break }
            index = (index + 1) & mask
        }
        return index
    }

    private func isName(_ name: UnsafeBufferPointer<UInt8>, of candidate: Candidate) -> Bool {
        guard Int(candidate.count) == name.count else { return false }
        return entries[Int(candidate.entry)].bytes.withUnsafeBufferPointer { bytes in
            for offset in 0..<name.count
            where Self.lower(bytes[Int(candidate.start) + offset]) != Self.lower(name[offset]) {
                return false
            }
            return true
        }
    }

    /// FNV-1a over the lower-case bytes. Names in the table come from the operator's folder only,
    /// so nobody outside can make them collide.
    private static func hash(_ name: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name { hash = (hash ^ UInt64(lower(byte))) &* 0x100_0000_01B3 }
        return hash ^ (hash >> 29)
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
