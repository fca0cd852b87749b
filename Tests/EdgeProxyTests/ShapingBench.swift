import EdgeCore
import EdgeHTTP
import EdgeLimits
import EdgeRouting
import EdgeSystem
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeProxy

/// Workers with a limit on bytes for `home.example` and none for `free.example`.
enum Shaping {
    /// Bytes per second, and at once.
    static let rate: UInt64 = 500_000
    static let burst: UInt64 = 50_000
    /// What a transfer moves at a time: 50 ms of the rate.
    static let turn = 25_000
    /// More than any of these tests lets pass.
    static let content = [UInt8](repeating: 0x61, count: 8_000_000)
    static let head = "HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n"
    static let put =
        "PUT / HTTP/1.1\r\nHost: home.example\r\nContent-Length: \(content.count)\r\n\r\n"
    static let upgrade =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"
        + "Sec-WebSocket-Version: 13\r\n"
    static let switching =
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: y\r\n\r\n"

    static func policy(
        _ things: [LimitedThing], _ rate: UInt64 = rate, burst: UInt64 = burst,
        _ change: (inout LimitPolicy) -> Void = { _ in }
    ) throws -> LimitPolicy {
        var policy = LimitPolicy(name: "bytes")
        for thing in things {
            policy.rates[thing] = try RateLimit(rate, per: .seconds(1), burst: burst)
        }
        change(&policy)
        return policy
    }

    static func routing(
        pool: Int32 = 0, redirect: (location: TextTemplate, status: UInt16)? = nil
    ) -> Routing {
        var host = Router.Host(pattern: "home.example", site: 0, pool: pool)
        host.policy = 0
        let free = Router.Host(pattern: "free.example", site: 1, pool: pool)
        return Routing(
            views: [(0, ClientView(name: "", index: 0))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: [host, free])]),
            access: AccessRules([[RuleConfiguration()]]),
            profiles: [ServerProfile(fallback: nil)],
            rules: [RequestRules(head: nil, redirect: redirect, limitPlan: 0)],
            connections: ConnectionPlans(arrivals: [[-1, -1, -1, 0]]))
    }

    static func plans(_ policy: LimitPolicy, after old: LimitPlans? = nil) -> LimitPlans {
        LimitPlans(
            [policy], places: [LimitPlace(policies: [0])], succeeding: old,
            now: Instant(nanoseconds: 1_000_000_000_000))
    }

    static func memory() throws -> LimitMemory {
        let file = try MemoryFile.make(
            name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 1024))
        return try LimitMemory(
            descriptor: file.raw, now: Instant(nanoseconds: 1_000_000_000_000), seed: (1, 2))
    }

    static func options(_ policy: LimitPolicy) throws -> Bench.Options {
        var options = Bench.Options()
        options.routing = routing()
        options.limits = plans(policy)
        options.limitMemory = try memory()
        return options
    }

    static func bench(
        _ things: LimitedThing..., rate: UInt64 = rate, burst: UInt64 = burst,
        change: (inout Bench.Options) -> Void = { _ in }
    ) throws -> Bench {
        var options = try options(policy(things, rate, burst: burst))
        change(&options)
        return try Bench(options)
    }
}

extension Bench {
    /// Bytes that wait in a socket, in the pieces of a network.
    func feed(_ descriptor: Int32, _ head: String, _ content: some Collection<UInt8>) {
        ring.receives(descriptor, Array(head.utf8) + content)
    }

    /// Turns as the loop would make them.
    func flow(_ span: Duration, _ each: () -> Void = {}) {
        let end = now.advanced(by: span)
        while now < end {
            quietTurn(after: .milliseconds(4))
            each()
        }
        inspect()
    }

    /// - Parameter taken: moves what there is to be moved, and says how many bytes it was.
    /// - Returns: bytes in ten seconds, after the burst.
    func steadily(_ taken: () -> Int) -> Int {
        flow(.seconds(2)) { _ = taken() }
        var count = 0
        flow(.seconds(10)) { count += taken() }
        return count
    }

    /// Whatever is paused belongs to an exchange that is charged, and will go on.
    func checkPauses(_ faults: inout [String]) {
        for exchange in 0..<worker.exchangeSlots.touched {
            let state = worker.exchanges[exchange].pointee
            guard state.phase != .free else { continue }
            for slot in [Int(state.downstream), Int(state.upstream)] where slot >= 0 {
                let flags = worker.channels[slot].pointee.flags
                guard flags.contains(.paused) else { continue }
                if !state.isMetered { faults.append("slot \(slot) is paused for nobody") }
                if flags.contains(.wantsInput) { faults.append("slot \(slot) wants input") }
                if worker.pauses.deadline(of: slot) == .never {
                    faults.append("slot \(slot) is paused for ever")
                }
            }
        }
    }

    /// The same limits' successor, under rules that are read anew.
    func reload(_ limits: LimitPlans) {
        var options = options
        options.limits = limits
        options.routing = Shaping.routing()
        worker.handle(
            .apply(Bench.snapshot(worker.snapshot.epoch + 1, options, options.members)))
    }
}
