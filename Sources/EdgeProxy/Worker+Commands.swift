internal import EdgeCore
internal import EdgeLimits
internal import EdgeRing
internal import EdgeTLS

/// What the control thread asks for: snapshots, serving, draining, stopping.
extension Worker {
    func watchMail() {
        ring.readEvent(
            CompletionToken(slot: 0, generation: 0, operation: .mail), from: mailbox.descriptor,
            into: mailCell)
    }

    func handleMail() {
        for command in mailbox.takeAll() { handle(command) }
        if phase != .stopped { watchMail() }
    }

    package func handle(_ command: WorkerCommand) {
        switch command {
        case .apply(let snapshot):
            apply(snapshot)
            report(.applied(worker: setup.index, epoch: snapshot.epoch))
        case .listen(let sockets, let keeping): listen(on: sockets, keeping: keeping)
        case .serve: startServing()
        case .stopAccepting: stopAccepting()
        case .drain(let deadline, let isPatient): drain(until: deadline, isPatient: isPatient)
        case .dismissClients(let dismisses): dismissClients(dismisses)
        case .countRequests: countRequests()
        case .tellAdmitted(let ring): useAdmitted(ring)
        case .stop: phase = .stopped
        }
    }

    /// Swaps to a new snapshot between two events. Connections and pools whose key is the same are
    /// not touched.
    func apply(_ snapshot: RuntimeSnapshot) {
        let isRoutedAnew = snapshot.routing !== self.snapshot.routing || !isApplied
        isApplied = true
        let former = self.snapshot.listeners
        let texts = limits.texts
        let isLimitedAnew = snapshot.limits !== self.snapshot.limits
        if isLimitedAnew {
            tellLimits()
            limits = LimitPlans(copyOf: snapshot.limits)
        }
        self.snapshot = snapshot
        if isRoutedAnew { ruleTraits = snapshot.routing.ruleTraits }
        looksForTraces = snapshot.client.trace != .pass
        retireListeners(former)
        engine.use(snapshot.certificates, fallback: nil)
        rankListeners()
        if isRoutedAnew || isLimitedAnew { meterAnew(keepsTexts: texts == limits.texts) }
        if isRoutedAnew {
            engine.use(snapshot.routing.profiles)
            engine.helloJudge =
                snapshot.routing.connections.judgesHellos
                ? { [unowned self] in permitsHandshake($0, isResumed: $1) } : nil
            retireProfiles()
            learnInterfaces()
        }
        usePolicy(snapshot.tls)
        var isJudgedAnew = false
        var isCurrent = [Bool](repeating: false, count: pools.count)
        for settings in snapshot.pools {
            let id = Int(settings.id)
            while pools.count <= id {
                pools.append(nil)
                isCurrent.append(false)
            }
            isCurrent[id] = true
            // Others are made when they are first used.
            guard let pool = pools[id] else { continue }
            pool.update(settings)
            if pool.group.view !== settings.view {
                pool.group.use(settings.view, now: now)
                isJudgedAnew = true
            }
        }
        var retired: [UpstreamPool] = []
        for (id, pool) in pools.enumerated() {
            guard let pool else { continue }
            if !isCurrent[id], !pool.isRetired {
                pool.retire()
                leaveAllHTTP2(pool)
                retired.append(pool)
            }
            for slot in pool.takeStale(all: pool.isRetired) { endIdle(Int(slot)) }
            leaveMembers(pool)
            callOwnQueue(pool)
        }
        if isJudgedAnew { raceAgain() }
        if !retired.isEmpty {
            upstreamSessions.removeAll { !isCurrent[Int($0)] }
            retirePools(retired)
        }
        engine.keepClients(snapshot.clientPolicies)
        useAccessLog(of: snapshot)
        block.epoch = snapshot.epoch
        block.add(.snapshotsApplied)
    }

    /// The pool of this number, made now if this is its first use.
    ///
    /// - Returns: nil if there is none and the snapshot knows of none.
    func pool(_ id: Int) -> UpstreamPool? {
        if let known = pools[id] { return known }
        guard let settings = snapshot.pool(Int32(id)) else { return nil }
        let pool = UpstreamPool(settings, group(settings.view))
        pools[id] = pool
        return pool
    }

    private func group(_ view: UpstreamView) -> UpstreamGroup {
        let id = Int(view.id)
        while groups.count <= id { groups.append(nil) }
        if let known = groups[id] {
            if known.view !== view { known.use(view, now: now) }
            return known
        }
        let group = UpstreamGroup(
            view, turn: setup.index - 1, row: traffic.upstream(view.id), now: now)
        groups[id] = group
        return group
    }

    // MARK: - Leaving

    private func drain(until deadline: Instant, isPatient: Bool) {
        guard phase != .stopped else { return }
        phase = .draining
        drainDeadline = deadline
        self.isPatient = isPatient
        let idle = isPatient ? deadline.nanoseconds(since: now) / 2 : 0
        for slot in 0..<downstreamSlots.touched { askToLeave(slot, idleFor: idle) }
        for pool in pools {
            guard let pool else { continue }
            for slot in pool.takeStale(all: true) { endIdle(Int(slot)) }
            leaveAllHTTP2(pool)
        }
        checkDrained()
    }

    /// A connection between two requests is closed; one in a request closes after its answer.
    ///
    /// - Parameter idle: nanoseconds for which the former may bring another request, which is the
    ///   last: closing at once meets requests that are on their way.
    func askToLeave(_ slot: Int, idleFor idle: UInt64 = 0) {
        let channel = channels[slot]
        switch channel.pointee.phase {
        case .free, .closing, .flushing, .connecting: return
        case .lingering:
            if !isStream(slot) { lingerBriefly(slot) }
            return
        case .handshaking, .established: break
        }
        if channel.pointee.http2 != nil {
            leaveHTTP2(slot)
            return
        }
        let downstream = downstreams[slot]
        let exchange = Int(downstream.pointee.exchange)
        let isPromised = exchange >= 0 && exchanges[exchange].pointee.phase == .answering
        // An answer that has begun has said already whether another request may follow.
        if idle == 0 || !isPromised { downstream.pointee.closesAfterAnswer = true }
        if channel.pointee.phase == .established, downstream.pointee.phase == .awaitingHead,
            !downstream.pointee.headStarted, downstream.pointee.held == nil,
            downstream.pointee.requestCount > 0
        {
            if idle > 0 {
                setDeadline(slot, .keepAlive, idle)
            } else if channel.pointee.backlogged > 0 {
                // Its next request is here.
                setDeadline(slot, .keepAlive, Worker.drainGrace)
            } else {
                closeDownstream(slot)
            }
        } else if downstream.pointee.requestCount == 0, !downstream.pointee.headStarted {
            // Its first request may be on the way; it does not have the whole drain's time.
            setDeadline(
                slot, channel.pointee.phase == .handshaking ? .handshake : .keepAlive,
                Worker.drainGrace)
        }
    }

    /// A client that does not close its end holds up a leaving worker no longer than it takes to
    /// know that it has got all.
    func lingerBriefly(_ slot: Int) {
        setDeadline(slot, .lingerBriefly, Worker.drainLinger)
    }

    /// Leaves the loop when the last client is gone, or at the deadline.
    func checkDrained() {
        guard phase == .draining else { return }
        if downstreamSlots.used == 0 || now >= drainDeadline {
            phase = .stopped
        } else {
            nextHousekeeping = min(nextHousekeeping, drainDeadline)
            dismissWebSockets()
        }
    }

    /// Shortly before what is left is cut.
    private func dismissWebSockets() {
        let end = drainDeadline.nanoseconds
        let begin = Instant(nanoseconds: end - min(end, Worker.drainLinger))
        guard now >= begin else {
            nextHousekeeping = min(nextHousekeeping, begin)
            return
        }
        for exchange in 0..<exchangeSlots.touched
        where exchanges[exchange].pointee.phase == .answering {
            _ = dismissWebSocket(exchange)
        }
    }

    /// The loop is over: nothing waits any more.
    func closeEverything() {
        for slot in 0..<downstreamSlots.touched where channels[slot].pointee.phase != .free {
            // An answer that is cut now must not look whole.
            let exchange = Int(downstreams[slot].pointee.exchange)
            if exchange >= 0 {
                downstreams[slot].pointee.exchange = -1
                abandon(exchange, .draining)
            }
            terminate(slot, reset: exchange >= 0)
        }
        for index in 0..<upstreamSlots.touched { terminate(upstreamBase + index) }
        dropBacklog()
        freeRetiredHTTP2()
        tellLimits()
        accessLog.leave()
    }
}
