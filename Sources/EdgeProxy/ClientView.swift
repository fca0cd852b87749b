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

    package init(
        name: String, index: Int, requiresProxyHeader: Bool = false,
        trustedProxies: CIDRList = CIDRList(), profile: Int32 = 0, refusesUnknown: Bool = false,
        looksAtHellos: Bool = false
    ) {
        self.name = name
        self.index = index
        self.requiresProxyHeader = requiresProxyHeader
        self.trustedProxies = trustedProxies
        self.profile = profile
        self.refusesUnknown = refusesUnknown
        self.looksAtHellos = looksAtHellos
    }
}
