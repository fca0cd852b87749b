internal import CEdge
package import EdgeCore
internal import Foundation

/// One client connection under full control: bytes go out exactly as given, and how the far side
/// ended is told apart. Blocking with deadlines; used by one thread at a time.
package final class RawClient {
    let stream: PeerStream
    private var reader = HTTPMessageReader(.responses)

    /// Everything received so far that no message has used.
    package private(set) var received: [UInt8] = []
    package private(set) var ending: StreamEnd?

    /// Why there is no connection.
    package enum Refusal: Error, Sendable, Equatable {
        case refused
        case timeout
        case unreachable(Int32)
        case handshake(StreamEnd?)
    }

    /// Connects, and runs the handshake if `tls` is given.
    ///
    /// - Parameters:
    ///   - preamble: sent before TLS begins.
    ///   - ticket: of an earlier connection, to be offered.
    /// - Throws: `Refusal`, or `KitError` when no socket could be made.
    package init(
        _ address: SocketAddress, tls: ClientTLS? = nil, from source: SocketAddress? = nil,
        namespace: String? = nil, within span: Duration = .seconds(3),
        before preamble: [UInt8] = [],
        resuming ticket: ClientTicket? = nil
    ) throws {
        let deadline = Instant.now().advanced(by: span)
        do {
            stream = PeerStream(
                try TestSocket.startConnect(to: address, from: source, namespace: namespace))
        } catch let failure as ConnectFailure {
            throw Self.refusal(failure.number)
        }
        guard stream.wait(Int16(POLLOUT), until: deadline) else { throw Refusal.timeout }
        let number = TestSocket.error(of: stream.descriptor)
        guard number == 0 else { throw Self.refusal(number) }
        if !preamble.isEmpty, let end = stream.write(preamble, until: deadline) {
            throw KitError("preamble not sent: \(end)")
        }
        guard let tls else { return }
        do {
            try stream.secure(
                tls.makeSession(stream.descriptor, resuming: ticket), until: deadline)
        } catch let failure as StreamFailure {
            throw failure.end == nil ? Refusal.timeout : Refusal.handshake(failure.end)
        }
    }

    private static func refusal(_ number: Int32) -> Refusal {
        switch number {
        case ECONNREFUSED: .refused
        case ETIMEDOUT: .timeout
        default: .unreachable(number)
        }
    }

    package var localAddress: SocketAddress? {
        try? TestSocket.localAddress(of: stream.descriptor)
    }

    // MARK: Sending

    package func send(_ text: String, within span: Duration = .seconds(3)) throws {
        try send(bytes: Array(text.utf8), within: span)
    }

    package func send(bytes: [UInt8], within span: Duration = .seconds(3)) throws {
        if let end = stream.write(bytes, until: .now().advanced(by: span)) {
            throw KitError("not sent: \(end)")
        }
    }

    /// Sends `bytes` in pieces of `size` with a pause after each, so that each is a segment (and a
    /// TLS record) of its own.
    package func send(bytes: [UInt8], inPiecesOf size: Int, pause: Duration) throws {
        for start in stride(from: 0, to: bytes.count, by: size) {
            try send(bytes: Array(bytes[start..<min(start + size, bytes.count)]))
            Thread.sleep(forTimeInterval: pause.seconds)
        }
    }

    package func finishSending() { stream.finishSending() }
    package func close() { stream.close() }
    package func reset() { stream.reset() }

    // MARK: Receiving

    /// What comes next, at once when there is something.
    package func read(within span: Duration = .seconds(3)) -> StreamRead {
        if let ending { return .end(ending) }
        let result = stream.read(until: .now().advanced(by: span))
        switch result {
        case .bytes(let bytes): received += bytes
        case .end(let end): ending = end
        case .timeout: break
        }
        return result
    }

    /// What no message has used, for protocols other than HTTP.
    package func takeReceived() -> [UInt8] {
        defer { received = [] }
        return received
    }

    /// Reads until the far side ends the connection; nil if it did not in time.
    package func readToEnd(within span: Duration = patience) -> StreamEnd? {
        let deadline = Instant.now().advanced(by: span)
        while ending == nil {
            let left = Duration(nanoseconds: deadline.nanoseconds(since: .now()))
            if read(within: left) == .timeout { return nil }
        }
        return ending
    }

    /// The next whole response, interim ones left out.
    ///
    /// - Throws: `KitError` that says what came instead.
    package func readResponse(
        toHead: Bool = false, within span: Duration = patience
    ) throws -> HTTPMessage {
        let deadline = Instant.now().advanced(by: span)
        reader.nextHasNoBody = toHead
        while true {
            reader.append(received)
            received = []
            if ending != nil { reader.end() }
            if let message = try reader.next() {
                if (100..<200).contains(message.status), message.status != 101 { continue }
                received = reader.takeRest()
                return message
            }
            if let ending { throw KitError("no whole response: \(ending)") }
            let left = Duration(nanoseconds: deadline.nanoseconds(since: .now()))
            if read(within: left) == .timeout { throw KitError("no whole response in \(span)") }
        }
    }

    /// Sends a request and reads the answer. `extra` lines come without line ends.
    package func get(
        _ target: String, host: String, method: String = "GET", extra: [String] = [],
        body: String = ""
    ) throws -> HTTPMessage {
        var lines = ["\(method) \(target) HTTP/1.1", "Host: \(host)"] + extra
        if !body.isEmpty { lines.append("Content-Length: \(body.utf8.count)") }
        try send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
        return try readResponse(toHead: method == "HEAD")
    }

    // MARK: TLS

    /// SHA-256 of the server's certificate, as `MintedCertificate.fingerprint`.
    package var serverFingerprint: String? {
        guard let session = stream.session, let leaf = SSL_get1_peer_certificate(session) else {
            return nil
        }
        defer { X509_free(leaf) }
        return fingerprint(leaf)
    }

    /// The protocol both sides agreed on.
    package var alpn: String? { stream.alpn }

    /// `TLSv1.3`, or nil on a plain connection.
    package var tlsVersion: String? {
        stream.session.flatMap { SSL_get_version($0) }.map { String(cString: $0) }
    }

    /// What an answer has brought to come back with.
    package var ticket: ClientTicket? { stream.session.flatMap { ClientTicket(of: $0) } }

    package var isResumed: Bool { stream.session.map { SSL_session_reused($0) == 1 } ?? false }
}
