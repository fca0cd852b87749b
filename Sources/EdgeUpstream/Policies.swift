/// How members share an upstream's traffic.
package enum BalancePolicy: Sendable, Hashable {
    /// In turn, in proportion to the weights, as evenly spread as can be (smooth weighted).
    case roundRobin
    /// The member with the fewest requests under way for its weight.
    case leastRequests
    /// The better of two random ones, by peak-EWMA of latency times requests under way.
    case fastest
    /// The same member for the same key, as long as it is not overloaded (bounded load).
    case hash(HashKey)

    package enum HashKey: Sendable, Hashable {
        /// The client's address.
        case client
        /// A request field, in lower case.
        case header(String)
        case cookie(String)
    }
}

/// A cookie of ours binds a client to the member that served it first.
package struct StickyPolicy: Sendable, Hashable {
    package let cookie: String

    package init(cookie: String) { self.cookie = cookie }
}

/// How members are asked whether they work.
package struct HealthPolicy: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// A connection can be made.
        case tcp
        /// And a handshake.
        case tls
        /// HTTP/1.1, over TLS where `tls` says so.
        case http(Request)
        case http2(Request)
        /// grpc.health.v1.Health/Check of a service; "" is the whole server.
        case grpc(service: String)
        /// GET /readyz: 200 is ready; 401 and 403 are alive; 5xx is down.
        case kubeAPIServer
        /// The member that answers 200 has the traffic; a redirect or 503 is a standby.
        case activeMember(Request)
    }

    package struct Request: Sendable, Hashable {
        package var method: String
        package var path: String
        /// Nil: the TLS name, else the address.
        package var host: String?
        package var headers: [Header]
        /// Statuses that pass.
        package var statuses: [ClosedRange<UInt16>]
        /// The answer's content has to contain it (within its first 64 KiB).
        package var bodyContains: String?
        /// A file whose first line is sent as `Authorization: Bearer`, read for each check.
        package var tokenFile: String?

        package init(
            method: String = "GET", path: String = "/", host: String? = nil,
            headers: [Header] = [], statuses: [ClosedRange<UInt16>] = [200...399],
            bodyContains: String? = nil, tokenFile: String? = nil
        ) {
            self.method = method
            self.path = path
            self.host = host
            self.headers = headers
            self.statuses = statuses
            self.bodyContains = bodyContains
            self.tokenFile = tokenFile
        }
    }

    package struct Header: Sendable, Hashable {
        package let name: String
        package let value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package var kind: Kind
    /// Where the check speaks TLS otherwise than traffic does; nil: as traffic does.
    package var tls: UpstreamConfiguration.TLS?
    /// Another port than traffic's.
    package var port: UInt16?
    package var interval: Duration
    /// After a change, until the verdict stands.
    package var fastInterval: Duration
    package var timeout: Duration
    /// Passes in a row that make a member up, and failures in a row that make it down.
    package var rise: Int
    package var fall: Int
    /// As `Request.tokenFile`, for `kubeAPIServer`, which has no other choice in its request.
    package var tokenFile: String?

    package init(
        kind: Kind = .tcp, tls: UpstreamConfiguration.TLS? = nil, port: UInt16? = nil,
        interval: Duration = .seconds(2), fastInterval: Duration = .milliseconds(500),
        timeout: Duration = .seconds(1), rise: Int = 2, fall: Int = 3, tokenFile: String? = nil
    ) {
        self.kind = kind
        self.tls = tls
        self.port = port
        self.interval = interval
        self.fastInterval = fastInterval
        self.timeout = timeout
        self.rise = rise
        self.fall = fall
        self.tokenFile = tokenFile
    }
}

extension HealthPolicy {
    /// The token file of whatever kind it is; nil: no token is sent.
    package var anyTokenFile: String? {
        switch kind {
        case .http(let request), .http2(let request), .activeMember(let request):
            request.tokenFile
        case .kubeAPIServer: tokenFile
        case .tcp, .tls, .grpc: nil
        }
    }
}

/// When traffic itself takes a member out (passive checks).
package struct EjectionPolicy: Sendable, Hashable {
    /// Failed requests in a row on one worker.
    package var consecutive: Int
    /// Failed of all requests in ten seconds, in percent; 0: not looked at.
    package var failurePercent: Int
    /// Requests in ten seconds below which rate and latency say nothing.
    package var requestsMin: Int
    /// Times the median of the pool's members; 0: not looked at.
    package var latencyFactor: Int
    /// How long at first; doubled each time, up to the last; forgotten after ten times as long
    /// without.
    package var first: Duration
    package var last: Duration
    /// Most of a pool's members that may be out at once, in percent; one may always be, of several.
    package var sharePercent: Int

    package init(
        consecutive: Int = 5, failurePercent: Int = 50, requestsMin: Int = 20,
        latencyFactor: Int = 0, first: Duration = .seconds(2), last: Duration = .seconds(300),
        sharePercent: Int = 50
    ) {
        self.consecutive = consecutive
        self.failurePercent = failurePercent
        self.requestsMin = requestsMin
        self.latencyFactor = latencyFactor
        self.first = first
        self.last = last
        self.sharePercent = sharePercent
    }
}

/// When a request is sent again, and how often.
package struct RetryPolicy: Sendable, Hashable {
    /// Attempts beside the first; 0: none.
    package var attempts: Int
    /// Answers that are worth another attempt, for requests that do no harm twice.
    package var statuses: [UInt16]
    /// Further attempts of requests that had been sent, in percent of all requests, beside 100 that
    /// are always allowed within ten seconds.
    package var budgetPercent: Int
    /// From the request's last byte until its answer's head, per attempt; nil: `timeouts.response`.
    package var perTry: Duration?
    /// From the request's head until its answer's; nil: no limit but the attempts'.
    package var overall: Duration?
    /// A GET without an answer for so long is sent to another member as well; nil: never.
    package var hedgeAfter: Duration?

    package init(
        attempts: Int = 3, statuses: [UInt16] = [], budgetPercent: Int = 20,
        perTry: Duration? = nil, overall: Duration? = nil, hedgeAfter: Duration? = nil
    ) {
        self.attempts = attempts
        self.statuses = statuses
        self.budgetPercent = budgetPercent
        self.perTry = perTry
        self.overall = overall
        self.hedgeAfter = hedgeAfter
    }
}
