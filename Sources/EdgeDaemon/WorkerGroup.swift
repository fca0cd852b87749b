internal import CEdge
internal import EdgeCore
internal import EdgeProxy
internal import EdgeRing
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc
internal import Synchronization

/// The worker threads and their mailboxes. Control thread; the threads themselves only see what
/// they are given at the start.
final class WorkerGroup {
    /// Why a worker did not start.
    struct StartFailure: Error, Sendable {
        let text: String
        /// The process's exit code: 71 for what the system lacks.
        let code: Int32
    }

    /// What happens to a worker, in the order it happens, on the loop's thread.
    enum Event: Sendable {
        case started(Int)
        case notStarted(Int, StartFailure)
        case worker(WorkerEvent)
    }

    private(set) var mailboxes: [Mailbox] = []
    private let board: SharedBoard
    private let report: @Sendable (Event) -> Void

    /// - Parameter report: called on worker threads.
    init(board: SharedBoard, report: @escaping @Sendable (Event) -> Void) {
        self.board = board
        self.report = report
    }

    /// Starts one thread per set-up; each reports `started` or `notStarted`.
    func start(_ setups: [Worker.Setup], snapshot: RuntimeSnapshot) throws(SystemError) {
        for setup in setups {
            guard let mailbox = Mailbox() else { throw SystemError(errnoOf: "eventfd") }
            mailboxes.append(mailbox)
            let start = Start(
                setup: setup, mailbox: mailbox, snapshot: snapshot, board: board, report: report)
            let argument = Unmanaged.passRetained(start)
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { raw in
                    if let raw {
                        let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                        CrashReport.withSignalStack { start.run() }
                    }
                    return nil
                }, argument.toOpaque())
            guard code == 0 else {
                argument.release()
                throw SystemError("pthread_create", code: code)
            }
            pthread_detach(thread)
        }
    }

    /// - Parameter worker: 0…
    func post(_ command: WorkerCommand, to worker: Int) { mailboxes[worker].post(command) }

    func post(_ command: WorkerCommand) {
        for mailbox in mailboxes { mailbox.post(command) }
    }

    /// What a thread needs to begin.
    private final class Start: @unchecked Sendable {
        // Sendable: handed over whole to one thread, which is the only one to use it.
        let setup: Worker.Setup
        let mailbox: Mailbox
        let snapshot: RuntimeSnapshot
        let board: SharedBoard
        let report: @Sendable (Event) -> Void

        init(
            setup: Worker.Setup, mailbox: Mailbox, snapshot: RuntimeSnapshot, board: SharedBoard,
            report: @escaping @Sendable (Event) -> Void
        ) {
            self.setup = setup
            self.mailbox = mailbox
            self.snapshot = snapshot
            self.board = board
            self.report = report
        }

        /// The whole life of a worker thread.
        func run() {
            _ = ce_set_thread_name("worker-\(setup.index)")
            OpenSSLMemory.attachThread(setup.index)
            do {
                let ring = try Ring()
                let report = self.report
                let worker = try Worker(
                    setup, ring: ring, block: board.block(setup.index), mailbox: mailbox,
                    snapshot: snapshot, now: Instant.now(), report: { report(.worker($0)) })
                report(.started(setup.index))
                worker.run()
            } catch let error as RingError {
                report(.notStarted(setup.index, StartFailure(text: "\(error)", code: 71)))
            } catch {
                report(.notStarted(setup.index, StartFailure(text: "\(error)", code: 71)))
            }
        }
    }
}
