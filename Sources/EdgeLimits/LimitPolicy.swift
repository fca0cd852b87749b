package import EdgeCore

/// One entry of `rate_limits:`, checked: what is limited, per whom, and what becomes of the rest.
/// Views, sites and paths name policies; all that are named along the way apply.
package struct LimitPolicy: Sendable, Hashable {
    /// Whom a policy counts.
    package enum Key: Sendable, Hashable {
        /// The true client: an IPv4 address or an IPv6 /64, unless said otherwise.
        case client
        /// A field's value; who sends none is counted by address.
        case field(String)
        /// A cookie's value; who sends none is counted by address.
        case cookie(String)
        /// All together.
        case everybody
    }

    /// What a policy counts apart, besides whom.
    package enum Scope: UInt8, Sendable, Hashable, CaseIterable {
        /// One count wherever the policy is named.
        case policy
        case view
        case site
        case path
    }

    /// Requests that count for more, or for nothing.
    package struct Cost: Sendable, Hashable {
        /// Case-sensitive; empty: all.
        package var methods: [String]
        /// In whole segments, as a site's paths; nil: all.
        package var path: String?
        /// 0…65,535.
        package var cost: UInt32

        package init(methods: [String] = [], path: String? = nil, cost: UInt32) {
            self.methods = methods
            self.path = path
            self.cost = cost
        }
    }

    /// A flood of answers that clients bring about themselves.
    package struct Errors: Sendable, Hashable {
        package var limit: RateLimit
        /// Statuses that count: 401 and 404, for example.
        package var statuses: [ClosedRange<UInt16>]
        /// How long nothing more is served.
        package var ban: Duration

        package init(limit: RateLimit, statuses: [ClosedRange<UInt16>], ban: Duration) {
            self.limit = limit
            self.statuses = statuses
            self.ban = ban
        }
    }

    package var name: String
    package var key = Key.client
    package var scope = Scope.policy
    /// Leading bits of an address that count.
    package var ipv4Bits: UInt8 = 32
    package var ipv6Bits: UInt8 = 64
    /// Nil: not limited.
    package var rates: [LimitedThing: RateLimit] = [:]
    package var counts: [CountedThing: UInt32] = [:]
    /// All that the policy's users may do together, in fair parts when it is scarce.
    package var ceiling: RateLimit?
    package var errors: Errors?
    /// The first that fits.
    package var costs: [Cost] = []
    /// Refused requests count, too.
    package var countsRefused = false
    /// Nothing is refused; what would have been is counted and logged.
    package var isShadow = false
    /// 429 or 503, for example.
    package var status: UInt16 = 429
    /// Never limited by this policy.
    package var allowed: [CIDR] = []
    /// Files with more of them, one block per line.
    package var allowFiles: [String] = []
    /// Never served where this policy applies.
    package var denied: [CIDR] = []
    package var denyFiles: [String] = []

    package init(name: String) { self.name = name }

    /// TLS handshakes of any kind.
    package var limitsHandshakes: Bool {
        rates[.handshakes] != nil || rates[.fullHandshakes] != nil
            || rates[.resumedHandshakes] != nil
    }

    /// Something that is known before there is a request.
    package var limitsConnections: Bool {
        limitsHandshakes || rates[.connections] != nil || counts[.connections] != nil
    }
}

/// What has a rate.
package enum LimitedThing: UInt8, Sendable, Hashable, CaseIterable {
    /// Requests, streams included; WebSockets are one each.
    case requests
    /// TCP connections accepted.
    case connections
    /// TLS handshakes of either kind.
    case handshakes
    case fullHandshakes
    case resumedHandshakes
    /// Bytes from clients.
    case upload
    /// Bytes to clients.
    case download

    /// In the name of its limit: two limits of a policy are told apart by it.
    package var word: String {
        switch self {
        case .requests: "requests"
        case .connections: "new_connections"
        case .handshakes: "handshakes"
        case .fullHandshakes: "full_handshakes"
        case .resumedHandshakes: "resumed_handshakes"
        case .upload: "upload"
        case .download: "download"
        }
    }
}

/// What is counted while it lasts.
package enum CountedThing: UInt8, Sendable, Hashable, CaseIterable {
    case connections
    /// Requests under way, streams included.
    case requests

    package var word: String {
        switch self {
        case .connections: "connections"
        case .requests: "concurrent_requests"
        }
    }
}
