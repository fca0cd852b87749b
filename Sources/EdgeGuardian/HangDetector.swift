package import EdgeCore

/// Judges whether a thread of the proxy hangs: it works and its heartbeat stands still, or it
/// waits and misses its tick. Time in which it could not run (the scheduler's delay, a stall of
/// the whole machine) does not count. Pure: readings in, verdict out.
package struct HangDetector {
    /// What was read about one thread.
    package struct Reading: Sendable {
        /// When it last changed between working and waiting; 0 before its first turn.
        package var heartbeat: Instant
        package var isBusy: Bool
        /// From /proc; nil if it cannot be read.
        package var scheduling: Scheduling?

        package init(heartbeat: Instant, isBusy: Bool, scheduling: Scheduling?) {
            self.heartbeat = heartbeat
            self.isBusy = isBusy
            self.scheduling = scheduling
        }
    }

    /// A thread's account with the scheduler, in nanoseconds since it started.
    package struct Scheduling: Equatable, Sendable {
        package var ran: UInt64
        /// Waited for a processor. The kernel adds a wait when it is over, not before.
        package var delayed: UInt64
        /// Runs or would like to (state R).
        package var isRunnable: Bool

        package init(ran: UInt64, delayed: UInt64, isRunnable: Bool) {
            self.ran = ran
            self.delayed = delayed
            self.isRunnable = isRunnable
        }
    }

    package struct Hang: Equatable, Sendable {
        /// 0: control thread, 1…: workers.
        package let thread: Int
        package let isBusy: Bool
        /// Without progress for so long, delays subtracted.
        package let lasting: Duration
    }

    private struct Thread {
        var heartbeat = Instant(nanoseconds: 0)
        var scheduling: Scheduling?
        /// Time it could not run since `heartbeat`, in nanoseconds.
        var excused: UInt64 = 0
        /// The part of `excused` that the kernel will report again when the wait is over.
        var provisional: UInt64 = 0
    }

    /// How often a waiting thread renews its heartbeat at least.
    package static let idleTick = Duration.seconds(1)
    /// The control thread may parse a large configuration in one turn.
    package static let controlTimeout = Duration.seconds(30)

    /// How often `sample` is to be called.
    package let interval: Duration
    private let hangTimeout: Duration
    private var threads: [Thread]
    private var lastSample: Instant?

    /// - Parameter threads: control thread and workers.
    package init(threads: Int, hangTimeout: Duration) {
        self.threads = [Thread](repeating: Thread(), count: threads)
        self.hangTimeout = hangTimeout
        interval = min(.milliseconds(250), max(.milliseconds(20), hangTimeout / 4))
    }

    /// A new proxy: what was known about the old one is void.
    package mutating func reset() {
        threads = [Thread](repeating: Thread(), count: threads.count)
        lastSample = nil
    }

    /// Takes one reading per thread; the worst hang, if any.
    package mutating func sample(_ readings: [Reading], now: Instant) -> Hang? {
        invariant(readings.count == threads.count, "one reading per thread")
        let passed = lastSample.map { now.nanoseconds(since: $0) } ?? 0
        lastSample = now
        // We were late ourselves: probably nobody ran.
        let late = passed > interval.nanoseconds ? passed - interval.nanoseconds : 0
        var worst: Hang?
        for index in threads.indices {
            update(&threads[index], readings[index], passed: passed, late: late, now: now)
            let hang = verdict(index, readings[index].isBusy, now)
            if let hang, hang.lasting > worst?.lasting ?? .zero { worst = hang }
        }
        return worst
    }

    private func update(
        _ thread: inout Thread, _ reading: Reading, passed: UInt64, late: UInt64, now: Instant
    ) {
        let delay = schedulerDelay(&thread, reading.scheduling, passed: passed)
        let isSame = reading.heartbeat == thread.heartbeat
        let excuse = max(late, delay)
        if isSame {
            thread.excused = thread.excused &+ excuse
        } else {
            thread.heartbeat = reading.heartbeat
            thread.excused = min(excuse, now.nanoseconds(since: reading.heartbeat))
        }
        thread.scheduling = reading.scheduling
    }

    /// Nanoseconds since the last reading in which the thread waited for a processor.
    private func schedulerDelay(
        _ thread: inout Thread, _ reading: Scheduling?, passed: UInt64
    ) -> UInt64 {
        guard let reading, let before = thread.scheduling, reading.ran >= before.ran else {
            thread.provisional = 0
            return 0
        }
        let reported = reading.delayed >= before.delayed ? reading.delayed - before.delayed : 0
        if reported > 0 {
            let known = min(thread.provisional, reported)
            thread.provisional = 0
            return reported - known
        }
        guard reading.isRunnable, reading.ran == before.ran else { return 0 }
        thread.provisional = thread.provisional &+ passed
        return passed
    }

    private func verdict(_ index: Int, _ isBusy: Bool, _ now: Instant) -> Hang? {
        let thread = threads[index]
        guard thread.heartbeat.nanoseconds > 0 else { return nil }
        let age = now.nanoseconds(since: thread.heartbeat)
        let lasting = age > thread.excused ? age - thread.excused : 0
        var limit = index == 0 ? Self.controlTimeout : hangTimeout
        if !isBusy { limit += Self.idleTick }
        guard lasting > limit.nanoseconds else { return nil }
        return Hang(
            thread: index, isBusy: isBusy, lasting: Duration(nanoseconds: lasting))
    }
}
