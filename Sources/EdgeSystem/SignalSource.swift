internal import CEdge
internal import EdgeCore
internal import Glibc

/// The signals the daemon answers to.
package enum DaemonSignal: Sendable, CaseIterable {
    case hangUp
    case terminate
    case interrupt
    case user1
    case user2
    case child

    package var number: Int32 {
        switch self {
        case .hangUp: SIGHUP
        case .terminate: SIGTERM
        case .interrupt: SIGINT
        case .user1: SIGUSR1
        case .user2: SIGUSR2
        case .child: SIGCHLD
        }
    }
}

/// Signals as events of a loop (signalfd).
package final class SignalSource {
    private let loop: PollLoop
    private let descriptor: FileDescriptor

    /// Blocks the daemon's signals in this thread and those it starts later, and ignores SIGPIPE.
    /// Call before the first thread is started, else a signal may take another way.
    ///
    /// - Parameter handler: runs on the loop; several of the same kind may arrive as one.
    package init(
        loop: PollLoop, handler: @escaping (DaemonSignal) -> Void
    ) throws(SystemError) {
        signal(SIGPIPE, SIG_IGN)
        var set = Self.daemonSignals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
        let fd = signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
        guard fd >= 0 else { throw SystemError(errnoOf: "signalfd") }
        self.loop = loop
        descriptor = FileDescriptor(owning: fd)
        try loop.watch(fd, events: .readable) { _ in
            var info = signalfd_siginfo()
            let size = MemoryLayout<signalfd_siginfo>.size
            while read(fd, &info, size) == size {
                let number = Int32(info.ssi_signo)
                if let signal = DaemonSignal.allCases.first(where: { $0.number == number }) {
                    handler(signal)
                }
            }
        }
    }

    deinit { loop.unwatch(descriptor.raw) }

    private static func daemonSignals() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in DaemonSignal.allCases { sigaddset(&set, signal.number) }
        return set
    }
}
