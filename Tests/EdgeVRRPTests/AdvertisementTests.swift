import EdgeCore
import Testing

@testable import EdgeVRRP

/// An advertisement as keepalived 2.2 sends it: VRID 51, priority 100, 20 ms, 192.168.1.13, from
/// 192.168.1.11; checksum with pseudo-header.
private let ipv4Packet: [UInt8] = [
    0x45, 0xC0, 0x00, 0x20, 0x00, 0x01, 0x00, 0x00, 0xFF, 0x70, 0x18, 0x31,
    0xC0, 0xA8, 0x01, 0x0B, 0xE0, 0x00, 0x00, 0x12,
    0x31, 0x33, 0x64, 0x01, 0x00, 0x02, 0x06, 0xD1, 0xC0, 0xA8, 0x01, 0x0D,
]

@Suite("Advertisements on the wire")
struct AdvertisementTests {
    static let ipv4 = Advertisement(
        family: .ipv4, routerID: 51, priority: 100, centiseconds: 2,
        addresses: [SocketAddress(ipv4: 0xC0A8_010D, port: 0)])
    static let sourceIPv4 = SocketAddress(ipv4: 0xC0A8_010B, port: 0)
    static let sourceIPv6 = SocketAddress(ipv6High: 0xFE80 << 48, low: 0x11, port: 0)
    static let ipv6 = Advertisement(
        family: .ipv6, routerID: 51, priority: 100, centiseconds: 2,
        addresses: [
            VirtualAddress.linkLocal(routerID: 51).address,
            SocketAddress(ipv6High: 0x2001_0DB8 << 32, low: 0x13, port: 0),
        ])

    private func parse(_ bytes: [UInt8]) throws(AdvertisementRefusal) -> ReceivedAdvertisement {
        try ReceivedAdvertisement(ipv4Packet: bytes.span)
    }

    private func parse6(
        _ bytes: [UInt8], hopLimit: UInt8 = 255, source: SocketAddress = sourceIPv6
    ) throws(AdvertisementRefusal) -> ReceivedAdvertisement {
        try ReceivedAdvertisement(
            ipv6Payload: bytes.span, hopLimit: hopLimit, source: source,
            destination: IPFamily.ipv6.group)
    }

    /// The packet with a byte of it changed, and its checksum made right again.
    private func changed(_ offset: Int, _ byte: UInt8) -> [UInt8] {
        var packet = ipv4Packet
        packet[offset] = byte
        packet[26] = 0
        packet[27] = 0
        let sum = VRRPChecksum.compute(
            Array(packet[20...]).span, source: Self.sourceIPv4, destination: IPFamily.ipv4.group,
            checksum: .messageOnly)
        packet[26] = UInt8(sum >> 8)
        packet[27] = UInt8(truncatingIfNeeded: sum)
        return packet
    }

    @Test("what keepalived sends is understood, its checksum told from the other kind")
    func keepalived() throws {
        let received = try parse(ipv4Packet)

        #expect(received.advertisement == Self.ipv4)
        #expect(received.source == Self.sourceIPv4)
        #expect(received.destination == IPFamily.ipv4.group)
        #expect(received.checksum == .withPseudoHeader)
        #expect(received.advertisement.interval == .milliseconds(20))
    }

    @Test("what we write is what keepalived writes")
    func written() {
        let payload = Self.ipv4.payload(from: Self.sourceIPv4, to: IPFamily.ipv4.group)

        #expect(payload == Array(ipv4Packet[20...]))
    }

    @Test("both kinds of IPv4 checksum are accepted", arguments: IPv4Checksum.allCases)
    func checksums(style: IPv4Checksum) throws {
        let payload = Self.ipv4.payload(
            from: Self.sourceIPv4, to: IPFamily.ipv4.group, checksum: style)
        let header = Advertisement.ipv4Header(
            from: Self.sourceIPv4, to: IPFamily.ipv4.group, payloadByteCount: payload.count)

        #expect(try parse(header + payload).checksum == style)
    }

    @Test("an IP header that we write sums to nothing")
    func header() {
        var sum = VRRPChecksum()
        let header = Advertisement.ipv4Header(
            from: Self.sourceIPv4, to: IPFamily.ipv4.group, payloadByteCount: 12)

        sum.add(header.span)

        #expect(sum.folded == 0)
        #expect(header.count == 20)
    }

    @Test("IP options and padding behind the packet do not matter")
    func options() throws {
        var packet = ipv4Packet
        packet[0] = 0x46
        packet[3] = 0x24
        packet.insert(contentsOf: [1, 1, 1, 0], at: 20)

        #expect(try parse(packet + [9, 9, 9]).advertisement == Self.ipv4)
    }

    @Test("IPv6 goes there and back, with its pseudo-header")
    func ipv6() throws {
        let payload = Self.ipv6.payload(from: Self.sourceIPv6, to: IPFamily.ipv6.group)

        let received = try parse6(payload)

        #expect(received.advertisement == Self.ipv6)
        #expect(received.source == Self.sourceIPv6)
        // RFC 9568 §5.2.8: a sum without the pseudo-header is wrong for IPv6.
        var other = payload
        other[6] = 0
        other[7] = 0
        let sum = VRRPChecksum.compute(
            other.span, source: Self.sourceIPv4, destination: Self.sourceIPv4,
            checksum: .messageOnly)
        other[6] = UInt8(sum >> 8)
        other[7] = UInt8(truncatingIfNeeded: sum)
        #expect(throws: AdvertisementRefusal.checksum) { try parse6(other) }
    }

    @Test(
        "each thing that is wrong with a packet has its name",
        arguments: [
            (0, 0x65, AdvertisementRefusal.notVRRP), (0, 0x44, .notVRRP), (9, 17, .notVRRP),
            (6, 0x20, .notVRRP), (7, 1, .notVRRP), (3, 0x21, .truncated), (3, 0x13, .truncated),
            (8, 254, .hops), (8, 1, .hops), (20, 0x21, .versionTwo), (20, 0x41, .version),
            (20, 0x32, .type), (23, 0, .length), (23, 2, .length), (3, 0x1E, .checksum),
            (25, 0, .interval), (12, 0xE0, .source),
        ] as [(Int, UInt8, AdvertisementRefusal)])
    func wrong(offset: Int, byte: UInt8, refusal: AdvertisementRefusal) {
        #expect(throws: refusal) { try parse(changed(offset, byte)) }
    }

    @Test("unicast is read with any hop limit if that is wanted, the group's word never")
    func anyHops() throws {
        let peer = SocketAddress(ipv4: 0xC0A8_010C, port: 0)
        let payload = Self.ipv4.payload(from: Self.sourceIPv4, to: peer)
        var packet =
            Advertisement.ipv4Header(
                from: Self.sourceIPv4, to: peer, payloadByteCount: payload.count) + payload
        packet[8] = 64
        #expect(throws: AdvertisementRefusal.hops) { try parse(packet) }
        let received = try ReceivedAdvertisement(ipv4Packet: packet.span, takesAnyHops: true)
        #expect(received.hops == 64 && received.advertisement == Self.ipv4)
        #expect(throws: AdvertisementRefusal.hops) {
            try ReceivedAdvertisement(ipv4Packet: changed(8, 64).span, takesAnyHops: true)
        }

        for (destination, isRead) in [(Self.sourceIPv6, true), (IPFamily.ipv6.group, false)] {
            let bytes = Self.ipv6.payload(from: Self.sourceIPv6, to: destination)
            let six = try? ReceivedAdvertisement(
                ipv6Payload: bytes.span, hopLimit: 64, source: Self.sourceIPv6,
                destination: destination, takesAnyHops: true)
            #expect(six?.hops == (isRead ? 64 : nil))
        }
    }

    @Test("a bit that the network has turned is found by the checksum")
    func turned() {
        for offset in 21..<32 where offset != 26 && offset != 27 {
            var packet = ipv4Packet
            packet[offset] ^= 0x10
            #expect(throws: AdvertisementRefusal.checksum) { try parse(packet) }
        }
    }

    @Test("a packet cut off anywhere is refused")
    func truncated() {
        for count in 0..<ipv4Packet.count {
            #expect(throws: AdvertisementRefusal.truncated) {
                try parse(Array(ipv4Packet.prefix(count)))
            }
        }
        let payload = Self.ipv6.payload(from: Self.sourceIPv6, to: IPFamily.ipv6.group)
        for count in 0..<payload.count {
            #expect(throws: AdvertisementRefusal.self) {
                try parse6(Array(payload.prefix(count)))
            }
        }
    }

    @Test("IPv6 packets from over a router or from a global address are refused")
    func ipv6Wrong() {
        let payload = Self.ipv6.payload(from: Self.sourceIPv6, to: IPFamily.ipv6.group)
        let global = SocketAddress(ipv6High: 0x2001_0DB8 << 32, low: 1, port: 0)
        let fromGlobal = Self.ipv6.payload(from: global, to: IPFamily.ipv6.group)

        #expect(throws: AdvertisementRefusal.hops) { try parse6(payload, hopLimit: 254) }
        #expect(throws: AdvertisementRefusal.source) { try parse6(fromGlobal, source: global) }
        #expect(throws: AdvertisementRefusal.notVRRP) {
            try parse6(payload, source: Self.sourceIPv4)
        }
    }

    @Test("the reserved bits before the interval are ignored")
    func reserved() throws {
        #expect(try parse(changed(24, 0xA0)).advertisement == Self.ipv4)
    }

    @Test("longest and shortest interval, and as many addresses as fit", arguments: [1, 4095])
    func extremes(centiseconds: UInt16) throws {
        var advertisement = Self.ipv4
        advertisement.centiseconds = centiseconds
        advertisement.addresses = (0..<255).map { SocketAddress(ipv4: 0x0A00_0001 + $0, port: 0) }
        let payload = advertisement.payload(from: Self.sourceIPv4, to: IPFamily.ipv4.group)
        let header = Advertisement.ipv4Header(
            from: Self.sourceIPv4, to: IPFamily.ipv4.group, payloadByteCount: payload.count)

        #expect(try parse(header + payload).advertisement == advertisement)
    }

    @Test("random bytes are refused or understood, never more", arguments: 1...4)
    func random(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<5_000 {
            var packet = ipv4Packet
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<packet.count, using: &random)
                packet[index] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? parse(packet)
            _ = try? parse6(Array(packet.dropFirst(20)))
        }
    }
}

@Suite("Which advertisements count")
struct AdvertisementFilterTests {
    private static func instance(
        peersOnly: Bool = false, anyHops: Bool = false, routerID: UInt8 = 51
    ) -> InstanceSettings {
        InstanceSettings(
            name: "vip\(routerID)", routerID: routerID, interfaceName: "eth0",
            families: [
                FamilySettings(
                    family: .ipv4,
                    addresses: [
                        VirtualAddress(SocketAddress(ipv4: 0xC0A8_010D, port: 0), prefixLength: 24)
                    ],
                    peers: [SocketAddress(ipv4: 0xC0A8_010B, port: 0)])
            ],
            acceptsPeersOnly: peersOnly, takesAnyHops: anyHops)
    }

    private static let own = SocketAddress(ipv4: 0xC0A8_010C, port: 0)

    private static func filter(peersOnly: Bool = false) -> AdvertisementFilter {
        AdvertisementFilter(
            instances: [instance(routerID: 7), instance(peersOnly: peersOnly)],
            ownAddresses: [own])
    }

    private static func received(
        source: UInt32 = 0xC0A8_010B, destination: SocketAddress = IPFamily.ipv4.group,
        routerID: UInt8 = 51, address: UInt32 = 0xC0A8_010D, hops: UInt8 = 255
    ) -> ReceivedAdvertisement {
        var advertisement = AdvertisementTests.ipv4
        advertisement.routerID = routerID
        advertisement.addresses = [SocketAddress(ipv4: address, port: 0)]
        return ReceivedAdvertisement(
            advertisement: advertisement, source: SocketAddress(ipv4: source, port: 0),
            destination: destination, hops: hops)
    }

    @Test("a hop limit is ignored of known peers' unicast to an instance that says so, else never")
    func anyHops() throws {
        let all = AdvertisementFilter(
            instances: [
                Self.instance(peersOnly: true, anyHops: true),
                Self.instance(peersOnly: true, routerID: 7),
                Self.instance(anyHops: true, routerID: 8),
            ], ownAddresses: [Self.own])
        #expect(all.takesAnyHops(.ipv4) && !all.takesAnyHops(.ipv6))
        #expect(!Self.filter(peersOnly: true).takesAnyHops(.ipv4))

        #expect(try all.admit(Self.received(destination: Self.own, hops: 64)).instance == 0)
        for routerID in [7, 8] as [UInt8] {
            #expect(throws: AdvertisementRefusal.hops) {
                try all.admit(
                    Self.received(destination: Self.own, routerID: routerID, hops: 64))
            }
        }
        #expect(throws: AdvertisementRefusal.hops) { try all.admit(Self.received(hops: 64)) }
        #expect(throws: AdvertisementRefusal.peerUnknown) {
            try all.admit(
                Self.received(source: 0xC0A8_0163, destination: Self.own, hops: 64))
        }
    }

    @Test("an advertisement finds its instance")
    func admitted() throws {
        let admission = try Self.filter().admit(Self.received())

        #expect(admission.instance == 1)
        #expect(!admission.addressesDiffer)
        #expect(try Self.filter().admit(Self.received(routerID: 7)).instance == 0)
        #expect(try Self.filter().admit(Self.received(destination: Self.own)).instance == 1)
    }

    @Test("other addresses are told, not refused")
    func otherAddresses() throws {
        #expect(try Self.filter().admit(Self.received(address: 1)).addressesDiffer)
    }

    @Test("our own words, strangers' and words for others are refused by name")
    func refused() {
        #expect(throws: AdvertisementRefusal.looped) {
            try Self.filter().admit(Self.received(source: 0xC0A8_010C))
        }
        #expect(throws: AdvertisementRefusal.routerID) {
            try Self.filter().admit(Self.received(routerID: 52))
        }
        #expect(throws: AdvertisementRefusal.destination) {
            try Self.filter().admit(
                Self.received(destination: SocketAddress(ipv4: 0xC0A8_01FF, port: 0)))
        }
        #expect(throws: AdvertisementRefusal.peerUnknown) {
            try Self.filter(peersOnly: true).admit(Self.received(source: 0xC0A8_0163))
        }
        #expect(throws: Never.self) { try Self.filter(peersOnly: true).admit(Self.received()) }
    }
}
