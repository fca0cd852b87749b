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
    /// Stored, so that a request without rules reads one byte.
    package let isEmpty: Bool

    /// What is beyond `rulesMax` is left out; the configuration refuses more.
    package init(_ costs: [LimitPolicy.Cost] = []) {
        rules = costs.prefix(Self.rulesMax).map { cost in
            var path = Array((cost.path ?? "").utf8)
            while path.last == UInt8(ascii: "/") { path.removeLast() }
            return Rule(methods: cost.methods.map { Array($0.utf8) }, path: path, cost: cost.cost)
        }
        isEmpty = rules.isEmpty
    }

    /// - Parameters:
    ///   - path: as the client wrote it, without the query.
    ///   - isLiteral: servers read the path as it stands there. If not, it may be any of the rules'
    ///     paths: the dearest counts, so that no spelling is cheaper.
    // hot: no allocation; a comparison per rule
    package func cost(method: Span<UInt8>, path: Span<UInt8>, isLiteral: Bool) -> UInt32 {
        var dearest: UInt32 = 0
        for rule in rules {
            guard rule.methods.isEmpty || rule.methods.contains(where: { equal($0, method) })
            else { continue }
            if isLiteral {
                if begins(path, with: rule.path) { return rule.cost }
            } else {
                dearest = max(dearest, rule.cost)
                if rule.path.isEmpty { return dearest }
            }
        }
        return max(dearest, 1)
    }

    private func equal(_ text: [UInt8], _ other: Span<UInt8>) -> Bool {
        text.count == other.count && begins(other, with: text, wholeSegments: false)
    }

    private func begins(
        _ text: Span<UInt8>, with prefix: [UInt8], wholeSegments: Bool = true
    ) -> Bool {
        guard text.count >= prefix.count else { return false }
        for index in 0..<prefix.count where text[index] != prefix[index] { return false }
        return !wholeSegments || prefix.isEmpty || text.count == prefix.count
            || text[prefix.count] == UInt8(ascii: "/")
    }
}
