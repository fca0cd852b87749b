internal import EdgeConfig
internal import EdgeCore
internal import EdgeHTTP
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeRouting
internal import EdgeTLS

/// Makes what workers know of views, hosts and rules from a prepared configuration. Numbers are
/// given out once per key and kept for the process's life: a connection's view, the profile of its
/// handshake and the rules of a request mean the same over reloads, or nothing any more. Control
/// thread.
struct RoutingBuilder {
    /// What a handshake depends on. Policies that ask clients for certificates are the same only if
    /// they believe the same authorities.
    private struct ProfileKey: Hashable {
        let view: String
        let requiresTLS13: Bool
        let authorities: [UInt8]?
        let isRequired: Bool
    }

    private var viewNumbers: [String: UInt16] = [:]
    private var profileNumbers: [ProfileKey: Int32] = [:]
    private var rules = RuleBuilder()
    /// Where sites are counted.
    private(set) var traffic = TrafficRows()
    /// Where policies of `rate_limits` are named, in the order of their plans.
    var limitPlaces: [LimitPlace] { rules.places }

    /// - Parameters:
    ///   - listeners: by their numbers.
    ///   - policies: those that each of them names.
    ///   - pool: the number of an upstream's pool, by its index, for the name that its servers are
    ///     asked for.
    mutating func build(
        _ preparation: Preparation, listeners: [RuntimeSnapshot.Listener],
        policies: [[Int]] = [],
        pool: (_ upstream: Int, _ host: String) -> Int32
    ) -> Routing {
        let configuration = preparation.configuration
        let isDivided = configuration.views != [.only]
        var build = Build(count: configuration.views.count)
        rules.begin(
            subjectFields: (configuration.views.compactMap(\.clientCertificates)
                + configuration.sites.compactMap(\.clientCertificates)).compactMap(\.field),
            policies: configuration.rateLimits.policies)
        traffic.begin()
        build.maps = configuration.views.indices.map { Self.map(of: $0, configuration.sites) }
        for view in configuration.views {
            build.profiles.append(profile(of: view, view.clientCertificates, preparation))
        }
        for (index, site) in configuration.sites.enumerated() {
            add(site, Int32(index), preparation, to: &build, pool)
        }
        let looksAtHellos = isDivided || build.needsHellos
        let views = configuration.views.enumerated().map { index, view in
            (
                number(of: view),
                ClientView(
                    name: view.name, index: index, requiresProxyHeader: view.requiresProxyHeader,
                    trustedProxies: CIDRList(view.trustedProxies),
                    profile: build.profiles[index].number,
                    refusesUnknown: view.unknown == .refuse, looksAtHellos: looksAtHellos,
                    allowed: view.rules.allowed.isEmpty ? nil : CIDRList(view.rules.allowed),
                    denied: CIDRList(view.rules.denied), isLow: view.isLow)
            )
        }
        let router = Router(
            configuration.views.enumerated().map { index, view in
                Router.View(
                    hosts: build.hosts[index], unknown: view.unknown,
                    hostPolicy: build.profiles[index].number)
            })
        return Routing(
            views: views, isDivided: isDivided || configuration.views[0].requiresProxyHeader,
            places: ViewTable(
                configuration.views,
                listeners: listeners.map { listener in
                    listener.views?.compactMap { name in
                        configuration.views.firstIndex { $0.name == name }
                    }
                },
                interfaces: [:]),
            router: router, access: rules.access, profiles: build.byNumber, rules: rules.compiled,
            connections: connectionPlans(configuration, listeners: policies))
    }

    /// What one configuration comes to.
    private struct Build {
        typealias Numbered = (number: Int32, profile: ServerProfile?)

        /// By view.
        var hosts: [[Router.Host]]
        /// By view.
        var maps: [HostMap?] = []
        /// Of the views, in their order.
        var profiles: [Numbered] = []
        var others: [Numbered] = []
        var needsHellos = false

        init(count: Int) { hosts = Array(repeating: [], count: count) }

        var byNumber: [ServerProfile?] {
            let all = profiles + others
            var result = [ServerProfile?](
                repeating: nil, count: Int(all.map(\.number).max() ?? -1) + 1)
            for (number, profile) in all { result[Int(number)] = profile }
            return result
        }
    }

    private mutating func add(
        _ site: SiteConfiguration, _ index: Int32, _ preparation: Preparation,
        to build: inout Build, _ pool: (_ upstream: Int, _ host: String) -> Int32
    ) {
        let views = preparation.configuration.views
        let siteName = site.hosts.first?.pattern ?? ""
        /// By view.
        var rows: [Int: Int32] = [:]
        for name in site.hosts {
            let internalName = site.internalHost ?? name.pattern
            var host = Router.Host(
                pattern: name.pattern, site: index,
                pool: site.upstream.map { pool($0, internalName) } ?? -1)
            host.isPassthrough = site.isPassthrough
            host.protocols = site.protocols
            host.hostPolicy = build.profiles[name.view].number
            if let asked = site.clientCertificates {
                let own = profile(of: views[name.view], asked, preparation)
                host.hostPolicy = own.number
                build.others.append(own)
            }
            if !site.isPassthrough {
                let view = views[name.view]
                let row = rows[name.view] ?? traffic.number(view: view.name, host: name.pattern)
                rows[name.view] = row
                host.traffic = row
                let field = (site.clientCertificates ?? view.clientCertificates)?.field
                host.policy = rules.number(
                    view: view.name, [view.rules, site.rules], site: siteName, prefix: nil,
                    map: build.maps[name.view], subjectField: field)
                host.paths = site.paths.map { path in
                    Router.Path(
                        prefix: path.prefix,
                        pool: path.upstream.map { pool($0, internalName) } ?? host.pool,
                        policy: rules.number(
                            view: view.name, [view.rules, site.rules, path.rules],
                            site: siteName, prefix: path.prefix, map: build.maps[name.view],
                            subjectField: field))
                }
            }
            if site.isPassthrough || site.clientCertificates != nil { build.needsHellos = true }
            build.hosts[name.view].append(host)
        }
    }

    // MARK: - Connections

    /// Plans of connections: those of the view and the listener that they arrive at, and of the
    /// site that their ClientHello is for.
    ///
    /// - Parameter listeners: the policies that each names, by number.
    private mutating func connectionPlans(
        _ configuration: Configuration, listeners: [[Int]]
    ) -> ConnectionPlans {
        let policies = configuration.rateLimits.policies
        guard !policies.isEmpty else { return ConnectionPlans() }
        var arrivals: [[Int32]] = []
        var sites: [[ConnectionPlans.Site]] = []
        var named: Set<Int> = []
        for (index, view) in configuration.views.enumerated() {
            let number = Int(self.number(of: view))
            while arrivals.count <= number { arrivals.append([]) }
            arrivals[number] = listeners.map {
                rules.connectionPlan(view.rules.rateLimits + $0, view: view.name)
            }
            named.formUnion(view.rules.rateLimits)
            sites.append(
                configuration.sites.map { site in
                    guard site.hosts.contains(where: { $0.view == index }) else {
                        return ConnectionPlans.Site()
                    }
                    let own = site.rules.rateLimits.filter {
                        !view.rules.rateLimits.contains($0)
                            && (site.isPassthrough || policies[$0].limitsConnections)
                    }
                    named.formUnion(own)
                    let name = site.hosts.first?.pattern ?? ""
                    return ConnectionPlans.Site(
                        own: rules.connectionPlan(own, view: view.name, site: name),
                        all: own.isEmpty
                            ? -1
                            : rules.connectionPlan(
                                view.rules.rateLimits + own, view: view.name, site: name))
                })
        }
        let hasSites = sites.contains { $0.contains { $0.own >= 0 } }
        return ConnectionPlans(
            arrivals: arrivals, sites: hasSites ? sites : [],
            judgesHellos: hasSites || named.contains { policies[$0].limitsHandshakes })
    }

    /// What a view's clients call sites whose servers know another name; nil if there is none.
    private static func map(of view: Int, _ sites: [SiteConfiguration]) -> HostMap? {
        var pairs: [(external: String, internal: String)] = []
        var differs = false
        for site in sites {
            for host in site.hosts where host.view == view && host.pattern != "*" {
                let internalName = site.internalHost ?? host.pattern
                if internalName != host.pattern { differs = true }
                pairs.append((host.pattern, internalName))
            }
        }
        return differs ? HostMap(pairs) : nil
    }

    // MARK: - Numbers

    private mutating func number(of view: ViewConfiguration) -> UInt16 {
        if let known = viewNumbers[view.name] { return known }
        // Views are few, and their names are the operator's.
        let number = UInt16(clamping: viewNumbers.count)
        viewNumbers[view.name] = number
        return number
    }

    private mutating func profile(
        of view: ViewConfiguration, _ asked: ClientCertificateConfiguration?,
        _ preparation: Preparation
    ) -> Build.Numbered {
        let trust = asked.map { preparation.files.trust($0) }
        let key = ProfileKey(
            view: view.name, requiresTLS13: view.requiresTLS13,
            authorities: trust?.digest, isRequired: asked?.isRequired ?? false)
        let number = profileNumbers[key] ?? Int32(profileNumbers.count)
        profileNumbers[key] = number
        var fallback = preparation.configuration.certificates?.fallback
        switch view.unknown {
        case .refuse: fallback = nil
        case .host(let name): fallback = name
        case .notFound: break
        }
        // By what they say, not by this process's numbers: other nodes open the same tickets.
        let policy = trust.map { "\(asked?.isRequired == true) \($0.digest)" }
        var context: SessionContext?
        if !view.name.isEmpty || policy != nil {
            do throws(TLSFailure) {
                context = try SessionContext(view: view.name, clientCertificates: policy)
            } catch {
                // Rather no handshake than another view's session.
                Log.error("view '\(view.name)' is not served: \(error)")
                return (number, nil)
            }
        }
        return (
            number,
            ServerProfile(
                certificates: preparation.viewCertificates[view.name], fallback: fallback,
                context: context, requiresTLS13: view.requiresTLS13,
                clients: trust.map {
                    ClientAuthority(trust: $0, isRequired: asked?.isRequired ?? true)
                })
        )
    }
}
