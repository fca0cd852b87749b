internal import EdgeCore
package import EdgeHTTP1
package import EdgeLimits
package import EdgeTLS
package import EdgeUpstream

/// Everything a worker needs to know, immutable, replaced as a whole between two events. Requests
/// in flight hold numbers, never a reference to it.
package final class RuntimeSnapshot: Sendable {
    /// Grows by one with each published snapshot.
    package let epoch: UInt64
    package let routing: Routing
    /// Of all views.
    package let certificates: CertificateStore
    package let tls: TLSPolicy
    /// By their numbers, which connections keep. Retired ones keep what they meant, for the
    /// connections that they have.
    package let listeners: [Listener]
    /// Of the configuration's listeners, in its order.
    package let listenerNumbers: [Int]
    /// In the order of their numbers.
    package let pools: [Pool]
    /// Those of all pools, each once.
    package let clientPolicies: [(trust: ClientTrust, identity: ClientIdentity?)]
    package let timeouts: Timeouts
    package let requestLimits: HeadLimits
    package let responseLimits: HeadLimits
    /// Nil: requests are not logged.
    package let accessLog: AccessLog?
    package let client: ClientPolicy
    package let http2: HTTP2Settings
    /// What `RequestRules.limitPlan` refers to.
    package let limits: LimitPlans

    /// What a worker does with connections of one listener.
    package struct Listener: Sendable {
        package let name: String
        package let isTLS: Bool
        /// Set: every request is answered by a redirect to https on this port.
        package let redirectPort: UInt16?
        /// Requests for ACME challenges go to this pool all the same (RFC 8555 §8.3).
        package let challengePool: Int32?
        /// Set: bytes are passed on to this pool as they are.
        package let relayPool: Int32?
        /// As upstreams are told it; 0: they are not.
        package let port: UInt16
        /// Names of those it serves; nil: all.
        package let views: [String]?
        /// No longer in the configuration: its connections are asked to leave.
        package var isRetired = false

        package init(
            name: String, isTLS: Bool, redirectPort: UInt16?, relayPool: Int32? = nil,
            challengePool: Int32? = nil, port: UInt16 = 0, views: [String]? = nil
        ) {
            self.views = views
            self.challengePool = challengePool
            self.relayPool = relayPool
            self.name = name
            self.isTLS = isTLS
            self.redirectPort = redirectPort
            self.port = port
        }
    }

    /// Connections that may be shared: same upstream, same TLS policy and name (invariant 5).
    package struct Pool: Sendable {
        /// Stable over snapshots as long as the key (upstream, protocol, trust, identity, name) is
        /// the same.
        package let id: Int32
        /// The same for pools that differ in whom they trust and which certificate they show alone:
        /// the newest takes over what waits in the others.
        package let lineage: Int32
        package let view: UpstreamView
        package let tls: PoolTLS?
        /// `auto` with TLS only.
        package let version: UpstreamProtocol
        /// Connections begin with a PROXY header, and so belong to one client.
        package let sendsProxyHeader: Bool
        /// Requests that may wait in this worker.
        package let queueMax: Int
        package let queueTimeout: UInt64
        package let connectTimeout: UInt64
        package let responseTimeout: UInt64
        /// Between two pieces of an answer, and for a piece of a request to be taken.
        package let bodyTimeout: UInt64
        package let idleTimeout: UInt64

        package init(
            id: Int32, lineage: Int32? = nil, view: UpstreamView, tls: PoolTLS?,
            version: UpstreamProtocol = .http1, sendsProxyHeader: Bool = false,
            queueMax: Int = 0,
            queueTimeout: Duration = .seconds(5),
            connectTimeout: Duration, responseTimeout: Duration, bodyTimeout: Duration,
            idleTimeout: Duration
        ) {
            self.id = id
            self.lineage = lineage ?? id
            self.view = view
            self.tls = tls
            self.version = version
            self.sendsProxyHeader = sendsProxyHeader
            self.queueMax = queueMax
            self.queueTimeout = queueTimeout.nanoseconds
            self.connectTimeout = connectTimeout.nanoseconds
            self.responseTimeout = responseTimeout.nanoseconds
            self.bodyTimeout = bodyTimeout.nanoseconds
            self.idleTimeout = idleTimeout.nanoseconds
        }

        fileprivate init(_ other: Pool, view: UpstreamView) {
            id = other.id
            lineage = other.lineage
            self.view = view
            tls = other.tls
            version = other.version
            sendsProxyHeader = other.sendsProxyHeader
            queueMax = other.queueMax
            queueTimeout = other.queueTimeout
            connectTimeout = other.connectTimeout
            responseTimeout = other.responseTimeout
            bodyTimeout = other.bodyTimeout
            idleTimeout = other.idleTimeout
        }

        package var upstream: String { view.name }
    }

    package struct PoolTLS: Sendable {
        package let trust: ClientTrust
        /// The certificate that is shown to the upstream; nil: none.
        package let identity: ClientIdentity?
        /// SNI and verified name, NUL-terminated; nil: none.
        package let name: [CChar]?

        package init(trust: ClientTrust, identity: ClientIdentity? = nil, name: String?) {
            self.trust = trust
            self.identity = identity
            self.name = name.map { Array($0.utf8CString) }
        }
    }

    /// In nanoseconds, and nanoseconds per byte.
    package struct Timeouts: Sendable {
        package let handshake: UInt64
        package let requestHead: UInt64
        package let keepAlive: UInt64
        package let body: UInt64
        /// A relayed connection on which nothing moves.
        package let tcp: UInt64
        /// What leaves the configuration is cut then.
        package let drain: UInt64
        /// What a byte of a request's content buys its client; 0: it need not hurry.
        package let uploadPrice: UInt64
        /// What a byte that a client has taken buys it.
        package let downloadPrice: UInt64

        /// - Parameters:
        ///   - uploadMin: bytes per second that clients have to send; 0: no minimum.
        ///   - downloadMin: bytes per second that clients have to take; 0: no minimum.
        package init(
            handshake: Duration, requestHead: Duration, keepAlive: Duration, body: Duration,
            tcp: Duration, uploadMin: Int, downloadMin: Int, drain: Duration = .seconds(30)
        ) {
            self.tcp = tcp.nanoseconds
            self.drain = drain.nanoseconds
            uploadPrice = uploadMin > 0 ? 1_000_000_000 / UInt64(uploadMin) : 0
            downloadPrice = downloadMin > 0 ? 1_000_000_000 / UInt64(downloadMin) : 0
            self.handshake = handshake.nanoseconds
            self.requestHead = requestHead.nanoseconds
            self.keepAlive = keepAlive.nanoseconds
            self.body = body.nanoseconds
        }
    }

    package init(
        epoch: UInt64, routing: Routing, certificates: CertificateStore,
        tls: TLSPolicy = TLSPolicy(), listeners: [Listener], listenerNumbers: [Int]? = nil,
        pools: [Pool], timeouts: Timeouts,
        requestLimits: HeadLimits, responseLimits: HeadLimits, accessLog: AccessLog? = nil,
        client: ClientPolicy = ClientPolicy(), http2: HTTP2Settings = HTTP2Settings(),
        limits: LimitPlans = LimitPlans()
    ) {
        self.limits = limits
        self.epoch = epoch
        self.routing = routing
        self.certificates = certificates
        self.tls = tls
        self.listeners = listeners
        self.listenerNumbers = listenerNumbers ?? Array(listeners.indices)
        self.pools = pools
        var policies: [[ObjectIdentifier]: (trust: ClientTrust, identity: ClientIdentity?)] = [:]
        for case let tls? in pools.lazy.map(\.tls) {
            let key =
                [ObjectIdentifier(tls.trust)] + (tls.identity.map { [ObjectIdentifier($0)] } ?? [])
            policies[key] = (tls.trust, tls.identity)
        }
        clientPolicies = Array(policies.values)
        self.timeouts = timeouts
        self.requestLimits = requestLimits
        self.responseLimits = responseLimits
        self.accessLog = accessLog
        self.client = client
        self.http2 = http2
    }

    /// The same with other verdicts about some upstreams' members.
    package init(_ other: RuntimeSnapshot, epoch: UInt64, views: [Int32: UpstreamView]) {
        self.epoch = epoch
        routing = other.routing
        certificates = other.certificates
        tls = other.tls
        listeners = other.listeners
        listenerNumbers = other.listenerNumbers
        pools = other.pools.map { pool in
            views[pool.view.id].map { Pool(pool, view: $0) } ?? pool
        }
        clientPolicies = other.clientPolicies
        timeouts = other.timeouts
        requestLimits = other.requestLimits
        responseLimits = other.responseLimits
        accessLog = other.accessLog
        client = other.client
        http2 = other.http2
        limits = other.limits
    }

    /// The pool of this number. Cost: the logarithm of their number.
    func pool(_ id: Int32) -> Pool? {
        var low = 0
        var high = pools.count
        while low < high {
            let middle = (low + high) / 2
            if pools[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < pools.count && pools[low].id == id ? pools[low] : nil
    }
}
