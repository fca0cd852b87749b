import EdgeCore
import EdgeGuardian
import Testing

@Suite("Hang detector")
struct HangDetectorTests {
    /// One control thread and one worker, sampled every 125 ms from 1 s on.
    private struct Rig {
        var detector = HangDetector(threads: 2, hangTimeout: .milliseconds(500))
        var now: UInt64 = 1_000
        var control = 1_000 as UInt64
        var heartbeat = 1_000 as UInt64
        var isBusy = true
        var scheduling: HangDetector.Scheduling?

        mutating func sample(after milliseconds: UInt64 = 125) -> HangDetector.Hang? {
            now += milliseconds
            return detector.sample(
                [
                    .init(heartbeat: at(control), isBusy: false, scheduling: nil),
                    .init(heartbeat: at(heartbeat), isBusy: isBusy, scheduling: scheduling),
                ], now: at(now))
        }

        /// How many samples until it is called a hang; nil if it is not within 10 s.
        mutating func samplesUntilHang(_ change: (inout Rig) -> Void = { _ in }) -> Int? {
            for count in 1...80 {
                change(&self)
                control = now
                if sample() != nil { return count }
            }
            return nil
        }

        private func at(_ milliseconds: UInt64) -> Instant {
            Instant(nanoseconds: milliseconds * 1_000_000)
        }
    }

    @Test("A busy worker that stands still hangs after 500 ms")
    func busy() {
        var rig = Rig()
        #expect(rig.samplesUntilHang() == 5)
    }

    @Test("A worker that turns does not hang, however busy")
    func turning() {
        var rig = Rig()
        #expect(rig.samplesUntilHang { $0.heartbeat = $0.now - 1 } == nil)
    }

    @Test("A waiting worker hangs when it misses its tick by the timeout")
    func idle() {
        var rig = Rig()
        rig.isBusy = false
        // 1.5 s, at 125 ms each.
        #expect(rig.samplesUntilHang() == 13)
    }

    @Test("Waits for a processor that the kernel has reported are not the worker's")
    func reportedDelay() {
        var rig = Rig()
        rig.scheduling = .init(ran: 0, delayed: 0, isRunnable: true)
        let count = rig.samplesUntilHang {
            $0.scheduling?.ran += 1
            $0.scheduling?.delayed += 120_000_000
        }
        // It ran 5 ms in each sample: 500 ms of its own time make a hang all the same.
        #expect(count.map { (70...80).contains($0) } == true)
    }

    @Test("A worker that waits for a processor all along does not hang, and hangs once it runs")
    func starved() {
        var rig = Rig()
        rig.scheduling = .init(ran: 7, delayed: 0, isRunnable: true)
        for _ in 0..<40 {
            rig.control = rig.now
            #expect(rig.sample() == nil)
        }
        // It got the processor: the kernel reports the whole wait, which was excused already.
        rig.scheduling?.delayed = 5_000_000_000
        let count = rig.samplesUntilHang { $0.scheduling?.ran += 125_000_000 }
        #expect(count.map { (3...6).contains($0) } == true)
    }

    @Test("A thread that sleeps in the kernel is not excused")
    func asleep() {
        var rig = Rig()
        rig.scheduling = .init(ran: 7, delayed: 0, isRunnable: false)
        #expect(rig.samplesUntilHang() == 5)
    }

    @Test("Our own lateness is not the worker's")
    func lateGuardian() {
        var rig = Rig()
        rig.control = 1_100
        #expect(rig.sample() == nil)
        rig.control = 6_000
        #expect(rig.sample(after: 5_000) == nil)
        #expect(rig.samplesUntilHang() == 3)
    }

    @Test("The control thread has 30 s, and a second more while it waits")
    func control() {
        var rig = Rig()
        var hang: HangDetector.Hang?
        while hang == nil, rig.now < 60_000 {
            rig.heartbeat = rig.now
            hang = rig.sample()
        }
        #expect(hang?.thread == 0)
        #expect(rig.now > 32_000 && rig.now < 32_300)
    }

    @Test("Before its first turn, and right after a reset, nothing hangs")
    func fresh() {
        var rig = Rig()
        rig.heartbeat = 0
        #expect(rig.samplesUntilHang() == nil)
        rig = Rig()
        for _ in 0..<4 { #expect(rig.sample() == nil) }
        rig.detector.reset()
        rig.heartbeat = rig.now
        #expect(rig.samplesUntilHang() == 5)
    }

    @Test("Sampling is four times as fast as the timeout, within bounds")
    func interval() {
        func interval(_ timeout: Duration) -> Duration {
            HangDetector(threads: 1, hangTimeout: timeout).interval
        }
        #expect(interval(.milliseconds(500)) == .milliseconds(125))
        #expect(interval(.seconds(10)) == .milliseconds(250))
        #expect(interval(.milliseconds(10)) == .milliseconds(20))
    }
}
