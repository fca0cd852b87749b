package import EdgeCore

/// The PROXY protocol: who the client of a forwarded connection is, said in front of its first byte
/// (HAProxy's proxy-protocol.txt, versions 1 and 2). Read only where it is required: nobody guesses
/// whether it is there (its section 5).
package struct ProxyHeader: Equatable, Sendable {
    /// The client. nil: the forwarder does not say (LOCAL, UNKNOWN, UNSPEC), the socket's own
    /// address stands.
    package var source: SocketAddress?
    /// Where the client connected to. nil exactly when `source` is.
    package var destination: SocketAddress?

    package init(source: SocketAddress? = nil, destination: SocketAddress? = nil) {
        self.source = source
        self.destination = destination
    }

    /// Bytes of a header of either version: who sends more is refused. Version 2 could say 65,551;
    /// addresses and checksum are 59 bytes, names and identifiers that forwarders add some hundred.
    package static let byteCountMax = 4096
    /// Bytes of a line of version 1 with its CRLF (section 2.1).
    package static let lineByteCountMax = 107

    /// What the first bytes of a connection are. Nothing is waited for once a byte is wrong; what
    /// follows the addresses of version 2 is judged when it is there as a whole.
    ///
    /// Cost: a line, or 16 bytes, until the header is complete; then its length. To be called again
    /// with the same bytes and more of them while it says `incomplete`. No allocation.
    ///
    /// - Parameter bytes: from the first byte of the connection on; may reach beyond the header.
    package static func read(_ bytes: Span<UInt8>) -> ProxyHeaderOutcome {
        guard bytes.count > 0 else { return .incomplete }
        do throws(ProxyHeaderStop) {
            // The signatures differ in their first byte.
            guard bytes[0] == UInt8(ascii: "P") else { return try readBlock(bytes) }
            var line = ProxyLine()
            let header = try line.read(bytes)
            return .complete(byteCount: line.position, header)
        } catch {
            switch error {
            case .incomplete: return .incomplete
            case .violation(let violation): return .malformed(violation)
            }
        }
    }
}

/// What the beginning of a connection is as a PROXY header.
package enum ProxyHeaderOutcome: Equatable, Sendable {
    /// Right so far; more bytes are needed.
    case incomplete
    /// The first `byteCount` bytes are the header; what the client sends begins behind them.
    case complete(byteCount: Int, ProxyHeader)
    /// The connection is to be closed without an answer.
    case malformed(ProxyHeaderViolation)
}

/// What a forwarder did against the PROXY protocol, by name.
package enum ProxyHeaderViolation: UInt8, Error, CaseIterable, Sendable {
    /// Neither version's signature.
    case noHeader
    /// A line over 107 bytes, or a header over `ProxyHeader.byteCountMax`.
    case tooLong
    // Version 1.
    /// Words, spaces or line end are not those of section 2.1.
    case badLine
    case badAddress
    /// Not 0…65535, or written with a leading zero.
    case badPort
    // Version 2.
    case badVersion
    case badCommand
    /// Not TCP over IPv4 or IPv6: a datagram, a socket in the file system or an unknown family.
    case unsupportedFamily
    /// Too short for the addresses of its family.
    case badLength
    /// One that reaches beyond the header, or a checksum that is none or not the only one.
    case badExtension
    case badChecksum

    /// The word in logs and metrics: the case's name in snake_case.
    package var label: String { Self.labels[Int(rawValue)] }

    /// Made once: a refusal allocates nothing for its word.
    private static let labels = allCases.map { snakeCase("\($0)") }
}

/// Why reading ends before the end of a header.
enum ProxyHeaderStop: Error {
    case incomplete
    case violation(ProxyHeaderViolation)
}
