internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP

/// From a packet to the instance that it is for.
extension FailoverDriver {
    /// Those of all instances there.
    func virtualAddresses(on channel: InterfaceChannel) -> Set<SocketAddress> {
        Set(
            instances.filter { $0.channel === channel }
                .flatMap { $0.settings.families.flatMap(\.addresses) }.map(\.address))
    }

    func makeFilter(_ channel: InterfaceChannel) {
        let here = instances.filter { $0.channel === channel }
        let virtual = virtualAddresses(on: channel)
        let isOwner = here.contains { $0.settings.isOwner }
        channel.routerIDs = here.map(\.settings.routerID)
        channel.sources = onlySources(here)
        channel.takesAnyHops = here.contains(where: \.settings.takesAnyHops)
        filters[channel.name] = AdvertisementFilter(
            instances: here.map(\.settings),
            ownAddresses: channel.addresses.map(\.address).filter {
                isOwner || !virtual.contains($0)
            })
    }

    /// Who counts, per family; nobody is left out if anybody does for some instance.
    private func onlySources(_ here: [InstanceDriver]) -> [IPFamily: [SocketAddress]] {
        guard here.allSatisfy(\.settings.acceptsPeersOnly) else { return [:] }
        var result: [IPFamily: [SocketAddress]] = [:]
        for family in here.flatMap(\.settings.families) {
            result[family.family, default: []] += family.peers
        }
        return result.filter { $0.value.count <= SocketFilter.sourcesMax }
    }

    func received(_ family: IPFamily, _ packet: RawPacket, _ channel: InterfaceChannel) {
        figures.packetsReceived += 1
        guard let filter = filters[channel.name] else { return }
        do throws(AdvertisementRefusal) {
            let received = try Self.parse(
                family, packet, takesAnyHops: filter.takesAnyHops(family))
            let admission = try filter.admit(received)
            let here = instances.filter { $0.channel === channel }
            guard admission.instance < here.count else { return }
            here[admission.instance].handle(
                .advertisement(
                    ElectionMachine.Heard(
                        received, receivedAt: packet.receivedAt,
                        addressesDiffer: admission.addressesDiffer)))
        } catch {
            refused(error, packet.source, channel)
        }
    }

    static func parse(
        _ family: IPFamily, _ packet: RawPacket, takesAnyHops: Bool
    ) throws(AdvertisementRefusal) -> ReceivedAdvertisement {
        switch family {
        case .ipv4:
            return try ReceivedAdvertisement(
                ipv4Packet: packet.bytes.span, takesAnyHops: takesAnyHops)
        case .ipv6:
            guard let hopLimit = packet.hopLimit, let destination = packet.destination else {
                throw .hops
            }
            return try ReceivedAdvertisement(
                ipv6Payload: packet.bytes.span, hopLimit: hopLimit, source: packet.source,
                destination: destination, takesAnyHops: takesAnyHops)
        }
    }

    /// Counted, and the first of each kind is named.
    func refused(
        _ refusal: AdvertisementRefusal, _ source: SocketAddress, _ channel: InterfaceChannel
    ) {
        figures.refusals[refusal, default: 0] += 1
        guard refusalsLogged.insert(refusal).inserted else { return }
        let hint = refusal == .versionTwo ? ": it speaks VRRPv2, which is not ours" : ""
        log(
            refusal == .looped ? .info : .warning,
            "failover: \(channel.name): advertisements of \(source.addressText) are ignored"
                + " (\(refusal.rawValue))\(hint)")
    }

    func sendFailed(_ error: SystemError) {
        figures.sendFailures += 1
        if figures.lastSendFailure?.code != error.code {
            log(.warning, "failover: an advertisement could not be sent: \(error)")
        }
        figures.lastSendFailure = error
    }

    func heard(_ peer: PresenceMachine.Peer) {
        for instance in instances {
            instance.handle(.presence(peer.report(routerID: instance.settings.routerID)))
        }
    }
}
