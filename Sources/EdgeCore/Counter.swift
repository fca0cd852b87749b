/// What each worker counts. One 64-bit cell per worker and counter, written by that worker only
/// and read by anybody (relaxed): `SharedBoard` has the layout. Names are Prometheus names with
/// `edged_` in front and `_total` behind, but for gauges.
public enum Counter: Int, Sendable, CaseIterable {
    case connectionsAccepted
    case connectionsOpen
    case connectionsRefused
    case acceptErrors
    case handshakesCompleted
    case handshakesFailed
    case handshakesResumed
    case requests
    case requestsActive
    case responses1xx
    case responses2xx
    case responses3xx
    case responses4xx
    case responses5xx
    case clientBytesReceived
    case clientBytesSent
    case upstreamConnects
    case upstreamConnectFailures
    case upstreamConnectionsOpen
    case upstreamConnectionsIdle
    case upstreamReused
    case upstreamRetries
    case upstreamBytesReceived
    case upstreamBytesSent
    case receiveBuffersExhausted
    case staleCompletions
    case snapshotsApplied
    case loopTurns
    case chunkBytes
    case tcpConnections
    case requestsWaiting
    case accessLogDropped
    /// Handshakes with upstreams that have ended well, and how many of them resumed a session.
    case upstreamTLSHandshakes
    case upstreamTLSResumed
    /// Ticket keys that are known, and how many have been made.
    case ticketKeys
    case ticketKeyRotations
    case certificates
    case certificatesUnusable
    /// Clients' connections of HTTP/2, and streams on either side.
    case http2Connections
    case http2Streams
    /// Connections to upstreams of HTTP/2 that were made.
    case upstreamHTTP2Connections
    /// Connects that were begun because another member's took too long, and those that came first.
    case upstreamRaces
    case upstreamRacesWon
    /// Requests that were sent to a second member as well.
    case upstreamHedges
    /// Times that traffic took a member out (the control thread counts).
    case memberEjections
    /// Requests that a policy of `rate_limits` in shadow mode would have refused.
    case requestsOverShadowLimit
    /// Pauses of transfers whose bytes are limited, and of requests whose client is in debt.
    case transfersPaused
    /// Rounds of transfers that a policy in shadow mode would have paused.
    case transfersOverShadowLimit
    /// Connections and handshakes that one would have refused.
    case connectionsOverShadowLimit
    case handshakesOverShadowLimit
    /// Handshakes that a policy of `rate_limits` has refused.
    case handshakesRefused
    /// Flights of handshakes of views of low priority that had to wait for their turn.
    case handshakesDeferred
    /// The longest that work has waited in the last second.
    case queueDelayMicroseconds
    /// The same of what is not of low priority.
    case queueDelayPreferredMicroseconds
    /// What the process has resident, and what it may have (the control thread measures).
    case memoryBytes
    case memoryLimitBytes

    /// A gauge goes up and down and starts at 0 with each proxy; a counter never goes back.
    public var isGauge: Bool {
        switch self {
        case .connectionsOpen, .requestsActive, .upstreamConnectionsOpen,
            .upstreamConnectionsIdle, .chunkBytes, .requestsWaiting, .ticketKeys, .certificates,
            .certificatesUnusable, .http2Connections, .http2Streams, .queueDelayMicroseconds,
            .queueDelayPreferredMicroseconds, .memoryBytes, .memoryLimitBytes:
            true
        default: false
        }
    }

    public var label: String { snakeCase("\(self)") }
}
