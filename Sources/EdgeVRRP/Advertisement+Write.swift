package import EdgeCore

extension Advertisement {
    /// The payload of a packet from `source` to `destination`, whose checksum covers both unless
    /// `checksum` says otherwise (IPv6: always). The caller adds the IP header: TTL 255 for IPv4.
    ///
    /// The addresses must be of the family, 1…255 in number, the first IPv6 address link-local.
    package func payload(
        from source: SocketAddress, to destination: SocketAddress,
        checksum: IPv4Checksum = .withPseudoHeader
    ) -> [UInt8] {
        invariant(
            (1...255).contains(addresses.count)
                && addresses.allSatisfy { $0.family == family },
            "an advertisement carries 1 to 255 addresses of its family")
        invariant(
            family == .ipv4 || addresses.first?.isLinkLocal == true,
            "the first IPv6 address of an advertisement is link-local")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headByteCount + addresses.count * family.addressByteCount)
        bytes.append(0x31)
        bytes.append(routerID)
        bytes.append(priority)
        bytes.append(UInt8(addresses.count))
        bytes.append(word16: min(max(centiseconds, 1), Self.centisecondsMax))
        bytes.append(word16: 0)
        for address in addresses { bytes.append(address) }
        let sum = VRRPChecksum.compute(
            bytes.span, source: source, destination: destination, checksum: checksum)
        bytes[6] = UInt8(sum >> 8)
        bytes[7] = UInt8(truncatingIfNeeded: sum)
        return bytes
    }

    /// An IPv4 header for this payload, for sockets with IP_HDRINCL and for tests: 20 bytes, TTL
    /// 255, precedence "internetwork control", not to be fragmented. The kernel fills in the header
    /// checksum; it is written here all the same.
    package static func ipv4Header(
        from source: SocketAddress, to destination: SocketAddress, payloadByteCount: Int
    ) -> [UInt8] {
        var bytes: [UInt8] = [0x45, 0xC0]
        bytes.append(word16: UInt16(clamping: 20 + payloadByteCount))
        bytes += [0, 0, 0x40, 0, hops, ipProtocol, 0, 0]
        bytes.append(source)
        bytes.append(destination)
        var sum = VRRPChecksum()
        sum.add(bytes.span)
        bytes[10] = UInt8(sum.folded >> 8)
        bytes[11] = UInt8(truncatingIfNeeded: sum.folded)
        return bytes
    }
}

extension [UInt8] {
    mutating func append(word16 value: UInt16) {
        append(UInt8(value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    mutating func append(word32 value: UInt32) {
        append(word16: UInt16(value >> 16))
        append(word16: UInt16(truncatingIfNeeded: value))
    }

    mutating func append(word64 value: UInt64) {
        append(word32: UInt32(value >> 32))
        append(word32: UInt32(truncatingIfNeeded: value))
    }

    /// The address in network order: 4 or 16 bytes.
    mutating func append(_ address: SocketAddress) {
        if address.isIPv4 {
            append(word32: address.ipv4)
        } else {
            append(word64: address.high)
            append(word64: address.low)
        }
    }
}
