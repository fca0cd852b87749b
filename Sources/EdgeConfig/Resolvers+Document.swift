import EdgeCore
import EdgeRouting
import EdgeUpstream

extension Configuration.Resolver {
    private static let dnsPort: UInt16 = 53

    /// Every resolver of all files; at most one answers for all domains.
    static func decode(_ roots: [Section]) -> [Located<Configuration.Resolver>] {
        var names: [String: Location] = [:]
        var domains: [String: Location] = [:]
        var general: Location?
        var resolvers: [Located<Configuration.Resolver>] = []
        for (name, section) in roots.flatMap({ $0.namedSections("resolvers") }) {
            if let first = names[name.value] {
                section.error(
                    name.location, "a second resolver is called '\(name.value)'",
                    hint: "first at \(first)")
            }
            names[name.value] = names[name.value] ?? name.location
            let servers = section.texts("servers", as: .resolver) { text throws(ValueProblem) in
                try TextValue.endpoint(text, defaultPort: dnsPort)
            }
            let suffixes = section.texts("domains")
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
            let resolver = Configuration.Resolver(
                name: name.value, servers: servers.map(\.value), domains: suffixes.map(\.value))
            resolvers.append(Located(value: resolver, location: name.location))
        }
        return resolvers
    }
}

extension Assembly {
    /// A resolver that is never asked is most likely one with a mistyped domain. `--check --dns`
    /// asks, too: for the hosts of views that have addresses.
    func checkResolvers(
        _ resolvers: [Located<Configuration.Resolver>], upstreams: [UpstreamDraft],
        views: ViewList, sites: [SiteConfiguration]
    ) {
        var indexes: [String: Int] = [:]
        for (index, resolver) in resolvers.enumerated() {
            for domain in resolver.value.domains { indexes[domain] = index }
        }
        let general = resolvers.firstIndex { $0.value.domains.isEmpty }
        /// Who is asked for a name.
        func resolver(of name: String) -> Int? {
            let labels = name.split(separator: ".")
            let suffixes = labels.indices.lazy.map { labels[$0...].joined(separator: ".") }
            return suffixes.compactMap { indexes[$0] }.first ?? general
        }
        var used: Set<Int?> = []
        for server in upstreams.flatMap(\.configuration.servers) {
            let name: String
            switch server.host {
            case .address: continue
            case .name(let host), .service(let host): name = host
            }
            used.insert(resolver(of: name))
        }
        for view in views.drafts.indices where views.drafts[view].resolver == nil {
            let records = DNSRecords(view: view, views: views.configurations, sites: sites)
            guard !records.addresses.isEmpty else { continue }
            for name in records.names { used.insert(resolver(of: name)) }
        }
        let names = resolvers.map(\.value.name)
        for view in views.drafts {
            guard let resolver = view.resolver else { continue }
            if let index = names.firstIndex(of: resolver.value) {
                used.insert(index)
            } else {
                view.section.error(
                    resolver.location,
                    "\(view.section.title).resolver: undefined resolver "
                        + quoted(resolver.value),
                    hint: Suggestion.defined(for: resolver.value, among: names, kind: "resolver"))
            }
        }
        for (index, resolver) in resolvers.enumerated() where !used.contains(index) {
            main.warning(
                resolver.location, "the resolver '\(resolver.value.name)' is never asked",
                hint: resolver.value.domains.isEmpty
                    ? "every server is an address or has another resolver"
                    : "no server's name ends with one of its domains")
        }
    }
}
