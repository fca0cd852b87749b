internal import EdgeConfig
internal import EdgeControl
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeSystem

/// Limits as administrators see and change them, and the files that policies name.
extension ProxyService {
    // MARK: - Beginning

    /// Who was banned before stays so, by name, too.
    func beginLimits(_ preparation: Preparation) {
        let desk = LimitDesk(memory: limitMemory)
        limitDesk = desk
        guard let directory = preparation.configuration.stateDirectory else { return }
        let store = BanStore(directory: directory, loop: loop)
        operation.banStore = store
        let now = LimitDesk.Moment.now()
        desk.restore(store.load(), at: now)
        desk.sharing.restore(store.liftings, at: now.time)
    }

    /// Once it serves: files are used as they change.
    func watchLimitFiles() {
        guard let current else { return }
        limitFiles.watch(current.configuration.rateLimits.policies, current.limitFiles) {
            [weak self] files in self?.use(files)
        }
    }

    /// At every beat, and after an order.
    func keepBans() {
        guard phase == .serving else { return }
        let now = LimitDesk.Moment.now()
        // Both only grow.
        let version = limitDesk.bansVersion(at: now) &+ limitDesk.sharing.version
        operation.banStore?.keep(
            version: version, liftings: limitDesk.sharing.liftings, limitDesk.bans(at: now))
    }

    /// Other policies are in use.
    func followLimits(_ preparation: Preparation) {
        let policies = preparation.configuration.rateLimits.policies
        limitFiles.follow(policies, preparation.limitFiles)
        limitDesk.keep(policies: Set(policies.map(\.name)))
    }

    // MARK: - Showing

    /// Of both nodes, as far as the other one has told.
    func limits() -> LimitsReply {
        var reply = ownLimits()
        guard let told = pair?.limits?.told else { return reply }
        for index in reply.policies.indices {
            reply.policies[index].add(told.figures(reply.policies[index].name))
        }
        return reply
    }

    private func ownLimits() -> LimitsReply {
        let now = LimitDesk.Moment.now()
        let bans = limitDesk.bans(at: now)
        guard let configuration = current?.configuration else {
            return LimitsReply(now: now.time, policies: [])
        }
        let policies = configuration.rateLimits.policies.enumerated().map { index, policy in
            let figures = limitDesk.figures[policy.name] ?? LimitNews.Figures()
            return LimitPolicyStatus(
                name: policy.name, isShadow: policy.isShadow, limits: policy.words,
                views: configuration.views(naming: index),
                admitted: Int64(clamping: figures.admitted),
                refused: Int64(clamping: figures.refused),
                shadow: Int64(clamping: figures.shadow), bans: Int64(clamping: figures.bans),
                bannedNow: Int64(limitDesk.bannedCount(of: policy.name)))
        }
        let files = limitFiles.files
        return LimitsReply(
            now: now.time, policies: policies, bans: bans.map(\.status),
            bansUnlisted: limitDesk.bansUnlisted,
            files: LimitFiles.paths(configuration.rateLimits.policies).map { path in
                let content = files.content(path)
                return LimitFileStatus(
                    path: path, blocks: Int64(content?.blocks ?? 0), read: content?.read,
                    problem: files.problems.first { $0.path == path }?.reason)
            })
    }

    /// Of both nodes, as far as the other one has told.
    func limitTop() -> LimitTopReply {
        let now = LimitDesk.Moment.now()
        let own = limitDesk.refused(at: now)
        let rows = pair?.limits?.told?.merged(own) ?? own
        func time(_ instant: Instant) -> Int64 {
            now.time - Int64(now.instant.nanoseconds(since: instant) / 1_000_000_000)
        }
        return LimitTopReply(
            now: now.time, windowSeconds: LimitDesk.topSpan.components.seconds,
            rows: rows.map { row in
                LimitTopRow(
                    client: "\(row.key.client)",
                    policy: row.key.policy.isEmpty ? nil : row.key.policy,
                    isShadow: row.key.isShadow, refused: Int64(clamping: row.count),
                    surplus: Int64(clamping: row.surplus), first: time(row.first),
                    last: time(row.last))
            })
    }

    func limitClient(_ text: String) -> Result<LimitClientReply, OrderRefusal> {
        guard let client = ClientNetwork.host(text) else { return .failure(.noAddress(text)) }
        guard let memory = limitMemory, let plans = snapshot?.limits else {
            return .failure(OrderRefusal("nothing is limited", isUnavailable: true))
        }
        let now = Instant.now()
        func banned(_ identity: UInt64, _ subject: LimitSubject) -> Int64? {
            let left = memory.bans.remaining(memory.bans.key(identity, subject), now: now)
            return left > 0 ? Int64(left / 1_000_000) + 1 : nil
        }
        let caller = plans.caller(client)
        let limits = plans.limits(of: client, now: now, in: memory.rates)
        let policies = plans.policies.enumerated().map { index, policy in
            ClientPolicyStatus(
                policy: policy.name, isExempt: caller.exempt >> UInt64(index) & 1 == 1,
                isDenied: caller.denied >> UInt64(index) & 1 == 1 && !policy.isShadow,
                bannedMilliseconds: policy.isShadow
                    ? nil : banned(policy.banIdentity, policy.banned(client)),
                limits: limits.filter { $0.policy == Int32(index) }.map { limit in
                    ClientLimitStatus(
                        thing: limit.thing, rate: limit.rate.words,
                        remaining: Int64(clamping: limit.remaining),
                        burst: Int64(clamping: limit.rate.burst),
                        waitMilliseconds: Int64((limit.wait + 999_999) / 1_000_000),
                        places: Int64(limit.places))
                })
        }
        return .success(
            LimitClientReply(
                client: "\(ClientNetwork(client))",
                bannedMilliseconds: banned(
                    LimitPlans.generalBan, LimitSubject(client: client)),
                policies: policies))
    }

    // MARK: - Ordering

    func orderLimits(_ order: LimitOrder) -> Result<LimitOrderReply, OrderRefusal> {
        guard let network = ClientNetwork(order.client), let host = ClientNetwork.host(order.client)
        else {
            return .failure(.noAddress(order.client))
        }
        guard let memory = limitMemory, let plans = snapshot?.limits, plans.hasPlaces else {
            return .failure(
                OrderRefusal("no policy of `rate_limits` applies anywhere, so nobody is refused"))
        }
        let now = LimitDesk.Moment.now()
        let client = ClientNetwork(network.base)
        switch order {
        case .ban(_, let seconds):
            // A wider network has no cell of its own to be found by.
            guard network == client || !network.base.isIPv4 && network.bits == 128 else {
                return .failure(
                    OrderRefusal(
                        "a ban is for an IPv4 address or an IPv6 /64; \(network) belongs into a "
                            + "file of `deny_files`"))
            }
            let until = now.time + min(max(seconds, 1), LimitOrder.banMax)
            limitDesk.apply(
                Ban(client: client, policy: nil, made: now.time, until: until), isOurs: true,
                at: now)
            keepBans()
            let longest = limitDesk.bans(at: now).first { $0.client == client && $0.policy == nil }
            return .success(
                LimitOrderReply(
                    order: order.word, client: "\(client)", until: longest?.until ?? until,
                    changed: 1))
        case .unban:
            let count = limitDesk.lift(
                network, host: host, plans: plans, isOurs: true, at: now)
            keepBans()
            return .success(
                LimitOrderReply(order: order.word, client: "\(client)", changed: Int64(count)))
        case .reset(_, let name):
            let policy = name.flatMap { name in plans.policies.firstIndex { $0.name == name } }
            if let name, policy == nil {
                return .failure(OrderRefusal("there is no policy '\(name)'"))
            }
            let count = plans.reset(
                host, policy: policy.map { Int32($0) }, now: now.instant, in: memory.rates)
            return .success(
                LimitOrderReply(order: order.word, client: "\(client)", changed: Int64(count)))
        }
    }

    /// For the metrics.
    func limitMetrics(into metrics: inout MetricsText) {
        guard let policies = current?.configuration.rateLimits.policies, !policies.isEmpty else {
            return
        }
        metrics.limits(ownLimits(), fileFailures: limitFiles.failures)
    }
}

extension LimitPolicyStatus {
    /// Counts what the other node has told, whatever it says.
    mutating func add(_ figures: LimitNews.Figures) {
        func sum(_ own: Int64, _ theirs: UInt64) -> Int64 {
            let (sum, isTooMuch) = own.addingReportingOverflow(Int64(clamping: theirs))
            return isTooMuch ? .max : sum
        }
        admitted = sum(admitted, figures.admitted)
        refused = sum(refused, figures.refused)
        shadow = sum(shadow, figures.shadow)
        bans = sum(bans, figures.bans)
    }
}

extension OrderRefusal {
    fileprivate static func noAddress(_ text: String) -> OrderRefusal {
        OrderRefusal("'\(text)' is no address")
    }
}

extension Configuration {
    /// The names of the views with a place that names a policy.
    fileprivate func views(naming policy: Int) -> [String] {
        views.enumerated().filter { index, view in
            view.rules.rateLimits.contains(policy)
                || sites.contains { site in
                    site.hosts.contains { $0.view == index }
                        && (site.rules.rateLimits.contains(policy)
                            || site.paths.contains { $0.rules.rateLimits.contains(policy) })
                }
        }.map(\.element.name)
    }
}
