import EdgeCore
import EdgeTesting
import EdgeUpstream

@testable import EdgeProxy

/// The books about members, races and limits (`Bench.faults`).
extension Bench {
    /// The older connections that are being made for an exchange.
    func rivals(of exchange: Exchange) -> [Int] {
        var slots: [Int] = []
        var slot = Int(exchange.rival)
        while slot >= 0, slots.count < 100 {
            slots.append(slot)
            slot = Int(worker.upstream(slot).pointee.nextRival)
        }
        return slots
    }

    /// The exchanges of all clients, streams' included.
    private var exchangesUnderWay: [Int] {
        let connections = Array(0..<worker.downstreamSlots.touched)
        let streams = (0..<worker.clientStreamSlots.touched).map { worker.clientStreamBase + $0 }
        return (connections + streams).compactMap { slot in
            guard worker.channels[slot].pointee.phase != .free else { return nil }
            let downstream = worker.downstreams[slot].pointee
            guard downstream.exchange >= 0, downstream.phase != .ended else { return nil }
            return Int(downstream.exchange)
        }
    }

    /// Connections and requests of each member are counted once, and nobody is forgotten.
    func checkMembers(_ faults: inout [String]) {
        var load: [[Int32]: Int] = [:]
        var active: [Int32: Int] = [:]
        for number in exchangesUnderWay {
            let state = worker.exchanges[number].pointee
            guard state.phase != .free, let pool = worker.pools[Int(state.pool)] else { continue }
            if state.member >= 0 { load[[pool.group.id, state.member], default: 0] += 1 }
            if state.elder >= 0 {
                let elder = worker.upstream(Int(state.elder)).pointee.member
                load[[pool.group.id, elder], default: 0] += 1
            }
            if state.flags.contains(.counted) { active[pool.group.id, default: 0] += 1 }
            checkRace(number, state, &faults)
        }
        var open: [[Int32]: (all: Int, idle: Int)] = [:]
        var unclaimed: [Int32: Int] = [:]
        for index in 0..<worker.upstreamSlots.touched {
            let channel = worker.channels[worker.upstreamBase + index].pointee
            let upstream = worker.upstreams[index].pointee
            guard channel.phase != .free, let pool = worker.pools[Int(upstream.pool)] else {
                continue
            }
            open[[pool.group.id, upstream.member], default: (0, 0)].all += 1
            if upstream.phase == .idle {
                open[[pool.group.id, upstream.member], default: (0, 0)].idle += 1
            }
            if upstream.isUnclaimed { unclaimed[pool.id, default: 0] += 1 }
            let isBeingMade = channel.phase == .connecting || channel.phase == .handshaking
            if isBeingMade, channel.deadlineKind != .connect, channel.deadlineKind != .race,
                channel.flags.isDisjoint(with: [.broken, .queued])
            {
                faults.append("upstream \(worker.upstreamBase + index) connects for ever")
            }
        }
        for case let group? in worker.groups {
            if active[group.id, default: 0] != group.active {
                faults.append("group \(group.id): \(group.active) requests counted")
            }
            for (index, member) in group.members.members.enumerated() {
                let key = [group.id, Int32(index)]
                let (all, idle) = open[key] ?? (0, 0)
                if member.connectionCount != all || member.idleCount != idle {
                    faults.append("group \(group.id), member \(index): connections")
                }
                if group.members.load(index) != load[key, default: 0] {
                    faults.append("group \(group.id), member \(index): load")
                }
            }
        }
        for case let pool? in worker.pools
        where pool.unclaimed != unclaimed[pool.id, default: 0]
            || pool.unclaimed > UpstreamPool.unclaimedMax
        {
            faults.append("pool \(pool.id): \(pool.unclaimed) unclaimed")
        }
    }

    private func checkRace(_ number: Int, _ state: Exchange, _ faults: inout [String]) {
        let rivals = rivals(of: state)
        if rivals.count >= Worker.racersMax || rivals.contains(Int(state.upstream)) {
            faults.append("exchange \(number) races with itself")
        }
        for slot in rivals {
            let upstream = worker.upstream(slot).pointee
            if upstream.phase != .connecting || upstream.exchange != Int32(number) {
                faults.append("exchange \(number) hopes for \(slot), which is nothing")
            }
        }
        if (state.member >= 0) != (state.upstream >= 0) {
            faults.append("exchange \(number): member \(state.member) of \(state.upstream)")
        }
        switch state.phase {
        case .awaitingUpstream:
            let isHeldBack =
                state.isMetered && worker.meters[number].pointee.isHeldBack
                && worker.channels[Int(state.downstream)].pointee.flags.contains(.paused)
            if state.upstream < 0, !state.flags.contains(.queued), !isHeldBack {
                faults.append("exchange \(number) is forgotten")
            }
        case .forwarding, .answering:
            if !rivals.isEmpty { faults.append("exchange \(number) still races") }
        case .free: break
        }
    }
}
