internal import EdgeCore

/// Why the first bytes of a connection are no ClientHello, by name.
package enum ClientHelloViolation: UInt8, Error, CaseIterable, Sendable {
    // Records.
    /// Another protocol, SSLv2 included.
    case notTLS
    /// A record of another type within the message (RFC 8446 §5.1).
    case interrupted
    case emptyRecord, recordTooLarge
    /// Bytes behind the message in its last record.
    case surplusBytes
    // Message.
    case notClientHello
    /// Over `ClientHello.messageByteCountMax`, or over `byteCountMax` with its records.
    case tooLong
    /// A field reaches beyond the one around it.
    case truncated
    /// A field is too short, too long or odd, or does not fill the one around it.
    case badLength
    /// SSLv2's number in a hello of SSLv3's form.
    case unsupportedVersion
    // Extensions.
    case duplicateExtension
    /// A list that is not one host name, or a name that no host can have.
    case badServerName
    case badProtocols

    /// The alert for it (RFC 8446 §6.2); nil for who speaks no TLS.
    package var alert: UInt8? {
        switch self {
        case .notTLS: nil
        case .interrupted, .emptyRecord, .surplusBytes, .notClientHello: 10  // unexpected_message
        case .recordTooLarge: 22  // record_overflow
        case .duplicateExtension, .badServerName: 47  // illegal_parameter
        case .tooLong, .truncated, .badLength, .badProtocols: 50  // decode_error
        case .unsupportedVersion: 70  // protocol_version
        }
    }

    /// The word in logs and metrics: the case's name in snake_case.
    package var label: String { Self.labels[Int(rawValue)] }

    /// Made once: a refusal allocates nothing for its word.
    private static let labels = allCases.map { snakeCase("\($0)") }
}
