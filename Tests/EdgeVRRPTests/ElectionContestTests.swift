import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Election: two masters that know of each other by presence only")
struct ElectionContestTests {
    /// Both say that they are master, ten advertisements apart.
    private func contest(
        _ bench: inout ElectionBench, for span: Duration, priority: UInt8,
        _ fitness: Fitness = .fit, goesFirst: Bool = false
    ) {
        let end = bench.now.advanced(by: span)
        while bench.now < end {
            bench.peer(
                fitness, state: .master, priority: priority, sinceMilliseconds: 50_000,
                goesFirst: goesFirst)
            bench.run(for: .seconds(1))
        }
    }

    @Test("the lower one leaves without an announcement, and waits for the other's presence")
    func lower() {
        var bench = ElectionBench.master()
        // What follows the take-over is over.
        bench.run(for: .seconds(10))
        contest(&bench, for: .seconds(4), priority: 200)
        #expect(bench.state == .master)
        bench.clear()
        contest(&bench, for: .seconds(4), priority: 200)

        #expect(bench.state == .backup)
        #expect(bench.cause == .contested(by: "lb-02"))
        #expect(bench.announced.isEmpty)
        #expect(bench.machine.counters.conflictsLost == 1)
        bench.clear()
        contest(&bench, for: .seconds(60), priority: 200)
        #expect(bench.transitions.isEmpty)

        // It dies: its presence is what was waited for.
        bench.run(for: .milliseconds(1_900))
        #expect(bench.state == .backup)
        bench.run(for: .milliseconds(400))
        #expect(bench.state == .master)
    }

    @Test("the higher one stays, and announces when the other has left")
    func higher() {
        var bench = ElectionBench.master()
        contest(&bench, for: .seconds(20), priority: 50)
        #expect(bench.state == .master)
        #expect(bench.transitions.isEmpty)
        #expect(bench.machine.counters.conflictsWon == 1)
        bench.clear()

        bench.peer(state: .backup, sinceMilliseconds: 5)

        #expect(bench.announced == [.conflictOver])
    }

    @Test("of equals exactly one leaves; who is fitter stays")
    func equals() {
        for goesFirst in [true, false] {
            var bench = ElectionBench.master()
            contest(&bench, for: .seconds(8), priority: 100, goesFirst: goesFirst)
            #expect((bench.state == .backup) == goesFirst)
        }
        var fitter = ElectionBench.master()
        contest(&fitter, for: .seconds(8), priority: 200, .degraded(.names), goesFirst: true)
        #expect(fitter.state == .master)
    }

    @Test("advertisements that are heard decide, not presence")
    func heard() {
        var bench = ElectionBench.master { $0.preemption = .always }
        for _ in 0..<20 {
            bench.peer(state: .master, priority: 200)
            bench.hear(priority: 50)
            bench.run(for: .seconds(1))
        }

        #expect(bench.state == .master)
    }

    @Test("once its advertisements are heard again, their silence counts again")
    func healed() {
        var bench = ElectionBench.master()
        contest(&bench, for: .seconds(8), priority: 200)
        #expect(bench.state == .backup)
        bench.hear(priority: 200)
        bench.peer(state: .master, priority: 200, timeout: .seconds(60))

        bench.run(for: .milliseconds(361))

        #expect(bench.state == .master)
    }
}
