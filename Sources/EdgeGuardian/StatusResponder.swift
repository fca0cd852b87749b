internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// Answers the admin socket while no proxy does: one GET per connection, then closes. Bounded in
/// connections, bytes and time, so that it cannot keep the guardian from its work.
final class StatusResponder {
    static let connectionsMax = 8
    static let headBytesMax = 4096
    static let deadline = Duration.seconds(1)

    private final class Connection {
        let descriptor: FileDescriptor
        var head: [UInt8] = []
        var reply: [UInt8] = []
        var timer: TimerID?
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private let loop: PollLoop
    private let listener: UnixListener
    private let status: () -> StatusReply
    private var connections: [Int32: Connection] = [:]
    private var isActive = false

    init(loop: PollLoop, listener: UnixListener, status: @escaping () -> StatusReply) {
        self.loop = loop
        self.listener = listener
        self.status = status
    }

    deinit { deactivate() }

    func activate() {
        guard !isActive else { return }
        isActive = true
        resumeAccepting()
    }

    /// The proxy accepts from now on; replies under way are finished.
    func deactivate() {
        isActive = false
        loop.unwatch(listener.socket)
    }

    private func resumeAccepting() {
        guard isActive, connections.count < Self.connectionsMax else { return }
        do throws(SystemError) {
            try loop.watch(listener.socket, events: .readable) { [weak self] _ in self?.accept() }
        } catch {
            Log.error("admin socket: \(error)")
        }
    }

    private func accept() {
        while connections.count < Self.connectionsMax {
            guard let descriptor = UnixSocket.accept(listener.socket) else { return }
            let fd = descriptor.raw
            let connection = Connection(descriptor)
            do throws(SystemError) {
                try loop.watch(fd, events: .readable) { [weak self] in self?.handle(fd, $0) }
            } catch {
                Log.error("admin socket: \(error)")
                return
            }
            connection.timer = loop.schedule(after: Self.deadline) { [weak self] in
                self?.close(fd)
            }
            connections[fd] = connection
        }
        // The rest wait in the backlog.
        loop.unwatch(listener.socket)
    }

    private func handle(_ fd: Int32, _ events: PollEvents) {
        guard let connection = connections[fd] else { return }
        if connection.reply.isEmpty { receive(connection) }
        if connections[fd] != nil, !connection.reply.isEmpty { send(connection) }
    }

    private func receive(_ connection: Connection) {
        let fd = connection.descriptor.raw
        var bytes = [UInt8](repeating: 0, count: 1024)
        while connection.head.count < Self.headBytesMax {
            let count = read(fd, &bytes, bytes.count)
            if count < 0, errno == EAGAIN { return }
            guard count > 0 else { return close(fd) }
            connection.head += bytes.prefix(count)
            if Self.isComplete(connection.head) {
                connection.reply = respond(connection.head)
                loop.change(fd, events: .writable)
                return
            }
        }
        connection.reply = Self.message(431, "{\"error\":\"head too large\"}\n")
        loop.change(fd, events: .writable)
    }

    private func send(_ connection: Connection) {
        let fd = connection.descriptor.raw
        let count = Glibc.send(fd, connection.reply, connection.reply.count, Int32(MSG_NOSIGNAL))
        if count < 0, errno == EAGAIN { return }
        guard count > 0, count < connection.reply.count else { return close(fd) }
        connection.reply.removeFirst(count)
    }

    private func close(_ fd: Int32) {
        guard let connection = connections.removeValue(forKey: fd) else { return }
        loop.unwatch(fd)
        if let timer = connection.timer { loop.cancel(timer) }
        resumeAccepting()
    }

    // MARK: - HTTP

    private static func isComplete(_ head: [UInt8]) -> Bool {
        head.suffix(1100).split(separator: 0x0A, omittingEmptySubsequences: false)
            .dropFirst().contains { $0.elementsEqual([0x0D]) }
    }

    private func respond(_ head: [UInt8]) -> [UInt8] {
        let line = String(decoding: head.prefix { $0 != 0x0D }, as: UTF8.self)
        let words = line.split(separator: " ")
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
            return Self.message(400, "{\"error\":\"not an HTTP/1 request\"}\n")
        }
        guard words[0] == "GET" else {
            return Self.message(503, "{\"error\":\"no proxy serves: only status is answered\"}\n")
        }
        switch words[1] {
        case "/status": return Self.message(200, status().json.text + "\n")
        case "/vip":
            guard let vip = status().vip else {
                return Self.message(404, "{\"error\":\"no address moves between nodes\"}\n")
            }
            return Self.message(200, vip.json.text + "\n")
        case "/livez": return Self.message(200, "ok\n")
        case "/readyz": return Self.message(503, status().json.text + "\n")
        default: return Self.message(503, "{\"error\":\"no proxy serves\"}\n")
        }
    }

    private static func message(_ code: Int, _ body: String) -> [UInt8] {
        let phrases = [
            200: "OK", 400: "Bad Request", 404: "Not Found", 431: "Request Header Fields Too Large",
            503: "Service Unavailable",
        ]
        let type = body.hasPrefix("{") ? "application/json" : "text/plain"
        return Array(
            ("HTTP/1.1 \(code) \(phrases[code] ?? "")\r\nContent-Type: \(type)\r\n"
                + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)").utf8)
    }
}
