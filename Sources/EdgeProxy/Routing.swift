package import EdgeRouting
package import EdgeTLS

/// Who comes from where, and what they reach: the part of a snapshot that only another
/// configuration changes. Views, profiles and rules are numbered for the process's life, so that
/// connections and exchanges keep theirs over reloads.
package final class Routing: Sendable {
    /// By number; nil: no longer there.
    package let views: [ClientView?]
    /// Places in the router, by number; -1: no longer there.
    let viewIndexes: [Int32]
    /// By the view's place in the configuration.
    package let viewNumbers: [UInt16]
    /// Of low priority, by number.
    let lowViews: [Bool]
    /// Some views are, some are not.
    let hasLow: Bool
    let hasHigh: Bool
    /// If there is one view, which nothing but its listeners bounds: its number; else -1.
    let onlyView: Int
    package let places: ViewTable
    package let router: Router
    package let access: AccessRules
    /// How TLS is spoken, by number (`Route.hostPolicy`); nil: no longer.
    package let profiles: [ServerProfile?]
    /// What is done to requests, by number (`Route.policy`); nil: no longer.
    package let rules: [RequestRules?]
    /// By the numbers of `rules`.
    var ruleTraits: [RuleTraits] {
        rules.indices.map { RuleTraits(rules[$0], refuses: access.refuses(policy: Int32($0))) }
    }
    /// What is asked before there is a request.
    package let connections: ConnectionPlans

    /// - Parameters:
    ///   - views: in the order of the configuration, with their numbers.
    ///   - isDivided: where a connection comes from decides its view.
    package init(
        views: [(number: UInt16, view: ClientView)], isDivided: Bool, places: ViewTable,
        router: Router, access: AccessRules = AccessRules([]), profiles: [ServerProfile?],
        rules: [RequestRules?] = [], connections: ConnectionPlans = ConnectionPlans()
    ) {
        self.connections = connections
        let count = views.map { Int($0.number) + 1 }.max() ?? 0
        var byNumber = [ClientView?](repeating: nil, count: count)
        for (number, view) in views { byNumber[Int(number)] = view }
        self.views = byNumber
        viewIndexes = byNumber.map { $0.map { Int32($0.index) } ?? -1 }
        viewNumbers = views.map(\.number)
        lowViews = byNumber.map { $0?.isLow ?? false }
        hasLow = views.contains { $0.view.isLow }
        hasHigh = views.contains { !$0.view.isLow }
        onlyView = isDivided ? -1 : views.first.map { Int($0.number) } ?? -1
        self.places = places
        self.router = router
        self.access = access
        self.profiles = profiles
        self.rules = rules
    }

    /// In which order listeners are accepted from: 0, of views of high priority alone; 2, of low
    /// priority alone; else 1.
    ///
    /// - Parameter names: of its views; nil: all.
    func rank(of names: [String]?) -> UInt8 {
        var low = false
        var high = false
        for case let view? in views where names?.contains(view.name) ?? true {
            if view.isLow { low = true } else { high = true }
        }
        return !low ? 0 : high ? 1 : 2
    }

    /// One view for everybody.
    ///
    /// - Parameters:
    ///   - hosts: patterns with site and pool.
    ///   - fallback: as `TLSEngine.use(_:fallback:)` has it.
    package convenience init(
        _ hosts: [(pattern: String, site: Int32, pool: Int32)], fallback: String?
    ) {
        let router = Router([
            Router.View(
                hosts: hosts.map {
                    var host = Router.Host(pattern: $0.pattern, site: $0.site, pool: $0.pool)
                    host.traffic = $0.site + 1
                    return host
                })
        ])
        self.init(
            views: [(0, ClientView(name: "", index: 0))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]), router: router,
            profiles: [ServerProfile(fallback: fallback)])
    }
}
