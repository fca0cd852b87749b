import EdgeHTTP
import EdgeHTTP1
import Testing

/// Mutates well-formed messages. Whatever is still accepted must read the same to the next reader.
@Suite("HTTP/1 under mutated input")
struct MutationTests {
    private static let requests = [
        "GET / HTTP/1.1\r\nHost: a.example\r\nA: */*\r\nConnection: close, x-a\r\nX-A: 1\r\n\r\n",
        "POST /p?q HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "PUT http://b:80/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
        "GET /w HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX_Y: 1\r\n\r\n",
        "\r\nHEAD / HTTP/1.0\r\nHost: a\r\nX-Real-IP: 1.1.1.1\r\nCookie: a=b\r\nCookie:c \r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nProxy-Connection: x\r\nKeep-Alive: 1\r\n\r\n",
    ].map { Array($0.utf8) }

    private static let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
        "HTTP/1.0 404 Not\r\nConnection: keep-alive, x\r\nX: y\r\nContent-Length:7\r\n\r\n",
        "HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nDate:b\r\n\r\n",
        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ].map { Array($0.utf8) }

    private static let bodies = [
        "5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\nGET / HTTP/1.1\r\n",
        "1\r\nx\r\n0\r\n\r\n",
    ].map { Array($0.utf8) }

    private static let tokens = [
        "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", ";", "0", "_", "#", "\r\n ", "\r\n\r\n",
        "chunked",
        "Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n", "Host: b\r\n", "HTTP/1.1", "@",
        "[",
        "Connection: Host, content-length, X-Forwarded-For\r\n", "\u{FF}", "GET /x HTTP/1.1\r\n",
    ].map { Array($0.utf8) }

    private static func mutated(
        _ seed: [UInt8], _ generator: inout SeededGenerator
    ) -> [UInt8] {
        var bytes = seed
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let index = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0 where index < bytes.count:
                bytes[index] = UInt8.random(in: 0...255, using: &generator)
            case 1 where index < bytes.count: bytes.remove(at: index)
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: index)
            case 3 where index < bytes.count:
                bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 4:
                let other = Int.random(in: 0...bytes.count, using: &generator)
                let part = Array(bytes[min(index, other)..<max(index, other)])
                bytes.insert(contentsOf: part, at: index)
            default:
                let token = tokens[Int.random(in: 0..<tokens.count, using: &generator)]
                bytes.insert(contentsOf: token, at: index)
            }
        }
        return bytes
    }

    @Test(
        "A request that is forwarded reads the same to the next reader",
        arguments: 1...4 as ClosedRange<UInt64>)
    func requests(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var request = RequestHead()
        var accepted = 0
        for round in 0..<8000 {
            let bytes = Self.mutated(Self.requests[round % Self.requests.count], &generator)
            var scanner = HeadScanner(.request)
            guard let count = try? scanner.scan(bytes.span, limits: HeadLimits()) else { continue }
            let head = Array(bytes[scanner.skippedByteCount...].prefix(count))
            do {
                try HTTP1Parser.parseRequest(head.span, into: &request, limits: HeadLimits())
            } catch {
                continue
            }
            accepted += 1
            let first = parsed(request, head)
            #expect(request.byteCount == head.count, "seed \(seed) round \(round)")
            let output = try #require(
                written {
                    HTTP1Writer.writeRequest(
                        request, from: head.span, context: context(request.framing), host: Span(),
                        into: &$0)
                })
            let second = try #require(try? parseRequest(output), "seed \(seed) round \(round)")
            checkSame(first, second, "seed \(seed) round \(round)")
            checkLines(output, "seed \(seed) round \(round)")
        }
        #expect(accepted > 500)
    }

    /// What the most lenient reader could see in an output: no line end that is not CRLF, one Host,
    /// one framing, no fold.
    private func checkLines(_ output: [UInt8], _ place: Comment) {
        var hosts = 0
        var framings = 0
        for line in lines(output) {
            #expect(!line.utf8.contains { $0 == 10 || $0 == 13 || $0 == 0 }, place)
            #expect(!line.isEmpty && !line.hasPrefix(" ") && !line.hasPrefix("\t"), place)
            let name = line.prefix { $0 != ":" }.lowercased()
            if name == "host" { hosts += 1 }
            if name == "content-length" || name == "transfer-encoding" { framings += 1 }
        }
        #expect(hosts == 1, place)
        #expect(framings <= 1, place)
    }

    private func checkSame(_ first: Parsed, _ second: Parsed, _ place: Comment) {
        #expect(second.start == first.start, place)
        #expect(second.target == first.target, place)
        #expect(second.authority == first.authority, place)
        #expect(second.host == first.host, place)
        #expect(second.port == first.port, place)
        #expect(second.framing == first.framing, place)
        #expect(second.flags[3] == first.flags[3], place)
        #expect(endToEnd(second.fields) == endToEnd(first.fields), place)
    }

    /// The fields that nobody rewrites.
    private func endToEnd(_ fields: [[UInt8]]) -> [[UInt8]] {
        fields.filter { line in
            let end = line.firstIndex(of: UInt8(ascii: ":")) ?? 0
            let name = FieldName.identify(line.span, ByteRange(0..<end))
            return !name.isForwardingClaim && name != .host && name != .contentLength
                && name != .expect && name != .trailer
        }
    }

    @Test(
        "A response that is forwarded reads the same to the client",
        arguments: 1...2 as ClosedRange<UInt64>)
    func responses(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var response = ResponseHead()
        var again = ResponseHead()
        var accepted = 0
        for round in 0..<6000 {
            let bytes = Self.mutated(Self.responses[round % Self.responses.count], &generator)
            var scanner = HeadScanner(.response)
            guard let count = try? scanner.scan(bytes.span, limits: HeadLimits()) else { continue }
            do {
                try HTTP1Parser.parseResponse(
                    bytes.span.extracting(first: count), requestMethod: .get,
                    upgrade: .webSocket,
                    into: &response, limits: HeadLimits())
            } catch {
                continue
            }
            guard !response.isInterim else { continue }
            accepted += 1
            let framing = response.framing(clientMinor: 1)
            let settings = ResponseContext(framing: framing, clientMinor: 1, keepAlive: true)
            let output = try #require(
                written {
                    HTTP1Writer.writeResponse(
                        response, from: bytes.span, context: settings, into: &$0)
                })
            try HTTP1Parser.parseResponse(
                output.span, requestMethod: .get, upgrade: .webSocket, into: &again,
                limits: HeadLimits())
            #expect(again.byteCount == output.count, "seed \(seed) round \(round)")
            #expect(again.status == response.status, "seed \(seed) round \(round)")
            #expect(again.framing == framing, "seed \(seed) round \(round)")
            #expect(again.isUpgradeAccepted == response.isUpgradeAccepted)
        }
        #expect(accepted > 300)
    }

    @Test(
        "A chunked body means the same in one piece and in random ones",
        arguments: 1...4 as ClosedRange<UInt64>)
    func bodies(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for round in 0..<4000 {
            let bytes = Self.mutated(Self.bodies[round % Self.bodies.count], &generator)
            let whole = Self.outcome(bytes, pieces: nil, &generator)
            let parts = Self.outcome(bytes, pieces: 4, &generator)
            #expect(whole == parts, "seed \(seed) round \(round)")
        }
    }

    private struct Outcome: Equatable {
        var content: [UInt8] = []
        var trailers: [UInt8] = []
        var isComplete = false
        var violation: HTTP1Violation?
        var consumed = 0
    }

    /// Decodes with the input growing by up to `pieces` bytes, or all at once.
    private static func outcome(
        _ bytes: [UInt8], pieces: Int?, _ generator: inout SeededGenerator
    ) -> Outcome {
        var decoder = BodyDecoder(framing: .chunked)
        var result = Outcome()
        var visible = 0
        while visible < bytes.count {
            let step = pieces.map { Int.random(in: 1...$0, using: &generator) } ?? bytes.count
            visible = min(visible + step, bytes.count)
            while true {
                let input = Array(bytes[result.consumed..<visible])
                do {
                    let (step, consumed) = try decoder.next(input.span, limits: HeadLimits())
                    result.consumed += consumed
                    switch step {
                    case .data(let offset, let count):
                        result.content += input[offset..<offset + count]
                    case .trailers(let offset, let count):
                        result.trailers = Array(input[offset..<offset + count])
                    case .needMore: break
                    case .end:
                        result.isComplete = true
                        return result
                    }
                    if step == .needMore { break }
                } catch {
                    // Content before the offence may have been reported or not.
                    return Outcome(violation: error)
                }
            }
        }
        return result
    }

    @Test("Random bytes are refused or waited for, never trapped on")
    func noise() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<4000 {
            let count = Int.random(in: 0..<80, using: &generator)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let line = Array("GET / HTTP/1.1\r\n".utf8) + bytes + Array("\r\n\r\n".utf8)
            _ = try? parseRequest(bytes)
            _ = try? parseRequest(line)
            var fields = FieldList()
            try? HTTP1Parser.parseTrailers(bytes.span, into: &fields, limits: HeadLimits())
            _ = Authority(bytes.span, ByteRange(0..<bytes.count))
        }
    }
}
