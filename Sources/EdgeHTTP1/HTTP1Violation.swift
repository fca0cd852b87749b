internal import EdgeCore

/// What a peer did against HTTP/1.1, by name. The name is the metric's label and the word in the
/// log; a client gets `status`, an upstream's offence is always a 502.
package enum HTTP1Violation: UInt8, Error, CaseIterable, Sendable {
    // Lines and values.
    case bareLF, bareCR, obsFold, nulInValue, controlInValue
    // Limits.
    case headTooLarge, tooManyFields, targetTooLong
    // Request line.
    case badRequestLine, badMethod, badTarget, badVersion, unsupportedVersion, http09
    case connectRefused, http2Preface
    // Host.
    case missingHost, duplicateHost, badHost
    // Fields.
    case whitespaceBeforeColon, leadingWhitespace, badFieldName, emptyFieldName, missingColon
    case badConnectionOption, unknownExpectation
    // Framing.
    case badContentLength, conflictingContentLength, lengthAndChunked
    case unknownTransferCoding, badTransferCoding, transferCodingIn10
    // Chunks and trailers.
    case badChunkSize, chunkTooLarge, badChunkExtension, chunkExtensionTooLong, badChunkEnd
    case badTrailer, trailersTooLarge
    // Responses.
    case badStatusLine, badStatusCode, unexpectedSwitch

    /// The status of the answer that a client gets for it, before its connection is closed.
    package var status: UInt16 {
        switch self {
        case .targetTooLong: 414
        case .headTooLarge, .tooManyFields, .trailersTooLarge: 431
        case .unknownExpectation: 417
        case .unknownTransferCoding: 501
        case .unsupportedVersion: 505
        case .badStatusLine, .badStatusCode, .unexpectedSwitch: 502
        case .bareLF, .bareCR, .obsFold, .nulInValue, .controlInValue, .badRequestLine,
            .badMethod, .badTarget, .badVersion, .http09, .connectRefused, .http2Preface,
            .missingHost, .duplicateHost, .badHost, .whitespaceBeforeColon, .leadingWhitespace,
            .badFieldName, .emptyFieldName, .missingColon, .badConnectionOption,
            .badContentLength, .conflictingContentLength, .lengthAndChunked, .badTransferCoding,
            .transferCodingIn10, .badChunkSize, .chunkTooLarge, .badChunkExtension,
            .chunkExtensionTooLong, .badChunkEnd, .badTrailer:
            400
        }
    }

    /// The word in logs and metrics: the case's name in snake_case.
    package var label: String { Self.labels[Int(rawValue)] }

    /// Made once: a refusal allocates nothing for its word.
    private static let labels = allCases.map { snakeCase("\($0)") }
}
