internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgePreface
internal import Glibc

/// Two channels without machines above them: connections of `tcp` listeners, and those that were
/// upgraded (WebSocket). Bytes go on as they come, no faster than the other side takes them. A
/// relayed connection's directions end one by one, an upgraded one's together.
extension Worker {
    // MARK: - Beginning

    /// A client of a `tcp` listener, or of a site that is passed through: nothing more is read from
    /// it before it has a server.
    ///
    /// - Parameters:
    ///   - name: that it asked for; empty: none.
    ///   - site: that this is passed through for; -1: none.
    func beginRelay(
        _ slot: Int, _ pool: Int32, name: Span<UInt8> = Span(), site: Int32 = -1
    ) {
        guard let exchange = exchangeSlots.take() else {
            downstreamFailed(slot, .memoryLimit)
            return
        }
        block.add(.requestsActive)
        block.add(.tcpConnections)
        exchanges[exchange].pointee = Exchange(
            phase: .awaitingUpstream, flags: [.relay, .requestComplete], method: .other,
            clientMinor: 0, attempts: 0, status: 0, requestFraming: .none, answerFraming: .none,
            downstream: Int32(slot), upstream: -1, pool: pool, tried: 0, prefix: nil)
        exchanges[exchange].pointee.times.begun = now
        exchanges[exchange].pointee.times.head = now
        noteClientKey(exchange, slot)
        startMeters(exchange, relayPlan(slot, site), .init(repeating: 0))
        if accessLog.isOn { logBeginRelay(exchange, name: name) }
        downstreams[slot].pointee.exchange = Int32(exchange)
        downstreams[slot].pointee.phase = .tunnel
        downstreams[slot].pointee.requestCount = 1
        downstreams[slot].pointee.closesAfterAnswer = true
        pauseInput(slot)
        acquireUpstream(exchange, allowsReuse: false)
    }

    /// The server of a relayed connection is there.
    func startRelay(_ slot: Int, _ exchange: Int) {
        pools[Int(upstream(slot).pointee.pool)]?.group.members.endTrial(
            Int(upstream(slot).pointee.member))
        exchanges[exchange].pointee.phase = .answering
        joinTunnel(slot, exchange)
    }

    /// Both sides are there, or the upstream has accepted an upgrade.
    func joinTunnel(_ slot: Int, _ exchange: Int) {
        let client = Int(exchanges[exchange].pointee.downstream)
        upstream(slot).pointee.phase = .tunnel
        downstreams[client].pointee.phase = .tunnel
        downstreams[client].pointee.closesAfterAnswer = true
        exchanges[exchange].pointee.flags.insert(.unprobed)
        moveTunnelDeadline(slot)
        clearDeadline(client)
        // An end that came before is told to the tunnel as well.
        channels[client].pointee.flags.remove(.endDelivered)
        resumeInput(client)
        callAttention(to: client)
        if exchanges[exchange].pointee.isMetered { pauseTunnel(exchange) }
    }

    /// The first bytes to an upstream that wants to know whose connection it is, before TLS.
    func sendProxyHeader(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard pools[Int(upstream.pointee.pool)]?.settings.sendsProxyHeader == true,
            upstream.pointee.exchange >= 0
        else { return }
        let client = transport(Int(exchanges[Int(upstream.pointee.exchange)].pointee.downstream))
        let source = downstreams[client].pointee.peer
        let destination =
            ring.localAddress(of: channels[client].pointee.descriptor) ?? source.with(port: 0)
        var header = ProxyHeader.Storage(repeating: 0)
        let count = ProxyHeader.write(from: source, to: destination, into: &header)
        upstream.pointee.namesClient = true
        header.span.withUnsafeBytes { bytes in
            // Not empty, so there is a base address.
            guard let start = bytes.baseAddress else { return }
            sendBytes(slot, start, count: count)
        }
    }

    // MARK: - Bytes

    /// How long nothing need move; nil if the channel is not part of a tunnel.
    func tunnelLimit(_ slot: Int) -> UInt64? {
        let exchange: Int
        if isDownstream(slot) {
            guard downstreams[slot].pointee.phase == .tunnel else { return nil }
            exchange = Int(downstreams[slot].pointee.exchange)
        } else {
            guard upstream(slot).pointee.phase == .tunnel else { return nil }
            exchange = Int(upstream(slot).pointee.exchange)
        }
        guard exchange >= 0 else { return nil }
        return exchanges[exchange].pointee.flags.contains(.relay)
            ? snapshot.timeouts.tcp : snapshot.client.tunnel
    }

    /// The deadline is on the upstream's channel and moves with bytes in either direction; the
    /// client's has one only while it is blocked.
    func moveTunnelDeadline(_ slot: Int) {
        guard let limit = tunnelLimit(slot) else { return }
        let state = exchanges[Int(upstream(slot).pointee.exchange)]
        let isUnprobed = state.pointee.flags.contains(.unprobed)
        setDeadline(slot, .tunnel, isUnprobed ? min(limit, Worker.probeAfter) : limit)
    }

    /// The first silence of a tunnel that is worth the calls: from now on the kernel probes the
    /// server (it probes clients anyway).
    ///
    /// - Returns: false if that was done before; the silence has lasted the whole limit then.
    private func startProbing(_ slot: Int) -> Bool {
        guard let limit = tunnelLimit(slot), limit > Worker.probeAfter else { return false }
        let state = exchanges[Int(upstream(slot).pointee.exchange)]
        guard state.pointee.flags.contains(.unprobed) else { return false }
        state.pointee.flags.remove(.unprobed)
        ring.probeWhenSilent(channels[slot].pointee.descriptor)
        setDeadline(slot, .tunnel, limit - Worker.probeAfter)
        return true
    }

    func tunnelTimedOut(_ slot: Int) {
        guard !isDownstream(slot), !excusesPause(slot, .tunnel) else { return }
        let exchange = Int(upstream(slot).pointee.exchange)
        if exchange >= 0, isBlocked(Int(exchanges[exchange].pointee.downstream)) {
            // The client takes what waits, or its own deadline ends it.
            moveTunnelDeadline(slot)
            return
        }
        if startProbing(slot) { return }
        block.add(.tunnelTimeout)
        if exchange >= 0 { exchanges[exchange].pointee.reason = .tunnelTimeout }
        tunnelEnded(exchange)
    }

    func tunnelUp(_ slot: Int, _ content: Span<UInt8>) {
        let state = exchanges[Int(downstreams[slot].pointee.exchange)]
        let upstream = Int(state.pointee.upstream)
        state.pointee.received &+= UInt64(content.count)
        moveTunnelDeadline(upstream)
        relay(content, to: upstream)
        if isBlocked(upstream) { pauseInput(slot) }
    }

    func tunnelDown(_ slot: Int, _ content: Span<UInt8>) {
        let state = exchanges[Int(upstream(slot).pointee.exchange)]
        let client = Int(state.pointee.downstream)
        state.pointee.sent &+= UInt64(content.count)
        if state.pointee.upgrade == .webSocket { state.pointee.frames.pass(content) }
        moveTunnelDeadline(slot)
        relay(content, to: client)
    }

    // hot: once per receive; no copy unless the socket is full.
    private func relay(_ content: Span<UInt8>, to slot: Int) {
        flushStage()
        content.withUnsafeBufferPointer {
            if let start = $0.baseAddress { write(slot, start, count: $0.count) }
        }
    }

    /// The channel that plaintext received on `slot` can be handed to in the very chunk that it is
    /// received into; nil where anything else has to be done with it.
    func plainPeer(_ slot: Int) -> Int? {
        let exchange: Int
        if isDownstream(slot) {
            guard downstreams[slot].pointee.phase == .tunnel, downstreams[slot].pointee.held == nil
            else { return nil }
            exchange = Int(downstreams[slot].pointee.exchange)
        } else {
            guard upstream(slot).pointee.phase == .tunnel, upstream(slot).pointee.held == nil
            else { return nil }
            exchange = Int(upstream(slot).pointee.exchange)
        }
        guard exchange >= 0, exchanges[exchange].pointee.upstream >= 0 else { return nil }
        let peer = Int(
            isDownstream(slot)
                ? exchanges[exchange].pointee.upstream : exchanges[exchange].pointee.downstream)
        let isPlain =
            channels[slot].pointee.flags.isDisjoint(with: [.isTLS, .isStream])
            && channels[peer].pointee.flags.isDisjoint(with: [.isTLS, .isStream])
        guard isPlain, channels[slot].pointee.stash.isEmpty,
            channels[slot].pointee.flags.contains(.wantsInput)
        else { return nil }
        return peer
    }

    /// A round of a tunnel without TLS: received into the chunk that is sent.
    func passOn(_ slot: Int, _ chunk: ChunkPointer, to peer: Int) {
        block.add(
            isDownstream(slot) ? .clientBytesReceived : .upstreamBytesReceived,
            UInt64(chunk.count))
        if isDownstream(slot) {
            exchanges[Int(downstreams[slot].pointee.exchange)].pointee.received &+=
                UInt64(chunk.count)
        } else {
            let state = exchanges[Int(upstream(slot).pointee.exchange)]
            state.pointee.sent &+= UInt64(chunk.count)
            if state.pointee.upgrade == .webSocket {
                let bytes = UnsafeRawBufferPointer(start: chunk.waiting, count: chunk.count)
                bytes.withMemoryRebound(to: UInt8.self) { state.pointee.frames.pass($0.span) }
            }
        }
        moveTunnelDeadline(isDownstream(slot) ? peer : slot)
        flushStage()
        sendChunk(peer, chunk)
        if isBlocked(peer) { pauseInput(slot) }
        chargeRound(slot)
    }

    @inline(__always)
    private func chargeRound(_ slot: Int) {
        let exchange = Int(
            isDownstream(slot)
                ? downstreams[slot].pointee.exchange : upstream(slot).pointee.exchange)
        guard exchange >= 0, exchanges[exchange].pointee.isMetered else { return }
        if isDownstream(slot) { chargeUpload(exchange) } else { chargeDownload(exchange) }
    }

    // MARK: - Ends

    /// One side has sent its end. A relayed connection goes on in the other direction.
    ///
    /// - Parameter isClean: false for an end that may be an attacker's (TLS without close_notify).
    func relayEnded(_ exchange: Int, _ side: Exchange.Flags, isClean: Bool) {
        guard exchange >= 0 else { return }
        let state = exchanges[exchange]
        guard state.pointee.flags.contains(.relay), state.pointee.upstream >= 0, isClean else {
            tunnelEnded(exchange)
            return
        }
        state.pointee.flags.insert(side)
        if state.pointee.flags.isSuperset(of: [.clientEnded, .upstreamEnded]) {
            tunnelEnded(exchange)
            return
        }
        let other = Int(
            side == .clientEnded ? state.pointee.upstream : state.pointee.downstream)
        channels[other].pointee.flags.insert(.shutsWhenDrained)
        shutIfDue(other)
    }

    /// Ends our direction of a channel that has to, once nothing waits.
    func shutIfDue(_ slot: Int) {
        let channel = channels[slot]
        guard channel.pointee.flags.contains(.shutsWhenDrained), channel.pointee.output.isEmpty,
            channel.pointee.flags.isDisjoint(with: [.sendingShut, .broken])
        else { return }
        if let session = channel.pointee.session,
            channel.pointee.flags.isDisjoint(with: [.tlsFailed, .closingSaid])
        {
            // Without it the end would look like an attacker's.
            channel.pointee.flags.insert(.closingSaid)
            session.closeNotify()
            flushWire(slot)
            guard channel.pointee.output.isEmpty,
                channel.pointee.flags.isDisjoint(with: [.broken, .sendFailed])
            else { return }
        }
        channel.pointee.flags.insert(.sendingShut)
        ring.shutdownSending(channel.pointee.descriptor)
    }

    /// Both sides are done, or one is and that is all there is to it: what is on its way is
    /// delivered, then both are closed.
    /// Tells the client of a WebSocket that it has to come again (1012), and ends the connection,
    /// if there is a place for it: not in a frame, or behind what a client does not take.
    func dismissWebSocket(_ exchange: Int) -> Bool {
        let state = exchanges[exchange]
        let client = Int(state.pointee.downstream)
        guard state.pointee.upgrade == .webSocket, downstreams[client].pointee.phase == .tunnel,
            state.pointee.frames.isBetweenFrames, !isBlocked(client)
        else { return false }
        state.pointee.reason = .draining
        block.add(.draining)
        let frame = WebSocketBoundary.serviceRestart
        relay(frame.span, to: client)
        tunnelEnded(exchange)
        return true
    }

    func tunnelEnded(_ exchange: Int) {
        guard exchange >= 0 else { return }
        let client = Int(exchanges[exchange].pointee.downstream)
        let slot = Int(exchanges[exchange].pointee.upstream)
        if slot >= 0 {
            unassign(exchange)
            upstream(slot).pointee.exchange = -1
            upstream(slot).pointee.phase = .ended
            closeGracefully(slot)
        }
        downstreams[client].pointee.exchange = -1
        abandon(exchange, .none)
        closeDownstream(client)
    }
}
