package import EdgeCore

/// Decides who holds the addresses of one instance (RFC 9568 §6.4): IPv4 and IPv6 are two virtual
/// routers on the wire with one fate here. Pure: events and a time in, actions out.
///
///     initialize ── prepared ──► backup ⇄ master ──► backup (outranked, gave way, was silent)
///         ▲    any ── link down, no address ──► fault ── link up, address ──► initialize
///         └────────── stop (a master gives the addresses away first) ── any
///
/// A master that gives the addresses away sends priority 0 and keeps them until another is heard as
/// master, so that there is no gap; outwardly it is still `master`.
///
/// The driver's side of the bargain: feed every packet that the kernel has received, with the time
/// at which it was received, before `.timer`; then a late turn of the loop is told from a silent
/// peer. What this machine needs to hear of lateness it sees itself: `.timer` after `nextDeadline`.
///
///     var machine = ElectionMachine(settings: instance, now: .now())
///     perform(machine.handle(.localAddress(.ipv4, address), now: .now()))
///     perform(machine.handle(.link(isUp: true), now: .now()))
///     perform(machine.handle(.readiness(.all), now: .now()))
///     perform(machine.handle(.standing(Standing(fitness: .fit)), now: .now()))
///     perform(machine.handle(.start, now: .now()))
///     while true {
///         wait(until: machine.nextDeadline)           // or until a socket is readable
///         let now = Instant.now()
///         while let (packet, receivedAt) = socket.receive() {
///             // A refusal is counted by its name; it changes nothing.
///             let received = try ReceivedAdvertisement(ipv4Packet: packet.span)
///             let admission = try filter.admit(received)
///             let heard = ElectionMachine.Heard(
///                 received, receivedAt: receivedAt, addressesDiffer: admission.addressesDiffer)
///             perform(machine.handle(.advertisement(heard), now: now))
///         }
///         if now >= machine.nextDeadline { perform(machine.handle(.timer, now: now)) }
///     }
package struct ElectionMachine: Sendable {
    enum Phase: Sendable, Equatable {
        case initialize
        case backup(Wait)
        case master(Hold)
        case handingOver(Handover)
        case fault
    }

    /// A backup's wait for its master.
    struct Wait: Sendable, Equatable {
        /// The last word of a master, or the beginning.
        var beganAt: Instant
        /// When the wait ends, as of the last word of each family; the later one counts.
        var ends: [IPFamily: Instant] = [:]
        /// Added by lateness of ours, at most one master-down interval per wait.
        var forgiven: UInt64 = 0
        /// Since when the wait would have ended, but for something that is in the way.
        var blockedSince: Instant?
        /// When to look again, while blocked or letting another go first.
        var lookAgain: Instant?
        /// Until when others are let go first; nil: nobody was yet.
        var courtesyUntil: Instant?
        /// What the end of the wait is called.
        var cause = TransitionCause.masterSilent
    }

    /// A master's rhythm.
    struct Hold: Sendable, Equatable {
        var nextAdvertisement: Instant
        var lastAdvertisement: Instant
        /// Set after a silence of ours in which another may have taken over: until then we listen.
        var listensUntil: Instant?
        /// Repetitions of the take-over's announcement that are left, and when the next one is.
        var repetitions: Int
        var nextRepetition: Instant
        var nextRefresh: Instant
        var rival: Rival?
        /// Since when a live peer has been strictly fitter.
        var fitterSince: Instant?
        /// When the addresses were announced last.
        var announcedAt: Instant
        /// A peer whose presence says that it is master too, while none of its words is heard.
        var contest: Contest?
    }

    /// Two masters that know of each other by presence only.
    struct Contest: Sendable, Equatable {
        let nodeID: UInt64
        let since: Instant
        var isWon = false
    }

    /// Another master, that ought to leave.
    struct Rival: Sendable, Equatable {
        var source: SocketAddress
        let since: Instant
        var heardAt: Instant
        /// How long it is believed to be master after its last word.
        var downNanoseconds: UInt64
        var count: Int
        var announcedAt: Instant?
        /// False if one of its advertisements had other addresses.
        var hasOurAddresses: Bool
    }

    struct Handover: Sendable, Equatable {
        let reason: HandoverReason
        let since: Instant
        var resendAt: Instant
        let until: Instant
        /// What it goes back to if nobody takes the addresses.
        let hold: Hold
    }

    struct Pause: Sendable, Equatable {
        let centiseconds: UInt16
        let until: Instant
    }

    package internal(set) var settings: InstanceSettings
    /// Of the last event.
    var lookedAt: Instant

    var phase = Phase.initialize
    var since: Instant
    var cause = TransitionCause.stopped
    var history: [Transition] = []
    var counters = ElectionCounters()

    // What is known of this node.
    var isStarted = false
    var isLinkUp = false
    var localAddresses: [IPFamily: SocketAddress] = [:]
    var readiness: Readiness = []
    var standing = Standing(fitness: .unfit(.starting, answers: false))
    /// The boot gate opens then, or at the first sight of another router.
    var gateUntil: Instant = .never
    var isGateOpen = false
    var pause: Pause?

    // What is known of others.
    var peers: [PeerReport] = []
    var knowsEdgedPeer = false
    /// When a peer's guardian was heard last, or this program began to listen for it.
    var presenceHeardAt: Instant?
    /// Whose advertisements a live guardian stood for, newest last.
    var vouchedSources: [SocketAddress] = []
    var heardMaster: ElectionStatus.HeardMaster?
    var adoptedCentiseconds: UInt16 = 0
    /// The node to which a contest was lost: VRRP between it and us is broken, and its presence
    /// stands for its advertisements until one is heard again.
    var unheardMasterID: UInt64?

    var damper = FlapDamper()
    /// No preemption before: an administrator, or fitness, has moved the addresses.
    var preemptBlockedUntil: Instant?
    /// Times in a row that this node was master and not heard.
    var unheardLosses: UInt64 = 0
    /// Since when this node has been a backup that could preempt.
    var steadySince: Instant?
    /// A handover that nobody answered is not tried again before.
    var handoverRetryAt: Instant?
    var failedHandovers = 0

    /// - Parameter settings: checked (`InstanceSettings.check`).
    package init(settings: InstanceSettings, now: Instant) {
        self.settings = settings
        since = now
        lookedAt = now
    }

    // MARK: - Bounds

    package static let historyMax = 16
    static let peersMax = 4
    static let vouchedSourcesMax = 8
    /// Advertisements without a word of presence for so long are another implementation's.
    static let edgedPeerMemory = Duration.seconds(600)
    /// After an administrator has moved the addresses, or fitness has: no preemption for so long.
    static let preemptBlock = Duration.seconds(60)
    /// Of doublings of that, while this node is not heard: about an hour.
    static let unheardLossesMax: UInt64 = 6
    /// After a handover that nobody answered: the first pause, if a peer's guardian is known and if
    /// not; doubled each time.
    static let handoverRetryKnown = Duration.seconds(1)
    static let handoverRetryMin = Duration.seconds(10)
    static let handoverRetryMax = Duration.seconds(300)
    /// Advertisements of a rival that were all answered, before it counts as deaf.
    static let unansweredMax = 8

    // MARK: - Events

    /// Takes one event at `now`, which never goes back, and returns what is to be done, in order.
    package mutating func handle(_ event: Event, now: Instant) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .start: start(now: now, &actions)
        case .stop: stop(now: now, &actions)
        case .link(let isUp): link(isUp: isUp, now: now, &actions)
        case .localAddress(let family, let address):
            localAddress(family, address, now: now, &actions)
        case .readiness(let parts): ready(parts, now: now, &actions)
        case .standing(let standing): stand(standing, now: now, &actions)
        case .advertisement(let heard): hear(heard, now: now, &actions)
        case .presence(let report): note(report, now: now, &actions)
        case .yield(let isForced): yield(isForced: isForced, now: now, &actions)
        case .announcePause(let span): announcePause(span, now: now, &actions)
        case .endPause: endPause(now: now, &actions)
        case .timer: timer(now: now, &actions)
        }
        lookedAt = max(lookedAt, now)
        return actions
    }

    /// When `.timer` is due; `.never` if only an event from outside can change something.
    package var nextDeadline: Instant {
        switch phase {
        case .initialize: isStarted && isLinkUp && !isGateOpen ? gateUntil : .never
        case .fault: .never
        case .backup(let wait): wakeUp(wait)
        case .master(let hold): wakeUp(hold)
        case .handingOver(let handover): min(handover.resendAt, handover.until)
        }
    }

    // MARK: - Queries

    package var state: ElectionState {
        switch phase {
        case .initialize: .initialize
        case .backup: .backup
        case .master, .handingOver: .master
        case .fault: .fault
        }
    }

    /// The priority that our advertisements carry. Two edged compare fitness by presence; towards
    /// others it is a matter of priority.
    package var priority: UInt8 {
        guard !knowsEdgedPeer else { return settings.priority }
        if standing.isInMaintenance { return 1 }
        switch standing.fitness {
        case .fit: return settings.priority
        case .degraded:
            let base = min(settings.priority, 254)
            return base > settings.degradedPenalty ? base - settings.degradedPenalty : 1
        case .unfit: return 1
        }
    }

    /// The interval that our advertisements name.
    var centiseconds: UInt16 { max(settings.centiseconds, pause?.centiseconds ?? 0) }

    /// Families with an address to speak from, in order.
    var speakingFamilies: [IPFamily] {
        settings.families.map(\.family).filter { localAddresses[$0] != nil }.sorted()
    }

    /// RFC 9568 §6.1: three intervals and the skew, which is longer for lower priorities.
    static func masterDown(centiseconds: UInt16, priority: UInt8) -> UInt64 {
        let interval = UInt64(centiseconds) * 10_000_000
        return 3 * interval + skew(centiseconds: centiseconds, priority: priority)
    }

    static func skew(centiseconds: UInt16, priority: UInt8) -> UInt64 {
        UInt64(centiseconds) * 10_000_000 * (256 - UInt64(priority)) / 256
    }

    /// For a master that is not heard yet, or was heard last.
    var masterDownNanoseconds: UInt64 {
        Self.masterDown(
            centiseconds: adoptedCentiseconds == 0 ? settings.centiseconds : adoptedCentiseconds,
            priority: priority)
    }

    // MARK: - Changing state

    /// Records the change; the caller has set the new phase.
    mutating func changed(
        from: ElectionState, _ cause: TransitionCause, now: Instant, _ actions: inout [Action]
    ) {
        let transition = Transition(from: from, to: state, cause: cause, at: now)
        since = now
        self.cause = cause
        history.append(transition)
        if history.count > Self.historyMax { history.removeFirst() }
        actions += [.transition(transition), .tellPeers]
    }
}
