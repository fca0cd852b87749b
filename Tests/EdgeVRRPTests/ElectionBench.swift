import EdgeCore

@testable import EdgeVRRP

/// One machine on a bench: time moves by hand, other routers say what the test says.
struct ElectionBench {
    var machine: ElectionMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// All that was to be done since `clear`.
    var actions: [ElectionMachine.Action] = []

    static let own = SocketAddress(ipv4: 0xC0A8_010B, port: 0)
    static let other = SocketAddress(ipv4: 0xC0A8_010C, port: 0)
    static let own6 = SocketAddress(ipv6High: 0xFE80 << 48, low: 0x11, port: 0)
    static let other6 = SocketAddress(ipv6High: 0xFE80 << 48, low: 0x12, port: 0)

    static func settings(_ change: (inout InstanceSettings) -> Void = { _ in }) -> InstanceSettings
    {
        var settings = InstanceSettings(
            name: "lan", routerID: 51, interfaceName: "eth0",
            families: [
                FamilySettings(
                    family: .ipv4,
                    addresses: [
                        VirtualAddress(SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)
                    ])
            ], priority: 100, interval: .milliseconds(100))
        change(&settings)
        return settings
    }

    init(_ settings: InstanceSettings = settings()) {
        machine = ElectionMachine(settings: settings, now: now)
    }

    /// A backup that has seen another router.
    static func backup(_ change: (inout InstanceSettings) -> Void = { _ in }) -> ElectionBench {
        var bench = ElectionBench(settings(change))
        bench.begin()
        bench.hear(priority: bench.machine.settings.isOwner ? 1 : 254)
        bench.clear()
        return bench
    }

    /// A master whose other router fell silent.
    static func master(_ change: (inout InstanceSettings) -> Void = { _ in }) -> ElectionBench {
        var bench = backup(change)
        bench.run(for: .seconds(2))
        bench.clear()
        return bench
    }

    mutating func begin() {
        feed(.localAddress(.ipv4, Self.own))
        if machine.settings.families.contains(where: { $0.family == .ipv6 }) {
            feed(.localAddress(.ipv6, Self.own6))
        }
        feed(.link(isUp: true))
        feed(.readiness(.all))
        feed(.standing(Standing(fitness: .fit)))
        feed(.start)
    }

    mutating func clear() { actions = [] }

    @discardableResult
    mutating func feed(_ event: ElectionMachine.Event) -> [ElectionMachine.Action] {
        let new = machine.handle(event, now: now)
        actions += new
        return new
    }

    @discardableResult
    mutating func hear(
        priority: UInt8, from source: SocketAddress = other, centiseconds: UInt16 = 10,
        at receivedAt: Instant? = nil, addressesDiffer: Bool = false
    ) -> [ElectionMachine.Action] {
        feed(
            .advertisement(
                ElectionMachine.Heard(
                    family: source.family, source: source, priority: priority,
                    centiseconds: centiseconds, receivedAt: receivedAt ?? now,
                    addressesDiffer: addressesDiffer)))
    }

    /// A word of the peer's guardian.
    @discardableResult
    mutating func peer(
        _ fitness: Fitness = .fit, state: ElectionState = .backup, isReady: Bool = true,
        priority: UInt8 = 90, asks: Bool = false, isInMaintenance: Bool = false,
        sinceMilliseconds: UInt32 = 100_000_000, timeout: Duration = .seconds(3),
        goesFirst: Bool = false
    ) -> [ElectionMachine.Action] {
        let standing = Standing(fitness: fitness, isInMaintenance: isInMaintenance)
        return feed(
            .presence(
                PeerReport(
                    nodeID: 2, nodeName: "lb-02", bootID: 1, heardAt: now,
                    liveUntil: now.advanced(by: timeout),
                    standing: standing,
                    instance: PresenceMessage.Instance(
                        routerID: 51, state: state, priority: priority, isReady: isReady,
                        asksToTakeOver: asks, sinceMilliseconds: sinceMilliseconds,
                        standing: standing), goesFirst: goesFirst)))
    }

    mutating func pass(_ span: Duration) { now = now.advanced(by: span) }

    /// Fires every timer within `span` at its time.
    mutating func run(for span: Duration) {
        let end = now.advanced(by: span)
        var turns = 0
        while machine.nextDeadline <= end, turns < 100_000 {
            turns += 1
            now = max(now, machine.nextDeadline)
            feed(.timer)
        }
        now = end
    }

    /// Lets time go by in which another master is heard every 100 ms.
    mutating func run(for span: Duration, hearing priority: UInt8) {
        let end = now.advanced(by: span)
        while now < end {
            hear(priority: priority)
            run(for: .milliseconds(100))
        }
    }

    var state: ElectionState { machine.state }
    var cause: TransitionCause { machine.cause }

    var sent: [UInt8] {
        actions.compactMap { if case .send(_, let priority, _) = $0 { priority } else { nil } }
    }

    var announced: [ElectionMachine.Announcement] {
        actions.compactMap { if case .announce(let why) = $0 { why } else { nil } }
    }

    var transitions: [Transition] {
        actions.compactMap { if case .transition(let transition) = $0 { transition } else { nil } }
    }
}
