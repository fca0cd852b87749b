import EdgeCore
import Testing

@testable import EdgeLimits

/// One worker with plans of its own and tables that may be shared.
final class PlanBench {
    let rates: RateBench
    let banMemory: Memory
    let bans: BanTable
    let countMemory: Memory
    let counts: ConcurrencyTable
    var plans: LimitPlans
    var journal = AdmittedJournal(capacity: 1024)

    init(_ policies: [LimitPolicy], places: [LimitPlace]? = nil) throws {
        rates = try RateBench(keys: 4096)
        let hash = LimitHash(key0: 3, key1: 4)
        let banLayout = BanTable.layout(keys: 64)
        banMemory = Memory(banLayout.byteCount)
        bans = try BanTable(
            creatingIn: banMemory.start, byteCount: banMemory.byteCount, layout: banLayout,
            base: Instant(nanoseconds: 0), hash: hash)
        let countLayout = ConcurrencyTable.layout(keys: 64)
        countMemory = Memory(countLayout.byteCount)
        counts = try ConcurrencyTable(
            creatingIn: countMemory.start, byteCount: countMemory.byteCount, layout: countLayout,
            hash: hash)
        plans = LimitPlans(
            policies, places: places ?? [LimitPlace(policies: Array(policies.indices))])
    }

    func charge(
        _ client: UInt32 = 1, plan: Int32 = 0, _ thing: LimitedThing = .requests,
        cost: UInt32 = 1, now: Instant, text: UInt64 = 0
    ) -> LimitVerdict {
        var caller = plans.caller(SocketAddress(ipv4: 0xC000_0200 + client, port: 9))
        caller.texts[0] = text
        return plans.charge(
            plan, thing, caller, cost: cost, now: now, in: rates.table, journal: &journal)
    }

    func debt(_ limit: Int, _ client: UInt32 = 1, now: Instant) -> UInt64 {
        let limit = plans.limits[limit]
        let address = SocketAddress(ipv4: 0xC000_0200 + client, port: 0)
        let subject = limit.subject(client: address, text: 0)
        return rates.table.debt(rates.table.key(limit.identity, subject), now: now)
    }
}

func policy(_ name: String, _ change: (inout LimitPolicy) throws -> Void) rethrows -> LimitPolicy {
    var policy = LimitPolicy(name: name)
    try change(&policy)
    return policy
}
