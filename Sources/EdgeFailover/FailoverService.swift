package import EdgeSystem
package import EdgeVRRP

/// What the guardian gives the failover thread beside the settings of the file.
package struct FailoverOptions: Sendable {
    /// Of both nodes' presence messages; nil: they are not authenticated.
    package var secret: [UInt8]?
    /// Further secrets with which they are believed: one is being replaced.
    package var acceptedSecrets: [[UInt8]]
    /// As presence tells it to the peer; at most 32 bytes.
    package var programVersion: String
    /// Of the configuration, the same on both nodes; 0: none.
    package var configurationFingerprint: UInt64

    package init(
        secret: [UInt8]? = nil, acceptedSecrets: [[UInt8]] = [], programVersion: String = "",
        configurationFingerprint: UInt64 = 0
    ) {
        self.secret = secret
        self.acceptedSecrets = acceptedSecrets
        self.programVersion = programVersion
        self.configurationFingerprint = configurationFingerprint
    }
}

/// The failover thread of the guardian, seen from other threads: it speaks VRRP, keeps the virtual
/// addresses and announces them. It has a loop, a priority and memory of its own, so that nothing
/// that the guardian does (parsing ten thousand sites, say) delays an advertisement; every call
/// here is a post, and what is answered is posted to the guardian's loop. The two share no lock
/// but those of the two queues.
///
///     let service = try FailoverService.start(
///         settings, options: options, home: loop.poster, handler: { event in … })
///     service.setReadiness(.all)          // listeners exist, certificates are loaded
///     service.setFitness(.fit)
///     …
///     service.stop { loop.stop() }
package final class FailoverService: Sendable {
    /// What `yield` came to.
    package enum YieldOutcome: Sendable, Equatable {
        /// A peer has the addresses.
        case moved
        /// Nobody took them: they are still here.
        case notMoved
        case refused(ElectionMachine.YieldRefusal)
        /// There is no such instance, or failover is stopping.
        case noSuchInstance
    }

    private let poster: PollLoop.Poster
    private let home: PollLoop.Poster
    private let box: Box

    private init(_ poster: PollLoop.Poster, _ home: PollLoop.Poster, _ box: Box) {
        self.poster = poster
        self.home = home
        self.box = box
    }

    /// Opens sockets, removes addresses that a crash of ours has left behind and begins to listen.
    /// Interfaces that do not exist are waited for. No address is put on before `setReadiness`.
    ///
    /// - Parameters:
    ///   - settings: checked (`FailoverSettings.check`).
    ///   - home: of the loop that `handler` and all answers run on.
    ///   - resuming: what this process had as another program. Then say also what was told to
    ///     it: who was master goes on at once.
    /// - Throws: EPERM without CAP_NET_ADMIN and CAP_NET_RAW; EMFILE and such.
    package static func start(
        _ settings: FailoverSettings, options: FailoverOptions, home: PollLoop.Poster,
        resuming handover: FailoverHandover? = nil,
        readiness: ElectionMachine.Readiness = [],
        standing: Standing = Standing(fitness: .unfit(.starting, answers: false)),
        handler: @escaping @Sendable (FailoverEvent) -> Void
    ) throws(SystemError) -> FailoverService {
        let loop = try PollLoop()
        let tell: @Sendable (FailoverEvent) -> Void = { event in home.post { handler(event) } }
        let driver = try FailoverDriver(
            settings: settings, options: options, loop: loop, readiness: readiness,
            standing: standing,
            tell: tell)
        let box = Box(driver)
        try BackgroundThread.start {
            box.driver?.run(resuming: handover)
            // Descriptors are closed on the thread that used them.
            box.driver = nil
        }
        return FailoverService(loop.poster, home, box)
    }

    // MARK: - What the guardian tells

    /// Other settings, and options: instances that are the same go on untouched, those that are
    /// gone give their addresses away first.
    package func apply(_ settings: FailoverSettings, options: FailoverOptions) {
        post { $0.apply(settings, options: options) }
    }

    /// What of this node's preparations is done. What was is not taken back.
    package func setReadiness(_ parts: ElectionMachine.Readiness) {
        post { $0.setReadiness(parts) }
    }

    /// How well this node serves. Tracked interfaces are looked after here.
    package func setFitness(_ fitness: Fitness) {
        post { $0.setFitness(fitness) }
    }

    /// Drained: the addresses go to a peer that is ready, and stay there.
    package func setMaintenance(_ isInMaintenance: Bool) {
        post { $0.setMaintenance(isInMaintenance) }
    }

    // MARK: - What it is asked for

    /// Gives the addresses of an instance, or of all, to a peer.
    ///
    /// - Parameters:
    ///   - isForced: also if no peer is known to be ready.
    ///   - completion: on the guardian's loop, an outcome per instance.
    package func yield(
        instance: String? = nil, isForced: Bool = false,
        _ completion: @escaping @Sendable ([(instance: String, outcome: YieldOutcome)]) -> Void
    ) {
        let home = home
        post { driver in
            driver.yield(instance: instance, isForced: isForced) { outcomes in
                home.post { completion(outcomes) }
            }
        }
    }

    /// - Parameter completion: on the guardian's loop.
    package func requestStatus(_ completion: @escaping @Sendable (FailoverStatus) -> Void) {
        let home = home
        post { driver in
            let status = driver.status
            home.post { completion(status) }
        }
    }

    // MARK: - The end

    /// Gives the addresses away, takes them off, and ends the thread.
    ///
    /// - Parameters:
    ///   - deadline: after so long they are taken off whoever has them.
    ///   - completion: on the guardian's loop, when no address is left and the thread is about to
    ///     end. Nothing is answered after that.
    package func stop(
        within deadline: Duration = .seconds(3), _ completion: @escaping @Sendable () -> Void
    ) {
        let home = home
        post { driver in
            driver.stop(within: deadline) { home.post(completion) }
        }
    }

    /// Says to peers that we will be silent for a while, and stops: addresses stay where they are.
    /// The descriptors in the answer are inherited by the next program.
    ///
    /// - Parameters:
    ///   - silence: how long the exec and the next program's start may take.
    ///   - completion: on the guardian's loop.
    package func prepareForExec(
        silence: Duration = .seconds(1),
        _ completion: @escaping @Sendable (FailoverHandover) -> Void
    ) {
        let home = home
        post { driver in
            driver.prepareForExec(silence: silence) { handover in
                home.post { completion(handover) }
            }
        }
    }

    /// There was no exec: goes on as before `prepareForExec`.
    package func cancelExec() {
        post { $0.cancelExec() }
    }

    // MARK: - The thread

    /// The driver, which only its thread touches.
    private final class Box: @unchecked Sendable {
        // Sendable: written before the thread is started, then by the thread alone.
        var driver: FailoverDriver?

        init(_ driver: FailoverDriver) { self.driver = driver }
    }

    /// After `stop` has completed there is nobody who would run it.
    private func post(_ body: @escaping @Sendable (FailoverDriver) -> Void) {
        let box = box
        poster.post {
            if let driver = box.driver { body(driver) }
        }
    }
}
