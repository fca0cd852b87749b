internal import EdgeCore

/// Deadlines: a channel awaits one thing at a time, so it has one.
extension Worker {
    // hot: 2 ns when the deadline only moves away.
    ///
    /// While bytes wait for a peer that does not take them, the deadline for that stands: no other
    /// may replace it.
    func setDeadline(_ slot: Int, _ kind: DeadlineKind, _ nanoseconds: UInt64) {
        guard kind == .write || !isWriteDeadline(slot) else { return }
        channels[slot].pointee.deadlineKind = kind
        wheel.arm(slot, at: now.advanced(byNanoseconds: nanoseconds))
    }

    private func isWriteDeadline(_ slot: Int) -> Bool {
        let channel = channels[slot]
        return channel.pointee.deadlineKind == .write && channel.pointee.phase == .established
            && !channel.pointee.output.isEmpty
    }

    func clearDeadline(_ slot: Int) {
        guard !isWriteDeadline(slot) else { return }
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
        case .linger, .flush: terminate(slot, reset: kind == .flush)
        case .handshake:
            block.add(.handshakesFailed)
            downstreamFailed(slot, .clientHandshakeTimeout)
        case .requestHead: refuse(slot, status: 408, .clientHeadTimeout)
        case .keepAlive:
            block.add(.clientIdleTimeout)
            closeDownstream(slot)
        case .body:
            if isDownstream(slot) {
                requestBodyTimedOut(slot)
            } else {
                upstreamFailed(slot, .upstreamBodyTimeout)
            }
        case .write:
            if isDownstream(slot) {
                downstreamFailed(slot, .clientReadTimeout)
            } else {
                upstreamFailed(slot, .upstreamBodyTimeout)
            }
        case .connect: upstreamFailed(slot, .upstreamConnectTimeout)
        case .response: upstreamFailed(slot, .upstreamHeadTimeout)
        case .idle: closeIdleUpstream(slot)
        case .tunnel: tunnelTimedOut(slot)
        }
    }
}
