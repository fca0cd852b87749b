import EdgeCore
import EdgeTesting
import EdgeUpstream

@testable import EdgeProxy

/// What no random life may break about the choice of members. Looks at each connection in the turn
/// in which it was begun.
struct WalkRules {
    let bench: Bench
    private var seen = 0
    private(set) var broken: [String] = []

    init(_ bench: Bench) { self.bench = bench }

    mutating func look() {
        for descriptor in bench.ring.opened.dropFirst(seen) {
            guard let slot = bench.slot(of: descriptor) else { continue }
            look(slot)
        }
        seen = bench.ring.opened.count
    }

    /// Connections to the member that carry a request, or will; what is being closed does not.
    private func used(_ member: Int32, _ group: UpstreamGroup) -> Int {
        (0..<bench.worker.upstreamSlots.touched).count { index in
            let upstream = bench.worker.upstreams[index].pointee
            let phase = bench.worker.channels[bench.worker.upstreamBase + index].pointee.phase
            return phase != .free && phase != .closing && upstream.phase != .idle
                && upstream.member == member
                && bench.worker.pools[Int(upstream.pool)]?.group === group
        }
    }

    private mutating func look(_ slot: Int) {
        let upstream = bench.worker.upstream(slot).pointee
        guard let pool = bench.worker.pools[Int(upstream.pool)], upstream.phase == .connecting
        else { return }
        let members = pool.group.members.members
        let member = members[Int(upstream.member)]
        if !member.isCurrent || member.rank == .never {
            broken.append("a connection to member \(upstream.member), which is down or has left")
        }
        // Where a reload has lowered the limit there may be more, but none is opened.
        let used = used(upstream.member, pool.group)
        if pool.group.members.useMax > 0, used > pool.group.members.useMax {
            broken.append(
                "connection \(used) of \(pool.group.members.useMax) to \(upstream.member)")
        }
        let exchange = Int(upstream.exchange)
        let isBound =
            exchange >= 0 && bench.worker.exchanges[exchange].pointee.token != 0
        // Clients that a cookie binds go to their member as long as it is there.
        if isBound { return }
        if member.rank == .boundOnly, exchange >= 0 {
            broken.append("a connection to member \(upstream.member), which is drained")
        }
        // What may go over shared connections forgets what it has tried when it waits for one.
        guard member.rank == .fallback, exchange >= 0, !upstream.isShared,
            bench.worker.exchanges[exchange].pointee.upstream == Int32(slot)
        else { return }
        let tried = bench.worker.exchanges[exchange].pointee.tried
        for (index, other) in members.enumerated()
        where other.isCurrent && other.rank == .preferred && tried & MemberTable.bit(index) == 0 {
            broken.append("a backup serves, and member \(index) was not tried")
        }
    }
}
