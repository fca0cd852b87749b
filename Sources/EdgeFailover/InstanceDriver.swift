internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP

/// One instance: its election, and the carrying out of what that decides. The rest is the
/// `FailoverDriver`'s.
final class InstanceDriver {
    private(set) var settings: InstanceSettings
    let channel: InterfaceChannel
    /// The interface with the VRRP MAC address, where one is configured.
    let virtualInterface: VirtualInterface?
    /// Given its addresses away for good; nothing starts it again.
    var isLeaving = false

    private var machine: ElectionMachine
    private unowned let driver: FailoverDriver
    private var timer: (id: TimerID, due: Instant)?
    private var isFrozen = false
    private var sources: [IPFamily: SocketAddress] = [:]

    init(
        _ settings: InstanceSettings, channel: InterfaceChannel, record: ElectionRecord?,
        driver: FailoverDriver
    ) {
        self.settings = settings
        self.channel = channel
        self.driver = driver
        virtualInterface =
            settings.usesVirtualMAC
            ? VirtualInterface(routerID: settings.routerID, parent: channel.name) : nil
        let now = Instant.now()
        machine =
            record.map { ElectionMachine(settings: settings, resuming: $0, now: now) }
            ?? ElectionMachine(settings: settings, now: now)
    }

    deinit { if let timer { driver.loop.cancel(timer.id) } }

    // MARK: - Queries

    var status: ElectionStatus { machine.status(now: .now()) }
    var record: ElectionRecord { machine.record(now: .now()) }
    var isMaster: Bool { machine.state == .master }

    /// Where its addresses are put: 0 while there is no such interface.
    var addressIndex: Int32 { virtualInterface?.index ?? channel.index }

    /// Those that move, as they are put on; none while there is no interface for them.
    var virtualAddresses: [InterfaceAddress] {
        guard addressIndex > 0 else { return [] }
        return settings.families.flatMap(\.addresses).map {
            AddressPlan.virtual(
                $0.address, prefixLength: $0.prefixLength, on: addressIndex,
                // The parent has the route already.
                hasRoute: virtualInterface == nil)
        }
    }

    // MARK: - Events

    func handle(_ event: ElectionMachine.Event) {
        guard !isFrozen else { return }
        let actions = machine.handle(event, now: .now())
        for action in actions { perform(action) }
        reschedule()
    }

    func apply(_ settings: InstanceSettings) {
        let actions = machine.apply(settings, now: .now())
        self.settings = settings
        for action in actions { perform(action) }
        reschedule()
    }

    /// Tells the election of link and addresses as they are now; what it knows already changes
    /// nothing.
    func observe() {
        for family in settings.families {
            let source = channel.source(for: family, of: self)
            guard source != sources[family.family] else { continue }
            sources[family.family] = source
            handle(.localAddress(family.family, source))
        }
        handle(.link(isUp: channel.state == .up && addressIndex > 0))
    }

    /// Nothing is done any more: another program goes on with the record.
    func freeze() {
        isFrozen = true
        if let timer { driver.loop.cancel(timer.id) }
        timer = nil
    }

    func thaw() {
        isFrozen = false
        handle(.endPause)
    }

    // MARK: - Time

    private func reschedule() {
        let due = machine.nextDeadline
        guard due != timer?.due else { return }
        if let timer { driver.loop.cancel(timer.id) }
        timer = nil
        guard due != .never, !isFrozen else { return }
        timer = (driver.loop.schedule(at: due) { [weak self] in self?.timerDue(due) }, due)
    }

    /// First everything that has arrived by now: our own lateness is not somebody's silence.
    private func timerDue(_ due: Instant) {
        timer = nil
        driver.figures.lateness.record(
            Duration(nanoseconds: Instant.now().nanoseconds(since: due)))
        if !isMaster { channel.drain() }
        if machine.nextDeadline <= .now() { handle(.timer) } else { reschedule() }
    }

    // MARK: - Actions

    private func perform(_ action: ElectionMachine.Action) {
        switch action {
        case .send(let family, let priority, let centiseconds):
            send(family, priority: priority, centiseconds: centiseconds)
        case .putAddressesOn:
            virtualInterface?.enable(driver.netlink)
            driver.keeper.hold(virtualAddresses)
        case .takeAddressesOff:
            // An owner's addresses are its interface's own.
            if !settings.isOwner { driver.keeper.release(virtualAddresses) }
            virtualInterface?.disable(driver.netlink)
        case .announce(let why): announce(why)
        case .transition(let transition): driver.changed(self, transition)
        case .tellPeers: driver.tellPeers()
        case .yieldRefused(let refusal): driver.yieldEnded(self, .refused(refusal))
        case .yieldEnded(let isMoved): driver.yieldEnded(self, isMoved ? .moved : .notMoved)
        case .stopped: driver.stopped(self)
        }
    }

    private func send(_ family: IPFamily, priority: UInt8, centiseconds: UInt16) {
        guard let own = settings.families.first(where: { $0.family == family }),
            let source = sources[family]
        else { return }
        let advertisement = Advertisement(
            family: family, routerID: settings.routerID, priority: priority,
            centiseconds: centiseconds, addresses: own.addresses.map(\.address))
        let targets = own.exchange == .multicast ? [family.group] : own.peers
        for target in targets {
            let payload = advertisement.payload(
                from: source, to: target.bare, checksum: settings.checksum)
            driver.send(family, self) { socket throws(SystemError) in
                if let virtualInterface, own.exchange == .multicast {
                    try driver.frames.send(
                        virtualInterface.frame(payload, from: source, to: target),
                        on: channel.index)
                } else {
                    try socket.send(payload, from: source, to: target)
                }
            }
        }
    }

    private func announce(_ why: ElectionMachine.Announcement) {
        guard let link = channel.link else { return }
        let place = Announcer.Place(
            index: addressIndex, name: virtualInterface?.name ?? channel.name,
            hardwareAddress: virtualInterface?.hardwareAddress(.ipv4) ?? link.hardwareAddress)
        driver.announcer.announce(settings.families.flatMap(\.addresses).map(\.address), at: place)
        switch why {
        case .takeOver, .repetition, .refresh, .conflictOver, .resumed: break
        case .conflict: driver.log(.info, "\(settings.name): announced against another master")
        }
    }
}

extension InterfaceChannel {
    /// What advertisements of an instance come from: an address of the interface that does not
    /// move; IPv6: link-local (RFC 9568 §5.1.2.1). Nil: there is none that is usable yet.
    func source(for family: FamilySettings, of instance: InstanceDriver) -> SocketAddress? {
        let virtual = Set(family.addresses.map(\.address))
        let usable = addresses.filter {
            $0.address.family == family.family && $0.flags.isDisjoint(with: [.tentative, .duplicate])
                && (instance.settings.isOwner
                    || (!virtual.contains($0.address) && $0.origin != AddressPlan.mark))
        }
        if let source = family.source?.bare {
            return usable.contains { $0.address == source } ? source : nil
        }
        if family.family == .ipv6 { return usable.first(where: \.isLinkLocal)?.address }
        return (usable.first { !$0.flags.contains(.secondary) } ?? usable.first)?.address
    }
}
