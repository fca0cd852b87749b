package import EdgeCore

/// All that this node knows about failover before a packet is heard. `EdgeConfig` builds it from a
/// file; `check()` says what a file may not say.
package struct FailoverSettings: Sendable, Equatable {
    /// Of this node, as under `nodes:`; at most 64 bytes.
    package var nodeName: String
    package var instances: [InstanceSettings]
    package var presence: PresenceSettings
    /// Absolute path of a program that is run at each transition; nil: none.
    package var hook: String?
    /// Whether the failover thread asks for real-time priority and locked memory.
    package var wantsRealTime: Bool

    package init(
        nodeName: String, instances: [InstanceSettings],
        presence: PresenceSettings = PresenceSettings(), hook: String? = nil,
        wantsRealTime: Bool = true
    ) {
        self.nodeName = nodeName
        self.instances = instances
        self.presence = presence
        self.hook = hook
        self.wantsRealTime = wantsRealTime
    }
}

/// How guardians tell each other of themselves: datagrams over UDP, from and to `port`.
package struct PresenceSettings: Sendable, Equatable {
    /// Where the other nodes' guardians are, ports included. Empty: no presence, the peer is
    /// taken for another VRRP implementation.
    package var peers: [SocketAddress]
    /// Where this node's guardian listens, port included; nil: every address, the first peer's
    /// port.
    package var local: SocketAddress?
    /// Between two messages; nil: ten advertisement intervals of the fastest instance, at least
    /// 50 ms and at most one second.
    package var interval: Duration?
    /// A peer is live as long as its last message is no older; nil: three intervals.
    package var timeout: Duration?
    /// Whether messages carry and must carry an HMAC (the secret itself is the transport's).
    package var isAuthenticated: Bool

    package init(
        peers: [SocketAddress] = [], local: SocketAddress? = nil, interval: Duration? = nil,
        timeout: Duration? = nil, isAuthenticated: Bool = false
    ) {
        self.peers = peers
        self.local = local
        self.interval = interval
        self.timeout = timeout
        self.isAuthenticated = isAuthenticated
    }
}

/// One group of virtual addresses that moves as a whole: at most one VRRP instance per family,
/// with one fate.
package struct InstanceSettings: Sendable, Equatable {
    /// In logs, metrics and `edgectl vip`; at most 32 bytes. The same on all nodes: presence
    /// speaks of instances by `routerID`, people by name.
    package var name: String
    /// 1…255 (RFC 9568 §5.2.3).
    package var routerID: UInt8
    package var interfaceName: String
    /// One or two, of different families.
    package var families: [FamilySettings]
    /// 1…254; 255: this node owns the addresses (RFC 9568 §5.2.4).
    package var priority: UInt8
    /// 10 ms … 40.95 s in steps of 10 ms (RFC 9568 §5.2.7).
    package var interval: Duration
    package var preemption: Preemption
    /// How our IPv4 advertisements are summed. Both are accepted.
    package var checksum: IPv4Checksum
    /// Whether advertisements of others than `FamilySettings.peers` are refused.
    package var acceptsPeersOnly: Bool
    /// Whether unicast counts whatever its TTL or hop limit is, against RFC 9568 §5.1.1.3 and
    /// §5.1.2.3: keepalived 2.2 sends IPv6 unicast with 64. With `acceptsPeersOnly` only. What
    /// proves that a packet comes from this link is given up with it.
    package var takesAnyHops: Bool
    /// Whether an advertisement counts only while a peer's presence is live and authentic. For
    /// pairs of edged with a secret only. Without presence a master that presence has vouched for
    /// still keeps a backup waiting.
    package var trustsPresentPeersOnly: Bool
    package var announcements: AnnouncementSettings
    /// How long a node that has started, or whose link has come back, waits for a sight of a peer
    /// before it takes the addresses.
    package var bootGate: Duration
    package var damping: DampingSettings
    /// Interfaces without which this node is unfit; the driver reports them as fitness.
    package var trackedInterfaces: [String]
    /// Whether the addresses live on a macvlan with the VRRP MAC address (RFC 9568 §7.3).
    package var usesVirtualMAC: Bool
    /// Taken off the advertised priority while this node is degraded and no peer is edged.
    package var degradedPenalty: UInt8
    /// A peer must have been fitter for so long before a node that still serves yields to it.
    package var degradedHold: Duration

    package init(
        name: String, routerID: UInt8, interfaceName: String, families: [FamilySettings],
        priority: UInt8 = 100, interval: Duration = .milliseconds(20),
        preemption: Preemption = .never, checksum: IPv4Checksum = .withPseudoHeader,
        acceptsPeersOnly: Bool = false, trustsPresentPeersOnly: Bool = false,
        announcements: AnnouncementSettings = AnnouncementSettings(),
        bootGate: Duration = .seconds(1), damping: DampingSettings = DampingSettings(),
        trackedInterfaces: [String] = [], usesVirtualMAC: Bool = false,
        degradedPenalty: UInt8 = 50, degradedHold: Duration = .seconds(3),
        takesAnyHops: Bool = false
    ) {
        self.name = name
        self.routerID = routerID
        self.interfaceName = interfaceName
        self.families = families
        self.priority = priority
        self.interval = interval
        self.preemption = preemption
        self.checksum = checksum
        self.acceptsPeersOnly = acceptsPeersOnly
        self.trustsPresentPeersOnly = trustsPresentPeersOnly
        self.announcements = announcements
        self.bootGate = bootGate
        self.damping = damping
        self.trackedInterfaces = trackedInterfaces
        self.usesVirtualMAC = usesVirtualMAC
        self.degradedPenalty = degradedPenalty
        self.degradedHold = degradedHold
        self.takesAnyHops = takesAnyHops
    }

    /// Priority 255 (RFC 9568 §5.2.4).
    package var isOwner: Bool { priority == 255 }
}

/// The VRRP instance of one family within a group.
package struct FamilySettings: Sendable, Equatable {
    package var family: IPFamily
    /// In the order in which they are advertised. The first IPv6 address is link-local
    /// (RFC 9568 §5.2.9).
    package var addresses: [VirtualAddress]
    package var exchange: Exchange
    /// The other routers of this instance: where unicast goes, and who counts if
    /// `acceptsPeersOnly`. A list that all nodes share may have this node's own address.
    package var peers: [SocketAddress]
    /// What our advertisements come from; nil: the interface's first address (IPv6: link-local),
    /// or with unicast the one by which peers are reached.
    package var source: SocketAddress?
    /// Whether nothing is said while the interface does not have `source`. False: it is the first
    /// choice.
    package var isSourceRequired: Bool

    package init(
        family: IPFamily, addresses: [VirtualAddress], exchange: Exchange = .multicast,
        peers: [SocketAddress] = [], source: SocketAddress? = nil, isSourceRequired: Bool = true
    ) {
        self.family = family
        self.addresses = addresses
        self.exchange = exchange
        self.peers = peers
        self.source = source
        self.isSourceRequired = isSourceRequired
    }
}

/// An address that moves, with the length of its prefix.
package struct VirtualAddress: Sendable, Hashable {
    /// Port and scope 0.
    package var address: SocketAddress
    package var prefixLength: UInt8

    package init(_ address: SocketAddress, prefixLength: UInt8) {
        self.address = address.bare
        self.prefixLength = prefixLength
    }

    /// The link-local address made of the virtual router's MAC address 00-00-5E-00-02-{VRID}
    /// (RFC 9568 §7.3, §8.2.2): what an IPv6 instance advertises first if nothing else is said.
    package static func linkLocal(routerID: UInt8) -> VirtualAddress {
        VirtualAddress(
            SocketAddress(
                ipv6High: 0xFE80_0000_0000_0000, low: 0x0200_5EFF_FE00_0200 | UInt64(routerID),
                port: 0),
            prefixLength: 64)
    }
}

/// Where advertisements go.
package enum Exchange: Sendable, Equatable {
    /// To the family's group.
    case multicast
    /// To each of `FamilySettings.peers`.
    case unicast
}

/// Whether a backup takes the addresses from a master of lower priority (RFC 9568 §6.1). A fitter
/// peer gets them in any case.
package enum Preemption: Sendable, Equatable {
    case never
    case always
    /// After it has been a fit backup for so long without interruption.
    case after(Duration)
}

/// What the checksum of an IPv4 advertisement covers.
package enum IPv4Checksum: String, Sendable, Equatable, CaseIterable {
    /// As keepalived does.
    case withPseudoHeader
    /// As RFC 9568 §5.2.8 says.
    case messageOnly
}

/// When gratuitous ARP and unsolicited neighbour advertisements are sent.
package struct AnnouncementSettings: Sendable, Equatable {
    /// After a take-over, beyond the first.
    package var repeats: Int
    /// From the take-over to its first repetition; doubled for each one more.
    package var spacing: Duration
    /// Between refreshes as long as we are master.
    package var refresh: Duration

    package init(
        repeats: Int = 6, spacing: Duration = .milliseconds(100), refresh: Duration = .seconds(60)
    ) {
        self.repeats = repeats
        self.spacing = spacing
        self.refresh = refresh
    }
}

/// How much moving is too much. Damping delays what is done by choice (preemption, giving way to a
/// node that is a little fitter, overriding a peer that says it is master): never the take-over
/// from a peer that is silent.
package struct DampingSettings: Sendable, Equatable {
    /// More take-overs within `window` begin a hold-down.
    package var takeOversMax: Int
    package var window: Duration
    /// The first hold-down; doubled for each take-over more, until `holdDownMax`.
    package var holdDown: Duration
    package var holdDownMax: Duration

    package init(
        takeOversMax: Int = 3, window: Duration = .seconds(600),
        holdDown: Duration = .seconds(30), holdDownMax: Duration = .seconds(600)
    ) {
        self.takeOversMax = takeOversMax
        self.window = window
        self.holdDown = holdDown
        self.holdDownMax = holdDownMax
    }
}
