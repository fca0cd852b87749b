/// Why a connection or a request ended other than well. Every failure has exactly one: it is the
/// metric's label, the word in the log and in `edgectl status`. Violations of HTTP/1 framing have
/// labels of their own (`HTTP1Violation`).
public enum ReasonCode: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    /// Nothing went wrong.
    case none
    // The client's side.
    case clientClosed
    case clientReset
    case clientHandshakeTimeout
    case clientHandshakeFailed
    case clientHeadTimeout
    case clientIdleTimeout
    case clientBodyTimeout
    case clientReadTimeout
    case clientTLSError
    case clientBadRequest
    // Ours.
    case noRoute
    case misdirected
    case noAddress
    case redirected
    case connectionLimit
    case descriptorLimit
    case memoryLimit
    case draining
    case notServing
    case internalError
    case certificateUnusable
    // The upstream's side.
    case upstreamConnectRefused
    case upstreamConnectTimeout
    case upstreamConnectFailed
    case upstreamTLSFailed
    case upstreamNotVerified
    case upstreamReset
    case upstreamClosedEarly
    case upstreamHeadTimeout
    case upstreamBodyTimeout
    case upstreamBadResponse
    case upstreamTruncated
    case upstreamSurplusBytes
    case upstreamQueueFull
    case upstreamQueueTimeout
    /// Nothing moved on an upgraded or TCP connection.
    case tunnelTimeout
    case clientHelloTimeout
    case clientBodyTooLarge
    // A client of HTTP/2 beyond a limit, by what it did too much of.
    case clientResetFlood
    case clientPingFlood
    case clientSettingsFlood
    case clientPriorityFlood
    case clientWindowFlood
    case clientEmptyDataFlood
    case clientUnknownFrameFlood
    case clientHeaderFlood
    case clientConnectionMemory
    /// Frames that are none of HTTP/2.
    case clientProtocolError
    /// The upstream takes no more streams on this connection.
    case upstreamStreamRefused
    /// The request has passed this node before: somebody's upstream leads back to it (508).
    case loopDetected
    /// The member's host no longer acknowledges what it is sent.
    case upstreamUnreachable
    /// No member may be used, and the upstream does not fail open (503).
    case upstreamAllDown
    /// The upstream has as many requests as it may have (503).
    case upstreamRequestLimit
    /// The request would have been tried again, but too many others have been (503).
    case retryBudgetEmpty
    /// The connection arrived where no view is, or none that its listener serves.
    case noView
    /// It came from somebody who may not speak for others.
    case clientNotTrusted
    case clientProxyHeaderInvalid
    case clientProxyHeaderTimeout
    /// The client's address may not come here (403).
    case clientForbidden
    /// The method is none of those that the path has (405).
    case clientMethodNotAllowed
    /// The site is out of service on purpose (503).
    case maintenance
    /// More than a policy of `rate_limits` lets its client have (429).
    case rateLimited
    /// Closed to make room: it had never said anything, was between two requests, had no streams,
    /// or did not come to the end of its handshake or its first head.
    case evictedUnused
    case evictedIdle
    case evictedHTTP2
    case evictedUnfinished
    /// Work waits for too long: newcomers of views of low priority are refused.
    case overloaded
    /// The process has as much memory as it may have, or nearly: newcomers are refused.
    case memoryPressure

    /// Whose fault it was.
    public enum Blame: String, Sendable {
        case nobody, client, edge, upstream
    }

    public var blame: Blame {
        switch self {
        case .none, .redirected, .tunnelTimeout: .nobody
        case .clientClosed, .clientReset, .clientHelloTimeout, .clientHandshakeTimeout,
            .clientHandshakeFailed, .clientHeadTimeout, .clientIdleTimeout, .clientBodyTimeout,
            .clientReadTimeout, .clientTLSError, .clientBadRequest, .clientBodyTooLarge, .noRoute,
            .misdirected, .clientResetFlood, .clientPingFlood, .clientSettingsFlood,
            .clientPriorityFlood, .clientWindowFlood, .clientEmptyDataFlood,
            .clientUnknownFrameFlood, .clientHeaderFlood, .clientConnectionMemory,
            .clientProtocolError, .clientNotTrusted, .clientProxyHeaderInvalid,
            .clientProxyHeaderTimeout, .clientForbidden, .clientMethodNotAllowed, .rateLimited:
            .client
        case .noAddress, .connectionLimit, .descriptorLimit, .memoryLimit, .draining,
            .notServing, .internalError, .certificateUnusable, .loopDetected, .retryBudgetEmpty,
            .noView, .maintenance, .evictedUnused, .evictedIdle, .evictedHTTP2, .evictedUnfinished,
            .overloaded, .memoryPressure:
            .edge
        case .upstreamConnectRefused, .upstreamConnectTimeout, .upstreamConnectFailed,
            .upstreamTLSFailed, .upstreamNotVerified, .upstreamReset, .upstreamClosedEarly,
            .upstreamHeadTimeout, .upstreamBodyTimeout, .upstreamBadResponse, .upstreamTruncated,
            .upstreamSurplusBytes, .upstreamQueueFull, .upstreamQueueTimeout,
            .upstreamStreamRefused, .upstreamUnreachable, .upstreamAllDown, .upstreamRequestLimit:
            .upstream
        }
    }

    /// The word in logs and metrics: the case's name in snake_case.
    public var label: String { Self.labels[Int(rawValue)] }

    /// Made once: a refusal allocates nothing for its word.
    private static let labels = allCases.map { snakeCase("\($0)") }
}

/// `upstreamTLSFailed` → `upstream_tls_failed`. For labels made from case names, on cold paths.
public func snakeCase(_ name: String) -> String {
    var result = ""
    let letters = Array(name)
    for (index, letter) in letters.enumerated() {
        guard letter.isUppercase else {
            result.append(letter)
            continue
        }
        let afterLower = index > 0 && !letters[index - 1].isUppercase
        let beforeLower =
            index > 0 && index + 1 < letters.count && letters[index + 1].isLowercase
        if afterLower || beforeLower { result.append("_") }
        result.append(Character(letter.lowercased()))
    }
    return result
}
