package import EdgeCore

extension ReceivedAdvertisement {
    /// Reads what a raw IPv4 socket gives: the packet with its IP header, options included. Bytes
    /// beyond the header's total length (padding of a short frame) are not looked at.
    ///
    /// - Parameter takesAnyHops: true: unicast with another TTL than 255 is read as well; whoever
    ///   passes it on looks at `hops`.
    /// - Throws: in the order of RFC 9568 §7.1, as far as it needs no configuration.
    package init(
        ipv4Packet packet: Span<UInt8>, takesAnyHops: Bool = false
    ) throws(AdvertisementRefusal) {
        guard packet.count >= 20 else { throw .truncated }
        guard packet[0] >> 4 == 4, packet[9] == Advertisement.ipProtocol else { throw .notVRRP }
        let headerCount = Int(packet[0] & 0xF) * 4
        let totalCount = packet.word16(at: 2)
        // No fragments: an advertisement is far smaller than any link's frame.
        guard packet.word16(at: 6) & 0x3FFF == 0 else { throw .notVRRP }
        guard headerCount >= 20 else { throw .notVRRP }
        guard totalCount <= packet.count, headerCount <= totalCount else { throw .truncated }
        let source = SocketAddress(ipv4: packet.word32(at: 12), port: 0)
        let destination = SocketAddress(ipv4: packet.word32(at: 16), port: 0)
        guard packet[8] == Advertisement.hops || takesAnyHops && !destination.isMulticast else {
            throw .hops
        }
        let payload = packet.extracting(headerCount..<totalCount)
        try self.init(
            payload: payload, source: source, destination: destination, hops: packet[8])
    }

    /// Reads what a raw IPv6 socket gives: the payload, with what its control messages say.
    ///
    /// - Parameter hopLimit: of the packet (IPV6_RECVHOPLIMIT).
    /// - Parameter destination: of the packet (IPV6_RECVPKTINFO).
    /// - Parameter takesAnyHops: as for IPv4.
    /// - Throws: in the order of RFC 9568 §7.1, as far as it needs no configuration.
    package init(
        ipv6Payload payload: Span<UInt8>, hopLimit: UInt8, source: SocketAddress,
        destination: SocketAddress, takesAnyHops: Bool = false
    ) throws(AdvertisementRefusal) {
        guard !source.isIPv4, !destination.isIPv4 else { throw .notVRRP }
        guard hopLimit == Advertisement.hops || takesAnyHops && !destination.isMulticast else {
            throw .hops
        }
        try self.init(
            payload: payload, source: source.with(port: 0), destination: destination.bare,
            hops: hopLimit)
    }

    private init(
        payload: Span<UInt8>, source: SocketAddress, destination: SocketAddress, hops: UInt8
    ) throws(AdvertisementRefusal) {
        let family = source.family
        guard payload.count >= 1 else { throw .truncated }
        switch payload[0] >> 4 {
        case 3: break
        case 2: throw .versionTwo
        default: throw .version
        }
        guard payload.count >= Advertisement.headByteCount else { throw .truncated }
        guard
            let checksum = VRRPChecksum.verify(payload, source: source, destination: destination)
        else { throw .checksum }
        guard payload[0] & 0xF == 1 else { throw .type }
        let count = Int(payload[3])
        let size = family.addressByteCount
        guard count > 0, payload.count == Advertisement.headByteCount + count * size else {
            throw .length
        }
        // The four bits before the interval are reserved and ignored (RFC 9568 §5.2.6).
        let centiseconds = UInt16(truncatingIfNeeded: payload.word16(at: 4)) & 0x0FFF
        guard centiseconds > 0 else { throw .interval }
        // Unicast is no part of the RFC: keepalived sends it from whatever it is told to.
        guard !source.isUnspecified, !source.isMulticast,
            family == .ipv4 || source.isLinkLocal || !destination.isMulticast
        else { throw .source }
        let addresses = (0..<count).map { index in
            payload.address(at: Advertisement.headByteCount + index * size, family: family)
        }
        self.init(
            advertisement: Advertisement(
                family: family, routerID: payload[1], priority: payload[2],
                centiseconds: centiseconds, addresses: addresses),
            source: source, destination: destination, checksum: checksum, hops: hops)
    }
}

extension Span<UInt8> {
    /// Two bytes in network order.
    func word16(at offset: Int) -> Int { Int(self[offset]) << 8 | Int(self[offset + 1]) }

    /// Four bytes in network order.
    func word32(at offset: Int) -> UInt32 {
        UInt32(word16(at: offset)) << 16 | UInt32(word16(at: offset + 2))
    }

    /// Eight bytes in network order.
    func word64(at offset: Int) -> UInt64 {
        UInt64(word32(at: offset)) << 32 | UInt64(word32(at: offset + 4))
    }

    func address(at offset: Int, family: IPFamily) -> SocketAddress {
        switch family {
        case .ipv4: SocketAddress(ipv4: word32(at: offset), port: 0)
        case .ipv6:
            SocketAddress(ipv6High: word64(at: offset), low: word64(at: offset + 8), port: 0)
        }
    }
}
