internal import EdgeCore

/// Deadlines: a channel awaits one thing at a time, so it has one.
extension Worker {
    // hot: 2 ns when the deadline only moves away.
    ///
    /// While bytes wait for a peer that does not take them, the deadline for that stands: no other
    /// may replace it.
    func setDeadline(_ slot: Int, _ kind: DeadlineKind, _ nanoseconds: UInt64) {
        guard kind == .write || !isWriteDeadline(slot) else { return }
        // A request that waits in a queue waits for that alone.
        if kind == .body, channels[slot].pointee.deadlineKind == .queue { return }
        channels[slot].pointee.deadlineKind = kind
        wheel.arm(slot, at: now.advanced(byNanoseconds: nanoseconds))
    }

    private func isWriteDeadline(_ slot: Int) -> Bool {
        let channel = channels[slot]
        guard channel.pointee.deadlineKind == .write, !channel.pointee.output.isEmpty else {
            return false
        }
        switch channel.pointee.phase {
        case .established, .flushing: return true
        case .handshaking, .connecting, .lingering, .closing, .free: return false
        }
    }

    func clearDeadline(_ slot: Int) {
        guard !isWriteDeadline(slot), channels[slot].pointee.deadlineKind != .queue else {
            return
        }
        channels[slot].pointee.deadlineKind = .none
        wheel.disarm(slot)
    }

    func expire(_ slot: Int) {
        let channel = channels[slot]
        let kind = channel.pointee.deadlineKind
        channel.pointee.deadlineKind = .none
        switch channel.pointee.phase {
        case .free, .closing: return
        case .connecting, .handshaking, .established, .flushing, .lingering: break
        }
        switch kind {
        case .none: break
        case .linger: if isStream(slot) { resetStream(slot, .noError) } else { terminate(slot) }
        case .lingerBriefly:
            // The peer's host has it all: no reset can take it away on the way.
            if ring.unacknowledged(channel.pointee.descriptor) == 0 {
                terminate(slot)
            } else {
                setDeadline(slot, .linger, Worker.lingerTime)
            }
        case .proxyHeader: downstreamFailed(slot, .clientProxyHeaderTimeout)
        case .clientHello:
            if channel.pointee.flags.contains(.deferred) {
                refuseDeferred(slot)
                return
            }
            block.add(.handshakesFailed)
            downstreamFailed(slot, .clientHelloTimeout)
        case .handshake:
            if channel.pointee.flags.contains(.deferred) {
                refuseDeferred(slot)
                return
            }
            block.add(.handshakesFailed)
            downstreamFailed(slot, .clientHandshakeTimeout)
        case .requestHead:
            if channels[slot].pointee.http2 != nil {
                endHTTP2(slot, .protocolError, .clientHeadTimeout)
                return
            }
            refuse(slot, status: 408, .clientHeadTimeout, isHead: heldBeginsHEAD(slot))
        case .keepAlive:
            if channel.pointee.http2 != nil {
                clientHTTP2Due(slot)
                return
            }
            block.add(.clientIdleTimeout)
            closeDownstream(slot)
        case .body:
            if excusesPause(slot, .body) { return }
            if isDownstream(slot) {
                requestBodyTimedOut(slot)
            } else {
                upstreamFailed(slot, .upstreamBodyTimeout)
            }
        case .write: lookAtPace(slot)
        case .connect: upstreamFailed(slot, .upstreamConnectTimeout)
        case .race: raceDue(slot)
        case .stall: lookAtStall(slot)
        case .response: upstreamFailed(slot, .upstreamHeadTimeout)
        case .idle:
            if channels[slot].pointee.http2 != nil {
                upstreamConnectionDue(slot)
            } else {
                closeIdleUpstream(slot)
            }
        case .tunnel: tunnelTimedOut(slot)
        case .queue: queueDue(Int(downstreams[slot].pointee.exchange))
        }
    }

    // MARK: - Least rates (BEHAVIOUR: 35)

    /// Content has come from a client: it may rest for the time-out, and a byte pays for so much of
    /// it as the least rate says. Who sends less falls behind until the deadline has caught up.
    func noteBodyProgress(_ slot: Int, _ count: Int) {
        let limit = now.advanced(byNanoseconds: snapshot.timeouts.body)
        let price = snapshot.timeouts.uploadPrice
        guard price > 0, channels[slot].pointee.deadlineKind == .body else {
            setDeadline(slot, .body, snapshot.timeouts.body)
            return
        }
        let due = wheel.deadline(of: slot)
        // One that has passed waits in the backlog, behind these bytes.
        let earned = (due == .never ? now : due).advanced(byNanoseconds: UInt64(count) &* price)
        wheel.arm(slot, at: min(limit, earned))
    }

    /// Looks per time-out at a peer for which bytes wait.
    private static let looks: UInt64 = 8

    private func paceLimit(_ slot: Int) -> UInt64 {
        if let limit = tunnelLimit(slot) { return limit }
        if isDownstream(slot) { return snapshot.timeouts.body }
        return pools[Int(upstream(slot).pointee.pool)]?.settings.bodyTimeout
            ?? snapshot.timeouts.body
    }

    /// Bytes begin to wait for the peer.
    func startPace(_ slot: Int) {
        let limit = paceLimit(slot)
        channels[slot].pointee.pace = Pace(allowance: limit, lookedAt: now)
        setDeadline(slot, .write, limit / Worker.looks)
    }

    /// What the peer has acknowledged since the last look buys it time; what has passed costs it.
    /// An upstream has to move something, a client has to keep up with the least rate.
    private func lookAtPace(_ slot: Int) {
        let channel = channels[slot]
        let limit = paceLimit(slot)
        let isTunnel = tunnelLimit(slot) != nil
        let price = isDownstream(slot) && !isTunnel ? snapshot.timeouts.downloadPrice : 0
        let left =
            isStream(slot) ? 0 : ring.unacknowledged(channel.pointee.descriptor) ?? 0
        var pace = channel.pointee.pace
        let passed = now.nanoseconds(since: pace.lookedAt)
        if pace.unacknowledged >= 0 {
            let taken = UInt64(max(0, pace.unacknowledged + pace.moved - left))
            pace.allowance &+= price > 0 ? min(taken, 1 << 30) &* price : taken > 0 ? limit : 0
        }
        // A byte at the last moment is not enough for what has passed before it.
        pace.allowance = pace.allowance > passed ? min(limit, pace.allowance - passed) : 0
        guard pace.allowance > 0 else {
            tooSlow(slot)
            return
        }
        pace.unacknowledged = left
        pace.moved = 0
        pace.lookedAt = now
        channel.pointee.pace = pace
        setDeadline(slot, .write, min(limit / Worker.looks, pace.allowance))
    }

    private func tooSlow(_ slot: Int) {
        if channels[slot].pointee.phase == .flushing {
            block.add(isDownstream(slot) ? .clientReadTimeout : .upstreamBodyTimeout)
            if accessLog.isOn, isDownstream(slot) { logFailure(slot, .clientReadTimeout) }
            terminate(slot, reset: true)
        } else if isDownstream(slot) {
            downstreamFailed(slot, .clientReadTimeout)
        } else {
            upstreamFailed(slot, .upstreamBodyTimeout)
        }
    }
}
