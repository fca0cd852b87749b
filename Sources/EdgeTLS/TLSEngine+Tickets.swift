internal import CEdge

/// Session tickets that clients bring back.
extension TLSEngine {
    /// A session is resumed only for the name it was made for (RFC 8446 §4.2.11, RFC 6066 §3): else
    /// a ticket of one site would skip another's certificate.
    static func judgeTicket(
        _ session: OpaquePointer?, _ ticket: OpaquePointer?, _ status: Int32
    ) -> Int32 {
        guard let session, let ticket,
            status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
        else { return SSL_TICKET_RETURN_IGNORE_RENEW }
        let made = SSL_SESSION_get0_hostname(ticket).map { String(cString: $0).lowercased() }
        guard made == helloName(session)?.lowercased() else {
            return SSL_TICKET_RETURN_IGNORE_RENEW
        }
        return status == SSL_TICKET_SUCCESS
            ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
    }

    /// The server_name extension of the ClientHello being processed; OpenSSL has not parsed it yet
    /// when it looks at tickets. RFC 6066 §3: list length, type, name length, name.
    private static func helloName(_ session: OpaquePointer) -> String? {
        var start: UnsafePointer<UInt8>?
        var count = 0
        guard
            SSL_client_hello_get0_ext(
                session, UInt32(TLSEXT_TYPE_server_name), &start, &count) == 1,
            let start, count > 5, start[2] == UInt8(TLSEXT_NAMETYPE_host_name)
        else { return nil }
        let length = Int(start[3]) << 8 | Int(start[4])
        guard length == count - 5 else { return nil }
        return String(
            decoding: UnsafeBufferPointer(start: start + 5, count: length), as: UTF8.self)
    }
}
