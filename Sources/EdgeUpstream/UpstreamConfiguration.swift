package import EdgeCore

/// What is spoken on the connections to an upstream.
package enum UpstreamProtocol: Sendable, Hashable {
    case http1
    /// And nothing else: over TLS it is the only one offered (RFC 7301), over plaintext it is known
    /// beforehand (RFC 9113 §3.3).
    case http2
    /// What the server chooses of both over TLS; over plaintext nothing can be chosen, so HTTP/1.1.
    case auto
}

/// One entry of `upstreams:`, checked and with its defaults filled in.
package struct UpstreamConfiguration: Sendable, Equatable {
    package let name: String
    /// In the order written; at least one.
    package let servers: [Server]
    /// Nil: plaintext to the upstream (offloading). Set: TLS (bridging).
    package let tls: TLS?
    package let version: UpstreamProtocol
    /// Each connection begins with a PROXY protocol header, version 2.
    package let sendsProxyHeader: Bool
    /// Connections per server over all workers; nil: no limit.
    package let memberConnectionsMax: Int?
    /// Requests that may wait for a server with room, over all workers.
    package let queueMax: Int
    /// How long a request waits in the queue.
    package let queueTimeout: Duration
    /// From the start of a connect until the connection (TLS included) is usable.
    package let connectTimeout: Duration
    /// From the request's last byte until the response's head is complete.
    package let responseTimeout: Duration
    /// Between two pieces of a response, and for a piece of a request to be taken.
    package let bodyTimeout: Duration
    /// How long an unused connection is kept for reuse.
    package let keepAlive: Duration
    package var balance = BalancePolicy.roundRobin
    package var sticky: StickyPolicy?
    /// Nil: not asked; what DNS and traffic say is all that is known.
    package var health: HealthPolicy? = HealthPolicy()
    /// Nil: traffic takes nobody out.
    package var ejection: EjectionPolicy? = EjectionPolicy()
    /// How long a member that comes back takes to get its whole part again.
    package var slowStart: Duration = .zero
    /// With all members down: whether the last that worked is used, rather than 503.
    package var failsOpen = true
    package var retries = RetryPolicy()
    /// Requests under way over all workers; nil: no limit.
    package var requestsMax: Int?
    /// Another member is tried as well when a connection takes longer than this (and than is usual
    /// for the member); zero: never.
    package var raceAfter: Duration = .milliseconds(150)

    package init(
        name: String, servers: [Server], tls: TLS?, version: UpstreamProtocol = .http1,
        sendsProxyHeader: Bool = false,
        memberConnectionsMax: Int? = nil, queueMax: Int = 1024,
        queueTimeout: Duration = .seconds(5),
        connectTimeout: Duration, responseTimeout: Duration, bodyTimeout: Duration,
        keepAlive: Duration
    ) {
        self.name = name
        self.servers = servers
        self.tls = tls
        self.version = version
        self.sendsProxyHeader = sendsProxyHeader
        self.memberConnectionsMax = memberConnectionsMax
        self.queueMax = queueMax
        self.queueTimeout = queueTimeout
        self.connectTimeout = connectTimeout
        self.responseTimeout = responseTimeout
        self.bodyTimeout = bodyTimeout
        self.keepAlive = keepAlive
    }

    /// Where one server is found.
    package struct Server: Sendable, Hashable {
        package enum Host: Sendable, Hashable {
            case address(SocketAddress)
            /// Lower-case DNS name without a trailing dot.
            case name(String)
            /// Lower-case name of SRV records (`_https._tcp.home.example`): they have the ports.
            case service(String)
        }

        package let host: Host
        /// 0 for `service`.
        package let port: UInt16
        /// Its part of the traffic beside the others'; 1 to 256.
        package let weight: Int
        /// Used only when no other member can be.
        package let isBackup: Bool

        package init(host: Host, port: UInt16, weight: Int = 1, isBackup: Bool = false) {
            self.host = host
            self.port = port
            self.weight = weight
            self.isBackup = isBackup
        }
    }

    /// How the upstream proves who it is. Verification of chain *and* name is the default.
    package struct TLS: Sendable, Hashable {
        package enum Verify: Sendable, Hashable {
            /// Chain and name.
            case full
            /// Neither; only where the config says `verify: none` in so many words.
            case none
        }

        /// PEM file of the trusted CAs; nil: the system's store.
        package let authorityFile: String?
        /// PEM file of what these CAs have revoked; nil: nobody asks.
        package let revocationFile: String?
        /// SNI and verified name; nil: the site's own host name.
        package let name: String?
        package let verify: Verify
        /// What is shown to servers that ask for a certificate; nil: nothing.
        package let identity: Identity?

        package init(
            authorityFile: String?, name: String?, verify: Verify, identity: Identity? = nil,
            revocationFile: String? = nil
        ) {
            self.authorityFile = authorityFile
            self.revocationFile = revocationFile
            self.name = name
            self.verify = verify
            self.identity = identity
        }

        /// PEM files of a certificate with its chain, and of its key; they may be the same.
        package struct Identity: Sendable, Hashable {
            package let certificateFile: String
            package let keyFile: String

            package init(certificateFile: String, keyFile: String) {
                self.certificateFile = certificateFile
                self.keyFile = keyFile
            }
        }
    }
}
