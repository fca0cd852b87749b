import EdgeRouting

/// Reads the sites of all files, and what they need of views and upstreams. Checks that no host is
/// served twice in a view and that every upstream exists; which are used is known in the end.
struct SiteDecoder {
    let views: ViewList
    let upstreams: UpstreamNames
    let listeners: [Configuration.Listener]
    private(set) var hosts: ServedHosts
    private(set) var sites: [SiteConfiguration] = []
    /// The first of each, for those rules that need a tls listener.
    private(set) var firstPassthrough: Located<String>?
    private(set) var firstClientCertificates: Located<String>?

    init(
        _ roots: [Section], listeners: [Located<Configuration.Listener>], views: ViewList,
        upstreams: UpstreamNames
    ) {
        self.listeners = listeners.map(\.value)
        self.views = views
        self.upstreams = upstreams
        let count = roots.reduce(0) { $0 + $1.itemCount("sites") }
        hosts = ServedHosts(views, countMax: count)
        sites.reserveCapacity(count)
        for root in roots {
            root.forEachSection("sites") { section in
                if let site = decode(section) { sites.append(site) }
            }
        }
    }

    /// - Returns: nil, after a report, if nobody can tell where its requests go.
    private mutating func decode(_ section: Section) -> SiteConfiguration? {
        let (names, named) = SiteHosts.decode(section, views: views)
        let passthrough = section.text("passthrough")
        let protocols = protocols(section)
        insert(names, named, passthrough: passthrough != nil, protocols, in: section)
        if section.has("passthrough") {
            return decode(passthrough: passthrough, names, protocols, section)
        }
        if let first = protocols.first {
            section.error(
                first.location, "'alpn' needs 'passthrough'",
                hint: "where TLS ends here, ALPN chooses between HTTP/1.1 and HTTP/2")
        }
        let internalHost = names.internalHost(section)
        let rules = RuleConfiguration.decode(section)
        let paths =
            section.has("paths")
            ? paths(
                of: PathOwner(
                    section: section, names: names, internalHost: internalHost, rules: rules,
                    hasUpstream: section.has("upstream"))) : []
        let destination = destination(
            section, names, internalHost, isAnswered: rules.answersAll, paths: paths)
        guard let destination else { return nil }
        if rules.redirect != nil, section.has("upstream") {
            section.error(
                section.location(of: "upstream"),
                "\(section.title).upstream has no effect with 'redirect'",
                hint: "every request is answered with it; 'paths' can have one of their own")
        }
        var site = SiteConfiguration(hosts: names.hosts, destination: destination)
        site.internalHost = internalHost
        site.rules = rules
        site.paths = paths
        checkLoop(site, names, in: section)
        site.upgrades = section.texts("upgrade").map(\.value)
        site.clientCertificates = .decode(section.section("client_certificates"))
        if site.clientCertificates != nil, firstClientCertificates == nil {
            firstClientCertificates = Located(
                value: section.title, location: section.location(of: "client_certificates"))
        }
        return site
    }

    /// Where requests go that no path sends elsewhere; nil, after a report, if nobody can tell.
    private func destination(
        _ section: Section, _ names: SiteHosts, _ internalHost: String?, isAnswered: Bool,
        paths: [PathConfiguration]
    ) -> SiteConfiguration.Destination? {
        if let upstream = section.text("upstream") {
            let index = upstreams.use(upstream, by: "\(section.title).upstream", in: section)
            guard let index else { return nil }
            checkName(of: upstreams.drafts[index], names, internalHost, in: section)
            return .upstream(index)
        }
        // A redirect that has been reported would have answered.
        guard !section.has("upstream"), !section.has("redirect") || isAnswered else { return nil }
        if isAnswered || paths.contains(where: { $0.prefix == "/" }) {
            return SiteConfiguration.Destination.none
        }
        section.error(
            section.location, "\(section.title) has no 'upstream'",
            hint: section.has("paths")
                ? "nobody answers what none of its 'paths' fits"
                : "where do its requests go? 'redirect' and 'passthrough' say so, too")
        return nil
    }

    /// Each once.
    private func protocols(_ section: Section) -> [Located<String>] {
        guard section.has("alpn") else { return [] }
        var places: [String: Location] = [:]
        return section.texts("alpn").filter { name in
            if let first = places[name.value] {
                section.error(
                    name.location, "\(section.title).alpn has '\(name.value)' twice",
                    hint: "first at \(first)")
                return false
            }
            places[name.value] = name.location
            return true
        }
    }

    private mutating func insert(
        _ names: SiteHosts, _ named: [(view: Int, place: Location, names: Range<Int>)],
        passthrough: Bool, _ protocols: [Located<String>], in section: Section
    ) {
        let service = passthrough ? ServedHosts.Service.passthrough : .terminated
        let protocols = passthrough ? protocols : []
        func insert(_ range: Range<Int>, views: Range<Int>) {
            for name in names.names[range] {
                if protocols.isEmpty { hosts.insert(name, views: views, service, in: section) }
                for one in protocols {
                    hosts.insert(name, views: views, protocol: one.value, in: section)
                }
            }
        }
        if named.isEmpty { insert(names.names.indices, views: 0..<views.count) }
        for (view, place, range) in named {
            hosts.noteNamed(view, at: place)
            insert(range, views: view..<view + 1)
        }
    }

    // MARK: - Connections that are passed through

    /// What nobody can say about requests that are not seen.
    private static let requestKeys =
        ["internal", "upgrade", "client_certificates", "paths"]
        + Schema.ruleKeys.filter { $0.parent == Schema.rules }.map(\.name)

    private mutating func decode(
        passthrough: Located<String>?, _ names: SiteHosts, _ protocols: [Located<String>],
        _ section: Section
    ) -> SiteConfiguration? {
        if section.has("upstream") {
            section.error(
                section.location(of: "upstream"),
                "\(section.title) has 'upstream' and 'passthrough'",
                hint: "one of them: TLS ends here, or at the servers")
        }
        for key in Self.requestKeys where section.has(key) {
            section.error(
                section.location(of: key),
                "\(section.title).\(key) has no effect with 'passthrough'",
                hint: "requests are not seen: TLS is between the client and the server")
        }
        guard let passthrough else { return nil }
        if firstPassthrough == nil {
            firstPassthrough = Located(value: section.title, location: passthrough.location)
        }
        let index = upstreams.use(passthrough, by: "\(section.title).passthrough", in: section)
        guard let index else { return nil }
        upstreams.checkRelay(
            index, by: section.title, of: "a passthrough site", at: passthrough.location,
            in: section)
        var site = SiteConfiguration(hosts: names.hosts, destination: .passthrough(index))
        site.protocols = protocols.map(\.value)
        site.rules.rateLimits = section.pass.rateLimits.use(in: section)
        section.pass.rateLimits.checkEffect(
            section, site.rules.rateLimits, isPath: false, isPassthrough: true)
        return site
    }

    /// A wildcard host says nothing about the name to expect in the upstream's certificate.
    func checkName(
        of upstream: UpstreamDraft, _ names: SiteHosts, _ internalHost: String?,
        in section: Section
    ) {
        guard upstream.followsSiteName else { return }
        let name = upstream.name.value
        if let internalHost, !internalHost.hasPrefix("*") { return }
        guard let wildcard = names.names.first(where: { $0.value.hasPrefix("*") }) else { return }
        section.error(
            wildcard.location,
            "the host '\(wildcard.value)' does not say which name upstream '\(name)' must prove",
            hint: "set upstreams.\(name).tls.name")
    }
}
