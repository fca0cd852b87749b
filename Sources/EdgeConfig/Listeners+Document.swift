import EdgeCore
import EdgeRouting

extension SocketAddress {
    /// The unspecified address of its family; `::` stands for IPv4 too.

    /// Whether binding both would make two listeners compete for the same clients. A wildcard
    /// beside one particular address does not: the kernel prefers the particular one.
    fileprivate func competes(with other: SocketAddress) -> Bool {
        self == other || (port == other.port && isUnspecified && other.isUnspecified)
    }

    /// Whether a client of `other` might reach this one instead.
    func overlaps(_ other: SocketAddress) -> Bool {
        guard port == other.port else { return false }
        return self == other || (isUnspecified && (!isIPv4 || other.isIPv4))
    }
}

extension Configuration.Listener {
    /// Each has a socket per worker and address.
    private static let countMax = 64
    private static let addressesMax = 16

    /// Every listener of all files, each with the place where it begins.
    static func decode(
        _ roots: [Section], views: ViewList
    ) -> [Located<Configuration.Listener>] {
        let sections = roots.flatMap { $0.sections("listeners") }
        if sections.count > countMax {
            let first = sections[countMax]
            first.error(first.location, "more than \(countMax) listeners")
        }
        let drafts = sections.prefix(countMax).map(Draft.init)
        let names = Self.names(of: drafts)
        Self.checkAddresses(of: drafts)
        return drafts.map { draft in
            let listener = Configuration.Listener(
                name: draft.name?.value ?? "", addresses: draft.addresses.map(\.value),
                kind: draft.kind ?? .tls, redirectPort: draft.redirectPort(among: names),
                upstream: draft.upstream?.value, views: draft.viewIndexes(in: views),
                challengeUpstream: draft.challengeUpstream?.value,
                rateLimits: draft.rateLimits())
            draft.notePlaces()
            draft.checkUpstream()
            draft.checkChallenges()
            return Located(value: listener, location: draft.section.location)
        }
    }

    /// A listener whose redirect is still a name.
    private struct Draft {
        let section: Section
        let name: Located<String>?
        let addresses: [Located<SocketAddress>]
        let port: UInt16?
        let kind: Configuration.Listener.Kind?
        let redirect: Located<String>?
        let upstream: Located<String>?
        let challengeUpstream: Located<String>?
        let views: [Located<String>]

        init(_ section: Section) {
            self.section = section
            name = section.text("name")
            let port = section.integer("port").flatMap(UInt16.init(exactly:))
            self.port = port
            kind = section.choice("protocol", as: Configuration.Listener.Kind.self)
            redirect = section.text("redirect")
            upstream = section.text("upstream")
            challengeUpstream = section.text("acme")
            views = section.texts("views")
            let written = section.texts("address", as: .address, parse: TextValue.address)
            if written.count > addressesMax {
                section.error(
                    written[addressesMax].location,
                    "\(section.title) has more than \(addressesMax) addresses")
            }
            let location = section.location(of: "port")
            let dualStack = SocketAddress(ipv6High: 0, low: 0, port: 0)
            let chosen =
                section.has("address") ? written : [Located(value: dualStack, location: location)]
            addresses = chosen.prefix(addressesMax).map {
                Located(value: $0.value.with(port: port ?? 0), location: $0.location)
            }
        }

        func notePlaces() {
            let title = name?.value ?? ""
            section.pass.listenerPlaces[title + ".upstream"] = upstream?.location
            section.pass.listenerPlaces[title + ".acme"] = challengeUpstream?.location
        }

        func checkUpstream() {
            if kind == .tcp, upstream == nil, !section.has("upstream") {
                section.error(
                    section.location, "\(section.title): a tcp listener needs an 'upstream'",
                    hint: "it passes all bytes on to one")
            }
            guard let upstream, kind != .tcp, kind != nil else { return }
            section.error(
                upstream.location, "'upstream' needs 'protocol: tcp'",
                hint: "for the others 'sites' say which upstream serves a host")
        }

        func rateLimits() -> [Int] {
            let policies = section.pass.rateLimits
            let indexes = policies.use(in: section)
            guard kind != .tcp, kind != nil, section.has("rate_limits") else {
                policies.checkListener(section, indexes)
                return indexes
            }
            section.error(
                section.location(of: "rate_limits"),
                "\(section.title).rate_limits needs 'protocol: tcp'",
                hint: "for the others views, sites and paths name policies")
            return []
        }

        func checkChallenges() {
            guard let challengeUpstream, !section.has("redirect") else { return }
            section.error(
                challengeUpstream.location, "'acme' needs 'redirect'",
                hint: kind == .http
                    ? "sites are served here, and their 'paths' can do the same"
                    : "it is for http listeners that redirect all else")
        }

        func viewIndexes(in list: ViewList) -> [Int] {
            var indexes: [Int] = []
            for view in views {
                guard let index = list.index(of: view, key: "views", in: section) else { continue }
                if indexes.contains(index) {
                    section.error(
                        view.location, "\(section.title).views has '\(view.value)' twice")
                    continue
                }
                indexes.append(index)
            }
            return indexes
        }

        func redirectPort(among names: [String: Draft]) -> UInt16? {
            guard let redirect else { return nil }
            if let kind, kind != .http {
                section.error(
                    redirect.location, "'redirect' needs 'protocol: http'",
                    hint: "\(section.title) is a \(kind.rawValue) listener")
            }
            guard let target = names[redirect.value] else {
                let tls = names.filter { $0.value.kind == .tls }.keys.sorted()
                section.error(
                    redirect.location,
                    "\(section.title).redirect: no listener is called \(quoted(redirect.value))",
                    hint: Suggestion.defined(
                        for: redirect.value, among: tls, kind: "tls listener"))
                return nil
            }
            if kind == .http, let other = target.kind, other != .tls {
                section.error(
                    redirect.location,
                    "\(section.title).redirect: '\(redirect.value)' is not a tls listener",
                    hint: "see \(target.section.location)")
            }
            return target.port
        }
    }

    private static func names(of drafts: [Draft]) -> [String: Draft] {
        var names: [String: Draft] = [:]
        for draft in drafts {
            guard let name = draft.name else { continue }
            if let first = names[name.value]?.name {
                draft.section.error(
                    name.location, "a second listener is called '\(name.value)'",
                    hint: "first at \(first.location)")
            } else {
                names[name.value] = draft
            }
        }
        return names
    }

    private static func checkAddresses(of drafts: [Draft]) {
        var byPort: [UInt16: [(address: Located<SocketAddress>, draft: Draft)]] = [:]
        for draft in drafts {
            guard let port = draft.port else { continue }
            for address in draft.addresses {
                let first = byPort[port, default: []].first {
                    $0.address.value.competes(with: address.value)
                }
                byPort[port, default: []].append((address, draft))
                guard let first else { continue }
                if first.address.value == address.value {
                    draft.section.error(
                        address.location, "\(address.value) is listened on twice",
                        hint: "first at \(first.address.location)")
                } else {
                    draft.section.error(
                        address.location,
                        "\(address.value) competes with \(first.address.value)",
                        hint: "'::' alone serves IPv4 too; first at \(first.address.location)")
                }
            }
        }
    }
}

extension Assembly {
    /// The upstreams that listeners use themselves.
    func checkUpstreams(
        of listeners: [Located<Configuration.Listener>], _ upstreams: UpstreamNames
    ) {
        for listener in listeners {
            let title = "listener '\(listener.value.name)'"
            if let name = listener.value.upstream {
                let place =
                    main.pass.listenerPlaces["\(listener.value.name).upstream"]
                    ?? listener.location
                let written = Located(value: name, location: place)
                if let index = upstreams.use(written, by: title, in: main) {
                    upstreams.checkRelay(
                        index, by: title, of: "a tcp listener", at: place, in: main)
                }
            }
            if let name = listener.value.challengeUpstream {
                let place =
                    main.pass.listenerPlaces["\(listener.value.name).acme"] ?? listener.location
                let written = Located(value: name, location: place)
                guard let index = upstreams.use(written, by: title + ": acme", in: main),
                    upstreams.drafts[index].followsSiteName
                else { continue }
                main.error(
                    place,
                    "\(title): nothing says which name upstream '\(name)' must prove",
                    hint: "set upstreams.\(name).tls.name")
            }
        }
    }

    /// What listeners, certificates and sites need of each other.
    func checkServing(
        listeners: [Located<Configuration.Listener>],
        certificates: Located<Configuration.Certificates>?, _ decoder: SiteDecoder
    ) {
        let sites = decoder.sites
        let encrypted = listeners.first { $0.value.kind == .tls }
        let endsTLS = sites.isEmpty || sites.contains { !$0.isPassthrough }
        if encrypted == nil, !listeners.isEmpty {
            if let site = decoder.firstPassthrough {
                main.error(
                    site.location, "\(site.value): 'passthrough' needs a tls listener",
                    hint: "'protocol: tcp' passes on what is not TLS")
            }
            if let owner = decoder.firstClientCertificates {
                main.error(
                    owner.location,
                    "\(owner.value).client_certificates has no effect without a tls listener",
                    hint: "give a listener 'protocol: tls'")
            }
        }
        if let encrypted, certificates == nil, endsTLS {
            main.error(
                encrypted.location,
                "the tls listener '\(encrypted.value.name)' has no certificates",
                hint: "add 'certificates: { directory: … }'")
        }
        if let certificates, encrypted == nil {
            main.error(
                certificates.location, "'certificates' has no effect without a tls listener",
                hint: "give a listener 'protocol: tls'")
        }
        let listening = roots.first { $0.has("listeners") }
        let written = roots.first { $0.has("sites") }
        if let listening, listeners.isEmpty {
            let what = written == nil ? "nothing is served" : "the sites are unreachable"
            listening.error(
                listening.location(of: "listeners"), "there is no listener: \(what)",
                hint: "name, port and protocol of at least one")
        }
        if sites.isEmpty, listeners.contains(where: { $0.value.kind != .tcp }) {
            let place = written?.location(of: "sites") ?? main.location(of: "listeners")
            main.warning(
                place, "no sites: no request will find an upstream",
                hint: "add 'sites' and 'upstreams'")
        }
    }
}
