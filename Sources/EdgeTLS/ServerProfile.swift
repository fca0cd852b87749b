/// How TLS is spoken with the clients of one view and one policy towards their certificates.
/// Immutable; numbered by whoever makes snapshots, the same number over reloads as long as view and
/// policy are the same.
package struct ServerProfile: Sendable {
    /// The view's own certificates, which are asked before those of all views; nil: it has none.
    package let certificates: CertificateStore?
    /// As `TLSEngine.use(_:fallback:)` has it, for the view.
    package let fallback: String?
    /// Tickets never leave it; nil: that of the one view, without client certificates.
    package let context: SessionContext?
    package let requiresTLS13: Bool
    /// Clients are asked for a certificate; nil: they are not.
    package let clients: ClientAuthority?

    package init(
        certificates: CertificateStore? = nil, fallback: String?, context: SessionContext? = nil,
        requiresTLS13: Bool = false, clients: ClientAuthority? = nil
    ) {
        self.certificates = certificates
        self.fallback = fallback
        self.context = context
        self.requiresTLS13 = requiresTLS13
        self.clients = clients
    }
}

/// Who vouches for clients.
package struct ClientAuthority: Sendable {
    package let trust: ClientTrust
    /// Without a certificate the handshake fails.
    package let isRequired: Bool

    package init(trust: ClientTrust, isRequired: Bool) {
        self.trust = trust
        self.isRequired = isRequired
    }
}

/// What was found out about a client's name before its handshake.
package enum NameKnowledge: UInt8, Sendable {
    /// Certificates are looked for by the name that the client says.
    case known = 1
    /// The view does not have it: the fallback's certificate, if there is one.
    case unknown = 2
    /// No certificate whatever it says: the handshake ends in `unrecognized_name`.
    case refused = 3
}
