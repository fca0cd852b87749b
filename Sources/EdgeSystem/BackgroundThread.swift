internal import Glibc

/// A thread for one piece of work that may hang, such as a write to a disk. Nobody waits for it.
package enum BackgroundThread {
    private final class Job: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` once, on a thread of its own.
    ///
    /// - Throws: if there is no thread for it (EAGAIN): `body` is not run.
    package static func start(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(Job(body))
        let code = pthread_create(
            &thread, nil,
            { context in
                if let context {
                    let job = Unmanaged<Job>.fromOpaque(context).takeRetainedValue()
                    CrashReport.withSignalStack(job.body)
                }
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw SystemError("pthread_create", code: code)
        }
        pthread_detach(thread)
    }
}
