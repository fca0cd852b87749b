import EdgeCore

/// A node as it is written, for the checks against what names addresses.
struct NodeDraft {
    let node: Configuration.Node
    let location: Location
    let priority: Located<UInt8>?
}

/// The nodes, and which of them this is.
struct NodeList {
    let drafts: [NodeDraft]
    /// Nil: there are none, or, after a report, it is none of them.
    let own: NodeDraft?

    /// Those that are not this one.
    var others: [NodeDraft] { drafts.filter { $0.node.name != own?.node.name } }

    private static let countMax = 2

    init(_ main: Section) {
        let errorCount = main.pass.diagnostics.errorCount
        let named = main.namedSections("nodes")
        drafts = named.map { Self.draft($0, $1) }
        own = Self.own(drafts, known: main.pass.node)
        guard main.has("nodes"), main.pass.diagnostics.errorCount == errorCount else { return }
        let place = main.location(of: "nodes")
        guard !named.isEmpty else {
            main.error(
                place, "there is no node", hint: "name at least one, or remove 'nodes'")
            return
        }
        if named.count > Self.countMax {
            main.error(
                named[Self.countMax].name.location, "more than \(Self.countMax) nodes",
                hint: "a pair shares one file")
        }
        checkNames(main)
        checkAddresses(main)
        checkFamilies(main)
        guard main.has("failover") || main.has("pair") else {
            main.error(
                place, "'nodes' has no effect without 'failover'",
                hint: "nothing else differs between nodes")
            return
        }
        guard own == nil else { return }
        let names = drafts.map(\.node.name)
        main.error(
            place,
            main.pass.node.map { "no node is called \(quoted($0)), as this machine is" }
                ?? "which of the nodes this machine is, is not known",
            hint: "one of: \(names.joined(separator: ", ")); '--node NAME' says which this is")
    }

    /// The node of that name, else of its first label; host names have no case (RFC 4343).
    private static func own(_ drafts: [NodeDraft], known: String?) -> NodeDraft? {
        guard let name = known?.lowercased() else { return nil }
        let label = name.prefix { $0 != "." }
        return drafts.first { $0.node.name.lowercased() == name }
            ?? drafts.first { $0.node.name.lowercased() == label }
    }

    private static func draft(_ name: Located<String>, _ section: Section) -> NodeDraft {
        let addresses = section.texts("address", as: .address, parse: TextValue.address)
        for (index, address) in addresses.enumerated() {
            if let problem = address.value.problemAsHost {
                section.error(
                    address.location,
                    "\(section.title).address: \(address.value.addressText) is \(problem)",
                    hint: "the machine's own address in the network of the other node")
            }
            if addresses[..<index].contains(where: { $0.value.isIPv4 == address.value.isIPv4 }) {
                section.error(
                    address.location,
                    "\(section.title).address has two \(address.value.familyText) addresses",
                    hint: "one of each family at most")
            }
        }
        let priority = section.integer("priority").flatMap { UInt8(exactly: $0) } ?? 100
        return NodeDraft(
            node: Configuration.Node(
                name: name.value, addresses: addresses.map(\.value), priority: priority),
            location: name.location,
            priority: section.has("priority")
                ? Located(value: priority, location: section.valueLocation(of: "priority")) : nil)
    }

    private func checkNames(_ main: Section) {
        for (index, draft) in drafts.enumerated() {
            let same = drafts[..<index].first {
                $0.node.name.lowercased() == draft.node.name.lowercased()
            }
            guard let same else { continue }
            main.error(
                draft.location, "two nodes are called '\(draft.node.name)'",
                hint: "letters' case does not tell hosts apart; first at \(same.location)")
        }
    }

    private func checkFamilies(_ main: Section) {
        guard let first = drafts.first else { return }
        for draft in drafts.dropFirst() {
            let isCommon = draft.node.addresses.contains { address in
                first.node.addresses.contains { $0.isIPv4 == address.isIPv4 }
            }
            guard !isCommon, !draft.node.addresses.isEmpty, !first.node.addresses.isEmpty else {
                continue
            }
            main.error(
                draft.location,
                "nodes.\(draft.node.name) and '\(first.node.name)' have no addresses of one family",
                hint: "an IPv4 or an IPv6 address for both")
        }
    }

    private func checkAddresses(_ main: Section) {
        for (index, draft) in drafts.enumerated() {
            for other in drafts[..<index] {
                for address in draft.node.addresses where other.node.addresses.contains(address) {
                    main.error(
                        draft.location,
                        "nodes.\(draft.node.name) has the address \(address.addressText) of "
                            + "'\(other.node.name)'", hint: "see \(other.location)")
                }
            }
        }
    }
}

extension SocketAddress {
    var familyText: String { isIPv4 ? "IPv4" : "IPv6" }

    /// Why no machine can have this address for itself; nil: it can.
    var problemAsHost: String? {
        if isUnspecified { return "no address of a machine" }
        if isLoopback { return "a loopback address" }
        if isIPv4 ? ipv4 >> 28 == 0xE : high >> 56 == 0xFF { return "a multicast address" }
        if isIPv4, ipv4 == .max { return "the broadcast address" }
        return nil
    }
}
