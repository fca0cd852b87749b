/// One entry of `sites:`, checked.
package struct SiteConfiguration: Sendable, Equatable {
    /// A name of the site's, in one view.
    package struct Host: Sendable, Equatable {
        /// Index into the configuration's list of views.
        package let view: Int
        /// In lower case: a name, `*.example.org` for a wildcard of exactly one label, `*` for any.
        package let pattern: String

        package init(view: Int, pattern: String) {
            self.view = view
            self.pattern = pattern
        }
    }

    /// Where its connections and requests go.
    package enum Destination: Sendable, Equatable {
        /// Index into the configuration's list of upstreams: TLS ends here, requests are sent on.
        case upstream(Int)
        /// The same; TLS is between client and server, bytes are passed on as they are.
        case passthrough(Int)
        /// Rules answer every request: a redirect, or maintenance.
        case none
    }

    package var hosts: [Host]
    /// The name that its servers know it by, or a wildcard whose label is the client's; nil:
    /// whatever the client asked for.
    package var internalHost: String?
    package var destination: Destination
    /// With `passthrough`: only for clients that offer one of these (ALPN); empty: for all.
    package var protocols: [String] = []
    /// Protocols that connections may switch to besides WebSocket, in lower case.
    package var upgrades: [String] = []
    /// Instead of the view's; nil: as the view does.
    package var clientCertificates: ClientCertificateConfiguration?
    /// Beside the view's.
    package var rules = RuleConfiguration()
    /// In the order of the file, prefixes are different.
    package var paths: [PathConfiguration] = []

    package init(hosts: [Host], destination: Destination) {
        self.hosts = hosts
        self.destination = destination
    }

    /// The upstream of requests without a path of their own, or of connections; nil: none.
    package var upstream: Int? {
        switch destination {
        case .upstream(let index), .passthrough(let index): index
        case .none: nil
        }
    }

    package var isPassthrough: Bool {
        if case .passthrough = destination { true } else { false }
    }
}

/// One entry of a site's `paths:`, checked.
package struct PathConfiguration: Sendable, Equatable {
    /// Begins with `/`. Whole segments: `/api` is for `/api` and `/api/x`, not for `/apix`.
    package var prefix: String
    /// Index into the configuration's list of upstreams; nil: the site's.
    package var upstream: Int?
    /// Beside the site's and the view's.
    package var rules = RuleConfiguration()

    package init(prefix: String, upstream: Int? = nil) {
        self.prefix = prefix
        self.upstream = upstream
    }
}
