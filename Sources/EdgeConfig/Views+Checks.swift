import EdgeCore
import EdgeRouting

extension Assembly {
    /// What views, listeners and the hosts of sites need of each other.
    func checkViews(
        _ views: ViewList, listeners: [Located<Configuration.Listener>], hosts: ServedHosts
    ) {
        for (index, view) in views.drafts.enumerated() {
            checkReach(of: index, in: views)
            let serving = listeners.map(\.value).filter {
                $0.views.isEmpty || $0.views.contains(index)
            }
            if serving.isEmpty, !listeners.isEmpty {
                main.error(
                    view.name.location, "no listener serves the view '\(view.name.value)'",
                    hint: "name it in a listener's 'views', or remove it")
                continue
            }
            let answers = serving.contains {
                $0.kind == .tls || ($0.kind == .http && $0.redirectPort == nil)
            }
            if let named = hosts.firstNamed[index], !answers, !listeners.isEmpty {
                main.error(
                    named, "the view '\(view.name.value)' has hosts, and no listener answers there",
                    hint: "its listeners redirect, or pass bytes on")
            }
            if answers, hosts.isEmpty(index), !view.configuration.rules.answersAll {
                main.warning(
                    view.name.location, "the view '\(view.name.value)' has no sites",
                    hint: "its clients find nothing: name it in a site's 'hosts'")
            }
        }
    }

    /// A view of which the earlier ones leave nothing is most likely in the wrong place.
    private func checkReach(of index: Int, in views: ViewList) {
        let view = views.drafts[index].configuration
        let earlier = views.drafts[..<index]
        let interfaces = view.interfaces.isEmpty ? [nil] : view.interfaces.map(Optional.some)
        let sources = view.sources.isEmpty ? [nil] : view.sources.map(Optional.some)
        var first: ViewDraft?
        for interface in interfaces {
            for source in sources {
                let owner = earlier.first { $0.configuration.takesAll(interface, source) }
                guard let owner else { return }
                first = first ?? owner
            }
        }
        guard let first else { return }
        main.error(
            views.drafts[index].name.location,
            "unreachable view '\(view.name)': what fits it belongs to '\(first.name.value)'",
            hint: "the first view that fits is taken, so the narrower one stands first; see "
                + "\(first.name.location)")
    }

    /// The host that stands for unknown ones has to be known itself.
    func checkUnknown(_ views: ViewList, hosts: ServedHosts) {
        for (index, view) in views.drafts.enumerated() {
            guard let unknown = view.unknown, case .host(let name) = unknown.value else { continue }
            switch hosts.find(name, view: index) {
            case .terminated?: continue
            case .passthrough?:
                view.section.error(
                    unknown.location,
                    "\(view.section.title).unknown: connections for '\(name)' are passed through",
                    hint: "a site with 'hosts: \"*\"' and 'passthrough' takes all that nobody else "
                        + "has")
            case nil:
                view.section.error(
                    unknown.location,
                    "\(view.section.title).unknown: no site has '\(name)' in this view",
                    hint: "'refuse', 'not_found' or one of the view's hosts")
            }
        }
    }

    /// A view that redirects all its requests to itself serves nobody.
    func checkLoops(_ views: ViewList, _ sites: SiteDecoder) {
        for (index, view) in views.drafts.enumerated() {
            guard let redirect = view.configuration.rules.redirect,
                let target = RedirectTarget(redirect.location)
            else { continue }
            let comesBack = target.comesBack(to: sites.listeners) { host in
                let owner = sites.sites.first { site in
                    site.hosts.contains { $0.view == index && $0.pattern == host }
                }
                return owner.map { !$0.isPassthrough && $0.rules.redirect == nil } ?? false
            }
            guard comesBack else { continue }
            view.section.error(
                view.section.location(of: "redirect"),
                "\(view.section.title).redirect leads back to itself",
                hint: "its target is served here, and redirected again")
        }
    }

    /// Views can raise what is true for all, not lower it.
    func checkTLS(_ views: ViewList, lowest: Configuration.TLS.Version) {
        guard lowest == .tls13 else { return }
        for view in views.drafts {
            guard let section = view.section.section("tls"), section.has("min_version"),
                !view.configuration.requiresTLS13
            else { continue }
            section.error(
                section.location(of: "min_version"),
                "\(section.title).min_version has no effect: 'tls.min_version' is 1.3",
                hint: "lower that, and raise it in the other views")
        }
    }
}

extension ViewConfiguration {
    /// Whether it takes every connection of an interface and a block; nil: of all of them.
    fileprivate func takesAll(_ interface: String?, _ source: CIDR?) -> Bool {
        if !interfaces.isEmpty {
            guard let interface, interfaces.contains(interface) else { return false }
        }
        // This machine's own clients are in no view that does not ask for them.
        if sources.isEmpty {
            let isOwn = interface == "lo" || source?.isLoopback == true
            return !interfaces.isEmpty || !isOwn
        }
        guard let source else {
            return [true, false].allSatisfy { isIPv4 in
                sources.contains { $0.bits == 0 && $0.base.isIPv4 == isIPv4 }
            }
        }
        return sources.contains { $0.covers(source) }
    }
}

extension CIDR {
    /// Addresses by which a machine speaks to itself, and no others.
    fileprivate var isLoopback: Bool { base.isLoopback && bits >= (base.isIPv4 ? 8 : 128) }
}
