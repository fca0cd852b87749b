internal import CEdge
internal import EdgeCore
internal import Foundation

/// One connection of a lane: connect, handshake, one request at a time. Never blocks.
final class LaneConnection {
    let descriptor: Int32
    private var session: OpaquePointer?
    private var phase: Phase
    private var output: [UInt8]
    private var sentCount = 0
    private var reader = HTTPMessageReader(.responses)
    /// What it waits for, as poll(2) events.
    private(set) var events = Int16(POLLOUT)
    /// The request it carries; nil while idle.
    var current: Assignment?
    private(set) var requestCount = 0

    struct Assignment {
        let index: Int
        let scheduled: Instant
        let sent: Instant
        let deadline: Instant
    }

    private enum Phase { case connecting, preamble, handshaking, sending, receiving, idle }

    enum Progress {
        case waiting
        case answered(HTTPMessage, canGoOn: Bool)
        case failed(LaneFailure)
        /// The far side ended an idle connection.
        case ended
    }

    /// - Parameter preamble: goes out in the clear before anything else (a PROXY header).
    init(_ descriptor: Int32, tls: ClientTLS?, preamble: [UInt8]) throws {
        self.descriptor = descriptor
        session = try tls?.makeSession(descriptor)
        phase = .connecting
        output = preamble
    }

    deinit {
        if let session {
            ERR_clear_error()
            SSL_shutdown(session)
            SSL_free(session)
        }
        close(descriptor)
    }

    private var request: [UInt8] = []

    /// Puts a request on an idle or new connection; `advance` sends it.
    func assign(_ assignment: Assignment, _ request: [UInt8], toHead: Bool) {
        current = assignment
        self.request = request
        reader.nextHasNoBody = toHead
        requestCount += 1
        if phase == .idle { startSending() }
    }

    private func startSending() {
        output = request
        sentCount = 0
        phase = .sending
    }

    /// Does all that is possible now.
    func advance() -> Progress {
        while true {
            switch phase {
            case .connecting:
                let number = TestSocket.error(of: descriptor)
                if number != 0 { return .failed(Self.failure(number)) }
                phase = .preamble
            case .preamble:
                guard sentCount < output.count else {
                    phase = .handshaking
                    continue
                }
                let count = output[sentCount...].withUnsafeBytes {
                    send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if count < 0 { return stalled(errno, Int16(POLLOUT)) }
                sentCount += count
            case .handshaking:
                if let session {
                    ERR_clear_error()
                    let result = SSL_do_handshake(session)
                    guard result == 1 else { return stalled(session, result) }
                }
                startSending()
            case .sending:
                guard sentCount < output.count else {
                    phase = .receiving
                    continue
                }
                if let outcome = sendSome() { return outcome }
            case .receiving, .idle:
                if let outcome = receiveSome() { return outcome }
            }
        }
    }

    private func sendSome() -> Progress? {
        let rest = output[sentCount...]
        if let session {
            ERR_clear_error()
            let result = rest.withUnsafeBytes {
                SSL_write(session, $0.baseAddress, Int32($0.count))
            }
            guard result > 0 else { return stalled(session, result) }
            sentCount += Int(result)
        } else {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 { return stalled(errno, Int16(POLLOUT)) }
            sentCount += count
        }
        return nil
    }

    private func receiveSome() -> Progress? {
        let count = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { piece in
            let got: Int
            if let session {
                ERR_clear_error()
                got = Int(SSL_read(session, piece.baseAddress, Int32(piece.count)))
            } else {
                got = recv(descriptor, piece.baseAddress, piece.count, 0)
            }
            if got > 0 { reader.append(UnsafeRawBufferPointer(rebasing: piece[..<got])) }
            return got
        }
        if count <= 0 {
            if let session { return stalled(session, Int32(count)) }
            return count == 0 ? ended(.closed) : stalled(errno, Int16(POLLIN))
        }
        return checkAnswer()
    }

    private func checkAnswer() -> Progress? {
        do {
            while let message = try reader.next() {
                if (100..<200).contains(message.status), message.status != 101 { continue }
                guard current != nil else { return .ended }
                let wish = message["connection"]?.lowercased() ?? ""
                let goesOn = !wish.contains("close") && !message.startLine.hasPrefix("HTTP/1.0")
                phase = .idle
                return .answered(message, canGoOn: goesOn && !reader.isInside)
            }
            return nil
        } catch {
            return .failed(.malformed)
        }
    }

    /// The far side has ended the stream: complete only where the end is the length.
    private func ended(_ end: StreamEnd) -> Progress {
        guard current != nil else { return .ended }
        if end == .closed, reader.endsWithStream {
            reader.end()
            if case .answered(let message, _)? = checkAnswer() {
                return .answered(message, canGoOn: false)
            }
        }
        switch end {
        case .closed, .closedWithoutNotify: return .failed(.closedEarly)
        case .reset: return .failed(.reset)
        case .tlsError(let text): return .failed(.tls(text))
        case .failed(let number): return .failed(Self.failure(number))
        }
    }

    private func stalled(_ number: Int32, _ wanted: Int16) -> Progress {
        if number == EAGAIN || number == EINTR {
            events = wanted
            return .waiting
        }
        return ended(PeerStream.end(number))
    }

    private func stalled(_ session: OpaquePointer, _ result: Int32) -> Progress {
        let number = errno
        let code = SSL_get_error(session, result)
        switch code {
        case SSL_ERROR_WANT_READ: events = Int16(POLLIN)
        case SSL_ERROR_WANT_WRITE: events = Int16(POLLOUT)
        default: return ended(tlsEnd(code, number))
        }
        return .waiting
    }

    static func failure(_ number: Int32) -> LaneFailure {
        switch number {
        case ECONNREFUSED: .refused
        case ECONNRESET, EPIPE: .reset
        case ETIMEDOUT: .timeout
        default: .unreachable(number)
        }
    }
}
