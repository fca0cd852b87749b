internal import EdgeCore
internal import EdgeHTTP
internal import EdgeHTTP1
internal import EdgeRing
internal import EdgeTLS
internal import EdgeUpstream
internal import Glibc

/// Connections to upstreams and, step 8 of a request, their answers. Upstream side of HTTP/1.1.
extension Worker {
    // MARK: - Connecting

    /// Starts a connection for the exchange.
    ///
    /// - Returns: nil if it is under way; else why it can't be.
    func connect(_ pool: UpstreamPool, _ member: Int, _ exchange: Int) -> ReasonCode? {
        let address = pool.group.members.members[member].address
        if let surplus = pool.group.takeSurplus(member) { endIdle(Int(surplus)) }
        guard let index = upstreamSlots.take() else { return .connectionLimit }
        var descriptor = ring.openSocket(for: address)
        if descriptor < 0, Worker.isLimit(-descriptor), giveUpDescriptor() {
            descriptor = ring.openSocket(for: address)
        }
        guard descriptor >= 0 else {
            upstreamSlots.give(index)
            return Worker.isLimit(-descriptor) ? .descriptorLimit : .upstreamConnectFailed
        }
        let slot = upstreamBase + index
        openChannel(slot, descriptor, .connecting)
        let upstream = upstreams[index]
        let isShared = multiplexes(exchange, pool, member)
        if isShared { pool.http2Connecting |= MemberTable.bit(member) }
        upstream.pointee = Upstream(
            phase: .connecting, isReused: false, answerStarted: false, interimCount: 0,
            keepAlive: false, isShared: isShared, pool: pool.id, member: Int32(member),
            exchange: Int32(exchange),
            scanner: HeadScanner(.response), decoder: BodyDecoder(framing: .none), held: nil,
            idleSince: now, address: .init(repeating: 0),
            addressCount: UInt8(address.kernelByteCount))
        let storage =
            UnsafeMutableRawPointer(upstream)
            + MemoryLayout<Upstream>.offset(of: \.address)!
        address.write(to: storage)
        pool.group.members.opened(member)
        assign(exchange, slot)
        noteConnecting(exchange, to: address, isReused: false)
        block.add(.upstreamConnects)
        pool.group.row.add(UpstreamCells.connects)
        block.add(.upstreamConnectionsOpen)
        channels[slot].pointee.inFlight.insert(.connect)
        ring.connect(
            token(slot, .connect), descriptor, to: storage, byteCount: address.kernelByteCount)
        setConnectDeadline(slot, pool, member)
        return nil
    }

    /// The error says that there are too few descriptors, or too little of the kernel's memory.
    static func isLimit(_ number: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(number)
    }

    func completeConnect(_ slot: Int, _ completion: Completion) {
        let channel = channels[slot]
        channel.pointee.inFlight.remove(.connect)
        guard channel.pointee.phase == .connecting else {
            finalizeIfIdle(slot)
            return
        }
        guard completion.result == 0 else {
            let isRefused = completion.result == -ECONNREFUSED
            upstreamFailed(slot, isRefused ? .upstreamConnectRefused : .upstreamConnectFailed)
            return
        }
        sendProxyHeader(slot)
        guard let tls = pools[Int(upstream(slot).pointee.pool)]?.settings.tls else {
            channel.pointee.phase = .established
            armReceive(slot)
            upstreamReady(slot)
            return
        }
        startClientHandshake(slot, tls)
    }

    /// Connected, and encrypted if it has to be.
    func upstreamReady(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard speaksAsAsked(slot) else {
            noteUpstreamTLSFailure(slot, "the server does not speak h2")
            upstreamFailed(slot, .upstreamTLSFailed)
            return
        }
        clearDeadline(slot)
        pools[Int(upstream.pointee.pool)]?.group.members.connected(
            Int(upstream.pointee.member), after: now.nanoseconds(since: upstream.pointee.idleSince))
        if upstream.pointee.exchange >= 0 {
            winRace(slot, Int(upstream.pointee.exchange))
            exchanges[Int(upstream.pointee.exchange)].pointee.times.connected = now
        }
        // What waits since before (PROXY header, handshake) has a deadline from now on.
        if isBlocked(slot) { startPace(slot) }
        if upstream.pointee.isShared {
            sharedUpstreamReady(slot)
            return
        }
        guard upstream.pointee.exchange >= 0 else {
            keepUnclaimed(slot)
            return
        }
        if exchanges[Int(upstream.pointee.exchange)].pointee.flags.contains(.relay) {
            startRelay(slot, Int(upstream.pointee.exchange))
            return
        }
        upstream.pointee.phase = .awaitingHead
        sendRequest(Int(upstream.pointee.exchange))
    }

    /// False where HTTP/2 was asked for, and only that, and the server has not chosen it.
    private func speaksAsAsked(_ slot: Int) -> Bool {
        let upstream = self.upstream(slot)
        guard upstream.pointee.isShared, let session = channels[slot].pointee.session,
            !session.isHTTP2
        else { return true }
        return pools[Int(upstream.pointee.pool)]?.settings.version == .auto
    }

    /// Connected where HTTP/2 was to be spoken.
    private func sharedUpstreamReady(_ slot: Int) {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        guard let session = channels[slot].pointee.session else {
            startUpstreamHTTP2(slot)
            return
        }
        if session.isHTTP2 {
            startUpstreamHTTP2(slot)
            return
        }
        pools[Int(upstream.pointee.pool)]?.http1Members |=
            MemberTable.bit(Int(upstream.pointee.member))
        sharedConnectEnded(slot)
        guard exchange >= 0 else {
            keepUnclaimed(slot)
            return
        }
        upstream.pointee.phase = .awaitingHead
        sendRequest(exchange)
    }

    /// Nobody need wait for this connection any more.
    func sharedConnectEnded(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard upstream.pointee.isShared, let pool = pools[Int(upstream.pointee.pool)] else {
            return
        }
        upstream.pointee.isShared = false
        pool.sharedEnded(Int(upstream.pointee.member))
        callQueue(pool)
    }

    // MARK: - Answers

    /// Plaintext from an upstream.
    func upstreamInput(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        let upstream = self.upstream(slot)
        let generation = channels[slot].pointee.generation
        if let held = upstream.pointee.held {
            upstream.pointee.held = nil
            guard let joined = join(held, bytes) else {
                upstreamFailed(slot, .memoryLimit)
                return
            }
            let used = parseUpstream(
                slot, UnsafeRawBufferPointer(start: joined.waiting, count: joined.count))
            joined.pointee.start += Int32(used)
            if isOpen(slot, generation), joined.count > 0 {
                upstream.pointee.held = joined
            } else {
                chunks.give(joined)
            }
        } else {
            let used = parseUpstream(slot, bytes)
            if isOpen(slot, generation), used < bytes.count, let start = bytes.baseAddress {
                guard let chunk = chunks.take(bytes.count - used) else {
                    upstreamFailed(slot, .memoryLimit)
                    return
                }
                _ = chunk.append(start + used, count: bytes.count - used)
                upstream.pointee.held = chunk
            }
        }
        flushStage()
        pauseIfClientIsSlow(slot, generation)
    }

    /// The upstream is read no faster than the client drains.
    private func pauseIfClientIsSlow(_ slot: Int, _ generation: UInt32) {
        guard isOpen(slot, generation) else { return }
        let exchange = Int(upstream(slot).pointee.exchange)
        guard exchange >= 0 else { return }
        if exchanges[exchange].pointee.flags.contains(.metersDownload) { chargeDownload(exchange) }
        let client = Int(exchanges[exchange].pointee.downstream)
        guard isBlocked(client) else { return }
        pauseInput(slot)
        if channels[slot].pointee.deadlineKind == .body { clearDeadline(slot) }
    }

    private func parseUpstream(_ slot: Int, _ bytes: UnsafeRawBufferPointer) -> Int {
        let upstream = self.upstream(slot)
        let generation = channels[slot].pointee.generation
        let input = bytes.bindMemory(to: UInt8.self).span
        var offset = 0
        while isOpen(slot, generation), offset <= input.count {
            switch upstream.pointee.phase {
            case .connecting, .idle, .multiplexing, .ended:
                if offset < input.count {
                    // Nothing was asked: such a connection is never used again.
                    surplus(slot)
                }
                return input.count
            case .awaitingHead:
                guard offset < input.count,
                    let used = parseAnswerHead(slot, input.extracting(offset...))
                else { return offset }
                offset += used
            case .receivingBody:
                guard let used = parseAnswerBody(slot, input.extracting(offset...)) else {
                    return offset
                }
                offset += used
            case .tunnel:
                if offset < input.count { tunnelDown(slot, input.extracting(offset...)) }
                return input.count
            }
        }
        return min(offset, input.count)
    }

    private func parseAnswerHead(_ slot: Int, _ input: Span<UInt8>) -> Int? {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        let state = exchanges[exchange]
        guard state.pointee.flags.contains(.prefixSent) || state.pointee.elder == Int32(slot) else {
            // An answer before the question.
            surplus(slot)
            return input.count
        }
        upstream.pointee.answerStarted = true
        if exchanges[exchange].pointee.times.answered.nanoseconds == 0 {
            exchanges[exchange].pointee.times.answered = now
        }
        do {
            guard
                let count = try upstream.pointee.scanner.scan(
                    input, limits: snapshot.responseLimits)
            else { return nil }
            let head = input.extracting(0..<count)
            upstream.pointee.scanner = HeadScanner(.response)
            try HTTP1Parser.parseResponse(
                head, requestMethod: exchanges[exchange].pointee.method,
                upgrade: exchanges[exchange].pointee.upgrade,
                into: &responseHead, limits: snapshot.responseLimits)
            guard settleHedge(slot, exchange) else { return input.count }
            if responseHead.isInterim {
                return interim(slot, exchange, head) ? count : input.count
            }
            answerHead(slot, exchange, head)
            return count
        } catch {
            block.addViolation(error.rawValue)
            exchanges[exchange].pointee.violation = error.rawValue
            upstreamFailed(slot, .upstreamBadResponse)
            return input.count
        }
    }

    /// 1xx answers go to clients that can have them, a bounded number (BEHAVIOUR: 21).
    ///
    /// - Returns: false if there were too many.
    func interim(_ slot: Int, _ exchange: Int, _ head: Span<UInt8>) -> Bool {
        let upstream = self.upstream(slot)
        upstream.pointee.interimCount += 1
        exchanges[exchange].pointee.times.answered = Instant(nanoseconds: 0)
        guard upstream.pointee.interimCount <= 16 else {
            upstreamFailed(slot, .upstreamBadResponse)
            return false
        }
        // A 100 was sent on our own account already.
        guard exchanges[exchange].pointee.clientMinor > 0, responseHead.status != 100 else {
            return true
        }
        let client = Int(exchanges[exchange].pointee.downstream)
        if isStream(client) {
            if submitAnswer(client, head, framing: .none, isInterim: true) {
                touchHTTP2(transport(client))
                block.add(.responses1xx)
            }
            return true
        }
        var writer = ByteWriter(stageSpace(client, head.count + 256))
        if HTTP1Writer.writeInterim(responseHead, from: head, into: &writer) {
            staged(writer.count)
            block.add(.responses1xx)
        }
        return true
    }

    /// The answer's head is complete and in `responseHead`; it goes down with our own framing.
    // hot: once per request; no allocation.
    func answerHead(_ slot: Int, _ exchange: Int, _ head: Span<UInt8>) {
        let upstream = self.upstream(slot)
        let state = exchanges[exchange]
        if retriesAnswer(slot, exchange, status: responseHead.status) { return }
        let client = Int(state.pointee.downstream)
        let downstream = downstreams[client]
        upstream.pointee.keepAlive = responseHead.keepAlive
        if !state.pointee.flags.contains(.requestComplete) || isDismissing || phase == .draining {
            downstream.pointee.closesAfterAnswer = true
        }
        // Any 2xx would tell the client of an extended CONNECT that it has its tunnel (RFC 8441).
        if responseHead.status / 100 == 2, isStream(client),
            stream(client).pointee.flags.contains(.extendedConnect)
        {
            upstreamFailed(slot, .upstreamBadResponse)
            return
        }
        let framing = responseHead.framing(clientMinor: state.pointee.clientMinor)
        if framing.isUntilClose { downstream.pointee.closesAfterAnswer = true }
        state.pointee.answerFraming = framing
        state.pointee.status = responseHead.status
        state.pointee.phase = .answering
        noteAnswer(exchange, slot, status: responseHead.status)
        dropPrefix(exchange)
        guard writeAnswerHead(client, head, framing: framing) else {
            // Nothing of it has gone down.
            state.pointee.phase = .forwarding
            upstreamFailed(slot, .internalError)
            return
        }
        if responseHead.dropsTrailers { state.pointee.flags.insert(.dropsAnswerTrailers) }
        if responseHead.isUpgradeAccepted {
            countStatus(responseHead.status)
            joinTunnel(slot, exchange)
            return
        }
        upstream.pointee.decoder = BodyDecoder(framing: responseHead.framing)
        upstream.pointee.phase = .receivingBody
        awaitContent(slot)
    }

    /// - Returns: false if there is no room for it.
    private func writeAnswerHead(
        _ client: Int, _ head: Span<UInt8>, framing: BodyFraming
    ) -> Bool {
        if isStream(client) {
            return submitAnswer(client, head, framing: framing, isInterim: false)
        }
        let state = exchanges[Int(downstreams[client].pointee.exchange)]
        let context = ResponseContext(
            framing: framing, clientMinor: state.pointee.clientMinor,
            keepAlive: !downstreams[client].pointee.closesAfterAnswer)
        let cookie = stickyCookie(client)
        let setting = cookie.bindMemory(to: UInt8.self).span
        if state.pointee.rules >= 0 {
            return writeAnswerHead(client, head, context, setting)
        }
        var writer = ByteWriter(stageSpace(client, head.count + cookie.count + 512))
        guard
            HTTP1Writer.writeResponse(
                responseHead, from: head, context: context, setting: setting, into: &writer)
        else { return false }
        unsentAnswer = stageCount
        staged(writer.count)
        return true
    }

    /// The same where rules may change it.
    @inline(never)
    private func writeAnswerHead(
        _ client: Int, _ head: Span<UInt8>, _ context: ResponseContext, _ setting: Span<UInt8>
    ) -> Bool {
        withAnswerRules(client) { rules, kept, growth in
            var writer = ByteWriter(
                stageSpace(client, head.count + setting.count + growth + 512))
            let isWritten =
                if let rules {
                    HTTP1Writer.writeResponse(
                        responseHead, from: head, context: context, setting: setting, by: rules,
                        kept: kept, into: &writer)
                } else {
                    HTTP1Writer.writeResponse(
                        responseHead, from: head, context: context, setting: setting,
                        into: &writer)
                }
            guard isWritten else { return false }
            unsentAnswer = stageCount
            staged(writer.count)
            return true
        }
    }

    /// The answer's next piece has to come in time.
    func awaitContent(_ slot: Int) {
        setDeadline(
            slot, .body,
            pools[Int(upstream(slot).pointee.pool)]?.settings.bodyTimeout
                ?? snapshot.timeouts.body)
    }

    private func parseAnswerBody(_ slot: Int, _ input: Span<UInt8>) -> Int? {
        let upstream = self.upstream(slot)
        let exchange = Int(upstream.pointee.exchange)
        do {
            let (step, used) = try upstream.pointee.decoder.next(
                input, limits: snapshot.responseLimits)
            switch step {
            case .data(let start, let count):
                awaitContent(slot)
                exchanges[exchange].pointee.sent &+= UInt64(count)
                stageBody(
                    Int(exchanges[exchange].pointee.downstream),
                    input.extracting(start..<start + count),
                    isChunked: exchanges[exchange].pointee.answerFraming.isChunked)
            case .trailers(let start, let count):
                let bytes = input.extracting(start..<start + count)
                try HTTP1Parser.parseTrailers(
                    bytes, into: &trailerFields, limits: snapshot.responseLimits)
                answerEnded(slot, exchange, trailers: bytes)
            case .needMore: return used > 0 ? used : nil
            case .end: answerEnded(slot, exchange, trailers: nil)
            }
            return used
        } catch {
            block.addViolation(error.rawValue)
            exchanges[exchange].pointee.violation = error.rawValue
            upstreamFailed(slot, .upstreamBadResponse)
            return input.count
        }
    }

    func answerEnded(_ slot: Int, _ exchange: Int, trailers: Span<UInt8>?) {
        let client = Int(exchanges[exchange].pointee.downstream)
        let dropsTrailers = exchanges[exchange].pointee.flags.contains(.dropsAnswerTrailers)
        let trailers = dropsTrailers ? nil : trailers
        if isStream(client) {
            endContent(client, trailers: trailers, isRequest: false)
        } else if exchanges[exchange].pointee.answerFraming.isChunked {
            var writer = ByteWriter(stageSpace(client, lastChunkBytes(trailers)))
            guard writeLastChunk(trailers, isRequest: false, exchange, &writer) else {
                upstreamFailed(slot, .internalError)
                return
            }
            staged(writer.count)
        }
        upstream(slot).pointee.phase = .ended
        finishExchange(exchange)
    }

    // MARK: - Ends

    /// The upstream has sent its end.
    func upstreamEnded(_ slot: Int) {
        let upstream = self.upstream(slot)
        let isTLS = channels[slot].pointee.flags.contains(.isTLS)
        let isClean = !isTLS || channels[slot].pointee.flags.contains(.closeNotified)
        switch upstream.pointee.phase {
        case .idle: closeIdleUpstream(slot)
        case .multiplexing: upstreamFailed(slot, .upstreamClosedEarly)
        case .ended: terminate(slot)
        case .connecting: upstreamFailed(slot, .upstreamTLSFailed)
        case .awaitingHead: upstreamFailed(slot, .upstreamClosedEarly)
        case .receivingBody:
            // Over TLS only close_notify ends a body; a bare FIN may be an attacker's.
            guard upstream.pointee.decoder.canEndByClose, isClean else {
                upstreamFailed(slot, .upstreamTruncated)
                return
            }
            upstream.pointee.keepAlive = false
            answerEnded(slot, Int(upstream.pointee.exchange), trailers: nil)
        case .tunnel: relayEnded(Int(upstream.pointee.exchange), .upstreamEnded, isClean: isClean)
        }
    }

    private func surplus(_ slot: Int) {
        block.add(.upstreamSurplusBytes)
        if upstream(slot).pointee.phase == .idle {
            closeIdleUpstream(slot)
        } else if upstream(slot).pointee.exchange >= 0 {
            upstreamFailed(slot, .upstreamBadResponse)
        } else {
            terminate(slot)
        }
    }

    /// Bytes left by a slow upstream may go on.
    func upstreamDrained(_ slot: Int) {
        let exchange = Int(upstream(slot).pointee.exchange)
        shutIfDue(slot)
        // The handshake goes on; nothing is wanted from the client for it.
        guard exchange >= 0, upstream(slot).pointee.phase != .connecting else { return }
        moveTunnelDeadline(slot)
        resumeBody(exchange)
        if upstream(slot).pointee.phase == .receivingBody {
            awaitContent(slot)
        }
        if exchanges[exchange].pointee.flags.contains(.requestComplete),
            !channels[slot].pointee.flags.contains(.sendFailed),
            upstream(slot).pointee.phase == .awaitingHead,
            let pool = pools[Int(upstream(slot).pointee.pool)]
        {
            exchanges[exchange].pointee.times.sent = now
            awaitHead(exchange, slot, pool)
        }
    }

    // MARK: - Giving back

    /// The exchange is over: its connection goes back to the pool, or is closed.
    func releaseUpstream(_ exchange: Int, isReusable: Bool) {
        let slot = Int(exchanges[exchange].pointee.upstream)
        guard slot >= 0 else { return }
        unassign(exchange)
        if isStream(slot) {
            releaseUpstreamStream(slot, isReusable: isReusable)
            return
        }
        let upstream = self.upstream(slot)
        upstream.pointee.exchange = -1
        // Others wait for it.
        if upstream.pointee.phase == .connecting, upstream.pointee.isShared { return }
        poolConnection(slot, isReusable: isReusable)
    }

    /// The connection goes to its pool, or is closed.
    func poolConnection(_ slot: Int, isReusable: Bool) {
        let upstream = self.upstream(slot)
        let channel = channels[slot]
        let isSound =
            isReusable && upstream.pointee.phase == .ended && upstream.pointee.keepAlive
            && !upstream.pointee.namesClient
            && pools[Int(upstream.pointee.pool)]?.settings.sendsProxyHeader == false
            && upstream.pointee.held == nil && channel.pointee.output.isEmpty
            && channel.pointee.stash.isEmpty && channel.pointee.backlogged == 0
            && phase != .draining
            && block.value(.upstreamConnectionsIdle) < UInt64(setup.connectionsMax)
            && channel.pointee.flags.isDisjoint(
                with: [.peerEnded, .broken, .tlsFailed, .sendFailed])
        guard isSound, let pool = pools[Int(upstream.pointee.pool)],
            pool.putIdle(Int32(slot), Int(upstream.pointee.member))
        else {
            upstream.pointee.phase = .ended
            terminate(slot)
            return
        }
        upstream.pointee.phase = .idle
        upstream.pointee.idleSince = now
        block.add(.upstreamConnectionsIdle)
        setDeadline(slot, .idle, pool.settings.idleTimeout)
        resumeInput(slot)
        callQueue(pool)
    }

    /// Closes a connection that is in its pool.
    func closeIdleUpstream(_ slot: Int) {
        let upstream = self.upstream(slot)
        guard upstream.pointee.phase == .idle else { return }
        pools[Int(upstream.pointee.pool)]?.removeIdle(
            Int32(slot), Int(upstream.pointee.member))
        endIdle(slot)
    }

    /// Closes a connection that has been taken out of its pool.
    func endIdle(_ slot: Int) {
        block.subtract(.upstreamConnectionsIdle)
        upstream(slot).pointee.phase = .ended
        if let session = channels[slot].pointee.session {
            session.closeNotify()
            flushWire(slot)
        }
        terminate(slot)
    }

    func releaseUpstreamSlot(_ slot: Int) {
        let upstream = self.upstream(slot)
        if let held = upstream.pointee.held { chunks.give(held) }
        upstream.pointee.held = nil
        sharedConnectEnded(slot)
        noteClaimed(slot)
        discharge(slot)
        if let pool = pools[Int(upstream.pointee.pool)] {
            pool.group.members.closed(Int(upstream.pointee.member))
            callQueue(pool)
        }
        upstreamSlots.give(slot - upstreamBase)
        block.subtract(.upstreamConnectionsOpen)
    }
}
