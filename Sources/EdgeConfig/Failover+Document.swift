import EdgeCore

/// What may stand in an instance, or beside all of them for those that say nothing else.
struct SharedInstanceKeys {
    enum Preempt: Equatable {
        case never, always
        case after(Duration)
    }

    private enum Answer: String { case yes, no }
    private enum Hardware: String { case interface, virtual }
    private enum Checksum: String { case full, bare }
    private enum HopLimit: String {
        case only255 = "255"
        case any
    }

    static let tracksMax = 8
    static let peersMax = 8

    let interval: Duration
    let preempt: Preempt
    let isUnicast: Bool
    let takesAnyHops: Bool
    let peers: [Located<SocketAddress>]
    let tracks: [Located<String>]
    let usesVirtualMAC: Bool
    let hasPseudoHeader: Bool

    /// - Parameter others: what holds where `section` says nothing; nil: the defaults.
    init(_ section: Section, others: SharedInstanceKeys? = nil) {
        func read<Value>(
            _ name: String, else other: Value?, _ body: () -> Value
        ) -> Value {
            guard let other, !section.has(name) else { return body() }
            _ = section.find(name)
            return other
        }
        interval = read("interval", else: others?.interval) { Self.interval(section) }
        preempt = read("preempt", else: others?.preempt) { Self.preempt(section) }
        isUnicast = read("unicast", else: others?.isUnicast) {
            section.choice("unicast", as: Answer.self) == .yes
        }
        takesAnyHops = read("unicast_hop_limit", else: others?.takesAnyHops) {
            section.choice("unicast_hop_limit", as: HopLimit.self) == .any
        }
        peers = read("peers", else: others?.peers) { Self.peers(section) }
        tracks = read("track", else: others?.tracks) { Self.tracks(section) }
        usesVirtualMAC = read("mac", else: others?.usesVirtualMAC) {
            section.choice("mac", as: Hardware.self) == .virtual
        }
        hasPseudoHeader = read("checksum", else: others?.hasPseudoHeader) {
            section.choice("checksum", as: Checksum.self) != .bare
        }
        for key in ["peers", "unicast_hop_limit"] where section.has(key) && !isUnicast {
            section.error(
                section.location(of: key),
                "\(section.title).\(key) has no effect without 'unicast: yes'",
                hint: "set 'unicast'")
        }
    }

    private static func interval(_ section: Section) -> Duration {
        let interval = section.duration("interval")
        let step = Duration.milliseconds(10)
        if interval.nanoseconds % step.nanoseconds != 0 {
            let below = step * Int(interval.nanoseconds / step.nanoseconds)
            section.error(
                section.valueLocation(of: "interval"),
                "\(section.title).interval is no multiple of 10ms, as VRRP counts",
                hint: "\(Quantity.text(below)) or \(Quantity.text(below + step))")
        }
        return interval
    }

    private static func preempt(_ section: Section) -> Preempt {
        let (_, node) = section.find("preempt")
        guard let node else { return .never }
        let words = "'no', 'yes', or 'after' and a duration, such as 'after 5m'"
        guard case .scalar(let text, _) = node.content else {
            section.error(
                node.location, "\(section.title).preempt must be a word, not \(node.kindText)",
                hint: words)
            return .never
        }
        switch text {
        case "no", "false": return .never
        case "yes", "true": return .always
        default: break
        }
        guard text.hasPrefix("after ") else {
            section.error(
                node.location, "\(section.title).preempt cannot be \(quoted(text))", hint: words)
            return .never
        }
        do throws(ValueProblem) {
            let span = try Quantity.duration(String(text.dropFirst(6)))
            guard TextValue.preemptRange.contains(span) else {
                throw ValueProblem(
                    "\(section.title).preempt is out of range: \(quoted(text))",
                    hint: "after \(Quantity.text(TextValue.preemptRange.lowerBound)) to "
                        + Quantity.text(TextValue.preemptRange.upperBound))
            }
            return .after(span)
        } catch {
            section.error(node.location, error.reason, hint: error.hint)
            return .never
        }
    }

    private static func peers(_ section: Section) -> [Located<SocketAddress>] {
        let peers = section.texts("peers", as: .address, parse: TextValue.address)
        if peers.count > peersMax {
            section.error(
                peers[peersMax].location, "\(section.title).peers has more than \(peersMax)")
        }
        for (index, peer) in peers.enumerated() {
            if let problem = peer.value.problemAsHost {
                section.error(
                    peer.location,
                    "\(section.title).peers: \(peer.value.addressText) is \(problem)")
            }
            if peers[..<index].contains(where: { $0.value == peer.value }) {
                section.error(
                    peer.location, "\(section.title).peers has \(peer.value.addressText) twice")
            }
        }
        return peers
    }

    private static func tracks(_ section: Section) -> [Located<String>] {
        let names = section.texts("track")
        if names.count > tracksMax {
            section.error(
                names[tracksMax].location,
                "\(section.title).track has more than \(tracksMax) interfaces")
        }
        for (index, name) in names.enumerated() {
            if let first = names[..<index].first(where: { $0.value == name.value }) {
                section.error(
                    name.location, "\(section.title).track has '\(name.value)' twice",
                    hint: "first at \(first.location)")
            }
        }
        return names
    }
}

/// One group of addresses as it is written.
struct InstanceDraft {
    struct Address: Equatable {
        let address: SocketAddress
        let prefix: Int
    }

    static let addressesMax = 16

    /// As messages call it: `failover` or `failover.instances[0]`.
    let title: String
    let location: Location
    let name: Located<String>
    let interface: Located<String>?
    let addresses: [Located<Address>]
    let routerID: Located<UInt8>?
    let shared: SharedInstanceKeys

    /// - Parameters:
    ///   - section: `failover.instances[]`, or `failover` itself if there is but one.
    ///   - shared: what holds for it.
    init(_ section: Section, isOne: Bool, shared: SharedInstanceKeys) {
        title = section.title
        location = section.location
        let written = isOne ? nil : section.text("name")
        name = written ?? Located(value: "vip", location: section.location)
        interface = section.text("interface")
        addresses = Self.addresses(section)
        routerID = section.integer("router_id").flatMap { UInt8(exactly: $0) }.map {
            Located(value: $0, location: section.valueLocation(of: "router_id"))
        }
        self.shared = shared
        if let interface, interface.value == "lo" {
            section.error(
                interface.location, "\(title).interface: 'lo' has no other node on it",
                hint: "the interface of the network that clients come from")
        }
        if let track = shared.tracks.first(where: { $0.value == interface?.value }) {
            section.error(
                track.location, "\(title).track has the interface of the addresses",
                hint: "that one is watched anyway")
        }
    }

    private static func addresses(_ section: Section) -> [Located<Address>] {
        let written = section.texts("addresses", as: .network) {
            text throws(ValueProblem) -> Address in
            let (address, prefix) = try TextValue.network(text)
            return Address(address: address, prefix: prefix)
        }
        for isIPv4 in [true, false] {
            let family = written.filter { $0.value.address.isIPv4 == isIPv4 }
            if family.count > addressesMax {
                section.error(
                    family[addressesMax].location,
                    "\(section.title).addresses has more than \(addressesMax) "
                        + "\(family[0].value.address.familyText) addresses")
            }
        }
        return written
    }
}

/// `failover:` as it is written, with what holds between its instances.
struct FailoverDraft {
    let section: Section
    let instances: [InstanceDraft]
    let secret: String?
    let acceptedSecret: String?
    let hook: String?
    let port: UInt16
    let bootTimeout: Duration
    let priority: Located<UInt8>?

    static let instancesMax = 8
    /// Keys that stand beside `instances` only if they hold for one.
    private static let ownKeys = ["interface", "addresses", "router_id"]

    init?(_ main: Section) {
        guard let section = main.section("failover") else { return nil }
        self.section = section
        let own = section.sections("instances")
        if section.has("instances") {
            for key in Self.ownKeys where section.find(key).node != nil {
                section.error(
                    section.location(of: key),
                    "failover.\(key) has no effect beside 'instances'",
                    hint: "each of them has its own")
            }
            if section.itemCount("instances") == 0,
                case .sequence? = section.find("instances").node?.content
            {
                section.error(
                    section.location(of: "instances"), "failover.instances is an empty list")
            }
            if own.count > Self.instancesMax {
                section.error(
                    own[Self.instancesMax].location,
                    "failover has more than \(Self.instancesMax) instances")
            }
        } else {
            for key in Self.ownKeys { section.requireKey(key) }
        }
        let shared = SharedInstanceKeys(section)
        instances =
            section.has("instances")
            ? own.map {
                InstanceDraft(
                    $0, isOne: false, shared: SharedInstanceKeys($0, others: shared))
            } : [InstanceDraft(section, isOne: true, shared: shared)]
        secret = section.path("secret")?.value
        acceptedSecret = section.path("accepted_secret")?.value
        if acceptedSecret != nil, secret == nil {
            section.error(
                section.location(of: "accepted_secret"),
                "failover.accepted_secret has no effect without 'secret'",
                hint: "name what this node's own words are proven with")
        }
        hook = section.path("on_change")?.value
        port = section.integer("port").flatMap { UInt16(exactly: $0) } ?? 0
        bootTimeout = section.duration("boot_timeout")
        let priority = section.integer("priority").flatMap { UInt8(exactly: $0) }
        self.priority =
            section.has("priority")
            ? priority.map {
                Located(value: $0, location: section.valueLocation(of: "priority"))
            } : nil
    }
}
