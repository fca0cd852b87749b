import EdgeCore

/// What traffic may decide: who is taken out for a time, and how many at once.
extension UpstreamHealth {
    /// Members that traffic may take out at once for failed requests.
    var ejectionsMax: Int {
        guard let policy = configuration.ejection, members.count >= 2 else { return 0 }
        return max(members.count * min(max(policy.sharePercent, 0), 100) / 100, 1)
    }

    /// Takes a member out, unless too many are out or nobody would be left.
    mutating func eject(_ index: Int, isConnectivity: Bool, reason: String, now: Instant) {
        let member = members[index]
        guard let policy = configuration.ejection, member.admin == .ready, !member.isOut else {
            return
        }
        let hasOther = members.indices.contains {
            $0 != index && members[$0].isPromising && !members[$0].isSuspicious
                && members[$0].verdict != .standby
        }
        let out = members.count { $0.ejection != nil }
        guard hasOther, isConnectivity || out < ejectionsMax else { return }
        members[index].eject(
            policy, isConnectivity: isConnectivity, reason: reason, random: &random, now: now)
    }

    /// Looks at the last ten seconds of all members.
    mutating func ejectOutliers(now: Instant) {
        guard let policy = configuration.ejection else { return }
        let totals = members.indices.map { members[$0].window.totals(now: now) }
        let findings = OutlierDetector.findings(totals, policy: policy)
        for (index, finding) in findings.enumerated() {
            guard let finding else { continue }
            eject(index, isConnectivity: false, reason: finding.reason, now: now)
        }
    }

    /// Where nobody is failed open to, and all that are left are ejected, those are back whose
    /// checks pass: an ejection is for a pool that has others.
    mutating func keepLast(now: Instant) {
        guard !configuration.failsOpen,
            members.allSatisfy({ $0.admin != .ready || $0.isOut })
        else { return }
        for index in members.indices
        where members[index].admin == .ready && members[index].isOutForTrafficAlone {
            members[index].endEjection(
                reason: "nobody else is left", ramps: false, now: now)
        }
    }

    /// With fewer members fewer may be out: those that would be back first are back now.
    mutating func limitEjections(now: Instant) {
        let out = members.indices.filter { members[$0].ejection?.isConnectivity == false }
            .sorted {
                (members[$0].ejection?.until ?? .never) < (members[$1].ejection?.until ?? .never)
            }
        for index in out.prefix(max(out.count - ejectionsMax, 0)) {
            members[index].endEjection(
                reason: "too few members are left", ramps: configuration.slowStart > .zero,
                now: now)
        }
    }
}
