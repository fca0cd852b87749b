import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

/// What a guardian is to its failover thread: a loop that events come to. One for all nodes of a
/// test process.
final class HomeLoop: @unchecked Sendable {
    // Sendable: `loop` is used by its own thread, but for the poster.
    static let shared = HomeLoop()

    let poster: PollLoop.Poster
    private let loop: PollLoop

    private init() {
        guard let made = try? PollLoop() else { preconditionFailure("a loop can be made") }
        loop = made
        poster = made.poster
        Thread.detachNewThread { [self] in loop.run() }
    }
}

/// A failover service on one host of a virtual network, and what it has said.
final class Node: @unchecked Sendable {
    // Sendable: the lists are guarded by `lock`.
    let host: VirtualHost
    let service: FailoverService
    private let book = Book()
    private var isStopped = false

    private final class Book: @unchecked Sendable {
        // Sendable: the lists are guarded by `lock`.
        let lock = NSLock()
        var transitions: [FailoverTransition] = []
        var lines: [String] = []
        var status: FailoverStatus?
    }

    /// Starts; ready and fit unless said otherwise.
    init(
        _ host: VirtualHost, _ settings: FailoverSettings, options: FailoverOptions = .init(),
        isReady: Bool = true, resuming handover: FailoverHandover? = nil
    ) throws {
        self.host = host
        let book = book
        try settings.check()
        service = try inNamespace(host.namespace) {
            try FailoverService.start(
                settings, options: options, home: HomeLoop.shared.poster, resuming: handover,
                readiness: isReady ? .all : [],
                standing: Standing(fitness: isReady ? .fit : .unfit(.starting, answers: false))
            ) { event in
                book.lock.withLock {
                    switch event {
                    case .log(_, let line): book.lines.append(line)
                    case .transition(let transition): book.transitions.append(transition)
                    case .changed(let status): book.status = status
                    }
                }
            }
        }
    }

    deinit { stop() }

    /// Gives the addresses away and ends.
    @discardableResult
    func stop(within span: Duration = .seconds(3)) -> Bool {
        guard !isStopped else { return true }
        isStopped = true
        let done = DispatchSemaphore(value: 0)
        service.stop(within: span) { done.signal() }
        return done.wait(timeout: .now() + 10) == .success
    }

    var transitions: [FailoverTransition] { book.lock.withLock { book.transitions } }
    var lines: [String] { book.lock.withLock { book.lines } }

    /// As it is now.
    var status: FailoverStatus {
        let done = DispatchSemaphore(value: 0)
        let box = Box<FailoverStatus>()
        service.requestStatus {
            box.value = $0
            done.signal()
        }
        done.wait()
        return box.value!
    }

    func yield(isForced: Bool = false) -> [FailoverService.YieldOutcome] {
        let done = DispatchSemaphore(value: 0)
        let box = Box<[FailoverService.YieldOutcome]>()
        service.yield(isForced: isForced) {
            box.value = $0.map(\.outcome)
            done.signal()
        }
        done.wait()
        return box.value!
    }

    func prepareForExec(silence: Duration) -> FailoverHandover {
        let done = DispatchSemaphore(value: 0)
        let box = Box<FailoverHandover>()
        service.prepareForExec(silence: silence) {
            box.value = $0
            done.signal()
        }
        done.wait()
        return box.value!
    }

    /// Of its first instance, as told last.
    var state: ElectionState? {
        book.lock.withLock { book.transitions.last?.transition.to }
    }

    func becomes(_ state: ElectionState, within span: Duration = .seconds(5)) -> Bool {
        eventually(within: span) { self.state == state }
    }

    func holds(_ address: String) throws -> Bool { try host.holds(address) }

    private final class Box<Value>: @unchecked Sendable {
        // Sendable: written before the semaphore is signalled, read after it was waited for.
        var value: Value?
    }
}

extension FailoverHandover {
    /// As after an exec, in a process that has not executed anything: descriptors of its own.
    func duplicated() -> FailoverHandover {
        var copy = self
        for index in copy.sockets.indices {
            copy.sockets[index].descriptor = fcntl(
                copy.sockets[index].descriptor, F_DUPFD_CLOEXEC, 3)
        }
        return copy
    }
}

/// Two hosts that share 10.77.0.9 and fd77::9, and a third that watches.
struct PairNetwork {
    let network: VirtualNetwork
    let hub: VirtualSwitch
    let left: VirtualHost
    let right: VirtualHost
    let watcher: VirtualHost
    let leftLink: VirtualLink
    let rightLink: VirtualLink

    static let four = "10.77.0.9"
    static let six = "fd77::9"

    init() throws {
        network = try VirtualNetwork()
        hub = try network.addSwitch("hub")
        left = try network.addHost("left")
        right = try network.addHost("right")
        watcher = try network.addHost("watch")
        leftLink = try network.connect(left, to: hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        rightLink = try network.connect(right, to: hub, addresses: ["10.77.0.2/24", "fd77::2/64"])
        try network.connect(watcher, to: hub, addresses: ["10.77.0.3/24", "fd77::3/64"])
    }

    /// - Parameters:
    ///   - node: 1 or 2, the last number of its address.
    ///   - change: what is different.
    static func settings(
        node: Int, interval: Duration = .milliseconds(20), hasPresence: Bool = true,
        families: [IPFamily] = [.ipv4, .ipv6], isUnicast: Bool = false,
        _ change: (inout InstanceSettings) -> Void = { _ in }
    ) -> FailoverSettings {
        func address(_ text: String, _ port: UInt16 = 0) -> SocketAddress {
            guard let made = SocketAddress(address: text, port: port) else {
                preconditionFailure("\(text) is an address")
            }
            return made
        }
        let other = 3 - node
        var own: [FamilySettings] = []
        if families.contains(.ipv4) {
            own.append(
                FamilySettings(
                    family: .ipv4,
                    addresses: [VirtualAddress(address(four), prefixLength: 24)],
                    exchange: isUnicast ? .unicast : .multicast,
                    peers: isUnicast ? [address("10.77.0.\(other)")] : []))
        }
        if families.contains(.ipv6) {
            own.append(
                FamilySettings(
                    family: .ipv6,
                    addresses: [
                        .linkLocal(routerID: 7), VirtualAddress(address(six), prefixLength: 64),
                    ],
                    exchange: isUnicast ? .unicast : .multicast,
                    peers: isUnicast ? [address("fd77::\(other)")] : []))
        }
        var instance = InstanceSettings(
            name: "lan", routerID: 7, interfaceName: "eth0", families: own,
            priority: node == 1 ? 110 : 100, interval: interval, bootGate: .milliseconds(300))
        change(&instance)
        return FailoverSettings(
            nodeName: "lb-0\(node)", instances: [instance],
            presence: PresenceSettings(
                peers: hasPresence ? [address("10.77.0.\(other)", 9113)] : []))
    }
}

extension FrameCapture.Frame {
    /// The payload of an IPv4 packet of protocol 112.
    var vrrp: ReceivedAdvertisement? {
        guard etherType == 0x0800, bytes.count >= 34, bytes[23] == 112 else { return nil }
        return try? ReceivedAdvertisement(
            ipv4Packet: bytes.span.extracting(14...), takesAnyHops: true)
    }

    /// The same of IPv6.
    var vrrpIPv6: ReceivedAdvertisement? {
        guard etherType == 0x86DD, bytes.count >= 54, bytes[20] == 112 else { return nil }
        let count = Int(word(18))
        guard bytes.count >= 54 + count else { return nil }
        return try? ReceivedAdvertisement(
            ipv6Payload: bytes.span.extracting(54..<54 + count), hopLimit: bytes[21],
            source: ipv6(22), destination: ipv6(38), takesAnyHops: true)
    }

    /// Whether it is a gratuitous ARP for the address.
    func isAnnouncement(of address: String) -> Bool {
        etherType == 0x0806 && bytes.count >= 42 && ipv4(28).addressText == address
            && ipv4(38).addressText == address
    }
}
