package import EdgeCore
package import EdgeSystem

/// Keeps the addresses of the names in use up to date: the name cache joined to c-ares on the
/// control thread's loop. Nothing that DNS does or does not answer is fatal or removes an
/// address (`NameMachine` has the rules). At most `outstandingMax` names are asked at once; the
/// others wait for their turn.
package final class Resolver {
    /// What one name looks like, for `status`.
    package struct NameReport: Sendable, Equatable {
        package let name: String
        package let state: NameMachine.State
        package let addresses: [SocketAddress]
        /// Since the last good answer; nil if there was none, and for literal addresses.
        package let age: Duration?
        /// Of the newest answer; nil if it was good.
        package let lastError: String?
        /// Name of the group that is asked; empty for a literal address.
        package let resolver: String
    }

    /// Name and its new addresses (ports 0), once per change.
    package typealias ChangeHandler = (_ name: String, _ addresses: [SocketAddress]) -> Void

    /// Whoever configures more names than this waits a little longer for the last ones.
    package static let outstandingMax = 64
    /// How old the system's resolv.conf may be before the next query.
    private static let systemAgeMax: Duration = .seconds(30)

    private let loop: PollLoop
    private let onChange: ChangeHandler
    private let finished = FinishedQueries()
    private var groups: [ResolverGroup]
    private var cache: NameCache
    /// By index into `groups`; -1 is the system's. Made when first needed.
    private var channels: [Int: DNSChannel] = [:]
    /// Those that c-ares has not ended, reported or not.
    private var open: [ObjectIdentifier: DNSQuery] = [:]
    private var timer: TimerID?
    private var isClosed = false

    /// - Parameter seed: of the jitter.
    package init(
        loop: PollLoop, groups: [ResolverGroup], timing: NameTiming = NameTiming(), seed: UInt64,
        onChange: @escaping ChangeHandler
    ) {
        self.loop = loop
        self.groups = groups
        self.onChange = onChange
        cache = NameCache(timing: timing, seed: seed)
    }

    deinit { close() }

    // MARK: - Verbs

    /// Replaces the set of names (a reload): new ones are asked for at once, those not in it are
    /// forgotten, all others keep what they know. Literal addresses have their address at once.
    package func track(_ names: Set<String>) {
        cache.track(names, now: .now())
        pump()
    }

    /// Replaces the servers. Queries that are out are asked again of the new ones; no name loses
    /// its addresses.
    package func configure(groups: [ResolverGroup]) {
        guard groups != self.groups else { return }
        self.groups = groups
        closeChannels()
        pump()
    }

    /// Asks soon, because a connection to one of its addresses has failed. Rate-capped: call it
    /// as often as connections fail.
    package func resolveNow(_ name: String) {
        cache.hurry(name, now: .now())
        pump()
    }

    /// Ends all queries and timers; no handler is called any more.
    package func close() {
        isClosed = true
        if let timer { loop.cancel(timer) }
        timer = nil
        closeChannels()
    }

    // MARK: - Queries

    /// The last-known-good addresses, ports 0; empty if there never was an answer.
    package func addresses(of name: String) -> [SocketAddress] { cache[name]?.addresses ?? [] }

    /// All names, sorted.
    package var report: [NameReport] {
        let now = Instant.now()
        return cache.names.compactMap { cache[$0] }.map { machine in
            let isLiteral = machine.activity == .literal
            return NameReport(
                name: machine.name, state: machine.state, addresses: machine.addresses,
                age: isLiteral
                    ? nil
                    : machine.lastGood.map { Duration(nanoseconds: now.nanoseconds(since: $0)) },
                lastError: machine.lastFailure?.label,
                resolver: isLiteral ? "" : group(index(for: machine.name)).name)
        }
    }

    // MARK: - The turn

    /// Collects what has ended, asks for what is due, sets the timer. After every event.
    private func pump() {
        guard !isClosed else { return }
        collect()
        guard !isClosed else { return }  // By the handler.
        let now = Instant.now()
        for name in cache.takeDue(now: now, room: Self.outstandingMax - open.count) {
            let query = DNSQuery(
                name: name, deadline: now.advanced(by: cache.timing.queryDeadline),
                finished: finished)
            open[ObjectIdentifier(query)] = query
            channel(for: name, now: now).send(query)
        }
        collect()
        setTimer()
    }

    /// Tells the cache what has ended. The handler may call any verb.
    private func collect() {
        for query in finished.takeAll() {
            open[ObjectIdentifier(query)] = nil
            tell(query)
        }
    }

    private func tell(_ query: DNSQuery) {
        guard !query.isReported, !isClosed else { return }
        query.isReported = true
        let before = cache[query.name]
        let changed = cache.answered(query.name, query.answer, now: .now())
        log(query.name, before: before)
        if let changed { onChange(query.name, changed) }
    }

    private func timerFired() {
        timer = nil
        for channel in channels.values { channel.processTimeouts() }
        let now = Instant.now()
        for query in open.values where query.deadline <= now { tell(query) }
        pump()
    }

    private func setTimer() {
        let now = Instant.now()
        if let timer { loop.cancel(timer) }
        timer = nil
        guard !isClosed else { return }
        var next = open.count < Self.outstandingMax ? cache.nextDue : .never
        for query in open.values where !query.isReported { next = min(next, query.deadline) }
        for channel in channels.values { next = min(next, channel.nextTimeout(now: now)) }
        guard next != .never else { return }
        timer = loop.schedule(at: next) { [weak self] in self?.timerFired() }
    }

    /// One line when a name is lost or found again, not one per failed query.
    private func log(_ name: String, before: NameMachine?) {
        guard let before, let after = cache[name] else { return }
        if before.failures == 0, after.failures == 1, let failure = after.lastFailure {
            let kept = after.addresses.isEmpty ? "no address known" : "keeping what is known"
            let resolver = group(index(for: name)).name
            Log.warning(
                "dns: no answer, \(kept)",
                ["name": name, "error": failure.label, "resolver": resolver])
        } else if before.failures > 0, after.failures == 0 {
            Log.notice("dns: answered again", ["name": name])
        }
    }

    // MARK: - Channels

    private func index(for name: String) -> Int {
        ResolverGroup.index(for: name, in: groups) ?? -1
    }

    private func group(_ index: Int) -> ResolverGroup {
        groups.indices.contains(index) ? groups[index] : .system
    }

    private func channel(for name: String, now: Instant) -> DNSChannel {
        let index = index(for: name)
        if let channel = channels[index], !isOutdated(channel, index, now) { return channel }
        channels[index]?.close()
        let channel = DNSChannel(
            group: group(index), loop: loop, now: now, tryTimeout: cache.timing.tryTimeout
        ) { [weak self] in
            self?.pump()
        }
        channels[index] = channel
        return channel
    }

    /// A channel that could not be set up is tried again; the system's follows resolv.conf, which
    /// a DHCP client may write after us, but only while nothing is out.
    private func isOutdated(_ channel: DNSChannel, _ index: Int, _ now: Instant) -> Bool {
        guard channel.isOpen else { return true }
        guard group(index).servers.isEmpty else { return false }
        return !channel.isBusy(now: now)
            && now.nanoseconds(since: channel.opened) > Self.systemAgeMax.nanoseconds
    }

    private func closeChannels() {
        for channel in channels.values { channel.close() }
        channels = [:]
    }
}
