internal import EdgeCore
internal import EdgeLimits

/// What policies limit, in the words of their configuration.
extension LimitPolicy {
    /// `requests 120 per 10s`, each.
    var words: [String] {
        var words: [String] = []
        for thing in LimitedThing.allCases {
            if let rate = rates[thing] { words.append("\(thing.word) \(rate.words)") }
        }
        for thing in CountedThing.allCases {
            if let most = counts[thing] { words.append("\(thing.word) \(most)") }
        }
        if let ceiling { words.append("ceiling \(ceiling.words)") }
        if let errors {
            let statuses = errors.statuses.map { range in
                range.count == 1
                    ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
            }
            words.append(
                "errors \(errors.limit.words) of \(statuses.joined(separator: ", ")), ban "
                    + Self.span(errors.ban.nanoseconds))
        }
        if !allowed.isEmpty || !allowFiles.isEmpty { words.append("allow") }
        if !denied.isEmpty || !denyFiles.isEmpty { words.append("deny") }
        return words
    }

    /// Whom it counts, where that is not every client by himself; else empty.
    var whose: String {
        switch key {
        case .client: ""
        case .everybody: "all clients together"
        case .field(let name): "by the field \(name)"
        case .cookie(let name): "by the cookie \(name)"
        }
    }

    /// In the largest unit that is whole.
    static func span(_ nanoseconds: UInt64) -> String {
        let units: [(UInt64, String)] = [
            (86_400_000_000_000, "d"), (3_600_000_000_000, "h"), (60_000_000_000, "m"),
            (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"),
        ]
        for (unit, name) in units where nanoseconds >= unit && nanoseconds % unit == 0 {
            return "\(nanoseconds / unit)\(name)"
        }
        return "\(nanoseconds)ns"
    }
}

extension RateLimit {
    /// `120 per 10s`, with the burst where it is another.
    var words: String {
        "\(quantity) per \(LimitPolicy.span(period))" + (burst == quantity ? "" : " burst \(burst)")
    }
}
