internal import CEdge
package import EdgeCore
internal import Foundation

/// What a scripted server does next on a connection.
package enum PeerStep: Sendable {
    /// Waits for a whole request. The client ending the connection instead ends the script.
    case readRequest
    /// Waits for a head only and leaves the body unread.
    case readHead
    /// Sends exactly these bytes.
    case send([UInt8])
    /// Sends them in pieces of that size with a pause after each.
    case sendSlowly([UInt8], piece: Int, pause: Duration)
    /// Sends as many KeyUpdates of TLS 1.3, each of which costs its peer a key.
    case updateKeys(Int)
    case pause(Duration)
    /// Does nothing until the server stops: a peer that hangs.
    case hold
    /// FIN, but goes on reading.
    case finishSending
    /// FIN (over TLS after close_notify).
    case close
    /// RST.
    case reset
    /// From the first step again: keep-alive.
    case again

    package static func send(_ text: String) -> PeerStep { .send(Array(text.utf8)) }

    /// A whole answer with Content-Length.
    package static func respond(
        _ status: Int = 200, _ body: String = "", fields: [String] = []
    ) -> PeerStep {
        let lines =
            ["HTTP/1.1 \(status) Scripted", "Content-Length: \(body.utf8.count)"] + fields
        return .send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }
}

/// A server in this process that follows a script on each connection and keeps what it was sent.
/// A thread per connection; for tens of them, not thousands.
package final class ScriptedUpstream: @unchecked Sendable {
    // Sendable: the mutable fields are guarded by `lock`.
    package let address: SocketAddress
    package var port: UInt16 { address.port }
    private let listener: Int32
    private let tls: ServerTLS?
    private let lock = NSCondition()
    private var script: @Sendable (Int) -> [PeerStep]
    private var transcripts: [Transcript] = []
    private var open: [Int: Int32] = [:]
    private var isStopped = false
    private var threads = 0

    /// What one connection has brought.
    package struct Transcript: Sendable {
        package var received: [UInt8] = []
        package var requests: [HTTPMessage] = []
        /// How the client ended it; nil while open or if we did.
        package var ending: StreamEnd?
        package var serverName: String?
        package var local: SocketAddress?
        /// Why the script stopped early, such as a failed handshake.
        package var trouble: String?
    }

    package static let connectionsMax = 4096

    /// - Parameter script: the steps for the n-th connection, counted from 0.
    package init(
        on address: SocketAddress = .loopback(), tls: ServerTLS? = nil, namespace: String? = nil,
        script: @escaping @Sendable (Int) -> [PeerStep]
    ) throws {
        listener = try TestSocket.listen(on: address, namespace: namespace)
        self.address = try TestSocket.localAddress(of: listener)
        self.tls = tls
        self.script = script
        threads = 1
        Thread.detachNewThread { [self] in
            acceptLoop()
            threadEnded()
        }
    }

    /// The same steps on every connection.
    package convenience init(
        on address: SocketAddress = .loopback(), tls: ServerTLS? = nil, namespace: String? = nil,
        _ steps: [PeerStep]
    ) throws {
        try self.init(on: address, tls: tls, namespace: namespace) { _ in steps }
    }

    /// Answers every request with 200 and `body`, keeping connections alive.
    package convenience init(
        on address: SocketAddress = .loopback(), tls: ServerTLS? = nil, namespace: String? = nil,
        answering body: String, fields: [String] = []
    ) throws {
        try self.init(
            on: address, tls: tls, namespace: namespace,
            [.readRequest, .respond(200, body, fields: fields), .again])
    }

    /// Another script for connections accepted from now on.
    package func follow(_ steps: [PeerStep]) {
        lock.lock()
        script = { _ in steps }
        lock.unlock()
    }

    /// Closes the listener and all connections (FIN) and waits for the threads. Must be called:
    /// the threads keep this object alive.
    package func stop() {
        lock.lock()
        isStopped = true
        for descriptor in open.values { shutdown(descriptor, Int32(SHUT_RDWR)) }
        lock.broadcast()
        let deadline = Date(timeIntervalSinceNow: 5)
        while threads > 0, lock.wait(until: deadline) {}
        lock.unlock()
    }

    // MARK: What happened

    package var connections: [Transcript] {
        lock.lock()
        defer { lock.unlock() }
        return transcripts
    }

    package var connectionCount: Int { connections.count }

    /// All requests, connection by connection.
    package var requests: [HTTPMessage] { connections.flatMap(\.requests) }

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

    private var stopped: Bool {
        lock.lock()
        defer { lock.unlock() }
        return isStopped
    }

    private func threadEnded() {
        lock.lock()
        threads -= 1
        lock.broadcast()
        lock.unlock()
    }

    private func acceptLoop() {
        defer { Glibc.close(listener) }
        while !stopped {
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
            let steps = script(index)
            lock.unlock()
            Thread.detachNewThread { [self] in
                serve(descriptor, index, steps)
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

    private func serve(_ descriptor: Int32, _ index: Int, _ steps: [PeerStep]) {
        let stream = PeerStream(descriptor)
        // The descriptor is forgotten before it is closed: `stop` never touches another's.
        defer {
            lock.lock()
            open[index] = nil
            lock.unlock()
            stream.close()
        }
        note(index) { $0.local = try? TestSocket.localAddress(of: descriptor) }
        if let tls {
            do {
                try stream.secure(
                    tls.makeSession(descriptor), until: .now().advanced(by: .seconds(5)))
            } catch {
                note(index) { $0.trouble = "handshake: \(error)" }
                return
            }
            let name = stream.session.flatMap {
                SSL_get_servername($0, TLSEXT_NAMETYPE_host_name)
            }.map { String(cString: $0) }
            note(index) { $0.serverName = name }
        }
        var reader = HTTPMessageReader(.requests)
        var position = 0
        while position < steps.count, !stopped {
            let step = steps[position]
            position += 1
            switch step {
            case .again: position = 0
            case .readRequest, .readHead:
                let onlyHead = if case .readHead = step { true } else { false }
                guard take(onlyHead, stream, &reader, index) else { return }
            case .send(let bytes):
                guard write(bytes, stream, index) else { return }
            case .sendSlowly(let bytes, let piece, let span):
                for start in stride(from: 0, to: bytes.count, by: piece) {
                    let end = min(start + piece, bytes.count)
                    guard write(Array(bytes[start..<end]), stream, index) else { return }
                    sleep(span)
                }
            case .updateKeys(let count):
                guard stream.updateKeys(count, until: .now().advanced(by: .seconds(10))) else {
                    return
                }
            case .pause(let span): sleep(span)
            case .hold: sleep(.seconds(3600))
            case .finishSending: stream.finishSending()
            case .close: return
            case .reset:
                lock.lock()
                open[index] = nil
                lock.unlock()
                stream.reset()
                return
            }
        }
    }

    private func write(_ bytes: [UInt8], _ stream: PeerStream, _ index: Int) -> Bool {
        guard let end = stream.write(bytes, until: .now().advanced(by: .seconds(10))) else {
            return true
        }
        note(index) { $0.trouble = "send: \(end)" }
        return false
    }

    /// Reads one request (or head) into the transcript; false when the connection has ended.
    private func take(
        _ onlyHead: Bool, _ stream: PeerStream, _ reader: inout HTTPMessageReader, _ index: Int
    ) -> Bool {
        while !stopped {
            do {
                if let request = try reader.next() {
                    note(index) { $0.requests.append(request) }
                    return true
                }
            } catch {
                note(index) { $0.trouble = "\(error)" }
                return false
            }
            if onlyHead, reader.hasHead { return true }
            switch stream.read(until: .now().advanced(by: .milliseconds(200))) {
            case .bytes(let bytes):
                reader.append(bytes)
                note(index) { $0.received += bytes }
            case .end(let end):
                note(index) { $0.ending = end }
                return false
            case .timeout: continue
            }
        }
        return false
    }

    /// A pause that `stop` cuts short.
    private func sleep(_ span: Duration) {
        let deadline = Date(timeIntervalSinceNow: span.seconds)
        lock.lock()
        while !isStopped, deadline > Date() { _ = lock.wait(until: deadline) }
        lock.unlock()
    }
}
