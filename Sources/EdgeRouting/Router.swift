/// Where connections and requests go: per view the host names, and per host the path prefixes.
/// Immutable and flat, plain numbers in and out, no allocation and no reference counted per
/// look-up; 10,000 sites cost what ten do, but for the processor's caches. A class, so that handing
/// it on copies one pointer.
package final class Router: Sendable {
    /// What is kept about a host pattern in a view.
    private struct Entry: Sendable {
        /// Of a request that no path matches.
        var route: Route
        /// In `paths`.
        var firstPath: Int32
        var pathCount: Int32
    }

    /// Where and how requests below a prefix differ from their host's.
    private struct Below: Sendable {
        var pool: Int32
        var policy: Int32
        /// Index among the site's paths.
        var index: Int32
    }

    private struct Fallback: Sendable {
        var refuses: Bool
        /// Index into `entries`; -1: none.
        var entry: Int32
        var hostPolicy: Int32
    }

    private let hosts: HostTable
    private let entries: [Entry]
    private let offers: OfferTable
    private let pathTable: PathTable
    private let paths: [Below]
    private let fallbacks: [Fallback]

    package init(_ views: [View]) {
        var table = PathTable()
        var paths: [Below] = []
        var entries: [Entry] = []
        var patterns: [(view: Int, pattern: String)] = []
        var offered: [(view: Int, host: Host)] = []
        for (number, view) in views.enumerated() {
            for host in view.hosts {
                if host.isPassthrough, !host.protocols.isEmpty {
                    offered.append((number, host))
                    continue
                }
                let added = table.add(host.isPassthrough ? [] : host.paths.map(\.prefix))
                entries.append(
                    Entry(
                        route: Route(host), firstPath: Int32(added.range.lowerBound),
                        pathCount: Int32(added.range.count)))
                patterns.append((number, host.pattern))
                paths += added.origins.map {
                    Below(
                        pool: host.paths[$0].pool, policy: host.paths[$0].policy,
                        index: Int32($0))
                }
            }
        }
        let hosts = HostTable(patterns, views: views.count)
        self.hosts = hosts
        self.entries = entries
        offers = OfferTable(offered, views: views.count)
        pathTable = table
        self.paths = paths
        fallbacks = views.enumerated().map { number, view in
            var fallback = Fallback(refuses: false, entry: -1, hostPolicy: view.hostPolicy)
            switch view.unknown {
            case .refuse: fallback.refuses = true
            case .host(let name):
                fallback.entry = hosts.find(Array(name.utf8).span, view: number)
            case .notFound: break
            }
            return fallback
        }
    }

    /// Whether two host names that clients wrote are the same: letter case and a final dot do not
    /// count.
    package static func areSameHost(_ one: Span<UInt8>, _ other: Span<UInt8>) -> Bool {
        HostTable.areSame(one, other)
    }

    /// Whether a path prefix of the configuration leaves no doubt about what it is for: it begins
    /// with `/`, and is without `%2F`, `%25`, `;`, `\`, `?`, `#`, control characters, empty and dot
    /// segments.
    package static func isPlainPrefix(_ prefix: String) -> Bool { PathTable.isPlain(prefix) }

    // MARK: - Connections

    /// What becomes of a connection: for those who offer a protocol that a passthrough is for, the
    /// most specific such one; then the most specific host pattern.
    ///
    /// - Parameters:
    ///   - serverName: of the ClientHello; empty: the view's default.
    ///   - offers: whether the client offers a protocol (ALPN). Asked a few times, or never.
    // hot: once per connection; no allocation.
    package func connection(
        view: Int, serverName: Span<UInt8>, offers isOffered: (Span<UInt8>) -> Bool
    ) -> ConnectionRoute {
        guard serverName.count > 0 else { return fallback(view) }
        if let offer = offers.find(serverName, view: view, isOffered) {
            return .passthrough(pool: offer.pool, site: offer.site)
        }
        let number = hosts.find(serverName, view: view)
        return number < 0 ? fallback(view) : connection(of: number)
    }

    private func fallback(_ view: Int) -> ConnectionRoute {
        let fallback = fallbacks[view]
        if fallback.refuses { return .refuse }
        guard fallback.entry >= 0 else {
            return .terminateUnknown(site: -1, hostPolicy: fallback.hostPolicy)
        }
        let route = connection(of: fallback.entry)
        guard case .terminate(let site, let policy) = route else { return route }
        return .terminateUnknown(site: site, hostPolicy: policy)
    }

    private func connection(of entry: Int32) -> ConnectionRoute {
        let route = entries[Int(entry)].route
        return route.isPassthrough
            ? .passthrough(pool: route.pool, site: route.site)
            : .terminate(site: route.site, hostPolicy: route.hostPolicy)
    }

    // MARK: - Requests

    /// Where a request goes: the most specific host pattern, then the longest path prefix.
    ///
    /// - Parameters:
    ///   - host: as the client wrote it, without port and brackets.
    ///   - path: as the client wrote it, without the query.
    /// - Returns: nil if the view has no such host; 421 on TLS, else 404.
    // hot: once per request; no allocation.
    package func request(view: Int, host: Span<UInt8>, path: Span<UInt8>) -> Route? {
        request(view: view, host: host, target: path)
    }

    /// The same for a path with its query behind it, which does not count.
    // hot: once per request; the query is looked for only where paths matter.
    package func request(view: Int, host: Span<UInt8>, target: Span<UInt8>) -> Route? {
        let number = entry(view, host)
        guard number >= 0 else { return nil }
        guard entries[Int(number)].pathCount > 0 else { return entries[Int(number)].route }
        let entry = entries[Int(number)]
        var end = 0
        while end < target.count, target[end] != UInt8(ascii: "?") { end += 1 }
        let match = match(entry, target.extracting(0..<end))
        var route = entry.route
        route.reading = match.reading
        guard match.prefix >= 0 else { return route }
        let found = paths[Int(match.prefix)]
        route.pool = found.pool
        route.policy = found.policy
        route.path = found.index
        route.matchedPrefix = pathTable.byteCount(match.prefix)
        return route
    }

    /// Index into `entries`; -1: none. The view's host for unknown ones included.
    private func entry(_ view: Int, _ host: Span<UInt8>) -> Int32 {
        let number = hosts.find(host, view: view)
        return number < 0 ? fallbacks[view].entry : number
    }

    private func match(_ entry: Entry, _ path: Span<UInt8>) -> PathTable.Match {
        let first = Int(entry.firstPath)
        return pathTable.match(path, in: first..<first + Int(entry.pathCount))
    }

    // MARK: - For people

    /// The host pattern of the view that `request` finds, and whether it is the one for unknown
    /// hosts. Allocates.
    package func pattern(view: Int, host: Span<UInt8>) -> (text: String, isFallback: Bool)? {
        let number = entry(view, host)
        guard number >= 0 else { return nil }
        return (hosts.pattern(number), hosts.find(host, view: view) < 0)
    }

    /// The pattern of the passthrough that `connection` finds by protocol. Allocates.
    package func offerPattern(
        view: Int, serverName: Span<UInt8>, offers isOffered: (Span<UInt8>) -> Bool
    ) -> String? {
        guard serverName.count > 0 else { return nil }
        return offers.find(serverName, view: view, isOffered).map { offers.pattern($0) }
    }

    /// The path prefix that `request` finds. Allocates.
    package func prefix(view: Int, host: Span<UInt8>, path: Span<UInt8>) -> String? {
        let number = entry(view, host)
        guard number >= 0 else { return nil }
        let match = match(entries[Int(number)], path)
        return match.prefix < 0 ? nil : pathTable.prefix(match.prefix)
    }
}
