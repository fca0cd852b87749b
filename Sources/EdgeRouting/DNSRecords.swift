package import EdgeCore

/// What DNS has to say to the clients of one view: each name of its sites has all addresses that
/// the view is reached by. Passthrough sites are sites, too. The same configuration gives the same
/// value, whatever the order of its sites.
package struct DNSRecords: Sendable, Equatable {
    /// In lower case, without a final dot, sorted; `*.example.org` for a wildcard of one label.
    package let names: [String]
    /// Sorted, IPv4 first; ports are 0.
    package let addresses: [SocketAddress]
    /// What has no record, and why: one sentence each.
    package let notes: [String]

    /// - Parameter view: index into `views`.
    package init(view: Int, views: [ViewConfiguration], sites: [SiteConfiguration]) {
        var names: Set<String> = []
        var literals: Set<String> = []
        var hasAny = false
        for site in sites {
            for host in site.hosts where host.view == view {
                if host.pattern == "*" {
                    hasAny = true
                } else if Self.isLiteral(host.pattern) {
                    literals.insert(host.pattern)
                } else {
                    names.insert(host.pattern)
                }
            }
        }
        self.names = names.sorted()
        let unsorted = views.indices.contains(view) ? views[view].addresses : []
        addresses = Set(unsorted.map { $0.with(port: 0) }).sorted { left, right in
            if left.isIPv4 != right.isIPv4 { return left.isIPv4 }
            return (left.high, left.low) < (right.high, right.low)
        }
        notes =
            (hasAny ? ["the site for any name ('*') has no record: DNS needs a name"] : [])
            + literals.sorted().map { "the host '\($0)' has no record: it is an address" }
    }

    /// Hosts may be addresses, which need no DNS.
    private static func isLiteral(_ host: String) -> Bool {
        host.hasPrefix("[") || SocketAddress(address: host, port: 0) != nil
    }
}
