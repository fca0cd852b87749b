internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgePair
internal import EdgeSystem
internal import EdgeTLS

/// This node's side of the pair: keeps the link as the configuration and its files say, tells the
/// other node what is known here, and takes up what that one knows. Control thread; nothing waits
/// for it, and nothing that comes over it is a verdict.
final class PairSide {
    unowned let service: ProxyService
    private let loop: PollLoop
    private(set) var configuration: Configuration.Pair?
    private(set) var link: PairLink?
    /// Why the files do not make a pair; nil: they do.
    private(set) var filesProblem: String?
    private(set) var unpairedSince = WallClock.seconds
    private var folders: FolderWatch?
    private var lookTimer: TimerID?
    private var tellTimer: TimerID?
    private var tickTimer: TimerID?
    /// Of the other node, since the link was opened.
    private(set) var theirs: PairFingerprints?
    private var troubled: Set<PairMember> = []
    // What was told.
    private var toldMembers: Set<PairMember>?
    private(set) var ours: PairFingerprints?
    private var dirtyNames: Set<String> = []
    private var isStateDirty = false
    private var ticks = 0
    private var saidDrift: [PairDrift] = []
    /// Of links that were before this one.
    private(set) var before = PairMachine.Counts()
    private(set) var strangersBefore = 0
    private(set) var failedBefore = 0
    private(set) var taken = Taken()
    /// Nil: there is no memory of limits.
    private(set) var limits: PairLimits?

    struct Taken {
        var names = 0
        var hints = 0
        var keys = 0
    }

    /// Changes of one moment are told together.
    private static let tellDelay = Duration.milliseconds(200)
    /// The files of a pair are written one after the other.
    private static let lookDelay = Duration.milliseconds(300)
    /// Between two looks at what only time changes.
    private static let tick = Duration.seconds(60)
    /// So often the ages of names are told anew.
    private static let namesEvery = 10
    /// Bytes of names in one message; a service may add 17 KB.
    private static let namesBytes = 32 << 10
    /// Half of what a connection holds; who has more names has a part of them told.
    private static let namePartsMax = 64

    init(_ service: ProxyService) {
        self.service = service
        loop = service.loop
    }

    deinit { stop() }

    // MARK: - Life

    /// From now on; the same again changes nothing but takes up files that have changed.
    func use(_ wanted: Configuration.Pair?) {
        service.tickets?.onChange = { [weak self] in self?.sendTicketKeys() }
        if wanted != configuration {
            closeLink(wanted == nil ? .unpaired : .stopping)
            configuration = wanted
            unpairedSince = WallClock.seconds
        }
        guard wanted != nil else { return stop() }
        shareLimits()
        watchFiles()
        look()
        scheduleTick()
        stateChanged()
    }

    /// The process ends.
    func close() {
        closeLink(.stopping)
        stop()
    }

    private func stop() {
        for timer in [lookTimer, tellTimer, tickTimer].compactMap({ $0 }) { loop.cancel(timer) }
        lookTimer = nil
        tellTimer = nil
        tickTimer = nil
        folders = nil
        link?.close()
        link = nil
        limits?.close()
        limits = nil
    }

    private func closeLink(_ reason: PairFarewell) {
        guard let link else { return }
        link.close(reason)
        let counts = link.machine.counts
        before.add(counts)
        strangersBefore += link.strangers
        failedBefore += link.failedHandshakes
        self.link = nil
        limits?.closed()
        forgetPeer()
        if reason == .unpaired { service.tickets?.follow(0) }
        service.pairLost("the link was closed here")
    }

    private func forgetPeer() {
        theirs = nil
        troubled = []
        toldMembers = nil
        ours = nil
    }

    // MARK: - Files

    private func watchFiles() {
        guard let configuration else { return }
        do throws(SystemError) {
            let watch: FolderWatch
            if let folders {
                watch = folders
            } else {
                watch = try FolderWatch(loop: loop) { [weak self] in self?.lookSoon() }
                folders = watch
            }
            // The folder itself may come later.
            let parent = configuration.directory.lastIndex(of: "/").map {
                String(configuration.directory[...$0])
            }
            watch.watch([configuration.directory, parent ?? "."])
        } catch {
            Log.warning("pair: \(error); files are read at the next reload")
        }
    }

    private func lookSoon() {
        guard lookTimer == nil else { return }
        lookTimer = loop.schedule(after: Self.lookDelay) { [weak self] in
            guard let self else { return }
            lookTimer = nil
            watchFiles()
            look()
        }
    }

    /// Reads the files; a link is begun anew only if they are others and can be used.
    private func look() {
        guard let configuration else { return }
        do throws(CertificateProblem) {
            let identity = try PinnedIdentity.load(
                certificate: configuration.certificate, key: configuration.key,
                peer: configuration.peerCertificate)
            filesProblem = nil
            guard link?.identity != identity else { return }
            closeLink(.unpaired)
            begin(configuration, identity)
        } catch {
            let text = "\(error)"
            guard filesProblem != text else { return }
            filesProblem = text
            Log.warning("pair: \(text)", ["link": link == nil ? "none" : "goes on"])
        }
    }

    private func begin(_ configuration: Configuration.Pair, _ identity: PinnedIdentity) {
        do throws(TLSFailure) {
            let made = try PairLink(
                PairLink.Settings(
                    own: configuration.own, peer: configuration.peer, name: configuration.name,
                    software: EdgedVersion.text),
                identity: identity, loop: loop, seed: UInt64.random(in: 1 ... .max),
                handlers: PairLink.Handlers(
                    opened: { [weak self] in self?.opened($0) },
                    closed: { [weak self] in self?.closed($0) },
                    received: { [weak self] in self?.received($0) }))
            link = made
            let (own, peer) = (identity.own.number, identity.peer.number)
            service.tickets?.follow(peer < own ? peer : 0)
            Log.notice(
                "pair: \(made.machine.connects ? "connecting to" : "listening for") the other node",
                ["own": "\(configuration.own)", "peer": "\(configuration.peer)"])
        } catch {
            filesProblem = "\(error)"
            Log.error("pair: \(error)")
        }
    }

    // MARK: - The link

    private func opened(_ hello: PairHello) {
        forgetPeer()
        Log.notice(
            "pair: linked", ["peer": peerName, "version": hello.software])
        sendTicketKeys()
        tellFingerprints()
        tellMembers()
        tell(names: service.resolver?.records ?? NameRecords())
        limits?.opened()
    }

    private func closed(_ loss: PairLoss) {
        limits?.closed()
        forgetPeer()
        Log.warning("pair: the link is lost", ["peer": peerName, "reason": "\(loss)"])
        service.pairLost(loss.description)
    }

    var peerName: String {
        let said = link?.machine.peer?.name ?? ""
        return said.isEmpty ? configuration?.peerName ?? "" : said
    }

    private func received(_ message: PairMessage) {
        switch message {
        case .ticketKeys(let keys): take(keys)
        case .names(let bytes): takeNames(bytes)
        case .troubled(let members): takeTroubled(members)
        case .fingerprints(let prints): theirs = prints
        case .order(let order):
            service.carryOut(order) { [weak self] in self?.link?.send(.orderResult($0)) }
        case .orderResult(let result): service.pairAnswered(result)
        case .costs(let costs): limits?.take(costs)
        case .debts(let debts): limits?.take(debts)
        case .textKey(let key): limits?.take(key)
        case .bans(let bans): limits?.take(bans)
        case .refusals(let refusals): limits?.take(refusals)
        // The machine's own.
        case .hello, .ping, .pong, .farewell: break
        }
    }

    // MARK: - Ticket keys

    private func sendTicketKeys() {
        guard let link, link.isOpen, let keys = service.tickets?.ring.keys else { return }
        let own = link.identity.own.number
        let now = Instant.now()
        link.send(.ticketKeys(keys.map { PairTicketKey($0, own: own, now: now) }))
    }

    private func take(_ keys: [PairTicketKey]) {
        guard let link, let tickets = service.tickets else { return }
        let own = link.identity.own.number
        let now = Instant.now()
        let count = tickets.merge(keys.map { TicketKey($0, own: own, now: now) })
        taken.keys += count
        if count > 0 { Log.info("pair: ticket keys of the other node", ["count": "\(count)"]) }
    }

    // MARK: - Names

    func nameChanged(_ name: String) {
        guard link?.isOpen == true else { return }
        dirtyNames.insert(name)
        tellSoon()
    }

    private func tell(names records: NameRecords) {
        guard let link, link.isOpen else { return }
        for part in records.parts(byteCount: Self.namesBytes).prefix(Self.namePartsMax) {
            link.send(.names(part.encode(byteCountMax: PairMessage.bodyBytesMax)))
        }
    }

    private func takeNames(_ bytes: [UInt8]) {
        guard let records = try? NameRecords(decoding: bytes) else {
            Log.warning("pair: names of the other node are not understood")
            return
        }
        let clock = (link?.machine.clockDifference ?? 0) / 1_000_000_000
        let count = service.resolver?.suggest(records, wallSeconds: WallClock.seconds + clock) ?? 0
        taken.names += count
        if count > 0 {
            Log.notice("pair: addresses of the other node are used", ["names": "\(count)"])
        }
    }

    // MARK: - Members

    func membersChanged() {
        guard link?.isOpen == true else { return }
        tellSoon()
    }

    private func tellMembers() {
        guard let link, link.isOpen else { return }
        let all = service.troubledMembers
        guard all != toldMembers else { return }
        toldMembers = all
        let sorted = all.sorted { ($0.upstream, "\($0.address)") < ($1.upstream, "\($1.address)") }
        link.send(.troubled(Array(sorted.prefix(PairMessage.membersMax))))
    }

    private func takeTroubled(_ members: [PairMember]) {
        let fresh = Set(members)
        for member in fresh.subtracting(troubled) {
            taken.hints += 1
            service.health?.hint(member.upstream, member.address)
        }
        troubled = fresh
    }

    // MARK: - Limits

    private func shareLimits() {
        guard limits == nil, let memory = service.limitMemory, let workers = service.workers
        else { return }
        limits = PairLimits(self, memory: memory, workers: workers)
        service.limitDesk.changed = { [weak self] in self?.limits?.changed($0) }
    }

    // MARK: - Fingerprints

    /// Another configuration, or other certificates, may be in use.
    func stateChanged() {
        if let plans = service.snapshot?.limits { limits?.use(plans) }
        isStateDirty = true
        tellSoon()
    }

    private func tellFingerprints() {
        guard let link, link.isOpen else { return }
        let prints = service.pairFingerprints
        guard prints != ours else { return }
        ours = prints
        if let prints { link.send(.fingerprints(prints)) }
    }

    /// What is not the same on both nodes; nothing while there is no link.
    var drift: [PairDrift] {
        guard let link, link.isOpen, let peer = link.machine.peer else { return [] }
        return PairDrift.compare(
            ours, theirs, clock: link.machine.clockDifference,
            software: (EdgedVersion.text, peer.software))
    }

    // MARK: - Time

    private func tellSoon() {
        guard tellTimer == nil, configuration != nil else { return }
        tellTimer = loop.schedule(after: Self.tellDelay) { [weak self] in
            guard let self else { return }
            tellTimer = nil
            if isStateDirty { tellFingerprints() }
            isStateDirty = false
            tellMembers()
            if !dirtyNames.isEmpty, let records = service.resolver?.records {
                tell(names: records.only(dirtyNames))
            }
            dirtyNames = []
        }
    }

    private func scheduleTick() {
        guard tickTimer == nil else { return }
        tickTimer = loop.schedule(after: Self.tick) { [weak self] in
            guard let self else { return }
            tickTimer = nil
            ticks += 1
            if ticks % Self.namesEvery == 0 {
                tell(names: service.resolver?.records ?? NameRecords())
            }
            sayDrift()
            scheduleTick()
        }
    }

    /// What lasts is said once; a rotation of certificates is not the same moment on both nodes.
    private func sayDrift() {
        let now = drift
        if now != saidDrift { for item in now { Log.warning("pair: \(item.text)") } }
        saidDrift = now
    }
}

extension PairMachine.Counts {
    mutating func add(_ more: PairMachine.Counts) {
        opened += more.opened
        lost += more.lost
        received += more.received
        sent += more.sent
        skipped += more.skipped
        violations += more.violations
    }
}

extension PairTicketKey {
    /// - Parameter own: this node's number.
    init(_ key: TicketKey, own: UInt64, now: Instant) {
        var random: [UInt8] = []
        random.reserveCapacity(TicketKey.randomBytes)
        withUnsafeBytes(of: key.id) { random += $0 }
        withUnsafeBytes(of: key.cipherKey) { random += $0 }
        withUnsafeBytes(of: key.macKey) { random += $0 }
        self.init(
            origin: key.origin == 0 ? own : key.origin,
            age: Duration(nanoseconds: now.nanoseconds(since: key.madeAt)),
            createdSeconds: key.createdSeconds, random: random)
    }
}

extension TicketKey {
    /// As old as it says, by this machine's clock since it was started.
    init(_ key: PairTicketKey, own: UInt64, now: Instant) {
        let age = min(key.age.nanoseconds, now.nanoseconds)
        self.init(
            random: key.random, madeAt: Instant(nanoseconds: now.nanoseconds - age),
            createdSeconds: key.createdSeconds)
        origin = key.origin == own ? 0 : key.origin
    }
}

extension WallClock {
    /// Since 1970.
    static var seconds: Int64 { Int64(now() / 1_000_000_000) }
}
