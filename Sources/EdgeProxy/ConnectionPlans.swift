/// Which plans of `LimitPlans` connections have: by where they arrive and, once a ClientHello has
/// said which site they are for, by that as well. Immutable; made anew with each configuration.
package struct ConnectionPlans: Sendable {
    /// What a ClientHello leads to. -1: nothing is limited.
    package struct Site: Sendable, Equatable, BitwiseCopyable {
        /// Of policies that the site names and the view does not: its connections are charged to
        /// these when they are known to be its own.
        package var own: Int32
        /// Of the view's and the site's policies together.
        package var all: Int32

        package init(own: Int32 = -1, all: Int32 = -1) {
            self.own = own
            self.all = all
        }
    }

    /// By the view's number, then the listener's; empty: nothing is limited.
    private let arrivals: [Int32]
    private let listenerCount: Int
    /// By the view's place in the router, then the site; empty: sites name no policies.
    private let sites: [Site]
    private let siteCount: Int
    /// Some plan limits handshakes, or what a ClientHello leads to.
    package let judgesHellos: Bool

    /// - Parameters:
    ///   - arrivals: plans by view number, of each listener.
    ///   - sites: by the view's place in the router, of each site; empty: they name no policies.
    ///   - judgesHellos: a plan limits handshakes, or there are sites.
    package init(
        arrivals: [[Int32]] = [], sites: [[Site]] = [], judgesHellos: Bool = false
    ) {
        listenerCount = arrivals.map(\.count).max() ?? 0
        siteCount = sites.map(\.count).max() ?? 0
        let (listeners, sitesOfView) = (listenerCount, siteCount)
        let isLimited = arrivals.contains { $0.contains { $0 >= 0 } }
        self.arrivals =
            isLimited
            ? arrivals.flatMap { $0 + Array(repeating: -1, count: listeners - $0.count) } : []
        self.sites = sites.flatMap {
            $0 + Array(repeating: Site(), count: sitesOfView - $0.count)
        }
        self.judgesHellos = judgesHellos
    }

    /// The plan of a connection of which is known where it arrived; -1: nothing is limited.
    // hot: once per connection
    func arrival(view: Int, listener: Int) -> Int32 {
        let index = view * listenerCount + listener
        return listener < listenerCount && index < arrivals.count ? arrivals[index] : -1
    }

    var hasSites: Bool { !sites.isEmpty }

    /// - Parameter view: its place in the router.
    /// - Returns: nil if the site names no policies: the plan of its arrival is all.
    func site(view: Int, _ site: Int32) -> Site? {
        let index = view * siteCount + Int(site)
        guard site >= 0, Int(site) < siteCount, index < sites.count else { return nil }
        return sites[index].own >= 0 ? sites[index] : nil
    }
}
