internal import CEdge
package import EdgeCore
package import EdgeSystem
internal import Glibc

/// A raw socket of protocol 112 (RFC 9568 §5.1) on one interface, for one family: everything of
/// that protocol which arrives there, and a way out with hop limit 255. One thread.
package final class VRRPSocket {
    package let isIPv4: Bool
    /// Of the interface it is bound to: one that comes back under its name needs another socket.
    package let index: Int32
    package let isMulticast: Bool

    private let socket: FileDescriptor
    private var reader = PacketReader(byteCountMax: VRRPSocket.byteCountMax)

    /// IP's protocol number (RFC 9568 §5.1.1.4).
    package static let protocolNumber: Int32 = 112
    /// 224.0.0.18 (RFC 9568 §5.1.1.2).
    package static let groupIPv4 = SocketAddress(ipv4: 0xE000_0012, port: 0)
    /// ff02::12 (RFC 9568 §5.1.2.2).
    package static let groupIPv6 = SocketAddress(ipv6High: 0xFF02 << 48, low: 0x12, port: 0)

    /// An advertisement of 255 addresses with an IP header of full length fits.
    private static let byteCountMax = 5120
    /// Some two hundred packets: what may come while we are not scheduled for a while.
    private static let receiveBuffer: Int32 = 256 << 10
    /// Internetwork control (RFC 791, DSCP CS6).
    private static let trafficClass: Int32 = 0xC0

    /// - Parameters:
    ///   - name: of the interface.
    ///   - isMulticast: the family's group is joined; else only what is sent to an address of this
    ///     machine arrives.
    /// - Throws: EPERM without CAP_NET_RAW; ENODEV if the interface has just gone.
    package init(
        isIPv4: Bool, index: Int32, name: String, isMulticast: Bool
    ) throws(SystemError) {
        self.isIPv4 = isIPv4
        self.index = index
        self.isMulticast = isMulticast
        let kind =
            Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        let fd = Glibc.socket(isIPv4 ? AF_INET : AF_INET6, kind, Self.protocolNumber)
        guard fd >= 0 else { throw SystemError(errnoOf: "socket(vrrp)", subject: name) }
        socket = FileDescriptor(owning: fd)
        guard setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, socklen_t(name.utf8.count)) == 0
        else { throw SystemError(errnoOf: "setsockopt(SO_BINDTODEVICE)", subject: name) }
        try setOption(fd, SOL_SOCKET, SO_RCVBUF, Self.receiveBuffer, "SO_RCVBUF")
        try setOption(fd, SOL_SOCKET, CE_SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS")
        if isIPv4 { try prepareIPv4() } else { try prepareIPv6() }
        // After the traffic class, which chooses another one.
        try setOption(fd, SOL_SOCKET, SO_PRIORITY, 7, "SO_PRIORITY")
    }

    /// Whether a descriptor is what `init(adopting:)` may have: a raw socket of this protocol and
    /// family that is bound to the interface of that name. Numbers are used again.
    package static func isOne(_ descriptor: Int32, isIPv4: Bool, name: String) -> Bool {
        func option(_ option: Int32) -> Int32? {
            var value: Int32 = 0
            var size = socklen_t(4)
            return getsockopt(descriptor, SOL_SOCKET, option, &value, &size) == 0 ? value : nil
        }
        guard option(SO_PROTOCOL) == protocolNumber, option(SO_TYPE) == Int32(SOCK_RAW.rawValue),
            option(SO_DOMAIN) == (isIPv4 ? AF_INET : AF_INET6)
        else { return false }
        var device = [UInt8](repeating: 0, count: Int(IFNAMSIZ))
        var size = socklen_t(device.count)
        // ENODEV if that interface has gone.
        guard getsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, &device, &size) == 0 else {
            return false
        }
        return device.prefix { $0 != 0 }.elementsEqual(name.utf8)
    }

    /// Takes over one that this process had as another program; its settings are the socket's own,
    /// but for the filter of a flood, which nobody would take off.
    package init(adopting descriptor: Int32, isIPv4: Bool, index: Int32, isMulticast: Bool) {
        socket = FileDescriptor(owning: descriptor)
        self.isIPv4 = isIPv4
        self.index = index
        self.isMulticast = isMulticast
        try? Descriptor.setCloseOnExec(descriptor)
        admitAll()
    }

    /// For poll; do not close it.
    package var descriptor: Int32 { socket.raw }
    /// Packets whose time of arrival could not be told because the wall clock jumped.
    package var clockJumps: UInt64 { reader.clockJumps }

    private func prepareIPv4() throws(SystemError) {
        let fd = socket.raw
        let level = Int32(IPPROTO_IP)
        try setOption(fd, level, IP_TOS, Self.trafficClass, "IP_TOS")
        try setOption(fd, level, IP_TTL, 255, "IP_TTL")
        try setOption(fd, level, IP_MULTICAST_TTL, 255, "IP_MULTICAST_TTL")
        try setOption(fd, level, IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP")
        // What others on this machine have joined is none of ours.
        try setOption(fd, level, CE_IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL")
        // struct ip_mreqn: group, address, index.
        var member = [UInt8](repeating: 0, count: 12)
        member.withUnsafeMutableBytes {
            $0.storeBytes(of: index, toByteOffset: 8, as: Int32.self)
        }
        try set(level, IP_MULTICAST_IF, member, "IP_MULTICAST_IF")
        guard isMulticast else { return }
        member.withUnsafeMutableBytes {
            $0.storeBytes(of: Self.groupIPv4.ipv4.bigEndian, as: UInt32.self)
        }
        try set(level, IP_ADD_MEMBERSHIP, member, "IP_ADD_MEMBERSHIP")
    }

    private func prepareIPv6() throws(SystemError) {
        let fd = socket.raw
        let level = Int32(IPPROTO_IPV6)
        try setOption(fd, level, CE_IPV6_TCLASS, Self.trafficClass, "IPV6_TCLASS")
        try setOption(fd, level, IPV6_UNICAST_HOPS, 255, "IPV6_UNICAST_HOPS")
        try setOption(fd, level, IPV6_MULTICAST_HOPS, 255, "IPV6_MULTICAST_HOPS")
        try setOption(fd, level, IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP")
        try setOption(fd, level, CE_IPV6_MULTICAST_ALL, 0, "IPV6_MULTICAST_ALL")
        try setOption(fd, level, IPV6_MULTICAST_IF, index, "IPV6_MULTICAST_IF")
        try setOption(fd, level, CE_IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT")
        try setOption(fd, level, CE_IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO")
        guard isMulticast else { return }
        // struct ipv6_mreq: group, index.
        var member = [UInt8](repeating: 0, count: 20)
        member.withUnsafeMutableBytes {
            $0.storeBytes(of: Self.groupIPv6.high.bigEndian, as: UInt64.self)
            $0.storeBytes(of: Self.groupIPv6.low.bigEndian, toByteOffset: 8, as: UInt64.self)
            $0.storeBytes(of: index, toByteOffset: 16, as: Int32.self)
        }
        try set(level, CE_IPV6_ADD_MEMBERSHIP, member, "IPV6_ADD_MEMBERSHIP")
    }

    private func set(
        _ level: Int32, _ name: Int32, _ value: [UInt8], _ text: String
    ) throws(SystemError) {
        guard setsockopt(socket.raw, level, name, value, socklen_t(value.count)) == 0 else {
            throw SystemError(errnoOf: "setsockopt(\(text))", subject: "interface \(index)")
        }
    }

    // MARK: - Packets

    /// Hands what has arrived to `body`, at most `max` packets: a flood is not to keep us from our
    /// own advertisements.
    ///
    /// - Returns: false if nothing more is there at the moment.
    package func receive(max: Int, _ body: (RawPacket) -> Void) -> Bool {
        // Not while the reader is at work: whoever gets a packet may ask us things.
        var packets: [RawPacket] = []
        let isMore = reader.read(socket.raw, max: max) { packets.append($0) }
        for packet in packets { body(packet) }
        return isMore
    }

    /// Has the kernel drop what can't be for these virtual routers: other versions, types, router
    /// ids and hop limits (a raw socket of IPv4 sees the IP header, one of IPv6 does not).
    ///
    /// - Parameters:
    ///   - sources: who else's are dropped too; nil: nobody's.
    ///   - takesAnyHops: hop limits are not looked at.
    package func admitOnly(
        _ routerIDs: [UInt8], from sources: [SocketAddress]? = nil, takesAnyHops: Bool = false
    ) {
        let ids = Array(Set(routerIDs)).prefix(128)
        func jump(_ value: UInt32, _ isTrue: Int, _ isFalse: Int) -> sock_filter {
            sock_filter(code: 0x15, jt: UInt8(isTrue), jf: UInt8(isFalse), k: value)
        }
        // To the drop at the end, from the instruction of that number.
        let count = 6 + ids.count + 2
        func drop(_ from: Int) -> Int { count - 1 - from - 1 }
        // Byte 8 of an IPv4 header, or byte 7 of the IPv6 header before the data (SKF_NET_OFF).
        var code: [sock_filter] = [
            sock_filter(code: 0x30, jt: 0, jf: 0, k: isIPv4 ? 8 : 0xFFF0_0007),
            jump(255, 0, takesAnyHops ? 0 : drop(1)),
            // X: where the message begins: IPv4's header length, or 0.
            isIPv4
                ? sock_filter(code: 0xB1, jt: 0, jf: 0, k: 0)
                : sock_filter(code: 0x01, jt: 0, jf: 0, k: 0),
            sock_filter(code: 0x50, jt: 0, jf: 0, k: 0),
            jump(0x31, 0, drop(4)),
            sock_filter(code: 0x50, jt: 0, jf: 0, k: 1),
        ]
        for (index, id) in ids.enumerated() {
            let isLast = index == ids.count - 1
            code.append(jump(UInt32(id), ids.count - 1 - index, isLast ? 1 : 0))
        }
        code += [SocketFilter.accept, SocketFilter.drop]
        let first = sources.map { SocketFilter.sources($0, isIPv4: isIPv4) } ?? []
        SocketFilter.attach(first + code, to: socket.raw)
    }

    package func admitAll() { SocketFilter.detach(from: socket.raw) }

    /// Sends an advertisement; IPv4's header is the kernel's.
    ///
    /// - Parameters:
    ///   - source: an address of the interface; IPv6: its link-local one.
    ///   - destination: a peer; nil: the family's group.
    /// - Throws: ENETDOWN, ENODEV, EADDRNOTAVAIL, EINVAL (the source is not usable yet), ENOBUFS.
    package func send(
        _ payload: [UInt8], from source: SocketAddress, to destination: SocketAddress? = nil
    ) throws(SystemError) {
        let group = isIPv4 ? Self.groupIPv4 : Self.groupIPv6
        var target = destination ?? group
        if !isIPv4 { target.scope = UInt32(bitPattern: index) }
        let code = sendPacket(socket.raw, payload, from: source, to: target, index: index)
        guard code == 0 else {
            throw SystemError("send(vrrp)", code: code, subject: target.addressText)
        }
    }
}
