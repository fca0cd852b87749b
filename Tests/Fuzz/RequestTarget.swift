internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1

/// A request head reads the same in any segments, and what is forwarded of it reads the same to the
/// next reader, with the same body behind it.
enum RequestTarget {
    struct Request: Equatable {
        var method: [UInt8] = []
        var target: [UInt8] = []
        var authority: [UInt8] = []
        var host: [UInt8] = []
        var port: UInt16?
        var framing = BodyFraming.none
        var isUpgrade = false
        var wantsTrailers = false
        /// The end-to-end fields that nobody rewrites.
        var fields: [[UInt8]] = []
        var claims: [[UInt8]] = []
        var byteCount = 0
    }

    static func run(_ input: FuzzInput) throws(Finding) {
        var head = RequestHead()
        let pieces = try parse(input, inPieces: true, &head).outcome
        let (whole, bytes) = try parse(input, inPieces: false, &head)
        try compare(whole: whole, pieces: pieces)
        guard case .accepted(let request) = whole else { return }
        try hold(request.byteCount == bytes.count, "the whole head was parsed")
        try hold(!request.authority.isEmpty, "an accepted request has an authority")
        try hold(
            request.target.first == UInt8(ascii: "/") || request.target == Array("*".utf8),
            "a target is a path or an asterisk")
        try forward(request, head, bytes, input)
    }

    /// Leaves the head in `head`; returns it with the bytes that its ranges are of.
    private static func parse(
        _ input: FuzzInput, inPieces: Bool, _ head: inout RequestHead
    ) throws(Finding) -> (outcome: Outcome<Request>, bytes: [UInt8]) {
        switch try input.scan(.request, inPieces: inPieces) {
        case .incomplete: return (.incomplete, [])
        case .refused: return (.refused, [])
        case .head(let range):
            let bytes = Array(input.bytes[range])
            do throws(HTTP1Violation) {
                try HTTP1Parser.parseRequest(bytes.span, into: &head, limits: input.limits)
                return (.accepted(owned(head, bytes)), bytes)
            } catch {
                return (.refused, [])
            }
        }
    }

    private static func owned(_ head: borrowing RequestHead, _ bytes: [UInt8]) -> Request {
        Request(
            method: Array(bytes[head.methodRange.indices]),
            target: head.isAsterisk ? Array("*".utf8) : Array(bytes[head.target.indices]),
            authority: Array(bytes[head.authority.indices]),
            host: Array(bytes[head.host.indices]), port: head.port, framing: head.framing,
            isUpgrade: head.upgradeWebSocket, wantsTrailers: head.hasTETrailers,
            fields: lines(head.fields, bytes) { isEndToEnd($0) && !$0.name.isForwardingClaim },
            claims: lines(head.fields, bytes) { isEndToEnd($0) && $0.name.isForwardingClaim },
            byteCount: head.byteCount)
    }

    private static func isEndToEnd(_ field: Field) -> Bool {
        guard field.flags.isDisjoint(with: [.hopByHop, .underscore]) else { return false }
        switch field.name {
        case .host, .contentLength, .expect, .trailer: return false
        default: return true
        }
    }

    private static func forward(
        _ request: Request, _ head: borrowing RequestHead, _ bytes: [UInt8], _ input: FuzzInput
    ) throws(Finding) {
        var context = ForwardingContext(
            client: SocketAddress(ipv4: 0xC000_0207, port: 4711), scheme: .https,
            requestID: (high: 1, low: 2), framing: head.framing)
        context.isClientTrusted = input.has(2)
        context.acceptsTrailers = input.has(3)
        context.forwardsExpect = input.has(4)
        context.closesConnection = input.has(5)
        let host = input.has(6) ? Array("inside.example:81".utf8) : []
        try RuledHeads.check(request, head, bytes, context, host)
        let output = try write(head, bytes, context, host)
        try checkLines(output, hosts: 1)
        let second = try readBack(output)
        try hold(second.method == request.method, "the method is forwarded")
        try hold(second.target == request.target, "the target is forwarded")
        try hold(second.framing == request.framing, "the framing is forwarded")
        try hold(second.isUpgrade == request.isUpgrade, "the upgrade is forwarded")
        try hold(second.fields == request.fields, "the end-to-end fields are forwarded")
        try hold(
            second.authority == (host.isEmpty ? request.authority : host), "one host is named")
        try hold(
            second.wantsTrailers
                == (request.wantsTrailers && context.acceptsTrailers && !request.isUpgrade),
            "trailers are asked for where they can come")
        if !context.isClientTrusted {
            let ours = [
                "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: ",
                "X-Real-IP: 192.0.2.7", "X-Request-ID: 00000000000000010000000000000002",
            ].map { Array($0.utf8) }
            let isOurs = ours.allSatisfy { claim in
                second.claims.count { $0.starts(with: claim) } == 1
            }
            try hold(
                second.claims.count == ours.count && isOurs,
                "a client's claims about itself do not go on")
        }
    }

    private static func write(
        _ head: borrowing RequestHead, _ bytes: [UInt8], _ context: ForwardingContext,
        _ host: [UInt8]
    ) throws(Finding) -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { buffer.deallocate() }
        var writer = ByteWriter(buffer)
        let fits = HTTP1Writer.writeRequest(
            head, from: bytes.span, context: context, host: host.span, into: &writer)
        try hold(fits, "a megabyte is room for any head")
        let count = writer.count
        let tight = UnsafeMutableRawBufferPointer.allocate(byteCount: count - 1, alignment: 1)
        defer { tight.deallocate() }
        var second = ByteWriter(tight)
        let fitsTight = HTTP1Writer.writeRequest(
            head, from: bytes.span, context: context, host: host.span, into: &second)
        try hold(!fitsTight, "a head does not fit into less than it takes")
        return Array(buffer[..<count])
    }

    static func readBack(_ output: [UInt8]) throws(Finding) -> Request {
        var scanner = HeadScanner(.request)
        var head = RequestHead()
        let count = try accepted("the next reader finds a head") { () throws(HTTP1Violation) in
            try scanner.scan(output.span, limits: .wide)
        }
        try hold(count == output.count, "a forwarded head is one head")
        try accepted("the next reader accepts it") { () throws(HTTP1Violation) in
            try HTTP1Parser.parseRequest(output.span, into: &head, limits: .wide)
        }
        return owned(head, output)
    }
}
