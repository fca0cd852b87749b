import CEdge
import EdgeCore
import EdgeSystem
import Glibc
import Testing

@Suite("Poll loop")
struct PollLoopTests {
    let loop: PollLoop

    init() throws { loop = try PollLoop() }

    /// Both ends of a socket pair, closed with the test.
    private func pair() throws -> (Int32, Int32, OwnedDescriptors) {
        let (left, right) = try Descriptor.socketPair()
        return (left, right, OwnedDescriptors([left, right]))
    }

    @Test("A readable descriptor is reported until it is read")
    func levelTriggered() throws {
        let (left, right, keep) = try pair()
        var reports: [PollEvents] = []
        try loop.watch(left, events: .readable) { reports.append($0) }

        write(right, "x", 1)
        loop.runOnce(maxWait: .seconds(1))
        loop.runOnce(maxWait: .seconds(1))

        #expect(reports == [.readable, .readable])
        #expect(keep.count == 2)
    }

    @Test("A changed watch reports other events with the same handler")
    func changed() throws {
        let (left, _, keep) = try pair()
        var reports: [PollEvents] = []
        try loop.watch(left, events: .readable) { reports.append($0) }

        loop.change(left, events: .writable)
        loop.runOnce(maxWait: .seconds(1))

        #expect(reports == [.writable])
        #expect(keep.count == 2)
    }

    @Test("An event taken from the kernel is not delivered after unwatch")
    func unwatchedDuringDispatch() throws {
        let (first, firstPeer, keepFirst) = try pair()
        let (second, secondPeer, keepSecond) = try pair()
        var reports = 0
        let other = [first: second, second: first]
        for fd in [first, second] {
            try loop.watch(fd, events: .readable) { [loop] _ in
                reports += 1
                loop.unwatch(other[fd]!)
            }
        }

        write(firstPeer, "x", 1)
        write(secondPeer, "x", 1)
        loop.runOnce(maxWait: .seconds(1))

        #expect(reports == 1)
        #expect(keepFirst.count + keepSecond.count == 4)
    }

    @Test("A stale event is not delivered to a new watch of the same number")
    func reusedNumber() throws {
        let (first, firstPeer, keepFirst) = try pair()
        let (second, secondPeer, keepSecond) = try pair()
        var stale = 0
        let other = [first: second, second: first]
        for fd in [first, second] {
            try loop.watch(fd, events: .readable) { [loop] _ in
                // The other's number becomes another file, watched anew, within this dispatch.
                let number = other[fd]!
                loop.unwatch(number)
                dup2(eventfd(0, 0), number)
                try? loop.watch(number, events: .readable) { _ in stale += 1 }
            }
        }

        write(firstPeer, "x", 1)
        write(secondPeer, "x", 1)
        loop.runOnce(maxWait: .seconds(1))

        #expect(stale == 0)
        #expect(keepFirst.count + keepSecond.count == 4)
    }

    @Test("Timers run in order of time, never early, and once")
    func timers() {
        var order: [Int] = []
        let start = Instant.now()
        loop.schedule(after: .milliseconds(20)) { order.append(2) }
        loop.schedule(after: .milliseconds(5)) { order.append(1) }
        loop.schedule(at: start.advanced(by: .milliseconds(30))) { [loop] in
            order.append(3)
            loop.stop()
        }

        loop.run()

        #expect(order == [1, 2, 3])
        #expect(Instant.now().nanoseconds(since: start) >= 30_000_000)
    }

    @Test("A wait for a timer does not spin")
    func noBusyLoop() {
        var turns = 0
        var isDone = false
        loop.schedule(after: .microseconds(20_700)) { isDone = true }

        while !isDone {
            loop.runOnce(maxWait: nil)
            turns += 1
        }

        #expect(turns <= 3)
    }

    @Test("A timer cancelled by one that is due with it does not run")
    func cancelledWhileDue() {
        var ran: [Int] = []
        let at = Instant.now()
        var second: TimerID?
        loop.schedule(at: at) { [loop] in
            ran.append(1)
            if let second { loop.cancel(second) }
        }
        second = loop.schedule(at: at) { ran.append(2) }

        loop.runOnce(maxWait: .seconds(1))

        #expect(ran == [1])
    }

    @Test("A timer scheduled by a timer waits for the next turn")
    func rescheduled() {
        var runs = 0
        func again() {
            runs += 1
            loop.schedule(at: Instant(nanoseconds: 0), again)
        }
        loop.schedule(at: Instant(nanoseconds: 0), again)

        loop.runOnce(maxWait: .zero)

        #expect(runs == 1)
    }

    @Test("The timers that were not cancelled run, in order")
    func manyTimers() {
        var random = SystemRandomNumberGenerator()
        let base = Instant.now()
        var ran: [UInt64] = []
        var expected: [UInt64] = []
        for _ in 0..<2000 {
            let delay = UInt64.random(in: 0..<3_000_000, using: &random)
            let timer = loop.schedule(at: base.advanced(byNanoseconds: delay)) {
                ran.append(delay)
            }
            if Bool.random() { loop.cancel(timer) } else { expected.append(delay) }
        }

        usleep(4000)
        loop.runOnce(maxWait: .zero)

        #expect(ran == expected.sorted())
    }

    @Test("A body posted from another thread wakes the loop")
    func posted() throws {
        let poster = loop.poster
        final class Box: @unchecked Sendable {  // Touched on the loop's thread only.
            var value = 0
        }
        let box = Box()
        let start = Instant.now()
        var thread = pthread_t()
        let context = Unmanaged.passRetained(poster)
        poster.post { box.value += 1 }
        poster.post { box.value += 1 }
        loop.runOnce(maxWait: .seconds(5))
        pthread_create(
            &thread, nil,
            {
                let poster = Unmanaged<PollLoop.Poster>.fromOpaque($0!).takeRetainedValue()
                usleep(10_000)
                poster.post {}
                return nil
            }, context.toOpaque())
        loop.runOnce(maxWait: .seconds(5))
        pthread_join(thread, nil)

        #expect(box.value == 2)
        #expect(Instant.now().nanoseconds(since: start) < 4_000_000_000)
    }
}
