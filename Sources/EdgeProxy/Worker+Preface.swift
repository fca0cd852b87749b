internal import EdgeCore
internal import EdgePreface
internal import EdgeTLS

/// What comes before TLS and HTTP: where a connection arrived decides its view, a PROXY header who
/// its client is, and a ClientHello whether TLS ends here at all. Nothing is kept of connections
/// whose view needs neither.
extension Worker {
    /// For a PROXY header: whoever forwards has it ready.
    static let proxyHeaderTime: UInt64 = 1_000_000_000

    /// A connection is taken: what it has to say first.
    func beginPreface(_ slot: Int) {
        guard let view = clientView(slot), view.requiresProxyHeader else {
            beginServing(slot)
            return
        }
        downstreams[slot].pointee.preface = .proxyHeader
        channels[slot].pointee.flags.insert(.awaitsPreface)
        setDeadline(slot, .proxyHeader, Worker.proxyHeaderTime)
        armReceive(slot)
    }

    /// Its client is known: whatever the listener is for begins.
    private func beginServing(_ slot: Int) {
        channels[slot].pointee.flags.remove(.awaitsPreface)
        downstreams[slot].pointee.preface = .none
        guard let view = clientView(slot) else {
            // A reload has taken it away: what its listener does is for others.
            downstreamFailed(slot, .noView)
            return
        }
        let listener = snapshot.listeners[Int(downstreams[slot].pointee.listener)]
        if let pool = listener.relayPool {
            passOn(slot, view, pool)
            return
        }
        guard listener.isTLS else {
            setDeadline(slot, .keepAlive, snapshot.timeouts.keepAlive)
            armReceive(slot)
            return
        }
        if view.looksAtHellos {
            channels[slot].pointee.flags.insert(.awaitsPreface)
            downstreams[slot].pointee.preface = .hello
        }
        channels[slot].pointee.flags.insert(.isTLS)
        setDeadline(slot, .clientHello, snapshot.client.clientHello)
        armReceive(slot)
    }

    /// Bytes go to the pool as they are, if the view's rules let the client have that.
    private func passOn(
        _ slot: Int, _ view: ClientView, _ pool: Int32, name: Span<UInt8> = Span(),
        site: Int32 = -1
    ) {
        guard view.admits(downstreams[slot].pointee.peer) else {
            downstreamFailed(slot, .clientForbidden)
            return
        }
        beginRelay(slot, pool, name: name, site: site)
    }

    /// Its place in the router; -1 if a reload has taken it away.
    @inline(__always)
    func viewIndex(_ slot: Int) -> Int {
        let number = Int(downstreams[slot].pointee.view)
        return number < snapshot.routing.viewIndexes.count
            ? Int(snapshot.routing.viewIndexes[number]) : -1
    }

    /// The view of a client's connection or stream; nil if a reload has taken it away.
    func clientView(_ slot: Int) -> ClientView? {
        let number = Int(downstreams[slot].pointee.view)
        return number < snapshot.routing.views.count ? snapshot.routing.views[number] : nil
    }

    // MARK: - Bytes

    private enum Progress {
        /// These have been dealt with, more have to come.
        case waits(Int)
        /// These have been dealt with, the rest is for what comes next.
        case over(Int)
        case closed
    }

    /// Bytes of a connection that is not begun yet. Few are ever kept: headers and hellos come in
    /// one piece, or hardly ever in two.
    ///
    /// - Returns: how many were taken; the rest is to be stashed.
    func consumePreface(_ slot: Int, _ bytes: UnsafeMutableRawPointer, count: Int) -> Int {
        if downstreams[slot].pointee.preface == .hello, defersHandshake(slot) { return 0 }
        let generation = channels[slot].pointee.generation
        guard let held = downstreams[slot].pointee.held else {
            switch readPreface(slot, bytes, count: count) {
            case .closed: return count
            case .waits(let used):
                keepPreface(slot, UnsafeRawBufferPointer(start: bytes + used, count: count - used))
                return count
            case .over(let used):
                guard isOpen(slot, generation), used < count,
                    channels[slot].pointee.flags.contains(.wantsInput)
                else { return used }
                return used + consume(slot, bytes + used, count: count - used)
            }
        }
        downstreams[slot].pointee.held = nil
        guard let joined = join(held, UnsafeRawBufferPointer(start: bytes, count: count)) else {
            downstreamFailed(slot, .memoryLimit)
            return count
        }
        continuePreface(slot, joined)
        return count
    }

    /// The chunk is out of the slot meanwhile.
    private func continuePreface(_ slot: Int, _ chunk: ChunkPointer) {
        let generation = channels[slot].pointee.generation
        switch readPreface(slot, chunk.waiting, count: chunk.count) {
        case .closed: break
        case .waits(let used):
            chunk.pointee.start += Int32(used)
            if chunk.count > 0 {
                downstreams[slot].pointee.held = chunk
                return
            }
        case .over(let used):
            chunk.pointee.start += Int32(used)
            guard isOpen(slot, generation), chunk.count > 0 else { break }
            if channels[slot].pointee.flags.contains(.wantsInput) {
                let taken = consume(slot, chunk.waiting, count: chunk.count)
                chunk.pointee.start += Int32(taken)
            }
            guard isOpen(slot, generation), chunk.count > 0 else { break }
            channels[slot].pointee.stash.pushFirst(chunk)
            return
        }
        chunks.give(chunk)
    }

    private func keepPreface(_ slot: Int, _ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        guard let chunk = chunks.take(bytes.count) else {
            downstreamFailed(slot, .memoryLimit)
            return
        }
        _ = chunk.append(start, count: bytes.count)
        downstreams[slot].pointee.held = chunk
    }

    private func readPreface(
        _ slot: Int, _ bytes: UnsafeMutableRawPointer, count: Int
    ) -> Progress {
        let generation = channels[slot].pointee.generation
        let input = UnsafeRawBufferPointer(start: bytes, count: count)
            .bindMemory(to: UInt8.self).span
        var used = 0
        if downstreams[slot].pointee.preface == .proxyHeader {
            switch ProxyHeader.read(input) {
            case .incomplete: return .waits(0)
            case .malformed:
                downstreamFailed(slot, .clientProxyHeaderInvalid)
                return .closed
            case .complete(let byteCount, let header):
                used = byteCount
                // Without an address it speaks for itself: a check of whoever forwards.
                if let source = header.source {
                    downstreams[slot].pointee.peer = source
                    guard admitsNamedClient(slot) else { return .closed }
                }
            }
            clearDeadline(slot)
            beginServing(slot)
            guard isOpen(slot, generation) else { return .closed }
        }
        guard downstreams[slot].pointee.preface == .hello else { return .over(used) }
        if used > 0, used < count, defersHandshake(slot) { return .over(used) }
        guard used < count else { return .waits(used) }
        hello.progress = downstreams[slot].pointee.helloProgress
        switch ClientHello.read(input.extracting(used...), into: &hello) {
        case .incomplete:
            downstreams[slot].pointee.helloProgress = hello.progress
            noteHelloIncomplete(slot)
            return .waits(used)
        case .malformed:
            // OpenSSL says what is wrong with it, and never that nothing is.
            judgeHello(slot, isSound: false)
        case .complete: judgeHello(slot, isSound: true)
        }
        return isOpen(slot, generation) ? .over(used) : .closed
    }

    // MARK: - ClientHello

    /// Passed on, or terminated here, and with which certificates.
    private func judgeHello(_ slot: Int, isSound: Bool) {
        guard let view = clientView(slot) else {
            downstreamFailed(slot, .noView)
            return
        }
        guard isSound else {
            endHello(slot, profile: view.profile, .refused)
            return
        }
        // The worker's own while it is asked: nothing on the way reads another one.
        let route = snapshot.routing.router.connection(
            view: view.index, serverName: hello.serverName, offers: { hello.offers($0) })
        switch route {
        case .passthrough(let pool, let site):
            guard admitsPassthrough(slot, view: view.index, site: site) else { return }
            channels[slot].pointee.flags.subtract([.isTLS, .awaitsPreface])
            channels[slot].pointee.phase = .established
            downstreams[slot].pointee.preface = .none
            clearDeadline(slot)
            passOn(slot, view, pool, name: hello.serverName, site: site)
        case .terminate(_, let profile): endHello(slot, profile: profile, .known)
        case .terminateUnknown(_, let profile): endHello(slot, profile: profile, .unknown)
        case .refuse: endHello(slot, profile: view.profile, .refused)
        }
    }

    /// TLS ends here.
    private func endHello(_ slot: Int, profile: Int32, _ name: NameKnowledge) {
        channels[slot].pointee.flags.remove(.awaitsPreface)
        downstreams[slot].pointee.preface = .none
        _ = startServerSession(slot, profile: profile, name)
    }

    /// The session is made when the first bytes come: a silent connection costs no TLS memory.
    func startServerSession(
        _ slot: Int, profile: Int32, _ name: NameKnowledge
    ) -> TLSSession? {
        guard admitsHandshake(slot) else { return nil }
        refreshTicketKeys()
        downstreams[slot].pointee.profile = profile
        guard
            let session = engine.makeServerSession(profile: Int(profile), name: name)
        else {
            markBroken(slot, clientView(slot) == nil ? .noView : .memoryLimit)
            return nil
        }
        channels[slot].pointee.session = session
        return session
    }
}
