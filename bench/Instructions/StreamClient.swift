internal import EdgeCore
internal import EdgeHTTP2

/// A client of HTTP/2 that makes one request at a time and looks at each answer.
final class StreamClient: HTTP2Handler {
    private var engine: HTTP2Engine?
    private var session: HTTP2Session?
    private var isRight = false
    private var count = 0
    /// Streams that have ended, each with the answer of 100 bytes.
    private(set) var answered = 0

    /// - Returns: false without memory.
    func begin(_ now: Instant) -> Bool {
        engine = HTTP2Engine(self, seed: 1)
        session = engine?.makeClient(0, HTTP2Limits(), now: now)
        return session != nil
    }

    /// Submits a request. What is to be sent with it comes from `output`.
    func request() {
        guard let engine, let session else { return }
        engine.fields.begin()
        engine.fields.append(":method", "GET")
        engine.fields.append(":scheme", "https")
        engine.fields.append(":authority", "localhost")
        engine.fields.append(":path", "/")
        isRight = false
        count = 0
        let id = session.submitRequest(stream: 0, hasContent: false)
        invariant(id != nil && engine.fields.isWhole, "the request is submitted")
    }

    func output() -> [UInt8] {
        var all: [UInt8] = []
        while let bytes = session?.output() { all += bytes }
        return all
    }

    func receive(_ bytes: UnsafeRawBufferPointer, now: Instant) {
        guard case .open = session?.receive(bytes, now: now) else {
            invariant(false, "the worker keeps to the protocol")
            return
        }
    }

    // MARK: - Events

    override func headReceived(
        connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer, isLast: Bool,
        isExtendedConnect: Bool
    ) {
        isRight = text.starts(with: "HTTP/1.1 200".utf8)
    }

    override func contentReceived(
        connection: Int32, stream: Int32, id: Int32, bytes: UnsafeRawBufferPointer
    ) {
        count += bytes.count
        isRight = isRight && bytes.allSatisfy { $0 == UInt8(ascii: "x") }
        session?.consumeStream(id, bytes.count)
        session?.consumeConnection(bytes.count)
    }

    override func streamClosed(connection: Int32, stream: Int32, code: UInt32) {
        invariant(isRight && count == 100 && code == 0, "the answer arrives")
        answered += 1
    }
}
