import EdgeUpstream

extension BalancePolicy {
    private enum Word: String {
        case roundRobin = "round-robin"
        case leastRequests = "least-requests"
        case fastest, hash
    }

    /// - Parameter section: the upstream's.
    static func decode(_ section: Section) -> Self {
        let word = section.choice("balance", as: Word.self)
        let key = section.text("hash", as: .hashKey, parse: TextValue.hashKey)
        if let key, let word, word != .hash {
            section.error(
                key.location, "\(section.title).hash has no effect without 'balance: hash'",
                hint: section.has("balance") ? "it is \(word.rawValue)" : "set 'balance'")
        }
        return switch word {
        case .roundRobin, nil: .roundRobin
        case .leastRequests: .leastRequests
        case .fastest: .fastest
        case .hash: .hash(key?.value ?? .client)
        }
    }
}

extension StickyPolicy {
    /// What browsers take only with attributes that depend on how the site is reached.
    private static let conditionalPrefixes = ["__host-", "__secure-"]

    static func decode(_ section: Section?) -> Self? {
        guard let section, let cookie = section.text("cookie") else { return nil }
        let name = cookie.value.lowercased()
        if let prefix = conditionalPrefixes.first(where: { name.hasPrefix($0) }) {
            section.error(
                cookie.location, "\(section.title).cookie cannot begin with \(quoted(prefix))",
                hint: "browsers take such cookies on conditions only")
        }
        return Self(cookie: cookie.value)
    }
}
