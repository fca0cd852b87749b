package import EdgeCore

/// What DNS says of one entry of `servers:`.
package struct Proposal: Sendable, Equatable {
    package var addresses: [Proposed]
    /// False: what was known last; DNS does not answer.
    package var isConfirmed: Bool
    /// The same address for every name, or one of our own: nothing to rely on.
    package var isSuspicious: Bool
    /// What was proposed before has not been confirmed for too long and is no address any more; it
    /// has none itself.
    package private(set) var isExpired = false

    /// See `isExpired`.
    package static let expired = {
        var proposal = Proposal(addresses: [], isConfirmed: false)
        proposal.isExpired = true
        return proposal
    }()

    package init(addresses: [Proposed], isConfirmed: Bool = true, isSuspicious: Bool = false) {
        self.addresses = addresses
        self.isConfirmed = isConfirmed
        self.isSuspicious = isSuspicious
    }

    package struct Proposed: Sendable, Hashable {
        /// With its port.
        package let address: SocketAddress
        /// Nil: the entry's.
        package let weight: Int?
        package let isBackup: Bool?

        package init(address: SocketAddress, weight: Int? = nil, isBackup: Bool? = nil) {
            self.address = address
            self.weight = weight
            self.isBackup = isBackup
        }
    }
}

/// Something to tell an operator about a member; once each.
package struct HealthNews: Sendable, Equatable {
    package let address: SocketAddress
    /// The DNS name that the address is from; empty for a configured address.
    package let source: String
    /// Nil: it has joined.
    package let old: MemberState?
    /// Nil: it has left.
    package let new: MemberState?
    package let reason: String
    /// The member works, and `reason` says what would make its check say more; states are the same.
    package let isRemedy: Bool

    package init(
        address: SocketAddress, source: String, old: MemberState?, new: MemberState?,
        reason: String, isRemedy: Bool = false
    ) {
        self.address = address
        self.source = source
        self.old = old
        self.new = new
        self.reason = reason
        self.isRemedy = isRemedy
    }
}

/// One member for `status` and metrics.
package struct MemberHealthReport: Sendable, Equatable {
    /// Nil with `.unresolved`: a name without any address.
    package let address: SocketAddress?
    /// The DNS name; empty for a configured address.
    package let source: String
    package let state: MemberState
    package let rank: MemberRank
    package let admin: AdminState
    /// Of the newest failure, also when it is over; nil: none so far.
    package let failure: String?
    /// What would make its check say more.
    package let remedy: String?
    /// Since when it is in this state.
    package let since: Instant
    package let checksPassed: UInt64
    package let checksFailed: UInt64
    package let lastCheck: Instant?
    package let ejections: UInt64
    package let ejectedUntil: Instant?
    package let weight: Int
    package let isBackup: Bool
}

extension MemberObservation {
    /// For logs and status.
    package var reason: String {
        switch self {
        case .connectRefused: "connection refused"
        case .connectTimedOut: "no connection in time"
        case .connectFailed: "connection failed"
        case .tlsFailed: "TLS handshake failed"
        case .unreachable: "host does not acknowledge"
        case .consecutiveFailures(let count): "\(count) requests in a row failed"
        }
    }

    /// One says it all: nothing listens there, or nobody is there.
    var isConclusive: Bool {
        switch self {
        case .connectRefused, .unreachable: true
        case .connectTimedOut, .connectFailed, .tlsFailed, .consecutiveFailures: false
        }
    }
}

extension UpstreamConfiguration.Server {
    /// The DNS name to ask for; empty for a configured address.
    package var sourceName: String {
        switch host {
        case .address: ""
        case .name(let name), .service(let name): name
        }
    }

    /// What DNS says of one is said of the other.
    func isSameSource(as other: Self) -> Bool { host == other.host && port == other.port }
}
