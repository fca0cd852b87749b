internal import CEdge
internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeFailover
package import EdgeSystem
internal import Glibc

package struct GuardianOptions: Sendable {
    package var configPath: String
    /// Which of the configuration's nodes this is, if it was said; for the programs we start.
    package var node: String?
    /// The program that is the proxy.
    package var executable: String
    /// Its name and first arguments; user and group are added.
    package var arguments: [String]
    /// False in tests, which deliver signals by call.
    package var takesSignals: Bool
    /// The file that an upgrade starts: what is installed where this program was.
    package var installedProgram = InstalledProgram.path
    /// After an upgrade the guardian itself becomes the new program.
    package var becomesSuccessor = true
    /// False: failover is refused.
    package var canMoveAddresses = Privileges.canMoveAddresses
    /// Starts what moves them.
    package var failover: FailoverFactory = FailoverService.factory

    package init(
        configPath: String, executable: String = "/proc/self/exe",
        arguments: [String] = ["edged", "--proxy"], takesSignals: Bool = true
    ) {
        self.configPath = configPath
        self.executable = executable
        self.arguments = arguments
        self.takesSignals = takesSignals
    }
}

/// The privileged parent process: owns the listening sockets and the admin socket, and supervises
/// the proxy. Sees no byte of a client and no key.
package final class Guardian {
    private let options: GuardianOptions
    private let source: any ConfigurationSource

    package init(options: GuardianOptions, source: any ConfigurationSource) {
        self.options = options
        self.source = source
    }

    /// Runs until it is told to stop.
    ///
    /// - Returns: the process's exit code: 0 after TERM or INT, 71 a facility of the system is
    ///   missing, 77 permission, 78 configuration, else what the first proxy ended with.
    ///
    /// - Parameter successor: the descriptor of what this process had as another program.
    package func run(successor: Int32? = nil) -> Int32 {
        Log.configure(process: "edged-guardian")
        Privileges.raiseDescriptorLimit()
        let service: GuardianService
        do throws(StartFailure) {
            if let successor {
                service = try resume(successor)
            } else {
                // Before anything opens a descriptor of its own.
                let stored = StoredListeners(InheritedDescriptors.take())
                service = try start(stored: stored, manager: ServiceNotify())
            }
        } catch {
            for line in error.lines { Log.error(line) }
            return error.code
        }
        while true {
            if let code = service.exitCode { return code }
            service.loop.runOnce(maxWait: nil)
        }
    }

    /// Why the guardian itself did not start.
    package struct StartFailure: Error {
        package let code: Int32
        package let lines: [String]

        init(_ why: String) {
            code = 70
            lines = ["this program cannot go on for the one before: \(why)"]
        }

        init(_ error: SystemError) {
            code = error.code == EACCES || error.code == EPERM ? 77 : 71
            lines = ["\(error)"]
        }

        /// Without the rights that failover takes.
        init(unable configuration: String) {
            code = 77
            lines = ["\(configuration): \(FailoverKeeper.rightsMissing)"]
        }

        init(_ error: ConfigurationRefusal) {
            code = 78
            lines = error.diagnostics
        }
    }

    /// Whether this program could go on from what is behind the descriptor; what `run` would do
    /// with it is not tried.
    package static func readSuccession(
        _ descriptor: Int32
    ) throws(StartFailure) -> Succession {
        do {
            guard let bytes = try Descriptor.readAll(descriptor, byteCountMax: 1 << 22) else {
                throw StartFailure("it is too long")
            }
            return try Succession(json: try JSONValue(parsing: bytes))
        } catch let error as StartFailure {
            throw error
        } catch {
            throw StartFailure("\(error)")
        }
    }

    /// Whether this program can do what the one before has done: the rights that it has come from
    /// its file as well. What failover needs of files is carried, or looked at before it is used.
    package static func checkSuccession(
        _ descriptor: Int32, canMoveAddresses: Bool = Privileges.canMoveAddresses
    ) throws(StartFailure) {
        let succession = try readSuccession(descriptor)
        guard succession.failover == nil || canMoveAddresses else {
            throw StartFailure(FailoverKeeper.rightsMissing)
        }
    }

    private func resume(_ descriptor: Int32) throws(StartFailure) -> GuardianService {
        let succession = try Self.readSuccession(descriptor)
        Glibc.close(descriptor)
        let loaded: LoadedConfiguration
        do throws(ConfigurationRefusal) {
            loaded = try source.resume(descriptor: succession.configuration)
        } catch { throw StartFailure(error) }
        let secret = carriedSecret(succession, loaded)
        do throws(SystemError) {
            for number in succession.descriptors where number != succession.secret {
                try Descriptor.setCloseOnExec(number)
            }
            let loop = try PollLoop()
            let service = GuardianService(
                options: options, source: source, loaded: loaded, loop: loop,
                property: try GuardianProperty(succession), manager: ServiceNotify())
            service.store.resume(
                succession.listeners, service.property.places.current)
            try service.start(succession, secret: secret)
            return service
        } catch { throw StartFailure(error) }
    }

    /// Reads the configuration, binds everything and starts the first proxy.
    ///
    /// - Parameters:
    ///   - stored: what a former guardian has left; what is not used of it ends, all of it if this
    ///     throws.
    ///   - manager: who is told how we are, and keeps our sockets over a restart.
    package func start(
        stored: StoredListeners = .init(), manager: ServiceNotify? = nil
    ) throws(StartFailure) -> GuardianService {
        let loaded: LoadedConfiguration
        do throws(ConfigurationRefusal) {
            loaded = try source.read(path: options.configPath)
        } catch { throw StartFailure(error) }
        for warning in loaded.warnings { Log.warning(warning) }
        let secret = try secret(of: loaded)
        do throws(SystemError) {
            let loop = try PollLoop()
            let property = try GuardianProperty(
                configuration: loaded.configuration, stored: stored)
            let service = GuardianService(
                options: options, source: source, loaded: loaded, loop: loop, property: property,
                manager: manager)
            try service.start(secret: secret)
            return service
        } catch { throw StartFailure(error) }
    }

    /// What the thread was given by the program before. There is no way back to it: whatever is
    /// wrong with the operator's files by now is said, and refuses nothing.
    private func carriedSecret(_ succession: Succession, _ loaded: LoadedConfiguration) -> [UInt8]?
    {
        if let failover = loaded.configuration.failover {
            for problem in OwnerOnlyFile.problems(of: failover) { Log.error(problem) }
            if !options.canMoveAddresses { Log.error(FailoverKeeper.rightsMissing) }
        }
        return Self.secret(from: succession, loaded.configuration.failover)
    }

    /// - Returns: never nothing where there is to be something: what nobody knows authenticates
    ///   nobody.
    static func secret(
        from succession: Succession, _ failover: Configuration.Failover?
    ) -> [UInt8]? {
        var carried: [UInt8]?
        if let descriptor = succession.secret {
            let file = FileDescriptor(owning: descriptor)
            carried =
                (try? Descriptor.readAll(
                    file.raw, byteCountMax: OwnerOnlyFile.secretBytes.upperBound)) ?? nil
        }
        guard let failover, failover.secret != nil else { return nil }
        if let carried { return carried }
        // An older program's.
        if let bytes = (try? OwnerOnlyFile.secret(of: failover)) ?? nil { return bytes }
        return (0..<32).map { _ in UInt8.random(in: 0...255) }
    }

    /// Whether failover could begin, and with which secret.
    private func secret(of loaded: LoadedConfiguration) throws(StartFailure) -> [UInt8]? {
        guard let failover = loaded.configuration.failover else { return nil }
        guard options.canMoveAddresses else {
            throw StartFailure(unable: options.configPath)
        }
        let problems = OwnerOnlyFile.problems(of: failover)
        guard problems.isEmpty else {
            throw StartFailure(
                ConfigurationRefusal(problems.map { "\(options.configPath): \($0)" }))
        }
        do throws(ConfigurationRefusal) {
            return try OwnerOnlyFile.secret(of: failover)
        } catch { throw StartFailure(error) }
    }
}

/// What the guardian owns for life and lends to each proxy.
package final class GuardianProperty {
    package let workers: Int
    package let places: ListenerPlaces
    /// What was stored and is not used.
    package let refusals: [StoredListeners.Refusal]
    package let admin: UnixListener?
    package let board: SharedBoard
    let boardFile: FileDescriptor
    /// Memory for the proxies' ticket keys. It is never mapped here: what is in it is theirs.
    let ticketFile: FileDescriptor
    /// Memory for what clients have used up. Nor is this: its size alone is decided here.
    let limitFile: FileDescriptor

    init(configuration: Configuration, stored: StoredListeners) throws(SystemError) {
        workers = configuration.workers ?? Self.usableProcessors()
        places = try ListenerPlaces(configuration, workers: workers, stored: stored)
        stored.refuseRest()
        refusals = stored.refusals
        if let path = configuration.admin.socket {
            admin = try UnixListener(path: path, group: configuration.admin.group)
        } else {
            admin = nil
        }
        ticketFile = try MemoryFile.make(
            name: "edged-tickets", byteCount: TicketMemory.byteCount)
        limitFile = try Self.limitFile(configuration.rateLimits)
        boardFile = try MemoryFile.make(
            name: "edged-board", byteCount: SharedBoard.byteCount(workers: workers))
        do throws(SharedBoard.Failure) {
            board = try SharedBoard(descriptor: boardFile.raw, workers: workers, create: true)
        } catch { throw SystemError(errnoOf: "mmap") }
    }

    /// What this process had as another program.
    init(_ succession: Succession) throws(SystemError) {
        workers = succession.workers
        places = ListenerPlaces(
            current: succession.listeners.map { row in
                row.map { place in
                    ListenerPlaces.Place(
                        number: place.number, asked: place.asked,
                        group: ListenerGroup(
                            resuming: place.bound, sockets: place.sockets,
                            adoptedCount: place.adoptedCount))
                }
            }, leaving: [], workers: succession.workers)
        refusals = []
        admin = succession.admin.map { UnixListener(resuming: $0.path, socket: $0.socket) }
        ticketFile = FileDescriptor(owning: succession.tickets)
        if let limits = succession.limits {
            limitFile = FileDescriptor(owning: limits)
        } else {
            // An older program had none: what its proxies have counted was their own.
            limitFile = try Self.limitFile(Configuration.RateLimits())
        }
        boardFile = FileDescriptor(owning: succession.board)
        // The proxies could write to its head: what it says is ours to say.
        var status = stat()
        guard fstat(boardFile.raw, &status) == 0,
            Int(status.st_size) == SharedBoard.byteCount(workers: workers)
        else { throw SystemError("fstat", code: EINVAL, subject: "the board has another size") }
        do throws(SharedBoard.Failure) {
            board = try SharedBoard(descriptor: boardFile.raw, workers: workers, create: true)
        } catch { throw SystemError("mmap", code: EINVAL, subject: "the board: \(error)") }
    }

    /// Pages of it that nobody has touched cost nothing.
    private static func limitFile(
        _ limits: Configuration.RateLimits
    ) throws(SystemError) -> FileDescriptor {
        try MemoryFile.make(name: "edged-limits", byteCount: limits.memoryByteCount)
    }

    /// The listening addresses of the configuration in use.
    package var groups: [ListenerGroup] { places.groups }

    /// Processors this process may run on.
    private static func usableProcessors() -> Int {
        var mask = [UInt64](repeating: 0, count: 16)
        guard ce_getaffinity(0, &mask, mask.count * 8) > 0 else { return 1 }
        let count = mask.reduce(0) { $0 + $1.nonzeroBitCount }
        return min(max(count, 1), ProxyCommand.workersMax)
    }
}
