internal import CEdge
internal import Foundation

/// How to start a program.
package struct ProcessOptions: Sendable {
    /// Added to the test's own environment.
    package var environment: [String: String] = [:]
    /// Run as this user (by `setpriv`), with that user's groups only and no capabilities.
    package var user: String?
    /// Run inside this network namespace (by `ip netns exec`).
    package var namespace: String?
    package var workingDirectory: String?
    /// SIGKILL for the program when the test process dies, however it does.
    package var diesWithTests = true

    package init() {}

    package init(
        environment: [String: String] = [:], user: String? = nil, namespace: String? = nil,
        workingDirectory: String? = nil
    ) {
        self.environment = environment
        self.user = user
        self.namespace = namespace
        self.workingDirectory = workingDirectory
    }
}

/// How a process ended.
package enum ProcessExit: Sendable, Equatable {
    case code(Int32)
    case signal(Int32)
}

/// A real program under test, in a process group of its own; what it prints can be read while it
/// runs. It stays a zombie until `stop()` or deinit, so its pid cannot become another's. Any
/// thread may use it.
package final class RunningProcess: @unchecked Sendable {
    // Sendable: `state` is guarded by `condition`; the rest is constant.
    package let pid: Int32
    package let name: String
    private let output = OutputBuffer()
    private let errors = OutputBuffer()
    private let condition = NSCondition()
    private var exit: ProcessExit?
    private var isReaped = false

    /// Starts `path` (absolute, or looked up in PATH).
    package init(
        _ path: String, _ arguments: [String] = [], _ options: ProcessOptions = .init()
    ) throws {
        name = (path as NSString).lastPathComponent
        var command: [String] = []
        if let namespace = options.namespace { command += ["ip", "netns", "exec", namespace] }
        if options.user != nil || options.diesWithTests {
            command.append("setpriv")
            if options.diesWithTests { command += ["--pdeathsig", "KILL"] }
            if let user = options.user {
                guard let entry = getpwnam(user) else { throw KitError("no user \(user)") }
                command += ["--reuid", user, "--regid", "\(entry.pointee.pw_gid)"]
                command += ["--init-groups"]
                command += ["--inh-caps=-all"]
            }
        }
        command += [path] + arguments
        let outputPipe = try Pipe.make()
        let errorPipe = try Pipe.make()
        let line = command
        defer {
            close(outputPipe.write)
            close(errorPipe.write)
        }
        do {
            pid = try Spawner.shared.run {
                try spawn(line, options, output: outputPipe.write, errors: errorPipe.write)
            }
        } catch {
            close(outputPipe.read)
            close(errorPipe.read)
            throw error
        }
        let reader = Reader(pid, output, errors)
        Thread.detachNewThread { [weak self] in
            reader.run(outputPipe.read, errorPipe.read) { self?.ended($0) }
        }
    }

    deinit { stop() }

    // MARK: Life

    /// Sends a signal to the process itself, not to its children.
    package func signal(_ number: Int32) {
        condition.lock()
        defer { condition.unlock() }
        if !isReaped { kill(pid, number) }
    }

    /// Waits for the end. nil: still running.
    package func waitForExit(within span: Duration = patience) -> ProcessExit? {
        let deadline = Date(timeIntervalSinceNow: span.seconds)
        condition.lock()
        defer { condition.unlock() }
        while exit == nil {
            if !condition.wait(until: deadline) { return exit }
        }
        return exit
    }

    /// SIGTERM, and SIGKILL if that took longer than `grace`; then the whole group is killed and
    /// the process reaped.
    @discardableResult
    package func terminate(grace: Duration = .seconds(5)) -> ProcessExit? {
        signal(SIGTERM)
        _ = waitForExit(within: grace)
        return stop()
    }

    /// SIGKILL to the whole group at once, then reaps. Harmless when called again.
    @discardableResult
    package func stop() -> ProcessExit? {
        condition.lock()
        defer { condition.unlock() }
        guard !isReaped else { return exit }
        // The leader, a zombie at most, still owns the number: this cannot hit a stranger.
        kill(-pid, SIGKILL)
        kill(pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        isReaped = true
        exit = exit ?? ProcessExit(status: status)
        condition.broadcast()
        return exit
    }

    package var isRunning: Bool {
        condition.lock()
        defer { condition.unlock() }
        return exit == nil
    }

    package var exitStatus: ProcessExit? {
        condition.lock()
        defer { condition.unlock() }
        return exit
    }

    private func ended(_ how: ProcessExit) {
        condition.lock()
        exit = exit ?? how
        condition.broadcast()
        condition.unlock()
    }

    // MARK: Output

    package var standardOutput: String { output.text }
    package var standardError: String { errors.text }

    /// A place in the output, to wait for what comes after it.
    package struct OutputMark: Sendable {
        let output: Int
        let errors: Int
        package static let start = OutputMark(output: 0, errors: 0)
    }

    package var mark: OutputMark { OutputMark(output: output.end, errors: errors.end) }

    /// Which stream to look at.
    package enum Stream: Sendable { case output, errors }

    /// The first line at or after `mark` that contains `needle`.
    ///
    /// - Throws: `KitError` with the last lines when it did not come in time or the process ended.
    @discardableResult
    package func waitForLine(
        containing needle: String, within span: Duration = patience,
        on stream: Stream = .errors, after mark: OutputMark = .start
    ) throws -> String {
        let deadline = Date(timeIntervalSinceNow: span.seconds)
        let buffer = stream == .output ? output : errors
        let start = stream == .output ? mark.output : mark.errors
        if let line = buffer.line(containing: needle, from: start, until: deadline) { return line }
        let tail = (standardOutput + standardError).split(separator: "\n").suffix(20)
        let fate = exitStatus.map { "ended with \($0)" } ?? "runs"
        throw KitError(
            "\(name) (pid \(pid), \(fate)) printed no line with “\(needle)” within \(span):\n"
                + tail.joined(separator: "\n"))
    }

    /// Waits for the end and returns standard output; for short tools.
    package static func run(
        _ path: String, _ arguments: [String] = [], _ options: ProcessOptions = .init(),
        within span: Duration = .seconds(20)
    ) throws -> (exit: ProcessExit, output: String, errors: String) {
        let process = try RunningProcess(path, arguments, options)
        defer { process.stop() }
        guard let exit = process.waitForExit(within: span) else {
            throw KitError("\(path) \(arguments.joined(separator: " ")) took over \(span)")
        }
        return (exit, process.standardOutput, process.standardError)
    }
}

extension ProcessExit {
    init(status: Int32) {
        let number = ce_wait_status_signal(status)
        self = number == 0 ? .code(ce_wait_status_code(status)) : .signal(number)
    }
}

extension Duration {
    /// For Foundation's clocks.
    package var seconds: Double { Double(nanosecondsSigned) / 1e9 }

    private var nanosecondsSigned: Int64 {
        let (whole, attoseconds) = components
        return whole * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}

// MARK: - Spawning

/// The one thread that spawns: `PR_SET_PDEATHSIG` follows the parent *thread*, and those of the
/// test library come and go. This one ends with the process.
private final class Spawner: @unchecked Sendable {
    // Sendable: `jobs` is guarded by `condition`.
    static let shared = Spawner()
    private let condition = NSCondition()
    private var jobs: [@Sendable () -> Void] = []

    private init() {
        Thread.detachNewThread { [unowned self] in
            while true { next()() }
        }
    }

    private func next() -> @Sendable () -> Void {
        condition.lock()
        defer { condition.unlock() }
        while jobs.isEmpty { condition.wait() }
        return jobs.removeFirst()
    }

    func run(_ body: @escaping @Sendable () throws -> pid_t) throws -> pid_t {
        let done = DispatchSemaphore(value: 0)
        let slot = Slot()
        condition.lock()
        jobs.append {
            slot.result = Result { try body() }
            done.signal()
        }
        condition.signal()
        condition.unlock()
        done.wait()
        return try slot.result.get()
    }

    private final class Slot: @unchecked Sendable {
        // Sendable: written before the semaphore is signalled, read after it was waited for.
        var result: Result<pid_t, any Error> = .failure(KitError("not run"))
    }
}

private struct Pipe {
    let read: Int32
    let write: Int32

    static func make() throws -> Pipe {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw KitError.system("pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return Pipe(read: ends[0], write: ends[1])
    }
}

/// Two of glibc's functions that its headers show to _GNU_SOURCE only.
private struct HiddenSpawnActions: Sendable {
    typealias Actions = UnsafeMutablePointer<posix_spawn_file_actions_t>
    let closeFrom: (@convention(c) (Actions, Int32) -> Int32)?
    let changeDirectory: (@convention(c) (Actions, UnsafePointer<CChar>) -> Int32)?

    init() {
        let program = dlopen(nil, RTLD_NOW)
        closeFrom = dlsym(program, "posix_spawn_file_actions_addclosefrom_np").map {
            unsafeBitCast($0, to: (@convention(c) (Actions, Int32) -> Int32).self)
        }
        changeDirectory = dlsym(program, "posix_spawn_file_actions_addchdir_np").map {
            unsafeBitCast(
                $0, to: (@convention(c) (Actions, UnsafePointer<CChar>) -> Int32).self)
        }
    }
}

private let hidden = HiddenSpawnActions()

private func spawn(
    _ command: [String], _ options: ProcessOptions, output: Int32, errors: Int32
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    _ = hidden.closeFrom?(&actions, 3)
    if let directory = options.workingDirectory {
        _ = hidden.changeDirectory?(&actions, directory)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(
        &attributes,
        Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    posix_spawnattr_setpgroup(&attributes, 0)
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)

    let environment = ProcessInfo.processInfo.environment
        .merging(options.environment) { $1 }.map { "\($0)=\($1)" }
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
    defer { for pointer in arguments + variables { free(pointer) } }
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, &variables)
    guard result == 0 else { throw KitError.system("start \(command[0])", result) }
    return pid
}

/// The thread that empties both pipes and sees the end.
private final class Reader: Sendable {
    private let pid: pid_t
    private let output: OutputBuffer
    private let errors: OutputBuffer

    init(_ pid: pid_t, _ output: OutputBuffer, _ errors: OutputBuffer) {
        self.pid = pid
        self.output = output
        self.errors = errors
    }

    /// Ends when the process has: a grandchild that keeps the pipe open does not hold it up, but
    /// is still read for as long as it writes.
    func run(_ outputEnd: Int32, _ errorEnd: Int32, ended: (ProcessExit) -> Void) {
        let watch = ce_pidfd_open(pid)
        var polled = [
            pollfd(fd: outputEnd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: errorEnd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: watch, events: Int16(POLLIN), revents: 0),
        ]
        var piece = [UInt8](repeating: 0, count: 65_536)
        while polled.contains(where: { $0.fd >= 0 }) {
            guard poll(&polled, 3, -1) >= 0 || errno == EINTR else { break }
            for (index, buffer) in [output, errors].enumerated() where polled[index].revents != 0 {
                let count = read(polled[index].fd, &piece, piece.count)
                if count > 0 {
                    buffer.append(piece[..<count])
                } else if count == 0 || errno != EINTR {
                    close(polled[index].fd)
                    polled[index].fd = -1
                    buffer.finish()
                }
            }
            // Output first: whoever sees the end has also seen the last words.
            let isQuiet = polled[0].revents == 0 && polled[1].revents == 0
            if polled[2].fd >= 0, polled[2].revents != 0, isQuiet {
                var information = siginfo_t()
                if waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT | WNOHANG) == 0 {
                    ended(ProcessExit(information))
                }
                close(watch)
                polled[2].fd = -1
            }
        }
    }
}

extension ProcessExit {
    /// From waitid(2): `si_code` 1 is CLD_EXITED, others end by a signal.
    fileprivate init(_ information: siginfo_t) {
        let status = withUnsafeBytes(of: information) {
            // si_status lies behind signo, errno, code, padding, pid and uid on 64-bit Linux.
            $0.load(fromByteOffset: 24, as: Int32.self)
        }
        self = information.si_code == 1 ? .code(status) : .signal(status)
    }
}
