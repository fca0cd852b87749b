import EdgeCore
import EdgeSystem
import Synchronization

@testable import EdgeFailover
@testable import EdgeGuardian
@testable import EdgeVRRP

/// In place of the failover thread: writes down what it is told, says what the test wants. All on
/// the guardian's loop.
final class FakeFailover: FailoverControl, @unchecked Sendable {
    // Sendable: tests turn the loop on their own thread, and nothing else touches it.
    private(set) var calls: [String] = []
    private(set) var settings: FailoverSettings
    private(set) var options: FailoverOptions
    private(set) var resumed: FailoverHandover?
    var fitness: Fitness
    var readiness: ElectionMachine.Readiness
    var isInMaintenance = false
    /// What becomes of a yield; nil: nothing yet.
    var outcome: FailoverService.YieldOutcome? = .moved
    /// Whether `stop` is answered.
    var stops = true
    /// Whether `prepareForExec` is answered.
    var prepares = true
    /// Said before a stop is answered.
    var lastMove: FailoverTransition?
    /// How often it was told how well the node serves.
    private(set) var fitnessCount = 0
    private var yields:
        [@Sendable ([(instance: String, outcome: FailoverService.YieldOutcome)]) -> Void] = []
    private var stopCompletions: [@Sendable () -> Void] = []
    private var status: FailoverStatus
    private let poster: PollLoop.Poster
    private let handler: @Sendable (FailoverEvent) -> Void

    init(
        _ beginning: FailoverBeginning, _ poster: PollLoop.Poster,
        _ handler: @escaping @Sendable (FailoverEvent) -> Void
    ) {
        settings = beginning.settings
        options = beginning.options
        readiness = beginning.readiness
        fitness = beginning.standing.fitness
        resumed = beginning.handover
        self.poster = poster
        self.handler = handler
        status = FailoverStatus(
            nodeName: settings.nodeName, standing: beginning.standing, instances: [], peers: [],
            figures: .init(), realTime: .init())
        calls = ["start"]
    }

    // MARK: - What the thread says

    func say(_ event: FailoverEvent) {
        let handler = handler
        poster.post { handler(event) }
    }

    /// - Parameters:
    ///   - peer: ready to take the addresses; nil: nobody is there.
    func becomes(_ state: ElectionState, peerIsReady peer: Bool? = true) {
        let now = Instant.now()
        let reports = peer.map { isReady in
            [
                PeerReport(
                    nodeID: 2, nodeName: "lb-02", bootID: 9, heardAt: now,
                    liveUntil: now.advanced(by: .seconds(60)), standing: Standing(fitness: .fit),
                    instance: .init(
                        routerID: 7, state: .backup, priority: 100, isReady: isReady,
                        asksToTakeOver: false, sinceMilliseconds: 5,
                        standing: Standing(fitness: .fit)))
            ]
        }
        let election = ElectionStatus(
            name: "vip", routerID: 7, state: state, since: now, cause: .masterSilent, history: [],
            priority: 101, heardMaster: nil, masterDownInterval: .milliseconds(72),
            standing: Standing(fitness: fitness), holdBack: nil, dampedUntil: nil,
            isHandingOver: false, rival: nil, peers: reports ?? [], counters: .init())
        let status = FailoverStatus(
            nodeName: settings.nodeName, standing: Standing(fitness: fitness),
            instances: [
                .init(
                    interfaceName: "eth0", link: .up,
                    addresses: settings.instances[0].families[0].addresses, election: election)
            ], peers: [], figures: .init(), realTime: .init())
        self.status = status
        say(.changed(status))
    }

    // MARK: - What it is told

    func apply(_ settings: FailoverSettings, options: FailoverOptions) {
        calls.append("apply \(settings.instances.map(\.interval))")
        self.settings = settings
        self.options = options
    }

    func setReadiness(_ parts: ElectionMachine.Readiness) { readiness = parts }

    func setFitness(_ fitness: Fitness) {
        calls.append("\(fitness)")
        fitnessCount += 1
        self.fitness = fitness
    }

    func setMaintenance(_ isInMaintenance: Bool) {
        if self.isInMaintenance != isInMaintenance {
            calls.append(isInMaintenance ? "maintenance" : "no maintenance")
        }
        self.isInMaintenance = isInMaintenance
    }

    func yield(
        instance: String?, isForced: Bool,
        _ completion:
            @escaping @Sendable ([(instance: String, outcome: FailoverService.YieldOutcome)]) ->
            Void
    ) {
        calls.append(isForced ? "yield by force" : "yield")
        guard let outcome else { return yields.append(completion) }
        poster.post { completion([("vip", outcome)]) }
    }

    /// Answers the yields that have not been.
    func answer(_ outcome: FailoverService.YieldOutcome) {
        let waiting = yields
        yields = []
        poster.post { for completion in waiting { completion([("vip", outcome)]) } }
    }

    /// Answers the stops that have not been.
    func answerStop() {
        let waiting = stopCompletions
        stopCompletions = []
        poster.post { for completion in waiting { completion() } }
    }

    func requestStatus(_ completion: @escaping @Sendable (FailoverStatus) -> Void) {
        let status = status
        poster.post { completion(status) }
    }

    func stop(within deadline: Duration, _ completion: @escaping @Sendable () -> Void) {
        calls.append("stop")
        if let lastMove { say(.transition(lastMove)) }
        if stops { poster.post(completion) } else { stopCompletions.append(completion) }
    }

    func prepareForExec(
        silence: Duration, _ completion: @escaping @Sendable (FailoverHandover) -> Void
    ) {
        calls.append("prepare")
        guard prepares else { return }
        poster.post { completion(FailoverHandover(instances: [], sockets: [], presence: nil)) }
    }

    func cancelExec() { calls.append("cancel") }
}
