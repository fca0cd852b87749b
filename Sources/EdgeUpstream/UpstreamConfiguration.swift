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
        }

        package let host: Host
        package let port: UInt16

        package init(host: Host, port: UInt16) {
            self.host = host
            self.port = port
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
        /// SNI and verified name; nil: the site's own host name.
        package let name: String?
        package let verify: Verify
        /// What is shown to servers that ask for a certificate; nil: nothing.
        package let identity: Identity?

        package init(
            authorityFile: String?, name: String?, verify: Verify, identity: Identity? = nil
        ) {
            self.authorityFile = authorityFile
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
