internal import CEdge
internal import Glibc

/// A network interface with what can change of it: whether frames get through at the moment, and
/// from which address they come.
package struct NetworkLink: Sendable, Equatable {
    package let interface: NetworkInterface
    /// `IFF_…`, netdevice(7).
    package let flags: UInt32
    /// Six bytes on Ethernet; empty where there are none (WireGuard).
    package let hardwareAddress: [UInt8]
    /// Bytes of a packet.
    package let mtu: UInt32
    /// What somebody has noted at it (IFLA_IFALIAS); empty: nothing.
    package let alias: String

    package init(
        interface: NetworkInterface, flags: UInt32, hardwareAddress: [UInt8], mtu: UInt32 = 1500,
        alias: String = ""
    ) {
        self.interface = interface
        self.flags = flags
        self.hardwareAddress = hardwareAddress
        self.mtu = mtu
        self.alias = alias
    }

    /// The administrator wants it up (IFF_UP).
    package var isEnabled: Bool { flags & 0x1 != 0 }
    /// The cable is in (IFF_LOWER_UP) and nothing else, such as 802.1X, holds traffic back
    /// (IFF_RUNNING).
    package var hasCarrier: Bool { flags & 0x1_0000 != 0 && flags & 0x40 != 0 }
    package var isUsable: Bool { isEnabled && hasCarrier }
    package var isLoopback: Bool { flags & 0x8 != 0 }
    /// Frames to all reach all (IFF_BROADCAST, no IFF_NOARP): addresses are announced there.
    package var hasNeighbours: Bool { flags & 0x2 != 0 && flags & 0x80 == 0 }

    /// All of them, in the kernel's order (RTM_GETLINK, rtnetlink(7)).
    package static func readAll(_ socket: NetlinkSocket) throws(SystemError) -> [NetworkLink] {
        let request = NetlinkMessage(
            type: UInt16(RTM_GETLINK), flags: 0, fixed: [UInt8](repeating: 0, count: 16))
        // A list that changed while it was made is made again.
        for attempt in 0... {
            var result: [NetworkLink] = []
            do throws(SystemError) {
                try socket.dump(request, "RTM_GETLINK") { type, bytes in
                    if type == UInt16(RTM_NEWLINK), let link = NetworkLink(message: bytes) {
                        result.append(link)
                    }
                }
                return result
            } catch {
                guard error.code == EINTR, attempt < 8 else { throw error }
            }
        }
        return []
    }

    /// - Parameter bytes: an `ifinfomsg` and its attributes; nil if it is about a bridge's port
    ///   instead of the interface itself, or damaged.
    package init?(message bytes: Span<UInt8>) {
        guard bytes.count >= 16, bytes[0] == 0 else { return nil }
        let index = Int32(bitPattern: NetlinkReader.word(bytes, 4))
        let flags = NetlinkReader.word(bytes, 8)
        var name = ""
        var parent: Int32 = 0
        var kind = ""
        var isElsewhere = false
        var hardwareAddress: [UInt8] = []
        var mtu: UInt32 = 0
        var alias = ""
        NetlinkReader.forEachAttribute(bytes.extracting(16...)) { type, value in
            switch type {
            case 1:  // IFLA_ADDRESS
                hardwareAddress = []
                for index in 0..<value.count { hardwareAddress.append(value[index]) }
            case 3: name = NetlinkReader.text(value)  // IFLA_IFNAME
            case 4 where value.count >= 4: mtu = NetlinkReader.word(value, 0)  // IFLA_MTU
            case 5 where value.count >= 4:  // IFLA_LINK
                parent = Int32(bitPattern: NetlinkReader.word(value, 0))
            case 20: alias = NetlinkReader.text(value)  // IFLA_IFALIAS
            case 18:  // IFLA_LINKINFO
                NetlinkReader.forEachAttribute(value) { type, value in
                    if type == 1 { kind = NetlinkReader.text(value) }  // IFLA_INFO_KIND
                }
            case 37: isElsewhere = true  // IFLA_LINK_NETNSID
            default: break
            }
        }
        guard index > 0, !name.isEmpty else { return nil }
        self.init(
            interface: NetworkInterface(
                index: index, name: name, parent: isElsewhere || parent == index ? 0 : parent,
                kind: kind),
            flags: flags, hardwareAddress: hardwareAddress, mtu: mtu, alias: alias)
    }
}
