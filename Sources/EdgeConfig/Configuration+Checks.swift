import EdgeUpstream

extension Configuration {
    /// The name that checks ask an upstream's servers for (SNI) and expect in their certificates:
    /// the check's own, else traffic's, which may be that of a site: then of the first with one.
    ///
    /// - Parameter index: the upstream's place in `upstreams`.
    /// - Returns: nil: the name or the address under which the server is configured.
    package func checkName(upstream index: Int) -> String? {
        let upstream = upstreams[index]
        guard let health = upstream.health else { return nil }
        if let name = health.tls?.name ?? upstream.tls?.name { return name }
        guard upstream.tls != nil else { return nil }
        let used = sites.lazy.filter { site in
            site.destination == .upstream(index) || site.paths.contains { $0.upstream == index }
        }
        let hosts = used.flatMap { site in
            site.internalHost.map { [$0] } ?? site.hosts.map(\.pattern)
        }
        return hosts.first { !$0.hasPrefix("*") }
    }
}
