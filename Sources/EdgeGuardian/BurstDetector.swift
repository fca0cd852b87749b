/// Whether errors burst since a reload that waits for its confirmation. Pure; sampled once a
/// second.
package struct BurstDetector {
    /// What was answered so far, by all workers.
    package struct Totals: Equatable, Sendable {
        package var answers: UInt64
        /// 5xx, whoever made them.
        package var errors: UInt64

        package init(answers: UInt64, errors: UInt64) {
            self.answers = answers
            self.errors = errors
        }
    }

    /// So few errors are no burst, whatever their share is.
    package static let errorsMin: UInt64 = 10
    /// Seconds that are looked at together.
    package static let window = 5

    private var samples: [Totals] = []
    /// Errors of a thousand answers in the time before; at least 20.
    private var usual: UInt64 = 20

    package init() {}

    /// A reload has been committed.
    ///
    /// - Parameters:
    ///   - before: as it was some time before, to know what is usual.
    ///   - now: as it is.
    package mutating func begin(before: Totals, now: Totals) {
        let answers = now.answers &- before.answers
        let errors = now.errors &- before.errors
        usual = max(20, Self.share(errors, of: answers))
        samples = [now]
    }

    /// - Returns: true if of the answers of the last seconds at least a fifth, ten at least, are
    ///   errors, and four times what was usual.
    package mutating func sample(_ totals: Totals) -> Bool {
        guard let first = samples.first else { return false }
        samples.append(totals)
        if samples.count > Self.window { samples.removeFirst() }
        let answers = totals.answers &- first.answers
        let errors = totals.errors &- first.errors
        guard errors >= Self.errorsMin, answers > 0 else { return false }
        let share = Self.share(errors, of: answers)
        return share >= 200 && share / 4 >= usual
    }

    /// In thousandths. The numbers are the proxy's: none of them may be more than a number.
    private static func share(_ errors: UInt64, of answers: UInt64) -> UInt64 {
        guard answers > 0 else { return 0 }
        return answers.dividingFullWidth(
            min(errors, answers).multipliedFullWidth(by: 1000)
        ).quotient
    }
}
