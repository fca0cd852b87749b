internal import CEdge
package import EdgeCore
internal import Glibc

/// An address of one interface, as rtnetlink(7) tells it.
package struct InterfaceAddress: Sendable, Hashable {
    /// Of the interface.
    package let index: Int32
    /// Port and scope 0.
    package let address: SocketAddress
    package let prefixLength: UInt8
    package let flags: Flags
    /// Who put it there (IFA_PROTO, Linux 5.18): 0 where nobody said.
    package let origin: UInt8

    /// `IFA_F_…`.
    package struct Flags: OptionSet, Sendable, Hashable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }

        /// IPv4: the subnet has another address on the interface, which is preferred as source.
        package static let secondary = Flags(rawValue: 0x01)
        /// IPv6: nobody is asked whether they have it as well.
        package static let noDuplicateDetection = Flags(rawValue: 0x02)
        package static let duplicate = Flags(rawValue: 0x08)
        /// New connections do not have it as their source.
        package static let deprecated = Flags(rawValue: 0x20)
        /// IPv6: not usable yet.
        package static let tentative = Flags(rawValue: 0x40)
        /// No route to its subnet comes with it.
        package static let noPrefixRoute = Flags(rawValue: 0x200)
    }

    package init(
        index: Int32, address: SocketAddress, prefixLength: UInt8, flags: Flags = [],
        origin: UInt8 = 0
    ) {
        self.index = index
        self.address = address
        self.prefixLength = prefixLength
        self.flags = flags
        self.origin = origin
    }

    package var isLinkLocal: Bool { !address.isIPv4 && address.high >> 54 == 0x3FA }

    // MARK: - What there is

    /// Those of all interfaces, in the kernel's order.
    ///
    /// - Parameter index: those of that interface alone.
    package static func readAll(
        _ socket: NetlinkSocket, of index: Int32 = 0
    ) throws(SystemError) -> [InterfaceAddress] {
        let request = NetlinkMessage(
            type: UInt16(RTM_GETADDR), flags: 0, fixed: fixed(family: 0, bits: 0, index: index))
        for attempt in 0... {
            var result: [InterfaceAddress] = []
            do throws(SystemError) {
                try socket.dump(request, "RTM_GETADDR") { type, bytes in
                    // Kernels that do not filter tell us all.
                    if type == UInt16(RTM_NEWADDR), let address = InterfaceAddress(message: bytes),
                        index == 0 || address.index == index
                    {
                        result.append(address)
                    }
                }
                return result
            } catch {
                // The interface has gone.
                if error.code == ENODEV { return [] }
                guard error.code == EINTR, attempt < 8 else { throw error }
            }
        }
        return []
    }

    /// - Parameter bytes: an `ifaddrmsg` and its attributes; nil for another family or a damaged
    ///   one.
    package init?(message bytes: Span<UInt8>) {
        guard bytes.count >= 8 else { return nil }
        let isIPv4 = Int32(bytes[0]) == AF_INET
        guard isIPv4 || Int32(bytes[0]) == AF_INET6 else { return nil }
        var local: SocketAddress?
        var plain: SocketAddress?
        var flags = UInt32(bytes[2])
        var origin: UInt8 = 0
        NetlinkReader.forEachAttribute(bytes.extracting(8...)) { type, value in
            switch type {
            case 1: plain = Self.address(value, isIPv4: isIPv4)  // IFA_ADDRESS
            case 2: local = Self.address(value, isIPv4: isIPv4)  // IFA_LOCAL
            case 8 where value.count >= 4: flags = NetlinkReader.word(value, 0)  // IFA_FLAGS
            case 11 where value.count >= 1: origin = value[0]  // IFA_PROTO
            default: break
            }
        }
        // With a peer, IFA_ADDRESS is the peer's.
        guard let address = local ?? plain else { return nil }
        self.init(
            index: Int32(bitPattern: NetlinkReader.word(bytes, 4)), address: address,
            prefixLength: bytes[1], flags: Flags(rawValue: flags), origin: origin)
    }

    private static func address(_ bytes: Span<UInt8>, isIPv4: Bool) -> SocketAddress? {
        guard bytes.count == (isIPv4 ? 4 : 16) else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for index in 0..<bytes.count {
            high = high << 8 | low >> 56
            low = low << 8 | UInt64(bytes[index])
        }
        return isIPv4
            ? SocketAddress(ipv4: UInt32(truncatingIfNeeded: low), port: 0)
            : SocketAddress(ipv6High: high, low: low, port: 0)
    }

    // MARK: - Changes

    /// Puts it on its interface, or changes what is there to these flags and this origin: usable
    /// at once (IPv6: no duplicate detection if the flags say so), for ever.
    ///
    /// - Parameter isReplacing: false: one that is there stays as it is, with its lifetimes.
    /// - Throws: ENODEV if there is no such interface, EEXIST if it stays as it is, EPERM, or what
    ///   else the kernel says.
    package func add(
        _ socket: NetlinkSocket, isReplacing: Bool = true
    ) throws(SystemError) {
        let mode = UInt16(isReplacing ? NLM_F_REPLACE : NLM_F_EXCL)
        var message = NetlinkMessage(
            type: UInt16(RTM_NEWADDR), flags: UInt16(NLM_F_CREATE) | mode,
            fixed: Self.fixed(
                family: UInt8(address.isIPv4 ? AF_INET : AF_INET6), bits: prefixLength,
                index: index))
        message.append(2, addressBytes)
        message.append(1, addressBytes)
        message.append(8, flags.rawValue)
        // IFA_CACHEINFO: preferred and valid seconds; the kernel fills in the rest.
        let preferred: UInt32 = flags.contains(.deprecated) ? 0 : .max
        var lifetimes: [UInt8] = []
        for word in [preferred, .max, 0, 0] { withUnsafeBytes(of: word) { lifetimes += $0 } }
        message.append(6, lifetimes)
        if origin != 0 { message.append(11, [origin]) }
        try socket.perform(message, "RTM_NEWADDR", subject: "\(self)")
    }

    /// Takes it off its interface.
    ///
    /// - Returns: false if it was not there.
    /// - Throws: EPERM, or what else the kernel says.
    @discardableResult
    package func remove(_ socket: NetlinkSocket) throws(SystemError) -> Bool {
        var message = NetlinkMessage(
            type: UInt16(RTM_DELADDR), flags: 0,
            fixed: Self.fixed(
                family: UInt8(address.isIPv4 ? AF_INET : AF_INET6), bits: prefixLength,
                index: index))
        message.append(2, addressBytes)
        message.append(1, addressBytes)
        do throws(SystemError) {
            try socket.perform(message, "RTM_DELADDR", subject: "\(self)")
            return true
        } catch {
            guard error.code == EADDRNOTAVAIL || error.code == ENODEV else { throw error }
            return false
        }
    }

    /// In network order.
    private var addressBytes: [UInt8] {
        if address.isIPv4 { return withUnsafeBytes(of: address.ipv4.bigEndian) { Array($0) } }
        return withUnsafeBytes(of: address.high.bigEndian) { Array($0) }
            + withUnsafeBytes(of: address.low.bigEndian) { Array($0) }
    }

    /// An `ifaddrmsg`.
    private static func fixed(family: UInt8, bits: UInt8, index: Int32) -> [UInt8] {
        [family, bits, 0, 0] + withUnsafeBytes(of: index) { Array($0) }
    }
}

extension InterfaceAddress: CustomStringConvertible {
    /// `192.0.2.1/24 on interface 3`.
    package var description: String {
        "\(address.addressText)/\(prefixLength) on interface \(index)"
    }
}
