import EdgeCore

@testable import EdgeVRRP

/// Two nodes and the network between them on one clock, from a seed: the same seed is the same run.
/// What must always hold is checked after every step (`PairSimulation+Rules`).
struct PairSimulation {
    enum Item {
        case wake(node: Int, token: Int)
        case arrival(node: Int, SimulatedNode.Packet)
        case resume(node: Int)
        case powerOn(node: Int)
        case respawn(node: Int)
        case successor(node: Int, ElectionRecord, sequence: UInt64)
    }

    let setup: PairSetup
    var random: SplitMix64
    var now = Instant(nanoseconds: 1_000_000_000)
    var nodes: [SimulatedNode] = []
    var heap = EventHeap<Item>()
    var steps = 0
    var rules = Rules()
    var trace = Trace()

    // The network.
    var lossPercent = 0
    var duplicationPercent = 0
    /// Longest delay of a packet.
    var delayMax: UInt64 = 400_000
    /// A filter swallows VRRP; presence passes.
    var isVRRPCut = false
    /// As above, of what this node sends only.
    var mutedNode: Int?
    var lastAnnouncer: Int?

    init(setup: PairSetup, seed: UInt64) {
        self.setup = setup
        random = SplitMix64(seed: seed)
        lossPercent = setup.lossPercent
        for index in 0..<2 {
            let settings = setup.settings(index)
            nodes.append(
                SimulatedNode(
                    index: index, settings: settings,
                    election: ElectionMachine(settings: settings, now: now), presence: nil,
                    filter: AdvertisementFilter(
                        instances: [settings],
                        ownAddresses: Array(SimulatedNode.addresses(index).values))))
        }
        for index in nodes.indices { boot(index) }
    }

    mutating func chance(_ percent: Int) -> Bool {
        percent > 0 && Int.random(in: 0..<100, using: &random) < percent
    }

    // MARK: - Running

    /// Runs until `span` has gone by or a rule is broken.
    mutating func run(for span: Duration) {
        let end = now.advanced(by: span)
        while rules.broken == nil, let (at, item) = heap.pop() {
            guard at <= end else {
                heap.push(item, at: at)
                break
            }
            now = at
            steps += 1
            handle(item)
            checkRules()
        }
        now = end
        checkRules()
    }

    private mutating func handle(_ item: Item) {
        switch item {
        case .wake(let index, let token):
            if token == nodes[index].wakeToken { turn(index) }
        case .arrival(let index, let packet):
            guard nodes[index].isPowered, nodes[index].hasCarrier, !nodes[index].isInCut else {
                return
            }
            guard nodes[index].queue.count < SimulatedNode.queueMax else { return }
            nodes[index].queue.append((packet, now))
            wake(index, at: now)
        case .resume(let index):
            guard let until = nodes[index].stalledUntil, now >= until else { return }
            nodes[index].stalledUntil = nil
            trace.note(now, index, "goes on")
            // What came meanwhile from elsewhere than the network.
            feed(.link(isUp: nodes[index].hasCarrier), to: index)
            feed(.standing(nodes[index].standing), to: index)
            wake(index, at: now)
        case .powerOn(let index):
            guard !nodes[index].isPowered else { return }
            nodes[index].isPowered = true
            boot(index)
        case .respawn(let index):
            guard nodes[index].isPowered, !nodes[index].isRunning else { return }
            boot(index)
        case .successor(let index, let record, let sequence):
            guard nodes[index].isPowered else { return }
            resume(index, record, sequence: sequence)
        }
    }

    /// Asks for a turn of the node's loop, late by what schedulers do.
    mutating func wake(_ index: Int, at: Instant) {
        guard nodes[index].isPowered, nodes[index].isRunning, at != .never else { return }
        var late = UInt64.random(in: 1_000...150_000, using: &random)
        if setup.hiccup > .zero, chance(2) {
            late = UInt64.random(in: 0...setup.hiccup.nanoseconds, using: &random)
        }
        let due = max(at, now).advanced(byNanoseconds: late)
        // A turn that is planned earlier sees this too.
        if nodes[index].wakeAt > now, nodes[index].wakeAt <= due { return }
        nodes[index].wakeToken += 1
        nodes[index].wakeAt = due
        heap.push(.wake(node: index, token: nodes[index].wakeToken), at: due)
    }

    /// One turn: every packet first, then time.
    private mutating func turn(_ index: Int) {
        nodes[index].wakeAt = .never
        guard nodes[index].isPowered, nodes[index].isRunning, nodes[index].stalledUntil == nil
        else { return }
        let queue = nodes[index].queue
        nodes[index].queue = []
        for (packet, receivedAt) in queue { read(packet, index, receivedAt: receivedAt) }
        if now >= nodes[index].election.nextDeadline {
            feed(.timer, to: index)
            checkRest(index)
        }
        if let due = nodes[index].presence?.nextDeadline, now >= due { tell(index) }
        if nodes[index].presence?.wantsToGreet == true { tell(index, isUrgent: false) }
        plan(index)
    }

    /// Of things that are due at one time each is done once.
    private mutating func checkRest(_ index: Int) {
        var copy = nodes[index].election
        for _ in 0..<4 where copy.nextDeadline <= now { _ = copy.handle(.timer, now: now) }
        if copy.nextDeadline <= now {
            rules.breakRule("\(index) asks for a time that is over: \(copy.phase)")
        }
    }

    mutating func plan(_ index: Int) {
        var next = nodes[index].election.nextDeadline
        if let due = nodes[index].presence?.nextDeadline { next = min(next, due) }
        wake(index, at: next)
    }

    /// Feeds an event from outside a turn, as a driver's other callbacks do.
    mutating func feed(_ event: ElectionMachine.Event, to index: Int) {
        guard nodes[index].isPowered, nodes[index].isRunning, nodes[index].stalledUntil == nil
        else { return }
        perform(nodes[index].election.handle(event, now: now), index)
    }

    private mutating func read(
        _ packet: SimulatedNode.Packet, _ index: Int, receivedAt: Instant
    ) {
        do {
            let received: ReceivedAdvertisement
            switch packet {
            case .ipv4(let bytes): received = try ReceivedAdvertisement(ipv4Packet: bytes.span)
            case .ipv6(let bytes, let source):
                received = try ReceivedAdvertisement(
                    ipv6Payload: bytes.span, hopLimit: 255, source: source,
                    destination: IPFamily.ipv6.group)
            case .presence(let bytes):
                hearPresence(bytes, index, receivedAt: receivedAt)
                return
            }
            let admission = try nodes[index].filter.admit(received)
            feed(
                .advertisement(
                    ElectionMachine.Heard(
                        received, receivedAt: receivedAt,
                        addressesDiffer: admission.addressesDiffer)), to: index)
        } catch {
            rules.breakRule("what a node sends is understood: \(error)")
        }
    }

    private mutating func hearPresence(_ bytes: [UInt8], _ index: Int, receivedAt: Instant) {
        let wall = now.nanoseconds &+ nodes[index].wallOffset
        let source = SimulatedNode.presenceAddress(1 - index)
        let peer = try? nodes[index].presence?.receive(
            bytes, from: source, receivedAt: receivedAt, wallClock: wall, now: now)
        guard let peer else { return }
        feed(.presence(peer.report(routerID: 51)), to: index)
    }

    // MARK: - Acting

    mutating func perform(_ actions: [ElectionMachine.Action], _ index: Int) {
        var mustTell = false
        for action in actions {
            switch action {
            case .send(let family, let priority, let centiseconds):
                advertise(index, family, priority: priority, centiseconds: centiseconds)
            case .putAddressesOn: nodes[index].holds = true
            case .takeAddressesOff: nodes[index].holds = false
            case .announce(let why):
                if !nodes[index].holds { rules.breakRule("\(index) announces what it has not") }
                if why != .repetition, why != .conflict {
                    trace.note(now, index, "announces: \(why)")
                }
                if nodes[index].hasCarrier, !nodes[index].isOutCut { lastAnnouncer = index }
            case .transition(let transition):
                trace.note(now, index, "\(transition.from) → \(transition.to): \(transition.cause)")
                rules.note(transition, index)
            case .tellPeers: mustTell = true
            case .yieldRefused(let why): trace.note(now, index, "yield refused: \(why.reason)")
            case .yieldEnded(let isMoved): trace.note(now, index, "yield ended: \(isMoved)")
            case .stopped: trace.note(now, index, "stopped")
            }
        }
        if mustTell { tell(index) }
        plan(index)
    }

    private mutating func advertise(
        _ index: Int, _ family: IPFamily, priority: UInt8, centiseconds: UInt16
    ) {
        if !nodes[index].holds, nodes[index].election.state != .master {
            rules.breakRule("\(index) advertises without holding")
        }
        guard let source = nodes[index].addresses[family] else { return }
        let addresses = nodes[index].settings.families.first { $0.family == family }?.addresses
        let payload = Advertisement(
            family: family, routerID: 51, priority: priority, centiseconds: centiseconds,
            addresses: addresses?.map(\.address) ?? []
        ).payload(from: source, to: family.group)
        switch family {
        case .ipv4:
            let header = Advertisement.ipv4Header(
                from: source, to: family.group, payloadByteCount: payload.count)
            transmit(.ipv4(header + payload), from: index)
        case .ipv6: transmit(.ipv6(payload, source: source), from: index)
        }
    }

    mutating func tell(_ index: Int, isUrgent: Bool = true) {
        let status = nodes[index].election.status(now: now)
        let content = PresenceMachine.Content(
            standing: status.standing, configurationFingerprint: 7,
            instances: [status.presence(now: now)])
        let wall = now.nanoseconds &+ nodes[index].wallOffset
        let datagrams =
            nodes[index].presence?.messages(
                content, isUrgent: isUrgent, wallClock: wall, now: now) ?? []
        for datagram in datagrams { transmit(.presence(datagram.bytes), from: index) }
    }

    private mutating func transmit(_ packet: SimulatedNode.Packet, from index: Int) {
        guard nodes[index].isPowered, nodes[index].hasCarrier, !nodes[index].isOutCut else {
            return
        }
        switch packet {
        case .ipv4, .ipv6: if isVRRPCut || mutedNode == index { return }
        case .presence: break
        }
        for _ in 0..<(chance(duplicationPercent) ? 2 : 1) where !chance(lossPercent) {
            let delay = UInt64.random(in: 20_000...delayMax, using: &random)
            heap.push(
                .arrival(node: 1 - index, packet), at: now.advanced(byNanoseconds: delay))
        }
    }
}
