package import EdgeCore

/// What is known of one member, in words that call for different remedies.
package enum MemberState: UInt8, Sendable, CaseIterable {
    /// New: not seen working yet. Takes traffic after one pass, or at once when nothing else is
    /// there.
    case unknown
    case up
    /// Alive, but another member has the traffic (`active-member`).
    case standby
    /// Its checks fail.
    case down
    /// Traffic has failed on it; it comes back by itself.
    case ejected
    /// An administrator's word: no new traffic but that of clients which are bound to it.
    case draining
    /// An administrator's word: no traffic.
    case maintenance
    /// A name that DNS has never answered: there is no address to use.
    case unresolved
    /// Works, but DNS has not confirmed its address for longer than `dns.stale` allows to ignore,
    /// or has left it out of its newest answer.
    case stale

    /// As `edgectl` and logs have it.
    package var word: String {
        switch self {
        case .unknown: "unknown"
        case .up: "up"
        case .standby: "standby"
        case .down: "down"
        case .ejected: "ejected"
        case .draining: "draining"
        case .maintenance: "maintenance"
        case .unresolved: "unresolved"
        case .stale: "stale"
        }
    }
}

/// An administrator's word about a member. Survives reloads, not the process.
package enum AdminState: UInt8, Sendable, CaseIterable {
    case ready, drain, maint
}

/// When workers use a member, decided by the control thread for all of them.
package enum MemberRank: UInt8, Sendable, Comparable {
    /// As the balancer says.
    case preferred
    /// Only if no preferred member is left for the request: backups, and members not seen working
    /// yet while others are.
    case fallback
    /// Only requests that a cookie binds to it.
    case boundOnly
    /// Never; connections in use are finished.
    case never

    package static func < (a: MemberRank, b: MemberRank) -> Bool { a.rawValue < b.rawValue }
}

/// One member as workers are told of it.
package struct RankedMember: Sendable, Equatable {
    package let address: SocketAddress
    /// Its part of the traffic beside the others'; 1 to 256.
    package var weight: Int
    package var rank: MemberRank
    package var state: MemberState
    /// Since when it takes traffic: its part grows over `slowStart` from then on. `.distantPast`
    /// (zero): no ramp.
    package var rampedFrom: Instant

    package init(
        address: SocketAddress, weight: Int = 1, rank: MemberRank = .preferred,
        state: MemberState = .up, rampedFrom: Instant = Instant(nanoseconds: 0)
    ) {
        self.address = address
        self.weight = weight
        self.rank = rank
        self.state = state
        self.rampedFrom = rampedFrom
    }
}

/// What one active check found.
package enum CheckOutcome: Sendable, Equatable {
    case passed
    /// It lives, and cannot say more; `remedy` is said once (kube-apiserver: 401, 403).
    case alive(remedy: String)
    /// It lives, and another member has the traffic.
    case standby
    /// - Parameter reason: a few words for logs and status, without secrets.
    case failed(reason: String)
}

/// What a worker has seen of a member that calls for a verdict at once.
package enum MemberObservation: Sendable, Equatable {
    case connectRefused
    /// Includes attempts that another member's overtook.
    case connectTimedOut
    case connectFailed
    case tlsFailed
    /// The host no longer acknowledges what is sent to it.
    case unreachable
    /// So many requests have failed in a row on this worker (resets, 5xx, timeouts).
    case consecutiveFailures(Int)

    /// A passed check, of whatever kind, says that it is over.
    package var isConnectivity: Bool {
        switch self {
        case .connectRefused, .connectTimedOut, .connectFailed, .tlsFailed, .unreachable: true
        case .consecutiveFailures: false
        }
    }
}

/// What one worker has seen of a member since it last told, about once a second.
package struct MemberSummary: Sendable, Equatable {
    package let address: SocketAddress
    package var requests: Int
    /// Of those: resets, timeouts, and statuses that count as failures.
    package var failures: Int
    /// Sum over the requests of the time from their last byte to the answer's head, nanoseconds.
    package var latencySum: UInt64

    package init(address: SocketAddress, requests: Int, failures: Int, latencySum: UInt64) {
        self.address = address
        self.requests = requests
        self.failures = failures
        self.latencySum = latencySum
    }
}
