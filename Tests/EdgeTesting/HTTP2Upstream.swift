internal import CEdge
package import EdgeCore
internal import Foundation

/// A connection of `HTTP2Upstream`, from the server's side.
package final class HTTP2Service: HTTP2Peer {
    /// Counted from 0 in the order of accepting.
    package let index: Int
    private var handedOut = 0
    private var headsGiven: Set<UInt32> = []
    private let changed: (HTTP2Service) -> Void

    fileprivate init(
        _ stream: PeerStream, _ index: Int, changed: @escaping (HTTP2Service) -> Void
    ) throws {
        self.index = index
        self.changed = changed
        try super.init(stream, isServer: true)
    }

    override func progressed() { changed(self) }

    /// A request that ended, by END_STREAM or RST_STREAM.
    package struct Request: Sendable {
        package let stream: UInt32
        package let message: HTTP2Message
    }

    /// The next request that is whole, in the order of their ends; nil when the client has gone,
    /// or was silent for `span`.
    package func nextRequest(within span: Duration = .seconds(20)) -> Request? {
        guard wait(within: span, until: { completed.count > handedOut }) else { return nil }
        handedOut += 1
        let stream = completed[handedOut - 1]
        return Request(stream: stream, message: messages[stream] ?? HTTP2Message())
    }

    /// The stream of the next head, whole request or not; nil as for `nextRequest`.
    package func nextHead(within span: Duration = .seconds(20)) -> UInt32? {
        func new() -> UInt32? {
            messages.filter { !$1.fields.isEmpty && !headsGiven.contains($0) }.keys.min()
        }
        guard wait(within: span, until: { new() != nil }), let stream = new() else { return nil }
        headsGiven.insert(stream)
        return stream
    }

    /// A whole answer, as the windows allow.
    package func respond(
        _ stream: UInt32, _ status: Int = 200, _ body: [UInt8] = [],
        fields: [(String, String)] = [], trailers: [(String, String)]? = nil
    ) throws {
        let isEmpty = body.isEmpty && trailers == nil
        let head = HPACKBlock([(":status", "\(status)")] + fields)
        try send(.headers(stream, head, end: isEmpty))
        if !body.isEmpty { try sendContent(stream, body, end: trailers == nil) }
        if let trailers { try send(.headers(stream, HPACKBlock(trailers), end: true)) }
    }

    package func respond(_ stream: UInt32, _ body: String) throws {
        try respond(stream, 200, Array(body.utf8))
    }

    /// Reads on until the client ends the connection, or the server stops.
    package func drain() { _ = wait(within: .seconds(60)) { false } }
}

/// An HTTP/2 server in this process, by prior knowledge or over TLS by ALPN. Each connection runs
/// the script on a thread of its own, and is closed when the script returns or throws.
package final class HTTP2Upstream: @unchecked Sendable {
    // Sendable: the mutable fields are guarded by `lock`.
    package typealias Script = @Sendable (HTTP2Service) throws -> Void

    package let address: SocketAddress
    private let listener: Int32
    private let tls: ServerTLS?
    private let settings: KeyValuePairs<UInt16, UInt32>
    private let script: Script
    private let lock = NSCondition()
    private var transcripts: [Transcript] = []
    private var open: [Int: Int32] = [:]
    private var isStopped = false
    private var threads = 1

    /// What one connection has brought.
    package struct Transcript: Sendable {
        package var messages: [UInt32: HTTP2Message] = [:]
        package var frames: [RawFrame] = []
        package var faults: [String] = []
        package var goAway: RawFrame?
        /// How the client ended it; nil while open, or if we did.
        package var ending: StreamEnd?
        package var alpn: String?
        /// Why the script stopped.
        package var trouble: String?

        /// In the order of their streams.
        package var requests: [HTTP2Message] {
            messages.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    package static let connectionsMax = 4096

    /// - Parameter settings: ours, sent before the script runs.
    package init(
        on address: SocketAddress = .loopback(), tls: ServerTLS? = nil,
        settings: KeyValuePairs<UInt16, UInt32> = [:], script: @escaping Script
    ) throws {
        listener = try TestSocket.listen(on: address)
        self.address = try TestSocket.localAddress(of: listener)
        self.tls = tls
        self.settings = settings
        self.script = script
        Thread.detachNewThread { [self] in
            acceptLoop()
            threadEnded()
        }
    }

    /// Answers every request with 200 and `body`.
    package convenience init(
        on address: SocketAddress = .loopback(), tls: ServerTLS? = nil,
        settings: KeyValuePairs<UInt16, UInt32> = [:], answering body: String
    ) throws {
        try self.init(on: address, tls: tls, settings: settings) { service in
            while let request = service.nextRequest() {
                if request.message.reset == nil { try service.respond(request.stream, body) }
            }
        }
    }

    /// As an entry of `servers:`.
    package var server: String { "\"\(address)\"" }

    /// Closes the listener and all connections and waits for the threads. Must be called: the
    /// threads keep this object alive.
    package func stop() {
        lock.lock()
        isStopped = true
        for descriptor in open.values { shutdown(descriptor, Int32(SHUT_RDWR)) }
        let deadline = Date(timeIntervalSinceNow: 5)
        while threads > 0, lock.wait(until: deadline) {}
        lock.unlock()
    }

    package var connections: [Transcript] { lock.withLock { transcripts } }

    /// All requests, connection by connection.
    package var requests: [HTTP2Message] { connections.flatMap(\.requests) }

    /// Waits until `condition` holds for the transcripts; false if it did not in time.
    package func wait(
        within span: Duration = .seconds(3), until condition: ([Transcript]) -> Bool
    ) -> Bool {
        let deadline = Date(timeIntervalSinceNow: span.seconds)
        lock.lock()
        defer { lock.unlock() }
        while !condition(transcripts) {
            if !lock.wait(until: deadline) { return condition(transcripts) }
        }
        return true
    }

    // MARK: Threads

    private func threadEnded() {
        lock.lock()
        threads -= 1
        lock.broadcast()
        lock.unlock()
    }

    private func acceptLoop() {
        defer { Glibc.close(listener) }
        while !lock.withLock({ isStopped }) {
            var one = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            guard poll(&one, 1, 20) > 0 else { continue }
            let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let descriptor = ce_accept4(listener, nil, nil, flags)
            guard descriptor >= 0 else { continue }
            var noDelay: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, 4)
            lock.lock()
            let index = transcripts.count
            guard !isStopped, index < Self.connectionsMax else {
                lock.unlock()
                Glibc.close(descriptor)
                continue
            }
            transcripts.append(Transcript())
            open[index] = descriptor
            threads += 1
            lock.unlock()
            Thread.detachNewThread { [self] in
                serve(descriptor, index)
                threadEnded()
            }
        }
    }

    private func note(_ index: Int, _ change: (inout Transcript) -> Void) {
        lock.lock()
        change(&transcripts[index])
        lock.broadcast()
        lock.unlock()
    }

    private func serve(_ descriptor: Int32, _ index: Int) {
        let stream = PeerStream(descriptor)
        // The descriptor is forgotten before it is closed: `stop` never touches another's.
        defer {
            lock.withLock { open[index] = nil }
            stream.close()
        }
        do {
            if let tls {
                let session = try tls.makeSession(descriptor)
                try stream.secure(session, until: .now().advanced(by: .seconds(5)))
                note(index) { $0.alpn = stream.alpn }
            }
            let service = try HTTP2Service(stream, index) { [self] service in
                note(service.index) {
                    $0.messages = service.messages
                    $0.frames = service.frames
                    $0.faults = service.faults
                    $0.goAway = service.goAway
                    $0.ending = service.ending
                }
            }
            try service.send(.settings(settings))
            try script(service)
        } catch {
            note(index) { $0.trouble = "\(error)" }
        }
    }
}
