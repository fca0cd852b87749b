internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeRouting

/// Step 5 of a request: where it goes, by view, host and path, and whether it may.
extension Worker {
    /// The route of the request in `requestHead`.
    ///
    /// - Returns: nil if it goes nowhere: it has been answered.
    // hot: once per request; no allocation.
    func route(_ slot: Int, _ head: Span<UInt8>) -> Route? {
        let listener = snapshot.listeners[Int(downstreams[slot].pointee.listener)]
        if let port = listener.redirectPort {
            guard let pool = listener.challengePool, isChallenge(head) else {
                redirect(slot, head, to: port)
                return nil
            }
            return Route(pool: pool)
        }
        let host = head.extracting(requestHead.host.indices)
        guard let view = clientView(slot) else {
            // Its view has gone with a reload; nothing of another one is for it.
            decline(slot, head, status: 421, .misdirected)
            return nil
        }
        let found = snapshot.routing.router.request(
            view: view.index, host: host, path: head.extracting(path(head)))
        guard mayServe(slot, host, found) else {
            decline(slot, head, status: 421, .misdirected)
            return nil
        }
        guard let route = found, !route.isPassthrough else {
            decline(slot, head, status: 404, .noRoute)
            return nil
        }
        guard !route.isAmbiguous else {
            decline(slot, head, status: 400, .clientBadRequest)
            return nil
        }
        return route
    }

    /// The target without its query, as the client wrote it.
    private func path(_ head: Span<UInt8>) -> Range<Int> {
        guard !requestHead.isAsterisk, !requestHead.lacksPath else { return 0..<0 }
        let target = requestHead.target.indices
        var end = target.lowerBound
        while end < target.upperBound, head[end] != UInt8(ascii: "?") { end += 1 }
        return target.lowerBound..<end
    }

    /// Whether this connection is for the host (RFC 9110 §7.4, RFC 9113 §9.1.1): over TLS, the
    /// certificate in use stands for it, and the site asks of clients what this one was asked for.
    private func mayServe(_ slot: Int, _ host: Span<UInt8>, _ route: Route?) -> Bool {
        let connection = transport(slot)
        guard channels[connection].pointee.flags.contains(.isTLS),
            let session = channels[connection].pointee.session
        else { return true }
        let isNamed = session.isNamed(host)
        guard let route else {
            // Nobody's name: 404 if it is what this client was let in for.
            return !(clientView(slot)?.refusesUnknown ?? true)
                && (isNamed || engine.covers(host, session: session))
        }
        switch route.coverage(
            connectionPolicy: downstreams[slot].pointee.profile, isServerName: isNamed)
        {
        case .serve: return true
        case .misdirected: return false
        case .askCertificate: return engine.covers(host, session: session)
        }
    }

    // MARK: - Listeners that redirect

    /// `/.well-known/acme-challenge/` and a token (RFC 8555 §8.3), which is asked for in the clear.
    /// Nothing else goes there: no dot segment leads out of it, whoever reads the path.
    private func isChallenge(_ head: Span<UInt8>) -> Bool {
        let path = head.extracting(path(head))
        let prefix: StaticString = "/.well-known/acme-challenge/"
        guard path.count > prefix.utf8CodeUnitCount else { return false }
        for index in 0..<prefix.utf8CodeUnitCount where path[index] != prefix.utf8Start[index] {
            return false
        }
        for index in prefix.utf8CodeUnitCount..<path.count where !isOfToken(path[index]) {
            return false
        }
        return true
    }

    /// base64url, RFC 8555 §8.1.
    private func isOfToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// 308 to https, for listeners that only redirect (RFC 9110 §15.4.9).
    private func redirect(_ slot: Int, _ head: Span<UInt8>, to port: UInt16) {
        var location = Array("https://".utf8)
        let host = head.extracting(requestHead.host.indices)
        var isLiteral = false
        for index in host.indices where host[index] == UInt8(ascii: ":") { isLiteral = true }
        if isLiteral { location.append(UInt8(ascii: "[")) }
        for index in host.indices { location.append(host[index]) }
        if isLiteral { location.append(UInt8(ascii: "]")) }
        if port != 443 { location += Array(":\(port)".utf8) }
        if !requestHead.isAsterisk {
            if requestHead.lacksPath { location.append(UInt8(ascii: "/")) }
            let target = head.extracting(requestHead.target.indices)
            for index in target.indices { location.append(target[index]) }
        }
        answerRedirect(slot, head, status: 308, location)
    }

    /// - Parameter location: made from checked parts.
    func answerRedirect(
        _ slot: Int, _ head: Span<UInt8>, status: UInt16, _ location: [UInt8]
    ) {
        let hasBody = requestHead.framing.hasContent
        let close = hasBody || downstreams[slot].pointee.closesAfterAnswer
        if accessLog.isOn { logUnserved(slot, head, status, .none) }
        answer(
            slot, status: status, ReasonCode.redirected.label, close: close,
            isHead: requestHead.method == .head, field: .location(location))
        if close || isStream(slot) { closeDownstream(slot) } else { setIdleDeadline(slot) }
    }
}
