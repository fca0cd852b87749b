internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// A macvlan with the MAC address of a virtual router (RFC 9568 §7.3), for one family: neighbours
/// keep what they know of the addresses when they move. It is up on the master alone.
///
/// It needs settings of the kernel's, which are written when it is made. Of its own: `arp_ignore`
/// 1 (it answers for the addresses that it has), `rp_filter` 2 (what arrives here is answered by
/// its parent), no IPv6 addresses but ours. Of its parent: `arp_ignore` 1, so that the parent does
/// not answer for addresses that are here, and `arp_announce` 2, so that it does not ask in their
/// name with its own MAC address; those stay.
final class VirtualInterface {
    let name: String
    let hardwareAddress: [UInt8]
    /// 0 while there is none.
    private(set) var index: Int32 = 0
    /// Why there is none, or why it may not work as it should.
    private(set) var failure: SystemError?

    private let family: IPFamily
    private let parent: String
    private var parentIndex: Int32 = 0
    /// What could not be made is not tried with every event.
    private var retryAt = Instant(nanoseconds: 0)

    /// What is noted at ours (IFLA_IFALIAS), so that those of a crash are found and those of other
    /// programs are let alone, whatever they are called.
    static let mark = "edged virtual router"

    init(routerID: UInt8, family: IPFamily, parent: String) {
        self.family = family
        self.parent = parent
        // 15 characters at most; two parents that end alike share no virtual router in practice.
        name = "vr\(family.rawValue)-\(routerID)-\(parent.suffix(7))"
        hardwareAddress = Self.hardwareAddress(routerID, isIPv4: family == .ipv4)
    }

    private static func hardwareAddress(_ routerID: UInt8, isIPv4: Bool) -> [UInt8] {
        [0, 0, 0x5E, 0, isIPv4 ? 1 : 2, routerID]
    }

    /// Whether a link is one that a guardian has made and left: our mark, and all that we give one.
    static func isOurs(_ link: NetworkLink) -> Bool {
        let parts = link.interface.name.split(
            separator: "-", maxSplits: 2, omittingEmptySubsequences: false)
        guard link.alias == mark, link.interface.kind == "macvlan", parts.count == 3,
            parts[0] == "vr4" || parts[0] == "vr6", let routerID = UInt8(parts[1])
        else { return false }
        return link.hardwareAddress == hardwareAddress(routerID, isIPv4: parts[0] == "vr4")
    }

    static func remove(_ link: NetworkLink, _ socket: NetlinkSocket) throws(SystemError) {
        try remove(index: link.interface.index, socket)
    }

    private static func remove(index: Int32, _ socket: NetlinkSocket) throws(SystemError) {
        try socket.perform(
            NetlinkMessage(type: UInt16(RTM_DELLINK), flags: 0, fixed: fixed(index: index)),
            "RTM_DELLINK")
    }

    /// An `ifinfomsg`.
    private static func fixed(index: Int32, flags: UInt32 = 0, change: UInt32 = 0) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, 0, 0]
        for word in [UInt32(bitPattern: index), flags, change] {
            withUnsafeBytes(of: word) { bytes += $0 }
        }
        return bytes
    }

    // MARK: - Life

    /// Makes it upon its parent, down; what was upon another one of that name has gone with it.
    ///
    /// - Parameters:
    ///   - parentIndex: 0: there is no such interface.
    ///   - isResuming: one that is there is ours and in use.
    func attach(to parentIndex: Int32, _ socket: NetlinkSocket, isResuming: Bool = false) {
        guard parentIndex != self.parentIndex || index == 0 && .now() >= retryAt else { return }
        self.parentIndex = parentIndex
        index = 0
        guard parentIndex > 0 else { return }
        do throws(SystemError) {
            if let old = try find(socket) {
                if isResuming, Self.isOurs(old), old.interface.parent == parentIndex {
                    index = old.interface.index
                    return
                }
                // The mark may be missing: a crash may have come before it.
                guard old.interface.kind == "macvlan", old.hardwareAddress == hardwareAddress else {
                    throw SystemError(
                        "RTM_NEWLINK", code: EEXIST, subject: name,
                        hint: "it is somebody else's; remove it or give it another name")
                }
                try Self.remove(old, socket)
            }
            try make(socket)
            index = try find(socket)?.interface.index ?? 0
            try note(socket)
            failure = nil
            try prepare()
        } catch {
            failure = error
            retryAt = .now().advanced(by: .seconds(1))
        }
    }

    /// It has been deleted by somebody: `attach` makes another one.
    func forget() {
        index = 0
        parentIndex = 0
    }

    func detach(_ socket: NetlinkSocket) {
        if index > 0 { try? Self.remove(index: index, socket) }
        index = 0
        parentIndex = 0
    }

    private func make(_ socket: NetlinkSocket) throws(SystemError) {
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWLINK), flags: UInt16(NLM_F_CREATE) | UInt16(NLM_F_EXCL),
            fixed: Self.fixed(index: 0))
        message.append(3, name)  // IFLA_IFNAME
        message.append(5, UInt32(bitPattern: parentIndex))  // IFLA_LINK
        message.append(1, hardwareAddress)  // IFLA_ADDRESS
        message.nest(18) {  // IFLA_LINKINFO
            $0.append(1, "macvlan")  // IFLA_INFO_KIND
            // IFLA_INFO_DATA: mode bridge. In the private mode the parent would never see frames
            // that come from this MAC address, and so nothing of another master.
            $0.nest(2) { $0.append(1, 4 as UInt32) }
        }
        try socket.perform(message, "RTM_NEWLINK", subject: name)
    }

    /// Links take no alias while they are made.
    private func note(_ socket: NetlinkSocket) throws(SystemError) {
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWLINK), flags: 0, fixed: Self.fixed(index: index))
        message.append(20, Array(Self.mark.utf8))  // IFLA_IFALIAS
        try socket.perform(message, "RTM_NEWLINK", subject: name)
    }

    private func find(_ socket: NetlinkSocket) throws(SystemError) -> NetworkLink? {
        try NetworkLink.readAll(socket).first { $0.interface.name == name }
    }

    /// - Throws: the first setting that is another and cannot be written.
    private func prepare() throws(SystemError) {
        let settings = [
            ("net/ipv4/conf/\(name)/arp_ignore", "1"), ("net/ipv4/conf/\(name)/rp_filter", "2"),
            ("net/ipv4/conf/\(parent)/arp_ignore", "1"),
            ("net/ipv4/conf/\(parent)/arp_announce", "2"),
        ]
        // Where IPv6 is switched off these are not there, and not needed.
        _ = KernelSetting.require("net/ipv6/conf/\(name)/addr_gen_mode", "1")
        _ = KernelSetting.require("net/ipv6/conf/\(name)/accept_ra", "0")
        for (key, value) in settings where !KernelSetting.require(key, value) {
            throw SystemError(
                "sysctl", code: EROFS, subject: "\(key)=\(value)",
                hint: "set it by sysctl.d, or allow the unit to")
        }
    }

    func enable(_ socket: NetlinkSocket) { set(isUp: true, socket) }
    func disable(_ socket: NetlinkSocket) { set(isUp: false, socket) }

    private func set(isUp: Bool, _ socket: NetlinkSocket) {
        guard index > 0 else { return }
        do throws(SystemError) {
            try socket.perform(
                NetlinkMessage(
                    type: UInt16(RTM_NEWLINK), flags: 0,
                    fixed: Self.fixed(index: index, flags: isUp ? 1 : 0, change: 1)),
                "RTM_NEWLINK", subject: name)
        } catch {
            failure = error
        }
    }

    // MARK: - Advertisements

    /// A whole frame, because its source is this MAC address while the packet's is the parent's
    /// (RFC 9568 §7.2): switches learn by it where the virtual router is.
    ///
    /// - Parameter payload: summed for these addresses.
    func frame(
        _ payload: [UInt8], from source: SocketAddress, to group: SocketAddress
    ) -> [UInt8] {
        switch family {
        case .ipv4:
            return [0x01, 0, 0x5E, 0, 0, 0x12] + hardwareAddress + [0x08, 0]
                + Advertisement.ipv4Header(
                    from: source, to: group, payloadByteCount: payload.count)
                + payload
        case .ipv6:
            var header: [UInt8] = [0x6C, 0, 0, 0, UInt8(payload.count >> 8)]
            header += [UInt8(truncatingIfNeeded: payload.count), Advertisement.ipProtocol, 255]
            for address in [source, group] {
                for word in [address.high, address.low] {
                    withUnsafeBytes(of: word.bigEndian) { header += $0 }
                }
            }
            return [0x33, 0x33, 0, 0, 0, 0x12] + hardwareAddress + [0x86, 0xDD] + header + payload
        }
    }
}
