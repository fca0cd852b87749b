/// One entry of `sites:`, checked.
package struct SiteConfiguration: Sendable, Equatable {
    /// Lower-case names, `*.example.org` for a wildcard of exactly one label, `*` for any name.
    package let hosts: [String]
    /// Index into the configuration's list of upstreams.
    package let upstream: Int
    /// Protocols that connections may switch to besides WebSocket, in lower case.
    package let upgrades: [String]

    package init(hosts: [String], upstream: Int, upgrades: [String] = []) {
        self.hosts = hosts
        self.upstream = upstream
        self.upgrades = upgrades
    }
}
