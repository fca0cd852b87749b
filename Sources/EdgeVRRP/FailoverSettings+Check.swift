package import EdgeCore

/// What settings may not say, and of which instance.
package struct FailoverSettingsError: Error, Equatable, CustomStringConvertible {
    package enum Reason: Equatable, Sendable {
        case nodeName
        case noInstance
        case duplicateName
        /// Two instances on one interface have the same router id.
        case duplicateRouterID
        /// Two instances have the same address.
        case duplicateAddress(SocketAddress)
        case name
        case routerID
        case interfaceName
        case families
        case noAddress(IPFamily)
        /// More than `InstanceSettings.addressesMax`.
        case tooManyAddresses(IPFamily)
        case wrongFamily(SocketAddress)
        case notAHostAddress(SocketAddress)
        case prefixLength(SocketAddress, UInt8)
        /// The first IPv6 address is not link-local.
        case firstNotLinkLocal(SocketAddress)
        case priority
        case interval
        case unicastWithoutPeers(IPFamily)
        case peersOnlyWithoutPeers(IPFamily)
        case anyHopsFromAnybody
        case announcements
        case damping
        case preemptDelay
        case presenceInterval
        case presenceWithoutSecret
        case presencePeer(SocketAddress)
        case hook
    }

    /// Of the instance, if it is about one.
    package let instance: String?
    package let reason: Reason

    package var description: String {
        let what =
            switch reason {
            case .nodeName: "a node's name has 1 to 64 printable ASCII characters"
            case .noInstance: "there is no instance"
            case .duplicateName: "another instance has this name"
            case .duplicateRouterID: "another instance on this interface has this router id"
            case .duplicateAddress(let address): "\(address.addressText) is there twice"
            case .name: "a name has 1 to 32 bytes"
            case .routerID: "a router id is 1 to 255"
            case .interfaceName: "an interface's name has 1 to 15 bytes"
            case .families: "an instance has one or two families, each once"
            case .noAddress(let family): "there is no \(family) address"
            case .tooManyAddresses(let family):
                "at most \(InstanceSettings.addressesMax) \(family) addresses fit"
            case .wrongFamily(let address): "\(address.addressText) is of the other family"
            case .notAHostAddress(let address): "\(address.addressText) is no host's address"
            case .prefixLength(let address, let length):
                "\(address.addressText) can't have a prefix of \(length) bits"
            case .firstNotLinkLocal(let address):
                "\(address.addressText) is first, but a link-local address must be"
            case .priority: "a priority is 1 to 254, or 255 for the owner"
            case .interval: "an interval is 10 ms to 40.95 s in steps of 10 ms"
            case .unicastWithoutPeers(let family): "\(family) unicast needs peers"
            case .peersOnlyWithoutPeers(let family): "\(family) has no peers to accept"
            case .anyHopsFromAnybody: "hop limits are only ignored of known peers' unicast"
            case .announcements: "at most 16 repetitions, spacing and refresh not under 10 ms"
            case .damping: "hold-downs and their window are positive, at least one take-over"
            case .preemptDelay: "a delay before preemption is positive"
            case .presenceInterval: "presence is sent every 10 ms to 10 s and outlives two of it"
            case .presenceWithoutSecret: "trusting present peers only needs presence and a secret"
            case .presencePeer(let peer): "\(peer) is no peer's address and port"
            case .hook: "a hook's path begins with a slash"
            }
        return instance.map { "\($0): \(what)" } ?? what
    }
}

extension InstanceSettings {
    /// So that an advertisement is at most 8 + 16 × 16 bytes: never fragmented.
    package static let addressesMax = 16
    package static let intervalMin = Duration.milliseconds(10)
    package static let intervalMax = Duration.milliseconds(40_950)

    /// The interval in the wire's unit, 10 ms.
    package var centiseconds: UInt16 { UInt16(clamping: interval.nanoseconds / 10_000_000) }
}

extension FailoverSettings {
    /// - Throws: the first thing that may not be.
    package func check() throws(FailoverSettingsError) {
        func require(
            _ holds: Bool, _ reason: FailoverSettingsError.Reason, _ instance: String? = nil
        ) throws(FailoverSettingsError) {
            if !holds { throw FailoverSettingsError(instance: instance, reason: reason) }
        }
        try require(
            (1...64).contains(nodeName.utf8.count)
                && nodeName.utf8.allSatisfy { (0x21...0x7E).contains($0) }, .nodeName)
        try require(!instances.isEmpty, .noInstance)
        try require(hook.map { $0.hasPrefix("/") } ?? true, .hook)
        let interval = presenceInterval
        try require(
            interval >= .milliseconds(10) && interval <= .seconds(10)
                && presenceTimeout >= interval * 2, .presenceInterval)
        for peer in presence.peers {
            try require(
                peer.port != 0 && !peer.isUnspecified && !peer.isMulticast, .presencePeer(peer))
        }
        var names: Set<String> = []
        var routers: Set<String> = []
        var addresses: Set<SocketAddress> = []
        for instance in instances {
            try instance.check()
            try require(names.insert(instance.name).inserted, .duplicateName, instance.name)
            try require(
                routers.insert("\(instance.interfaceName) \(instance.routerID)").inserted,
                .duplicateRouterID, instance.name)
            try require(
                !instance.trustsPresentPeersOnly
                    || (presence.isAuthenticated && !presence.peers.isEmpty),
                .presenceWithoutSecret, instance.name)
            for address in instance.families.flatMap(\.addresses).map(\.address) {
                // A link-local address is of one link.
                guard !address.isLinkLocal else { continue }
                try require(
                    addresses.insert(address).inserted, .duplicateAddress(address), instance.name)
            }
        }
    }

    /// Between two presence messages: as set, or ten times the shortest advertisement interval
    /// within 50 ms … 1 s.
    package var presenceInterval: Duration {
        if let interval = presence.interval { return interval }
        let fastest = instances.map(\.interval).min() ?? .milliseconds(100)
        return min(max(fastest * 10, .milliseconds(50)), .seconds(1))
    }

    /// How old the last message of a live peer may be.
    package var presenceTimeout: Duration { presence.timeout ?? presenceInterval * 3 }
}

extension InstanceSettings {
    /// - Throws: the first thing that may not be.
    package func check() throws(FailoverSettingsError) {
        func require(
            _ holds: Bool, _ reason: FailoverSettingsError.Reason
        ) throws(FailoverSettingsError) {
            if !holds { throw FailoverSettingsError(instance: name, reason: reason) }
        }
        try require((1...32).contains(name.utf8.count), .name)
        try require(routerID != 0, .routerID)
        for interface in [interfaceName] + trackedInterfaces {
            try require((1...15).contains(interface.utf8.count), .interfaceName)
        }
        try require(priority != 0, .priority)
        try require(
            interval >= Self.intervalMin && interval <= Self.intervalMax
                && interval.nanoseconds % 10_000_000 == 0, .interval)
        if case .after(let delay) = preemption { try require(delay > .zero, .preemptDelay) }
        try require(
            (0...16).contains(announcements.repeats)
                && announcements.spacing >= .milliseconds(10)
                && announcements.refresh >= .milliseconds(10), .announcements)
        try require(
            damping.takeOversMax >= 1 && damping.window > .zero && damping.holdDown > .zero
                && damping.holdDownMax >= damping.holdDown, .damping)
        try require(
            (1...2).contains(families.count)
                && Set(families.map(\.family)).count == families.count, .families)
        try require(
            !takesAnyHops || acceptsPeersOnly && families.allSatisfy { $0.exchange == .unicast },
            .anyHopsFromAnybody)
        for family in families { try check(family) }
    }

    private func check(_ settings: FamilySettings) throws(FailoverSettingsError) {
        let family = settings.family
        func require(
            _ holds: Bool, _ reason: FailoverSettingsError.Reason
        ) throws(FailoverSettingsError) {
            if !holds { throw FailoverSettingsError(instance: name, reason: reason) }
        }
        try require(!settings.addresses.isEmpty, .noAddress(family))
        try require(settings.addresses.count <= Self.addressesMax, .tooManyAddresses(family))
        var seen: Set<SocketAddress> = []
        for virtual in settings.addresses {
            let address = virtual.address
            try require(address.family == family, .wrongFamily(address))
            try require(!address.isUnspecified && !address.isMulticast, .notAHostAddress(address))
            try require(
                (1...family.prefixLengthMax).contains(virtual.prefixLength),
                .prefixLength(address, virtual.prefixLength))
            try require(seen.insert(address).inserted, .duplicateAddress(address))
        }
        for address in settings.peers + (settings.source.map { [$0] } ?? []) {
            try require(address.family == family, .wrongFamily(address))
            try require(!address.isUnspecified && !address.isMulticast, .notAHostAddress(address))
        }
        if family == .ipv6, let first = settings.addresses.first?.address {
            // RFC 9568 §5.2.9.
            try require(first.isLinkLocal, .firstNotLinkLocal(first))
        }
        try require(
            settings.exchange != .unicast || !settings.peers.isEmpty, .unicastWithoutPeers(family))
        try require(
            !acceptsPeersOnly || !settings.peers.isEmpty, .peersOnlyWithoutPeers(family))
    }
}
