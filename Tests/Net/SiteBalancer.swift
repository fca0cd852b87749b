internal import EdgeCore
package import EdgeTesting
internal import Foundation

/// `edged` as it is deployed, on one of the site's nodes: guardian with all rights, the proxy as
/// `nobody`, its state in a folder that outlives it. Listens on 443 (TLS) and 6443 (tcp).
package final class SiteBalancer {
    package let node: Int
    package let directory: TemporaryDirectory
    private let site: ReferenceSite
    private let programs: String
    private let options: Options
    private let host: VirtualHost
    /// What is in the folder of certificates, by name.
    private(set) package var minted: [String: MintedCertificate] = [:]
    private(set) package var process: RunningProcess?

    package struct Options: Sendable {
        package var workers = 2
        /// Keys of `upstreams.*` in flow style without braces, such as `balance: fastest`.
        package var ingress = ""
        package var apiservers = ""
        package var dashboards = ""
        /// Entries of the ingress' `servers:`; nil: both nodes by name.
        package var ingressServers: String?
        /// Whether addresses are kept over a restart.
        package var keepsState = true
        /// Whether a stand-in for systemd runs it, which keeps its sockets over a restart.
        package var isManaged = false
        /// Further lines at the top level.
        package var more = ""
        /// All of it, instead of what is made from the site's parts.
        package var configuration: String?
        /// Certificate files and the names in them; `VIEW/name` is in a view's folder.
        package var certificates = ["home": ["*.\(ReferenceSite.domain)"]]
        /// Further files beside the configuration, with their text.
        package var files: [String: String] = [:]
        /// As `files`, for root alone to read.
        package var secrets: [String: String] = [:]
        /// Which of the configuration's nodes it is; nil: as the machine is called.
        package var nodeName: String?

        package init() {}
    }

    /// Starts it; returns when it serves.
    ///
    /// - Parameters:
    ///   - host: where it runs instead of the node.
    ///   - programs: the folder of `edged` and `edgectl`.
    package init(
        _ site: ReferenceSite, node: Int = 0, on host: VirtualHost? = nil, programs: String,
        _ options: Options = .init()
    ) throws {
        self.site = site
        self.node = node
        self.host = host ?? site.nodes[node]
        self.programs = programs
        self.options = options
        directory = try TemporaryDirectory("site-lb", othersMayEnter: true)
        let certificates = try directory.makeDirectory("certs", mode: 0o750)
        try hand(certificates)
        for (name, names) in options.certificates {
            let leaf = try site.mint.leaf(names: names)
            if let slash = name.firstIndex(of: "/") {
                try hand(directory.makeDirectory("certs/" + name[..<slash], mode: 0o750))
            }
            try hand(leaf.writeBundle(name, in: certificates, mode: 0o640))
            minted[name] = leaf
        }
        try directory.write("ca.pem", site.mint.rootPEM)
        for (name, text) in options.files { try directory.write(name, text) }
        for (name, text) in options.secrets {
            let path = try directory.write(name, text)
            guard chmod(path, 0o600) == 0 else { throw KitError.system("chmod \(path)") }
        }
        let state = try directory.makeDirectory("state", mode: 0o700)
        guard let user = getpwnam("nobody"), chown(state, user.pointee.pw_uid, 0) == 0 else {
            throw KitError.system("chown \(state)")
        }
        try directory.write("edged.yaml", options.configuration ?? configuration)
        try start()
    }

    deinit { kill() }

    /// For the proxy's group, and for nobody else.
    private func hand(_ path: String) throws {
        guard let group = getgrnam("nogroup"), chown(path, 0, group.pointee.gr_gid) == 0 else {
            throw KitError.system("chown \(path)")
        }
    }

    // MARK: Life

    /// Starts the daemon.
    ///
    /// - Parameter waits: false returns at once.
    package func start(waits: Bool = true) throws {
        var line = [programs + "/edged", "-c", directory.file("edged.yaml")]
        if let node = options.nodeName { line += ["--node", node] }
        if options.isManaged { line = try StandInManager.wrapper(in: directory) + line }
        let made = try host.run(line[0], Array(line.dropFirst()))
        process = made
        guard waits else { return }
        try made.waitForLine(containing: "serving, proxy", within: .seconds(10))
    }

    /// As `systemctl stop` does it: requests under way are finished.
    package func stop() throws {
        guard let process else { return }
        process.signal(SIGTERM)
        guard process.waitForExit(within: .seconds(20)) != nil else {
            throw KitError("edged does not end: \(log)")
        }
        process.stop()
        self.process = nil
    }

    /// As `systemctl restart` does it; returns when the new one serves. Needs `isManaged`.
    package func restart() throws {
        guard let process else { return }
        let mark = process.mark
        process.signal(SIGHUP)
        try process.waitForLine(containing: "serving, proxy", within: .seconds(20), after: mark)
    }

    /// At once. Harmless when called again.
    package func kill() {
        guard let process else { return }
        process.signal(SIGINT)
        _ = process.waitForExit(within: .seconds(3))
        process.stop()
        self.process = nil
    }

    package var log: String { process?.standardError ?? "" }

    /// Runs edgectl against it.
    ///
    /// - Throws: `KitError` when it ends with another code than 0.
    @discardableResult
    package func edgectl(_ words: String...) throws -> String {
        let (exit, output, errors) = try RunningProcess.run(
            programs + "/edgectl", ["--socket", directory.file("admin.sock")] + words,
            within: .seconds(20))
        guard exit == .code(0) else {
            throw KitError("edgectl \(words.joined(separator: " ")): \(exit) \(errors)\(output)")
        }
        return output
    }

    // MARK: Configuration

    /// `EDGED_SITE_BARE=1`: without the keys that releases before health checks do not know, to
    /// compare with those.
    private var isBare: Bool { ProcessInfo.processInfo.environment["EDGED_SITE_BARE"] != nil }

    private var configuration: String {
        var lines = ["version: 1", "user: nobody", "workers: \(options.workers)"]
        if options.keepsState, !isBare { lines.append("state: state") }
        lines += ["listeners:", "  - { name: https, port: 443, protocol: tls }"]
        if !site.apiservers.isEmpty {
            lines.append("  - { name: kube, port: 6443, protocol: tcp, upstream: kube-apiserver }")
        }
        lines += [
            "certificates: { directory: certs, default: grafana.home.example }",
            "admin: { socket: admin.sock }", "sites:",
            "  - { hosts: files.home.example, upstream: files }",
        ]
        var upstreams = ["  files: { servers: [\"192.168.1.30:8080\"] }"]
        if !site.ingress.isEmpty {
            lines.append("  - { hosts: [grafana.home.example], upstream: ingress }")
            let servers = options.ingressServers ?? named(site.ingress)
            upstreams.append(
                entry("ingress", servers, "tls: { ca: ca.pem }", options.ingress))
        }
        if !site.apiservers.isEmpty {
            upstreams.append(
                entry("kube-apiserver", addressed(site.apiservers), "", options.apiservers))
        }
        if !site.dashboards.isEmpty {
            lines.append("  - { hosts: ceph.home.example, upstream: dashboard }")
            upstreams.append(
                entry(
                    "dashboard", named(site.dashboards), "tls: { ca: ca.pem }", options.dashboards
                ))
        }
        lines += ["upstreams:"] + upstreams
        let resolvers = [site.resolver, site.secondResolver].compactMap {
            $0.map { "\"\($0.address):53\"" }
        }.joined(separator: ", ")
        lines.append(
            "resolvers: { internal: { servers: [\(resolvers)], "
                + "domains: [\(ReferenceSite.domain)] } }")
        lines.append(options.more)
        return lines.joined(separator: "\n") + "\n"
    }

    private func entry(_ name: String, _ servers: String, _ tls: String, _ more: String) -> String {
        let settings = [tls, isBare ? "" : more].filter { !$0.isEmpty }
        return "  \(name): { " + (["servers: [\(servers)]"] + settings).joined(separator: ", ")
            + " }"
    }

    private func named(_ servers: [SiteServer]) -> String {
        servers.map { "\"\($0.name).\(ReferenceSite.domain):\($0.port)\"" }.joined(separator: ", ")
    }

    private func addressed(_ servers: [SiteServer]) -> String {
        servers.map { "\"\($0.address)\"" }.joined(separator: ", ")
    }
}
