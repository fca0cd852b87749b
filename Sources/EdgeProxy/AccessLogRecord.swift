internal import EdgeCore

/// What the access log needs to know of a request once its head is gone. A slot of a table that is
/// parallel to the exchanges and touched only while the log is on; its text is in `AccessText`.
struct AccessRecord: BitwiseCopyable {
    /// X-Request-ID as it was sent up; 0, 0: none was.
    var idHigh: UInt64
    var idLow: UInt64
    /// The trace that it is part of (W3C Trace Context); 0, 0: none.
    var traceHigh: UInt64
    var traceLow: UInt64
    /// The member that was asked last; meaningful if `hasMember`.
    var member: SocketAddress
    var hasMember: Bool
    /// Path or host were cut to fit.
    var isTruncated: Bool
    /// The client asked for the host of the request by SNI: its text is not kept twice.
    var isNameHost: Bool
    /// 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2.
    var version: UInt8
    /// As on the wire: 0x0303, 0x0304; 0: plaintext.
    var tlsVersion: UInt16
    /// Which request of its connection, from 1.
    var number: UInt32
    // Bytes of each text, which follow each other in this order.
    var methodCount: UInt16
    var hostCount: UInt16
    var pathCount: UInt16
    var nameCount: UInt16

    static let empty = AccessRecord(
        idHigh: 0, idLow: 0, traceHigh: 0, traceLow: 0, member: SocketAddress(ipv4: 0, port: 0),
        hasMember: false,
        isTruncated: false, isNameHost: false, version: 0, tlsVersion: 0, number: 0, methodCount: 0,
        hostCount: 0, pathCount: 0, nameCount: 0)

    var textCount: Int {
        Int(methodCount) + Int(hostCount) + Int(pathCount) + Int(nameCount)
    }
}

/// The texts of an `AccessRecord`, one after the other; in memory right behind it.
struct AccessText: BitwiseCopyable {
    static let methodMax = 32
    static let hostMax = 255
    static let pathMax = 512
    static let nameMax = 255

    var bytes: InlineArray<1056, UInt8>
}

/// What the access log keeps of an exchange, in one piece: few cache lines, one page.
struct AccessSlot: BitwiseCopyable {
    var record: AccessRecord
    var text: AccessText
}

/// When an exchange came to what; zero where it did not. In turns of the loop: several steps of one
/// turn have the same time.
struct ExchangeTimes: BitwiseCopyable {
    /// The first byte of the request.
    var begun = Instant(nanoseconds: 0)
    /// Its head was complete.
    var head = Instant(nanoseconds: 0)
    /// The last connection to a member was taken, or its connect begun.
    var connecting = Instant(nanoseconds: 0)
    /// That connection was usable, TLS included.
    var connected = Instant(nanoseconds: 0)
    /// What of the request was there has gone up; the last byte, if the answer waited for it.
    var sent = Instant(nanoseconds: 0)
    /// The first byte of the final answer.
    var answered = Instant(nanoseconds: 0)
}

/// Everything that one line of the access log says besides the record's texts.
struct AccessLine {
    enum Kind: UInt8 {
        /// A request, answered or not.
        case request
        /// A TLS handshake that failed.
        case handshake
        /// A connection that failed between requests.
        case connection
        /// A connection that was not taken.
        case refused
        /// A connection of a TCP listener, at its end.
        case tcp
    }

    static let noViolation: UInt8 = 255
    static let noView = Int.max

    var kind: Kind
    /// Index in the snapshot's listeners.
    var listener: Int
    /// Number of the view; `noView`: none.
    var view = AccessLine.noView
    var client: SocketAddress?
    /// 0: no answer was begun.
    var status: UInt16 = 0
    var reason: ReasonCode
    /// `HTTP1Violation.rawValue`, or `noViolation`.
    var violation = AccessLine.noViolation
    /// The policy of `rate_limits` that refused it, by its index; -1: none.
    var policy: Int32 = -1
    /// Bytes of bodies, or of a tunnel or TCP connection.
    var received: UInt64 = 0
    var sent: UInt64 = 0
    /// -1: no upstream was chosen.
    var pool: Int32 = -1
    var isReused = false
    var retries: UInt8 = 0
    var times: ExchangeTimes
    var ended: Instant
    var load = Load()

    /// What else this worker had to do when the line was made; for `httplog` alone.
    struct Load {
        /// Clients' connections: all of them, and the listener's.
        var connections: UInt64 = 0
        var listener: UInt64 = 0
        /// Requests and relayed connections of the upstream.
        var upstream: UInt64 = 0
        /// Of the member.
        var member: UInt64 = 0
    }
}
