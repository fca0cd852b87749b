import EdgeCore
import EdgeLimits
import EdgeRouting

// MARK: - What a policy says by itself

extension RateLimitList {
    func check(_ policy: LimitPolicy, in section: Section) {
        let limits = !policy.rates.isEmpty || !policy.counts.isEmpty || policy.ceiling != nil
        // One that is there and wrong has been reported.
        if !limits, policy.errors == nil, policy.denied.isEmpty, policy.denyFiles.isEmpty,
            !section.pass.diagnostics.hasErrors
        {
            section.error(
                section.location, "\(section.title) limits nothing",
                hint: "such as 'requests: 120 per 10s'")
        }
        if !policy.costs.isEmpty, policy.rates[.requests] == nil, policy.ceiling == nil,
            !section.has("requests"), !section.has("ceiling")
        {
            section.error(
                section.location(of: "costs"), "\(section.title).costs has no effect",
                hint: "it is for 'requests' and 'ceiling'")
        }
        checkCosts(policy, in: section)
        let isByAddress = policy.key != .everybody
        for key in ["ipv4_prefix", "ipv6_prefix", "ipv6_hosts"]
        where !isByAddress && section.has(key) && policy.errors == nil {
            section.error(
                section.location(of: key), "\(section.title).\(key) has no effect",
                hint: "with 'key: everybody' nobody is told apart")
        }
        checkText(policy, in: section)
    }

    private func checkCosts(_ policy: LimitPolicy, in section: Section) {
        let bursts = [policy.rates[.requests], policy.ceiling].compactMap { $0?.burst }
        guard let least = bursts.min(),
            let dear = policy.costs.first(where: { UInt64($0.cost) > least })
        else { return }
        section.error(
            section.location(of: "costs"),
            "\(section.title).costs: a cost of \(dear.cost) never passes",
            hint: "the burst is \(least)")
    }

    /// Connections and handshakes come before any field.
    private func checkText(_ policy: LimitPolicy, in section: Section) {
        switch policy.key {
        case .client, .everybody: return
        case .field, .cookie: break
        }
        let early =
            [LimitedThing.connections, .handshakes, .fullHandshakes, .resumedHandshakes].filter {
                policy.rates[$0] != nil
            }.map(\.word) + (policy.counts[.connections] != nil ? ["connections"] : [])
        guard let key = early.first else { return }
        section.error(
            section.location(of: key),
            "\(section.title).\(key) cannot be counted by a field or cookie",
            hint: "there is none yet: give it to a policy with 'key: client'")
    }
}

// MARK: - Where it is named

extension RateLimitList {
    /// How tunnels are called: so, with a number, or with a name after `-` or `_`.
    private static let tunnels = [
        "wg", "tun", "tap", "gre", "ipip", "sit", "ppp", "vti", "xfrm", "tailscale",
    ]

    /// Whether all clients of a view may have one and the same address: a forwarder's.
    static func hidesClients(
        _ view: ViewConfiguration, trusted: [CIDR]
    ) -> String? {
        guard !view.requiresProxyHeader else { return nil }
        // Forwarders whose fields are believed say who the client is.
        func isBelieved(_ source: CIDR) -> Bool { trusted.contains { $0.covers(source) } }
        func isForwarder(_ source: CIDR) -> Bool {
            source.bits == (source.base.isIPv4 ? 32 : 128) && !source.base.isLoopback
                && !isBelieved(source)
        }
        if let first = view.sources.first, view.sources.allSatisfy(isForwarder) {
            let more = view.sources.count - 1
            return "all its connections come from \(first.base.addressText)"
                + (more == 0 ? "" : " and \(more) more address\(more == 1 ? "" : "es")")
        }
        guard !view.interfaces.isEmpty, !view.sources.contains(where: isBelieved),
            view.interfaces.allSatisfy({ name in Self.tunnels.contains { isTunnel(name, $0) } }),
            view.clientCertificates == nil
        else { return nil }
        return "its connections come through the tunnel \(view.interfaces[0])"
    }

    private static func isTunnel(_ name: String, _ kind: String) -> Bool {
        guard name.hasPrefix(kind) else { return false }
        let rest = name.dropFirst(kind.count)
        guard let first = rest.first else { return false }
        return rest.allSatisfy { $0.isNumber } || first == "-" || first == "_"
    }

    /// A policy that counts clients where there are none to be seen.
    ///
    /// - Parameters:
    ///   - listeners: with the views that each serves.
    ///   - sites: with the views that each is in.
    ///   - trusted: `forwarding.trusted`.
    func checkClients(
        _ views: ViewList, listeners: [Configuration.Listener], sites: [SiteConfiguration],
        trusted: [CIDR], in main: Section
    ) {
        let configurations = views.configurations
        for (index, view) in configurations.enumerated() {
            let reason = Self.hidesClients(view, trusted: trusted)
            guard reason != nil || !trusted.isEmpty && !view.requiresProxyHeader else { continue }
            var named = view.rules.rateLimits
            for site in sites where site.hosts.contains(where: { $0.view == index }) {
                named += site.rules.rateLimits + site.paths.flatMap(\.rules.rateLimits)
            }
            for listener in listeners
            where listener.views.isEmpty || listener.views.contains(index) {
                named += listener.rateLimits
            }
            for number in Set(named).sorted() {
                let draft = drafts[number]
                guard draft.policy.key != .everybody, !draft.isPeer else { continue }
                guard let reason else {
                    checkForwarders(draft, view, trusted: trusted)
                    continue
                }
                draft.section.error(
                    draft.section.has("key")
                        ? draft.section.location(of: "key") : draft.name.location,
                    "the policy '\(draft.name.value)' would take all clients of the view "
                        + "'\(view.name)' for one: \(reason)",
                    hint: "set the view's 'proxy_protocol: required', or 'key: peer' if that is "
                        + "meant")
            }
        }
    }

    /// Forwarders that speak HTTP say in fields who their clients are; nobody reads those for
    /// limits yet.
    private func checkForwarders(
        _ draft: Draft, _ view: ViewConfiguration, trusted: [CIDR]
    ) {
        let stranger = trusted.first { forwarder in
            !draft.policy.allowed.contains { $0.covers(forwarder) }
        }
        guard let stranger else { return }
        draft.section.error(
            draft.section.has("key") ? draft.section.location(of: "key") : draft.name.location,
            "the policy '\(draft.name.value)' would take all clients behind \(stranger) "
                + "(forwarding.trusted) in the view '\(view.name)' for one",
            hint: "set 'key: peer' if that is meant, or let 'allow' name the forwarders")
    }
}
