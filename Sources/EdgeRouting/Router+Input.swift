extension Router {
    /// What a router is made of: a view and its hosts.
    package struct View: Sendable {
        package var hosts: [Host]
        package var unknown: ViewConfiguration.Unknown
        /// Of connections that no site has.
        package var hostPolicy: Int32

        package init(
            hosts: [Host], unknown: ViewConfiguration.Unknown = .notFound, hostPolicy: Int32 = 0
        ) {
            self.hosts = hosts
            self.unknown = unknown
            self.hostPolicy = hostPolicy
        }
    }

    /// A host pattern of a site in a view. Of equal patterns in a view the first counts, but
    /// passthroughs with protocols are apart from the others, and asked in their order.
    package struct Host: Sendable {
        /// Lower-case: a name, `*.` and a name, or `*`.
        package var pattern: String
        package var site: Int32
        /// -1: none.
        package var pool: Int32
        /// The number of the rules of view and site together; -1: none.
        package var policy: Int32 = -1
        /// Equal for hosts whose clients are asked for the same certificates and may speak the same
        /// TLS. Compared with that of connections from before a reload, so it has to depend on
        /// nothing but that policy.
        package var hostPolicy: Int32 = 0
        package var isPassthrough = false
        /// With `isPassthrough`: only for clients that offer one of these; empty: for all.
        package var protocols: [String] = []
        /// Where requests for it are counted (`Route.traffic`).
        package var traffic: Int32 = 0
        /// In the order of the configuration; none with `isPassthrough`.
        package var paths: [Path] = []

        package init(pattern: String, site: Int32, pool: Int32) {
            self.pattern = pattern
            self.site = site
            self.pool = pool
        }
    }

    package struct Path: Sendable {
        /// Plain, as `isPlainPrefix` says; any other one refuses what might be meant by it. A final
        /// slash does not count.
        package var prefix: String
        /// Its own or the site's.
        package var pool: Int32
        /// The number of the rules of view, site and path together; -1: none.
        package var policy: Int32

        package init(prefix: String, pool: Int32, policy: Int32 = -1) {
            self.prefix = prefix
            self.pool = pool
            self.policy = policy
        }
    }
}

extension Route {
    /// Of a request that none of the host's paths matches.
    init(_ host: Router.Host) {
        self.init(
            site: host.site, pool: host.pool, policy: host.policy, hostPolicy: host.hostPolicy,
            traffic: host.traffic, path: -1, matchedPrefix: 0, reading: .literal,
            isPassthrough: host.isPassthrough)
    }
}
