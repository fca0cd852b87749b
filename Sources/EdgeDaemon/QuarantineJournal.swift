internal import EdgeCore
internal import EdgeTLS

/// What is said about files that cannot be used: each problem once, not before it has had its time
/// to end by itself, and once more when it has ended. No clock of its own.
struct QuarantineJournal {
    enum Word: Equatable {
        case quarantined(CertificateProblem)
        /// The file can be used again, or is gone.
        case ended(file: String)
    }

    private struct Entry {
        var problem: CertificateProblem
        let since: Instant
        var isTold: Bool
    }

    private let patience: Duration
    private var entries: [String: Entry] = [:]
    /// Problems that were told, since the process began, by their cause.
    private(set) var counts: [CertificateProblem.Cause: UInt64] = [:]

    /// - Parameter patience: for how long a file may be without its other half.
    init(patience: Duration) { self.patience = patience }

    /// With other patience; what is known stays.
    func with(patience: Duration) -> QuarantineJournal {
        var other = QuarantineJournal(patience: patience)
        other.entries = entries
        other.counts = counts
        return other
    }

    /// - Parameter problems: all that there are now.
    mutating func update(_ problems: [CertificateProblem], now: Instant) -> [Word] {
        var words: [Word] = []
        var gone = entries
        for problem in problems {
            let key = Self.key(problem)
            gone[key] = nil
            var entry = entries[key] ?? Entry(problem: problem, since: now, isTold: false)
            if entry.problem != problem {
                entry.problem = problem
                entry.isTold = false
            }
            let isDue = !problem.mayBeUnfinished || deadline(entry) <= now
            if !entry.isTold, isDue {
                entry.isTold = true
                counts[problem.cause, default: 0] += 1
                words.append(.quarantined(problem))
            }
            entries[key] = entry
        }
        for (key, entry) in gone.sorted(by: { $0.key < $1.key }) {
            entries[key] = nil
            if entry.isTold { words.append(.ended(file: entry.problem.file)) }
        }
        return words
    }

    /// When something is to be told that is not told yet; nil: nothing is.
    var due: Instant? {
        entries.values.filter { !$0.isTold }.map(deadline).min()
    }

    /// Problems that have been told, and those that may still end by themselves.
    var told: [CertificateProblem] { entries.values.filter(\.isTold).map(\.problem) }
    var waiting: [CertificateProblem] { entries.values.filter { !$0.isTold }.map(\.problem) }

    private func deadline(_ entry: Entry) -> Instant {
        entry.since.advanced(by: patience)
    }

    /// A pair is one thing, whichever of its files the problem is in.
    private static func key(_ problem: CertificateProblem) -> String {
        let file = problem.file
        if file.hasSuffix("/privkey.pem") { return file.dropLast(11) + "fullchain.pem" }
        if file.hasSuffix(".pem.key") { return String(file.dropLast(4)) }
        if file.hasSuffix(".key") { return file.dropLast(4) + ".crt" }
        return file
    }
}
