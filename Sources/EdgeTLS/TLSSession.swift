internal import CEdge
internal import Glibc

/// One TLS connection over the worker's wire. A trivial handle, so that it lives in a connection
/// slot: whoever owns the slot calls `free` exactly once.
///
/// Every step reads from and writes to the wire: offer input before, flush output after.
package struct TLSSession: BitwiseCopyable {
    private let ssl: OpaquePointer

    var pointer: OpaquePointer { ssl }

    init(ssl: OpaquePointer) { self.ssl = ssl }

    /// What a step came to.
    package enum Step: Equatable {
        case done
        /// All input is used up; go on when there is more.
        case wantsInput
        /// The wire's output is full; flush it and repeat the step with the same arguments.
        case wantsOutput
        /// The peer sent close_notify.
        case closed
        /// A fatal alert was sent or received; the session is of no more use.
        case failed
    }

    /// Whatever ended the connection, its session stays good: without a word to the contrary
    /// OpenSSL takes a missing close_notify for an attack and makes it unusable (not so since RFC
    /// 5246 §7.2.1). After a fatal alert it is unusable already.
    package func free() {
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        SSL_free(ssl)
    }

    /// Goes on with the handshake.
    package func handshake() -> Step {
        let status = SSL_do_handshake(ssl)
        return status == 1 ? .done : step(after: status)
    }

    /// Has a ticket put before what is written next: they leave in one segment. For a server whose
    /// handshake is done and that has not written yet; TLS 1.2 sends its ticket in the handshake.
    package func offerTicket() {
        if SSL_new_session_ticket(ssl) != 1 { ERR_clear_error() }
    }

    /// Gives back record buffers that hold nothing. OpenSSL does so by itself after each record,
    /// but a ticket takes a buffer for input as well and leaves it.
    ///
    /// - Returns: false if a record is in between: try again after the next.
    package func releaseBuffers() -> Bool { !hasPending && SSL_free_buffers(ssl) == 1 }

    /// Has both sides change their keys with what is written next (RFC 8446 §4.6.3). TLS 1.3 only,
    /// and not before the handshake is done.
    package func updateKeys() {
        if SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 { ERR_clear_error() }
    }

    package var isTLS13: Bool { SSL_version(ssl) == TLS1_3_VERSION }

    /// Decrypts at most one record.
    ///
    /// - Parameter count: bytes put into `bytes`, on `.done`.
    package func read(
        into bytes: UnsafeMutableRawPointer, capacity: Int, count: inout Int
    ) -> Step {
        var done = 0
        let status = SSL_read_ex(ssl, bytes, capacity, &done)
        count = done
        return status == 1 ? .done : step(after: status)
    }

    /// Encrypts all of `bytes`, in records of up to 16 KiB.
    package func write(_ bytes: UnsafeRawPointer, count: Int) -> Step {
        var done = 0
        let status = SSL_write_ex(ssl, bytes, count, &done)
        return status == 1 ? .done : step(after: status)
    }

    /// Queues a close_notify alert (RFC 8446 §6.1).
    package func closeNotify() {
        if SSL_shutdown(ssl) < 0 { ERR_clear_error() }
    }

    /// OpenSSL holds bytes of a record that it has read but not handed out.
    package var hasPending: Bool { SSL_has_pending(ssl) == 1 }

    /// The peer asked for records of less than 16 KiB (RFC 6066 §4): they add more than usual.
    package var hasSmallRecords: Bool {
        guard let session = SSL_get_session(ssl) else { return false }
        return SSL_SESSION_get_max_fragment_length(session)
            != UInt8(TLSEXT_max_fragment_length_DISABLED)
    }

    package var isResumed: Bool { SSL_session_reused(ssl) == 1 }

    /// The chain or the name did not verify, on a client session that verifies.
    package var verificationFailed: Bool { SSL_get_verify_result(ssl) != Int(X509_V_OK) }

    package var verificationText: String {
        String(cString: X509_verify_cert_error_string(SSL_get_verify_result(ssl)))
    }

    /// When the peer's certificate ends, in seconds since 1970; nil if none has come. Known also
    /// when its verification has failed.
    package var peerCertificateEnd: Int64? {
        let leaf =
            SSL_get0_peer_certificate(ssl)
            ?? SSL_get0_verified_chain(ssl).flatMap { ce_sk_x509_value($0, 0) }
        var time = tm()
        guard let leaf, let end = X509_get0_notAfter(leaf), ASN1_TIME_to_tm(end, &time) == 1
        else { return nil }
        return Int64(timegm(&time))
    }

    /// The name that the client asked for (RFC 6066 §3), in the form it was sent.
    package var serverName: String? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
    }

    /// As `serverName`, as bytes; valid as long as the session.
    package var serverNameBytes: UnsafeRawBufferPointer? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map {
            UnsafeRawBufferPointer(start: $0, count: strlen($0))
        }
    }

    /// Whether the client asked for this host, in any letter case, a trailing dot aside.
    // hot: once per request over TLS; no allocation.
    package func isNamed(_ host: Span<UInt8>) -> Bool {
        guard let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return false }
        var count = host.count
        if count > 0, host[count - 1] == UInt8(ascii: ".") { count -= 1 }
        for index in 0..<count {
            let byte = UInt8(bitPattern: name[index])
            // Ends at the name's NUL, which no host holds.
            guard byte != 0, Self.lower(byte) == Self.lower(host[index]) else { return false }
        }
        return name[count] == 0 || (name[count] == 0x2E && name[count + 1] == 0)
    }

    @inline(__always)
    private static func lower(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    /// The subject of the certificate that the client has shown and that was verified (RFC 2253's
    /// form, newest first), and nil if there is none.
    package var clientSubject: String? {
        guard let certificate = SSL_get0_peer_certificate(ssl),
            SSL_get_verify_result(ssl) == Int(X509_V_OK),
            let bio = BIO_new(BIO_s_mem())
        else { return nil }
        defer { BIO_free(bio) }
        guard
            X509_NAME_print_ex(
                bio, X509_get_subject_name(certificate), 0, CE_XN_FLAG_RFC2253) >= 0
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = BIO_read(bio, &bytes, Int32(bytes.count))
        guard count >= 0 else { return "" }
        return String(decoding: bytes.prefix(Int(count)), as: UTF8.self)
    }

    /// Both sides agreed on HTTP/2 (ALPN, RFC 7301); false before the handshake is done. On a
    /// client session only if it was offered: OpenSSL refuses a server's choice that was not.
    package var isHTTP2: Bool {
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &count)
        return TLSEngine.isNameOfHTTP2(name, Int(count))
    }

    /// As on the wire: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3.
    package var version: UInt16 { UInt16(truncatingIfNeeded: SSL_version(ssl)) }

    private func step(after status: Int32) -> Step {
        switch SSL_get_error(ssl, status) {
        case SSL_ERROR_WANT_READ: return .wantsInput
        case SSL_ERROR_WANT_WRITE: return .wantsOutput
        case SSL_ERROR_ZERO_RETURN: return .closed
        default: return .failed
        }
    }
}
