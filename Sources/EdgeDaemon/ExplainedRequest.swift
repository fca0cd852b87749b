internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeProxy

/// A request as a client would send it, to be read and written as those of clients are.
struct ExplainedRequest {
    let bytes: [UInt8]
    /// As the parser has it.
    let host: String
    let target: [UInt8]
    /// Without the query.
    let path: String
    private let limits: HeadLimits

    /// - Throws: what the parser has against it.
    init(method: String, url: ExplainedURL, limits: HeadLimits) throws(HTTP1Violation) {
        let origin = "\(url.isTLS ? "https" : "http")://\(url.authority)"
        let text =
            "\(method) \(url.target) HTTP/1.1\r\nHost: \(url.authority)\r\nOrigin: \(origin)\r\n\r\n"
        let bytes = Array(text.utf8)
        self.bytes = bytes
        self.limits = limits
        var head = RequestHead()
        try HTTP1Parser.parseRequest(bytes.span, into: &head, limits: limits)
        let place = head.writtenTarget.indices
        host = String(decoding: Array(bytes[head.host.indices]), as: UTF8.self)
        target = Array(bytes[place])
        path = String(decoding: target.prefix { $0 != UInt8(ascii: "?") }, as: UTF8.self)
    }

    /// The head, and what its ranges lie in.
    func read<Result>(_ body: (borrowing RequestHead, Span<UInt8>) -> Result) -> Result? {
        var head = RequestHead()
        do throws(HTTP1Violation) {
            try HTTP1Parser.parseRequest(bytes.span, into: &head, limits: limits)
        } catch {
            return nil
        }
        return body(head, bytes.span)
    }

    /// The head as an upstream gets it, a line each.
    func written(_ context: ForwardingContext, _ rules: HeadRules?, adding: [UInt8]) -> [String] {
        read { head, bytes in
            let count = HTTP1Writer.requestBytesMax(
                head, from: bytes, context: context, host: Span(), rules: rules)
            let output = [UInt8](unsafeUninitializedCapacity: count + adding.count) {
                buffer, used in
                var writer = ByteWriter(UnsafeMutableRawBufferPointer(buffer))
                if let rules {
                    _ = HTTP1Writer.writeRequest(
                        head, from: bytes, context: context, host: Span(), by: rules,
                        adding: adding.span, into: &writer)
                } else {
                    _ = HTTP1Writer.writeRequest(
                        head, from: bytes, context: context, host: Span(), into: &writer)
                }
                used = writer.count
            }
            return Self.lines(output)
        } ?? []
    }

    /// What becomes of fields of an answer that name its site.
    ///
    /// - Parameter host: the site's name as its upstream knows it.
    func answer(_ context: ForwardingContext, _ rules: HeadRules, from host: String) -> [String] {
        let text =
            "HTTP/1.1 302 Found\r\nLocation: https://\(host)/\r\n"
            + "Set-Cookie: name=value; Domain=\(host)\r\nContent-Length: 0\r\n\r\n"
        let source = Array(text.utf8)
        var answer = ResponseHead()
        do throws(HTTP1Violation) {
            try HTTP1Parser.parseResponse(
                source.span, requestMethod: .get, upgrade: .none, into: &answer, limits: limits)
        } catch {
            return []
        }
        let fieldCount = answer.fields.count
        return read { head, bytes in
            let values = HTTP1Writer.values(rules.responseVariables, head, bytes, context)
            guard let change = rules.response(isSecure: context.scheme == .https, values) else {
                return []
            }
            let count = source.count + 64 + rules.responseGrowthMax(fieldCount: fieldCount, values)
            let output = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
                var writer = ByteWriter(UnsafeMutableRawBufferPointer(buffer))
                HTTP1Writer.writeResponseFields(
                    answer, from: source.span, announcesTrailers: false, by: change, kept: bytes,
                    into: &writer)
                used = writer.count
            }
            return Self.lines(output)
        } ?? []
    }

    private static func lines(_ bytes: [UInt8]) -> [String] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").map { String($0) }
    }
}
