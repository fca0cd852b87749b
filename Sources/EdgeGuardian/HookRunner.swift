internal import CEdge
internal import EdgeCore
package import EdgeSystem
internal import Glibc

/// Runs the operator's program after changes of state: on the guardian's loop, never waited for,
/// one at a time, in the order of the changes. Its environment is `PATH`, its output is the log's,
/// and it has no influence on what the daemon does.
package final class HookRunner {
    /// Instance, state and cause.
    package struct Call: Equatable, Sendable {
        package let instance: String
        package let state: String
        package let cause: String
        package init(instance: String, state: String, cause: String) {
            self.instance = instance
            self.state = state
            self.cause = cause
        }
    }

    /// Calls that wait; the oldest is dropped for one more, as the newest say how things are.
    package static let waitingMax = 32
    package static let deadline = Duration.seconds(30)
    private static let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// Nil: nothing is run.
    package var program: String?
    package private(set) var waiting: [Call] = []
    private var running: Run?
    private let loop: PollLoop
    private let span: Duration

    private final class Run {
        let processID: Int32
        let descriptor: Int32
        let call: Call
        var timer: TimerID?
        var isLate = false

        init(processID: Int32, descriptor: Int32, call: Call) {
            self.processID = processID
            self.descriptor = descriptor
            self.call = call
        }
    }

    package init(loop: PollLoop, deadline span: Duration = deadline) {
        self.loop = loop
        self.span = span
    }

    deinit {
        guard let running else { return }
        loop.unwatch(running.descriptor)
        end(running)
        waitpid(running.processID, nil, 0)
        close(running.descriptor)
    }

    package var isIdle: Bool { running == nil && waiting.isEmpty }

    package func run(_ call: Call) {
        guard program != nil else { return }
        if waiting.count == Self.waitingMax {
            Log.warning("failover.on_change: a call is dropped: \(waiting[0].state)")
            waiting.removeFirst()
        }
        waiting.append(call)
        next()
    }

    /// After SIGCHLD.
    package func wait() {
        guard let running else { return }
        var status: Int32 = 0
        guard waitpid(running.processID, &status, Int32(WNOHANG)) == running.processID else {
            return
        }
        loop.unwatch(running.descriptor)
        if let timer = running.timer { loop.cancel(timer) }
        close(running.descriptor)
        self.running = nil
        let signal = ce_wait_status_signal(status)
        let code = ce_wait_status_code(status)
        if running.isLate {
            Log.error("failover.on_change: \(running.call.state): ended after \(span)")
        } else if signal != 0 || code != 0 {
            Log.error(
                "failover.on_change: \(running.call.state): "
                    + (signal != 0 ? "signal \(signal)" : "exit code \(code)"))
        }
        next()
    }

    private func next() {
        guard running == nil, let program, !waiting.isEmpty else { return }
        let call = waiting.removeFirst()
        if let problem = OwnerOnlyFile.problem(ofProgram: program) {
            Log.error("failover.on_change is not run: \(problem)")
            return next()
        }
        do throws(SystemError) {
            let processID = try Self.spawn(program, call)
            let descriptor = ce_pidfd_open(processID)
            guard descriptor >= 0 else {
                let error = SystemError(errnoOf: "pidfd_open")
                kill(processID, SIGKILL)
                waitpid(processID, nil, 0)
                throw error
            }
            let run = Run(processID: processID, descriptor: descriptor, call: call)
            running = run
            run.timer = loop.schedule(after: span) { [weak self, weak run] in
                guard let self, let run, self.running === run else { return }
                run.isLate = true
                self.end(run)
            }
            try loop.watch(descriptor, events: .readable) { [weak self] _ in self?.wait() }
        } catch {
            Log.error("failover.on_change: \(error)")
            if running == nil { next() }
        }
    }

    /// The program, wherever it has gone, and what it has started and not taken out of its group.
    private func end(_ run: Run) {
        kill(-run.processID, SIGKILL)
        kill(run.processID, SIGKILL)
    }

    private static func spawn(_ program: String, _ call: Call) throws(SystemError) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 2, 1)
        ce_spawn_close_from(&actions, 3)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let arguments: [String] = [program, call.instance, call.state, call.cause]
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = [strdup(path), nil]
        defer { for word in words + variables { free(word) } }
        var processID: pid_t = 0
        let code = posix_spawn(&processID, program, &actions, &attributes, &words, &variables)
        guard code == 0 else { throw SystemError("posix_spawn", code: code, subject: program) }
        return processID
    }
}
