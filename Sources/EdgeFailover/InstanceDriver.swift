internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// One instance: its election, and the carrying out of what that decides. The rest is the
/// `FailoverDriver`'s.
final class InstanceDriver {
    private(set) var settings: InstanceSettings
    let channel: InterfaceChannel
    /// Interfaces with the VRRP MAC addresses, where those are configured.
    let virtualInterfaces: [IPFamily: VirtualInterface]
    /// It is not configured any more, and ends when its addresses are elsewhere.
    var isLeaving = false
    private(set) var hasStopped = false
    /// What the kernel has not taken of the addresses, more than once.
    private(set) var lack = Lack.none
    private var lackTimer: TimerID?

    /// How many of the addresses are missing.
    enum Lack { case none, some, all }

    /// How long a node that could not have the addresses is unfit for them: only who tries knows
    /// whether they are taken.
    private static let lackSpan = Duration.seconds(60)

    private var machine: ElectionMachine
    private unowned let driver: FailoverDriver
    private let loop: PollLoop
    private var timer: (id: TimerID, due: Instant)?
    private var isFrozen = false
    private var sources: [IPFamily: SocketAddress] = [:]

    init(_ settings: InstanceSettings, channel: InterfaceChannel, driver: FailoverDriver) {
        self.settings = settings
        self.channel = channel
        self.driver = driver
        loop = driver.loop
        var virtualInterfaces: [IPFamily: VirtualInterface] = [:]
        for family in settings.families where settings.usesVirtualMAC {
            virtualInterfaces[family.family] = VirtualInterface(
                routerID: settings.routerID, family: family.family, parent: channel.name)
        }
        self.virtualInterfaces = virtualInterfaces
        machine = ElectionMachine(settings: settings, now: .now())
    }

    deinit {
        if let timer { loop.cancel(timer.id) }
        if let lackTimer { loop.cancel(lackTimer) }
    }

    // MARK: - Queries

    var status: ElectionStatus { machine.status(now: .now()) }
    var record: ElectionRecord { machine.export() }
    var isMaster: Bool { machine.state == .master }

    /// Where a family's addresses are put: 0 while there is no such interface.
    private func addressIndex(_ family: IPFamily) -> Int32 {
        virtualInterfaces[family]?.index ?? channel.index
    }

    /// Those that move, as they are put on; none while there is no interface for them.
    var virtualAddresses: [InterfaceAddress] {
        settings.families.flatMap { family -> [InterfaceAddress] in
            let index = addressIndex(family.family)
            guard index > 0 else { return [] }
            return family.addresses.map {
                // An owner's addresses are its interface's own, and stay so.
                settings.isOwner
                    ? InterfaceAddress(
                        index: index, address: $0.address, prefixLength: $0.prefixLength)
                    : AddressPlan.virtual(
                        $0.address, prefixLength: $0.prefixLength, on: index,
                        // The parent has the route already.
                        hasRoute: !settings.usesVirtualMAC)
            }
        }
    }

    // MARK: - Events

    func handle(_ event: ElectionMachine.Event) {
        guard !isFrozen else { return }
        perform(machine.handle(event, now: .now()))
    }

    /// Goes on where another program left off.
    func resume(
        _ record: ElectionRecord, readiness: ElectionMachine.Readiness, _ standing: Standing
    ) {
        attachVirtualInterfaces(isResuming: true)
        readSources()
        perform(
            machine.resume(
                record, localAddresses: sources, readiness: readiness, standing: standing,
                now: .now()))
        observe()
    }

    /// Takes other settings for the same virtual routers; addresses that are left out are off.
    func apply(_ settings: InstanceSettings) {
        let before = virtualAddresses
        self.settings = settings
        let gone = before.filter { !virtualAddresses.contains($0) }
        if isMaster { driver.release(gone, of: self) }
        perform(machine.reconfigure(settings, now: .now()))
        observe()
    }

    /// Tells the election of link and addresses as they are now; what it knows already changes
    /// nothing.
    func observe() {
        attachVirtualInterfaces()
        let before = sources
        readSources()
        for family in settings.families.map(\.family) where sources[family] != before[family] {
            handle(.localAddress(family, sources[family]))
        }
        let isThere = settings.families.allSatisfy { addressIndex($0.family) > 0 }
        handle(.link(isUp: channel.state == .up && isThere))
    }

    private func readSources() {
        let virtual = settings.isOwner ? [] : driver.virtualAddresses(on: channel)
        for family in settings.families {
            sources[family.family] = channel.source(for: family, besides: virtual)
        }
    }

    /// - Parameter isResuming: those that are there hold what goes on being held.
    private func attachVirtualInterfaces(isResuming: Bool = false) {
        for interface in virtualInterfaces.values {
            let before = interface.failure
            interface.attach(to: channel.index, driver.netlink, isResuming: isResuming)
            if let failure = interface.failure, failure != before {
                driver.log(.error, "failover: \(interface.name): \(failure)")
            }
        }
    }

    /// Makes another one of ours that somebody has deleted.
    func virtualLinkGone(_ index: Int32) {
        guard index > 0, !isFrozen,
            let interface = virtualInterfaces.values.first(where: { $0.index == index })
        else { return }
        interface.forget()
        observe()
        driver.govern()
        putBack()
    }

    /// Sets one of ours up again that somebody has set down.
    func virtualLinkChanged(_ link: NetworkLink) {
        let isOurs = virtualInterfaces.values.contains { $0.index == link.interface.index }
        guard isOurs, !link.isEnabled, !isFrozen else { return }
        putBack()
    }

    private func putBack() {
        guard isMaster else { return }
        for interface in virtualInterfaces.values { interface.enable(driver.netlink) }
        driver.keeper.hold(virtualAddresses)
        announce()
    }

    /// Looks at what the kernel has refused.
    func noteRefusals() {
        let own = virtualAddresses
        // The first time may be an accident.
        let patience = lack == .none ? 1 : 0
        let missing = own.filter { driver.keeper.refusals[$0, default: 0] > patience }
        if !missing.isEmpty || isMaster {
            lack = missing.isEmpty ? .none : missing.count < own.count ? .some : .all
            if let lackTimer { loop.cancel(lackTimer) }
            lackTimer = nil
        } else if lack != .none, lackTimer == nil {
            lackTimer = loop.schedule(after: Self.lackSpan) { [weak self] in
                guard let self else { return }
                lackTimer = nil
                lack = .none
                driver.restand()
            }
        }
    }

    /// Nothing is done any more: another program goes on with the record.
    func freeze() {
        isFrozen = true
        if let timer { loop.cancel(timer.id) }
        timer = nil
    }

    func thaw() {
        isFrozen = false
        handle(.endPause)
        observe()
    }

    /// Takes addresses off, whoever has them now.
    func end() {
        freeze()
        if !settings.isOwner { driver.release(virtualAddresses, of: self) }
        for interface in virtualInterfaces.values { interface.detach(driver.netlink) }
    }

    // MARK: - Time

    private func reschedule() {
        let due = machine.nextDeadline
        guard due != timer?.due else { return }
        if let timer { loop.cancel(timer.id) }
        timer = nil
        guard due != .never, !isFrozen else { return }
        timer = (loop.schedule(at: due) { [weak self] in self?.timerDue(due) }, due)
    }

    /// First everything that has arrived by now: our own lateness is not somebody's silence.
    private func timerDue(_ due: Instant) {
        timer = nil
        let late = Instant.now().nanoseconds(since: due)
        driver.figures.lateness.record(Duration(nanoseconds: late))
        // A master that is so late may have a successor.
        if !isMaster || late > settings.interval.nanoseconds { channel.drain() }
        if machine.nextDeadline <= .now() { handle(.timer) } else { reschedule() }
    }

    // MARK: - Actions

    private func perform(_ actions: [ElectionMachine.Action]) {
        for action in actions { perform(action) }
        reschedule()
    }

    private func perform(_ action: ElectionMachine.Action) {
        switch action {
        case .send(let family, let priority, let centiseconds):
            send(family, priority: priority, centiseconds: centiseconds)
        case .putAddressesOn:
            for interface in virtualInterfaces.values { interface.enable(driver.netlink) }
            driver.keeper.hold(virtualAddresses)
        case .takeAddressesOff:
            if !settings.isOwner { driver.release(virtualAddresses, of: self) }
            for interface in virtualInterfaces.values { interface.disable(driver.netlink) }
        case .announce: announce()
        case .transition(let transition): driver.changed(self, transition)
        case .tellPeers: driver.tellPeers()
        case .yieldRefused(let refusal): driver.yieldEnded(self, .refused(refusal))
        case .yieldEnded(let isMoved): driver.yieldEnded(self, isMoved ? .moved : .notMoved)
        case .stopped:
            hasStopped = true
            driver.stopped()
        }
    }

    private func send(_ family: IPFamily, priority: UInt8, centiseconds: UInt16) {
        guard let own = settings.families.first(where: { $0.family == family }),
            let source = sources[family]
        else { return }
        let advertisement = Advertisement(
            family: family, routerID: settings.routerID, priority: priority,
            centiseconds: centiseconds, addresses: own.addresses.map(\.address))
        // A list that all nodes share has this one, too.
        let targets =
            own.exchange == .multicast
            ? [family.group] : own.peers.filter { $0.bare != source.bare }
        for target in targets {
            let payload = advertisement.payload(
                from: source, to: target.bare, checksum: settings.checksum)
            do throws(SystemError) {
                if let interface = virtualInterfaces[family], own.exchange == .multicast {
                    let frame = interface.frame(payload, from: source, to: target)
                    try driver.frames.send(frame, on: channel.index)
                } else if let socket = channel.sockets[family] {
                    try socket.send(payload, from: source, to: target)
                } else {
                    throw SystemError("send(vrrp)", code: ENODEV, subject: channel.name)
                }
                driver.figures.packetsSent += 1
            } catch {
                driver.sendFailed(error)
            }
        }
    }

    /// Once for every address that is there, from the interface that has it.
    private func announce() {
        guard let link = channel.link else { return }
        for family in settings.families {
            let interface = virtualInterfaces[family.family]
            let place = Announcer.Place(
                index: addressIndex(family.family), name: interface?.name ?? channel.name,
                hardwareAddress: interface?.hardwareAddress ?? link.hardwareAddress)
            // One that the kernel did not take would be announced for nobody.
            let refused = driver.keeper.refusals.keys.filter { $0.index == place.index }
                .map(\.address)
            driver.announcer.announce(
                family.addresses.map(\.address).filter { !refused.contains($0) }, at: place)
        }
    }
}

extension InterfaceChannel {
    /// What advertisements come from: an address of the interface that does not move; IPv6:
    /// link-local (RFC 9568 §5.1.2.1). Nil: there is none that is usable yet, or no socket.
    ///
    /// - Parameter virtual: those that move.
    func source(for family: FamilySettings, besides virtual: Set<SocketAddress>) -> SocketAddress? {
        guard sockets[family.family] != nil else { return nil }
        let usable = addresses.filter {
            $0.address.family == family.family
                && $0.flags.isDisjoint(with: [.tentative, .duplicate])
                && !virtual.contains($0.address) && $0.origin != AddressPlan.mark
        }
        if let source = family.source?.bare {
            if usable.contains(where: { $0.address == source }) { return source }
            guard !family.isSourceRequired else { return nil }
        }
        if family.exchange == .unicast {
            if let source = Self.source(usable, towards: family.peers) { return source }
            // Nobody would know who speaks.
            if family.family == .ipv6, family.peers.contains(where: { !$0.isLinkLocal }) {
                return nil
            }
        }
        if family.family == .ipv6 { return usable.first(where: \.isLinkLocal)?.address }
        return (usable.first { !$0.flags.contains(.secondary) } ?? usable.first)?.address
    }

    /// The address by which peers may know us; nil: any is as good as another. Link-local ones are
    /// for link-local peers: others accept nothing of whom they do not know.
    private static func source(
        _ usable: [InterfaceAddress], towards peers: [SocketAddress]
    ) -> SocketAddress? {
        if let named = usable.first(where: { peers.contains($0.address.bare) }) {
            return named.address
        }
        guard let peer = peers.first(where: { !$0.isLinkLocal }) else { return nil }
        let global = usable.filter {
            !$0.isLinkLocal && !$0.flags.contains(.deprecated)
                && ($0.address.isIPv4 || !$0.flags.contains(.secondary))
        }
        return (global.first { $0.isOnLink(with: peer) } ?? (peer.isIPv4 ? nil : global.first))?
            .address
    }
}

extension InterfaceAddress {
    /// Whether the other one is in this one's network.
    fileprivate func isOnLink(with other: SocketAddress) -> Bool {
        guard address.isIPv4 == other.isIPv4 else { return false }
        let width = address.isIPv4 ? 32 : 128
        let rest = width - min(Int(prefixLength), width)
        guard !address.isIPv4 else {
            return UInt64(address.ipv4 ^ other.ipv4) >> UInt64(rest) == 0
        }
        let high = (address.high ^ other.high) >> UInt64(max(rest - 64, 0))
        return high == 0 && (rest >= 64 || (address.low ^ other.low) >> UInt64(rest) == 0)
    }
}
