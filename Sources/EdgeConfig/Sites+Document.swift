import EdgeRouting

/// Reads the sites of all files, and what they need of views and upstreams. Checks that no host is
/// served twice in a view and that every upstream exists; which are used is known in the end.
struct SiteDecoder {
    let views: ViewList
    let upstreams: UpstreamNames
    private(set) var hosts: HostTable
    private(set) var sites: [SiteConfiguration] = []
    /// The first of each, for those rules that need a tls listener.
    private(set) var firstPassthrough: Located<String>?
    private(set) var firstClientCertificates: Located<String>?

    init(_ roots: [Section], views: ViewList, upstreams: UpstreamNames) {
        self.views = views
        self.upstreams = upstreams
        let count = roots.reduce(0) { $0 + $1.itemCount("sites") }
        hosts = HostTable(views, countMax: count)
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
        guard let upstream = section.text("upstream") else {
            if !section.has("upstream") {
                section.error(section.location, "\(section.title) has no 'upstream'")
            }
            return nil
        }
        let index = upstreams.use(upstream, by: "\(section.title).upstream", in: section)
        guard let index else { return nil }
        checkName(of: upstreams.drafts[index], names, internalHost, in: section)
        var site = SiteConfiguration(hosts: names.hosts, destination: .upstream(index))
        site.internalHost = internalHost
        site.upgrades = section.texts("upgrade").map(\.value)
        site.clientCertificates = .decode(section.section("client_certificates"))
        if site.clientCertificates != nil, firstClientCertificates == nil {
            firstClientCertificates = Located(
                value: section.title, location: section.location(of: "client_certificates"))
        }
        return site
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
        let service = passthrough ? HostTable.Service.passthrough : .terminated
        let asked = passthrough ? protocols : []
        if named.isEmpty {
            for name in names.names {
                hosts.insert(
                    name, views: 0..<views.count, service, protocols: asked, in: section)
            }
        }
        for (view, place, range) in named {
            hosts.noteNamed(view, at: place)
            for name in names.names[range] {
                hosts.insert(
                    name, views: view..<view + 1, service, protocols: asked, in: section)
            }
        }
    }

    // MARK: - Connections that are passed through

    /// What nobody can say about requests that are not seen.
    private static let requestKeys = ["internal", "upgrade", "client_certificates"]

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
        return site
    }

    /// A wildcard host says nothing about the name to expect in the upstream's certificate.
    private func checkName(
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
