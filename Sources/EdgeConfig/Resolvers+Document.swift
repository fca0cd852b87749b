import EdgeCore

extension Configuration.Resolver {
    private static let dnsPort: UInt16 = 53

    /// Every resolver of all files; at most one answers for all domains.
    static func decode(_ roots: [Section]) -> [Configuration.Resolver] {
        var names: [String: Location] = [:]
        var domains: [String: Location] = [:]
        var general: Location?
        var resolvers: [Configuration.Resolver] = []
        for (name, section) in roots.flatMap({ $0.namedSections("resolvers") }) {
            if let first = names[name.value] {
                section.error(
                    name.location, "a second resolver is called '\(name.value)'",
                    hint: "first at \(first)")
            }
            names[name.value] = names[name.value] ?? name.location
            let servers = section.texts("servers") { text throws(ValueProblem) in
                try TextValue.endpoint(text, defaultPort: dnsPort)
            }
            let suffixes = section.texts("domains") { text throws(ValueProblem) in
                try HostName.parse(text, underscore: true)
            }
            for suffix in suffixes {
                if let first = domains[suffix.value] {
                    section.error(
                        suffix.location, "the domain '\(suffix.value)' has two resolvers",
                        hint: "first at \(first)")
                }
                domains[suffix.value] = domains[suffix.value] ?? suffix.location
            }
            if !section.has("domains") {
                if let general {
                    section.error(
                        name.location, "a second resolver without 'domains'",
                        hint: "first at \(general)")
                }
                general = general ?? name.location
            }
            resolvers.append(
                Configuration.Resolver(
                    name: name.value, servers: servers.map(\.value),
                    domains: suffixes.map(\.value)))
        }
        return resolvers
    }
}
