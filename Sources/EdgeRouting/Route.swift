/// Where a request goes and what applies to it. Plain numbers, so that requests in flight hold no
/// reference to a snapshot that has been replaced.
package struct Route: Sendable, Equatable, BitwiseCopyable {
    /// Index into the configuration's sites.
    package var site: Int32
    /// Number of the pool; -1: none, rules answer.
    package var pool: Int32
    /// Number of the rules that apply, as `AccessRules` has them; -1: none.
    package var policy: Int32
    /// As `Router.Host.hostPolicy`.
    package var hostPolicy: Int32
    /// The row that its site's requests are counted in; 0: that of all others.
    package var traffic: Int32
    /// Index into the site's paths; -1: none of them matched.
    package var path: Int32
    /// Bytes of the prefix that matched, without a final slash: 0 for `/` too. That many bytes of
    /// the path as the client wrote it, only if `isLiteral`.
    package var matchedPrefix: Int32
    package var reading: PathReading
    /// TLS is between client and server: no request of ours goes there, it is answered with 421.
    package var isPassthrough: Bool

    /// To a pool, whatever the host.
    package init(pool: Int32) {
        self.init(
            site: -1, pool: pool, policy: -1, hostPolicy: -1, traffic: 0, path: -1,
            matchedPrefix: 0, reading: .literal, isPassthrough: false)
    }

    init(
        site: Int32, pool: Int32, policy: Int32, hostPolicy: Int32, traffic: Int32, path: Int32,
        matchedPrefix: Int32, reading: PathReading, isPassthrough: Bool
    ) {
        self.site = site
        self.pool = pool
        self.policy = policy
        self.hostPolicy = hostPolicy
        self.traffic = traffic
        self.path = path
        self.matchedPrefix = matchedPrefix
        self.reading = reading
        self.isPassthrough = isPassthrough
    }

    /// The path begins with the prefix as the client wrote it, and nothing behind it leads out of
    /// it again: the prefix may be replaced. Else a request whose rules replace it is answered with
    /// 400.
    package var isLiteral: Bool { reading == .literal }

    /// Upstreams may take the path for another one, of which other rules say something: the request
    /// is answered with 400, whatever its rules say.
    package var isAmbiguous: Bool { reading == .ambiguous }
}

/// How sure it is which prefix a path has. Rules are compared with the path as upstreams read it:
/// percent-encoding undone, `//` as `/`, dot segments taken out (RFC 3986 §6.2.2). What is sent on
/// stays as the client wrote it, so an upstream may read it differently.
package enum PathReading: UInt8, Sendable, BitwiseCopyable {
    /// The path begins with the prefix as it stands there.
    case literal
    /// It does when it is read as above: `/%61pi`, `//api`, `/./api` for `/api`.
    case normalised
    /// Upstreams may see different prefixes: in `/x/../api` with or without the dot segments, in
    /// `/api%2Fx` one that goes on or one that ends there.
    ///
    /// Unclear is what only some take for a slash, or for the end of a segment or path: `%2F`, `\`,
    /// `%5C`, `;`, `%3B`, what is encoded twice, and encoded `?`, `#` and control characters. It is
    /// data where no prefix of the host's begins with all that is before it: `/s3/key%2Fx` below
    /// `/s3`. Beside a segment `..` in any spelling it is not, and neither is `//`.
    case ambiguous
}

/// What becomes of a connection, by its ClientHello.
package enum ConnectionRoute: Sendable, Equatable, BitwiseCopyable {
    /// Bytes go to this pool as they are.
    case passthrough(pool: Int32, site: Int32)
    /// TLS ends here, for the name that the client asked for.
    case terminate(site: Int32, hostPolicy: Int32)
    /// TLS ends here, with the certificate for unknown names. The site they lead to; -1: none.
    case terminateUnknown(site: Int32, hostPolicy: Int32)
    /// The alert `unrecognized_name` (RFC 6066 §3).
    case refuse

    /// `Router.Host.hostPolicy` where TLS ends here.
    package var policy: Int32? {
        switch self {
        case .terminate(_, let policy), .terminateUnknown(_, let policy): policy
        case .passthrough, .refuse: nil
        }
    }
}

/// Whether a request may be answered on the connection it came on (RFC 9110 §7.4).
package enum Coverage: Sendable, Equatable {
    case serve
    /// 421: the client shall come with a connection of its own.
    case misdirected
    /// Only if the certificate in use is for the name too.
    case askCertificate
}

extension Route {
    /// Whether a request for another name than the connection's may be answered on it.
    ///
    /// - Parameters:
    ///   - connectionPolicy: `hostPolicy` of the connection, by its SNI or the view's default.
    ///   - isServerName: the request's host is the SNI, as `Router.areSameHost` compares them.
    package func coverage(connectionPolicy: Int32, isServerName: Bool) -> Coverage {
        guard !isPassthrough, hostPolicy == connectionPolicy else { return .misdirected }
        return isServerName ? .serve : .askCertificate
    }
}
