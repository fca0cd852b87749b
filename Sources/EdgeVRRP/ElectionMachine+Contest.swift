internal import EdgeCore

/// Two masters that do not hear each other's advertisements, while their guardians do: VRRP is
/// filtered between them, or its group is. Nothing of this delays a take-over from a silent master:
/// presence is too slow to tell a filter from a dead host, so the addresses are taken first and
/// double mastery is resolved afterwards.
///
/// The one that goes leaves silently and waits, from then on, for the other's presence instead of
/// its advertisements; the one that stays announces when it hears of that.
extension ElectionMachine {
    /// Takes a peer's word as master.
    mutating func reviewContest(
        _ report: PeerReport, isBack: Bool, now: Instant, _ actions: inout [Action]
    ) {
        guard case .master(var hold) = phase else { return }
        guard let instance = report.instance, instance.state == .master,
            report.standing.fitness.answers, !instance.asksToTakeOver
        else {
            if hold.contest?.nodeID == report.nodeID { hold.contest = nil }
            phase = .master(hold)
            return
        }
        var contest = Contest(nodeID: report.nodeID, since: max(report.heardAt, since))
        if let known = hold.contest, known.nodeID == report.nodeID, !isBack { contest = known }
        let isRipe =
            report.heardAt.nanoseconds(since: contest.since) >= contestNanoseconds(report)
        if isRipe, outranks(report, instance) {
            counters.conflictsLost += 1
            unheardMasterID = report.nodeID
            becomeBackup(.contested(by: report.nodeName), now: now, &actions)
            return
        }
        if isRipe, !contest.isWon {
            contest.isWon = true
            counters.conflictsWon += 1
        }
        hold.contest = contest
        phase = .master(hold)
    }

    /// How long two are masters before the lower one leaves. One that hears the other without being
    /// heard leaves earlier (`isDeaf`), and its word of that has to come in between, though a
    /// message be lost; else both would leave.
    private func contestNanoseconds(_ report: PeerReport) -> UInt64 {
        4 * Self.masterDown(centiseconds: centiseconds, priority: 1)
            + report.liveUntil.nanoseconds(since: report.heardAt)
    }

    /// By fitness, priority, and the nodes' numbers: both come to the same end.
    private func outranks(_ report: PeerReport, _ instance: PresenceMessage.Instance) -> Bool {
        if report.standing.isStrictlyFitter(than: standing) { return true }
        if standing.isStrictlyFitter(than: report.standing) { return false }
        guard instance.priority == priority else { return instance.priority > priority }
        return report.goesFirst
    }
}
