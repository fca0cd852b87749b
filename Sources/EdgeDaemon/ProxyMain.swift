internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// The proxy process from its first instruction: gives up every right before it reads a byte, then
/// serves until the guardian, or its own failure, ends it.
enum ProxyMain {
    private static let channelDescriptor: Int32 = 3
    /// Kept to the end of the process, which tears nothing down: what nothing points to then is a
    /// leak. Written once, on the only thread there is by then.
    nonisolated(unsafe) private static var service: ProxyService?

    /// - Returns: the exit code, which the guardian passes on if this is its first proxy.
    static func run(user: String?, group: String?) -> Int32 {
        Log.configure(process: "edged-proxy")
        signal(SIGPIPE, SIG_IGN)
        // Signals are the guardian's business; it tells us over the channel.
        for number in [SIGHUP, SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
        CrashReport.install()
        OpenSSLMemory.install()
        // Threads may be in the middle of OpenSSL when the process ends.
        OPENSSL_init_crypto(CE_OPENSSL_INIT_NO_ATEXIT, nil)
        do throws(SystemError) {
            _ = Privileges.raiseDescriptorLimit()
            if let user, Privileges.canChangeUser {
                try Privileges.drop(user: user, group: group)
            } else {
                try Privileges.dropCapabilities()
            }
        } catch {
            Log.error("\(error)")
            return 77
        }
        guard fcntl(channelDescriptor, F_GETFD) >= 0 else {
            Log.error("--proxy is for the guardian: run edged -c FILE")
            return 64
        }
        do throws(SystemError) {
            return try serve()
        } catch {
            Log.error("\(error)")
            return 71
        }
    }

    private static func serve() throws(SystemError) -> Int32 {
        try Descriptor.setCloseOnExec(channelDescriptor)
        try Descriptor.setNonBlocking(channelDescriptor)
        let loop = try PollLoop()
        let service = ProxyService(loop: loop)
        Self.service = service
        service.channel = try SupervisorChannel(
            loop: loop, socket: FileDescriptor(owning: channelDescriptor),
            handlers: .init(
                received: { service.received($0, $1) },
                violated: { Log.error("guardian channel: \($0)") },
                closed: { service.guardianLost() }))
        while true {
            if let code = service.exitCode {
                // The last message must be out before the process is gone.
                loop.runOnce(maxWait: .milliseconds(0))
                return code
            }
            loop.runOnce(maxWait: .seconds(1))
        }
    }
}
