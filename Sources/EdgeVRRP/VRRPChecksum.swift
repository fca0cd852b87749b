package import EdgeCore

/// The Internet checksum (RFC 1071) over an advertisement, with or without the pseudo-header of
/// RFC 9568 §5.2.8.
package struct VRRPChecksum: Sendable {
    private var sum: UInt32 = 0

    package init() {}

    /// Adds bytes; only the last piece may be odd. At most 64 KiB in all.
    package mutating func add(_ bytes: Span<UInt8>) {
        var index = 0
        while index + 1 < bytes.count {
            sum += UInt32(bytes.word16(at: index))
            index += 2
        }
        if index < bytes.count { sum += UInt32(bytes[index]) << 8 }
        sum = (sum & 0xFFFF) + sum >> 16
    }

    private mutating func add(word64 value: UInt64) {
        for shift in [48, 32, 16, 0] { sum += UInt32(value >> UInt64(shift) & 0xFFFF) }
    }

    /// RFC 768's pseudo-header for IPv4, RFC 8200 §8.1's for IPv6.
    private mutating func addPseudoHeader(
        source: SocketAddress, destination: SocketAddress, byteCount: Int
    ) {
        for address in [source, destination] {
            if address.isIPv4 {
                add(word64: UInt64(address.ipv4))
            } else {
                add(word64: address.high)
                add(word64: address.low)
            }
        }
        add(word64: UInt64(byteCount))
        sum += UInt32(Advertisement.ipProtocol)
    }

    /// The complement of the folded sum; 0 over bytes that carry their own correct checksum.
    package var folded: UInt16 {
        var rest = sum
        while rest > 0xFFFF { rest = rest & 0xFFFF + rest >> 16 }
        return ~UInt16(rest)
    }

    /// The checksum of a payload whose checksum field is 0. `checksum` is for IPv4.
    package static func compute(
        _ payload: Span<UInt8>, source: SocketAddress, destination: SocketAddress,
        checksum: IPv4Checksum
    ) -> UInt16 {
        var sum = VRRPChecksum()
        sum.add(payload)
        if !source.isIPv4 || checksum == .withPseudoHeader {
            sum.addPseudoHeader(
                source: source, destination: destination, byteCount: payload.count)
        }
        return sum.folded
    }

    /// How a payload was summed, or nil if its checksum is wrong in every way that is allowed.
    package static func verify(
        _ payload: Span<UInt8>, source: SocketAddress, destination: SocketAddress
    ) -> IPv4Checksum? {
        let allowed = source.isIPv4 ? IPv4Checksum.allCases : [.withPseudoHeader]
        return allowed.first { style in
            compute(payload, source: source, destination: destination, checksum: style) == 0
        }
    }
}
