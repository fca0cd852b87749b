package import EdgeFailover
package import EdgeSystem
package import EdgeVRRP

/// What the guardian tells and asks the failover thread; `FailoverService` does it.
package protocol FailoverControl: AnyObject {
    func apply(_ settings: FailoverSettings, options: FailoverOptions)
    func setReadiness(_ parts: ElectionMachine.Readiness)
    func setFitness(_ fitness: Fitness)
    func setMaintenance(_ isInMaintenance: Bool)
    func yield(
        instance: String?, isForced: Bool,
        _ completion:
            @escaping @Sendable ([(instance: String, outcome: FailoverService.YieldOutcome)]) ->
            Void
    )
    func requestStatus(_ completion: @escaping @Sendable (FailoverStatus) -> Void)
    func stop(within deadline: Duration, _ completion: @escaping @Sendable () -> Void)
    func prepareForExec(
        silence: Duration, _ completion: @escaping @Sendable (FailoverHandover) -> Void)
    func cancelExec()
}

extension FailoverService: FailoverControl {}

/// What a failover thread begins with.
package struct FailoverBeginning {
    package var settings: FailoverSettings
    package var options: FailoverOptions
    /// What this process had as another program.
    package var handover: FailoverHandover?
    package var readiness: ElectionMachine.Readiness
    package var standing: Standing
}

/// Starts a failover thread that tells the loop of the poster what happens.
package typealias FailoverFactory =
    @Sendable (
        FailoverBeginning, PollLoop.Poster, @escaping @Sendable (FailoverEvent) -> Void
    ) throws(SystemError) -> any FailoverControl

extension FailoverService {
    /// The real one.
    package static let factory: FailoverFactory = {
        beginning, poster, handler throws(SystemError) in
        try FailoverService.start(
            beginning.settings, options: beginning.options, home: poster,
            resuming: beginning.handover, readiness: beginning.readiness,
            standing: beginning.standing, handler: handler)
    }
}
