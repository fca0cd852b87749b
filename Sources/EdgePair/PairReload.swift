/// One reload of both nodes, as the node sees it that was asked for it: both read and check their
/// files; then the standby uses them, on trial; then the other node; then the trial is confirmed.
/// Whoever refuses, nobody keeps anything: what was on trial goes back by itself. Sans-IO.
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
        /// - Parameter onTrial: it goes back after `trialMilliseconds` unless it is confirmed.
        case reload(Side, onTrial: Bool)
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
    private var unconfirmed: [Side] = []
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
                return finish(.failed, "\(name(side)) did not keep it: it goes back by itself")
            }
            return confirmNext()
        case .ended: return []
        }
    }

    /// The link is gone, or an answer did not come in time.
    package mutating func failed(_ reason: String) -> [Action] {
        switch phase {
        case .planning: return finish(.failed, "\(reason); nothing has changed")
        case .first, .second:
            // Nobody will confirm; whoever has begun goes back.
            return finish(.failed, "\(reason); what is on trial goes back by itself")
        case .confirming:
            return finish(
                .failed,
                "\(reason); \(unconfirmed.map(name).joined(separator: ", ")) may go back: "
                    + "see edgectl check --peer")
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
        return [.reload(standby, onTrial: true)]
    }

    private mutating func went(_ side: Side, _ outcome: Outcome) -> [Action] {
        switch outcome {
        case .done:
            // The last one to go is on trial only if it is asked from afar.
            if side == standby || side == .there { unconfirmed.append(side) }
        case .unchanged: unchanged.insert(side)
        case .refused, .failed:
            let back = unconfirmed.map(name).joined(separator: ", ")
            let words = outcome == .refused ? "refused by" : "not possible on"
            return finish(
                outcome,
                "\(words) \(name(side))"
                    + (back.isEmpty ? "; nothing has changed" : "; \(back) goes back by itself"))
        }
        return phase == .first ? reloadSecond() : confirmNext()
    }

    private mutating func reloadSecond() -> [Action] {
        guard !unchanged.contains(active) else { return confirmNext() }
        phase = .second
        return [.reload(active, onTrial: active == .there)]
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

    private mutating func note(_ side: Side, _ said: [String]) {
        for line in said {
            let text = side == .here ? line : "\(peerName): \(line)"
            if !lines.contains(text) { lines.append(text) }
        }
    }
}
