import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeHTTP2

/// Server sessions of one engine, which have their frame buffer in common.
@Suite("HTTP/2 frame buffer") struct FrameBufferTests {
    /// Two server sessions and their clients. Streams are known by their ids.
    private final class Servers: HTTP2Handler {
        private(set) var engine: HTTP2Engine?
        private(set) var sessions: [HTTP2Session] = []
        let clients: [SessionPeer]
        /// Content that waits, by connection; all of it goes to whichever stream asks.
        var content: [[UInt8]] = [[], []]
        var hasRoom = [true, true]
        /// What `contentWaiting` does first.
        var onAsked: (() -> Void)?
        private var written: [UInt8] = []
        private let now = Instant(nanoseconds: 1_000_000_000)

        override init() {
            clients = (0..<2).compactMap { _ in try? SessionPeer(isServer: false) }
            super.init()
        }

        func begin() throws {
            let engine = try #require(HTTP2Engine(self, seed: 1))
            try #require(clients.count == 2)
            self.engine = engine
            for tag in 0..<2 {
                sessions.append(
                    try #require(engine.makeServer(Int32(tag), HTTP2Limits(), now: now)))
                exchange(tag)
            }
        }

        func end() {
            for session in sessions { session.free() }
            sessions = []
            engine = nil
        }

        /// All that either side of a connection has to say.
        func exchange(_ tag: Int) {
            for _ in 0..<4 {
                clients[tag].take().withUnsafeBytes {
                    _ = sessions[tag].receive($0, now: now)
                }
                while step(tag) {}
            }
        }

        /// One output of a session, and what it has written meanwhile.
        func step(_ tag: Int) -> Bool {
            let bytes = sessions[tag].output().map { Array($0) }
            clients[tag].feed(written + (bytes ?? []))
            written = []
            return bytes != nil
        }

        func answer(_ tag: Int, _ id: Int32, _ more: [(String, String)] = []) throws {
            let engine = try #require(engine)
            let session = sessions[tag]
            let hasContent = !content[tag].isEmpty
            let isSubmitted = SessionPeer.withFields([(":status", "200")] + more, engine) {
                session.submitAnswer(id, stream: id, hasContent: hasContent)
            }
            #expect(isSubmitted)
        }

        override func headReceived(
            connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer,
            isLast: Bool, isExtendedConnect: Bool
        ) {
            sessions[Int(connection)].setTag(id, of: id)
        }

        override func contentWaiting(
            connection: Int32, stream: Int32, id: Int32, max: Int
        ) -> WaitingContent {
            onAsked?()
            let count = content[Int(connection)].count
            return count <= max ? .last(count) : .some(max)
        }

        override func writeContent(
            connection: Int32, stream: Int32, id: Int32, header: UnsafePointer<UInt8>, count: Int
        ) -> Bool {
            guard hasRoom[Int(connection)] else { return false }
            written += UnsafeBufferPointer(start: header, count: 9)
            written += content[Int(connection)].prefix(count)
            content[Int(connection)].removeFirst(count)
            return true
        }
    }

    private static func fields(_ count: Int, _ letter: Character) -> [(String, String)] {
        (0..<count).map { ("x-\(letter)-\($0)", String(repeating: letter, count: 500) + "\($0)") }
    }

    @Test("A server's session has none of its own, a client's does")
    func shared() throws {
        let servers = Servers()
        try servers.begin()
        defer { servers.end() }

        #expect(servers.engine?.sharesFrameBuffer == true)
        #expect(servers.sessions[0].byteCount < 10 * 1024)
        #expect(servers.clients[0].session.byteCount > 16 * 1024)
    }

    @Test("A DATA frame that has waited for room is whole, whatever others have sent meanwhile")
    func waiting() throws {
        let servers = Servers()
        try servers.begin()
        defer { servers.end() }
        let content = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 / 251 + $0) }
        let ids = servers.clients.map { $0.request(SessionPeer.fields()) }
        for tag in 0..<2 { servers.exchange(tag) }
        servers.content[0] = content
        servers.hasRoom[0] = false
        try servers.answer(0, ids[0])
        servers.exchange(0)
        #expect(servers.content[0].count == content.count)
        #expect(servers.clients[0][ids[0]].heads.count == 1)

        try servers.answer(1, ids[1], Self.fields(20, "b"))
        servers.exchange(1)
        servers.hasRoom[0] = true
        servers.exchange(0)

        #expect(servers.clients[0][ids[0]].content.elementsEqual(content))
        #expect(servers.clients[0][ids[0]].isEnded)
        #expect(servers.clients[0].recorder.goAway == nil)
    }

    @Test("Heads of several frames are whole, though sessions take turns between them")
    func longHeads() throws {
        let servers = Servers()
        try servers.begin()
        defer { servers.end() }
        let ids = servers.clients.map { $0.request(SessionPeer.fields()) }
        for tag in 0..<2 { servers.exchange(tag) }
        let fields = [Self.fields(90, "a"), Self.fields(80, "b")]
        for tag in 0..<2 { try servers.answer(tag, ids[tag], fields[tag]) }

        var rounds = 0
        var isMore = true
        while isMore {
            let first = servers.step(0)
            let second = servers.step(1)
            isMore = first || second
            rounds += 1
        }

        #expect(rounds > 2, "each head takes several frames")
        for tag in 0..<2 {
            let stream = servers.clients[tag][ids[tag]]
            let lines = fields[tag].map { "\($0): \($1)\r\n" }.joined()
            #expect(stream.heads.count == 1 && stream.heads.first?.contains(lines) == true)
            #expect(stream.isEnded)
        }
    }

    @Test("What is told during one's output is no time for another's")
    func nested() throws {
        let servers = Servers()
        try servers.begin()
        defer { servers.end() }
        let ids = servers.clients.map { $0.request(SessionPeer.fields()) }
        for tag in 0..<2 { servers.exchange(tag) }
        try servers.answer(1, ids[1])
        servers.content[0] = [1, 2, 3]
        try servers.answer(0, ids[0])
        let other = servers.sessions[1]
        var attempts = 0
        servers.onAsked = {
            attempts += 1
            #expect(other.output() == nil)
        }

        servers.exchange(0)
        servers.onAsked = nil

        #expect(attempts > 0)
        #expect(servers.clients[0][ids[0]].content == [1, 2, 3])
        #expect(servers.step(1), "it still has its answer to give")
        #expect(servers.clients[1][ids[1]].isEnded)
    }
}
