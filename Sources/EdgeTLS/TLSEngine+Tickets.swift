internal import CEdge
package import EdgeCore

/// Session tickets that clients bring back (RFC 5077, RFC 8446 §4.6.1). Nothing about a session is
/// kept here: the ticket carries it, sealed. A ticket that can't be opened, or is not for this name
/// or context, leads to a full handshake and never to an error.
extension TLSEngine {
    /// Seals with the first key from now on, and opens with all. Sessions that are open keep what
    /// they have.
    ///
    /// - Parameter keys: newest first, at most `TicketKeyRing.keysMax`; none: no tickets.
    package func useTickets(_ keys: [TicketKey]) { ticketKeys.replace(keys) }

    func installTickets(in context: OpaquePointer) throws(TLSFailure) {
        let common = try SessionContext(view: "", clientCertificates: nil)
        // None by itself: `TLSSession.offerTicket` has one travel with the first answer.
        guard SSL_CTX_set_num_tickets(context, 0) == 1,
            withUnsafeBytes(
                of: common.digest,
                {
                    SSL_CTX_set_session_id_context(
                        context, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), 32)
                }) == 1,
            SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque()) == 1,
            SSL_CTX_set_tlsext_ticket_key_evp_cb(
                context,
                { session, name, vector, cipher, mac, isSealing in
                    guard let session, let name, let vector, let cipher, let mac,
                        let engine = TLSEngine.engine(of: session)
                    else { return -1 }
                    return isSealing == 1
                        ? engine.ticketKeys.seal(name, vector, cipher, mac)
                        : engine.openTicket(session, name, vector, cipher, mac)
                }) == 1,
            SSL_CTX_set_session_ticket_cb(
                context, nil,
                { session, ticket, _, _, status, _ in
                    TLSEngine.judgeTicket(session, ticket, status)
                }, nil) == 1
        else { throw .library("session tickets") }
    }

    /// The engine outlives its contexts, and those their sessions.
    static func engine(of session: OpaquePointer) -> TLSEngine? {
        guard let context = SSL_get_SSL_CTX(session),
            let pointer = SSL_CTX_get_ex_data(context, 0)
        else { return nil }
        return Unmanaged<TLSEngine>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// - Returns: OpenSSL's word for it: 0 unknown, 1 opened, 2 opened and to be renewed.
    private func openTicket(
        _ session: OpaquePointer, _ name: UnsafePointer<UInt8>, _ vector: UnsafePointer<UInt8>,
        _ cipher: OpaquePointer, _ mac: OpaquePointer
    ) -> Int32 {
        switch ticketKeys.open(name, vector, cipher, mac) {
        case .unknown: return 0
        case .older: return 2
        // Clients use a ticket of TLS 1.3 once (RFC 8446 §C.4), so they get the next one.
        case .newest: return SSL_version(session) == TLS1_3_VERSION ? 2 : 1
        }
    }

    /// A session is resumed only for the name it was made for (RFC 8446 §4.2.11, RFC 6066 §3): else
    /// a ticket of one site would skip another's certificate.
    // hot: once per ticket; no allocation.
    private static func judgeTicket(
        _ session: OpaquePointer?, _ ticket: OpaquePointer?, _ status: Int32
    ) -> Int32 {
        guard let session, let ticket,
            status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
        else { return SSL_TICKET_RETURN_IGNORE_RENEW }
        guard isSameName(SSL_SESSION_get0_hostname(ticket), helloName(session)) else {
            return SSL_TICKET_RETURN_IGNORE_RENEW
        }
        return status == SSL_TICKET_SUCCESS
            ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
    }

    /// Whether both are the same host name in any letter case, or both are none.
    private static func isSameName(
        _ made: UnsafePointer<CChar>?, _ asked: UnsafeBufferPointer<UInt8>?
    ) -> Bool {
        guard let made, let asked else { return made == nil && asked == nil }
        for index in 0..<asked.count {
            let byte = UInt8(bitPattern: made[index])
            guard byte != 0, lower(byte) == lower(asked[index]) else { return false }
        }
        return made[asked.count] == 0
    }

    private static func lower(_ byte: UInt8) -> UInt8 {
        byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    }

    /// The server_name extension of the ClientHello being processed; OpenSSL has not parsed it yet
    /// when it looks at tickets. RFC 6066 §3: list length, type, name length, name.
    private static func helloName(_ session: OpaquePointer) -> UnsafeBufferPointer<UInt8>? {
        var start: UnsafePointer<UInt8>?
        var count = 0
        guard
            SSL_client_hello_get0_ext(
                session, UInt32(TLSEXT_TYPE_server_name), &start, &count) == 1,
            let start, count > 5, start[2] == UInt8(TLSEXT_NAMETYPE_host_name)
        else { return nil }
        let length = Int(start[3]) << 8 | Int(start[4])
        guard length == count - 5 else { return nil }
        return UnsafeBufferPointer(start: start + 5, count: length)
    }
}
