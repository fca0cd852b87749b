package import EdgeCore

/// A view as workers see it.
package struct ClientView: Sendable {
    package let name: String
    /// Its place in the router: that of the configuration.
    package let index: Int
    package let requiresProxyHeader: Bool
    /// Who may connect then.
    package let trustedProxies: CIDRList
    /// How TLS is spoken where no site says otherwise (`Routing.profiles`).
    package let profile: Int32
    /// Names that it does not have get 421 over TLS, and no certificate.
    package let refusesUnknown: Bool
    /// What a ClientHello says decides more than the certificate.
    package let looksAtHellos: Bool
    /// True clients whose connections are passed on: those in the list, if there is one, and not in
    /// the other. Requests have `Routing.access`.
    package let allowed: CIDRList?
    package let denied: CIDRList
    /// Its newcomers are refused, and its idle connections closed, before those of others.
    package let isLow: Bool

    package init(
        name: String, index: Int, requiresProxyHeader: Bool = false,
        trustedProxies: CIDRList = CIDRList(), profile: Int32 = 0, refusesUnknown: Bool = false,
        looksAtHellos: Bool = false, allowed: CIDRList? = nil, denied: CIDRList = CIDRList(),
        isLow: Bool = false
    ) {
        self.isLow = isLow
        self.name = name
        self.index = index
        self.requiresProxyHeader = requiresProxyHeader
        self.trustedProxies = trustedProxies
        self.profile = profile
        self.refusesUnknown = refusesUnknown
        self.looksAtHellos = looksAtHellos
        self.allowed = allowed
        self.denied = denied
    }

    /// Whether the view's rules let a client's connection be passed on.
    func admits(_ client: SocketAddress) -> Bool {
        if let allowed, !allowed.contains(client) { return false }
        return denied.isEmpty || !denied.contains(client)
    }
}
