internal import EdgeHTTP
internal import EdgeHTTP1

/// A response head reads the same in any segments, and what the client gets of it reads the same to
/// the client, with the body that belongs to it.
enum ResponseTarget {
    struct Response: Equatable {
        var status: UInt16 = 0
        var reason: [UInt8] = []
        var framing = BodyFraming.none
        var declaredLength: UInt64?
        var isInterim = false
        var isWebSocket = false
        var fields: [[UInt8]] = []
        var byteCount = 0
    }

    private struct Circumstances {
        let method: Method
        let isUpgrade: Bool
        let clientMinor: UInt8
        let keepAlive: Bool

        init(_ input: FuzzInput) {
            method = input.has(2) ? .head : .get
            isUpgrade = input.has(3)
            clientMinor = input.has(4) ? 0 : 1
            keepAlive = input.has(5)
        }
    }

    static func run(_ input: FuzzInput) throws(Finding) {
        let circumstances = Circumstances(input)
        var head = ResponseHead()
        let pieces = try parse(input, circumstances, inPieces: true, &head).outcome
        let (whole, bytes) = try parse(input, circumstances, inPieces: false, &head)
        try compare(whole: whole, pieces: pieces)
        guard case .accepted(let response) = whole else { return }
        try hold(response.byteCount == bytes.count, "the whole head was parsed")
        try hold(
            response.framing == .none || !response.isInterim && !response.isWebSocket,
            "what is no final answer has no body")
        try hold(
            !response.framing.isUntilClose || !head.keepAlive,
            "a connection whose end ends the body is not kept")
        try forward(response, head, bytes, circumstances)
    }

    private static func parse(
        _ input: FuzzInput, _ circumstances: Circumstances, inPieces: Bool,
        _ head: inout ResponseHead
    ) throws(Finding) -> (outcome: Outcome<Response>, bytes: [UInt8]) {
        switch try input.scan(.response, inPieces: inPieces) {
        case .incomplete: return (.incomplete, [])
        case .refused: return (.refused, [])
        case .head(let range):
            let bytes = Array(input.bytes[range])
            do throws(HTTP1Violation) {
                try HTTP1Parser.parseResponse(
                    bytes.span, requestMethod: circumstances.method,
                    upgrade: circumstances.isUpgrade ? .webSocket : .none, into: &head,
                    limits: input.limits)
                return (.accepted(owned(head, bytes)), bytes)
            } catch {
                return (.refused, [])
            }
        }
    }

    private static func owned(_ head: borrowing ResponseHead, _ bytes: [UInt8]) -> Response {
        Response(
            status: head.status, reason: Array(bytes[head.reason.indices]), framing: head.framing,
            declaredLength: head.declaredLength, isInterim: head.isInterim,
            isWebSocket: head.isUpgradeAccepted,
            fields: lines(head.fields, bytes) {
                !$0.flags.contains(.hopByHop) && $0.name != .contentLength
            }, byteCount: head.byteCount)
    }

    private static func forward(
        _ response: Response, _ head: borrowing ResponseHead, _ bytes: [UInt8],
        _ circumstances: Circumstances
    ) throws(Finding) {
        if response.isInterim, circumstances.clientMinor == 0 { return }
        let framing = head.framing(clientMinor: circumstances.clientMinor)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        var writer = ByteWriter(buffer)
        let context = ResponseContext(
            framing: framing, clientMinor: circumstances.clientMinor,
            keepAlive: circumstances.keepAlive)
        if !response.isInterim { try RuledHeads.check(response, head, bytes, context) }
        let fits =
            response.isInterim
            ? HTTP1Writer.writeInterim(head, from: bytes.span, into: &writer)
            : HTTP1Writer.writeResponse(head, from: bytes.span, context: context, into: &writer)
        try hold(fits, "a megabyte is room for any head")
        let output = Array(buffer[..<writer.count])
        try checkLines(output, hosts: hosts(response))

        let (second, keepAlive) = try readBack(output, circumstances)
        try hold(second.status == response.status, "the status is forwarded")
        try hold(second.reason == response.reason, "the reason is forwarded")
        try hold(second.framing == framing, "the client sees the framing that was chosen")
        try hold(second.declaredLength == response.declaredLength, "a declared length stays")
        try hold(second.isInterim == response.isInterim, "interim stays interim")
        try hold(second.isWebSocket == response.isWebSocket, "an upgrade stays one")
        try hold(second.fields == response.fields, "the end-to-end fields are forwarded")
        guard !response.isInterim, !response.isWebSocket else { return }
        try hold(
            keepAlive == (circumstances.keepAlive && !framing.isUntilClose),
            "the client is told whether the connection stays")
    }

    /// An upstream may send Host fields; they mean nothing in an answer.
    private static func hosts(_ response: Response) -> Int {
        response.fields.count {
            String(decoding: $0.prefix(5), as: UTF8.self).lowercased() == "host:"
        }
    }

    private static func readBack(
        _ output: [UInt8], _ circumstances: Circumstances
    ) throws(Finding) -> (Response, keepAlive: Bool) {
        var scanner = HeadScanner(.response)
        var head = ResponseHead()
        let count = try accepted("the client finds a head") { () throws(HTTP1Violation) in
            try scanner.scan(output.span, limits: .wide)
        }
        try hold(count == output.count, "a forwarded head is one head")
        try accepted("the client accepts it") { () throws(HTTP1Violation) in
            try HTTP1Parser.parseResponse(
                output.span, requestMethod: circumstances.method,
                upgrade: circumstances.isUpgrade ? .webSocket : .none, into: &head, limits: .wide)
        }
        return (owned(head, output), head.keepAlive)
    }
}
