internal import CEdge
internal import EdgeCore
package import EdgeSystem
internal import Glibc
internal import Synchronization

/// The access log's file, a thread of its own that writes it, and a buffer per worker. Workers
/// never wait for the file: what finds its buffer full is dropped and counted, and a line in the
/// file says so.
///
/// One of these stands for one way of writing; a reload that changes it makes another, and this one
/// ends when every worker has left it and what they left is written.
package final class AccessLog: Sendable {
    /// Made by the configuration.
    package struct Settings: Sendable, Equatable {
        package let target: AccessLogFile.Target
        package let format: Format
        /// One in so many requests that went well has a line; from 1.
        package let sample: Int
        /// Per worker.
        package let bufferBytes: Int
        /// Queries are written: they may hold secrets.
        package let includesQuery: Bool

        package init(
            target: AccessLogFile.Target, format: Format = .json, sample: Int = 1,
            bufferBytes: Int, includesQuery: Bool
        ) {
            self.target = target
            self.format = format
            self.sample = sample
            self.bufferBytes = bufferBytes
            self.includesQuery = includesQuery
        }
    }

    /// What a line looks like.
    package enum Format: Sendable {
        case json
        /// HAProxy's `option httplog`, and `option tcplog` for what is passed on.
        case httplog
    }

    package let settings: Settings
    let buffers: [AccessLogBuffer]
    private let wake: Int32
    private let mustReopen = Atomic<Bool>(false)
    private let finished = Atomic<Bool>(false)
    /// The file until the thread takes it.
    private let file: Mutex<AccessLogFile?>

    /// Opens the file; nothing is written before `start`.
    package init(_ settings: Settings, workers: Int) throws(SystemError) {
        self.settings = settings
        let file = try AccessLogFile(settings.target)
        self.file = Mutex(file)
        wake = eventfd(0, Int32(EFD_CLOEXEC))
        guard wake >= 0 else { throw SystemError(errnoOf: "eventfd") }
        buffers = (0..<workers).map { _ in AccessLogBuffer(byteCount: settings.bufferBytes) }
    }

    deinit { close(wake) }

    /// Starts the thread. Once.
    package func start() throws(SystemError) {
        let argument = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                if let raw {
                    _ = ce_set_thread_name("access-log")
                    let log = Unmanaged<AccessLog>.fromOpaque(raw).takeRetainedValue()
                    CrashReport.withSignalStack { log.run() }
                }
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw SystemError("pthread_create", code: code)
        }
        pthread_detach(thread)
    }

    /// The file has been moved away: what comes next goes to a new one. Any thread.
    package func reopen() {
        mustReopen.store(true, ordering: .releasing)
        notify()
    }

    /// Every worker has left, and everything is written or counted as lost.
    package var isFinished: Bool { finished.load(ordering: .acquiring) }

    /// There is something to do. Any thread.
    func notify() {
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    // MARK: - The thread

    private func run() {
        guard let file = file.withLock({ $0.take() }) else { return }
        var writer = AccessLogWriter(file, buffers, settings.format)
        while true {
            // Read before the buffers: what was published by somebody who has left is not missed.
            let isLast = buffers.allSatisfy(\.hasLeft)
            writer.drain { self.mayWait() }
            if mustReopen.exchange(false, ordering: .acquiring) { writer.reopen() }
            if isLast { break }
            var count: UInt64 = 0
            while read(wake, &count, 8) < 0, errno == EINTR {}
        }
        finished.store(true, ordering: .releasing)
    }

    /// While the file has no room: for ever, but not for a log that nobody uses any more.
    private func mayWait() -> Bool { !buffers.allSatisfy(\.hasLeft) }
}
