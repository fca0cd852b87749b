package import EdgeCore
package import EdgeRouting
package import EdgeUpstream

/// The whole configuration, checked, immutable, with every default filled in. Built from a
/// `Document` by the `…+Document.swift` files; nothing else knows the file's syntax.
/// Relative paths have been resolved against the folder of the main file.
package struct Configuration: Sendable, Equatable {
    /// Whom the proxy runs as when the guardian is privileged; nil: as the guardian does.
    package let runAs: RunAs?
    /// Worker threads; nil: one per usable core.
    package let workers: Int?
    package let listeners: [Listener]
    package let certificates: Certificates?
    package let tls: TLS
    /// At least one: without `views:`, `ViewConfiguration.only`.
    package let views: [ViewConfiguration]
    package let sites: [SiteConfiguration]
    package let upstreams: [UpstreamConfiguration]
    package let resolvers: [Resolver]
    package let timeouts: Timeouts
    package let limits: Limits
    package let requests: Requests
    package let http2: HTTP2Configuration
    package let admin: Admin
    package let process: Process
    /// Nil: requests are not logged.
    package let accessLog: AccessLog?
    /// A folder of the proxy's user for what outlives a restart; nil: nothing does.
    package let stateDirectory: String?
    package let dns: DNSConfiguration
    package let rateLimits: RateLimits
    /// Which of `nodes` this is; nil: there are none.
    package let node: Node?
    package let nodes: [Node]
    /// Nil: no address moves.
    package let failover: Failover?
    /// Nil: there is no link to another node's proxy.
    package let pair: Pair?

    package struct RunAs: Sendable, Equatable {
        package let user: String
        /// Nil: the user's primary group.
        package let group: String?
        package init(user: String, group: String?) {
            self.user = user
            self.group = group
        }
    }

    package struct Listener: Sendable, Equatable {
        package enum Kind: String, Sendable, CaseIterable {
            case tls, http, tcp
        }
        package let name: String
        /// Where it is bound; at least one (default: `[::]`, dual-stack).
        package let addresses: [SocketAddress]
        package let kind: Kind
        /// Only with `http`: answer every request with a 308 to https on this port.
        package let redirectPort: UInt16?
        /// With `tcp`, and only then: the upstream that bytes are passed on to.
        package let upstream: String?
        /// Indexes of the views that are served; empty: all of them.
        package let views: [Int]
        /// Only with `redirectPort`: the upstream of requests for `/.well-known/acme-challenge/`,
        /// which are not redirected then.
        package let challengeUpstream: String?
        /// With `tcp`, and only then: indexes of `rateLimits.policies` that its connections are
        /// subject to, besides those of their view.
        package let rateLimits: [Int]
        package init(
            name: String, addresses: [SocketAddress], kind: Kind, redirectPort: UInt16?,
            upstream: String? = nil, views: [Int] = [], challengeUpstream: String? = nil,
            rateLimits: [Int] = []
        ) {
            self.rateLimits = rateLimits
            self.upstream = upstream
            self.views = views
            self.challengeUpstream = challengeUpstream
            self.name = name
            self.addresses = addresses
            self.kind = kind
            self.redirectPort = redirectPort
        }
    }

    package struct Certificates: Sendable, Equatable {
        package let directory: String
        /// Name (a host a certificate covers) served to clients without SNI or with an unknown
        /// one; nil: the handshake is refused with `unrecognized_name`.
        package let fallback: String?
        /// For how long a certificate may be without its key before it is called wrong.
        package let pairTimeout: Duration
        package init(
            directory: String, fallback: String?, pairTimeout: Duration = .seconds(10)
        ) {
            self.directory = directory
            self.fallback = fallback
            self.pairTimeout = pairTimeout
        }
    }

    /// How TLS is spoken with clients.
    package struct TLS: Sendable, Equatable {
        package enum Version: String, Sendable {
            case tls12 = "1.2"
            case tls13 = "1.3"
        }
        /// The lowest version that is spoken.
        package let minimumVersion: Version
        /// For how long a session may be resumed.
        package let ticketLifetime: Duration
        package init(minimumVersion: Version, ticketLifetime: Duration) {
            self.minimumVersion = minimumVersion
            self.ticketLifetime = ticketLifetime
        }
    }

    package struct Resolver: Sendable, Equatable {
        package let name: String
        package let servers: [SocketAddress]
        /// Domain suffixes it is asked for; empty: all others.
        package let domains: [String]
        package init(name: String, servers: [SocketAddress], domains: [String]) {
            self.name = name
            self.servers = servers
            self.domains = domains
        }
    }

    /// Total deadlines, not per read.
    package struct Timeouts: Sendable, Equatable {
        /// From the ClientHello until the TLS handshake is complete.
        package let handshake: Duration
        /// From a request's first byte until its head is complete.
        package let requestHead: Duration
        /// A keep-alive connection without a request.
        package let keepAlive: Duration
        /// No byte of a request or response body moved for this long.
        package let body: Duration
        /// No byte moved in either direction of a TCP connection for this long.
        package let tcp: Duration
        package init(
            handshake: Duration, requestHead: Duration, keepAlive: Duration, body: Duration,
            tcp: Duration
        ) {
            self.tcp = tcp
            self.handshake = handshake
            self.requestHead = requestHead
            self.keepAlive = keepAlive
            self.body = body
        }
    }

    package struct Limits: Sendable, Equatable {
        /// Client connections over all workers; nil: from the descriptor limit.
        package let connections: Int?
        /// Request line and header section together, in bytes.
        package let requestHeadBytes: Int
        package let responseHeadBytes: Int
        package let headerFields: Int
        /// Bytes per second that a client has to send of a body; 0: no minimum.
        package let uploadMin: Int
        /// Bytes per second that a client has to take of a response; 0: no minimum.
        package let downloadMin: Int
        /// Bytes that the proxy may have resident; 0: as many as it likes; nil: what the machine
        /// has decides.
        package let memory: Int?
        package init(
            connections: Int?, requestHeadBytes: Int, responseHeadBytes: Int,
            headerFields: Int, uploadMin: Int, downloadMin: Int, memory: Int? = nil
        ) {
            self.memory = memory
            self.connections = connections
            self.requestHeadBytes = requestHeadBytes
            self.responseHeadBytes = responseHeadBytes
            self.headerFields = headerFields
            self.uploadMin = uploadMin
            self.downloadMin = downloadMin
        }
    }

    package struct Admin: Sendable, Equatable {
        /// Path of the Unix socket; nil: no admin socket.
        package let socket: String?
        /// Group that may use the socket besides its owner; nil: owner only.
        package let group: String?
        /// Loopback address for `/metrics`, `/livez`, `/readyz`; nil: none.
        package let http: SocketAddress?
        /// Addresses for `/livez` and `/readyz` alone.
        package let probes: [SocketAddress]
        package init(
            socket: String?, group: String?, http: SocketAddress?, probes: [SocketAddress] = []
        ) {
            self.socket = socket
            self.group = group
            self.http = http
            self.probes = probes
        }
    }

    package struct Process: Sendable, Equatable {
        /// Without a serving proxy for this long, the guardian stops listening.
        package let serveDeadline: Duration
        /// A worker with work and without progress for this long is hung.
        package let hangTimeout: Duration
        /// How long a graceful stop waits for requests in flight.
        package let drainDeadline: Duration
        package init(serveDeadline: Duration, hangTimeout: Duration, drainDeadline: Duration) {
            self.serveDeadline = serveDeadline
            self.hangTimeout = hangTimeout
            self.drainDeadline = drainDeadline
        }
    }

    package struct AccessLog: Sendable, Equatable {
        /// Nil: standard output.
        package let path: String?
        package let format: Format
        /// One in so many requests that went well has a line.
        package let sample: Int
        /// Per worker.
        package let bufferBytes: Int
        package let includesQuery: Bool

        package enum Format: String, Sendable {
            case json, httplog
        }

        package init(
            path: String?, format: Format, sample: Int, bufferBytes: Int, includesQuery: Bool
        ) {
            self.path = path
            self.format = format
            self.sample = sample
            self.bufferBytes = bufferBytes
            self.includesQuery = includesQuery
        }
    }

    package init(
        runAs: RunAs?, workers: Int?, listeners: [Listener],
        certificates: Certificates?, tls: TLS, views: [ViewConfiguration] = [.only],
        sites: [SiteConfiguration],
        upstreams: [UpstreamConfiguration], resolvers: [Resolver], timeouts: Timeouts,
        limits: Limits, requests: Requests = Requests(),
        http2: HTTP2Configuration = HTTP2Configuration(), admin: Admin, process: Process,
        accessLog: AccessLog? = nil, stateDirectory: String? = nil,
        dns: DNSConfiguration = DNSConfiguration(), node: Node? = nil, nodes: [Node] = [],
        failover: Failover? = nil, pair: Pair? = nil,
        rateLimits: RateLimits = RateLimits()
    ) {
        self.pair = pair
        self.node = node
        self.nodes = nodes
        self.failover = failover
        self.runAs = runAs
        self.workers = workers
        self.listeners = listeners
        self.certificates = certificates
        self.tls = tls
        self.views = views
        self.sites = sites
        self.upstreams = upstreams
        self.resolvers = resolvers
        self.timeouts = timeouts
        self.limits = limits
        self.requests = requests
        self.http2 = http2
        self.admin = admin
        self.process = process
        self.accessLog = accessLog
        self.stateDirectory = stateDirectory
        self.dns = dns
        self.rateLimits = rateLimits
    }
}
