/// What requests cost, by method and path: 1, unless a rule says otherwise. The first that fits.
package struct RequestCosts: Sendable {
    package static let rulesMax = 16

    private struct Rule: Sendable {
        var methods: [[UInt8]]
        /// Without a final slash; empty: all paths.
        var path: [UInt8]
        var cost: UInt32
    }

    private let rules: [Rule]

    /// What is beyond `rulesMax` is left out; the configuration refuses more.
    package init(_ costs: [LimitPolicy.Cost] = []) {
        rules = costs.prefix(Self.rulesMax).map { cost in
            var path = Array((cost.path ?? "").utf8)
            while path.last == UInt8(ascii: "/") { path.removeLast() }
            return Rule(methods: cost.methods.map { Array($0.utf8) }, path: path, cost: cost.cost)
        }
    }

    /// Where servers may read a path as another one, it may be that of any rule that it can be made
    /// to mean: the dearest of them counts, so that no spelling is cheaper.
    ///
    /// - Parameters:
    ///   - path: as the client wrote it, without the query.
    ///   - certain: `certainPrefix(of: path)`.
    // hot: where costs differ; no allocation; a comparison per rule
    package func cost(method: Span<UInt8>, path: Span<UInt8>, certain: Int) -> UInt32 {
        var dearest: UInt32 = 0
        for rule in rules {
            guard rule.methods.isEmpty || rule.methods.contains(where: { equal($0, method) })
            else { continue }
            if rule.path.isEmpty || covers(rule.path, path, upTo: certain) {
                return max(dearest, rule.cost)
            }
            if certain < path.count, mayCover(rule.path, path, upTo: certain) {
                dearest = max(dearest, rule.cost)
            }
        }
        return max(dearest, 1)
    }

    /// Bytes of whole segments that every server reads as they stand there: all, unless something
    /// is encoded or has parameters (then those before its segment), or there are dot segments,
    /// empty ones or other slashes (then none).
    package static func certainPrefix(of path: Span<UInt8>) -> Int {
        var segment = 0
        var certain = path.count
        for index in 0..<path.count {
            switch path[index] {
            case UInt8(ascii: "/"):
                // An empty one, or one of dots.
                let length = index - segment
                if index > 0, length < 3, isOdd(path, segment, length) { return 0 }
                segment = index + 1
            case UInt8(ascii: "\\"): return 0
            case UInt8(ascii: "%"):
                guard index + 2 < path.count, let byte = decoded(path[index + 1], path[index + 2])
                else { return 0 }
                switch byte {
                case 0...0x20, UInt8(ascii: "%"), UInt8(ascii: "."), UInt8(ascii: "/"),
                    UInt8(ascii: "\\"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: ";"):
                    // A blank is data; the others may end a segment, or the path.
                    if byte != 0x20 { return 0 }
                    certain = min(certain, segment)
                default: certain = min(certain, segment)
                }
            case UInt8(ascii: ";"): certain = min(certain, segment)
            default: break
            }
        }
        let last = path.count - segment
        // An empty last segment is a final slash.
        if last > 0, last < 3, isOdd(path, segment, last) { return 0 }
        return certain
    }

    /// An empty segment, `.` or `..`.
    private static func isOdd(_ path: Span<UInt8>, _ start: Int, _ length: Int) -> Bool {
        for index in start..<start + length where path[index] != UInt8(ascii: ".") { return false }
        return true
    }

    private static func decoded(_ high: UInt8, _ low: UInt8) -> UInt8? {
        guard let high = digit(high), let low = digit(low) else { return nil }
        return high << 4 | low
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private func equal(_ text: [UInt8], _ other: Span<UInt8>) -> Bool {
        guard text.count == other.count else { return false }
        for index in 0..<text.count where text[index] != other[index] { return false }
        return true
    }

    /// The path begins with the prefix, in whole segments that are certain.
    private func covers(_ prefix: [UInt8], _ path: Span<UInt8>, upTo certain: Int) -> Bool {
        guard certain >= prefix.count else { return false }
        for index in 0..<prefix.count where path[index] != prefix[index] { return false }
        return path.count == prefix.count || path[prefix.count] == UInt8(ascii: "/")
    }

    /// What is certain does not speak against it.
    private func mayCover(_ prefix: [UInt8], _ path: Span<UInt8>, upTo certain: Int) -> Bool {
        for index in 0..<min(certain, prefix.count) where path[index] != prefix[index] {
            return false
        }
        return true
    }
}
