package import EdgeCore
package import EdgeSystem
package import EdgeUpstream

/// Asks members whether they work, on the control thread's loop: at most `concurrentMax` checks at
/// once, the others in the order they came. Each has one connection of its own, which is closed
/// with the verdict; TLS sessions are not resumed, so that every check sees the certificate.
///
/// When to ask whom is not decided here (`UpstreamHealth`).
package final class Checker {
    package typealias Completion = (CheckReport) -> Void

    /// Whom to ask what.
    package struct Target: Sendable {
        /// The member's; `policy.port` replaces its port.
        package let address: SocketAddress
        package let upstream: String
        package let policy: HealthPolicy
        /// Nil: plaintext.
        package let tls: CheckTLS?
        /// The connection begins with a PROXY header (version 2, LOCAL: it is nobody's).
        package let sendsProxyHeader: Bool

        package init(
            address: SocketAddress, upstream: String, policy: HealthPolicy, tls: CheckTLS?,
            sendsProxyHeader: Bool
        ) {
            self.address = address
            self.upstream = upstream
            self.policy = policy
            self.tls = tls
            self.sendsProxyHeader = sendsProxyHeader
        }
    }

    /// Connections at once; more checks wait, and their timeout starts when their turn has come.
    package static let concurrentMax = 64
    /// Checks that wait: one per member is usual. Those beyond it are inconclusive.
    package static let waitingMax = 8192

    private struct Job {
        let target: Target
        let completion: Completion
    }

    private let tools: CheckTools
    private var running: [UInt64: CheckConnection] = [:]
    /// From `firstWaiting` on.
    private var waiting: [Job] = []
    private var firstWaiting = 0
    private var lastNumber: UInt64 = 0
    private var isClosed = false

    /// - Parameter seed: for numbers that need only differ, such as HTTP/2's.
    package init(loop: PollLoop, seed: UInt64 = 1) {
        tools = CheckTools(loop: loop, seed: seed)
    }

    deinit { close() }

    package var runningCount: Int { running.count }
    package var waitingCount: Int { waiting.count - firstWaiting }

    /// Begins a check, now or when one of those under way has ended.
    ///
    /// - Parameter completion: called exactly once, never before this returns, at the latest by
    ///   `close` or when the checker goes. It may begin other checks and may close.
    package func check(_ target: Target, completion: @escaping Completion) {
        guard !isClosed, waitingCount < Self.waitingMax else {
            let reason = isClosed ? CheckReason.closed : "too many checks wait"
            tools.loop.schedule(at: tools.loop.now) { completion(.inconclusive(reason)) }
            return
        }
        waiting.append(Job(target: target, completion: completion))
        startWaiting()
    }

    /// Gives up all checks; those that come later are inconclusive. Harmless when called again.
    package func close() {
        isClosed = true
        let connections = running
        let jobs = waiting[firstWaiting...]
        running = [:]
        waiting = []
        firstWaiting = 0
        for connection in connections.values { connection.cancel() }
        for job in jobs { job.completion(.inconclusive(CheckReason.closed)) }
    }

    /// Drops contexts of TLS policies that no check has any more; to be called after a reload.
    package func keepClients(_ kept: [CheckTLS]) { tools.keepClients(kept) }

    private func startWaiting() {
        while running.count < Self.concurrentMax, firstWaiting < waiting.count {
            let job = waiting[firstWaiting]
            firstWaiting += 1
            if firstWaiting == waiting.count || firstWaiting == Self.concurrentMax {
                waiting.removeFirst(firstWaiting)
                firstWaiting = 0
            }
            start(job)
        }
    }

    private func start(_ job: Job) {
        lastNumber += 1
        let number = lastNumber
        let connection = CheckConnection(job.target, tools) { [weak self] report in
            self?.running[number] = nil
            job.completion(report)
            self?.startWaiting()
        }
        running[number] = connection
        connection.start()
    }
}
