import EdgeCore
import EdgeLimits
import EdgeRouting

/// What policies can do where they are named.
extension RateLimitList {
    /// Something that a policy says has an effect there.
    private enum Place {
        /// Of its connections alone: a tcp listener.
        case listener
        /// Of connections and their ClientHello.
        case passthrough
        /// Of connections that ask for it, and requests.
        case site
        /// Of requests.
        case path

        var explanation: String {
            switch self {
            case .listener: "bytes are passed on: neither handshakes nor requests are seen"
            case .passthrough: "connections are passed on: what is resumed or asked is not seen"
            case .site, .path: "it limits connections, which belong to no path"
            }
        }
    }

    /// Policies of sites that pass connections on, and of paths, that say nothing about them.
    func checkEffect(_ section: Section, _ indexes: [Int], isPath: Bool, isPassthrough: Bool) {
        check(section, indexes, at: isPassthrough ? .passthrough : isPath ? .path : .site)
    }

    /// The same of a tcp listener.
    func checkListener(_ section: Section, _ indexes: [Int]) {
        check(section, indexes, at: .listener)
    }

    private func check(_ section: Section, _ indexes: [Int], at place: Place) {
        for index in indexes where !hasEffect(drafts[index].policy, at: place) {
            section.error(
                section.location(of: "rate_limits"),
                "\(section.title).rate_limits: '\(drafts[index].policy.name)' has no effect here",
                hint: place.explanation)
        }
    }

    private func hasEffect(_ policy: LimitPolicy, at place: Place) -> Bool {
        if policy.rates[.upload] != nil || policy.rates[.download] != nil { return true }
        if !policy.denied.isEmpty || !policy.denyFiles.isEmpty { return true }
        let ofConnections =
            policy.counts[.connections] != nil || policy.rates[.connections] != nil
        switch place {
        case .listener: return ofConnections
        case .passthrough: return ofConnections || policy.rates[.handshakes] != nil
        case .site: return true
        case .path:
            return policy.counts[.requests] != nil || policy.ceiling != nil
                || policy.errors != nil || policy.rates[.requests] != nil
        }
    }

    /// Policies that say something of handshakes alone, where there are none.
    func checkHandshakes(
        _ views: ViewList, listeners: [Configuration.Listener], sites: [SiteConfiguration],
        in main: Section
    ) {
        func hasTLS(_ view: Int) -> Bool {
            listeners.contains {
                $0.kind == .tls && ($0.views.isEmpty || $0.views.contains(view))
            }
        }
        for (index, view) in views.configurations.enumerated() where !hasTLS(index) {
            for number in view.rules.rateLimits {
                let policy = drafts[number].policy
                let isOther =
                    policy.rates.keys.contains { !$0.isHandshake } || !policy.counts.isEmpty
                    || policy.ceiling != nil || policy.errors != nil || !policy.denied.isEmpty
                    || !policy.denyFiles.isEmpty
                guard policy.limitsHandshakes, !isOther else { continue }
                reportHandshakes(number, "the view '\(view.name)'", in: main)
            }
        }
        for site in sites where !site.isPassthrough {
            guard !site.hosts.contains(where: { hasTLS($0.view) }) else { continue }
            for number in site.rules.rateLimits {
                let policy = drafts[number].policy
                guard policy.limitsConnections, !hasEffect(policy, at: .path) else { continue }
                reportHandshakes(number, "the site '\(site.hosts.first?.pattern ?? "")'", in: main)
            }
        }
    }

    private func reportHandshakes(_ number: Int, _ place: String, in main: Section) {
        main.error(
            drafts[number].name.location,
            "the policy '\(drafts[number].name.value)' has no effect on \(place)",
            hint: "no tls listener serves it: there are no handshakes, nor names in them")
    }

    /// A connection, or a request, is held by so many counts at a time.
    func checkCounts(
        _ views: ViewList, listeners: [Configuration.Listener], sites: [SiteConfiguration],
        in main: Section
    ) {
        for (index, view) in views.configurations.enumerated() {
            let own = view.rules.rateLimits
            for site in sites where site.hosts.contains(where: { $0.view == index }) {
                let named = own + site.rules.rateLimits
                checkCounts(named, .connections, view, in: main)
                checkCounts(named, .requests, view, in: main)
                for path in site.paths {
                    checkCounts(named + path.rules.rateLimits, .requests, view, in: main)
                }
            }
            for listener in listeners
            where listener.views.isEmpty || listener.views.contains(index) {
                checkCounts(own + listener.rateLimits, .connections, view, in: main)
            }
        }
    }

    private func checkCounts(
        _ named: [Int], _ thing: CountedThing, _ view: ViewConfiguration, in main: Section
    ) {
        let counting = Set(named).sorted().filter { drafts[$0].policy.counts[thing] != nil }
        guard counting.count > HeldCounts.countMax else { return }
        let draft = drafts[counting[HeldCounts.countMax]]
        main.error(
            draft.section.location(of: thing.word),
            "more than \(HeldCounts.countMax) policies limit '\(thing.word)' at one place of the "
                + "view '\(view.name)'",
            hint: "one of them is '\(draft.name.value)'")
    }
}

extension LimitedThing {
    fileprivate var isHandshake: Bool {
        switch self {
        case .handshakes, .fullHandshakes, .resumedHandshakes: true
        case .requests, .connections, .upload, .download: false
        }
    }
}
