package import EdgeCore

/// One entry of `resolvers:`: servers and the domains they are asked for.
package struct ResolverGroup: Sendable, Equatable {
    package let name: String
    /// Most that are asked of one group.
    package static let serversMax = 16

    /// With their ports; all are asked at the same time.
    package let servers: [SocketAddress]
    /// Suffixes without a leading dot; empty: every name that no other group has.
    package let domains: [String]

    package init(name: String, servers: [SocketAddress], domains: [String]) {
        self.name = name
        self.servers = servers
        self.domains = domains
    }

    /// The group of names that no configured group takes: the servers of resolv.conf.
    package static let system = ResolverGroup(name: "system", servers: [], domains: [])

    /// The index of the group that is asked for `name`: the one with the longest domain that is
    /// the name or a parent of it, else the first without domains; nil: the system's.
    package static func index(for name: String, in groups: [ResolverGroup]) -> Int? {
        let name = canonical(name)
        var best: (index: Int, length: Int)?
        for (index, group) in groups.enumerated() {
            let length =
                group.domains.isEmpty
                ? 0
                : group.domains.map(canonical).filter { name == $0 || name.hasSuffix("." + $0) }
                    .map(\.utf8.count).max()
            guard let length else { continue }
            if best == nil || length > best!.length { best = (index, length) }
        }
        return best?.index
    }

    private static func canonical(_ name: String) -> String {
        (name.hasSuffix(".") ? String(name.dropLast()) : name).lowercased()
    }
}
