import EdgeCore
import EdgeHTTP
import Testing

@testable import EdgeHTTP1

/// The text of a range.
func text(_ bytes: [UInt8], _ range: ByteRange) -> String {
    String(decoding: bytes[range.indices], as: UTF8.self)
}

/// A parsed head with owned parts, so that two can be compared.
struct Parsed: Equatable {
    var start = ""
    var target = ""
    var authority = ""
    var host = ""
    var port: UInt16?
    var framing = BodyFraming.none
    var flags: [Bool] = []
    var fields: [[UInt8]] = []
}

/// Scans and parses one request head.
func parseRequest(
    _ bytes: [UInt8], limits: HeadLimits = HeadLimits()
) throws(HTTP1Violation) -> Parsed {
    var scanner = HeadScanner(.request)
    guard let count = try scanner.scan(bytes.span, limits: limits) else { throw .missingColon }
    let head = Array(bytes[scanner.skippedByteCount...].prefix(count))
    var request = RequestHead()
    try HTTP1Parser.parseRequest(head.span, into: &request, limits: limits)
    return parsed(request, head)
}

func parseRequest(_ head: String) throws(HTTP1Violation) -> Parsed {
    try parseRequest(Array(head.utf8))
}

func parsed(_ request: borrowing RequestHead, _ head: [UInt8]) -> Parsed {
    var result = Parsed()
    result.start = text(head, request.methodRange)
    result.target = request.isAsterisk ? "*" : text(head, request.target)
    result.authority = text(head, request.authority)
    result.host = text(head, request.host)
    result.port = request.port
    result.framing = request.framing
    result.flags = [
        request.versionMinor == 1, request.keepAlive, request.expectContinue,
        request.upgradeWebSocket, request.hasTETrailers,
    ]
    for index in 0..<request.fields.count {
        let field = request.fields[index]
        guard field.flags.isDisjoint(with: [.hopByHop, .underscore]) else { continue }
        result.fields.append(
            head[field.nameRange.indices] + Array(": ".utf8) + head[field.value.indices])
    }
    return result
}

/// The violation that a closure throws, or nil.
func violation(_ body: () throws(HTTP1Violation) -> Void) -> HTTP1Violation? {
    do {
        try body()
        return nil
    } catch {
        return error
    }
}
