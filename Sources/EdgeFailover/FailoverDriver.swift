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
    var instances: [InstanceDriver] = []
    var presence: PresenceExchange?
    /// By name; one per interface that an instance uses or tracks.
    var channels: [String: InterfaceChannel] = [:]
    var filters: [String: AdvertisementFilter] = [:]
    var links: [Int32: NetworkLink] = [:]
    private var watch: NetworkWatch?
    let survey: NetworkSurvey
    /// The next findings of the survey are for the keeper too.
    var hasLostEvents = false
    /// Told once until it is another.
    var surveyFailure: SystemError?
    var readiness: ElectionMachine.Readiness
    /// As the guardian says; tracked interfaces come on top.
    var standing: Standing
    var grant = RealTime.Grant()
    var isStatusDue = false
    var isFrozen = false
    /// Settings that came while everything was frozen.
    var postponed: (settings: FailoverSettings, options: FailoverOptions)?
    /// Whose addresses are being given away, and who waits for it.
    var yields: [Yield] = []
    var stopCompletions: [() -> Void] = []
    var isStopping = false
    /// Until a pause that was announced begins.
    var execTimer: TimerID?
    var refusalsLogged: Set<AdvertisementRefusal> = []

    struct Yield {
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
        survey = NetworkSurvey(loop: loop)
        watch = try NetworkWatch(loop: loop) { [weak self] in self?.observed($0) }
        keeper.report = { [weak self] in self?.kept($0) }
        keeper.refusalsChanged = { [weak self] in self?.refusalsChanged() }
        survey.handler = { [weak self] in self?.surveyed($0) }
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
        govern()
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

    /// What could not be opened is tried again, and what is known is compared with what there is.
    private func tend() {
        if !isFrozen {
            for channel in channels.values {
                channel.openSockets()
                tellInstances(channel)
            }
            survey.request()
        }
        loop.schedule(after: .seconds(10)) { [weak self] in self?.tend() }
    }

    private func adopt(_ inherited: FailoverHandover.Socket) {
        // Another one has to be opened then; who knows what this number is by now.
        guard
            VRRPSocket.isOne(
                inherited.descriptor, isIPv4: inherited.family == .ipv4,
                name: inherited.interfaceName)
        else {
            log(.warning, "failover: \(inherited.interfaceName): an inherited socket is none")
            return
        }
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
        channel.report = { [weak self] in self?.log(.error, "failover: \(name): \($0)") }
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
        guard !isStopping else { return }
        guard !isFrozen else {
            postponed = (settings, options)
            return
        }
        self.options = options
        let before = instances.map(ObjectIdentifier.init)
        let known = Set(channels.keys)
        build(settings)
        // Their addresses.
        if !known.isSuperset(of: channels.keys) { survey.request() }
        govern()
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
    func restand() {
        for instance in instances {
            let standing = standing(of: instance)
            if instance.status.standing != standing { instance.handle(.standing(standing)) }
        }
        presence?.standingMayHaveChanged()
        changedStatus()
    }

    func standing(of instance: InstanceDriver) -> Standing {
        guard !standing.fitness.isUnfit else { return standing }
        if instance.lack != .none {
            return Standing(
                fitness: .unfit(
                    .addressesMissing, answers: standing.fitness.answers && instance.lack == .some),
                isInMaintenance: standing.isInMaintenance)
        }
        guard
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

    /// All that peers are told: the node's, and each instance's.
    var standings: [Standing] { [worstStanding] + instances.map { standing(of: $0) } }

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

    /// Which addresses the kernel does not take. Not from within the instance that puts them on.
    private func refusalsChanged() {
        loop.schedule(at: loop.now) { [weak self] in
            guard let self else { return }
            for instance in instances { instance.noteRefusals() }
            restand()
        }
    }

    /// Takes off what an instance holds, but for what another holds by now; with any prefix length
    /// that somebody has put them on with meanwhile.
    func release(_ addresses: [InterfaceAddress], of instance: InstanceDriver) {
        let others = instance.channel.addresses.filter { present in
            addresses.contains {
                $0.index == present.index && $0.address == present.address
                    && $0.prefixLength != present.prefixLength
            }
        }
        let addresses = addresses + others
        let theirs = instances.filter { $0 !== instance && $0.isMaster }
            .flatMap(\.virtualAddresses)
        keeper.release(
            addresses.filter { address in
                !theirs.contains { $0.index == address.index && $0.address == address.address }
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
}

extension InstanceSettings {
    /// Whether an election that runs may go on with the other settings.
    fileprivate func isSameRouter(as other: InstanceSettings) -> Bool {
        name == other.name && routerID == other.routerID && interfaceName == other.interfaceName
            && families.map(\.family) == other.families.map(\.family)
            && usesVirtualMAC == other.usesVirtualMAC && isOwner == other.isOwner
    }
}
