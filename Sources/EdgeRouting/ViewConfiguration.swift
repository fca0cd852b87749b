package import EdgeCore

/// One entry of `views:`, checked: a named place that clients come from. What they may reach, under
/// which name, with which certificate and policy, depends on it. Chosen by the interface that a
/// connection arrived on and its source, never by its destination.
package struct ViewConfiguration: Sendable, Equatable {
    /// What is done about names that the view does not have.
    package enum Unknown: Sendable, Equatable {
        /// TLS: the alert `unrecognized_name`, also without SNI; a request: 421 on TLS, else 404.
        case refuse
        /// The certificate of this host, which is one of the view's, and its site.
        case host(String)
        /// The certificate of `certificates.default`, if there is one, and 404.
        case notFound
    }

    package var name: String
    /// Where its connections arrive; empty: anywhere.
    package var interfaces: [String] = []
    /// Where they come from, as the socket says; empty: from anywhere.
    package var sources: [CIDR] = []
    /// Ours as its clients know them, for DNS records; ports are 0.
    package var addresses: [SocketAddress] = []
    /// Whom its clients ask for names: one of `resolvers:`, for `--check --dns`; nil: the one with
    /// the name's domain, else the system's.
    package var resolver: String?
    /// Every connection begins with a PROXY header, else it is closed. The header decides who the
    /// client is, never the view.
    package var requiresProxyHeader = false
    /// Who may connect then.
    package var trustedProxies: [CIDR] = []
    package var unknown = Unknown.notFound
    /// TLS 1.2 is not spoken, whatever `tls.min_version` says.
    package var requiresTLS13 = false
    package var clientCertificates: ClientCertificateConfiguration?
    package var rules = RuleConfiguration()
    /// When there is too little of something, its newcomers are refused and its idle connections
    /// closed before those of others.
    package var isLow = false

    package init(name: String) { self.name = name }

    /// The one view of a configuration without `views:`; nothing of it is ever shown.
    package static let only = ViewConfiguration(name: "")
}

/// How clients are asked for certificates.
package struct ClientCertificateConfiguration: Sendable, Equatable {
    /// Path of the PEM file with the authorities that are believed.
    package var authorities: String
    /// Path of the PEM file with what they have revoked; nil: nobody asks.
    package var revocations: String?
    /// Without a certificate the handshake fails; else the request goes on without the field.
    package var isRequired: Bool
    /// The field that tells the upstream the subject (RFC 4514); whoever sends it is not believed.
    package var field: String?

    package init(
        authorities: String, revocations: String? = nil, isRequired: Bool = true,
        field: String? = nil
    ) {
        self.authorities = authorities
        self.revocations = revocations
        self.isRequired = isRequired
        self.field = field
    }
}
