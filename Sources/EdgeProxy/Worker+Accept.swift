internal import CEdge
internal import EdgeCore
internal import EdgeHTTP1
internal import EdgeRing
internal import Glibc

/// A listening socket that a worker serves, or is leaving.
struct ServedSocket {
    var listener: Int
    let descriptor: Int32
    /// Polls and their cancels that are in the kernel.
    var armed = 0
    var isLeaving = false

    init(_ socket: ListeningSocket) {
        listener = socket.listener
        descriptor = socket.descriptor
    }
}

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
        for index in sockets.indices { watchListener(index) }
        acceptFromAll()
        // A look soon after: a predecessor that is still being torn down may eat our wake-ups.
        nextHousekeeping = min(nextHousekeeping, now.advanced(byNanoseconds: 40_000_000))
    }

    private func watchListener(_ index: Int) {
        guard let socket = sockets[index], !socket.isLeaving else { return }
        ring.watchIncoming(listenerToken(index), on: socket.descriptor)
        sockets[index]?.armed += 1
    }

    private func cancelListener(_ index: Int) {
        ring.cancel(
            CompletionToken(slot: index, generation: 1, operation: .incoming),
            listenerToken(index))
        // Its end is awaited as well: its name may be needed again.
        sockets[index]?.armed += 1
    }

    func stopAccepting() {
        guard phase == .serving || phase == .waiting else { return }
        let wasServing = phase == .serving
        phase = .closing
        if wasServing {
            for index in sockets.indices where sockets[index]?.isLeaving == false {
                cancelListener(index)
            }
        }
        finishStopIfIdle()
    }

    /// These are served from now on, and those of `keeping` as they were.
    func listen(on wanted: [ListeningSocket], keeping: [Int32]) {
        for index in sockets.indices {
            guard let socket = sockets[index], !socket.isLeaving else { continue }
            if let same = wanted.first(where: { $0.descriptor == socket.descriptor }) {
                sockets[index]?.listener = same.listener
            } else if !keeping.contains(socket.descriptor) {
                sockets[index]?.isLeaving = true
                if phase == .serving, socket.armed > 0 { cancelListener(index) }
                leaveIfIdle(index)
            }
        }
        for socket in wanted
        where !sockets.contains(where: {
            $0?.descriptor == socket.descriptor && $0?.isLeaving == false
        }) {
            let index = sockets.firstIndex { $0 == nil } ?? sockets.count
            if index == sockets.count { sockets.append(nil) }
            sockets[index] = ServedSocket(socket)
            guard phase == .serving else { continue }
            watchListener(index)
            accept(from: index)
        }
    }

    /// A socket that is to be left is, as soon as nothing of it is in the kernel: what is queued
    /// is served, so that nothing is left to be reset.
    private func leaveIfIdle(_ index: Int) {
        guard let socket = sockets[index], socket.isLeaving, socket.armed == 0 else { return }
        for _ in 0..<64 where phase != .stopped {
            let before = acceptPending
            acceptPending = .no
            accept(from: index)
            let isMore = acceptPending == .now
            if before != .no { acceptPending = before }
            if !isMore { break }
        }
        sockets[index] = nil
        report(.left(worker: setup.index, descriptor: socket.descriptor))
    }

    func completeIncoming(_ index: Int, _ completion: Completion) {
        // Generation 1 is the cancel itself.
        guard completion.token.generation == 0 else {
            sockets[index]?.armed -= 1
            leaveIfIdle(index)
            finishStopIfIdle()
            return
        }
        let isSound =
            completion.result > 0 && completion.result & Int32(POLLERR | POLLHUP) == 0
        if !completion.hasMore {
            sockets[index]?.armed -= 1
            // A listener that is shut reports that without end: look again later.
            if phase == .serving, sockets[index]?.isLeaving == false {
                if isSound { watchListener(index) } else { listenersLost.append(index) }
            }
        }
        if phase == .serving, isSound {
            // Newcomers come behind whoever is here.
            if shedsLoad { acceptPending = .now } else { accept(from: index) }
        }
        leaveIfIdle(index)
        finishStopIfIdle()
    }

    private func finishStopIfIdle() {
        guard phase == .closing, sockets.allSatisfy({ $0 == nil || $0?.armed == 0 }) else { return }
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
        for index in lost where sockets[index]?.armed == 0 { watchListener(index) }
    }

    /// Who matters more comes first.
    func acceptFromAll() {
        acceptPending = .no
        guard shedsLoad else {
            for index in sockets.indices { accept(from: index) }
            return
        }
        for rank in UInt8(0)...2 {
            for index in sockets.indices where self.rank(of: index) == rank { accept(from: index) }
        }
    }

    private func rank(of index: Int) -> UInt8 {
        guard let listener = sockets[index]?.listener, listener < listenerRanks.count else {
            return 1
        }
        return listenerRanks[listener]
    }

    /// Accepts until the queue is empty, the turn is over, or something has run out.
    func accept(from index: Int) {
        guard let socket = sockets[index] else { return }
        let (listener, descriptor) = (socket.listener, socket.descriptor)
        // What is left in the queue of a socket that is left would be lost.
        let mayWait = phase == .serving && !socket.isLeaving
        let end =
            shedsLoad && mayWait ? clock().advanced(byNanoseconds: Worker.lowPriorityTime) : .never
        for count in 0..<Worker.acceptsPerTurn {
            guard !mayWait || hasRoom() else { return }
            if count & 3 == 3, end != .never, clock() >= end { break }
            let (accepted, peer) = ring.accept(from: descriptor)
            if accepted < 0 {
                noteAcceptError(-accepted)
                return
            }
            open(accepted, peer, listener: listener)
        }
        acceptPending = .now
    }

    /// Not before descriptors may be free again.
    func acceptLater() {
        guard acceptPending != .now else { return }
        acceptPending = .at(now.advanced(byNanoseconds: Worker.acceptPause))
    }

    private func noteAcceptError(_ number: Int32) {
        switch number {
        case EAGAIN, EINTR, ECONNABORTED, EPROTO: break
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            // Out of descriptors or memory: clients wait in the queue, we try again soon, or as
            // soon as somebody has gone.
            acceptLater()
            evictForDescriptors()
            block.add(.acceptErrors)
            block.add(.descriptorLimit)
        default: block.add(.acceptErrors)
        }
    }

    private func open(_ descriptor: Int32, _ peer: SocketAddress?, listener: Int) {
        guard let peer, let slot = downstreamSlots.take() else {
            refuse(descriptor, peer, listener: listener, .connectionLimit)
            return
        }
        let place = view(of: descriptor, peer, listener: listener)
        var refusal = place.number < 0 ? place.refusal : refusal(view: place.number)
        guard refusal == .none, place.number >= 0 else {
            downstreamSlots.give(slot)
            refuse(descriptor, peer, listener: listener, refusal)
            return
        }
        let plan = snapshot.routing.connections.arrival(view: place.number, listener: listener)
        if plan >= 0, snapshot.routing.views[place.number]?.requiresProxyHeader == false,
            let limit = connectionRefusal(slot, peer, plan)
        {
            refusal = limit.reason
            refusingPolicy = accessLog.isOn ? limit.policy : -1
        } else if !hasPlace(isLow: shedsLoad && isLow(view: place.number)) {
            // Last: nobody has to go for a client who may not come.
            leaveConnectionCounts(slot)
            refusal = .connectionLimit
        }
        guard refusal == .none else {
            downstreamSlots.give(slot)
            refuse(descriptor, peer, listener: listener, view: place.number, refusal)
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
        listNew(slot)
        beginPreface(slot)
    }
    /// Resets a connection that nothing is known of yet: told at once, its client can go elsewhere.
    private func refuse(
        _ descriptor: Int32, _ peer: SocketAddress?, listener: Int,
        view: Int = AccessLine.noView, _ reason: ReasonCode
    ) {
        ring.close(descriptor, reset: true)
        block.add(.connectionsRefused)
        block.add(reason)
        if accessLog.isOn { logRefused(peer, listener: listener, view: view, reason) }
    }
}
