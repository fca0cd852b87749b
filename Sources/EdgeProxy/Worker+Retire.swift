internal import EdgeCore

/// Something that has left the configuration and still has connections.
struct Retirement {
    enum What: Equatable {
        case listener(Int)
        case pool(Int32)
    }

    let what: What
    /// What is left by then is cut.
    let at: Instant
}

/// Numbers of listeners.
struct ListenerSet: BitwiseCopyable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    @inline(__always)
    func contains(_ listener: UInt16) -> Bool {
        (listener < 64 ? low : high) >> UInt64(listener & 63) & 1 == 1
    }

    mutating func insert(_ listener: Int) {
        let bit = UInt64(1) << UInt64(listener & 63)
        if listener < 64 { low |= bit } else { high |= bit }
    }
}

/// What a reload has taken away: it finishes what it has, until a deadline. What the reload has not
/// changed is not touched.
extension Worker {
    var retirementEnd: Instant { now.advanced(byNanoseconds: snapshot.timeouts.drain) }

    /// Connections of listeners that have left the configuration are asked to leave.
    func retireListeners(_ former: [RuntimeSnapshot.Listener]) {
        retiredListeners = ListenerSet()
        for (number, listener) in snapshot.listeners.enumerated() {
            if listener.isRetired { retiredListeners.insert(number) }
            let wasRetired = number < former.count && former[number].isRetired
            if !listener.isRetired {
                // A number that is given anew has no connections of its old meaning.
                retirements.removeAll { $0.what == .listener(number) }
            } else if !wasRetired {
                retirements.append(.init(what: .listener(number), at: retirementEnd))
                for slot in connections(of: number) {
                    askToLeave(slot, idleFor: snapshot.timeouts.drain / 2)
                }
            }
        }
    }

    /// Clients that were asked for a certificate by rules that there are no more would get 421 for
    /// ever; they are asked to leave.
    func retireProfiles() {
        for slot in 0..<downstreamSlots.touched where isProfileGone(slot) && !isStream(slot) {
            askToLeave(slot, idleFor: snapshot.timeouts.drain / 2)
        }
    }

    /// The handshake of a client's connection was made by a profile that there is no more.
    func isProfileGone(_ slot: Int) -> Bool {
        let number = Int(downstreams[slot].pointee.profile)
        let profiles = snapshot.routing.profiles
        guard number >= 0 else { return false }
        return !profiles.indices.contains(number) || profiles[number] == nil
    }

    /// Pools whose certificates have changed leave their requests to the pools that have come in
    /// their place, and what goes through them already ends by itself; others end at the deadline.
    func retirePools(_ retired: [UpstreamPool]) {
        var current: [Int32: Int32] = [:]
        for settings in snapshot.pools { current[settings.lineage] = settings.id }
        for pool in retired {
            guard let heir = current[pool.settings.lineage] else {
                retirements.append(.init(what: .pool(pool.id), at: retirementEnd))
                continue
            }
            for other in pools where other?.heir == pool.id { other?.bequeath(to: heir) }
            pool.bequeath(to: heir)
            while pool.queueFirst >= 0 {
                let exchange = Int(pool.queueFirst)
                leaveQueue(exchange)
                exchanges[exchange].pointee.pool = heir
                guard let heir = self.pool(Int(heir)) else {
                    failExchange(exchange, .noAddress)
                    continue
                }
                enqueue(exchange, heir, isBounded: false)
                callOwnQueue(heir)
            }
        }
        hasRetiredPools = true
    }

    /// The pool that an exchange asks from now on, if the one it has asked is there no more.
    func inherit(_ exchange: Int, from pool: UpstreamPool) -> UpstreamPool {
        guard pool.heir >= 0, let heir = self.pool(Int(pool.heir)) else { return pool }
        leaveQueue(exchange)
        exchanges[exchange].pointee.pool = heir.id
        return heir
    }

    /// Once a second: retired pools that nothing refers to are freed.
    private func freeRetiredPools() {
        guard hasRetiredPools else { return }
        var isInUse = [Bool](repeating: false, count: pools.count)
        for index in 0..<upstreamSlots.touched
        where channels[upstreamBase + index].pointee.phase != .free {
            isInUse[Int(upstreams[index].pointee.pool)] = true
        }
        for index in 0..<upstreamStreamSlots.touched {
            let slot = upstreamStreamBase + index
            guard channels[slot].pointee.phase != .free else { continue }
            isInUse[Int(upstreams[slot - upstreamBase].pointee.pool)] = true
        }
        for index in 0..<exchangeSlots.touched where exchanges[index].pointee.phase != .free {
            isInUse[Int(exchanges[index].pointee.pool)] = true
        }
        hasRetiredPools = false
        for (id, pool) in pools.enumerated() {
            guard let pool, pool.isRetired else { continue }
            if isInUse[id] || !pool.isEmpty || pool.isCalled {
                hasRetiredPools = true
            } else {
                pool.group.leave(pool)
                pools[id] = nil
            }
        }
    }

    /// Once a second: what has outlived its deadline is cut and counted.
    func endRetired() {
        freeRetiredPools()
        guard retirements.contains(where: { $0.at <= now }) else { return }
        let due = retirements.filter { $0.at <= now }
        retirements.removeAll { $0.at <= now }
        for retirement in due {
            switch retirement.what {
            case .listener(let number):
                for slot in connections(of: number) { cut(slot) }
            case .pool(let id):
                // It may have come back meanwhile.
                guard pools[Int(id)]?.isRetired == true else { continue }
                for index in 0..<upstreamSlots.touched { cutUpstream(index, of: id) }
                for index in 0..<upstreamStreamSlots.touched {
                    cutUpstream(upstreamStreamBase - upstreamBase + index, of: id)
                }
            }
        }
    }

    private func connections(of listener: Int) -> [Int] {
        (0..<downstreamSlots.touched).filter {
            channels[$0].pointee.phase != .free && channels[$0].pointee.phase != .closing
                && Int(downstreams[$0].pointee.listener) == listener
        }
    }

    private func cut(_ slot: Int) {
        let exchange = Int(downstreams[slot].pointee.exchange)
        if exchange >= 0, dismissWebSocket(exchange) { return }
        if exchange >= 0 {
            downstreams[slot].pointee.exchange = -1
            abandon(exchange, .draining)
        }
        terminate(slot, reset: exchange >= 0)
    }

    private func cutUpstream(_ index: Int, of pool: Int32) {
        guard channels[upstreamBase + index].pointee.phase != .free,
            upstreams[index].pointee.pool == pool
        else { return }
        let exchange = Int(upstreams[index].pointee.exchange)
        if exchange >= 0, !dismissWebSocket(exchange) { failExchange(exchange, .draining) }
    }
}
