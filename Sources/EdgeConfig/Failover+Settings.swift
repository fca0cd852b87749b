import EdgeCore
import EdgeVRRP

extension FailoverDraft {
    /// What the failover thread is given, once everything has been checked.
    ///
    /// - Parameter nodes: whose `own` is this one, if there are any.
    func configuration(_ nodes: NodeList, in main: Section) -> Configuration.Failover? {
        let own = nodes.own?.node
        var settings = FailoverSettings(
            nodeName: own?.name ?? main.pass.node.map { String($0.prefix(64)) } ?? "node",
            instances: instances.compactMap { instanceSettings($0, nodes) })
        settings.presence = presence(nodes)
        do throws(FailoverSettingsError) {
            try settings.check()
        } catch {
            // What an operator can do wrong has been told with its own place by now.
            if !main.pass.diagnostics.hasErrors {
                section.error(section.location, "failover: \(error)")
            }
            return nil
        }
        return Configuration.Failover(
            settings: settings, secret: secret, acceptedSecret: acceptedSecret, hook: hook)
    }

    private func instanceSettings(
        _ draft: InstanceDraft, _ nodes: NodeList
    ) -> InstanceSettings? {
        guard let interface = draft.interface, let routerID = draft.routerID else { return nil }
        let shared = draft.shared
        var settings = InstanceSettings(
            name: draft.name.value, routerID: routerID.value, interfaceName: interface.value,
            families: IPFamily.allCases.compactMap {
                familySettings($0, draft, routerID.value, nodes)
            },
            priority: nodes.own?.node.priority ?? priority?.value ?? 100,
            interval: shared.interval)
        settings.preemption =
            switch shared.preempt {
            case .never: .never
            case .always: .always
            case .after(let span): .after(span)
            }
        settings.checksum = shared.hasPseudoHeader ? .withPseudoHeader : .messageOnly
        settings.acceptsPeersOnly = shared.isUnicast
        settings.takesAnyHops = shared.isUnicast && shared.takesAnyHops
        settings.bootGate = bootTimeout
        settings.trackedInterfaces = shared.tracks.map(\.value)
        settings.usesVirtualMAC = shared.usesVirtualMAC
        return settings
    }

    private func familySettings(
        _ family: IPFamily, _ draft: InstanceDraft, _ routerID: UInt8, _ nodes: NodeList
    ) -> FamilySettings? {
        var addresses = draft.addresses.map(\.value).filter { $0.address.family == family }.map {
            VirtualAddress($0.address, prefixLength: UInt8($0.prefix))
        }
        guard !addresses.isEmpty else { return nil }
        if family == .ipv6 {
            // RFC 9568 §5.2.9: a link-local address comes first.
            let linkLocal = addresses.filter(\.address.isLinkLocal)
            addresses.removeAll(where: \.address.isLinkLocal)
            addresses =
                (linkLocal.isEmpty ? [.linkLocal(routerID: routerID)] : linkLocal) + addresses
        }
        let isUnicast = draft.shared.isUnicast
        let peers = peers(of: draft, nodes).filter { $0.family == family }
        let own =
            isUnicast ? nodes.own?.node.addresses.first { $0.family == family } : nil
        let written = draft.shared.peers.map(\.value)
        return FamilySettings(
            family: family, addresses: addresses, exchange: isUnicast ? .unicast : .multicast,
            peers: peers, source: own,
            // A list of peers may be of another network than the nodes' own addresses.
            isSourceRequired: written.isEmpty || own.map(written.contains) ?? false)
    }

    /// Between nodes of this file, by a family that both have.
    private func presence(_ nodes: NodeList) -> PresenceSettings {
        guard let own = nodes.own?.node else { return PresenceSettings() }
        var local: SocketAddress?
        let peers = nodes.others.compactMap { other -> SocketAddress? in
            for address in other.node.addresses {
                guard let mine = own.addresses.first(where: { $0.family == address.family }) else {
                    continue
                }
                local = local ?? mine.with(port: port)
                return address.with(port: port)
            }
            return nil
        }
        return PresenceSettings(peers: peers, local: local, isAuthenticated: secret != nil)
    }
}
