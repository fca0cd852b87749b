import EdgeCore

@testable import EdgeVRRP

/// One machine of a pair: its host (power, link, clock), its guardian, its proxy.
struct SimulatedNode {
    enum Packet {
        case ipv4([UInt8])
        case ipv6([UInt8], source: SocketAddress)
        case presence([UInt8])
    }

    let index: Int
    let settings: InstanceSettings
    var election: ElectionMachine
    var presence: PresenceMachine?
    let filter: AdvertisementFilter

    // The host.
    var isPowered = true
    var hasCarrier = true
    /// Nothing leaves, nothing arrives, though the link is up.
    var isOutCut = false
    var isInCut = false
    /// Addresses are on the interface: the kernel's state, it survives the guardian.
    var holds = false
    /// Civil clock minus monotonic clock.
    var wallOffset: UInt64 = 1_700_000_000_000_000_000

    // The guardian.
    var isRunning = true
    var stalledUntil: Instant?
    /// What the kernel holds for it; bounded like a socket's buffer.
    var queue: [(packet: Packet, receivedAt: Instant)] = []
    var wakeToken = 0
    var wakeAt: Instant = .never
    var boots = 1
    /// Since when nothing has been wrong with it and its proxy serves; nil: something is.
    var healthySince: Instant?

    // The proxy.
    var standing = Standing(fitness: .fit)

    static let queueMax = 256

    var addresses: [IPFamily: SocketAddress] { Self.addresses(index) }

    static func addresses(_ index: Int) -> [IPFamily: SocketAddress] {
        [
            .ipv4: SocketAddress(ipv4: 0xC0A8_010B + UInt32(index), port: 0),
            .ipv6: SocketAddress(
                ipv6High: 0xFE80 << 48, low: 0x11 + UInt64(index), port: 0),
        ]
    }

    static func presenceAddress(_ index: Int) -> SocketAddress {
        SocketAddress(ipv4: 0xC0A8_010B + UInt32(index), port: 5112)
    }

    /// What a client would find: somebody answers for the addresses here.
    var isHolder: Bool { holds && isPowered && hasCarrier }

    /// Its guardian runs on a working host and nothing hinders its words.
    var isSound: Bool {
        isPowered && hasCarrier && isRunning && stalledUntil == nil && !isOutCut && !isInCut
    }

    var serves: Bool { standing.fitness.answers && !standing.fitness.isUnfit }
}

/// How a pair is set up; drawn from a seed.
struct PairSetup: CustomStringConvertible {
    var interval = Duration.milliseconds(20)
    var priorities: [UInt8] = [101, 100]
    var families: [IPFamily] = [.ipv4, .ipv6]
    var preemption = Preemption.never
    /// Whether guardians tell each other of themselves; without, both take the other for another
    /// implementation.
    var hasPresence = true
    /// Of packets in a hundred, in calm.
    var lossPercent = 0
    /// How late a turn of the loop may be at random.
    var hiccup = Duration.zero
    /// Whether settings change meanwhile.
    var reloads = false

    func settings(_ index: Int) -> InstanceSettings {
        InstanceSettings(
            name: "vip", routerID: 51, interfaceName: "eth0",
            families: families.map { family in
                FamilySettings(
                    family: family,
                    addresses: family == .ipv4
                        ? [
                            VirtualAddress(
                                SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)
                        ] : [.linkLocal(routerID: 51)])
            },
            priority: priorities[index], interval: interval, preemption: preemption,
            bootGate: .milliseconds(300),
            damping: DampingSettings(
                takeOversMax: 3, window: .seconds(10), holdDown: .milliseconds(200),
                holdDownMax: .milliseconds(800)),
            degradedHold: .milliseconds(300))
    }

    var presenceInterval: Duration { max(interval * 5, .milliseconds(50)) }

    /// Of the node that waits longer.
    var masterDown: Duration {
        Duration(
            nanoseconds: ElectionMachine.masterDown(
                centiseconds: UInt16(interval.nanoseconds / 10_000_000),
                priority: priorities.min() ?? 1))
    }

    var description: String {
        "\(interval) \(priorities) \(families) preempt \(preemption) presence \(hasPresence) "
            + "loss \(lossPercent) % hiccup \(hiccup)"
    }
}

extension PresenceAuthenticator {
    /// Good enough to tell right from wrong in a test; no protection at all.
    static let toy = PresenceAuthenticator { bytes in
        var word: UInt64 = 0x9E37_79B9_7F4A_7C15
        for byte in bytes { word = (word ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (0..<32).map { UInt8(truncatingIfNeeded: word >> UInt64($0 % 8 * 8)) ^ UInt8($0) }
    }
}
