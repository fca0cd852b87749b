package import EdgeCore
package import EdgeSystem

/// What has to change for interfaces to have the addresses that they should: pure, so that every
/// case is a test.
package enum AddressPlan {
    package enum Step: Sendable, Equatable {
        case add(InterfaceAddress)
        case remove(InterfaceAddress, Why)
    }

    package enum Why: String, Sendable, CaseIterable {
        /// It is of this configuration, and somebody else's at the moment.
        case notHeld
        /// It has our mark and is of no configuration: a former guardian's.
        case leftBehind
        /// The kernel found somebody else with it and does not use it: it is put on anew.
        case unusable
    }

    /// What we put into IFA_PROTO, so that a guardian that comes after a crash knows its own.
    package static let mark: UInt8 = 0xED

    /// - Parameters:
    ///   - wanted: what should be there.
    ///   - governed: what is ours to put on and take off, whether wanted or not; an address that
    ///     somebody else put on another interface is not.
    ///   - present: what there is; of all interfaces, or of some.
    /// - Returns: removals first.
    package static func steps(
        wanted: [InterfaceAddress], governed: [InterfaceAddress], present: [InterfaceAddress]
    ) -> [Step] {
        var removals: [Step] = []
        var kept: [InterfaceAddress] = []
        for address in present {
            let isHere = { (other: InterfaceAddress) in
                other.index == address.index && other.address == address.address
            }
            if wanted.contains(where: isHere) {
                if address.flags.contains(.duplicate) {
                    removals.append(.remove(address, .unusable))
                } else {
                    kept.append(address)
                }
            } else if governed.contains(where: isHere) {
                removals.append(.remove(address, .notHeld))
            } else if address.origin == mark {
                removals.append(.remove(address, .leftBehind))
            }
        }
        let additions = wanted.filter { want in
            !kept.contains {
                // IPv6 has an address once; IPv4 once per prefix, and each has its own route.
                $0.index == want.index && $0.address == want.address
                    && (!want.address.isIPv4 || $0.prefixLength == want.prefixLength)
            }
        }
        return removals + additions.map { .add($0) }
    }

    /// How we put an address on: IPv6 usable at once and never chosen as the source of new
    /// connections of our own, which would break when it moves. (IPv4 ignores that; there the
    /// interface's own address of the subnet is the preferred one.)
    ///
    /// - Parameter hasRoute: the route to its subnet comes with it.
    package static func virtual(
        _ address: SocketAddress, prefixLength: UInt8, on index: Int32, hasRoute: Bool = true
    ) -> InterfaceAddress {
        var flags: InterfaceAddress.Flags = []
        if !address.isIPv4 { flags.formUnion([.noDuplicateDetection, .deprecated]) }
        if !hasRoute { flags.insert(.noPrefixRoute) }
        return InterfaceAddress(
            index: index, address: address, prefixLength: prefixLength, flags: flags, origin: mark)
    }
}
