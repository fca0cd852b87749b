package import EdgeCore

/// An instance at one moment, for status, metrics and presence.
package struct ElectionStatus: Sendable, Equatable {
    package var name: String
    package var routerID: UInt8
    package var state: ElectionState
    package var since: Instant
    package var cause: TransitionCause
    /// The last states, oldest first.
    package var history: [Transition]
    /// What our advertisements say, or would.
    package var priority: UInt8
    /// Who was heard last as master, with its priority; nil: nobody since the start.
    package var heardMaster: HeardMaster?
    /// How long a backup waits for the master it has heard, or would wait.
    package var masterDownInterval: Duration
    package var standing: Standing
    /// Why a node that could be master is not, in a few words; nil: nothing is in its way.
    package var holdBack: HoldBack?
    /// Until when moves by choice wait; nil: they don't.
    package var dampedUntil: Instant?
    /// True while the addresses are being given away.
    package var isHandingOver: Bool
    /// The other master of a conflict that we are in.
    package var rival: SocketAddress?
    package var peers: [PeerReport]
    package var counters: ElectionCounters

    package struct HeardMaster: Sendable, Equatable {
        package var source: SocketAddress
        package var priority: UInt8
        package var interval: Duration
        package var at: Instant
    }

    package enum HoldBack: String, Sendable, Equatable {
        case notStarted = "not_started"
        /// Listeners or certificates are missing.
        case notPrepared = "not_prepared"
        /// No peer has been seen, and the boot gate's time is not over.
        case bootGate = "boot_gate"
        case unfit
        case maintenance
        case linkDown = "link_down"
        case noAddress = "no_address"
        case stopped
    }

    /// What presence says of this instance. `now` is the time of sending.
    package func presence(now: Instant) -> PresenceMessage.Instance {
        PresenceMessage.Instance(
            routerID: routerID, state: state, priority: priority,
            isReady: state == .backup && holdBack != .notPrepared && holdBack != .bootGate,
            asksToTakeOver: isHandingOver,
            sinceMilliseconds: UInt32(clamping: now.nanoseconds(since: since) / 1_000_000),
            standing: standing)
    }
}

/// What an instance has counted since it was made, upgrades in place included.
package struct ElectionCounters: Sendable, Equatable {
    package var advertisementsSent: UInt64 = 0
    package var advertisementsHeard: UInt64 = 0
    /// Not counted because no live, authentic peer stands for them.
    package var advertisementsDistrusted: UInt64 = 0
    package var addressListsDiffering: UInt64 = 0
    package var priorityZeroSent: UInt64 = 0
    package var priorityZeroHeard: UInt64 = 0
    package var takeOvers: UInt64 = 0
    package var handovers: UInt64 = 0
    package var handoversFailed: UInt64 = 0
    /// Conflicts in which we stayed.
    package var conflictsWon: UInt64 = 0
    package var conflictsLost: UInt64 = 0
    package var announcements: UInt64 = 0
    /// Times that our own lateness lengthened a wait, and by how much in all (nanoseconds).
    package var latenessForgiven: UInt64 = 0
    package var latenessNanoseconds: UInt64 = 0
    /// Take-overs that waited for a node that should go first.
    package var takeOversDeferred: UInt64 = 0

    package init() {}
}

extension ElectionMachine {
    /// How things stand at `now`.
    package func status(now: Instant) -> ElectionStatus {
        var isHandingOver = false
        var rival: SocketAddress?
        switch phase {
        case .initialize, .backup, .fault: break
        case .master(let hold): rival = hold.rival?.source
        case .handingOver: isHandingOver = true
        }
        return ElectionStatus(
            name: settings.name, routerID: settings.routerID, state: state, since: since,
            cause: cause, history: history, priority: priority, heardMaster: heardMaster,
            masterDownInterval: Duration(nanoseconds: masterDownNanoseconds), standing: standing,
            holdBack: holdBack(now: now),
            dampedUntil: damper.isHeld(now: now) ? damper.heldUntil : nil,
            isHandingOver: isHandingOver, rival: rival, peers: peers, counters: counters)
    }

    private func holdBack(now: Instant) -> ElectionStatus.HoldBack? {
        switch phase {
        case .master, .handingOver: return nil
        case .initialize where !isStarted: return cause == .stopped ? .stopped : .notStarted
        case .fault: return isLinkUp ? .noAddress : .linkDown
        case .initialize, .backup: break
        }
        if readiness != .all { return .notPrepared }
        if !isGateOpen, now < gateUntil { return .bootGate }
        if standing.fitness.isUnfit { return .unfit }
        return standing.isInMaintenance ? .maintenance : nil
    }
}

extension PeerReport {
    /// Whether it could hold the addresses: it does, or would take them.
    var canHold: Bool { standing.fitness.answers && (instance?.state == .master || isReadyBackup) }

    /// Since when it is in its state, as far as a message can say; the beginning of time if it does
    /// not know the instance.
    var stateSince: Instant {
        let span = instance.map { UInt64($0.sinceMilliseconds) * 1_000_000 } ?? .max
        return Instant(nanoseconds: heardAt.nanoseconds - min(heardAt.nanoseconds, span))
    }

    var isReadyBackup: Bool { instance.map { $0.state == .backup && $0.isReady } ?? false }
}
