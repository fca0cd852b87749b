package import EdgeCore

/// Ethernet frames that tell a network at which hardware address an address is now: gratuitous ARP
/// (RFC 826, RFC 5227 §3) and unsolicited neighbour advertisements (RFC 4861 §7.2.6).
package enum AnnouncementFrame {
    /// Those for one address. For IPv4 a request and a reply, because some listen to one of them
    /// only; for IPv6 one advertisement that overrides what is known.
    ///
    /// - Parameters:
    ///   - hardwareAddress: six bytes; with another number of them there is no frame.
    ///   - isRouter: the machine forwards IPv6 there; who says no is not a default router any more
    ///     (RFC 4861 §7.2.5).
    package static func all(
        for address: SocketAddress, hardwareAddress: [UInt8], isRouter: Bool
    ) -> [[UInt8]] {
        guard hardwareAddress.count == 6 else { return [] }
        guard address.isIPv4 else {
            return [
                advertisement(address, hardwareAddress: hardwareAddress, isRouter: isRouter)
            ]
        }
        return [
            arp(address, hardwareAddress, operation: 1),
            arp(address, hardwareAddress, operation: 2),
        ]
    }

    private static func arp(
        _ address: SocketAddress, _ hardwareAddress: [UInt8], operation: UInt8
    ) -> [UInt8] {
        let target: [UInt8] = big(address.ipv4)
        let all = [UInt8](repeating: 0xFF, count: 6)
        return all + hardwareAddress + [0x08, 0x06]  // To all, ARP
            + [0, 1, 0x08, 0x00, 6, 4, 0, operation]  // Ethernet, IPv4, their lengths
            + hardwareAddress + target
            // What a request asks for is not known; a reply is to everybody.
            + (operation == 1 ? [UInt8](repeating: 0, count: 6) : all) + target
    }

    private static func advertisement(
        _ address: SocketAddress, hardwareAddress: [UInt8], isRouter: Bool
    ) -> [UInt8] {
        let source: [UInt8] = big(address.high) + big(address.low)
        let all: [UInt8] = [0xFF, 0x02] + [UInt8](repeating: 0, count: 13) + [1]
        let message: [UInt8] =
            [136, 0, 0, 0]  // Type, code, checksum
            + [isRouter ? 0xA0 : 0x20, 0, 0, 0]  // Router, Override
            + source + [2, 1] + hardwareAddress  // Target, its link-layer address
        let sum = checksum(
            source + all + big(UInt32(message.count)) + [0, 0, 0, 58] + message)
        return [0x33, 0x33, 0, 0, 0, 1] + hardwareAddress + [0x86, 0xDD]
            + [0x60, 0, 0, 0] + big(UInt16(message.count)) + [58, 255] + source + all
            + message[0..<2] + big(sum) + message[4...]
    }

    /// RFC 1071; `bytes` are even in number.
    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        }
        while sum >> 16 != 0 { sum = sum & 0xFFFF + sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }

    private static func big<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}
