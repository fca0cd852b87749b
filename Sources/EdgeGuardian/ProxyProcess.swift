internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// The running proxy: its process, its end of the channel, and what happens to it. Lives until the
/// process has been waited for.
final class ProxyProcess {
    /// What the kernel tells about it.
    enum Change {
        case died(SupervisorMachine.Exit)
        case stopped
        case continued
    }

    let processID: Int32
    private let loop: PollLoop
    private let descriptor: Int32
    private let changed: (Change) -> Void
    private var isDead = false

    /// The descriptor the proxy finds its channel at.
    static let channelDescriptor: Int32 = 3
    /// What the proxy sees of our environment; NOTIFY_SOCKET is not for it. The last ones mean
    /// something to builds with a sanitizer only.
    private static let environment = [
        "PATH", "LANG", "TZ", "JOURNAL_STREAM", "SWIFT_BACKTRACE", "ASAN_OPTIONS", "LSAN_OPTIONS",
        "TSAN_OPTIONS",
    ]

    /// Starts `executable` with `channel` at descriptor 3 and standard error, nothing else, in a
    /// process group of its own: an interrupt from the terminal is ours alone.
    ///
    /// - Throws: the errno of posix_spawn or pidfd_open.
    init(
        executable: String, arguments: [String], channel: Int32, loop: PollLoop,
        changed: @escaping (Change) -> Void
    ) throws(SystemError) {
        processID = try Self.spawn(executable, arguments, channel)
        self.loop = loop
        self.changed = changed
        descriptor = ce_pidfd_open(processID)
        guard descriptor >= 0 else {
            let error = SystemError(errnoOf: "pidfd_open")
            // Our deinit ends the process.
            throw error
        }
        try loop.watch(descriptor, events: .readable) { [weak self] _ in self?.wait() }
    }

    /// Takes over a child that this process has had as another program.
    init(
        resuming processID: Int32, loop: PollLoop, changed: @escaping (Change) -> Void
    ) throws(SystemError) {
        self.processID = processID
        self.loop = loop
        self.changed = changed
        descriptor = ce_pidfd_open(processID)
        guard descriptor >= 0 else {
            let error = SystemError(errnoOf: "pidfd_open")
            throw error
        }
        try loop.watch(descriptor, events: .readable) { [weak self] _ in self?.wait() }
    }

    deinit {
        loop.unwatch(descriptor)
        if !isDead {
            // Nobody supervises it any more; a zombie would stay for as long as we run.
            Glibc.kill(processID, SIGKILL)
            waitpid(processID, nil, 0)
        }
        if descriptor >= 0 { close(descriptor) }
    }

    /// No effect if it is dead: its number may be another process's by now.
    func kill(_ signal: Int32) {
        guard !isDead else { return }
        _ = ce_pidfd_send_signal(descriptor, signal)
    }

    /// Hears what the kernel has to say; called when the pidfd is readable and on SIGCHLD.
    func wait() {
        var status: Int32 = 0
        let options = Int32(WNOHANG | WUNTRACED | WCONTINUED)
        while !isDead, waitpid(processID, &status, options) == processID {
            if ce_wait_status_stopped(status) != 0 {
                changed(.stopped)
            } else if status == 0xFFFF {
                changed(.continued)
            } else {
                isDead = true
                loop.unwatch(descriptor)
                let signal = ce_wait_status_signal(status)
                changed(.died(signal != 0 ? .signal(signal) : .code(ce_wait_status_code(status))))
            }
        }
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], _ channel: Int32
    ) throws(SystemError) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, channel, channelDescriptor)
        ce_spawn_close_from(&actions, channelDescriptor + 1)

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

        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            environment.compactMap { name in
                getenv(name).map { strdup("\(name)=\(String(cString: $0))") }
            } + [nil]
        defer { for pointer in pointers + variables { free(pointer) } }
        var processID: pid_t = 0
        let code = posix_spawn(
            &processID, executable, &actions, &attributes, &pointers, &variables)
        guard code == 0 else { throw SystemError("posix_spawn", code: code, subject: executable) }
        return processID
    }
}
