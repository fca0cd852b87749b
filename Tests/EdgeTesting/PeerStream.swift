internal import CEdge
internal import EdgeCore
internal import Foundation

/// How the far side ended a stream.
package enum StreamEnd: Sendable, Equatable {
    /// FIN; over TLS after a close_notify.
    case closed
    /// FIN without close_notify: over TLS an answer that ends so may be cut.
    case closedWithoutNotify
    /// RST.
    case reset
    /// A TLS alert or broken record.
    case tlsError(String)
    /// Another error of the socket, such as a host that became unreachable.
    case failed(Int32)
}

package enum StreamRead: Sendable, Equatable {
    case bytes([UInt8])
    case end(StreamEnd)
    /// Nothing came in time.
    case timeout
}

/// One TCP connection of a scripted peer, plain or TLS, with a deadline on every wait. Used by
/// one thread; `abort` may come from another.
final class PeerStream {
    let descriptor: Int32
    private(set) var session: OpaquePointer?
    private var isOpen = true

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close() }

    /// Runs the handshake of `session`, which this object owns from now on.
    func secure(_ session: OpaquePointer, until deadline: Instant) throws(StreamFailure) {
        self.session = session
        while true {
            ERR_clear_error()
            let result = SSL_do_handshake(session)
            if result == 1 { return }
            switch wanted(SSL_get_error(session, result)) {
            case .wait(let events):
                guard wait(events, until: deadline) else { throw StreamFailure(end: nil) }
            case .end(let end): throw StreamFailure(end: end)
            }
        }
    }

    func read(max count: Int = 65_536, until deadline: Instant) -> StreamRead {
        var buffer = [UInt8](repeating: 0, count: count)
        while true {
            let events: Int16
            if let session {
                ERR_clear_error()
                let result = SSL_read(session, &buffer, Int32(count))
                if result > 0 { return .bytes(Array(buffer[..<Int(result)])) }
                switch wanted(SSL_get_error(session, result)) {
                case .wait(let needed): events = needed
                case .end(let end): return .end(end)
                }
            } else {
                let result = recv(descriptor, &buffer, count, 0)
                if result > 0 { return .bytes(Array(buffer[..<result])) }
                if result == 0 { return .end(.closed) }
                guard errno == EAGAIN || errno == EINTR else { return .end(Self.end(errno)) }
                events = Int16(POLLIN)
            }
            guard wait(events, until: deadline) else { return .timeout }
        }
    }

    /// Sends everything; nil on success.
    func write(_ bytes: some Collection<UInt8>, until deadline: Instant) -> StreamRead? {
        let all = Array(bytes)
        var done = 0
        while done < all.count {
            let events: Int16
            if let session {
                ERR_clear_error()
                let result = all[done...].withUnsafeBytes {
                    SSL_write(session, $0.baseAddress, Int32($0.count))
                }
                if result > 0 {
                    done += Int(result)
                    continue
                }
                switch wanted(SSL_get_error(session, result)) {
                case .wait(let needed): events = needed
                case .end(let end): return .end(end)
                }
            } else {
                let result = all[done...].withUnsafeBytes {
                    send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if result > 0 {
                    done += result
                    continue
                }
                guard errno == EAGAIN || errno == EINTR else { return .end(Self.end(errno)) }
                events = Int16(POLLOUT)
            }
            guard wait(events, until: deadline) else { return .timeout }
        }
        return nil
    }

    /// Changes the keys of our direction again and again (RFC 8446 §4.6.3).
    ///
    /// - Returns: false without TLS 1.3, or if the peer has gone.
    func updateKeys(_ count: Int, until deadline: Instant) -> Bool {
        guard let session else { return false }
        for _ in 0..<count {
            ERR_clear_error()
            guard SSL_key_update(session, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 else { return false }
            var result = SSL_do_handshake(session)
            while result != 1 {
                guard case .wait(let events) = wanted(SSL_get_error(session, result)),
                    wait(events, until: deadline)
                else { return false }
                result = SSL_do_handshake(session)
            }
        }
        return true
    }

    /// FIN for our direction, after close_notify.
    func finishSending() {
        if let session { SSL_shutdown(session) }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Ends in order: close_notify and FIN.
    func close() {
        guard isOpen else { return }
        isOpen = false
        if let session {
            ERR_clear_error()
            SSL_shutdown(session)
            SSL_free(session)
            self.session = nil
        }
        Glibc.close(descriptor)
    }

    /// Ends by RST, without a word of TLS.
    func reset() {
        guard isOpen else { return }
        isOpen = false
        TestSocket.setResetOnClose(descriptor)
        if let session { SSL_free(session) }
        session = nil
        Glibc.close(descriptor)
    }

    func wait(_ events: Int16, until deadline: Instant) -> Bool {
        while true {
            let left = deadline.nanoseconds(since: .now())
            var one = pollfd(fd: descriptor, events: events, revents: 0)
            let milliseconds = Int32(min((left + 999_999) / 1_000_000, 60_000))
            let result = poll(&one, 1, milliseconds)
            if result > 0 { return true }
            if left == 0 { return false }
        }
    }

    /// The protocol that both sides agreed on.
    var alpn: String? {
        guard let session else { return nil }
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(session, &name, &count)
        guard let name, count > 0 else { return nil }
        return String(
            decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self)
    }

    private enum Wanted {
        case wait(Int16)
        case end(StreamEnd)
    }

    private func wanted(_ code: Int32) -> Wanted {
        let number = errno
        switch code {
        case SSL_ERROR_WANT_READ: return .wait(Int16(POLLIN))
        case SSL_ERROR_WANT_WRITE: return .wait(Int16(POLLOUT))
        default: return .end(tlsEnd(code, number))
        }
    }

    static func end(_ number: Int32) -> StreamEnd {
        number == ECONNRESET || number == EPIPE ? .reset : .failed(number)
    }
}

/// Translates an SSL error that is not a wish to wait. `number` is errno right after the call.
func tlsEnd(_ code: Int32, _ number: Int32) -> StreamEnd {
    switch code {
    case SSL_ERROR_ZERO_RETURN: return .closed
    case SSL_ERROR_SYSCALL:
        return number == 0 ? .closedWithoutNotify : PeerStream.end(number)
    default:
        let error = ERR_peek_error()
        // OpenSSL 3 reports a FIN without close_notify as a protocol error of this name.
        let unexpectedEnd: Int32 = 294
        if ce_err_reason(error) == unexpectedEnd { return .closedWithoutNotify }
        return .tlsError(openSSLError("TLS").description)
    }
}

/// A handshake that failed; `end` is nil when the time was up.
struct StreamFailure: Error {
    let end: StreamEnd?
}
