import EdgeCore

@testable import EdgeVRRP

/// The last lines of a run, for whoever has to understand it.
struct Trace {
    private var lines: [String] = []
    private static let linesMax = 120

    mutating func note(_ at: Instant, _ index: Int, _ what: String) {
        if lines.count == Self.linesMax { lines.removeFirst() }
        let micros = at.nanoseconds / 1_000
        lines.append("\(micros / 1_000).\(micros % 1_000 / 100) ms  \(index)  \(what)")
    }

    var text: String { lines.joined(separator: "\n") }
}

/// What must hold in every run, and what has been seen of it.
struct Rules {
    private(set) var broken: String?
    var transitions = 0
    var takeOvers = 0
    var causes: [String: Int] = [:]
    /// Since when both have held the addresses, while nothing kept them from knowing.
    var doubleSince: Instant?
    /// Since when nobody has held them although somebody could.
    var unheldSince: Instant?
    var unheldMax: UInt64 = 0
    /// Since when nobody has held them, for whatever reason, and the longest such time.
    var emptySince: Instant?
    var emptyMax: UInt64 = 0
    var doubleMax: UInt64 = 0
    /// Set while nothing may move.
    var isStill = false

    mutating func breakRule(_ what: String) { broken = broken ?? what }

    mutating func note(_ transition: Transition, _ index: Int) {
        transitions += 1
        if transition.to == .master { takeOvers += 1 }
        causes[transition.cause.description, default: 0] += 1
        if isStill { breakRule("nothing has changed, and \(index) moves: \(transition)") }
    }
}

extension PairSimulation {
    /// What has just happened is nobody's fault: limits count from now.
    mutating func noteImpairment() {
        rules.doubleSince = nil
        rules.unheldSince = nil
    }

    /// Longest time with two holders while messages flow.
    var doubleLimit: UInt64 {
        setup.masterDown.nanoseconds + 3 * setup.hiccup.nanoseconds + 5_000_000
    }

    /// Longest time without a holder while a node has been able all the time: its wait, one let go
    /// first, a handover that failed, an announced pause, lateness forgiven, a peer that is
    /// believed until its presence is stale.
    var unheldLimit: UInt64 {
        8 * setup.masterDown.nanoseconds + setup.presenceInterval.nanoseconds * 4
            + 4 * setup.hiccup.nanoseconds + 700_000_000
    }

    mutating func checkRules() {
        let flows =
            nodes.allSatisfy(\.isSound) && !isVRRPCut && mutedNode == nil && lossPercent <= 3
            && delayMax < 1_000_000
        let holders = nodes.filter(\.isHolder).count
        if holders == 2, flows {
            let since = rules.doubleSince ?? now
            rules.doubleSince = since
            let span = now.nanoseconds(since: since)
            rules.doubleMax = max(rules.doubleMax, span)
            if span > doubleLimit { rules.breakRule("two holders for \(span / 1_000) µs") }
        } else {
            rules.doubleSince = nil
        }
        if holders == 0 {
            rules.emptySince = rules.emptySince ?? now
            rules.emptyMax = max(rules.emptyMax, now.nanoseconds(since: rules.emptySince ?? now))
        } else if let since = rules.emptySince {
            rules.emptyMax = max(rules.emptyMax, now.nanoseconds(since: since))
            rules.emptySince = nil
        }
        let isAble = nodes.contains { node in
            node.isSound && node.serves && !node.standing.isInMaintenance
        }
        if holders == 0, isAble {
            let since = rules.unheldSince ?? now
            rules.unheldSince = since
            let span = now.nanoseconds(since: since)
            rules.unheldMax = max(rules.unheldMax, span)
            if span > unheldLimit { rules.breakRule("nobody holds for \(span / 1_000) µs") }
        } else {
            rules.unheldSince = nil
        }
    }

    /// After everything has settled: who holds is who should.
    mutating func checkSettled() {
        let holders = nodes.filter(\.isHolder)
        let able = nodes.filter {
            $0.isPowered && $0.isRunning && $0.standing.fitness.answers
        }
        if !able.isEmpty, holders.count != 1 {
            rules.breakRule("\(holders.count) nodes hold after all has settled")
        }
        guard let holder = holders.first else { return }
        // Without presence nobody knows that a network has healed.
        if setup.hasPresence, lastAnnouncer != holder.index {
            rules.breakRule("\(holder.index) holds, but another announced last")
        }
        let other = nodes[1 - holder.index]
        guard setup.hasPresence, other.isPowered, other.isRunning else { return }
        // Who has tried several times in vain waits longer than we do.
        if holder.election.failedHandovers < 2,
            other.standing.isStrictlyFitter(than: holder.standing)
        {
            rules.breakRule(
                "\(holder.index) holds (\(holder.standing)), \(other.index) is fitter "
                    + "(\(other.standing))")
        }
    }
}
