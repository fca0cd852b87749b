import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import Testing

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
    result.target =
        request.isAsterisk
        ? "*" : (request.lacksPath ? "/" : "") + text(head, request.target)
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

/// What a writer wrote, or nil if it overflowed.
func written(
    capacity: Int = 4096, _ body: (inout ByteWriter) -> Bool
) -> [UInt8]? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
    defer { buffer.deallocate() }
    var writer = ByteWriter(buffer)
    guard body(&writer) else { return nil }
    return Array(buffer[..<writer.count])
}

/// The context that most tests forward with.
func context(_ framing: BodyFraming = .none) -> ForwardingContext {
    ForwardingContext(
        client: SocketAddress(ipv4: 0xC000_0207, port: 4711), scheme: .https,
        requestID: (high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210), framing: framing)
}

/// Parses a request head and writes it towards an upstream, as text lines.
func forwarded(
    _ head: String, host: String = "", hiding cookie: String = "", rules: HeadRules? = nil,
    changing change: (inout ForwardingContext) -> Void = { _ in }
) throws -> [String] {
    let bytes = Array(head.utf8)
    var request = RequestHead()
    try HTTP1Parser.parseRequest(bytes.span, into: &request, limits: HeadLimits())
    var settings = context(request.framing)
    change(&settings)
    let name = Array(host.utf8)
    let hidden = Array(cookie.utf8)
    let output = written {
        if let rules {
            return HTTP1Writer.writeRequest(
                request, from: bytes.span, context: settings, host: name.span,
                hiding: hidden.span, by: rules, into: &$0)
        }
        return HTTP1Writer.writeRequest(
            request, from: bytes.span, context: settings, host: name.span, hiding: hidden.span,
            into: &$0)
    }
    let max = HTTP1Writer.requestBytesMax(
        request, from: bytes.span, context: settings, host: name.span, rules: rules)
    #expect(try #require(output).count <= max)
    return lines(try #require(output))
}

/// Parses a response head and writes it towards a client, as text lines.
///
/// - Parameters:
///   - request: what of the request is kept; the ranges of `values` lie in it.
func answered(
    _ head: String, rules: HeadRules, isSecure: Bool = true, request: [UInt8] = [],
    values: TemplateValues = noValues
) throws -> [String] {
    let bytes = Array(head.utf8)
    var response = ResponseHead()
    try HTTP1Parser.parseResponse(
        bytes.span, requestMethod: .get, upgrade: .none, into: &response, limits: HeadLimits())
    let settings = ResponseContext(framing: response.framing, clientMinor: 1, keepAlive: true)
    let changes = try #require(rules.response(isSecure: isSecure, values))
    let output = written {
        HTTP1Writer.writeResponse(
            response, from: bytes.span, context: settings, by: changes, kept: request.span,
            into: &$0)
    }
    let max =
        bytes.count + response.fields.count + 512
        + rules.responseGrowthMax(fieldCount: response.fields.count, values)
    #expect(try #require(output).count <= max)
    return lines(try #require(output))
}

let noValues = TemplateValues(client: SocketAddress(ipv4: 0, port: 0), requestID: (0, 0))

/// The lines of a head without the final empty one.
func lines(_ head: [UInt8]) -> [String] {
    let parts = String(decoding: head, as: UTF8.self).components(by: "\r\n")
    return Array(parts.dropLast(2))
}

extension String {
    /// The parts between the occurrences of a separator.
    func components(by separator: String) -> [String] {
        var parts: [[UInt8]] = [[]]
        let mark = Array(separator.utf8)
        for byte in utf8 {
            parts[parts.count - 1].append(byte)
            if parts[parts.count - 1].suffix(mark.count).elementsEqual(mark) {
                parts[parts.count - 1].removeLast(mark.count)
                parts.append([])
            }
        }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// A response with owned parts.
struct Answer: Equatable {
    var status: UInt16 = 0
    var reason = ""
    var framing = BodyFraming.none
    var declaredLength: UInt64?
    var keepAlive = false
    var isInterim = false
    var upgrade = ""
    var fields: [String] = []
}

/// Scans and parses one response head.
func parseResponse(
    _ text: String, to method: EdgeHTTP.Method = .get, upgrade: UpgradeProtocol = .none
) throws(HTTP1Violation) -> Answer {
    let bytes = Array(text.utf8)
    var scanner = HeadScanner(.response)
    guard let count = try scanner.scan(bytes.span, limits: HeadLimits()) else {
        throw .missingColon
    }
    let head = Array(bytes.prefix(count))
    var response = ResponseHead()
    try HTTP1Parser.parseResponse(
        head.span, requestMethod: method, upgrade: upgrade, into: &response,
        limits: HeadLimits())
    var answer = Answer(
        status: response.status,
        reason: String(decoding: head[response.reason.indices], as: UTF8.self),
        framing: response.framing, declaredLength: response.declaredLength,
        keepAlive: response.keepAlive, isInterim: response.isInterim,
        upgrade: response.isUpgradeAccepted ? EdgeHTTP1Tests.text(head, response.upgrade) : "")
    for index in 0..<response.fields.count {
        let field = response.fields[index]
        guard !field.flags.contains(.hopByHop) else { continue }
        let line = head[field.nameRange.indices] + Array(": ".utf8) + head[field.value.indices]
        answer.fields.append(String(decoding: line, as: UTF8.self))
    }
    return answer
}

/// SplitMix64: the same seed gives the same run everywhere.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
