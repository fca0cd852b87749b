package import EdgeConfig
package import EdgeControlAPI
internal import EdgeCore
package import EdgeFailover
package import EdgeSystem
package import EdgeVRRP
internal import Glibc

/// The guardian's side of failover: tells the failover thread how this node is, and carries out
/// what is ordered of it. Lives on the guardian's loop and asks nothing of the thread that it would
/// have to wait for.
package final class FailoverKeeper {
    /// What it has done by the rest of the guardian.
    package struct Hands {
        /// Clients are told to go, or are welcome.
        package var dismissClients: (Bool) -> Void
        package var closeDoor: () -> Void
        package var openDoor: () -> Void
        /// Clients' connections that are open.
        package var openConnections: () -> Int
        /// How long clients are left to go.
        package var drainTime: () -> Duration
        /// There is something new to tell.
        package var changed: () -> Void
        /// An address has moved, or nobody has it: for the operator's book.
        package var note: (Incident) -> Void

        package init(
            dismissClients: @escaping (Bool) -> Void, closeDoor: @escaping () -> Void,
            openDoor: @escaping () -> Void, openConnections: @escaping () -> Int,
            drainTime: @escaping () -> Duration, changed: @escaping () -> Void,
            note: @escaping (Incident) -> Void
        ) {
            self.dismissClients = dismissClients
            self.closeDoor = closeDoor
            self.openDoor = openDoor
            self.openConnections = openConnections
            self.drainTime = drainTime
            self.changed = changed
            self.note = note
        }
    }

    package static let rightsMissing =
        "failover needs the right to change addresses (root, or CAP_NET_ADMIN and CAP_NET_RAW)"

    /// What becomes of an order, and why.
    package typealias Answer = (HandoverMachine.Outcome) -> Void

    package private(set) var status: FailoverStatus? {
        didSet { statusTime = .now() }
    }
    /// When `status` came.
    private(set) var statusTime = Instant.now()
    /// An administrator has drained the node.
    package private(set) var isDrained = false
    package let hooks: HookRunner
    /// Nil: no address moves.
    private var control: (any FailoverControl)?
    /// A thread that is not wanted any more, until no address of its own is left.
    private var leaving: (any FailoverControl)?
    /// What goes on when `leaving` has left.
    private var leftBodies: [() -> Void] = []
    /// Of threads: the one before may still say something.
    private var generation = 0
    private var configuration: Configuration.Failover?
    private var options = FailoverOptions()
    /// Why there is no thread although one is configured; nil: there is none wanted, or it runs.
    package private(set) var failure: String?
    private var retryTimer: TimerID?
    private var retrySpan = FailoverKeeper.retryMin
    /// As the thread was told last.
    private var isInMaintenance = false
    private var machine = HandoverMachine()
    private var answers: [Answer] = []
    private var fitness: Fitness?
    private var readiness: ElectionMachine.Readiness = []
    private var timer: TimerID?
    private var sampler: TimerID?
    private var hasEnded = false
    /// Nothing is begun any more.
    private var isHurried = false
    private let loop: PollLoop
    private let factory: FailoverFactory
    private let hands: Hands

    package init(loop: PollLoop, factory: @escaping FailoverFactory, hands: Hands) {
        self.loop = loop
        self.factory = factory
        self.hands = hands
        hooks = HookRunner(loop: loop)
    }

    // MARK: - Life

    /// Begins, goes on with other settings, or ends.
    ///
    /// - Parameters:
    ///   - failover: nil: no address moves (any more).
    ///   - options: what is not in the settings.
    ///   - handover: what this process had as another program.
    package func use(
        _ failover: Configuration.Failover?, _ options: FailoverOptions,
        resuming handover: FailoverHandover? = nil
    ) throws(SystemError) {
        configuration = failover
        self.options = options
        retrySpan = Self.retryMin
        failure = nil
        if failover == nil {
            release(within: Self.leaveSpan) {}
            hands.changed()
        } else {
            hooks.program = failover?.hook
        }
        if let failover, let control {
            control.apply(failover.settings, options: options)
        } else {
            try begin(resuming: handover)
        }
    }

    /// Starts the thread if there is to be one; after a failure it is tried again.
    private func begin(resuming handover: FailoverHandover? = nil) throws(SystemError) {
        if let retryTimer { loop.cancel(retryTimer) }
        retryTimer = nil
        // Two threads would fight for the addresses.
        guard let configuration, control == nil, leaving == nil, !hasEnded else { return }
        let keeper = LoopBound(self)
        let beginning = FailoverBeginning(
            settings: configuration.settings, options: options, handover: handover,
            readiness: readiness,
            standing: Standing(
                fitness: fitness ?? .unfit(.starting, answers: false), isInMaintenance: isDrained))
        isInMaintenance = isDrained
        generation += 1
        let mine = generation
        do throws(SystemError) {
            control = try factory(beginning, loop.poster) { event in
                keeper.value?.happened(event, mine)
            }
        } catch {
            // The next one is a start: it takes off what an earlier thread has left.
            handover?.close()
            failed("\(error)")
            throw error
        }
        if failure != nil { Log.notice("failover: it runs") }
        failure = nil
        retrySpan = Self.retryMin
    }

    /// It cannot begin now: operators are told, and it is tried again.
    private func failed(_ why: String) {
        if failure == nil {
            let now = Int64(WallClock.now() / 1_000_000_000)
            hands.note(
                Incident(
                    kind: .failover, subject: "", text: "failover does not run: \(why)",
                    begun: now, ended: now))
        }
        failure = why
        hands.changed()
        retryTimer = loop.schedule(after: retrySpan) { [weak self] in
            guard let self else { return }
            self.retryTimer = nil
            do throws(SystemError) { try self.begin() } catch { Log.error("failover: \(error)") }
        }
        retrySpan = min(retrySpan * 2, Self.retryMax)
    }

    static let retryMin = Duration.seconds(1)
    static let retryMax = Duration.seconds(30)
    /// In this time the addresses are off after `failover:` has gone from the file.
    private static let leaveSpan = Duration.seconds(3)

    /// Ends the thread, if there is one.
    ///
    /// - Parameter completion: when none is left.
    private func release(within span: Duration, _ completion: @escaping () -> Void) {
        if let retryTimer { loop.cancel(retryTimer) }
        retryTimer = nil
        guard let ending = control ?? leaving else { return completion() }
        leftBodies.append(completion)
        if control != nil {
            perform(machine.cancel("no address moves any more"))
            control = nil
            leaving = ending
            status = nil
        }
        let (keeper, mine) = (LoopBound(self), generation)
        ending.stop(within: span) { keeper.value?.left(mine) }
        // A thread in trouble keeps nobody from ending.
        loop.schedule(after: span + .seconds(1)) { keeper.value?.left(mine) }
    }

    /// - Parameter ended: its generation.
    private func left(_ ended: Int) {
        guard leaving != nil, ended == generation else { return }
        leaving = nil
        if configuration == nil { hooks.program = nil }
        let bodies = leftBodies
        leftBodies = []
        for body in bodies { body() }
        // It may be wanted again.
        do throws(SystemError) { try begin() } catch { Log.error("failover: \(error)") }
    }

    /// A thread has addresses, or may have.
    package var isActive: Bool { control != nil || leaving != nil }

    /// Before `use`: what was known when this process was another program.
    func resume(_ succession: Succession) {
        isDrained = succession.isDrained
        guard succession.proxy != nil else { return }
        // It serves: who was master goes on at once.
        readiness = .all
        let troubles = Fitness.Troubles(rawValue: succession.troubles)
        fitness = troubles.isEmpty ? .fit : .degraded(troubles)
    }

    /// Gives up what this node has, and ends.
    package func end(within span: Duration, _ completion: @escaping () -> Void) {
        perform(machine.cancel("the daemon ends"))
        hasEnded = true
        release(within: span, completion)
    }

    /// To be run by whoever comes first.
    private func once(_ body: @escaping () -> Void) -> LoopBody {
        var isOver = false
        return LoopBody {
            guard !isOver else { return }
            isOver = true
            body()
        }
    }

    // MARK: - How this node is

    package func set(_ fitness: Fitness) {
        guard fitness != self.fitness else { return }
        self.fitness = fitness
        control?.setFitness(fitness)
    }

    package func setReady(_ parts: ElectionMachine.Readiness) {
        guard !readiness.isSuperset(of: parts) else { return }
        readiness.formUnion(parts)
        control?.setReadiness(readiness)
    }

    // MARK: - Orders

    /// Clients and addresses are wanted elsewhere until `undrain`. If nobody is known to be ready
    /// for the addresses, they stay until somebody is.
    package func drain(_ answer: @escaping Answer) {
        isDrained = true
        hands.dismissClients(true)
        guard control != nil else { return answer(.stayed("no address moves between nodes")) }
        withStatus { keeper in
            guard keeper.isDrained else {
                return answer(.stayed("the node is not drained any more"))
            }
            // What is under way takes them elsewhere; then the standing is told.
            guard !keeper.machine.isActive else { return keeper.answers.append(answer) }
            guard keeper.holdsAddresses else {
                keeper.stand()
                return answer(.moved)
            }
            guard keeper.isPeerReady else {
                keeper.stand()
                return answer(
                    .stayed("no other node is known to be ready: the addresses stay until one is"))
            }
            keeper.begin(.maintenance, answer)
        }
    }

    package func undrain() {
        isDrained = false
        if machine.purpose == .maintenance {
            perform(machine.cancel("the node is not drained any more"))
        }
        hands.dismissClients(false)
        stand()
        hands.changed()
    }

    /// Tells the thread whether the node is drained.
    private func stand() {
        guard isInMaintenance != isDrained else { return }
        isInMaintenance = isDrained
        control?.setMaintenance(isDrained)
    }

    /// The addresses are wanted elsewhere.
    package func yield(isForced: Bool, _ answer: @escaping Answer) {
        guard control != nil else { return answer(.stayed("no address moves between nodes")) }
        withStatus { keeper in
            guard keeper.holdsAddresses else {
                return answer(.stayed("this node does not hold the addresses"))
            }
            guard isForced || keeper.isPeerReady else {
                return answer(
                    .stayed(
                        "no other node is known to be ready; --force gives them up all the same"))
            }
            keeper.begin(.move, isForced: isForced, answer)
        }
    }

    /// The guardian is about to end: if somebody can take the addresses they go first, while all
    /// clients are served.
    ///
    /// - Returns: false if there is nothing to be done, and no answer comes.
    package func leave(_ answer: @escaping Answer) -> Bool {
        perform(machine.cancel("the daemon ends"))
        guard control != nil, holdsAddresses else { return false }
        isHurried = false
        withStatus { keeper in
            // Routers that are no nodes of ours say nothing of themselves.
            let isAlone = keeper.configuration?.settings.presence.peers.isEmpty ?? true
            guard keeper.holdsAddresses, keeper.isPeerReady || isAlone, !keeper.isHurried else {
                return answer(.stayed("nobody is known to take the addresses"))
            }
            keeper.begin(.stop, isForced: isAlone, answer)
        }
        return true
    }

    /// What is under way is cut short.
    package func hurry() {
        isHurried = true
        perform(machine.cancel("the daemon ends at once"))
    }

    private func begin(
        _ purpose: HandoverMachine.Purpose, isForced: Bool = false, _ answer: @escaping Answer
    ) {
        guard !machine.isActive else {
            return answer(.stayed("a handover is under way already"))
        }
        answers.append(answer)
        perform(
            machine.begin(
                purpose, drain: hands.drainTime(), isForced: isForced, now: loop.now))
        hands.changed()
    }

    // MARK: - The handover

    /// What is being done, as a sentence; empty: nothing.
    package var handoverText: String {
        switch machine.state {
        case .idle: ""
        case .draining: "clients are told to go"
        case .settling: "nobody new is let in for a moment"
        case .yielding: "the addresses are being given away"
        }
    }

    private func perform(_ actions: [HandoverMachine.Action]) {
        for action in actions {
            switch action {
            case .dismissClients(let dismisses): hands.dismissClients(dismisses || isDrained)
            case .closeDoor: hands.closeDoor()
            case .openDoor: hands.openDoor()
            case .yield(let isForced): yield(isForced)
            case .finished(let purpose, let outcome): finished(purpose, outcome)
            }
        }
        schedule()
    }

    private func yield(_ isForced: Bool) {
        // Standing, so that the peer does not give them back at once.
        stand()
        let keeper = LoopBound(self)
        control?.yield(instance: nil, isForced: isForced) { outcomes in
            keeper.value?.yielded(outcomes)
        }
    }

    private func yielded(_ outcomes: [(instance: String, outcome: FailoverService.YieldOutcome)]) {
        let stayed = outcomes.compactMap { instance, outcome -> String? in
            switch outcome {
            case .moved, .refused(.notMaster): nil
            case .notMoved: "\(instance): nobody has taken the addresses"
            // A standing of ours has moved them, or is about to.
            case .refused(.underWay) where isDrained: nil
            case .refused(let refusal): "\(instance): \(refusal.reason)"
            case .noSuchInstance: "\(instance): it is not there"
            }
        }
        perform(
            machine.yielded(
                stayed.isEmpty ? .moved : .stayed(stayed.joined(separator: "; "))))
    }

    private func finished(_ purpose: HandoverMachine.Purpose, _ outcome: HandoverMachine.Outcome) {
        switch outcome {
        case .moved: Log.notice("failover: the addresses are elsewhere")
        case .stayed(let why): Log.warning("failover: the addresses stay: \(why)")
        }
        stand()
        let waiting = answers
        answers = []
        for answer in waiting { answer(outcome) }
        hands.changed()
    }

    private func schedule() {
        if let timer { loop.cancel(timer) }
        timer = nil
        if machine.deadline != .never {
            timer = loop.schedule(at: machine.deadline) { [weak self] in
                guard let self else { return }
                self.timer = nil
                self.perform(self.machine.tick(now: self.loop.now))
            }
        }
        guard machine.waitsForClients, sampler == nil else { return }
        sampler = loop.schedule(after: HandoverMachine.sampleInterval) { [weak self] in
            guard let self else { return }
            self.sampler = nil
            self.perform(self.machine.counted(self.hands.openConnections(), now: self.loop.now))
        }
    }

    // MARK: - What the thread says

    /// This node has some address that moves.
    package var holdsAddresses: Bool {
        status?.instances.contains { $0.election.state == .master } ?? false
    }

    /// For all that this node has there is another that would take it.
    package var isPeerReady: Bool {
        let held = status?.instances.map(\.election).filter { $0.state == .master } ?? []
        return held.allSatisfy { election in
            election.peers.contains { peer in
                peer.liveUntil > statusTime && !peer.standing.fitness.isUnfit
                    && !peer.standing.isInMaintenance && peer.instance?.isReady == true
            }
        }
    }

    /// The thread answers at once, or is in trouble.
    private static let statusMax = Duration.milliseconds(500)

    /// Asks for the counters as well; `status` has them when `body` runs.
    func refresh(_ body: @escaping () -> Void) {
        request(body)
    }

    /// What it has said so lately is what it knows now.
    private static let statusFreshness = Duration.milliseconds(20)

    /// Goes on with what the thread knows now: how long ago the peer was heard counts. Whoever asks
    /// often does not reach the thread.
    private func withStatus(_ body: @escaping (FailoverKeeper) -> Void) {
        let goOn = once { [weak self] in
            if let self { body(self) }
        }
        if status != nil, Instant.now() < statusTime.advanced(by: Self.statusFreshness) {
            loop.schedule(at: loop.now) { goOn.run() }
            return
        }
        loop.schedule(after: Self.statusMax) { goOn.run() }
        request { goOn.run() }
    }

    private func request(_ body: @escaping () -> Void) {
        let (keeper, goOn, mine) = (LoopBound(self), LoopBody(body), generation)
        control?.requestStatus { status in
            if let keeper = keeper.value, keeper.control != nil, keeper.generation == mine {
                keeper.status = status
            }
            goOn.run()
        }
    }

    private func happened(_ event: FailoverEvent, _ from: Int) {
        switch event {
        case .log(.error, let text): Log.error(text)
        case .log(.warning, let text): Log.warning(text)
        case .log(.notice, let text): Log.notice(text)
        case .log(_, let text): Log.info(text)
        case .transition(let moved): happened(moved)
        case .changed(let status):
            guard from == generation, control != nil else { return }
            self.status = status
            hands.changed()
        }
    }

    private func happened(_ moved: FailoverTransition) {
        let transition = moved.transition
        hooks.run(
            .init(
                instance: moved.instance, state: "\(transition.to)",
                cause: "\(transition.cause)"))
        // A start as backup is nothing that happened to anybody.
        guard transition.from == .master || transition.to == .master || transition.to == .fault
        else { return }
        let second = Int64(moved.wallClock / 1_000_000_000)
        hands.note(
            Incident(
                kind: .failover, subject: moved.instance,
                text: "\(transition.from) → \(transition.to): \(transition.cause)",
                begun: second, ended: second))
    }

    // MARK: - Upgrade

    /// Addresses stay while this process becomes another program.
    ///
    /// - Parameter completion: called once.
    package func prepareForExec(_ completion: @escaping (ExecPreparation) -> Void) {
        guard let control else { return completion(.nothing) }
        var isOver = false
        let body = LoopValue<ExecPreparation> { answer in
            guard !isOver else { return }
            isOver = true
            completion(answer)
        }
        control.prepareForExec(silence: .seconds(1)) { body.value(.still($0)) }
        loop.schedule(after: Self.execMax) { body.value(.silent) }
    }

    /// What has become of `prepareForExec`.
    package enum ExecPreparation {
        /// There is no failover thread.
        case nothing
        case still(FailoverHandover)
        /// The thread does not answer.
        case silent
    }

    /// The thread is still within an interval, or is in trouble.
    private static let execMax = Duration.seconds(5)

    /// No thread is about to end.
    var isSettled: Bool { leaving == nil }

    package func cancelExec() { control?.cancelExec() }
}

/// Carries what belongs to the guardian's loop through the failover thread, which calls nothing of
/// it: it comes back in bodies that the loop runs.
private struct LoopBound<Value: AnyObject>: @unchecked Sendable {
    // Sendable: read only in bodies that the loop runs on its own thread.
    weak var value: Value?

    init(_ value: Value) { self.value = value }
}

/// As `LoopBound`, of a body.
private struct LoopBody: @unchecked Sendable {
    // Sendable: as above.
    let run: () -> Void

    init(_ run: @escaping () -> Void) { self.run = run }
}

/// As `LoopBound`, of a body that takes what the thread answers.
private struct LoopValue<Value>: @unchecked Sendable {
    // Sendable: as above.
    let value: (Value) -> Void

    init(_ value: @escaping (Value) -> Void) { self.value = value }
}

extension FailoverHandover {
    /// Nobody goes on with it.
    fileprivate func close() {
        for descriptor in descriptors { Glibc.close(descriptor) }
    }
}
