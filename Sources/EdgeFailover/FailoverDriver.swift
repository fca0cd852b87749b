internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP
internal import Glibc

/// What the failover thread runs: interfaces, instances and what they share. Everything here
/// belongs to that thread, but for `init`.
final class FailoverDriver {
    let loop: PollLoop
    let netlink: NetlinkSocket
    let frames: PacketSocket
    let keeper: AddressKeeper
    let announcer: Announcer
    let tell: @Sendable (FailoverEvent) -> Void
    /// Without what others count themselves.
    var figures = FailoverStatus.Figures()

    private(set) var settings: FailoverSettings
    private(set) var options: FailoverOptions
    private(set) var instances: [InstanceDriver] = []
    var presence: PresenceExchange?
    /// By name; one per interface that an instance uses or tracks.
    private(set) var channels: [String: InterfaceChannel] = [:]
    private var filters: [String: AdvertisementFilter] = [:]
    private var links: [Int32: NetworkLink] = [:]
    private var watch: NetworkWatch?
    private var readiness: ElectionMachine.Readiness
    /// As the guardian says; tracked interfaces come on top.
    private var standing: Standing
    private var grant = RealTime.Grant()
    private var isStatusDue = false
    private var isFrozen = false
    /// Whose addresses are being given away, and who waits for it.
    private var yields: [Yield] = []
    private var stopCompletion: (() -> Void)?
    private var refusalsLogged: Set<AdvertisementRefusal> = []

    private struct Yield {
        var waiting: Set<String>
        var outcomes: [(instance: String, outcome: FailoverService.YieldOutcome)] = []
        let completion: ([(instance: String, outcome: FailoverService.YieldOutcome)]) -> Void
    }

    /// Everything that may be refused is opened here, so that the guardian is told at once.
    init(
        settings: FailoverSettings, options: FailoverOptions, loop: PollLoop,
        readiness: ElectionMachine.Readiness, standing: Standing,
        tell: @escaping @Sendable (FailoverEvent) -> Void
    ) throws(SystemError) {
        self.settings = settings
        self.options = options
        self.loop = loop
        self.readiness = readiness
        self.standing = standing
        self.tell = tell
        netlink = try NetlinkSocket()
        frames = try PacketSocket()
        keeper = try AddressKeeper(loop: loop)
        announcer = Announcer(socket: frames)
        watch = try NetworkWatch(loop: loop) { [weak self] in self?.observed($0) }
        keeper.report = { [weak self] in self?.kept($0) }
    }

    // MARK: - Running

    /// The thread's body, until `stop` is done.
    func run(resuming handover: FailoverHandover?) {
        _ = ce_set_thread_name("edged-vrrp")
        if settings.wantsRealTime {
            grant = RealTime.apply()
            let isGranted = grant.priority != nil && grant.isLocked
            log(isGranted ? .info : .warning, "failover: \(grant.summary)")
        }
        presence = PresenceExchange(driver: self, handover?.presence)
        readLinks()
        build(settings, isOpening: false)
        for socket in handover?.sockets ?? [] { adopt(socket) }
        for channel in channels.values {
            channel.openSockets()
            readAddresses(channel)
        }
        removeLeftovers()
        keeper.govern(instances.flatMap(\.virtualAddresses))
        for instance in instances { begin(instance, handover) }
        // After those that go on holding theirs.
        keeper.start()
        presence?.apply()
        tend()
        changedStatus()
        loop.run()
        presence = nil
        watch = nil
    }

    private func begin(_ instance: InstanceDriver, _ handover: FailoverHandover? = nil) {
        let old = handover?.instances.first {
            $0.name == instance.settings.name && $0.record.routerID == instance.settings.routerID
        }
        if let old {
            return instance.resume(
                old.record, readiness: readiness, standing(of: instance))
        }
        instance.handle(.readiness(readiness))
        instance.handle(.standing(standing(of: instance)))
        instance.observe()
        instance.handle(.start)
    }

    /// What could not be opened is tried again.
    private func tend() {
        for channel in channels.values { channel.openSockets() }
        loop.schedule(after: .seconds(10)) { [weak self] in self?.tend() }
    }

    private func adopt(_ inherited: FailoverHandover.Socket) {
        let socket = VRRPSocket(
            adopting: inherited.descriptor, isIPv4: inherited.family == .ipv4,
            index: inherited.interfaceIndex, isMulticast: inherited.isMulticast)
        channels[inherited.interfaceName]?.adopt(socket)
    }

    // MARK: - Settings

    /// Makes what is missing of channels and instances, and ends what is too much.
    ///
    /// - Parameter isOpening: false: sockets of a former program are adopted first.
    private func build(_ new: FailoverSettings, isOpening: Bool = true) {
        settings = new
        for instance in instances where !instance.isLeaving {
            if let next = new.instances.first(where: { instance.settings.isSameRouter(as: $0) }) {
                if next != instance.settings { instance.apply(next) }
            } else {
                instance.isLeaving = true
                instance.handle(.stop)
            }
        }
        let names = new.instances.flatMap { [$0.interfaceName] + $0.trackedInterfaces }
        for name in names where channels[name] == nil { channels[name] = makeChannel(name) }
        for instance in new.instances {
            // One of the same that is leaving ends first.
            guard !instances.contains(where: { $0.settings.isSameRouter(as: instance) }),
                let channel = channels[instance.interfaceName]
            else { continue }
            instances.append(InstanceDriver(instance, channel: channel, driver: self))
        }
        let used = Set(names + instances.map(\.channel.name))
        for name in Array(channels.keys) where !used.contains(name) { channels[name] = nil }
        for channel in channels.values {
            channel.speak(families(on: channel.name), isOpening: isOpening)
            makeFilter(channel)
        }
    }

    private func makeChannel(_ name: String) -> InterfaceChannel {
        let channel = InterfaceChannel(name: name, loop: loop)
        channel.received = { [weak self, unowned channel] in self?.received($0, $1, channel) }
        _ = channel.update(links.values.first { $0.interface.name == name })
        return channel
    }

    /// Families that are spoken there, with whether by multicast.
    private func families(on name: String) -> [IPFamily: Bool] {
        var result: [IPFamily: Bool] = [:]
        for instance in instances where instance.channel.name == name {
            for family in instance.settings.families {
                result[family.family, default: false] =
                    result[family.family] ?? false || family.exchange == .multicast
            }
        }
        return result
    }

    func apply(_ settings: FailoverSettings, options: FailoverOptions) {
        guard !isFrozen, stopCompletion == nil else { return }
        self.options = options
        let before = instances.map(ObjectIdentifier.init)
        let known = Set(channels.keys)
        build(settings)
        for channel in channels.values where !known.contains(channel.name) {
            readAddresses(channel)
        }
        keeper.govern(instances.flatMap(\.virtualAddresses))
        for instance in instances where !before.contains(ObjectIdentifier(instance)) {
            begin(instance)
        }
        restand()
        presence?.apply()
        changedStatus()
    }

    func setReadiness(_ parts: ElectionMachine.Readiness) {
        guard parts != readiness else { return }
        readiness = parts
        for instance in instances { instance.handle(.readiness(parts)) }
        changedStatus()
    }

    func setFitness(_ fitness: Fitness) {
        standing.fitness = fitness
        restand()
    }

    func setMaintenance(_ isInMaintenance: Bool) {
        standing.isInMaintenance = isInMaintenance
        restand()
    }

    // MARK: - Standing

    /// Tells every instance, and peers if it is news to them.
    private func restand() {
        for instance in instances {
            let standing = standing(of: instance)
            if instance.status.standing != standing { instance.handle(.standing(standing)) }
        }
        presence?.standingMayHaveChanged()
        changedStatus()
    }

    private func standing(of instance: InstanceDriver) -> Standing {
        guard !standing.fitness.isUnfit,
            instance.settings.trackedInterfaces.contains(where: {
                channels[$0]?.state.isUp != true
            })
        else { return standing }
        return Standing(
            fitness: .unfit(.trackedInterface, answers: standing.fitness.answers),
            isInMaintenance: standing.isInMaintenance)
    }

    /// Of the whole node: the worst of its instances' is what peers are told.
    var worstStanding: Standing {
        instances.map { standing(of: $0) }.first { $0.fitness.isUnfit } ?? standing
    }

    // MARK: - Interfaces

    private func observed(_ event: NetworkEvent) {
        switch event {
        case .link(let link):
            links[link.interface.index] = link
            linksChanged()
        case .linkGone(let index):
            links[index] = nil
            keeper.forget(index: index)
            linksChanged()
        case .address(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.added(address)
            addressesChanged(channel)
        case .addressGone(let address):
            guard let channel = channel(at: address.index) else { break }
            channel.removed(address)
            addressesChanged(channel)
        case .overflow: readAll()
        }
        keeper.observed(event)
    }

    private func channel(at index: Int32) -> InterfaceChannel? {
        channels.values.first { $0.index == index }
    }

    /// Some events were lost.
    private func readAll() {
        readLinks()
        linksChanged()
        for channel in channels.values {
            readAddresses(channel)
            tellInstances(channel)
        }
    }

    private func readLinks() {
        do throws(SystemError) {
            let all = try NetworkLink.readAll(netlink)
            links = [:]
            for link in all { links[link.interface.index] = link }
        } catch {
            log(.error, "failover: interfaces cannot be read: \(error)")
            loop.schedule(after: .milliseconds(100)) { [weak self] in self?.readAll() }
        }
    }

    private func readAddresses(_ channel: InterfaceChannel) {
        guard channel.index > 0 else { return }
        do throws(SystemError) {
            channel.replaceAddresses(try InterfaceAddress.readAll(netlink, of: channel.index))
            makeFilter(channel)
        } catch {
            log(.error, "failover: addresses of \(channel.name) cannot be read: \(error)")
            loop.schedule(after: .milliseconds(100)) { [weak self] in self?.readAll() }
        }
    }

    private func linksChanged() {
        var hasChanged = false
        for channel in channels.values {
            let link = links.values.first { $0.interface.name == channel.name }
            guard link != channel.link else { continue }
            hasChanged = true
            let before = channel.state
            let isOther = channel.update(link)
            if channel.state != before {
                log(.notice, "failover: \(channel.name) is \(channel.state.text)")
            }
            if isOther {
                readAddresses(channel)
                keeper.govern(instances.flatMap(\.virtualAddresses))
            }
            tellInstances(channel)
        }
        guard hasChanged else { return }
        // Virtual interfaces may have been made.
        keeper.govern(instances.flatMap(\.virtualAddresses))
        restand()
    }

    private func addressesChanged(_ channel: InterfaceChannel) {
        makeFilter(channel)
        tellInstances(channel)
        changedStatus()
    }

    private func tellInstances(_ channel: InterfaceChannel) {
        guard !isFrozen else { return }
        for instance in instances where instance.channel === channel { instance.observe() }
    }

    private func removeLeftovers() {
        let inUse = Set(
            instances.flatMap { $0.virtualInterfaces.values.map(\.name) })
        for link in links.values
        where VirtualInterface.isOurs(link) && !inUse.contains(link.interface.name) {
            try? VirtualInterface.remove(link, netlink)
        }
    }

    // MARK: - Packets

    private func makeFilter(_ channel: InterfaceChannel) {
        let here = instances.filter { $0.channel === channel }
        let virtual = Set(here.flatMap { $0.settings.families.flatMap(\.addresses) }.map(\.address))
        let isOwner = here.contains { $0.settings.isOwner }
        filters[channel.name] = AdvertisementFilter(
            instances: here.map(\.settings),
            ownAddresses: channel.addresses.map(\.address).filter {
                isOwner || !virtual.contains($0)
            })
    }

    private func received(_ family: IPFamily, _ packet: RawPacket, _ channel: InterfaceChannel) {
        figures.packetsReceived += 1
        guard let filter = filters[channel.name] else { return }
        do throws(AdvertisementRefusal) {
            let received = try Self.parse(family, packet)
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

    private static func parse(
        _ family: IPFamily, _ packet: RawPacket
    ) throws(AdvertisementRefusal) -> ReceivedAdvertisement {
        switch family {
        case .ipv4: return try ReceivedAdvertisement(ipv4Packet: packet.bytes.span)
        case .ipv6:
            guard let hopLimit = packet.hopLimit, let destination = packet.destination else {
                throw .hops
            }
            return try ReceivedAdvertisement(
                ipv6Payload: packet.bytes.span, hopLimit: Int(hopLimit), source: packet.source,
                destination: destination)
        }
    }

    /// Counted, and the first of each kind is named.
    private func refused(
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

    // MARK: - What instances say

    func changed(_ instance: InstanceDriver, _ transition: Transition) {
        log(
            .notice,
            "failover: \(instance.settings.name) is \(transition.to)"
                + " (was \(transition.from)): \(transition.cause)")
        tell(
            .transition(
                FailoverTransition(
                    instance: instance.settings.name, routerID: instance.settings.routerID,
                    transition: transition, wallClock: WallClock.now())))
        changedStatus()
    }

    func tellPeers() { presence?.sendSoon() }

    /// Takes off what an instance holds, but for what another holds by now.
    func release(_ addresses: [InterfaceAddress], of instance: InstanceDriver) {
        let others = instances.filter { $0 !== instance && $0.isMaster }
            .flatMap(\.virtualAddresses)
        keeper.release(
            addresses.filter { address in
                !others.contains { $0.index == address.index && $0.address == address.address }
            })
    }

    private func kept(_ report: AddressKeeper.Report) {
        switch report {
        case .restored(let address):
            log(.warning, "failover: \(address) had been removed and is back")
        case .removedLeftover(let address):
            log(.notice, "failover: \(address) was left behind and is removed")
        case .failed(let error): log(.error, "failover: \(error)")
        }
    }

    /// On the guardian's loop: this thread waits for no log.
    func log(_ level: Log.Level, _ text: String) { tell(.log(level, text)) }

    // MARK: - Giving away

    func yield(
        instance name: String?, isForced: Bool,
        _ completion:
            @escaping ([(instance: String, outcome: FailoverService.YieldOutcome)]) -> Void
    ) {
        let asked = instances.filter {
            !$0.isLeaving && (name == nil || $0.settings.name == name)
        }
        guard !asked.isEmpty, !isFrozen, stopCompletion == nil else {
            return completion([(name ?? "", .noSuchInstance)])
        }
        yields.append(Yield(waiting: Set(asked.map(\.settings.name)), completion: completion))
        for instance in asked { instance.handle(.yield(isForced: isForced)) }
    }

    func yieldEnded(_ instance: InstanceDriver, _ outcome: FailoverService.YieldOutcome) {
        let name = instance.settings.name
        // Refused because one is under way: the later question is answered by that.
        let place =
            outcome == .refused(.underWay)
            ? yields.lastIndex { $0.waiting.contains(name) }
            : yields.firstIndex { $0.waiting.contains(name) }
        guard let place else { return }
        yields[place].waiting.remove(name)
        yields[place].outcomes.append((name, outcome))
        guard yields[place].waiting.isEmpty else { return }
        let ended = yields.remove(at: place)
        ended.completion(ended.outcomes)
    }

    // MARK: - The end

    func stop(within deadline: Duration, _ completion: @escaping () -> Void) {
        guard stopCompletion == nil else { return }
        stopCompletion = completion
        isFrozen = false
        loop.schedule(after: deadline) { [weak self] in self?.end() }
        for instance in instances where !instance.hasStopped { instance.handle(.stop) }
        stopped()
    }

    /// An instance has ended, or all are to be looked at.
    func stopped() {
        if stopCompletion != nil {
            if instances.allSatisfy(\.hasStopped) { end() }
            return
        }
        // Not from within the instance that says so.
        loop.schedule(at: loop.now) { [weak self] in self?.removeStopped() }
    }

    private func removeStopped() {
        let ended = instances.filter { $0.isLeaving && $0.hasStopped }
        guard !ended.isEmpty else { return }
        for instance in ended { instance.end() }
        instances.removeAll { $0.isLeaving && $0.hasStopped }
        // One that came back to the file meanwhile begins now.
        apply(settings, options: options)
    }

    private func end() {
        guard let completion = stopCompletion else { return }
        stopCompletion = {}
        for instance in instances { instance.end() }
        completion()
        loop.stop()
    }

    // MARK: - Another program

    func prepareForExec(
        silence: Duration, _ completion: @escaping (FailoverHandover) -> Void
    ) {
        for instance in instances { instance.handle(.announcePause(silence)) }
        // One interval more, so that the announced one has been said twice.
        let interval = instances.map(\.settings.interval).max() ?? .zero
        loop.schedule(after: min(interval, .milliseconds(500))) { [weak self] in
            guard let self else { return }
            completion(freeze())
        }
    }

    private func freeze() -> FailoverHandover {
        isFrozen = true
        for instance in instances { instance.freeze() }
        presence?.freeze()
        let sockets = channels.values.flatMap { channel in
            channel.sockets.map { family, socket in
                FailoverHandover.Socket(
                    descriptor: socket.descriptor, interfaceName: channel.name,
                    interfaceIndex: channel.index, family: family,
                    isMulticast: socket.isMulticast)
            }
        }
        for socket in sockets { try? Descriptor.setCloseOnExec(socket.descriptor, false) }
        return FailoverHandover(
            instances: instances.filter { !$0.isLeaving }.map {
                .init(name: $0.settings.name, record: $0.record)
            },
            sockets: sockets, presence: presence?.handover)
    }

    func cancelExec() {
        guard isFrozen else { return }
        isFrozen = false
        for channel in channels.values {
            for socket in channel.sockets.values {
                try? Descriptor.setCloseOnExec(socket.descriptor)
            }
        }
        for instance in instances { instance.thaw() }
        presence?.thaw()
    }

    // MARK: - Status

    /// Once for all that has changed in this turn.
    func changedStatus() {
        guard !isStatusDue else { return }
        isStatusDue = true
        loop.schedule(at: loop.now) { [weak self] in
            guard let self else { return }
            isStatusDue = false
            tell(.changed(status))
        }
    }

    var status: FailoverStatus {
        var figures = figures
        figures.addresses = keeper.figures
        figures.announcements = announcer.figures
        figures.clockJumps = channels.values.reduce(0) { $0 + $1.clockJumps }
        presence?.add(to: &figures)
        return FailoverStatus(
            nodeName: settings.nodeName, standing: worstStanding,
            instances: instances.filter { !$0.isLeaving }.map { instance in
                FailoverStatus.Instance(
                    interfaceName: instance.channel.name, link: instance.channel.state,
                    addresses: instance.settings.families.flatMap(\.addresses),
                    election: instance.status)
            },
            peers: presence?.peers ?? [], figures: figures, realTime: grant)
    }
}

extension InstanceSettings {
    /// Whether an election that runs may go on with the other settings.
    fileprivate func isSameRouter(as other: InstanceSettings) -> Bool {
        name == other.name && routerID == other.routerID && interfaceName == other.interfaceName
            && families.map(\.family) == other.families.map(\.family)
            && usesVirtualMAC == other.usesVirtualMAC && isOwner == other.isOwner
    }
}
