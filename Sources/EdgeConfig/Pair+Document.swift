import EdgeCore

extension Assembly {
    /// `pair:`; nil: there is none, or, after a report, it is not usable.
    func pair(
        _ nodes: NodeList, listeners: [Located<Configuration.Listener>], admin: AdminDocument
    ) -> Configuration.Pair? {
        guard let section = main.section("pair") else { return nil }
        let directory = section.path("directory")
        let port = UInt16(clamping: section.integer("port") ?? 0)
        let own = section.text("listen", as: .endpoint, parse: TextValue.endpoint)
        let peer = section.text("peer", as: .endpoint, parse: TextValue.endpoint)
        for (key, address) in [("listen", own), ("peer", peer)] {
            guard let address, let problem = Self.problem(address.value) else { continue }
            section.error(
                address.location, "pair.\(key): \(address.value) is \(problem)",
                hint: "the node's own address and a port")
        }
        guard let found = ends(section, port, own, peer, nodes) else { return nil }
        if found.own.isIPv4 != found.peer.isIPv4 {
            section.error(
                section.location, "pair: \(found.own) and \(found.peer) are not of one family",
                hint: "an IPv4 or an IPv6 address for both")
        }
        if found.own.with(port: 0) == found.peer.with(port: 0) {
            section.error(
                section.location, "pair: both nodes have the address \(found.own.addressText)",
                hint: "each has its own")
        }
        check(found.own, section, listeners, admin)
        let name = nodes.own?.node.name ?? main.pass.node ?? ""
        return Configuration.Pair(
            own: found.own, peer: found.peer, name: name,
            peerName: nodes.others.first?.node.name ?? found.peer.addressText,
            directory: directory?.value ?? main.pass.resolve("pair"))
    }

    /// A loopback address serves to try a pair on one machine.
    private static func problem(_ address: SocketAddress) -> String? {
        address.isLoopback ? nil : address.problemAsHost
    }

    private func ends(
        _ section: Section, _ port: UInt16, _ own: Located<SocketAddress>?,
        _ peer: Located<SocketAddress>?, _ nodes: NodeList
    ) -> (own: SocketAddress, peer: SocketAddress)? {
        if section.has("listen") || section.has("peer") {
            guard section.has("listen"), section.has("peer") else {
                let (there, missing) =
                    section.has("listen") ? ("listen", "peer") : ("peer", "listen")
                section.error(
                    section.location(of: there), "pair.\(there) has no effect without \(missing)",
                    hint: "both, or neither and 'nodes'")
                return nil
            }
            guard let own, let peer else { return nil }
            return (own.value, peer.value)
        }
        guard main.has("nodes") else {
            main.error(
                main.location(of: "pair"), "pair: it is not known where the other node is",
                hint: "set 'nodes', or pair.listen and pair.peer")
            return nil
        }
        // If this is none of the nodes, that has been said.
        guard let this = nodes.own?.node else { return nil }
        guard let other = nodes.others.first?.node else {
            main.error(
                main.location(of: "pair"), "pair: there is no other node",
                hint: "two nodes under 'nodes'")
            return nil
        }
        for isIPv4 in [true, false] {
            if let own = this.addresses.first(where: { $0.isIPv4 == isIPv4 }),
                let peer = other.addresses.first(where: { $0.isIPv4 == isIPv4 })
            {
                return (own.with(port: port), peer.with(port: port))
            }
        }
        return nil
    }

    private func check(
        _ own: SocketAddress, _ section: Section,
        _ listeners: [Located<Configuration.Listener>], _ admin: AdminDocument
    ) {
        let place = section.has("listen") ? section.location(of: "listen") : section.location
        for listener in listeners
        where listener.value.addresses.contains(where: { $0.overlaps(own) }) {
            section.error(
                place, "pair uses the port of listener '\(listener.value.name)'",
                hint: "see \(listener.location)")
        }
        for (key, address) in admin.addresses where address.value.overlaps(own) {
            section.error(place, "pair uses the address of \(key)", hint: "see \(address.location)")
        }
    }
}
