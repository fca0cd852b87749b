import EdgeRouting

extension SiteConfiguration {
    /// Every site of all files. Checks that no host is served twice, that each upstream exists and
    /// that each is used.
    static func decode(
        _ roots: [Section], upstreams: [UpstreamDraft], areUpstreamsReadable: Bool,
        listeners: [Located<Configuration.Listener>], diagnostics: DiagnosticCollector
    ) -> [SiteConfiguration] {
        let errorCount = diagnostics.errorCount
        let names = upstreams.map(\.name.value)
        let indexes = Dictionary(
            names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        let count = roots.reduce(0) { $0 + $1.itemCount("sites") }
        var places: [String: Location] = [:]
        places.reserveCapacity(count)
        var used = checkListeners(
            listeners, upstreams, indexes, areUpstreamsReadable: areUpstreamsReadable,
            in: roots.first)
        var sites: [SiteConfiguration] = []
        sites.reserveCapacity(count)
        func decode(_ section: Section) {
            let hosts = section.texts("hosts")
            checkHosts(hosts, in: section, places: &places)
            guard let upstream = section.text("upstream") else { return }
            guard let index = indexes[upstream.value] else {
                guard areUpstreamsReadable else { return }
                section.error(
                    upstream.location,
                    "\(section.title).upstream: undefined upstream \(quoted(upstream.value))",
                    hint: Suggestion.defined(for: upstream.value, among: names, kind: "upstream"))
                return
            }
            used.insert(index)
            checkName(of: upstreams[index], for: hosts, in: section)
            var site = SiteConfiguration(
                hosts: hosts.map { .init(view: 0, pattern: $0.value) },
                destination: .upstream(index))
            site.upgrades = section.texts("upgrade").map(\.value)
            sites.append(site)
        }
        for root in roots { root.forEachSection("sites", decode) }
        // A site that could not be read might be the one that uses it.
        guard diagnostics.errorCount == errorCount else { return sites }
        for (index, draft) in upstreams.enumerated() where !used.contains(index) {
            draft.section.error(
                draft.name.location,
                "no site and no tcp listener uses the upstream '\(draft.name.value)'",
                hint: "name it in 'sites', or remove it")
        }
        return sites
    }

    /// - Returns: the upstreams that tcp listeners pass bytes on to.
    private static func checkListeners(
        _ listeners: [Located<Configuration.Listener>], _ upstreams: [UpstreamDraft],
        _ indexes: [String: Int], areUpstreamsReadable: Bool, in root: Section?
    ) -> Set<Int> {
        var used: Set<Int> = []
        for listener in listeners {
            guard let name = listener.value.upstream else { continue }
            guard let index = indexes[name] else {
                guard areUpstreamsReadable else { continue }
                root?.error(
                    listener.location,
                    "listener '\(listener.value.name)': undefined upstream \(quoted(name))",
                    hint: Suggestion.defined(
                        for: name, among: upstreams.map(\.name.value), kind: "upstream"))
                continue
            }
            used.insert(index)
            if upstreams[index].configuration.tls != nil {
                root?.error(
                    listener.location,
                    "listener '\(listener.value.name)': upstream '\(name)' has 'tls'",
                    hint: "a tcp listener passes bytes on as they are; TLS is then between the "
                        + "client and the server")
            }
            checkRelay(upstreams[index], listener: listener.value.name)
            if upstreams[index].configuration.version != .http1 {
                root?.error(
                    listener.location,
                    "listener '\(listener.value.name)': upstream '\(name)' has a 'protocol'",
                    hint: "a tcp listener passes bytes on as they are, whatever they mean")
            }
        }
        return used
    }

    /// What needs to know requests, on connections whose bytes are passed on as they are.
    private static func checkRelay(_ upstream: UpstreamDraft, listener: String) {
        let configuration = upstream.configuration
        let section = upstream.section
        func refuse(_ key: String) {
            section.error(
                section.location(of: key),
                "\(section.title).\(key) has no effect on a tcp listener's connections",
                hint: "listener '\(listener)' passes bytes on as they are")
        }
        if configuration.sticky != nil { refuse("sticky") }
        switch configuration.balance {
        case .hash(.header), .hash(.cookie): refuse("hash")
        case .hash(.client), .roundRobin, .leastRequests, .fastest: break
        }
        let retries = configuration.retries
        let isForRequests =
            !retries.statuses.isEmpty || retries.perTry != nil || retries.overall != nil
            || retries.hedgeAfter != nil
        if isForRequests { refuse("retries") }
    }

    private static func checkHosts(
        _ hosts: [Located<String>], in section: Section, places: inout [String: Location]
    ) {
        for host in hosts {
            if let first = places[host.value] {
                section.error(
                    host.location, "the host '\(host.value)' is served twice",
                    hint: "first at \(first)")
            } else {
                places[host.value] = host.location
            }
        }
    }

    /// A wildcard host says nothing about the name to expect in the upstream's certificate.
    private static func checkName(
        of upstream: UpstreamDraft, for hosts: [Located<String>], in section: Section
    ) {
        guard upstream.followsSiteName,
            let wildcard = hosts.first(where: { $0.value.hasPrefix("*") })
        else { return }
        let name = upstream.name.value
        section.error(
            wildcard.location,
            "the host '\(wildcard.value)' does not say which name upstream '\(name)' must prove",
            hint: "set upstreams.\(name).tls.name")
    }
}
