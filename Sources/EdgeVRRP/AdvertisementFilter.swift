package import EdgeCore

/// Says which instance an advertisement is for, and whether it counts (RFC 9568 §7.1, the part that
/// needs configuration). One per interface; a value, made anew when settings or addresses change.
package struct AdvertisementFilter: Sendable {
    package struct Admission: Sendable, Equatable {
        /// Index of the instance among those the filter was made of.
        package let instance: Int
        /// True if the sender's address list is another than ours, whatever the order: to be logged
        /// and counted, and nothing else (RFC 9568 §7.1).
        package let addressesDiffer: Bool
    }

    private struct Row: Sendable {
        let instance: Int
        let family: IPFamily
        let routerID: UInt8
        let addresses: Set<SocketAddress>
        /// nil: anybody.
        let peers: Set<SocketAddress>?
        /// A packet may have come over routers (`InstanceSettings.takesAnyHops`).
        let takesAnyHops: Bool
    }

    private let rows: [Row]
    /// Of this interface, port and scope 0.
    private let ownAddresses: Set<SocketAddress>

    /// - Parameter instances: those of one interface.
    /// - Parameter ownAddresses: what this node's interface has besides virtual addresses.
    package init(instances: [InstanceSettings], ownAddresses: [SocketAddress]) {
        self.ownAddresses = Set(ownAddresses.map(\.bare))
        rows = instances.enumerated().flatMap { index, instance in
            instance.families.map { family in
                Row(
                    instance: index, family: family.family, routerID: instance.routerID,
                    addresses: Set(family.addresses.map(\.address.bare)),
                    peers: instance.acceptsPeersOnly ? Set(family.peers.map(\.bare)) : nil,
                    takesAnyHops: instance.takesAnyHops && instance.acceptsPeersOnly)
            }
        }
    }

    /// Whether an instance takes unicast of the family with another TTL or hop limit than 255: how
    /// packets are to be read.
    package func takesAnyHops(_ family: IPFamily) -> Bool {
        rows.contains { $0.family == family && $0.takesAnyHops }
    }

    /// - Throws: `.looped`, `.destination`, `.routerID`, `.hops` or `.peerUnknown`.
    package func admit(
        _ received: ReceivedAdvertisement
    ) throws(AdvertisementRefusal) -> Admission {
        let advertisement = received.advertisement
        guard !ownAddresses.contains(received.source.bare) else { throw .looped }
        let destination = received.destination.bare
        guard destination == advertisement.family.group || ownAddresses.contains(destination)
        else { throw .destination }
        guard
            let row = rows.first(where: {
                $0.routerID == advertisement.routerID && $0.family == advertisement.family
            })
        else { throw .routerID }
        guard
            received.hops == Advertisement.hops
                || row.takesAnyHops && destination != advertisement.family.group
        else { throw .hops }
        guard row.peers?.contains(received.source.bare) ?? true else { throw .peerUnknown }
        return Admission(
            instance: row.instance,
            addressesDiffer: Set(advertisement.addresses.map(\.bare)) != row.addresses)
    }
}
