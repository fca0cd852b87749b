package import EdgeCore
package import EdgeSystem

/// Keeps the addresses of the names in use up to date: the name cache joined to c-ares on the
/// control thread's loop. Nothing that DNS does or does not answer is fatal or removes an
/// address (`NameMachine` has the rules). All servers of a group are asked at the same time, so
/// that one that is silent or wrong costs nothing while another answers (`NameRound`,
/// `ServerWatch`). At most `outstandingMax` names of a group are asked at once; the others wait for
/// their turn.
package final class Resolver {
    /// Name or service whose proposal has changed, once per change. Not called for what is known
    /// when `track` returns: literal addresses and what was remembered.
    package typealias ChangeHandler = (_ name: String) -> Void

    /// Whoever configures more names than this waits a little longer for the last ones.
    package static let outstandingMax = 64

    let loop: PollLoop
    private let onChange: ChangeHandler
    /// Given by tests; else the settings' own.
    private let fixedTiming: NameTiming?
    /// The servers of resolv.conf.
    private let systemServers: () -> [SocketAddress?]
    let finished = FinishedQueries()
    private(set) var groups: [ResolverGroup]
    private(set) var settings: ResolverSettings
    private(set) var ownAddresses: Set<SocketAddress>
    var cache: NameCache
    let store: NameStore?
    private var isKeeping = true
    var hosts: HostsFile
    /// Names whose newest answer is from the hosts file.
    var fromHosts: Set<String> = []
    /// By number, and by index into `groups` (-1: the system's).
    private(set) var servers: [Int: DNSServer] = [:]
    private var serversOfGroup: [Int: [DNSServer]] = [:]
    private var lastNumber = 0
    private var systemReadAt: Instant?
    var rounds: [QuerySubject: NameRound] = [:]
    private var published: [String: NameProposal] = [:]
    /// Whose proposals may have changed.
    private var stirred: Set<String> = []
    /// Of the cache, when the rest was last brought in line with it.
    private var keptVersion: UInt64 = 0
    private var keptServices: [String] = []
    /// By name, of the groups as they are now.
    private var groupIndexes: [String: Int] = [:]
    private var timer: TimerID?
    private(set) var isClosed = false
    private var isTurning = false

    /// - Parameters:
    ///   - timing: instead of what the settings say, in tests.
    ///   - seed: of the jitter.
    ///   - systemServers: instead of what resolv.conf says, in tests.
    package init(
        loop: PollLoop, groups: [ResolverGroup], settings: ResolverSettings = ResolverSettings(),
        timing: NameTiming? = nil, seed: UInt64,
        systemServers: (() -> [SocketAddress?])? = nil, onChange: @escaping ChangeHandler
    ) {
        self.loop = loop
        self.groups = groups
        self.settings = settings
        self.onChange = onChange
        fixedTiming = timing
        self.systemServers = systemServers ?? SystemServers.read
        ownAddresses = Set(settings.ownAddresses.map { $0.with(port: 0) })
        hosts = HostsFile(path: settings.hostsPath)
        store = settings.stateDirectory.map { NameStore(directory: $0, loop: loop) }
        cache = NameCache(
            timing: timing ?? settings.timing, seed: seed,
            remembered: store?.load() ?? NameRecords(), wallSeconds: Self.wallSeconds, now: .now())
        store?.didEnd = { [weak self] in self?.pump() }
    }

    deinit { close() }

    static var wallSeconds: Int64 { Int64(WallClock.now() / 1_000_000_000) }

    // MARK: - Verbs

    /// Replaces the set of names and services (a reload): new ones are asked for at once, those not
    /// in it are forgotten, all others keep what they know. Literal addresses, and names that are
    /// remembered, have their addresses at once.
    package func track(names: Set<String>, services: Set<String> = []) {
        cache.track(names, services: services, now: .now())
        forgetOthers()
        let tracked = names.union(services)
        published = published.filter { tracked.contains($0.key) }
        for name in tracked where published[name] == nil { published[name] = proposal(for: name) }
        stirAll()
        pump()
    }

    /// Replaces servers and knobs; `stateDirectory` stays what it was. If the servers are others,
    /// queries that are out are asked again of the new ones; no name loses its addresses.
    package func configure(groups: [ResolverGroup], settings: ResolverSettings? = nil) {
        let now = Instant.now()
        if let settings, settings != self.settings {
            if settings.hostsPath != self.settings.hostsPath {
                hosts = HostsFile(path: settings.hostsPath)
            }
            self.settings = settings
            ownAddresses = Set(settings.ownAddresses.map { $0.with(port: 0) })
            cache.configure(fixedTiming ?? settings.timing, now: now)
            stirAll()
        }
        if groups != self.groups {
            self.groups = groups
            groupIndexes = [:]
            restart(serversOfGroup.values.joined(), now: now)
        }
        pump()
    }

    /// Asks all servers soon, because a connection to one of its addresses has failed. Rate-capped:
    /// call it as often as connections fail.
    package func resolveNow(_ name: String) {
        cache.hurry(name, now: .now())
        pump()
    }

    /// Ends all queries and timers; no handler is called any more.
    package func close() {
        isClosed = true
        if let timer { loop.cancel(timer) }
        timer = nil
        for server in servers.values { server.close() }
        rounds = [:]
    }

    // MARK: - Queries

    /// What DNS proposes for a name or a service.
    package func proposal(for name: String) -> NameProposal {
        cache.proposal(for: name, without: ownAddresses)
    }

    /// The addresses of its proposal: of a name with port 0, of a service with its records' ports.
    package func addresses(of name: String) -> [SocketAddress] {
        proposal(for: name).endpoints.map(\.address)
    }

    // MARK: - The turn

    /// Collects what has ended, asks for what is due, tells what has changed, sets the timer. After
    /// every event; a handler that calls a verb is served by the turn that called it.
    func pump() {
        guard !isClosed, !isTurning else { return }
        isTurning = true
        repeat {
            turn()
            publish()
        } while !isClosed && !stirred.isEmpty
        isTurning = false
        setTimer()
    }

    private func turn() {
        collect()
        let now = Instant.now()
        if min(cache.nextExpiry, cache.nextSettlement) <= now {
            cache.advance(now: now)
            stirAll()
        }
        endRounds(now: now)
        beginRounds(now: now)
        // What could not be sent has ended already.
        collect()
        endRounds(now: now)
    }

    private func publish() {
        let names = stirred.sorted()
        stirred = []
        for name in names {
            // A handler before this one may have changed the set.
            guard !isClosed, let before = published[name] else { continue }
            let proposal = proposal(for: name)
            guard proposal != before else { continue }
            published[name] = proposal
            onChange(name)
        }
    }

    /// The proposal for a name may have changed, and those for services it may be a target of.
    func stir(_ name: String) {
        stirred.insert(name)
        stirred.formUnion(cache.serviceNames)
    }

    private func stirAll() { stirred.formUnion(published.keys) }

    private func timerFired() {
        timer = nil
        for server in servers.values { server.channel?.processTimeouts() }
        pump()
    }

    private func setTimer() {
        if let timer { loop.cancel(timer) }
        timer = nil
        guard !isClosed else { return }
        let now = Instant.now()
        save(now: now)
        var next = min(cache.nextExpiry, saveDue(now) ?? .never)
        next = min(next, cache.nextSettlement, nextDue)
        for round in rounds.values { next = min(next, round.due) }
        for server in servers.values {
            next = min(next, server.channel?.nextTimeout(now: now) ?? .never)
        }
        guard next != .never else { return }
        timer = loop.schedule(at: next) { [weak self] in self?.timerFired() }
    }

    /// When something is to be asked for that may be.
    private var nextDue: Instant {
        guard rounds.count >= Self.outstandingMax else { return cache.nextDue }
        let full = Set((-1..<groups.count).filter { room($0) <= 0 })
        return cache.nextDue { !full.contains(groupIndex(for: $0)) }
    }

    /// What is known is another's to keep from now on.
    package func stopKeeping() { isKeeping = false }

    private func saveDue(_ now: Instant) -> Instant? {
        isKeeping ? store?.due(now: now, stale: settings.stale) : nil
    }

    private func save(now: Instant) {
        guard let store, let due = saveDue(now), due <= now else { return }
        store.write(cache.records(now: now, wallSeconds: Self.wallSeconds), now: now)
    }

    // MARK: - Servers

    func groupIndex(for name: String) -> Int {
        if let index = groupIndexes[name] { return index }
        let index = ResolverGroup.index(for: name, in: groups) ?? -1
        groupIndexes[name] = index
        return index
    }

    func group(_ index: Int) -> ResolverGroup {
        groups.indices.contains(index) ? groups[index] : .system
    }

    /// Of the groups that were asked so far.
    var knownServers: [DNSServer] { servers.values.sorted { $0.number < $1.number } }

    func servers(of group: Int, now: Instant) -> [DNSServer] {
        if let list = serversOfGroup[group], !isOutdated(group, list, now) { return list }
        var addresses: [SocketAddress?] = self.group(group).servers
        if addresses.isEmpty {
            addresses = systemServers()
            systemReadAt = now
        }
        let before = serversOfGroup[group] ?? []
        if !before.isEmpty {
            // The same list again; what c-ares reads for itself has to be read again.
            guard before.map(\.address) != addresses || addresses.contains(nil) else {
                return before
            }
            restart(before, now: now)
        }
        return open(addresses.prefix(ResolverGroup.serversMax), of: group)
    }

    private func open(_ addresses: ArraySlice<SocketAddress?>, of group: Int) -> [DNSServer] {
        let name = self.group(group).name
        let list = addresses.map { address in
            lastNumber += 1
            let server = DNSServer(
                number: lastNumber, group: group, groupName: name, address: address)
            // The same server as before a reload is as good as it was.
            let key = ServerKey(group: name, address: address)
            if let watch = watches.removeValue(forKey: key) { server.watch = watch }
            servers[lastNumber] = server
            return server
        }
        serversOfGroup[group] = list
        return list
    }

    struct ServerKey: Hashable {
        let group: String
        let address: SocketAddress?
    }

    /// Of servers that were closed for another configuration.
    private var watches: [ServerKey: ServerWatch] = [:]

    /// The system's list follows resolv.conf, which a DHCP client may write after us. What c-ares
    /// reads for itself needs another channel, for which what is out may be waited for a while.
    private func isOutdated(_ group: Int, _ list: [DNSServer], _ now: Instant) -> Bool {
        guard self.group(group).servers.isEmpty, let systemReadAt else { return false }
        let isBusy = list.contains { $0.address == nil && !$0.pending.isEmpty }
        let ageMax = isBusy ? cache.timing.systemAge * 4 : cache.timing.systemAge
        return now.nanoseconds(since: systemReadAt) > ageMax.nanoseconds
    }

    /// Closes servers; what they were asked is due at once.
    private func restart(_ list: some Sequence<DNSServer>, now: Instant) {
        let closed = Array(list)
        watches = [:]
        for server in closed {
            let key = ServerKey(group: server.groupName, address: server.address)
            watches[key] = server.watch
            servers[server.number] = nil
            serversOfGroup[server.group] = nil
            server.close()
        }
        let numbers = Set(closed.map(\.number))
        for (subject, round) in rounds where !numbers.isDisjoint(with: round.replies.keys) {
            rounds[subject] = nil
            answered(.failed(.cancelled, subject), of: subject, isSuspicious: false, now: now)
        }
    }

    /// Lets go of what is kept of names that are tracked no more, also of targets that a service
    /// has left: what DNS says must not make this grow.
    func forgetOthers() {
        guard cache.version != keptVersion || cache.serviceNames != keptServices else { return }
        keptVersion = cache.version
        keptServices = cache.serviceNames
        let names = Set(cache.names).union(cache.serviceNames)
        fromHosts.formIntersection(names)
        groupIndexes = groupIndexes.filter { names.contains($0.key) }
        for subject in rounds.keys where !names.contains(subject.name) { rounds[subject] = nil }
        for server in servers.values { server.watch.keep(names) }
    }
}
