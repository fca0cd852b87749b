/// A request method. The text stays in the head's buffer; only methods that change how a message
/// is treated, and the common ones for logs, have a case.
///
/// Public and frozen, as `BodyFraming`, so that comparisons in other targets are one instruction.
@frozen
public enum Method: UInt8, Sendable, BitwiseCopyable {
    case get, head, post, put, delete, connect, options, trace, patch, other

    /// Done twice it does what it does once (RFC 9110 §9.2.2).
    @inlinable
    public var isIdempotent: Bool {
        switch self {
        case .get, .head, .put, .delete, .options, .trace: true
        case .post, .connect, .patch, .other: false
        }
    }
}

/// How the client reached us.
package enum Scheme: UInt8, Sendable {
    case http, https
}

/// How a body is delimited (RFC 9112 §6).
@frozen
public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
    /// There is no body.
    case none
    /// Exactly so many bytes.
    case length(UInt64)
    case chunked
    /// A response's only: the body ends when the connection does.
    case untilClose

    /// Bytes of a body are to come.
    @inlinable
    public var hasContent: Bool {
        switch self {
        case .none: false
        case .length(let count): count > 0
        case .chunked, .untilClose: true
        }
    }

    @inlinable
    public var isChunked: Bool {
        switch self {
        case .chunked: true
        case .none, .length, .untilClose: false
        }
    }

    @inlinable
    public var isUntilClose: Bool {
        switch self {
        case .untilClose: true
        case .none, .length, .chunked: false
        }
    }
}

/// A request's head, whatever the protocol it came in: filled by the HTTP/1 parser or by HTTP/2
/// header callbacks. All ranges lie in the buffer it was parsed from. One per worker, reused.
package struct RequestHead: ~Copyable {
    package var method: Method = .other
    package var methodRange: ByteRange = .none
    /// Path and query as they are forwarded, starting with `/` (`*` if `isAsterisk`; with `?` if
    /// `lacksPath`).
    package var target: ByteRange = .none
    /// True for an absolute-form target with a query and an empty path: `/` goes in front of it.
    package var lacksPath = false
    /// The effective `host[:port]`: the authority of an absolute-form target, else Host. Never
    /// empty after a successful parse.
    package var authority: ByteRange = .none
    /// The authority's host alone; an IPv6 literal without its brackets.
    package var host: ByteRange = .none
    package var port: UInt16?
    /// True if the target is `*`, given so or as an absolute-form OPTIONS without a path: then
    /// `*` is forwarded whatever `target` shows.
    package var isAsterisk = false
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    package var versionMinor: UInt8 = 1
    package var framing: BodyFraming = .none
    /// The client wants, and its version allows, another request on this connection.
    package var keepAlive = false
    /// The client waits for a 100 before it sends the body. Never true for HTTP/1.0.
    package var expectContinue = false
    /// A complete request to switch to WebSocket: GET, HTTP/1.1, Upgrade, Connection, no body.
    package var upgradeWebSocket = false
    /// The value of Upgrade if the request is complete but for who may ask for it: HTTP/1.1,
    /// Connection, no body, not WebSocket. What sites list of it may be forwarded.
    package var upgradeOffer: ByteRange = .none
    /// The client accepts trailers (`TE: trailers`).
    package var hasTETrailers = false
    /// There is a CDN-Loop field.
    package var hasCDNLoop = false
    /// There is a field of W3C Trace Context.
    package var hasTrace = false
    /// Connection names fields that may stand in trailers: none of them is forwarded then.
    package var dropsTrailers = false
    package var fields = FieldList()
    /// Bytes of the head in the buffer, final empty line included.
    package var byteCount = 0

    package init() {}

    /// Forgets the last head; storage is kept.
    package mutating func reset() {
        method = .other
        methodRange = .none
        target = .none
        authority = .none
        host = .none
        port = nil
        isAsterisk = false
        lacksPath = false
        versionMinor = 1
        framing = .none
        keepAlive = false
        dropsTrailers = false
        expectContinue = false
        upgradeWebSocket = false
        upgradeOffer = .none
        hasTETrailers = false
        hasCDNLoop = false
        hasTrace = false
        fields.removeAll()
        byteCount = 0
    }
}

/// A response's head. All ranges lie in the buffer it was parsed from. One per worker, reused.
package struct ResponseHead: ~Copyable {
    /// 100…599.
    package var status: UInt16 = 0
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    package var versionMinor: UInt8 = 1
    /// May be empty.
    package var reason: ByteRange = .none
    /// How the body that follows on this connection is delimited: `.none` for an answer to HEAD.
    package var framing: BodyFraming = .none
    /// The value of Content-Length where it frames nothing (an answer to HEAD, 304).
    package var declaredLength: UInt64?
    /// The connection can carry another request after this answer.
    package var keepAlive = false
    /// 1xx other than 101: another head follows.
    package var isInterim = false
    /// 101 that accepts the upgrade which was asked for: bytes follow, not messages.
    package var isUpgradeAccepted = false
    /// The protocol it switches to.
    package var upgrade: ByteRange = .none
    /// As `RequestHead.dropsTrailers`.
    package var dropsTrailers = false
    package var fields = FieldList()
    /// Bytes of the head in the buffer, final empty line included.
    package var byteCount = 0

    package init() {}

    /// Forgets the last head; storage is kept.
    package mutating func reset() {
        status = 0
        versionMinor = 1
        reason = .none
        framing = .none
        declaredLength = nil
        keepAlive = false
        isInterim = false
        isUpgradeAccepted = false
        upgrade = .none
        dropsTrailers = false
        fields.removeAll()
        byteCount = 0
    }

    /// How this answer's body is framed for a client of HTTP/1.`clientMinor`: a 1.0 client never
    /// gets chunks, and a body that ends with the upstream's connection becomes chunks, so that a
    /// 1.1 client's connection stays usable.
    package func framing(clientMinor: UInt8) -> BodyFraming {
        switch framing {
        case .none, .length: framing
        case .chunked, .untilClose: clientMinor == 0 ? .untilClose : .chunked
        }
    }
}
