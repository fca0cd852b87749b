import EdgeCore

/// What holds between the instances, the nodes and their addresses. Everything wrong is reported.
extension FailoverDraft {
    func check(_ nodes: NodeList, in main: Section) {
        checkPriority(nodes, in: main)
        checkNames()
        checkAddresses(nodes, in: main)
        checkRouterIDs()
        for instance in instances where instance.shared.isUnicast {
            checkPeers(of: instance, nodes)
        }
        if nodes.drafts.isEmpty, !main.has("nodes") {
            for key in ["secret", "accepted_secret", "port"] where section.has(key) {
                section.error(
                    section.location(of: key), "failover.\(key) has no effect without 'nodes'",
                    hint: "nobody is told how this node is")
            }
        }
    }

    private func checkPriority(_ nodes: NodeList, in main: Section) {
        if let priority, main.has("nodes") {
            section.error(
                priority.location, "failover.priority has no effect beside 'nodes'",
                hint: "each of them has its own 'priority'")
        }
        for node in nodes.drafts where node.node.priority == .max {
            let ownsAll = instances.allSatisfy { instance in
                instance.addresses.allSatisfy { node.node.addresses.contains($0.value.address) }
            }
            guard !ownsAll, let priority = node.priority else { continue }
            section.error(
                priority.location,
                "nodes.\(node.node.name).priority: 255 says that the addresses of 'failover' are "
                    + "the machine's own, which they are not",
                hint: "1 to 254")
        }
    }

    private func checkNames() {
        for (index, instance) in instances.enumerated() {
            let same = instances[..<index].first { $0.name.value == instance.name.value }
            guard let same else { continue }
            section.error(
                instance.name.location,
                "two instances of failover are called '\(instance.name.value)'",
                hint: "first at \(same.name.location)")
        }
    }

    private func checkAddresses(_ nodes: NodeList, in main: Section) {
        var places: [SocketAddress: Location] = [:]
        for instance in instances {
            for address in instance.addresses {
                let own = address.value.address
                if let first = places[own] {
                    section.error(
                        address.location,
                        "\(instance.title).addresses: \(own.addressText) "
                            + "is there twice", hint: "first at \(first)")
                }
                places[own] = places[own] ?? address.location
                for node in nodes.drafts
                where node.node.addresses.contains(own) && node.node.priority != .max {
                    section.error(
                        address.location,
                        "\(instance.title).addresses: \(own.addressText) is the own address of "
                            + "node '\(node.node.name)'",
                        hint: "one that both can have; see \(node.location)")
                }
            }
        }
    }

    private func checkRouterIDs() {
        for (index, instance) in instances.enumerated() {
            guard let id = instance.routerID, let interface = instance.interface else { continue }
            let same = instances[..<index].first {
                $0.routerID?.value == id.value && $0.interface?.value == interface.value
            }
            guard let same, let first = same.routerID?.location else { continue }
            section.error(
                id.location,
                "\(instance.title).router_id: \(id.value) is used twice on '\(interface.value)'",
                hint: "first at \(first)")
        }
    }

    private func checkPeers(of instance: InstanceDraft, _ nodes: NodeList) {
        let peers = self.peers(of: instance, nodes)
        guard !peers.isEmpty else {
            guard nodes.drafts.count < 2 else { return }
            section.error(
                instance.location, "\(instance.title) has 'unicast: yes' and nobody to talk to",
                hint: "name the 'nodes', or 'peers'")
            return
        }
        for isIPv4 in [true, false] {
            guard
                let address = instance.addresses.first(where: { $0.value.address.isIPv4 == isIPv4 }
                ),
                !peers.contains(where: { $0.isIPv4 == isIPv4 })
            else { continue }
            let family = address.value.address.familyText
            section.error(
                address.location,
                "\(instance.title) has \(family) addresses, and no peer has one for 'unicast: yes'",
                hint: "give the other node an \(family) address")
        }
    }

    /// Whom the instance talks to; empty: the group of all routers. A list may have this node's own
    /// address: both nodes read the same file.
    func peers(of instance: InstanceDraft, _ nodes: NodeList) -> [SocketAddress] {
        guard instance.shared.isUnicast else { return [] }
        guard !instance.shared.peers.isEmpty else {
            return nodes.others.flatMap(\.node.addresses)
        }
        let own = nodes.own?.node.addresses ?? []
        return instance.shared.peers.map(\.value).filter { !own.contains($0) }
    }
}
