import EdgeGuardian
import Testing

@Suite("Errors that burst after a reload")
struct BurstDetectorTests {
    /// Seconds until it is a burst, with so many answers and errors in each; nil: not in a minute.
    private static func seconds(
        _ answers: UInt64, _ errors: UInt64, usually: (UInt64, UInt64) = (10_000, 0)
    ) -> Int? {
        var detector = BurstDetector()
        var totals = BurstDetector.Totals(answers: usually.0, errors: usually.1)
        detector.begin(before: .init(answers: 0, errors: 0), now: totals)
        for second in 1...60 {
            totals.answers += answers
            totals.errors += errors
            if detector.sample(totals) { return second }
        }
        return nil
    }

    @Test("All answers are errors: known after a second, or after ten of them")
    func all() {
        #expect(Self.seconds(100, 100) == 1)
        #expect(Self.seconds(4, 4) == 3)
    }

    @Test("A fifth is a burst, less is not, nor are a few")
    func share() {
        #expect(Self.seconds(100, 25) == 1)
        #expect(Self.seconds(100, 15) == nil)
        #expect(Self.seconds(1, 1, usually: (100, 0)) == nil)
    }

    @Test("What was usual before is no burst")
    func usual() {
        #expect(Self.seconds(100, 30, usually: (10_000, 3000)) == nil)
        #expect(Self.seconds(100, 90, usually: (10_000, 2000)) == 1)
    }

    @Test("Numbers that make no sense are no burst and no trap")
    func hostile() {
        let values: [UInt64] = [0, 1, 20, .max / 1000, .max / 2, .max - 1, .max]
        for (index, answers) in values.enumerated() {
            for errors in values {
                var detector = BurstDetector()
                detector.begin(
                    before: .init(answers: errors, errors: answers),
                    now: .init(answers: answers, errors: errors))
                for other in values[index...] {
                    _ = detector.sample(.init(answers: other, errors: errors))
                    _ = detector.sample(.init(answers: errors, errors: other))
                }
            }
        }
    }
}
