/// Which site answers for a host name: exact names first, then a wildcard of one label, then the
/// site for any name. Immutable and flat: a look-up hashes the name once or twice and compares it
/// once, however many sites there are, and allocates nothing.
package struct RouteTable: Sendable {
    /// What a request is to be sent to. Plain numbers, so that requests in flight hold no reference
    /// to a snapshot that has been replaced.
    package struct Route: Sendable, Equatable {
        /// Index into the configuration's sites.
        package let site: Int32
        /// Number of the pool, the same over reloads while its key stays the same.
        package let pool: Int32

        package init(site: Int32, pool: Int32) {
            self.site = site
            self.pool = pool
        }
    }

    private struct Bucket: Sendable {
        var hash: UInt64
        var start: Int32
        /// -1: empty.
        var count: Int32
        var isWildcard: Bool
        var route: Route
    }

    /// RFC 1035 §2.3.4, and what nothing in the configuration exceeds.
    private static let hostBytesMax = 255

    private var buckets: [Bucket]
    private var names: [UInt8] = []
    private var anyName: Route?
    private let mask: Int

    /// - Parameter hosts: lower-case patterns: a name, `*.` and a name, or `*`. Of equal patterns
    ///   the first counts (the configuration refuses them before).
    package init(_ hosts: [(pattern: String, route: Route)]) {
        var size = 16
        while size < hosts.count * 2 { size *= 2 }
        mask = size - 1
        let none = Route(site: -1, pool: -1)
        buckets = Array(
            repeating: Bucket(hash: 0, start: 0, count: -1, isWildcard: false, route: none),
            count: size)
        names.reserveCapacity(hosts.reduce(0) { $0 + $1.pattern.utf8.count })
        for (pattern, route) in hosts {
            let bytes = pattern.utf8.span
            let star = UInt8(ascii: "*")
            if bytes.count == 1, bytes[0] == star {
                if anyName == nil { anyName = route }
                continue
            }
            let isWildcard =
                bytes.count > 2 && bytes[0] == star && bytes[1] == UInt8(ascii: ".")
            insert(bytes.extracting((isWildcard ? 2 : 0)..<bytes.count), isWildcard, route)
        }
    }

    private mutating func insert(_ name: Span<UInt8>, _ isWildcard: Bool, _ route: Route) {
        let hash = Self.hash(name, from: 0)
        var index = Int(truncatingIfNeeded: hash) & mask
        while buckets[index].count >= 0 { index = (index + 1) & mask }
        buckets[index] = Bucket(
            hash: hash, start: Int32(names.count), count: Int32(name.count),
            isWildcard: isWildcard, route: route)
        for index in 0..<name.count { names.append(name[index]) }
    }

    /// The route for a host as the client wrote it: any letter case, one trailing dot allowed.
    ///
    /// - Parameter host: without port and brackets; any bytes.
    /// - Returns: nil if no site answers for it. Cost: O(count), no allocation.
    package func resolve(_ host: Span<UInt8>) -> Route? {
        var count = host.count
        if count > 0, host[count - 1] == UInt8(ascii: ".") { count -= 1 }
        guard count > 0, count <= Self.hostBytesMax else { return anyName }
        let name = host.extracting(0..<count)
        if let route = find(name, from: 0, isWildcard: false) { return route }
        var dot = 0
        while dot < count, name[dot] != UInt8(ascii: ".") { dot += 1 }
        if dot > 0, dot + 1 < count, let route = find(name, from: dot + 1, isWildcard: true) {
            return route
        }
        return anyName
    }

    private func find(_ name: Span<UInt8>, from start: Int, isWildcard: Bool) -> Route? {
        let hash = Self.hash(name, from: start)
        var index = Int(truncatingIfNeeded: hash) & mask
        while buckets[index].count >= 0 {
            let bucket = buckets[index]
            if bucket.hash == hash, bucket.isWildcard == isWildcard,
                matches(bucket, name, from: start)
            {
                return bucket.route
            }
            index = (index + 1) & mask
        }
        return nil
    }

    private func matches(_ bucket: Bucket, _ name: Span<UInt8>, from start: Int) -> Bool {
        guard Int(bucket.count) == name.count - start else { return false }
        for offset in 0..<Int(bucket.count)
        where names[Int(bucket.start) + offset] != Self.lower(name[start + offset]) {
            return false
        }
        return true
    }

    /// FNV-1a over the lower-case bytes. Names in the table come from the configuration only, so
    /// nobody outside can make them collide.
    private static func hash(_ name: Span<UInt8>, from start: Int) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for index in start..<name.count {
            hash = (hash ^ UInt64(lower(name[index]))) &* 0x100_0000_01B3
        }
        return hash ^ (hash >> 29)
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
