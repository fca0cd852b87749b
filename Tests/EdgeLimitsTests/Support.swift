import EdgeCore
import Testing

@testable import EdgeLimits

/// Zeroed memory as a memfd's mapping is. Never freed: tables point into it, and outlive the last
/// use of the object.
final class Memory {
    let start: UnsafeMutableRawPointer
    let byteCount: Int

    init(_ byteCount: Int) {
        self.byteCount = byteCount
        start = .allocate(byteCount: byteCount, alignment: 4096)
        start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }
}

/// A table in memory of its own.
struct RateBench {
    let memory: Memory
    let table: LimitTable

    init(keys: Int = 1024, base: UInt64 = 0, seed: UInt64 = 1) throws {
        let layout = LimitTable.layout(keys: keys)
        memory = Memory(layout.byteCount)
        table = try LimitTable(
            creatingIn: memory.start, byteCount: memory.byteCount, layout: layout,
            base: Instant(nanoseconds: base), hash: LimitHash(key0: seed, key1: ~seed))
    }
}

/// A time in milliseconds.
func at(_ milliseconds: UInt64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

/// The key of a limit's identity and a number for a client.
extension LimitTable {
    func key(of client: UInt64, limit: UInt64 = 1) -> UInt64 {
        key(limit, LimitSubject(high: client, low: 0))
    }
}

/// GCRA as the books have it, for one key: whole ticks since the start, no words, no wrap.
struct ReferenceLimit {
    let limit: RateLimit
    private(set) var arrival: UInt64 = 0

    init(_ limit: RateLimit) { self.limit = limit }

    func debt(_ now: Instant) -> UInt64 {
        let ticks = now.nanoseconds >> 9
        return arrival > ticks ? arrival - ticks : 0
    }

    mutating func admit(cost: UInt32, _ now: Instant) -> Bool {
        let ticks = now.nanoseconds >> 9
        let next = max(arrival, ticks) + limit.ticks(cost)
        guard next - ticks <= limit.span else { return false }
        arrival = next
        return true
    }

    mutating func merge(cost: UInt32, _ now: Instant) {
        arrival = max(arrival, now.nanoseconds >> 9) + limit.ticks(cost)
    }
}
