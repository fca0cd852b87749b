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
        let listener = Int(downstreams[slot].pointee.listener)
        if let port = snapshot.listeners[listener].redirectPort {
            guard let pool = snapshot.listeners[listener].challengePool,
                RuntimeSnapshot.Listener.isChallenge(
                    head.extracting(requestHead.writtenTarget.indices))
            else {
                if isWithinArrivalLimits(slot, head) { redirect(slot, head, to: port) }
                return nil
            }
            return Route(pool: pool)
        }
        let host = head.extracting(requestHead.host.indices)
        let view = viewIndex(slot)
        guard view >= 0 else {
            // Its view has gone with a reload; nothing of another one is for it.
            turnDown(slot, head, status: 421, .misdirected)
            return nil
        }
        let found = snapshot.routing.router.request(
            view: view, host: host, target: head.extracting(requestHead.writtenTarget.indices))
        guard mayServe(slot, host, found) else {
            turnDown(slot, head, status: 421, .misdirected)
            return nil
        }
        guard let route = found, !route.isPassthrough else {
            turnDown(slot, head, status: 404, .noRoute)
            return nil
        }
        guard !route.isAmbiguous else {
            turnDown(slot, head, status: 400, .clientBadRequest)
            return nil
        }
        return route
    }

    /// A request that leads to no site is charged to the policies of its view, and held against
    /// its client: what scanners ask for is mostly this.
    @inline(never)
    private func turnDown(_ slot: Int, _ head: Span<UInt8>, status: UInt16, _ reason: ReasonCode) {
        guard isWithinArrivalLimits(slot, head) else { return }
        let plan = arrivalPlan(transport(slot))
        if plan >= 0 { noteErrorAnswer(slot, plan, status) }
        decline(slot, head, status: status, reason)
    }

    /// - Returns: false if a policy of the view refuses: the request has been answered.
    private func isWithinArrivalLimits(_ slot: Int, _ head: Span<UInt8>) -> Bool {
        let plan = arrivalPlan(transport(slot))
        guard plan >= 0 else { return true }
        guard isWithinLimits(slot, head, plan, -1) else { return false }
        // Nothing of it lasts.
        dropRequestCounts()
        return true
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

    /// 308 to https, for listeners that only redirect (RFC 9110 §15.4.9).
    private func redirect(_ slot: Int, _ head: Span<UInt8>, to port: UInt16) {
        let location = RuntimeSnapshot.Listener.secureLocation(of: requestHead, head, port: port)
        answerRedirect(slot, head, status: 308, location)
    }

    /// - Parameters:
    ///   - location: made from checked parts.
    ///   - policy: its rules; -1: a listener redirects, not a site.
    func answerRedirect(
        _ slot: Int, _ head: Span<UInt8>, status: UInt16, _ location: [UInt8],
        by policy: Int32 = -1
    ) {
        let hasBody = requestHead.framing.hasContent
        let close = hasBody || downstreams[slot].pointee.closesAfterAnswer
        countDeclined(status: status, .none)
        if accessLog.isOn { logUnserved(slot, head, status, .none) }
        answer(
            slot, status: status, ReasonCode.redirected.label, close: close,
            isHead: requestHead.method == .head,
            field: ruled(.location(location), slot, head, by: policy))
        if close || isStream(slot) { closeDownstream(slot) } else { setIdleDeadline(slot) }
    }
}
