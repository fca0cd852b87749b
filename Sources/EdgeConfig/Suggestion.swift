/// Finds what somebody probably meant.
package enum Suggestion {
    private static let comparedMax = 200
    private static let listedMax = 12
    private static let lengthMax = 64

    /// `did you mean 'upstream'?`, else the whole list if it is short.
    static func text(for word: String, among candidates: [String]) -> String? {
        if let nearest = nearest(to: word, among: candidates) {
            return "did you mean '\(nearest)'?"
        }
        return list("valid", candidates)
    }

    /// As `text(for:among:)`, for a key.
    ///
    /// - Parameter elsewhere: where a key of that name belongs; a few.
    static func key(_ word: String, among candidates: [String], elsewhere: [String]) -> String? {
        guard (1...3).contains(elsewhere.count), nearest(to: word, among: candidates) == nil else {
            return text(for: word, among: candidates)
        }
        let places = elsewhere.map { $0.isEmpty ? "the top level" : "'\($0)'" }
        return "it belongs to \(places.joined(separator: " or "))"
    }

    /// As `text(for:among:)`, for names the operator defined.
    package static func defined(for word: String, among candidates: [String], kind: String)
        -> String
    {
        guard !candidates.isEmpty else { return "no \(kind) is defined" }
        let all = list("defined", candidates) ?? "\(candidates.count) are defined"
        guard let nearest = nearest(to: word, among: candidates) else { return all }
        return "did you mean '\(nearest)'? \(all)"
    }

    private static func list(_ label: String, _ candidates: [String]) -> String? {
        guard !candidates.isEmpty else { return nil }
        let shown = candidates.prefix(listedMax).joined(separator: ", ")
        let rest = candidates.count - listedMax
        return "\(label): \(shown)" + (rest > 0 ? " and \(rest) more" : "")
    }

    private static func nearest(to word: String, among candidates: [String]) -> String? {
        guard word.utf8.count <= lengthMax else { return nil }
        let lower = String(word.lowercased().map { $0 == "-" ? "_" : $0 })
        let distanceMax = max(1, lower.utf8.count / 3)
        var best: (name: String, distance: Int)?
        for candidate in candidates.prefix(comparedMax) where candidate.utf8.count <= lengthMax {
            let distance = distance(Array(lower.utf8), Array(candidate.lowercased().utf8))
            if distance <= distanceMax, distance < best?.distance ?? .max {
                best = (candidate, distance)
            }
        }
        return best?.name
    }

    /// Insertions, deletions, replacements and swaps of neighbours.
    static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var before: [Int] = []
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    cost = min(cost, before[j - 1] + 1)
                }
                row.append(cost)
            }
            before = last
            last = row
        }
        return last[b.count]
    }
}
