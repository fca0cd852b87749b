package import EdgeCore

/// The knobs of `dns:` and what goes with them.
package struct ResolverSettings: Sendable, Equatable {
    /// A change in DNS is known so long after at most, whatever its TTL.
    package var refresh: Duration
    /// How long an address that DNS does not confirm is kept; nil: for ever.
    package var stale: Duration?
    /// Whether names in `hostsPath` are taken from there.
    package var usesHosts: Bool
    package var hostsPath: String
    /// Where addresses are remembered over a restart; nil: nowhere. Read once, at the start.
    package var stateDirectory: String?
    /// Addresses of this machine and those it may get, ports 0: never proposed.
    package var ownAddresses: [SocketAddress]

    package init(
        refresh: Duration = .seconds(5), stale: Duration? = nil, usesHosts: Bool = false,
        hostsPath: String = "/etc/hosts", stateDirectory: String? = nil,
        ownAddresses: [SocketAddress] = []
    ) {
        self.refresh = refresh
        self.stale = stale
        self.usesHosts = usesHosts
        self.hostsPath = hostsPath
        self.stateDirectory = stateDirectory
        self.ownAddresses = ownAddresses
    }

    package var timing: NameTiming { NameTiming(refresh: refresh, stale: stale) }
}
