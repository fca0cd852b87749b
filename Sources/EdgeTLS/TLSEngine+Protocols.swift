internal import CEdge

/// What an upstream is offered to speak (ALPN, RFC 7301).
package enum ALPNOffer: Sendable, CaseIterable {
    case http1, http2
    /// HTTP/2 first; the server chooses.
    case both

    /// As RFC 7301 §3.1 lists names: each behind its length.
    fileprivate var list: StaticString {
        switch self {
        case .http1: "\u{8}http/1.1"
        case .http2: "\u{2}h2"
        case .both: "\u{2}h2\u{8}http/1.1"
        }
    }
}

/// Which protocol is spoken on a TLS connection (ALPN, RFC 7301).
extension TLSEngine {
    func installProtocolChoice(in context: OpaquePointer) {
        SSL_CTX_set_alpn_select_cb(
            context,
            { session, selected, selectedCount, offered, offeredCount, _ in
                guard let session, let selected, let selectedCount, let offered,
                    let engine = TLSEngine.engine(of: session)
                else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                let list = UnsafeRawBufferPointer(start: offered, count: Int(offeredCount))
                guard let choice = engine.choice(of: list) else {
                    // no_application_protocol (RFC 7301 §3.2).
                    return SSL_TLSEXT_ERR_ALERT_FATAL
                }
                selected.pointee = offered + choice.lowerBound
                selectedCount.pointee = UInt8(choice.count)
                return SSL_TLSEXT_ERR_OK
            }, nil)
    }

    /// The best of what a client offers, in our order: HTTP/2 if we offer it, then HTTP/1.1. A
    /// client without this extension is not asked for; it speaks HTTP/1.1.
    ///
    /// - Returns: where its name stands in the list; nil if we speak none of them.
    // hot: once per full or resumed handshake; no allocation.
    private func choice(of list: UnsafeRawBufferPointer) -> Range<Int>? {
        var fallback: Range<Int>?
        var offset = 0
        while offset < list.count {
            let start = offset + 1
            let end = start + Int(list[offset])
            // OpenSSL has checked that the lengths add up.
            guard end <= list.count else { return nil }
            let name = UnsafeRawBufferPointer(rebasing: list[start..<end])
            if offersHTTP2, name.elementsEqual("h2".utf8) { return start..<end }
            if fallback == nil, name.elementsEqual("http/1.1".utf8) { fallback = start..<end }
            offset = end
        }
        return fallback
    }

    /// - Returns: false if OpenSSL has no memory.
    func offer(_ protocols: ALPNOffer, on session: OpaquePointer) -> Bool {
        let list = protocols.list
        // This one function of OpenSSL's returns 0 for success.
        return SSL_set_alpn_protos(
            session, list.utf8Start, UInt32(list.utf8CodeUnitCount)) == 0
    }

    static func isNameOfHTTP2(_ name: UnsafePointer<UInt8>?, _ count: Int) -> Bool {
        guard let name, count == 2 else { return false }
        return name[0] == UInt8(ascii: "h") && name[1] == UInt8(ascii: "2")
    }
}

extension ResumableSession {
    /// Whether what was spoken when it was made may be chosen again. A session is not bound to a
    /// protocol (RFC 7301 §3.1), but servers with one for each need not agree on sessions.
    func fits(_ protocols: ALPNOffer) -> Bool {
        var name: UnsafePointer<UInt8>?
        var count = 0
        SSL_SESSION_get0_alpn_selected(pointer, &name, &count)
        return switch protocols {
        case .http1: !TLSEngine.isNameOfHTTP2(name, count)
        case .http2: TLSEngine.isNameOfHTTP2(name, count)
        case .both: true
        }
    }
}
