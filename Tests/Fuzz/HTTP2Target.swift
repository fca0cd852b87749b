internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeHTTP2
internal import EdgeTesting

/// An HTTP/2 session tells the same of the same bytes however they are cut, tells each stream in
/// order and closes it once, hands on no head that the next reader could take for two, and holds a
/// bounded amount of memory.
///
/// The input is what the peer sends behind its greeting (bit 0 clear), or edits of a well-behaved
/// peer's bytes (bit 0 set): triples of a place, two bytes, and what is added there. Bit 1: we are
/// the client, with a request under way.
enum HTTP2Target {
    static func run(_ input: FuzzInput) throws(Finding) {
        let bytes = try input.has(0) ? tampered(input) : greeting(input) + input.bytes
        let whole = try tell(input, bytes, [bytes.count])
        var ends: [Int] = []
        var end = 0
        let step = Int(input.cut % 60) + 1
        while end < bytes.count {
            end = min(end + step, bytes.count)
            ends.append(end)
        }
        let pieces = try tell(input, bytes, ends)
        if whole.isOpen {
            try hold(pieces.isOpen, "what is whole no breach is none in pieces")
            try hold(whole.log == pieces.log, "whole: \(whole.log), in pieces: \(pieces.log)")
        } else {
            try hold(!pieces.isOpen, "a breach is one in pieces, too")
        }
    }

    private struct Course {
        var isOpen = true
        var log: [String] = []
    }

    private static func greeting(_ input: FuzzInput) -> [UInt8] {
        input.has(1)
            ? RawFrame.settings().bytes : RawFrame.preface + RawFrame.settings().bytes
    }

    /// Limits that short inputs reach.
    private static func limits(_ input: FuzzInput) -> HTTP2Limits {
        input.has(2)
            ? HTTP2Limits(
                streams: 3, streamWindow: 1000, connectionWindow: 65535, headBytes: 300,
                continuations: 2, resets: 3, pings: 3, settings: 3, priorities: 3,
                windowUpdates: 3, emptyData: 3, unknownFrames: 3)
            : HTTP2Limits()
    }

    private static func made(_ isServer: Bool, _ limits: HTTP2Limits) throws(Finding)
        -> SessionPeer
    {
        guard let peer = try? SessionPeer(isServer: isServer, limits) else {
            throw Finding("there is memory")
        }
        return peer
    }

    private static func tell(
        _ input: FuzzInput, _ bytes: [UInt8], _ ends: [Int]
    ) throws(Finding) -> Course {
        let peer = try made(!input.has(1), limits(input))
        if input.has(1) {
            for method in ["GET", "HEAD", "POST"] { peer.request(SessionPeer.fields(method)) }
        }
        _ = peer.take()
        var course = Course()
        var start = 0
        for end in ends {
            if case .open = peer.feed(bytes[start..<end]) {} else { course.isOpen = false }
            start = end
            if !course.isOpen { break }
        }
        try hold(peer.session.byteCount < 1 << 20, "a short input costs little memory")
        try check(peer.recorder, isServer: !input.has(1))
        // Whatever came, the session can still speak and end.
        peer.session.terminate(.noError)
        try hold(peer.take().count < 1 << 16, "little is said about a short input")
        course.log = peer.recorder.log
        // Of what is cut or reset, pieces tell more than the whole.
        for (id, stream) in peer.recorder.streams.sorted(by: { $0.key < $1.key })
        where stream.isEnded {
            course.log.append("\(id) has \(stream.content.count)")
        }
        return course
    }

    private static func check(
        _ recorder: SessionPeer.Recorder, isServer: Bool
    ) throws(Finding) {
        var closed: Set<Substring> = []
        for line in recorder.log {
            let id = line.prefix { $0 != " " }
            try hold(!closed.contains(id), "nothing is told of a stream that is closed: \(line)")
            if line.dropFirst(id.count).hasPrefix(" closed ") { closed.insert(id) }
        }
        for stream in recorder.streams.values {
            for head in stream.heads { try checkHead(Array(head.utf8), isServer) }
            if isServer, stream.heads.isEmpty {
                try hold(stream.content.isEmpty || stream.isTooLarge, "content has a head before")
            }
        }
    }

    /// What the parser accepts is one head and nothing behind it.
    private static func checkHead(_ text: [UInt8], _ isRequest: Bool) throws(Finding) {
        try hold(text.suffix(4).elementsEqual("\r\n\r\n".utf8), "a head ends with an empty line")
        var scanner = HeadScanner(isRequest ? .request : .response)
        let count: Int?
        do throws(HTTP1Violation) {
            count = try scanner.scan(text.span, limits: .wide)
        } catch {
            return
        }
        try hold(count == text.count, "a head is one head")
    }

    private static func tampered(_ input: FuzzInput) throws(Finding) -> [UInt8] {
        var bytes = try honest(isClient: !input.has(1))
        for index in stride(from: 0, to: input.bytes.count - 2, by: 3).prefix(64) {
            let place = Int(input.bytes[index]) << 8 | Int(input.bytes[index + 1])
            if place < bytes.count { bytes[place] &+= input.bytes[index + 2] }
        }
        return bytes
    }

    /// A connection's bytes as a well-behaved peer sends them.
    private static func honest(isClient: Bool) throws(Finding) -> [UInt8] {
        let client = try made(false, HTTP2Limits())
        let server = try made(true, HTTP2Limits())
        var sent: [UInt8] = []
        func talk() {
            for _ in 0..<4 {
                let up = client.take()
                server.feed(up)
                let down = server.take()
                client.feed(down)
                sent += isClient ? up : down
            }
        }
        for method in ["GET", "HEAD", "POST"] {
            let id = client.request(
                SessionPeer.fields(method, "/path", [("cookie", "a=b"), ("cookie", "c=d")]),
                hasContent: method == "POST" && isClient)
            if method == "POST", isClient {
                client.send(
                    id, Array("content".utf8), isLast: true, trailers: [("x-sum", "7")])
            }
        }
        talk()
        for id in server.open {
            server.interim(id, 103, [("link", "</a>")])
            server.answer(id, 200, [("x", "y")], hasContent: id != 3)
            if id != 3 {
                server.send(
                    id, Array("content".utf8), isLast: true, trailers: [("x-end", "7")])
            }
        }
        talk()
        client.session.ping()
        server.session.ping()
        talk()
        return sent
    }
}
