/// Which site answers for a host name where there is one view and no path. `Router` does the same
/// for views and paths, with the same `HostTable`.
package struct RouteTable: Sendable {
    /// What a request is to be sent to. Plain numbers, so that requests in flight hold no reference
    /// to a snapshot that has been replaced.
    package struct Route: Sendable, Equatable {
        /// Index into the configuration's sites.
        package let site: Int32
        /// Number of the pool, the same over reloads while its key stays the same.
        package let pool: Int32

        package init(site: Int32, pool: Int32) {
            self.site = site
            self.pool = pool
        }
    }

    private let hosts: HostTable
    private let routes: [Route]

    /// - Parameter hosts: lower-case patterns: a name, `*.` and a name, or `*`. Of equal patterns
    ///   the first counts (the configuration refuses them before).
    package init(_ hosts: [(pattern: String, route: Route)]) {
        self.hosts = HostTable(hosts.map { (0, $0.pattern) }, views: 1)
        routes = hosts.map(\.route)
    }

    /// The route for a host as the client wrote it: any letter case, one trailing dot allowed.
    ///
    /// - Parameter host: without port and brackets; any bytes.
    /// - Returns: nil if no site answers for it. Cost: O(count), no allocation.
    package func resolve(_ host: Span<UInt8>) -> Route? {
        let number = hosts.find(host, view: 0)
        return number < 0 ? nil : routes[Int(number)]
    }
}
