import CEdge
import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeFailover

/// Two hosts on a switch, and their interfaces' numbers.
struct Wire {
    let network: VirtualNetwork
    let hub: VirtualSwitch
    let left: VirtualHost
    let right: VirtualHost
    let leftIndex: Int32
    let rightIndex: Int32

    init() throws {
        network = try VirtualNetwork()
        hub = try network.addSwitch("hub")
        left = try network.addHost("left")
        right = try network.addHost("right")
        try network.connect(left, to: hub, addresses: ["10.77.0.1/24", "fd77::1/64"])
        try network.connect(right, to: hub, addresses: ["10.77.0.2/24", "fd77::2/64"])
        leftIndex = try Self.index(of: "eth0", on: left)
        rightIndex = try Self.index(of: "eth0", on: right)
    }

    static func index(of name: String, on host: VirtualHost) throws -> Int32 {
        let found = try inNamespace(host.namespace) {
            try NetworkInterface.readAll().first { $0.name == name }
        }
        return try #require(found?.index)
    }

    /// The address that the kernel made for the interface.
    func linkLocal(of host: VirtualHost, _ index: Int32) throws -> SocketAddress {
        let all = try inNamespace(host.namespace) {
            try InterfaceAddress.readAll(NetlinkSocket(), of: index)
        }
        return try #require(all.first { $0.isLinkLocal }?.address)
    }

    func socket(
        on host: VirtualHost, _ index: Int32, isIPv4: Bool, isMulticast: Bool = true
    ) throws -> VRRPSocket {
        try inNamespace(host.namespace) {
            try VRRPSocket(isIPv4: isIPv4, index: index, name: "eth0", isMulticast: isMulticast)
        }
    }
}

extension VRRPSocket {
    /// What comes within a second.
    fileprivate func next() -> RawPacket? {
        var result: RawPacket?
        _ = eventually(within: .seconds(1)) {
            _ = receive(max: 1) { result = $0 }
            return result != nil
        }
        return result
    }
}

@Suite("VRRP socket", .serialized) struct VRRPSocketTests {
    private let payload: [UInt8] = [0x31, 7, 100, 1, 0, 2, 0, 0, 10, 77, 0, 9]

    @Test("IPv4 goes to 224.0.0.18 with TTL 255 and class 0xC0, from the address asked for")
    func multicastIPv4() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: true)
        let source = SocketAddress(ipv4: 0x0A4D_0001, port: 0)

        let before = Instant.now()
        try sender.send(payload, from: source)
        let packet = try #require(receiver.next())

        #expect(packet.bytes.count == 20 + payload.count)
        #expect(packet.bytes[1] == 0xC0 && packet.bytes[8] == 255 && packet.bytes[9] == 112)
        #expect(packet.bytes[16..<20].elementsEqual([224, 0, 0, 18]))
        #expect(packet.bytes[20...].elementsEqual(payload))
        #expect(packet.source == source && !packet.isCut)
        #expect(packet.receivedAt >= before && packet.receivedAt <= .now())
        // Not to ourselves.
        var own = 0
        _ = sender.receive(max: 8) { _ in own += 1 }
        #expect(own == 0)
    }

    @Test("IPv6 goes to ff02::12 from the link-local address, and tells hop limit and target")
    func multicastIPv6() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: false)
        let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: false)
        let source = try wire.linkLocal(of: wire.left, wire.leftIndex)

        try sender.send(payload, from: source)
        let packet = try #require(receiver.next())

        #expect(packet.bytes.elementsEqual(payload))
        #expect(packet.hopLimit == 255 && packet.interface == wire.rightIndex)
        #expect(packet.destination == VRRPSocket.groupIPv6)
        #expect(packet.source.high == source.high && packet.source.low == source.low)
    }

    @Test("unicast arrives without the group, and the group's packets do not")
    func unicast() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        for isIPv4 in [true, false] {
            let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: isIPv4)
            let receiver = try wire.socket(
                on: wire.right, wire.rightIndex, isIPv4: isIPv4, isMulticast: false)
            let source =
                isIPv4
                ? SocketAddress(ipv4: 0x0A4D_0001, port: 0)
                : try wire.linkLocal(of: wire.left, wire.leftIndex)
            let target =
                isIPv4
                ? SocketAddress(ipv4: 0x0A4D_0002, port: 0)
                : try wire.linkLocal(of: wire.right, wire.rightIndex)

            try sender.send(payload, from: source)
            try sender.send(payload + [1], from: source, to: target)
            let packet = try #require(receiver.next())

            #expect(packet.bytes.last == 1)
            #expect(isIPv4 ? packet.bytes[8] == 255 : packet.hopLimit == 255)
        }
    }

    @Test("a packet that waited in the socket tells when it came")
    func waited() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: true)

        // The first socket that asks for stamps has the kernel begin to make them, soon.
        try sender.send(payload, from: SocketAddress(ipv4: 0x0A4D_0001, port: 0))
        _ = try #require(receiver.next())
        usleep(20_000)
        try sender.send(payload, from: SocketAddress(ipv4: 0x0A4D_0001, port: 0))
        let sent = Instant.now()
        usleep(60_000)
        let packet = try #require(receiver.next())

        #expect(packet.receivedAt < sent.advanced(by: .milliseconds(20)))
    }

    @Test("no more is read at once than asked for, whatever waits")
    func bounded() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: true)
        for _ in 0..<50 {
            try sender.send(payload, from: SocketAddress(ipv4: 0x0A4D_0001, port: 0))
        }
        usleep(20_000)

        var counts: [Int] = []
        var isMore = true
        while isMore, counts.count < 10 {
            var count = 0
            isMore = receiver.receive(max: 20) { _ in count += 1 }
            counts.append(count)
        }

        #expect(counts == [20, 20, 10])
    }

    @Test("in a flood only what may be for us is let through, and everything again afterwards")
    func filter() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        for isIPv4 in [true, false] {
            let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: isIPv4)
            let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: isIPv4)
            let source =
                isIPv4
                ? SocketAddress(ipv4: 0x0A4D_0001, port: 0)
                : try wire.linkLocal(of: wire.left, wire.leftIndex)
            func pass(_ payloads: [[UInt8]]) throws -> [[UInt8]] {
                for payload in payloads + [[0x31, 9, 0]] { try sender.send(payload, from: source) }
                var got: [[UInt8]] = []
                while let packet = receiver.next() {
                    got.append(Array(packet.bytes.dropFirst(isIPv4 ? 20 : 0)))
                    if got.last == [0x31, 9, 0] { break }
                }
                return got.dropLast()
            }
            let offered: [[UInt8]] = [
                [0x31, 7, 1], [0x31, 8, 1], [0x21, 7, 1], [0x32, 7, 1], [0x31, 3, 1], [0x31], [],
            ]

            receiver.admitOnly([7, 3, 9])
            #expect(try pass(offered) == [[0x31, 7, 1], [0x31, 3, 1]])
            receiver.admitAll()

            #expect(try pass(offered).count >= offered.count - 1)
        }
    }

    @Test("where only some senders count only theirs is let through")
    func filteredSources() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        for isIPv4 in [true, false] {
            let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: isIPv4)
            let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: isIPv4)
            let source =
                isIPv4
                ? SocketAddress(ipv4: 0x0A4D_0001, port: 0)
                : try wire.linkLocal(of: wire.left, wire.leftIndex)
            let others = [
                SocketAddress(ipv4: 0x0A4D_0007, port: 0),
                SocketAddress(ipv6High: source.high, low: source.low ^ 1, port: 0),
            ]

            receiver.admitOnly([7], from: others)
            try sender.send([0x31, 7, 1], from: source)
            receiver.admitOnly([7], from: others + [source] + others)
            try sender.send([0x31, 8, 2], from: source)
            try sender.send([0x31, 7, 3], from: source)

            #expect(receiver.next()?.bytes.last == 3)
        }
    }

    @Test("one that another program leaves behind in a flood lets everything through again")
    func adoptedInFlood() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: true)
        let old = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: true)
        old.admitOnly([7])
        let copy = fcntl(old.descriptor, F_DUPFD_CLOEXEC, 3)

        let new = VRRPSocket(
            adopting: copy, isIPv4: true, index: wire.rightIndex, isMulticast: true)
        try sender.send([0x31, 9, 1], from: SocketAddress(ipv4: 0x0A4D_0001, port: 0))

        #expect(new.next()?.bytes.last == 1)
    }

    @Test("a number is adopted only if it is a VRRP socket of that family on that interface")
    func recognized() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let socket = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: true)
        let other = FileDescriptor(owning: Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0))
        func isOne(_ descriptor: Int32, isIPv4: Bool = true, _ name: String = "eth0") -> Bool {
            VRRPSocket.isOne(descriptor, isIPv4: isIPv4, name: name)
        }

        #expect(isOne(socket.descriptor))
        #expect(!isOne(socket.descriptor, isIPv4: false))
        #expect(!isOne(socket.descriptor, "eth1") && !isOne(socket.descriptor, "eth"))
        #expect(!isOne(other.raw) && !isOne(-1))
        try wire.right.ip("link delete eth0")
        #expect(!isOne(socket.descriptor))
    }

    @Test("packets with another hop limit do not pass it")
    func filteredHops() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        for isIPv4 in [true, false] {
            let sender = try wire.socket(on: wire.left, wire.leftIndex, isIPv4: isIPv4)
            let receiver = try wire.socket(on: wire.right, wire.rightIndex, isIPv4: isIPv4)
            receiver.admitOnly([7])
            var hops: Int32 = 254
            setsockopt(
                sender.descriptor, Int32(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6),
                isIPv4 ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS, &hops, 4)
            let source =
                isIPv4
                ? SocketAddress(ipv4: 0x0A4D_0001, port: 0)
                : try wire.linkLocal(of: wire.left, wire.leftIndex)

            try sender.send([0x31, 7, 254], from: source)
            hops = 255
            setsockopt(
                sender.descriptor, Int32(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6),
                isIPv4 ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS, &hops, 4)
            try sender.send([0x31, 7, 255], from: source)

            #expect(try #require(receiver.next()).bytes.last == 255)

            receiver.admitOnly([7], takesAnyHops: true)
            hops = 64
            setsockopt(
                sender.descriptor, Int32(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6),
                isIPv4 ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS, &hops, 4)
            try sender.send([0x31, 8, 63], from: source)
            try sender.send([0x31, 7, 64], from: source)

            #expect(try #require(receiver.next()).bytes.last == 64)
        }
    }

    @Test("an interface that is not there, or without the right, is refused by name")
    func refused() throws {
        #expect(throws: SystemError("setsockopt(SO_BINDTODEVICE)", code: ENODEV, subject: "nope0"))
        { try VRRPSocket(isIPv4: true, index: 99, name: "nope0", isMulticast: true) }
        let code = Privileges.without { () -> Int32? in
            do throws(SystemError) {
                _ = try VRRPSocket(isIPv4: true, index: 1, name: "lo", isMulticast: true)
                return nil
            } catch { return error.code }
        }
        #expect(code == .some(EPERM))
    }
}
