internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeHealth
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream

/// Joins what DNS proposes, checks find, workers meet and administrators want to the verdicts about
/// all upstreams' members (`UpstreamHealth`), and tells when workers have to know. Control thread.
final class HealthKeeper {
    /// Upstreams whose members' verdicts have changed, once per turn of the loop.
    typealias ChangeHandler = (_ upstreams: Set<String>) -> Void

    private let loop: PollLoop
    private let checker: Checker
    private let resolver: Resolver
    private let onChange: ChangeHandler
    private let count: (Counter) -> Void
    private let onActive: (String) -> Void
    private var random: SplitMix64
    private var upstreams: [String: Entry] = [:]
    /// Upstreams by the names that their servers have in DNS.
    private var usersOfName: [String: Set<String>] = [:]
    private var changed: Set<String> = []
    private var isToldSoon = false
    private var lastCheck: UInt64 = 0

    private struct Entry {
        var health: UpstreamHealth
        /// How its checks speak TLS; nil: plaintext.
        var tls: CheckTLS?
        var toldVersion: UInt64
        var timer: TimerID?
        /// Of members: what the newest check has seen.
        var seen: [SocketAddress: Seen] = [:]
        /// The numbers of checks that are under way, or wait for their turn. One that is not here
        /// any more was another's question.
        var asked: [SocketAddress: UInt64] = [:]

        /// Of an upstream of which one member at a time has the traffic.
        var hasActiveMember: Bool {
            health.configuration.health?.isExclusive == true
                && health.ranked.contains { $0.state == .up || $0.state == .stale }
        }
    }

    /// What a check has seen besides its outcome.
    struct Seen {
        /// Unix seconds.
        var certificateNotAfter: Int64?
        var connectTime: Duration?
        var saidExpiry = false
        /// Of answers, smoothed over seconds; nanoseconds.
        var latency: UInt64?
        /// Requests that came to an answer or failed, over all workers, and those that failed.
        var requests: UInt64 = 0
        var failures: UInt64 = 0
    }

    init(
        loop: PollLoop, resolver: Resolver, seed: UInt64, count: @escaping (Counter) -> Void,
        onActive: @escaping (String) -> Void,
        onChange: @escaping ChangeHandler
    ) {
        self.loop = loop
        self.resolver = resolver
        self.onChange = onChange
        self.count = count
        self.onActive = onActive
        random = SplitMix64(seed: seed)
        checker = Checker(loop: loop, seed: seed)
    }

    /// Nothing is checked any more.
    func close() {
        for name in upstreams.keys { cancelTimer(name) }
        upstreams = [:]
        checker.close()
    }

    // MARK: - Configuration

    /// What is checked from now on. Members that stay keep what is known of them. The names are
    /// tracked by the resolver before.
    func use(_ preparation: Preparation) {
        let now = Instant.now()
        let configurations = preparation.configuration.upstreams
        let names = Set(configurations.map(\.name))
        for name in upstreams.keys where !names.contains(name) {
            cancelTimer(name)
            upstreams[name] = nil
        }
        usersOfName = [:]
        for (index, configuration) in configurations.enumerated() {
            let tls = Self.tls(index, configuration, preparation)
            let proposals = configuration.servers.flatMap { server in
                self.proposals(server).map { (server: server, proposal: $0) }
            }
            for server in configuration.servers where !server.sourceName.isEmpty {
                usersOfName[server.sourceName, default: []].insert(configuration.name)
            }
            guard var entry = upstreams[configuration.name] else {
                var health = UpstreamHealth(configuration, now: now, seed: random.next())
                for (server, proposal) in proposals {
                    health.propose(proposal, for: server, now: now)
                }
                upstreams[configuration.name] = Entry(health: health, tls: tls, toldVersion: 0)
                continue
            }
            if entry.health.configuration.health != configuration.health { entry.asked = [:] }
            entry.health.reconfigure(configuration, proposals: proposals, now: now)
            entry.tls = tls
            upstreams[configuration.name] = entry
        }
        checker.keepClients(upstreams.values.compactMap(\.tls))
        for name in names { settle(name, now: now) }
        // A snapshot of all of it is made by whoever calls this.
        changed = []
    }

    /// TLS as traffic speaks it, unless the check has its own.
    private static func tls(
        _ index: Int, _ upstream: UpstreamConfiguration, _ preparation: Preparation
    ) -> CheckTLS? {
        guard let tls = upstream.health?.tls ?? upstream.tls else { return nil }
        return CheckTLS(
            trust: preparation.files.trust(tls),
            identity: tls.identity.flatMap { preparation.identities[$0] },
            name: preparation.configuration.checkName(upstream: index))
    }

    // MARK: - Events

    /// DNS says something else of a name.
    func proposalChanged(_ name: String) {
        let now = Instant.now()
        for user in usersOfName[name] ?? [] {
            guard let servers = upstreams[user]?.health.configuration.servers else { continue }
            for server in servers where server.sourceName == name {
                for proposal in proposals(server) {
                    upstreams[user]?.health.propose(proposal, for: server, now: now)
                }
            }
            settle(user, now: now)
        }
    }

    /// What DNS says of an entry of `servers:`, in the order in which it is to be taken.
    private func proposals(_ server: UpstreamConfiguration.Server) -> [Proposal] {
        guard !server.sourceName.isEmpty else { return [] }
        let known = resolver.proposal(for: server.sourceName)
        let isService = if case .service = server.host { true } else { false }
        func proposed(_ endpoints: [ProposedEndpoint]) -> [Proposal.Proposed] {
            endpoints.map { endpoint in
                Proposal.Proposed(
                    address: isService
                        ? endpoint.address : endpoint.address.with(port: server.port),
                    weight: isService ? endpoint.weight : nil,
                    isBackup: isService ? endpoint.isBackup : nil)
            }
        }
        var proposals: [Proposal] = known.isExpired ? [.expired] : []
        if known.isSuspicious, !known.trusted.isEmpty {
            proposals.append(Proposal(addresses: proposed(known.trusted), isConfirmed: false))
        }
        let endpoints = proposed(known.endpoints)
        guard !endpoints.isEmpty else { return proposals }
        proposals.append(
            Proposal(
                addresses: endpoints, isConfirmed: known.isConfirmed,
                isSuspicious: known.isSuspicious))
        return proposals
    }

    func observed(_ upstream: String, _ address: SocketAddress, _ what: MemberObservation) {
        let now = Instant.now()
        upstreams[upstream]?.health.observed(address, what, now: now)
        settle(upstream, now: now)
    }

    func summarised(_ upstream: String, _ summaries: [MemberSummary]) {
        let now = Instant.now()
        upstreams[upstream]?.health.summarised(summaries, now: now)
        for summary in summaries
        where summary.requests > 0 && isMember(summary.address, of: upstream) {
            let mean = summary.latencySum / UInt64(summary.requests)
            let known = upstreams[upstream]?.seen[summary.address]?.latency ?? mean
            var seen = upstreams[upstream]?.seen[summary.address] ?? Seen()
            seen.latency = (known * 3 + mean) / 4
            seen.requests &+= UInt64(summary.requests)
            seen.failures &+= UInt64(summary.failures)
            upstreams[upstream]?.seen[summary.address] = seen
        }
        settle(upstream, now: now)
    }

    /// A connection of the upstream's has failed: DNS may know better.
    func askAgain(_ upstream: String) {
        for server in upstreams[upstream]?.health.configuration.servers ?? []
        where !server.sourceName.isEmpty {
            resolver.resolveNow(server.sourceName)
        }
    }

    /// The other node finds a member down: it is looked at here.
    func hint(_ upstream: String, _ address: SocketAddress) {
        guard upstreams[upstream] != nil else { return }
        let now = Instant.now()
        upstreams[upstream]?.health.hint(address, now: now)
        settle(upstream, now: now)
    }

    /// An administrator's word about a member.
    ///
    /// - Returns: false if there is no such member.
    func administer(_ upstream: String, _ address: SocketAddress, _ state: AdminState) -> Bool {
        let now = Instant.now()
        guard upstreams[upstream]?.health.administer(address, state, now: now) == true else {
            return false
        }
        settle(upstream, now: now)
        return true
    }

    // MARK: - What is known

    func members(of upstream: String) -> [RankedMember] {
        upstreams[upstream]?.health.ranked ?? []
    }

    func report(of upstream: String) -> [MemberHealthReport] {
        upstreams[upstream]?.health.report ?? []
    }

    /// Upstreams with one active member, as names to wait for: before it is known, requests would
    /// go to those that stand by.
    var activeMembersAwaited: Set<String> {
        Set(
            upstreams.filter { $0.value.health.configuration.health?.isExclusive == true }
                .map { Self.awaited($0.key) })
    }

    /// Whether the upstream that is awaited under this word has its active member.
    func hasActiveMember(_ word: String) -> Bool {
        upstreams.contains { name, entry in
            entry.hasActiveMember && Self.awaited(name) == word
        }
    }

    /// No name of DNS.
    private static func awaited(_ upstream: String) -> String { "active member of \(upstream)" }

    func isFailingOpen(_ upstream: String) -> Bool {
        upstreams[upstream]?.health.isFailingOpen ?? false
    }

    func seen(_ upstream: String, _ address: SocketAddress) -> Seen? {
        upstreams[upstream]?.seen[address]
    }

    // MARK: - After every event

    /// Begins the checks that are due, says what is new, and sees to it that workers are told and
    /// that time goes on.
    private func settle(_ name: String, now: Instant) {
        guard var entry = upstreams[name] else { return }
        let due = entry.health.takeDueChecks(now: now)
        let news = entry.health.takeNews()
        let unresolved = entry.health.takeResolutionRequests()
        if entry.toldVersion != entry.health.version {
            entry.toldVersion = entry.health.version
            changed.insert(name)
            let members = Set(entry.health.ranked.map(\.address))
            entry.seen = entry.seen.filter { members.contains($0.key) }
        }
        if let timer = entry.timer { loop.cancel(timer) }
        let next = entry.health.nextDue
        entry.timer =
            next == .never
            ? nil
            : loop.schedule(at: next) { [weak self] in
                guard let self else { return }
                upstreams[name]?.timer = nil
                let now = Instant.now()
                upstreams[name]?.health.advance(now: now)
                settle(name, now: now)
            }
        upstreams[name] = entry
        for item in news { log(name, item) }
        for name in unresolved { resolver.resolveNow(name) }
        for address in due { check(name, address) }
        if entry.hasActiveMember { onActive(Self.awaited(name)) }
        tellSoon()
    }

    private func cancelTimer(_ name: String) {
        if let timer = upstreams[name]?.timer { loop.cancel(timer) }
        upstreams[name]?.timer = nil
    }

    /// All changes of a turn are told together.
    private func tellSoon() {
        guard !changed.isEmpty, !isToldSoon else { return }
        isToldSoon = true
        loop.schedule(at: loop.now) { [weak self] in
            guard let self else { return }
            isToldSoon = false
            let names = changed
            changed = []
            if !names.isEmpty { onChange(names) }
        }
    }

    // MARK: - Checks

    private func check(_ name: String, _ address: SocketAddress) {
        // One that waits for its turn for long is not asked for twice.
        guard let entry = upstreams[name], let policy = entry.health.configuration.health,
            entry.asked[address] == nil
        else { return }
        var tls = policy.kind.speaksTLS ? entry.tls : nil
        if let known = tls, known.name == nil {
            // Without a name for all, the certificate has to be the server's own: of the name that
            // is configured, for what DNS says of it is nothing to be believed.
            tls = CheckTLS(
                trust: known.trust, identity: known.identity,
                name: entry.health.hostName(of: address) ?? address.addressText)
        }
        let target = Checker.Target(
            address: address, upstream: name, policy: policy, tls: tls,
            // Who listens at a port for checks knows nothing of traffic's clients.
            sendsProxyHeader: entry.health.configuration.sendsProxyHeader && policy.port == nil)
        lastCheck += 1
        let number = lastCheck
        upstreams[name]?.asked[address] = number
        checker.check(target) { [weak self] report in
            self?.checked(name, address, number, report)
        }
    }

    private func checked(
        _ name: String, _ address: SocketAddress, _ number: UInt64, _ report: CheckReport
    ) {
        guard upstreams[name]?.asked[address] == number else { return }
        upstreams[name]?.asked[address] = nil
        let now = Instant.now()
        if report.isInconclusive {
            upstreams[name]?.health.notChecked(address, now: now)
            if case .failed(let reason) = report.outcome {
                Log.warning(
                    "upstream: a check could not be made, what is known stands",
                    ["upstream": name, "member": "\(address)", "reason": reason])
            }
        } else {
            if isMember(address, of: name) { noteSeen(name, address, report) }
            upstreams[name]?.health.checked(address, report.outcome, now: now)
        }
        settle(name, now: now)
    }

    private func isMember(_ address: SocketAddress, of upstream: String) -> Bool {
        upstreams[upstream]?.health.isMember(address) == true
    }

    /// Certificates that end within so many seconds are warned about.
    private static let expirySoon: Int64 = 7 * 86_400

    private func noteSeen(_ name: String, _ address: SocketAddress, _ report: CheckReport) {
        var seen = upstreams[name]?.seen[address] ?? Seen()
        if let time = report.connectTime { seen.connectTime = time }
        if let end = report.certificateNotAfter {
            seen.certificateNotAfter = end
            let left = end - Int64(WallClock.now() / 1_000_000_000)
            if left < Self.expirySoon, !seen.saidExpiry {
                Log.warning(
                    "upstream: a server's certificate ends soon",
                    [
                        "upstream": name, "member": "\(address)",
                        "days": "\(max(left, 0) / 86_400)",
                    ])
            }
            seen.saidExpiry = left < Self.expirySoon
        }
        upstreams[name]?.seen[address] = seen
    }

    // MARK: - Words

    private func log(_ upstream: String, _ news: HealthNews) {
        let fields: Log.Fields = [
            "upstream": upstream, "member": "\(news.address)",
            "name": news.source.isEmpty ? "none" : news.source,
            "reason": news.reason.isEmpty ? "none" : news.reason,
        ]
        if news.isRemedy {
            Log.warning("upstream: a member's check cannot say more", fields)
            return
        }
        guard let new = news.new else {
            Log.notice("upstream: a member has left", fields)
            return
        }
        guard news.old != nil else {
            Log.notice("upstream: a member has joined", fields)
            return
        }
        if new == .ejected { count(.memberEjections) }
        let text = "upstream: a member is \(new.word)"
        switch new {
        case .down, .ejected: Log.warning(text, fields)
        default: Log.notice(text, fields)
        }
    }
}

extension HealthPolicy.Kind {
    /// Whether a check begins with a handshake, if it is told how.
    var speaksTLS: Bool {
        switch self {
        case .tcp: false
        case .tls, .http, .http2, .grpc, .kubeAPIServer, .activeMember: true
        }
    }
}
