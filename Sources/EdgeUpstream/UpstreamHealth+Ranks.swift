import EdgeCore

/// Which members workers use, and in which order.
extension UpstreamHealth {
    /// Members that are alike for the choice, the best first. Those of the best one that is not
    /// empty are preferred.
    private enum Tier: Int, Comparable {
        case up
        /// New, and no check has failed.
        case fresh
        case upBackup
        case freshBackup
        case standby
        /// Of a suspicious answer, but its checks pass.
        case foreign
        /// New, and checks fail.
        case failing
        /// Down or ejected; of those, it worked last.
        case workedLast
        /// Of a suspicious answer, and not seen working.
        case foreignFresh

        static func < (a: Tier, b: Tier) -> Bool { a.rawValue < b.rawValue }
    }

    /// - Returns: the members for the workers, and whether those that are preferred are down.
    func rank() -> (members: [RankedMember], isFailingOpen: Bool) {
        let lastResort = configuration.failsOpen ? membersThatWorkedLast() : []
        let tiers = members.indices.map { tier(members[$0], isLast: lastResort.contains($0)) }
        let best = tiers.compactMap { $0 }.min()
        let hasUp = tiers.contains { $0 == .up || $0 == .upBackup }
        // Backups stay behind others of the same tier.
        let hasMain = members.indices.contains {
            tiers[$0] != nil && tiers[$0] == best && !isBackup(members[$0])
        }
        let ranked = members.indices.map { index in
            let member = members[index]
            return RankedMember(
                address: member.address, weight: weight(member),
                rank: rank(member, tiers[index], best: best, hasUp: hasUp, hasMain: hasMain),
                state: member.state, rampedFrom: member.rampedFrom)
        }
        return (ranked, best == .workedLast)
    }

    /// Nil: not to be used, whoever else is there.
    private func tier(_ member: MemberHealth, isLast: Bool) -> Tier? {
        guard member.admin == .ready else { return nil }
        guard !member.isOut else { return isLast ? .workedLast : nil }
        let isBackup = isBackup(member)
        switch member.verdict {
        case .up: return member.isSuspicious ? .foreign : isBackup ? .upBackup : .up
        case .unknown where member.isSuspicious: return .foreignFresh
        case .unknown where member.failures > 0: return .failing
        case .unknown: return isBackup ? .freshBackup : .fresh
        case .standby: return member.isSuspicious ? .foreignFresh : .standby
        case .down: return nil
        }
    }

    private func rank(
        _ member: MemberHealth, _ tier: Tier?, best: Tier?, hasUp: Bool, hasMain: Bool
    ) -> MemberRank {
        guard let tier, let best else {
            return member.admin == .drain && !member.isOut ? .boundOnly : .never
        }
        if tier == best { return hasMain && isBackup(member) ? .fallback : .preferred }
        switch tier {
        case .up, .fresh, .upBackup, .freshBackup, .failing: return .fallback
        case .standby: return hasUp ? .never : .fallback
        case .foreign, .foreignFresh, .workedLast: return best <= .standby ? .never : .fallback
        }
    }

    /// Of those that are out, the one with the newest success, and others whose last success is not
    /// older by more than one can know: a second, and the time between two checks.
    private func membersThatWorkedLast() -> Set<Int> {
        let out = members.indices.filter { members[$0].admin == .ready && members[$0].isOut }
        let own = out.filter { !members[$0].isSuspicious }
        let candidates = own.isEmpty ? out : own
        guard let newest = candidates.compactMap({ members[$0].lastSuccess }).max() else {
            return Set(candidates)
        }
        let interval = configuration.health?.interval.nanoseconds ?? 0
        let reach = min(interval, .max / 4) * 11 / 10 + 1_000_000_000
        return Set(
            candidates.filter {
                guard let success = members[$0].lastSuccess else { return false }
                return newest.nanoseconds(since: success) <= reach
            })
    }

    // MARK: - What the configuration says of a member

    /// The first entry that claims it says its weight.
    func weight(_ member: MemberHealth) -> Int {
        guard let claim = leadingClaim(member) else { return 1 }
        return min(max(claim.weight ?? configuration.servers[claim.server].weight, 1), 256)
    }

    /// A member that is also one in earnest is no backup.
    func isBackup(_ member: MemberHealth) -> Bool {
        // Of one that is proposed, only claims that are count. No allocation: it is asked often.
        let isProposed = member.claims.contains(where: \.isProposed)
        return member.claims.allSatisfy {
            $0.isProposed != isProposed
                || $0.isBackup ?? configuration.servers[$0.server].isBackup
        }
    }

    private func leadingClaim(_ member: MemberHealth) -> MemberHealth.Claim? {
        member.claims.first(where: \.isProposed) ?? member.claims.first
    }

    // MARK: - Status

    /// All members, and the names that have none.
    package var report: [MemberHealthReport] {
        var rows = zip(members, ranked).map { member, ranked in
            MemberHealthReport(
                address: member.address, source: member.source, state: member.state,
                rank: ranked.rank, admin: member.admin, failure: member.lastFailure,
                remedy: member.remedy, since: member.since, checksPassed: member.checksPassed,
                checksFailed: member.checksFailed, lastCheck: member.lastCheck,
                ejections: member.ejections, ejectedUntil: member.ejection?.until,
                weight: ranked.weight, isBackup: isBackup(member))
        }
        for (index, server) in configuration.servers.enumerated()
        where !members.contains(where: { $0.claims.contains { $0.server == index } }) {
            guard !server.sourceName.isEmpty else { continue }
            rows.append(
                MemberHealthReport(
                    address: nil, source: server.sourceName, state: .unresolved, rank: .never,
                    admin: .ready, failure: nil, remedy: nil, since: Instant(nanoseconds: 0),
                    checksPassed: 0, checksFailed: 0, lastCheck: nil, ejections: 0,
                    ejectedUntil: nil, weight: server.weight, isBackup: server.isBackup))
        }
        return rows
    }
}
