import EdgeCore
import EdgeRouting
import EdgeUpstream

extension Configuration {
    /// Checks the files of `bundle` and builds the configuration they describe, with every default
    /// filled in. Pure: looks at nothing but the bundle, so all processes get the same result.
    ///
    /// - Returns: the configuration, and what is worth knowing although it was accepted, in the
    ///   order of the files.
    /// - Throws: what is wrong, all of it that one pass can find.
    package static func load(
        _ bundle: ConfigurationBundle
    ) throws(ConfigError) -> (Configuration, warnings: [Diagnostic]) {
        let (configuration, pass) = try decode(bundle, schema: .current)
        return (configuration, pass.diagnostics.sortedWarnings())
    }

    /// Reads the file at `path` and those it includes, and checks them: as `load(_:)` of what
    /// `ConfigurationBundle.read(path:)` returns, with the main file parsed once.
    ///
    /// - Parameters:
    ///   - node: what this machine is called; nil: not known.
    ///   - known: what was read before; files of the same bytes are not parsed again.
    package static func read(
        path: String, node: String? = nil, known: ReadConfiguration? = nil
    ) throws(ConfigError) -> ReadConfiguration {
        let (bundle, includes, document) = try ConfigurationBundle.readParsing(
            path: path, node: node, known: known)
        if let known, known.bundle == bundle { return known }
        let (configuration, pass) = try decode(bundle, main: document, schema: .current)
        return ReadConfiguration(
            bundle: bundle, includes: includes, configuration: configuration,
            warnings: pass.diagnostics.sortedWarnings())
    }

    /// - Parameter main: the main file's document, if it is known.
    static func decode(
        _ bundle: ConfigurationBundle, main: Document? = nil, schema: Schema
    ) throws(ConfigError) -> (Configuration, DecodingPass) {
        let diagnostics = DiagnosticCollector(files: bundle.files.map(\.path))
        let pass = DecodingPass(
            schema: schema, diagnostics: diagnostics, folder: bundle.main.folder,
            node: bundle.node)
        var documents = main.map { [$0] } ?? []
        for file in bundle.files.dropFirst(documents.count) {
            do throws(ConfigError) {
                documents.append(try Document(path: file.path, bytes: file.bytes))
            } catch {
                diagnostics.add(error)
            }
        }
        // With a file missing, what refers to its contents would be reported as undefined.
        if let error = diagnostics.makeError() { throw error }

        let roots = documents.enumerated().compactMap { index, document in
            Section(
                document.root, title: "", keys: pass.keys(of: ""), pass: pass,
                isFragment: index > 0)
        }
        var configuration: Configuration?
        if let main = roots.first, roots.count == documents.count {
            configuration = Assembly(main: main, roots: roots).configuration()
        }
        if let error = diagnostics.makeError() { throw error }
        guard let configuration else {
            throw ConfigError(.start(of: bundle.main.path), "the configuration is not complete")
        }
        return (configuration, pass)
    }
}

/// A configuration with the bytes it was made from.
package struct ReadConfiguration: Sendable {
    package let bundle: ConfigurationBundle
    /// The entries of the main file's `include:`.
    let includes: [Located<String>]
    package let configuration: Configuration
    package let warnings: [Diagnostic]

    /// The same bytes with less kept of what they say.
    package func replacing(_ configuration: Configuration) -> ReadConfiguration {
        ReadConfiguration(
            bundle: bundle, includes: includes, configuration: configuration, warnings: warnings)
    }
}

/// The sections of all files on their way to one configuration, and the rules that hold between
/// them.
struct Assembly {
    let main: Section
    /// The main file's section and those of the included files.
    let roots: [Section]

    func configuration() -> Configuration {
        _ = main.integer("version")
        _ = main.texts("include")
        main.requireKey("version")
        if !roots.contains(where: { $0.has("listeners") }) { main.requireKey("listeners") }
        let admin = Configuration.Admin.decode(main.section("admin"))
        let diagnostics = main.pass.diagnostics
        let before = diagnostics.errorCount
        let certificates = Configuration.Certificates.decode(main.section("certificates"))
        let policies = main.pass.rateLimits
        policies.decode(main)
        let views = ViewList(main)
        let listeners = Configuration.Listener.decode(roots, views: views)
        let afterListeners = diagnostics.errorCount
        let upstreams = UpstreamConfiguration.decode(roots)
        // A bad value inside does not matter: the names are all that sites refer to.
        let names = UpstreamNames(
            upstreams, isReadable: !upstreams.isEmpty || diagnostics.errorCount == afterListeners)
        let sites = sites(listeners: listeners, views: views, upstreams: names)
        let resolvers = Configuration.Resolver.decode(roots)
        let timeouts = main.sectionOrDefaults("timeouts")
        let limits = main.sectionOrDefaults("limits")
        let bounds = Configuration.Limits.decode(limits)
        let tls = Configuration.TLS.decode(main.sectionOrDefaults("tls"))
        checkTLS(views, lowest: tls.minimumVersion)
        if afterListeners == before {
            checkServing(listeners: listeners, certificates: certificates, sites)
        }
        checkAdmin(admin, listeners: listeners)
        let requests = Configuration.Requests.decode(main, limits: limits, timeouts: timeouts)
        if diagnostics.errorCount == before {
            policies.reportUnused()
            policies.checkClients(
                views, listeners: listeners.map(\.value), sites: sites.sites,
                trusted: requests.trusted, in: main)
            policies.checkCounts(
                views, listeners: listeners.map(\.value), sites: sites.sites, in: main)
            policies.checkHandshakes(
                views, listeners: listeners.map(\.value), sites: sites.sites, in: main)
        }
        checkResolvers(resolvers, upstreams: upstreams, views: views, sites: sites.sites)
        let nodes = NodeList(main)
        let failover = failover(nodes)
        let pair = pair(nodes, listeners: listeners, admin: admin)
        let state = main.path("state")
        checkState(state, upstreams: upstreams)
        return Configuration(
            runAs: runAs(), workers: main.integer("workers"),
            listeners: listeners.map(\.value),
            certificates: certificates?.value, tls: tls, views: views.configurations,
            sites: sites.sites,
            upstreams: upstreams.map(\.configuration), resolvers: resolvers.map(\.value),
            timeouts: .decode(timeouts), limits: bounds,
            requests: requests,
            http2: .decode(main.sectionOrDefaults("http2"), limits: bounds),
            admin: admin.value, process: .decode(timeouts),
            accessLog: .decode(main.section("access_log")),
            stateDirectory: state?.value, dns: .decode(main.sectionOrDefaults("dns")),
            node: nodes.own?.node, nodes: nodes.drafts.map(\.node), failover: failover,
            pair: pair, rateLimits: rateLimits(limits))
    }

    private func failover(_ nodes: NodeList) -> Configuration.Failover? {
        guard let draft = FailoverDraft(main) else { return nil }
        draft.check(nodes, in: main)
        return draft.configuration(nodes, in: main)
    }

    /// Sites, with the checks for which all of them have to be known.
    private func sites(
        listeners: [Located<Configuration.Listener>], views: ViewList, upstreams: UpstreamNames
    ) -> SiteDecoder {
        let diagnostics = main.pass.diagnostics
        let before = diagnostics.errorCount
        checkUpstreams(of: listeners, upstreams)
        let sites = SiteDecoder(
            roots, listeners: listeners, views: views, upstreams: upstreams)
        // A site that could not be read might be the one that uses it, or has the host.
        guard diagnostics.errorCount == before else { return sites }
        upstreams.reportUnused()
        checkUnknown(views, hosts: sites.hosts)
        checkLoops(views, sites)
        checkViews(views, listeners: listeners, hosts: sites.hosts)
        return sites
    }

    private func rateLimits(_ limits: Section) -> Configuration.RateLimits {
        var all = Configuration.RateLimits()
        all.policies = main.pass.rateLimits.drafts.map(\.policy)
        all.trackedClients = limits.integer("tracked_clients") ?? all.trackedClients
        return all
    }

    private func runAs() -> Configuration.RunAs? {
        let user = main.text("user")
        let group = main.text("group")
        if let group, user == nil, !main.has("user") {
            main.error(group.location, "'group' has no effect without 'user'", hint: "set 'user'")
        }
        return user.map { Configuration.RunAs(user: $0.value, group: group?.value) }
    }
}
