internal import CEdge
package import EdgeCore
package import EdgeLimits
package import EdgeUpstream
internal import Glibc
internal import Synchronization

/// A listening socket of one worker's. It belongs to the control thread.
package struct ListeningSocket: Sendable, Equatable {
    /// The listener's number in the snapshot.
    package let listener: Int
    package let descriptor: Int32

    package init(listener: Int, descriptor: Int32) {
        self.listener = listener
        self.descriptor = descriptor
    }
}

/// What the control thread tells a worker.
package enum WorkerCommand: Sendable {
    /// Use this from now on.
    case apply(RuntimeSnapshot)
    /// These sockets are served from now on, and those of `keeping` as they were. What waits on
    /// any other is accepted first; then it is reported as `left`.
    case listen([ListeningSocket], keeping: [Int32])
    /// Begin (or begin again) to accept.
    case serve
    /// Accept what is queued and then no more; report `drained`.
    case stopAccepting
    /// Close idle connections now and all others after their answer; leave the loop when the last
    /// is gone or at the deadline. `isPatient`: idle ones may send a last request first, in half of
    /// the time.
    case drain(until: Instant, isPatient: Bool = false)
    /// Tell clients to go after their answer (true), or no longer. New ones are served.
    case dismissClients(Bool)
    /// From now on say here what limits have admitted; nil: say it no more.
    case tellAdmitted(AdmittedRing?)
    /// Report `counted`.
    case countRequests
    /// Leave the loop now.
    case stop
}

/// What a worker tells the control thread, on the control thread's own queue.
package enum WorkerEvent: Sendable {
    case applied(worker: Int, epoch: UInt64)
    /// The socket is no longer used: it may be closed.
    case left(worker: Int, descriptor: Int32)
    /// Requests under way, by the row of their site (`TrafficTable.site`).
    case counted(worker: Int, [Int32: Int])
    /// There is something in the worker's `AdmittedRing` that was empty.
    case admitted(worker: Int)
    /// Nothing more is accepted.
    case drained(worker: Int)
    case stopped(worker: Int)
    /// The ring failed; the worker is gone and the process should be replaced.
    case failed(worker: Int, reason: String)
    /// A connect to a member failed: its addresses may be stale.
    case connectFailed(upstream: String)
    /// Traffic has shown something of a member that calls for a verdict.
    case observed(upstream: String, address: SocketAddress, MemberObservation)
    /// What traffic has shown of an upstream's members in the last second.
    case summarised(upstream: String, [MemberSummary])
    /// What limits have done since the last word.
    case limited(LimitNews)
}

/// Commands on their way to a worker: a locked list and an eventfd that wakes the ring. Cold path.
package final class Mailbox: Sendable {
    let descriptor: Int32
    private let commands = Mutex<[WorkerCommand]>([])

    /// - Returns: nil if there is no descriptor left.
    package init?() {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Any thread.
    package func post(_ command: WorkerCommand) {
        commands.withLock { $0.append(command) }
        var one: UInt64 = 1
        // Fails only if the counter is full, and then the worker has been woken already.
        _ = write(descriptor, &one, 8)
    }

    /// The worker's thread.
    func takeAll() -> [WorkerCommand] {
        commands.withLock {
            let all = $0
            $0.removeAll()
            return all
        }
    }
}
