internal import EdgeCore
internal import EdgeHTTP
internal import EdgeUpstream

/// What of a request decides about its member: its key (`BalancePolicy.hash`), and the cookie of
/// ours that binds its client to the member which has served it before (`StickyPolicy`).
extension Worker {
    // MARK: - Requests

    /// The request of an exchange that begins is in `requestHead`, its ranges lie in `head`.
    // hot: once per request; no allocation.
    func noteKeys(_ exchange: Int, _ slot: Int, _ head: Span<UInt8>) {
        guard let group = pool(Int(exchanges[exchange].pointee.pool))?.group, group.readsRequests
        else { return }
        let view = group.view
        let state = exchanges[exchange]
        let cookieName = view.cookieName
        if !cookieName.isEmpty {
            state.pointee.flags.insert(.sticky)
            if let value = requestHead.fields.cookie(cookieName.span, in: head) {
                state.pointee.token = Self.token(head.extracting(value.indices))
            }
        }
        guard view.keySource != .nothing else { return }
        let keyName = view.keyName
        var value: ByteRange?
        switch view.keySource {
        case .nothing, .client: break
        case .header: value = requestHead.fields.value(of: keyName.span, in: head)
        case .cookie: value = requestHead.fields.cookie(keyName.span, in: head)
        }
        if let value, !value.isEmpty {
            state.pointee.key = view.keys.hash(head.extracting(value.indices))
        } else {
            noteClientKey(exchange, slot)
        }
    }

    /// The client's address, whoever that is: behind a trusted proxy all clients are the proxy's,
    /// as its X-Forwarded-For is a claim that decides about nothing but itself.
    func noteClientKey(_ exchange: Int, _ slot: Int) {
        guard let view = pool(Int(exchanges[exchange].pointee.pool))?.group.view,
            view.keySource != .nothing
        else { return }
        exchanges[exchange].pointee.key = view.keys.hash(client: downstreams[slot].pointee.peer)
    }

    /// The name of the cookie that the request's upstream does not see; empty: there is none.
    func hiddenCookie(_ exchange: Int) -> [UInt8] {
        guard exchanges[exchange].pointee.flags.contains(.sticky) else { return [] }
        return pool(Int(exchanges[exchange].pointee.pool))?.group.view.cookieName ?? []
    }

    /// 16 hex digits as we write them; 0 for anything else.
    static func token(_ text: Span<UInt8>) -> UInt64 {
        guard text.count == 16 else { return 0 }
        var token: UInt64 = 0
        for index in text.indices {
            let digit: UInt8
            switch text[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = text[index] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = text[index] - UInt8(ascii: "a") + 10
            default: return 0
            }
            token = token << 4 | UInt64(digit)
        }
        return token
    }

    // MARK: - Answers

    /// What binds the client to the member whose answer it gets: the value of a Set-Cookie field,
    /// in `heads`, to be used at once. Empty if its cookie says so already.
    // hot: once per answer; no allocation.
    func stickyCookie(_ client: Int) -> UnsafeRawBufferPointer {
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        let exchange = Int(downstreams[client].pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.flags.contains(.sticky) else {
            return nothing
        }
        let state = exchanges[exchange]
        guard state.pointee.member >= 0, let pool = pools[Int(state.pointee.pool)] else {
            return nothing
        }
        let token = pool.group.members.token(of: Int(state.pointee.member))
        let name = pool.group.view.cookieName
        guard token != 0, token != state.pointee.token, !name.isEmpty else { return nothing }
        var writer = ByteWriter(
            UnsafeMutableRawBufferPointer(start: heads, count: Worker.headsBytes))
        writer.append(name.span)
        writer.append(UInt8(ascii: "="))
        writer.append(hexWord: token)
        writer.append("; Path=/; HttpOnly; SameSite=Lax")
        // Else a browser would send it over plaintext, too.
        if channels[transport(client)].pointee.flags.contains(.isTLS) { writer.append("; Secure") }
        return UnsafeRawBufferPointer(start: heads, count: writer.count)
    }
}
