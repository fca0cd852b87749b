internal import EdgeCore
internal import EdgeUpstream

/// Requests that wait because every server of their upstream has as much to do as it may have:
/// bounded in number and time, first come first served, per worker and pool. Where views differ,
/// those of low priority come last, and take no place from the others.
extension Worker {
    /// Puts the exchange into its pool's queue, or refuses it.
    ///
    /// - Parameter isBounded: false for one that waits for a connection which is being made, as it
    ///   would for one of its own.
    func enqueue(_ exchange: Int, _ pool: UpstreamPool, isBounded: Bool = true) {
        guard !isBounded || hasPlace(exchange, pool) else {
            failExchange(exchange, .upstreamQueueFull)
            return
        }
        if precedes(exchange) {
            putInQueue(exchange, pool, after: pool.queueLastPreceding)
            notePreceding(exchange, pool)
            pool.queueLastPreceding = Int32(exchange)
        } else {
            putInQueue(exchange, pool, after: pool.queueLast)
        }
        noteQueued(exchange, pool)
    }

    /// It is not of low priority, where some are.
    func precedes(_ exchange: Int) -> Bool {
        shedsLoad && !isLowPriority(Int(exchanges[exchange].pointee.downstream))
    }

    /// - Parameter previous: -1: in front.
    private func putInQueue(_ exchange: Int, _ pool: UpstreamPool, after previous: Int32) {
        let state = exchanges[exchange]
        let next =
            previous >= 0 ? exchanges[Int(previous)].pointee.queueNext : pool.queueFirst
        state.pointee.flags.insert(.queued)
        state.pointee.queuePrevious = previous
        state.pointee.queueNext = next
        if previous >= 0 {
            exchanges[Int(previous)].pointee.queueNext = Int32(exchange)
        } else {
            pool.queueFirst = Int32(exchange)
        }
        if next >= 0 {
            exchanges[Int(next)].pointee.queuePrevious = Int32(exchange)
        } else {
            pool.queueLast = Int32(exchange)
        }
    }

    private func notePreceding(_ exchange: Int, _ pool: UpstreamPool) {
        exchanges[exchange].pointee.flags.insert(.precedes)
        pool.queuePreceding += 1
    }

    /// Puts an exchange whose connection has died in front, of those of its priority: the room that
    /// this makes is its own. As many as there are connections at most, beside those that the
    /// queue's bound allows.
    func enqueueFirst(_ exchange: Int, _ pool: UpstreamPool) {
        if precedes(exchange) {
            putInQueue(exchange, pool, after: -1)
            notePreceding(exchange, pool)
            if pool.queueLastPreceding < 0 { pool.queueLastPreceding = Int32(exchange) }
        } else {
            putInQueue(exchange, pool, after: pool.queueLastPreceding)
        }
        noteQueued(exchange, pool)
    }

    /// The exchange may wait, too.
    func hasPlace(_ exchange: Int, _ pool: UpstreamPool) -> Bool {
        (precedes(exchange) ? pool.queuePreceding : pool.queueCount) < pool.settings.queueMax
    }

    /// Nobody else may serve the exchange, but a connection that is late may still come.
    func awaitsLate(_ exchange: Int, _ pool: UpstreamPool) -> Bool {
        let late = late(exchange, pool) & ~exchanges[exchange].pointee.tried
        guard late != 0 else { return false }
        return pool.group.members.members.indices.contains {
            late & MemberTable.bit($0) != 0 && pool.group.members.isKept($0)
        }
    }

    /// Without a descriptor for a connection of its own an exchange waits for one that others of
    /// its upstream use now, and clients that nobody has accepted wait as well.
    ///
    /// - Parameter members: bits of those that could not be connected to for that reason; they are
    ///   tried again.
    /// - Returns: false if there is none to wait for.
    func awaitsDescriptor(_ exchange: Int, _ pool: UpstreamPool, _ members: UInt64) -> Bool {
        acceptLater()
        let state = exchanges[exchange]
        guard state.pointee.rival < 0, hasPlace(exchange, pool),
            pool.group.members.members.contains(where: { $0.connectionCount > 0 })
        else { return false }
        state.pointee.tried &= ~members
        state.pointee.attempts -= UInt8(truncatingIfNeeded: members.nonzeroBitCount)
        enqueue(exchange, pool)
        return true
    }

    /// The time in the queue is over. A connection of its own may still come.
    func queueDue(_ exchange: Int) {
        leaveQueue(exchange)
        if !returnToRival(exchange) { failExchange(exchange, .upstreamQueueTimeout) }
    }

    private func noteQueued(_ exchange: Int, _ pool: UpstreamPool) {
        pool.queueCount += 1
        pool.group.waiting += 1
        block.add(.requestsWaiting)
        setDeadline(
            Int(exchanges[exchange].pointee.downstream), .queue,
            min(pool.settings.queueTimeout, timeLeft(exchange, pool)))
    }

    /// The deadline for a client that took nothing has stood in place of the queue's.
    func resumeQueueDeadline(_ exchange: Int) {
        let state = exchanges[exchange]
        guard state.pointee.flags.contains(.queued), let pool = pools[Int(state.pointee.pool)]
        else { return }
        setDeadline(Int(state.pointee.downstream), .queue, pool.settings.queueTimeout)
    }

    /// Takes the exchange out of its queue, if it is in one.
    func leaveQueue(_ exchange: Int) {
        let state = exchanges[exchange]
        guard state.pointee.flags.contains(.queued), let pool = pools[Int(state.pointee.pool)]
        else { return }
        state.pointee.flags.remove(.queued)
        let next = state.pointee.queueNext
        let previous = state.pointee.queuePrevious
        if previous >= 0 {
            exchanges[Int(previous)].pointee.queueNext = next
        } else {
            pool.queueFirst = next
        }
        if next >= 0 {
            exchanges[Int(next)].pointee.queuePrevious = previous
        } else {
            pool.queueLast = previous
        }
        if state.pointee.flags.contains(.precedes) {
            state.pointee.flags.remove(.precedes)
            pool.queuePreceding -= 1
            if pool.queueLastPreceding == Int32(exchange) { pool.queueLastPreceding = previous }
        }
        pool.queueCount -= 1
        pool.group.waiting -= 1
        block.subtract(.requestsWaiting)
        let client = channels[Int(state.pointee.downstream)]
        guard client.pointee.deadlineKind == .queue else { return }
        client.pointee.deadlineKind = .none
        wheel.disarm(Int(state.pointee.downstream))
    }

    /// Something may have become free: the queue is looked at at the end of the turn.
    func callQueue(_ pool: UpstreamPool) {
        guard pool.group.waiting > 0 else { return }
        for pool in pool.group.pools { callOwnQueue(pool) }
    }

    /// Something may have become free for this pool alone.
    func callOwnQueue(_ pool: UpstreamPool) {
        guard pool.queueCount > 0, !pool.isCalled else { return }
        pool.isCalled = true
        queueAttention.append(pool.id)
    }

    func serveQueues() {
        // Serving one may call another; that one is in the list by then.
        var index = 0
        while index < queueAttention.count {
            if let pool = pools[Int(queueAttention[index])] { serveQueue(pool, preceding: true) }
            index += 1
        }
        index = 0
        while index < queueAttention.count {
            if let pool = pools[Int(queueAttention[index])] {
                pool.isCalled = false
                serveQueue(pool, preceding: true)
                serveQueue(pool, preceding: false)
            }
            index += 1
        }
        queueAttention.removeAll(keepingCapacity: true)
    }

    /// Everybody of one priority who can be served, in order. The first that has to go on waiting
    /// ends it.
    private func serveQueue(_ pool: UpstreamPool, preceding: Bool) {
        let count = preceding ? pool.queuePreceding : pool.queueCount - pool.queuePreceding
        for _ in 0..<count {
            let last = pool.queueLastPreceding
            let next =
                preceding || last < 0
                ? pool.queueFirst : exchanges[Int(last)].pointee.queueNext
            let exchange = Int(next)
            guard exchange >= 0, !preceding || last >= 0 else { return }
            let choice = choice(exchange, pool)
            if !pool.group.members.hasRoom(choice),
                pool.group.members.isWorthWaiting(choice) || awaitsLate(exchange, pool)
            {
                return
            }
            acquireUpstream(exchange, allowsReuse: true)
            // On a connection that was there already; else it is sent when it is.
            sendRequest(exchange)
        }
    }
}
