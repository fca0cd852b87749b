package import EdgeCore
package import EdgeHTTP2

/// One side of an HTTP/2 connection in memory: the product's own session with a handler that keeps
/// what it is told, and sends what it is given. Streams are known by their ids.
package final class SessionPeer {
    package let engine: HTTP2Engine
    package let session: HTTP2Session
    package let recorder: Recorder
    package var now = Instant(nanoseconds: 1_000_000_000)
    private var nextID: Int32 = 1

    /// What came on a stream, and what is to go out on it.
    package struct Stream {
        /// As texts: interim ones, then the final one.
        package var heads: [String] = []
        package var content: [UInt8] = []
        package var trailers: String?
        /// The other side has said all.
        package var isEnded = false
        /// Its head was longer than it may be.
        package var isTooLarge = false
        package var isExtendedConnect = false
        package var isHeadRequest = false
        /// Set once the session has closed it.
        package var closedWith: UInt32?
        /// Our END_STREAM has been written.
        package var isEndSent = false
        fileprivate var output: [UInt8] = []
        fileprivate var hasLast = false
        fileprivate var lastFields: [(String, String)] = []
        fileprivate var isDeferred = false
        /// Received and not given back to the windows yet.
        package var owed = 0
    }

    package final class Recorder: HTTP2Handler {
        package fileprivate(set) var streams: [Int32: Stream] = [:]
        /// Events in their order, for comparisons.
        package private(set) var log: [String] = []
        package private(set) var goAway: (last: Int32, code: UInt32)?
        package private(set) var settingsCount = 0
        package private(set) var pingsAnswered = 0
        /// Content is given back to the windows as it comes.
        package var consumes = true
        fileprivate var session: HTTP2Session?
        fileprivate unowned(unsafe) var engine: HTTP2Engine?
        fileprivate var written: [UInt8] = []
        /// For every event; the session is busy meanwhile.
        package var onEvent: ((HTTP2Session) -> Void)?

        private func note(_ text: @autoclosure () -> String) {
            log.append(text())
            if let session { onEvent?(session) }
        }

        package override func headReceived(
            connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer,
            isLast: Bool, isExtendedConnect: Bool
        ) {
            session?.setTag(id, of: id)
            let head = String(decoding: text, as: UTF8.self)
            streams[id, default: Stream()].heads.append(head)
            streams[id]?.isExtendedConnect = isExtendedConnect
            if isLast { streams[id]?.isEnded = true }
            note("\(id) head \(head) \(isLast)")
        }

        package override func headTooLarge(
            connection: Int32, stream: Int32, id: Int32, isLast: Bool
        ) {
            session?.setTag(id, of: id)
            streams[id, default: Stream()].isTooLarge = true
            note("\(id) too large")
        }

        package override func trailersReceived(
            connection: Int32, stream: Int32, text: UnsafeRawBufferPointer
        ) {
            streams[stream, default: Stream()].trailers = String(decoding: text, as: UTF8.self)
            streams[stream]?.isEnded = true
            note("\(stream) trailers \(String(decoding: text, as: UTF8.self))")
        }

        package override func contentReceived(
            connection: Int32, stream: Int32, id: Int32, bytes: UnsafeRawBufferPointer
        ) {
            streams[id, default: Stream()].content += bytes
            if consumes {
                session?.consumeStream(id, bytes.count)
                session?.consumeConnection(bytes.count)
            } else {
                streams[id]?.owed += bytes.count
            }
            if let session { onEvent?(session) }
        }

        package override func streamEnded(connection: Int32, stream: Int32) {
            streams[stream, default: Stream()].isEnded = true
            note("\(stream) ended")
        }

        package override func streamClosed(connection: Int32, stream: Int32, code: UInt32) {
            streams[stream, default: Stream()].closedWith = code
            note("\(stream) closed \(code)")
        }

        package override func endSent(connection: Int32, stream: Int32, id: Int32) {
            streams[id, default: Stream()].isEndSent = true
        }

        package override func goAwayReceived(connection: Int32, last: Int32, code: UInt32) {
            goAway = (last, code)
            note("goaway \(last) \(code)")
        }

        package override func settingsReceived(connection: Int32) { settingsCount += 1 }

        package override func pingAnswered(connection: Int32) { pingsAnswered += 1 }

        package override func awaitsTrailers(stream: Int32) -> Bool {
            streams[stream]?.heads.contains { !$0.hasPrefix("HTTP/1.1 1") } == true
        }

        package override func isHeadRequest(stream: Int32) -> Bool {
            streams[stream]?.isHeadRequest == true
        }

        package override func contentWaiting(
            connection: Int32, stream: Int32, id: Int32, max: Int
        ) -> WaitingContent {
            guard let state = streams[id], state.hasLast || !state.output.isEmpty else {
                streams[id]?.isDeferred = true
                return .none
            }
            let count = min(max, state.output.count)
            guard state.hasLast, count == state.output.count else { return .some(count) }
            guard !state.lastFields.isEmpty, let engine, let session else { return .last(count) }
            let isSubmitted = SessionPeer.withFields(state.lastFields, engine) {
                session.submitTrailers(id)
            }
            return isSubmitted ? .lastBeforeTrailers(count) : .last(count)
        }

        package override func writeContent(
            connection: Int32, stream: Int32, id: Int32, header: UnsafePointer<UInt8>, count: Int
        ) -> Bool {
            written += UnsafeBufferPointer(start: header, count: 9)
            written += streams[id]?.output.prefix(count) ?? []
            streams[id]?.output.removeFirst(count)
            return true
        }
    }

    /// - Parameter seed: of the keys for WebSocket.
    package init(isServer: Bool, _ limits: HTTP2Limits = HTTP2Limits(), seed: UInt64 = 1) throws {
        recorder = Recorder()
        guard let engine = HTTP2Engine(recorder, seed: seed) else { throw KitError("no memory") }
        let made =
            isServer
            ? engine.makeServer(0, limits, now: now) : engine.makeClient(0, limits, now: now)
        guard let made else { throw KitError("no memory") }
        self.engine = engine
        session = made
        recorder.session = made
        recorder.engine = engine
    }

    deinit { session.free() }

    package subscript(id: Int32) -> Stream { recorder.streams[id] ?? Stream() }

    // MARK: - Bytes

    @discardableResult
    package func feed(_ bytes: some Sequence<UInt8>) -> HTTP2Session.Outcome {
        Array(bytes).withUnsafeBytes { session.receive($0, now: now) }
    }

    /// All that is to be sent now.
    package func take() -> [UInt8] {
        while let bytes = session.output() { recorder.written += bytes }
        defer { recorder.written = [] }
        return recorder.written
    }

    /// Moves bytes both ways until there are none.
    package func talk(to other: SessionPeer) {
        for _ in 0..<1000 {
            let mine = take()
            other.feed(mine)
            let theirs = other.take()
            feed(theirs)
            if mine.isEmpty, theirs.isEmpty { return }
        }
    }

    // MARK: - Messages

    /// The engine's block holds the fields while `body` runs.
    package static func withFields<Result>(
        _ fields: [(String, String)], _ engine: HTTP2Engine, _ body: () -> Result
    ) -> Result {
        let bytes = fields.flatMap { Array($0.0.utf8) + Array($0.1.utf8) }
        return bytes.withUnsafeBytes { all in
            engine.fields.begin()
            var start = 0
            for (name, value) in fields {
                let middle = start + name.utf8.count
                let end = middle + value.utf8.count
                engine.fields.append(
                    lowering: UnsafeRawBufferPointer(rebasing: all[start..<middle]),
                    UnsafeRawBufferPointer(rebasing: all[middle..<end]))
                start = end
            }
            return body()
        }
    }

    /// A usual request's pseudo fields.
    package static func fields(
        _ method: String = "GET", _ path: String = "/", authority: String = "home.example",
        _ more: [(String, String)] = []
    ) -> [(String, String)] {
        [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
            + more
    }

    /// Begins a request.
    ///
    /// - Parameter hasContent: it goes on with `send`.
    /// - Returns: the stream's id; -1: there is none.
    @discardableResult
    package func request(_ fields: [(String, String)], hasContent: Bool = false) -> Int32 {
        let id = SessionPeer.withFields(fields, engine) {
            session.submitRequest(stream: nextID, hasContent: hasContent)
        }
        guard let id else { return -1 }
        recorder.streams[id] = Stream()
        recorder.streams[id]?.isHeadRequest = fields.contains { $0 == ":method" && $1 == "HEAD" }
        nextID = id + 2
        return id
    }

    @discardableResult
    package func answer(
        _ id: Int32, _ status: Int = 200, _ fields: [(String, String)] = [],
        hasContent: Bool = false
    ) -> Bool {
        SessionPeer.withFields([(":status", "\(status)")] + fields, engine) {
            session.submitAnswer(id, stream: id, hasContent: hasContent)
        }
    }

    @discardableResult
    package func interim(_ id: Int32, _ status: Int, _ fields: [(String, String)] = []) -> Bool {
        SessionPeer.withFields([(":status", "\(status)")] + fields, engine) {
            session.submitInterim(id)
        }
    }

    /// Content, and with `isLast` the end of the message.
    package func send(
        _ id: Int32, _ content: some Sequence<UInt8>, isLast: Bool = false,
        trailers: [(String, String)] = []
    ) {
        recorder.streams[id, default: Stream()].output += content
        if isLast {
            recorder.streams[id]?.hasLast = true
            recorder.streams[id]?.lastFields = trailers
        }
        guard recorder.streams[id]?.isDeferred == true else { return }
        recorder.streams[id]?.isDeferred = false
        session.resume(id)
    }

    /// Content that has not been sent yet.
    package func waiting(_ id: Int32) -> Int { recorder.streams[id]?.output.count ?? 0 }

    /// Gives what a stream owes back to its windows.
    package func consume(_ id: Int32, connectionToo: Bool = true) {
        let count = recorder.streams[id]?.owed ?? 0
        recorder.streams[id]?.owed = 0
        session.consumeStream(id, count)
        if connectionToo { session.consumeConnection(count) }
    }

    /// Ids of the streams that have had a head and are not closed.
    package var open: [Int32] {
        recorder.streams.filter { $1.closedWith == nil && !$1.heads.isEmpty }.keys.sorted()
    }
}
