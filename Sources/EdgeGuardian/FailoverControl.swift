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
    func requestStatus(_ completion: @escaping @Sendable (FailoverStatus?) -> Void)
    func stop(within deadline: Duration, _ completion: @escaping @Sendable () -> Void)
    func prepareForExec(
        silence: Duration, _ completion: @escaping @Sendable (FailoverHandover?) -> Void)
    func cancelExec()
}

extension FailoverService: FailoverControl {}

/// How a failover thread is started.
package typealias FailoverFactory =
    @Sendable (
        FailoverSettings, FailoverOptions, PollLoop.Poster, FailoverHandover?,
        @escaping @Sendable (FailoverEvent) -> Void
    ) throws(SystemError) -> any FailoverControl
