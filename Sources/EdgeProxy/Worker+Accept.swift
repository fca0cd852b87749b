internal import CEdge
internal import EdgeCore
internal import EdgeHTTP1
internal import EdgeRing
internal import Glibc

func currentThreadID() -> Int32 { ce_gettid() }

/// Step 1 of a request: connections come in. Listeners are polled and accepted from, rather than
/// accepted by the ring: a process that dies then loses only what it has in hand.
extension Worker {
    private func listenerToken(_ index: Int) -> CompletionToken {
        CompletionToken(slot: index, generation: 0, operation: .incoming)
    }

    /// Watches all listeners and takes what is queued already.
    func startServing() {
        // While polls are being cancelled, a second one of the same name would be cancelled too.
        guard phase == .waiting || phase == .closed else { return }
        phase = .serving
        for index in setup.listeners.indices { watchListener(index) }
        acceptFromAll()
        // A look soon after: a predecessor that is still being torn down may eat our wake-ups.
        nextHousekeeping = min(nextHousekeeping, now.advanced(byNanoseconds: 40_000_000))
    }

    private func watchListener(_ index: Int) {
        ring.watchIncoming(listenerToken(index), on: setup.listeners[index].descriptor)
        listenersArmed += 1
    }

    func stopAccepting() {
        guard phase == .serving || phase == .waiting else { return }
        let wasServing = phase == .serving
        phase = .closing
        if wasServing {
            for index in setup.listeners.indices {
                ring.cancel(
                    CompletionToken(slot: index, generation: 1, operation: .incoming),
                    listenerToken(index))
                // Its end is awaited as well: its name may be needed again.
                listenersArmed += 1
            }
        }
        finishStopIfIdle()
    }

    func completeIncoming(_ index: Int, _ completion: Completion) {
        // Generation 1 is the cancel itself.
        guard completion.token.generation == 0 else {
            listenersArmed -= 1
            finishStopIfIdle()
            return
        }
        let isSound =
            completion.result > 0 && completion.result & Int32(POLLERR | POLLHUP) == 0
        if !completion.hasMore {
            listenersArmed -= 1
            // A listener that is shut reports that without end: look again later.
            if phase == .serving {
                if isSound { watchListener(index) } else { listenersLost.append(index) }
            }
        }
        if phase == .serving, isSound { accept(from: index) }
        finishStopIfIdle()
    }

    private func finishStopIfIdle() {
        guard phase == .closing, listenersArmed == 0 else { return }
        // What the kernel has queued by now is served; nothing is left to be reset.
        for _ in 0..<64 {
            acceptFromAll()
            if acceptPending != .now { break }
        }
        phase = .closed
        report(.drained(worker: setup.index))
    }

    func watchLostListeners() {
        let lost = listenersLost
        listenersLost = []
        for index in lost { watchListener(index) }
    }

    func acceptFromAll() {
        acceptPending = .no
        for index in setup.listeners.indices { accept(from: index) }
    }

    /// Accepts until the queue is empty, the turn is over, or something has run out.
    func accept(from index: Int) {
        let (listener, descriptor) = setup.listeners[index]
        for _ in 0..<Worker.acceptsPerTurn {
            let (accepted, peer) = ring.accept(from: descriptor)
            if accepted < 0 {
                noteAcceptError(-accepted)
                return
            }
            open(accepted, peer, listener: listener)
        }
        acceptPending = .now
    }

    private func acceptLater() {
        guard acceptPending != .now else { return }
        acceptPending = .at(now.advanced(byNanoseconds: Worker.acceptPause))
    }

    private func noteAcceptError(_ number: Int32) {
        switch number {
        case EAGAIN, EINTR, ECONNABORTED, EPROTO: break
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            // Out of descriptors or memory: clients wait in the queue, we try again soon.
            acceptLater()
            block.add(.acceptErrors)
            block.add(.descriptorLimit)
        default: block.add(.acceptErrors)
        }
    }

    private func open(_ descriptor: Int32, _ peer: SocketAddress?, listener: Int) {
        guard let peer, let slot = downstreamSlots.take() else {
            // Told at once, so that the client can go elsewhere.
            ring.close(descriptor, reset: true)
            block.add(.connectionsRefused)
            block.add(.connectionLimit)
            if accessLog.isOn { logRefused(peer, listener: listener, .connectionLimit) }
            return
        }
        let place = view(of: descriptor, peer, listener: listener)
        guard place.number >= 0 else {
            downstreamSlots.give(slot)
            ring.close(descriptor, reset: true)
            block.add(.connectionsRefused)
            block.add(place.refusal)
            if accessLog.isOn { logRefused(peer, listener: listener, place.refusal) }
            return
        }
        let isTLS = snapshot.listeners[listener].isTLS
        openChannel(slot, descriptor, isTLS ? .handshaking : .established)
        downstreams[slot].pointee = Downstream(
            phase: .awaitingHead, closesAfterAnswer: false, headStarted: false,
            listener: UInt16(listener), view: UInt16(place.number), exchange: -1,
            scanner: HeadScanner(.request),
            decoder: BodyDecoder(framing: .none), held: nil, peer: peer, requestCount: 0)
        block.add(.connectionsAccepted)
        block.add(.connectionsOpen)
        block.opened(listener: listener)
        traffic.opened(view: UInt16(place.number))
        beginPreface(slot)
    }
}
