import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("Admission by queue delay") struct AdmissionControllerTests {
    /// A controller with a clock of its own; one sample per millisecond.
    private struct Run {
        var controller: AdmissionController
        var now = Instant(nanoseconds: 1_000_000_000)

        init() { controller = AdmissionController(now: now) }

        /// Delays in microseconds.
        mutating func pass(milliseconds: Int, _ delay: (Int) -> UInt64) {
            for step in 0..<milliseconds {
                now = now.advanced(byNanoseconds: 1_000_000)
                _ = controller.note(delay(step) * 1000, now: now)
            }
        }

        /// Of 160 newcomers.
        mutating func refusals() -> Int { (0..<160).count { _ in !controller.admits() } }
    }

    @Test("Who never waits is always taken")
    func calm() {
        var run = Run()
        run.pass(milliseconds: 5_000) { _ in 0 }
        #expect(run.refusals() == 0)
        #expect(run.controller.since == nil)
    }

    @Test("A burst that is worked off within an interval refuses nobody, however late it was")
    func burst() {
        var run = Run()
        for _ in 0..<20 { run.pass(milliseconds: 100) { $0 == 99 ? 0 : 90_000 } }
        #expect(run.refusals() == 0)
    }

    @Test("A delay that stays above the target refuses an eighth, then a quarter, half, all")
    func grows() {
        var run = Run()
        var seen: [Int] = []
        for _ in 0..<5 {
            run.pass(milliseconds: 100) { _ in 5_100 }
            seen.append(run.refusals())
        }
        #expect(seen == [20, 40, 80, 160, 160])
    }

    @Test("Those refused are spread evenly over those that come")
    func spread() {
        var run = Run()
        run.pass(milliseconds: 100) { _ in 6_000 }
        let taken = (0..<32).map { _ in run.controller.admits() }
        for start in stride(from: 0, to: 32, by: 8) {
            #expect(taken[start..<start + 8].count { !$0 } == 1)
        }
    }

    @Test("A delay just above half of the target changes nothing, in either direction")
    func hysteresis() {
        var run = Run()
        run.pass(milliseconds: 200) { _ in 6_000 }
        let before = run.controller.share
        run.pass(milliseconds: 3_000) { _ in 2_600 }
        #expect(run.controller.share == before)

        var calm = Run()
        calm.pass(milliseconds: 3_000) { _ in 4_900 }
        #expect(calm.controller.share == 0)
    }

    @Test("It recovers by itself in sixteen intervals, and says so once")
    func recovers() {
        var run = Run()
        run.pass(milliseconds: 1_000) { _ in 50_000 }
        #expect(run.controller.share == AdmissionController.whole)
        let since = run.controller.since
        #expect(since == Instant(nanoseconds: 1_100_000_000))

        var ends = 0
        for _ in 0..<3_000 {
            run.now = run.now.advanced(byNanoseconds: 1_000_000)
            if run.controller.note(0, now: run.now) { ends += 1 }
            if run.controller.isShedding { #expect(run.controller.since == since) }
        }
        #expect(ends == 1)
        #expect(run.controller.since == nil)

        var timed = Run()
        timed.pass(milliseconds: 1_000) { _ in 50_000 }
        timed.pass(milliseconds: 1_500) { _ in 0 }
        #expect(timed.controller.isShedding)
        timed.pass(milliseconds: 100) { _ in 0 }
        #expect(!timed.controller.isShedding)
    }

    @Test("Time without any turn counts as calm, all of it")
    func asleep() {
        var run = Run()
        run.pass(milliseconds: 1_000) { _ in 50_000 }
        run.now = run.now.advanced(byNanoseconds: 10_000_000_000)
        _ = run.controller.note(0, now: run.now)
        #expect(!run.controller.isShedding)
    }

    @Test("One turn that was long after a long rest is no overload")
    func lonely() {
        var run = Run()
        for _ in 0..<10 {
            run.now = run.now.advanced(byNanoseconds: 1_000_000_000)
            _ = run.controller.note(0, now: run.now)
            run.now = run.now.advanced(byNanoseconds: 20_000_000)
            _ = run.controller.note(20_000_000, now: run.now)
        }
        #expect(!run.controller.isShedding)
    }
}
