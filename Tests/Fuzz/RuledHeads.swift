internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1

/// Heads that rules change: still one message each, and what no rule is about is what it was.
enum RuledHeads {
    private static let rules: HeadRules? = {
        let values: [TextTemplate.Part] = [.path, .query, .host, .id, .client, .view]
        let list: [FieldEdits.Edit] = [
            .init(.remove, Array("x-drop".utf8)),
            .init(.set, Array("Server".utf8), [.text(Array("edge".utf8))]),
            .init(.add, Array("X-New".utf8), values),
        ]
        guard let edits = try? FieldEdits(list, view: Array("lan".utf8)) else { return nil }
        return HeadRules(
            requestEdits: edits, responseEdits: edits,
            map: HostMap([("a.example", "inside.example"), ("*.example", "*.lan"), ("a", "b.c")]),
            prefix: Array("/a".utf8), replacement: Array("/".utf8))
    }()

    /// Whether no rule is about a line.
    private static func isOther(_ line: [UInt8]) -> Bool {
        let name = String(decoding: line.prefix { $0 != 58 }, as: UTF8.self).lowercased()
        switch name {
        case "x-drop", "server", "x-new", "origin", "referer", "location", "content-location",
            "refresh", "set-cookie", "access-control-allow-origin":
            return false
        default:
            return name.count != 6 || name.replacing("_", with: "-") != "x-drop"
        }
    }

    static func check(
        _ request: RequestTarget.Request, _ head: borrowing RequestHead, _ bytes: [UInt8],
        _ context: ForwardingContext, _ host: [UInt8]
    ) throws(Finding) {
        guard let rules else { throw Finding("the rules are accepted") }
        let max = HTTP1Writer.requestBytesMax(
            head, from: bytes.span, context: context, host: host.span, rules: rules)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max, alignment: 16)
        defer { buffer.deallocate() }
        var writer = ByteWriter(buffer)
        let fits = HTTP1Writer.writeRequest(
            head, from: bytes.span, context: context, host: host.span, by: rules, into: &writer)
        try hold(fits, "a head has the room that it was said to take")
        let output = Array(buffer[..<writer.count])
        try checkLines(output, hosts: 1)
        let second = try RequestTarget.readBack(output)
        try hold(second.method == request.method, "rules keep the method")
        try hold(second.framing == request.framing, "rules keep the framing")
        try hold(second.isUpgrade == request.isUpgrade, "rules keep an upgrade")
        try hold(
            second.fields.filter(isOther) == request.fields.filter(isOther),
            "rules keep what they are not about")
        let slashes = Array("//".utf8)
        let isAsterisk = request.target == Array("*".utf8)
        try hold(
            isAsterisk ? second.target == request.target : !second.target.starts(with: slashes),
            "a target is a path")
        try hold(isNew(second.fields), "rules add what they say")
    }

    static func check(
        _ response: ResponseTarget.Response, _ head: borrowing ResponseHead, _ bytes: [UInt8],
        _ context: ResponseContext
    ) throws(Finding) {
        let values = TemplateValues(
            client: SocketAddress(ipv4: 0xC000_0207, port: 4711), requestID: (1, 2))
        guard let rules, let changes = rules.response(isSecure: true, values) else {
            throw Finding("the rules are accepted")
        }
        let max =
            bytes.count + response.fields.count + 512
            + rules.responseGrowthMax(fieldCount: response.fields.count, values)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max, alignment: 16)
        defer { buffer.deallocate() }
        var writer = ByteWriter(buffer)
        let fits = HTTP1Writer.writeResponse(
            head, from: bytes.span, context: context, by: changes, kept: Span(), into: &writer)
        try hold(fits, "a head has the room that it was said to take")
        var again = ResponseHead()
        let output = Array(buffer[..<writer.count])
        try accepted("the client accepts it") { () throws(HTTP1Violation) in
            try HTTP1Parser.parseResponse(
                output.span, requestMethod: .get, upgrade: .webSocket, into: &again,
                limits: .wide)
        }
        let fields = lines(again.fields, output) {
            !$0.flags.contains(.hopByHop) && $0.name != .contentLength
        }
        try hold(again.byteCount == output.count, "a forwarded head is one head")
        try hold(again.status == response.status, "rules keep the status")
        // Trailer goes with what it announces.
        let before = response.fields.filter { isOther($0) && !isTrailer($0) }
        try hold(
            fields.filter { isOther($0) && !isTrailer($0) } == before,
            "rules keep what they are not about")
        try hold(isNew(fields), "rules add what they say")
    }

    private static func isTrailer(_ line: [UInt8]) -> Bool {
        String(decoding: line.prefix(8), as: UTF8.self).lowercased() == "trailer:"
    }

    private static func isNew(_ fields: [[UInt8]]) -> Bool {
        let names = fields.map { String(decoding: $0.prefix { $0 != 58 }, as: UTF8.self) }
        return names.count { $0.lowercased() == "x-drop" } == 0
            && names.filter { $0.lowercased() == "server" } == ["Server"]
            && names.contains("X-New")
    }
}
