package import EdgeCore

/// The version of the Internet protocol that a virtual router instance speaks. IPv4 and IPv6 are
/// separate instances on the wire (RFC 9568 §1); here they share one fate.
package enum IPFamily: UInt8, Sendable, Hashable, CaseIterable, Comparable {
    case ipv4 = 4
    case ipv6 = 6

    package static func < (left: IPFamily, right: IPFamily) -> Bool {
        left.rawValue < right.rawValue
    }

    /// Where advertisements go unless they go to single peers: 224.0.0.18 (RFC 9568 §5.1.1.2) or
    /// ff02::12 (§5.1.2.2). Port 0; the scope of the IPv6 group is the interface's, to be added.
    package var group: SocketAddress {
        switch self {
        case .ipv4: SocketAddress(ipv4: 0xE000_0012, port: 0)
        case .ipv6: SocketAddress(ipv6High: 0xFF02_0000_0000_0000, low: 0x12, port: 0)
        }
    }

    /// Bytes of an address in an advertisement.
    package var addressByteCount: Int { self == .ipv4 ? 4 : 16 }

    /// The longest prefix.
    package var prefixLengthMax: UInt8 { self == .ipv4 ? 32 : 128 }
}

extension SocketAddress {
    package var family: IPFamily { isIPv4 ? .ipv4 : .ipv6 }

    /// fe80::/10.
    package var isLinkLocal: Bool { !isIPv4 && high >> 54 == 0x3FA }

    /// 224.0.0.0/4 or ff00::/8.
    package var isMulticast: Bool { isIPv4 ? ipv4 >> 28 == 0xE : high >> 56 == 0xFF }

    /// Without port and scope: what addresses in packets are compared by.
    package var bare: SocketAddress {
        var copy = self
        copy.port = 0
        copy.scope = 0
        return copy
    }

    /// True if the address is the greater one as an unsigned number in network order: what decides
    /// between equal priorities (RFC 9568 §6.4.3).
    package func outranks(_ other: SocketAddress) -> Bool {
        (high, low) > (other.high, other.low)
    }
}
