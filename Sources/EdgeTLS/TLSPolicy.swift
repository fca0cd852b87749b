/// How TLS is spoken with clients, as far as that is the operator's to say.
package struct TLSPolicy: Sendable, Equatable {
    package enum Version: Sendable {
        case tls12, tls13
    }

    /// The lowest version that is spoken.
    package let minimum: Version
    /// For how long after its handshake a session may be resumed; whole seconds, up to the 7 days
    /// of RFC 8446 §4.6.1.
    package let ticketLifetime: Duration
    /// HTTP/2 is chosen where the client offers it (ALPN).
    package let offersHTTP2: Bool

    package static let ticketLifetimeDefault = Duration.seconds(12 * 3600)

    package init(
        minimum: Version = .tls12, ticketLifetime: Duration = ticketLifetimeDefault,
        offersHTTP2: Bool = true
    ) {
        self.minimum = minimum
        self.ticketLifetime = ticketLifetime
        self.offersHTTP2 = offersHTTP2
    }
}
