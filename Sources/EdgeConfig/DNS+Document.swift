import EdgeUpstream

/// How the addresses of upstream names are kept: `dns:`, checked and with its defaults filled in.
package struct DNSConfiguration: Sendable, Equatable {
    /// How long an answer is believed at most.
    package let refresh: Duration
    /// How long an address is kept that DNS does not confirm; nil: for ever.
    package let stale: Duration?
    /// /etc/hosts is asked first.
    package let usesHosts: Bool

    /// Without arguments: what a file that says nothing about it means.
    package init(
        refresh: Duration = .seconds(5), stale: Duration? = nil, usesHosts: Bool = false
    ) {
        self.refresh = refresh
        self.stale = stale
        self.usesHosts = usesHosts
    }
}

extension DNSConfiguration {
    private enum Answer: String { case no, yes }

    static func decode(_ section: Section) -> Self {
        let refresh = section.duration("refresh")
        let stale = section.durationOrUnlimited("stale")
        if let stale, stale < refresh {
            section.error(
                section.location(of: "stale"), "dns.stale is less than dns.refresh",
                hint: "at least \(Quantity.text(refresh)): no name is asked for more often")
        }
        return Self(
            refresh: refresh, stale: stale,
            usesHosts: section.choice("hosts", as: Answer.self) == .yes)
    }
}

extension Assembly {
    /// What a restart without DNS would cost is worth knowing before.
    func checkState(_ directory: Located<String>?, upstreams: [UpstreamDraft]) {
        guard directory == nil, !main.has("state") else { return }
        let first = upstreams.first { draft in
            draft.configuration.servers.contains { server in
                switch server.host {
                case .address: false
                case .name, .service: true
                }
            }
        }
        guard let first else { return }
        main.warning(
            first.section.location(of: "servers"),
            "\(first.section.title) has servers by name, and a start without DNS knows none of "
                + "their addresses",
            hint: "set 'state' to a folder for the last good ones")
    }
}
