/// One reload of both nodes, as the node sees it that was asked for it: both read and check their
/// files; then the standby uses them; then the other node; then both are confirmed, this node last.
/// Until then both are on trial: whoever refuses, and whatever fails, nobody has to be told to go
/// back. Sans-IO.
///
///     planning ─ both can ─▶ first ─ done ─▶ second ─ done ─▶ confirming ─ all said ─▶ ended
///         └ one cannot ─▶ ended  └ refused ─▶ ended └ refused ─▶ ended (the first goes back)
package struct PairReload: Sendable {
    package enum Side: Sendable, Equatable {
        case here, there
    }

    package enum Action: Sendable, Equatable {
        /// Each is answered with `answered`.
        case plan(Side)
        /// It goes back after `trialMilliseconds` unless it is confirmed.
        case reload(Side)
        case confirm(Side)
        case finish(Outcome, lines: [String])
    }

    package typealias Outcome = PairOrderResult.Outcome

    private enum Phase: Sendable, Equatable {
        case planning, first, second, confirming, ended
    }

    /// For how long the first one waits for the second.
    package static let trialMilliseconds: UInt32 = 45_000

    private let standby: Side
    /// What the other node is called in lines.
    private let peerName: String
    private var phase = Phase.planning
    private var plans: [Side: Outcome] = [:]
    private var unchanged: Set<Side> = []
    /// On trial.
    private var unconfirmed: [Side] = []
    private var confirmed: [Side] = []
    private var lines: [String] = []

    /// - Parameter standby: who goes first; nil: not known, and so the other node.
    package init(standby: Side?, peerName: String) {
        self.standby = standby ?? .there
        self.peerName = peerName
    }

    private var active: Side { standby == .here ? .there : .here }

    package mutating func begin() -> [Action] { [.plan(standby), .plan(active)] }

    /// What has become of an action.
    package mutating func answered(
        _ side: Side, _ outcome: Outcome, lines said: [String]
    ) -> [Action] {
        note(side, said)
        switch phase {
        case .planning:
            plans[side] = outcome
            return planned()
        case .first:
            guard side == standby else { return [] }
            return went(side, outcome)
        case .second:
            guard side == active else { return [] }
            return went(side, outcome)
        case .confirming:
            guard let index = unconfirmed.firstIndex(of: side) else { return [] }
            unconfirmed.remove(at: index)
            if outcome != .done {
                return finish(.failed, "not confirmed; \(goBack([side] + unconfirmed))\(rest)")
            }
            confirmed.append(side)
            return confirmNext()
        case .ended: return []
        }
    }

    /// The link is gone, or an answer did not come in time.
    package mutating func failed(_ reason: String) -> [Action] {
        switch phase {
        case .planning: return finish(.failed, "\(reason); nothing has changed")
        case .first, .second:
            // Nobody will confirm: who has it goes back, also who takes it up only now.
            return finish(.failed, "\(reason); whoever has begun goes back by itself")
        case .confirming:
            // Who was asked may have kept it; who was not goes back.
            let asked = unconfirmed.contains(.there) ? Side.there : .here
            let others = unconfirmed.filter { $0 != asked }
            return finish(
                .failed,
                "\(reason); \(name(asked)) may keep it or go back"
                    + (others.isEmpty ? "" : ", \(goBack(others))") + rest
                    + ": see edgectl check --peer")
        case .ended: return []
        }
    }

    // MARK: - Steps

    private mutating func planned() -> [Action] {
        guard let first = plans[standby], let second = plans[active] else { return [] }
        for outcome in [Outcome.refused, .failed] where first == outcome || second == outcome {
            let who = [standby, active].filter { plans[$0] == outcome }.map(name)
            let verb = outcome == .refused ? "refused by" : "not possible on"
            return finish(
                outcome, "\(verb) \(who.joined(separator: " and ")); nothing has changed")
        }
        if first == .unchanged { unchanged.insert(standby) }
        if second == .unchanged { unchanged.insert(active) }
        guard unchanged.count < 2 else { return finish(.unchanged) }
        guard !unchanged.contains(standby) else { return reloadSecond() }
        phase = .first
        return [.reload(standby)]
    }

    private mutating func went(_ side: Side, _ outcome: Outcome) -> [Action] {
        switch outcome {
        case .done: unconfirmed.append(side)
        case .unchanged: unchanged.insert(side)
        case .refused, .failed:
            let words = outcome == .refused ? "refused by" : "not possible on"
            return finish(
                outcome,
                "\(words) \(name(side))"
                    + (unconfirmed.isEmpty ? "; nothing has changed" : "; \(goBack(unconfirmed))"))
        }
        return phase == .first ? reloadSecond() : confirmNext()
    }

    private mutating func reloadSecond() -> [Action] {
        guard !unchanged.contains(active) else { return confirmNext() }
        phase = .second
        return [.reload(active)]
    }

    /// The far one first: if the link fails now, both go back.
    private mutating func confirmNext() -> [Action] {
        phase = .confirming
        if unconfirmed.contains(.there) { return [.confirm(.there)] }
        if unconfirmed.contains(.here) { return [.confirm(.here)] }
        return finish(.done)
    }

    private mutating func finish(_ outcome: Outcome, _ line: String? = nil) -> [Action] {
        phase = .ended
        return [.finish(outcome, lines: (line.map { [$0] } ?? []) + lines)]
    }

    private func name(_ side: Side) -> String { side == .here ? "this node" : peerName }

    private func goBack(_ sides: [Side]) -> String {
        sides.count == 1 ? "\(name(sides[0])) goes back by itself" : "both go back by themselves"
    }

    /// Who has the new configuration for good.
    private var rest: String { confirmed.map { "; \(name($0)) keeps it" }.joined() }

    private mutating func note(_ side: Side, _ said: [String]) {
        for line in said {
            let text = side == .here ? line : "\(peerName): \(line)"
            if !lines.contains(text) { lines.append(text) }
        }
    }
}
