internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// The words of failed checks, for logs and status: few, and never anything that was sent.
enum CheckReason {
    static let bodyLacksText = "body lacks the text"
    static let cut = "connection closed within the answer"
    static let noAnswer = "connection closed without an answer"
    static let noHTTP2 = "does not speak HTTP/2"
    static let needsTLS = "the check needs TLS"
    static let unsendable = "the configured request cannot be sent"
    static let closed = "the check was given up"

    static func status(_ status: UInt16) -> String { "status \(status)" }

    /// - Parameter code: the kernel's number, of `connect` or of a connection.
    static func socket(_ code: Int32) -> String {
        switch code {
        case ECONNREFUSED: "connection refused"
        case ECONNRESET, EPIPE: "connection reset"
        case ETIMEDOUT: "connection timed out"
        case EHOSTUNREACH: "host unreachable"
        case ENETUNREACH: "network unreachable"
        default: errorName(code)
        }
    }

    /// What is short on our side, not on the member's.
    ///
    /// - Parameter isIPv4: without an address of IPv6 our own, `EADDRNOTAVAIL` says that nobody is
    ///   reached by it; else we have no port left.
    static func isOurs(_ code: Int32, isIPv4: Bool) -> Bool {
        switch code {
        case EMFILE, ENFILE, ENOMEM, ENOBUFS: true
        case EADDRNOTAVAIL: isIPv4
        default: false
        }
    }

    /// `1s`, `250ms`.
    static func text(_ span: Duration) -> String {
        let milliseconds = span.nanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
