package import EdgeCore
package import EdgeHTTP

/// How clients' requests are treated, beside sizes of heads: part of a snapshot.
package struct ClientPolicy: Sendable {
    /// Nanoseconds from accept until the ClientHello is complete.
    package var clientHello: UInt64 = 5_000_000_000
    /// Nanoseconds that an upgraded connection may rest.
    package var tunnel: UInt64 = 3_600_000_000_000
    /// Bytes of a request's content; what has more is a 413.
    package var requestBodyMax = UInt64.max
    /// Clients whose word about whom they forward for is believed.
    package var trusted = CIDRList()
    /// `Forwarded` (RFC 7239) is sent beside the X-Forwarded-* fields.
    package var sendsForwarded = false
    /// Names with `_` go on.
    package var passesUnderscores = false
    package var trace = Trace.pass
    /// For answers of our own.
    package var errorPages = ErrorPages()
    /// By site: what its connections may be upgraded to, WebSocket aside.
    package var upgrades: [[UpgradeProtocol]] = []

    /// What becomes of a client's `traceparent` and `tracestate`.
    package enum Trace: Sendable {
        /// They are not looked at.
        case off
        /// Sound ones go on.
        case pass
        /// The same, and a request without one begins a trace.
        case start
        /// The same, and only those of trusted clients count.
        case restart
    }

    package init() {}
}
