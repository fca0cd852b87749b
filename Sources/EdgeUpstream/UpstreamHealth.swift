package import EdgeCore

/// The verdicts about one upstream's members, from all that is known: what DNS says, what checks
/// find, what traffic meets, what an administrator wants. One value per upstream, on the control
/// thread; sans-IO. Workers get `ranked` whenever `version` has grown.
///
/// *DNS proposes, health disposes*: a new address joins as unknown and takes over once it has
/// passed; an old one leaves when it is not proposed any more and a proposed one works, or when it
/// fails itself and another may work. No answer of DNS ever takes the last one that works.
///
/// Members are bounded: `addressesMax` per entry of `servers:` that is a name, one per address.
/// Every event costs O(members).
package struct UpstreamHealth: Sendable {
    package private(set) var configuration: UpstreamConfiguration
    /// For the workers, in the order of the configuration, then of the addresses.
    package private(set) var ranked: [RankedMember] = []
    /// Grows exactly when `ranked` changes.
    package private(set) var version: UInt64 = 1
    /// All are down, and those that worked last are used nevertheless.
    package private(set) var isFailingOpen = false

    var members: [MemberHealth] = []
    var random: SplitMix64
    var news: [HealthNews] = []
    /// What an administrator has said of addresses that DNS has left out since; the newest.
    var absentees: [Absentee] = []
    private var resolutions: Set<String> = []

    /// Addresses kept for one name, those included that only wait for others to work.
    package static let addressesMax = 64
    /// News that nobody has taken; the oldest are dropped.
    static let newsMax = 256

    package init(_ configuration: UpstreamConfiguration, now: Instant, seed: UInt64) {
        self.configuration = configuration
        random = SplitMix64(seed: seed)
        claimConfiguredAddresses(now: now)
        news.removeAll()
        (ranked, isFailingOpen) = rank()
    }

    /// A reload: members that stay keep verdicts, statistics and the administrator's word.
    ///
    /// - Parameter proposals: what DNS says of entries that have changed: an address that another
    ///   entry stands for now is the same member.
    package mutating func reconfigure(
        _ configuration: UpstreamConfiguration,
        proposals: [(server: UpstreamConfiguration.Server, proposal: Proposal)] = [], now: Instant
    ) {
        let old = self.configuration
        self.configuration = configuration
        remapClaims(from: old.servers, to: configuration.servers)
        claimConfiguredAddresses(now: now)
        for (server, proposal) in proposals { apply(proposal, for: server, now: now) }
        removeUnclaimed(reason: "not configured any more")
        for index in members.indices {
            if configuration.health == nil {
                members[index].presumeUp()
            } else if configuration.health != old.health {
                members[index].clock.restart(now: now)
            }
            if configuration.ejection == nil {
                members[index].endEjection(reason: "ejection is off", ramps: false, now: now)
            }
        }
        settle(now)
    }

    // MARK: - Events

    /// What DNS says about an entry of `servers:`. No addresses: nothing.
    package mutating func propose(
        _ proposal: Proposal, for server: UpstreamConfiguration.Server, now: Instant
    ) {
        apply(proposal, for: server, now: now)
        removeUnclaimed(reason: "not proposed any more")
        settle(now)
    }

    /// The outcome of a check that `takeDueChecks` has asked for.
    package mutating func checked(_ address: SocketAddress, _ outcome: CheckOutcome, now: Instant) {
        guard let policy = configuration.health, let index = index(of: address) else { return }
        let ramps = configuration.slowStart > .zero
        switch outcome {
        case .passed:
            members[index].passed(
                remedy: nil, rise: neededPasses(policy), ramps: ramps, now: now)
        case .alive(let remedy):
            let isKnown = members.contains { $0.remedy == remedy }
            members[index].passed(
                remedy: remedy, rise: neededPasses(policy), ramps: ramps, now: now)
            if !isKnown {
                tell(index, from: members[index].state, reason: remedy, isRemedy: true)
            }
        case .standby:
            members[index].stoodBy(ramps: ramps, now: now)
        case .failed(let reason):
            let isReplaced =
                policy.isExclusive && hasFlawlessMember(other: index)
            members[index].failed(reason, fall: isReplaced ? 1 : policy.fall, now: now)
            resolve(index)
        }
        if policy.isExclusive { handOver(to: index, now: now) }
        awaitNextCheck(index, policy, now: now)
        settle(now)
    }

    /// A check that `takeDueChecks` has asked for could not be made, and that was not the member's
    /// doing: it is asked again, and nothing else changes.
    package mutating func notChecked(_ address: SocketAddress, now: Instant) {
        guard let policy = configuration.health, let index = index(of: address) else { return }
        awaitNextCheck(index, policy, now: now)
    }

    private mutating func awaitNextCheck(_ index: Int, _ policy: HealthPolicy, now: Instant) {
        let isFast =
            members[index].isUnsettled(rise: policy.rise)
            || policy.isExclusive && !hasFlawlessMember(other: nil)
        members[index].clock.finished(
            nextAfter: random.jittered(isFast ? policy.fastInterval : policy.interval), now: now)
    }

    /// A worker has met something that calls for a verdict at once.
    package mutating func observed(
        _ address: SocketAddress, _ observation: MemberObservation, now: Instant
    ) {
        guard let index = index(of: address) else { return }
        members[index].noteFailure(observation.reason)
        if observation.isConnectivity {
            resolve(index)
            if members[index].verdict != .down { members[index].clock.hurry(now: now) }
            let isEnough = members[index].strike(now: now) || observation.isConclusive
            if isEnough {
                eject(index, isConnectivity: true, reason: observation.reason, now: now)
            }
        } else if case .consecutiveFailures(let count) = observation,
            let policy = configuration.ejection, count >= policy.consecutive
        {
            eject(index, isConnectivity: false, reason: observation.reason, now: now)
        }
        settle(now)
    }

    /// Somebody else finds the member down: it is checked soon, and no more.
    package mutating func hint(_ address: SocketAddress, now: Instant) {
        guard let index = index(of: address), members[index].verdict != .down else { return }
        members[index].clock.hurry(now: now)
    }

    /// What one worker has counted, about once a second.
    package mutating func summarised(_ summaries: [MemberSummary], now: Instant) {
        for summary in summaries {
            guard let index = index(of: summary.address) else { continue }
            if summary.requests > summary.failures { members[index].served(now: now) }
            // What is under way during an ejection says nothing about the time after it.
            if members[index].ejection == nil { members[index].window.add(summary, now: now) }
        }
        ejectOutliers(now: now)
        settle(now)
    }

    /// An administrator's word.
    ///
    /// - Returns: false if there is no such member.
    package mutating func administer(
        _ address: SocketAddress, _ state: AdminState, now: Instant
    ) -> Bool {
        guard let index = index(of: address) else { return false }
        members[index].administer(state)
        settle(now)
        return true
    }

    /// Time has passed: ejections end.
    package mutating func advance(now: Instant) {
        for index in members.indices {
            guard let ejection = members[index].ejection, ejection.until <= now else { continue }
            members[index].endEjection(
                reason: "ejection is over", ramps: configuration.slowStart > .zero, now: now)
        }
        settle(now)
    }

    // MARK: - Decisions

    /// Checks to begin now; the caller answers each with `checked`.
    package mutating func takeDueChecks(now: Instant) -> [SocketAddress] {
        guard let policy = configuration.health else { return [] }
        var due: [SocketAddress] = []
        for index in members.indices where members[index].clock.due <= now {
            members[index].clock.begin(timeout: policy.timeout, now: now)
            due.append(members[index].address)
        }
        return due
    }

    /// When `advance` or `takeDueChecks` has something to do.
    package var nextDue: Instant {
        members.reduce(Instant.never) { earliest, member in
            let check = configuration.health == nil ? .never : member.clock.due
            return min(earliest, check, member.ejection?.until ?? .never)
        }
    }

    /// What operators should read, once each.
    package mutating func takeNews() -> [HealthNews] {
        defer { news.removeAll() }
        return news
    }

    /// Names to ask DNS for at once: a check of, or a connection to, an address of theirs has
    /// failed.
    package mutating func takeResolutionRequests() -> Set<String> {
        defer { resolutions.removeAll() }
        return resolutions
    }

    // MARK: - Members of which only one is active

    /// An active member that answers has the traffic at once, and no second pass is awaited.
    private func neededPasses(_ policy: HealthPolicy) -> Int {
        policy.isExclusive ? 1 : policy.rise
    }

    private func hasFlawlessMember(other index: Int?) -> Bool {
        members.indices.contains {
            $0 != index && members[$0].isUsable && members[$0].failures == 0
        }
    }

    /// With a new active member, one that has begun to fail is down, and another is asked again.
    private mutating func handOver(to new: Int, now: Instant) {
        let isNew = members[new].isUsable && members[new].passes == 1
        for index in members.indices where index != new {
            if isNew, members[index].verdict == .up {
                if members[index].failures > 0 { members[index].goDown() }
                members[index].clock.hurry(now: now)
            } else if members[new].failures == 1 {
                members[index].clock.hurry(now: now)
            }
        }
    }

    // MARK: - After each event

    /// The host name that the configuration has for a member; nil: it has its address, or the name
    /// of a service.
    package func hostName(of address: SocketAddress) -> String? {
        guard let index = index(of: address) else { return nil }
        for claim in members[index].claims {
            if case .name(let name) = configuration.servers[claim.server].host { return name }
        }
        return nil
    }

    package func isMember(_ address: SocketAddress) -> Bool { index(of: address) != nil }

    func index(of address: SocketAddress) -> Int? {
        members.firstIndex { $0.address == address }
    }

    private mutating func resolve(_ index: Int) {
        for claim in members[index].claims {
            let name = configuration.servers[claim.server].sourceName
            if !name.isEmpty { resolutions.insert(name) }
        }
    }

    /// Draws the conclusions. Members' indices change.
    private mutating func settle(_ now: Instant) {
        displace()
        limitEjections(now: now)
        keepLast(now: now)
        for index in members.indices {
            if let old = members[index].tell(now: now) {
                tell(index, from: old, reason: members[index].reason(since: old))
            }
        }
        let (fresh, isOpen) = rank()
        isFailingOpen = isOpen
        if fresh != ranked {
            ranked = fresh
            version += 1
        }
    }

    private mutating func tell(
        _ index: Int, from old: MemberState, reason: String, isRemedy: Bool = false
    ) {
        note(
            HealthNews(
                address: members[index].address, source: members[index].source, old: old,
                new: members[index].state, reason: reason, isRemedy: isRemedy))
    }

    mutating func note(_ item: HealthNews) {
        if news.count == Self.newsMax { news.removeFirst() }
        news.append(item)
    }
}

extension HealthPolicy {
    /// One member at a time has the traffic.
    package var isExclusive: Bool {
        if case .activeMember = kind { true } else { false }
    }
}
