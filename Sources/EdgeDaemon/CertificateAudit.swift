internal import CEdge
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc
internal import Synchronization

/// Checks certificates that were only indexed, on a thread of its own that yields to everything
/// else. One run at a time: a new one ends the one before. Control thread.
final class CertificateAudit {
    private var current: Run?

    /// - Parameter report: called on the audit's thread, once, unless the run is ended before: what
    ///   is wrong, and how many were checked. Not called if there is nothing to check.
    func begin(
        _ all: [CertificateEntry],
        report: @escaping @Sendable ([CertificateProblem], _ count: Int) -> Void
    ) {
        current?.end()
        current = nil
        let entries = all.filter { $0.verdict == .unchecked }
        guard !entries.isEmpty else { return }
        let run = Run(entries, report)
        do throws(SystemError) {
            try BackgroundThread.start { run.work() }
            current = run
        } catch {
            // Workers find out by themselves, on first use.
        }
    }

    private final class Run: Sendable {
        private let entries: [CertificateEntry]
        private let report: @Sendable ([CertificateProblem], Int) -> Void
        private let isEnded = Atomic<Bool>(false)

        init(
            _ entries: [CertificateEntry],
            _ report: @escaping @Sendable ([CertificateProblem], Int) -> Void
        ) {
            self.entries = entries
            self.report = report
        }

        func end() { isEnded.store(true, ordering: .relaxed) }

        func work() {
            _ = ce_set_thread_name("certificates")
            // Of this thread only; that is how Linux has it.
            _ = nice(19)
            let checker = CertificateChecker()
            var problems: [CertificateProblem] = []
            for entry in entries {
                guard !isEnded.load(ordering: .relaxed) else { return }
                if let problem = checker.problem(of: entry, depth: .key) {
                    problems.append(problem)
                }
            }
            report(problems, entries.count)
        }
    }
}
