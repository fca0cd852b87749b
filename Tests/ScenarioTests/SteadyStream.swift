internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// One connection, opened at the start, on which something is said all the time and has to come
/// back: a thread of its own until `stop`. Nothing is opened anew, and the first failure is the
/// last, unless its process may leave: then each end is noted, and what follows is the next one's.
final class SteadyStream: @unchecked Sendable {
    // Sendable: the mutable fields are guarded by `condition`.
    let name: String
    private let condition = NSCondition()
    private var isStopping = false
    private var isOver = false
    private var result: Result

    struct Result: Sendable, CustomStringConvertible {
        let name: String
        let begin = Instant.now()
        var rounds = 0
        var longest: Duration = .zero
        /// When, counted from the beginning, and why.
        var failure: (after: Duration, reason: String)?
        /// Of connections after which others were opened.
        var lives: [Life] = []

        var description: String {
            let end = failure.map { "FAILED after \($0.after.milliseconds): \($0.reason)" }
            return "\(name): \(rounds) rounds, longest \(longest.milliseconds), "
                + (lives.isEmpty ? "" : "\(lives.count) ended and opened again, ")
                + (end ?? "alive at the end")
        }
    }

    /// A connection that has ended.
    struct Life: Sendable {
        let opened: Instant
        let ended: Instant
        /// Until the next one had its first answer.
        var gap: Duration
        let reason: String
    }

    /// Something that can be said and waited for; throws if anything else comes back.
    protocol Talk {
        mutating func round(_ number: Int) throws
        mutating func close()
    }

    /// - Parameters:
    ///   - every: a round begins that long after the last has ended.
    ///   - mayEnd: a connection that has answered may end; another is opened at once, and its first
    ///     round has to be answered.
    ///   - open: on the stream's own thread; its failure is one of the stream.
    init(
        _ name: String, every pause: Duration = .milliseconds(20), mayEnd: Bool = false,
        _ open: @escaping @Sendable () throws -> any Talk
    ) {
        self.name = name
        result = Result(name: name)
        Thread.detachNewThread { [self] in
            talk(open, pause, mayEnd)
            condition.withLock {
                isOver = true
                condition.broadcast()
            }
        }
    }

    private func talk(_ open: () throws -> any Talk, _ pause: Duration, _ mayEnd: Bool) {
        while true {
            let opened = Instant.now()
            var rounds = 0
            do {
                try converse(open, pause, &rounds)
                return
            } catch {
                let ended = Instant.now()
                let goesOn = condition.withLock {
                    guard mayEnd, rounds > 0 else {
                        let after = ended.nanoseconds(since: result.begin)
                        result.failure = (Duration(nanoseconds: after), "\(error)")
                        return false
                    }
                    result.lives.append(
                        Life(opened: opened, ended: ended, gap: .zero, reason: "\(error)"))
                    return !isStopping
                }
                guard goesOn else { return }
            }
        }
    }

    /// On one connection.
    private func converse(
        _ open: () throws -> any Talk, _ pause: Duration, _ rounds: inout Int
    ) throws {
        var talk = try open()
        defer { talk.close() }
        while !condition.withLock({ isStopping }) {
            let begin = Instant.now()
            try talk.round(condition.withLock { result.rounds })
            let end = Instant.now()
            let taken = Duration(nanoseconds: end.nanoseconds(since: begin))
            condition.withLock {
                result.rounds += 1
                result.longest = max(result.longest, taken)
                if rounds == 0, let last = result.lives.indices.last {
                    result.lives[last].gap = Duration(
                        nanoseconds: end.nanoseconds(since: result.lives[last].ended))
                }
            }
            rounds += 1
            usleep(UInt32(pause.seconds * 1e6))
        }
    }

    /// So far.
    var now: Result { condition.withLock { result } }

    /// After the round under way.
    @discardableResult
    func stop() -> Result {
        condition.lock()
        defer { condition.unlock() }
        isStopping = true
        let deadline = Date(timeIntervalSinceNow: 10)
        while !isOver, condition.wait(until: deadline) {}
        return result
    }
}

/// How long an answer may take.
private let patience = Duration.seconds(3)

/// Requests one after another on one connection of HTTP/1.1, or through a `tcp` listener.
struct SteadyRequests: SteadyStream.Talk {
    private let client: RawClient
    private let wanted: String

    init(_ client: RawClient, expecting body: String) {
        self.client = client
        wanted = body
    }

    mutating func round(_ number: Int) throws {
        let answer = try client.get("/file?\(number)", host: "app.test")
        guard answer.status == 200, answer.text == wanted else {
            throw KitError("\(answer.status) \(answer.text.prefix(80))")
        }
    }

    mutating func close() { client.close() }
}

/// Messages to an echo and back (RFC 6455).
struct SteadyWebSocket: SteadyStream.Talk {
    private let client: RawClient
    /// What came behind the last echo, such as a ping, is the next round's.
    private var frames: [UInt8] = []

    init(_ client: RawClient) throws {
        self.client = client
        let answer = try client.get(
            "/echo", host: "ws.test",
            extra: [
                "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ])
        guard answer.status == 101 else { throw KitError("no WebSocket: \(answer.status)") }
    }

    mutating func round(_ number: Int) throws {
        let text = Array("message \(number)".utf8)
        try client.send(bytes: Self.frame(1, text))
        let deadline = Instant.now().advanced(by: patience)
        while Instant.now() < deadline {
            frames += client.takeReceived()
            while let (opcode, payload) = Self.takeFrame(&frames) {
                switch opcode {
                case 1 where payload.elementsEqual(text): return
                // The server's own keep-alive.
                case 9: try client.send(bytes: Self.frame(10, payload))
                case 10: break
                case 8 where payload.count >= 2:
                    throw KitError("closed with \(Int(payload[0]) << 8 | Int(payload[1]))")
                default: throw KitError("a frame of kind \(opcode) instead of an echo")
                }
            }
            switch client.read(within: .milliseconds(100)) {
            case .bytes, .timeout: break
            case .end(let end): throw KitError("ended by \(end)")
            }
        }
        throw KitError("no echo within \(patience)")
    }

    mutating func close() { client.close() }

    /// A client's frame, masked with zeros.
    private static func frame(_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0x80 | opcode, 0x80 | UInt8(payload.count & 0x7F), 0, 0, 0, 0] + payload
    }

    private static func takeFrame(_ bytes: inout [UInt8]) -> (UInt8, [UInt8])? {
        guard bytes.count >= 2, bytes.count >= 2 + Int(bytes[1]) else { return nil }
        let end = 2 + Int(bytes[1])
        defer { bytes.removeFirst(end) }
        return (bytes[0] & 0x0F, Array(bytes[2..<end]))
    }
}

/// Requests one after another on one connection of HTTP/2, with another beside them now and then.
struct SteadyHTTP2: SteadyStream.Talk {
    private let client: HTTP2Client
    private let wanted: String

    init(_ client: HTTP2Client, expecting body: String) {
        self.client = client
        wanted = body
    }

    mutating func round(_ number: Int) throws {
        let streams = try (0...(number % 3)).map { _ in
            try client.request(HTTP2Client.fields("GET", "/file?\(number)"))
        }
        for stream in streams {
            let answer = try client.response(stream, within: patience)
            guard answer.status == 200, answer.reset == nil, answer.text == wanted else {
                throw KitError("\(answer.status) \(answer.text.prefix(80))")
            }
        }
        client.forgetOver()
        if let code = client.goAway { throw KitError("GOAWAY \(code)") }
    }

    mutating func close() { client.close() }
}

/// One call of gRPC with messages both ways for as long as it lasts, to a server of grpcio.
struct SteadyCall: SteadyStream.Talk {
    private let client: HTTP2Client
    private let stream: UInt32
    private let mayLeave: Bool
    private var seen = 0

    /// - Parameter mayLeave: GOAWAY is no failure: the call goes on behind it.
    init(_ client: HTTP2Client, mayLeave: Bool) throws {
        self.client = client
        self.mayLeave = mayLeave
        let fields = HTTP2Client.fields(
            "POST", "/peers.Echo/Bidirectional", host: "grpc.test",
            with: [("content-type", "application/grpc"), ("te", "trailers")])
        stream = try client.request(fields, end: false)
    }

    mutating func round(_ number: Int) throws {
        let text = Array("message \(number)".utf8)
        let message = [0, 0, 0, 0, UInt8(text.count)] + text
        try client.sendContent(stream, message, end: false)
        let wanted = seen + message.count
        let (client, stream) = (client, stream)
        let came = client.wait(within: patience) {
            (client.messages[stream]?.body.count ?? 0) >= wanted
                || client.messages[stream]?.isOver == true
        }
        let body = client.messages[stream]?.body ?? []
        guard came, body.count == wanted, body[seen...].elementsEqual(message) else {
            throw KitError(
                "no echo of message \(number): \(body.count) of \(wanted) bytes, "
                    + "\(client.frames.suffix(4)), \(client.ending.map { "\($0)" } ?? "open")")
        }
        if client.goAway != nil, !mayLeave { throw KitError("GOAWAY") }
        seen = wanted
        client.forgetOver()
    }

    mutating func close() { client.close() }
}
