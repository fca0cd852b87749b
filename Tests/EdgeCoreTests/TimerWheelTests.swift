import EdgeTesting
import Testing

@testable import EdgeCore

@Suite("Timer wheel") struct TimerWheelTests {
    private static let tick: UInt64 = 32_000_000
    private static let start = Instant(nanoseconds: 1_000_000_007)

    private static func wheel(_ capacity: Int = 8) throws -> WheelBox {
        try WheelBox(capacity: capacity, tick: tick, now: start)
    }

    /// A class around it, so that tests can keep the move-only wheel.
    private final class WheelBox {
        var wheel: TimerWheel
        init(capacity: Int, tick: UInt64, now: Instant) throws {
            guard let wheel = TimerWheel(capacity: capacity, tick: tick, now: now) else {
                throw KitError("no address space")
            }
            self.wheel = wheel
        }

        func deadline(of id: Int) -> Instant { wheel.deadline(of: id) }
        func untilNext(_ now: Instant) -> UInt64? { wheel.nanosecondsUntilNext(now: now) }

        func popAll(_ now: Instant) -> [Int] {
            var all: [Int] = []
            while let id = wheel.popExpired(now: now) { all.append(id) }
            return all
        }
    }

    @Test("A deadline fires once, after it has passed and at most one tick later")
    func once() throws {
        let box = try Self.wheel()
        let deadline = Self.start.advanced(by: .seconds(5))
        box.wheel.arm(3, at: deadline)

        #expect(box.deadline(of: 3) == deadline)
        #expect(box.popAll(Instant(nanoseconds: deadline.nanoseconds - 1)).isEmpty)
        #expect(box.popAll(deadline.advanced(byNanoseconds: Self.tick)) == [3])
        #expect(box.deadline(of: 3) == .never)
        #expect(box.popAll(deadline.advanced(by: .seconds(100))).isEmpty)
        #expect(box.untilNext(deadline) == nil)
    }

    @Test("A deadline that moved away fires at its new time only")
    func later() throws {
        let box = try Self.wheel()
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(1)))
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(90)))

        #expect(box.popAll(Self.start.advanced(by: .seconds(89))).isEmpty)
        #expect(box.popAll(Self.start.advanced(by: .seconds(91))) == [0])
    }

    @Test("A deadline that moved nearer fires at its new time")
    func earlier() throws {
        let box = try Self.wheel()
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(90)))
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(1)))

        #expect(box.popAll(Self.start.advanced(by: .milliseconds(1_040))) == [0])
    }

    @Test("Never and disarm stop a deadline, and it can be set again")
    func never() throws {
        let box = try Self.wheel()
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(1)))
        box.wheel.arm(1, at: Self.start.advanced(by: .seconds(1)))
        box.wheel.arm(2, at: .never)
        box.wheel.arm(0, at: .never)
        box.wheel.disarm(1)
        box.wheel.disarm(5)

        #expect(box.popAll(Self.start.advanced(by: .seconds(1_000))).isEmpty)
        box.wheel.arm(1, at: Self.start.advanced(by: .seconds(1_001)))
        #expect(box.popAll(Self.start.advanced(by: .seconds(1_002))) == [1])
    }

    @Test("A clock that stands still or goes back fires nothing early")
    func backwards() throws {
        let box = try Self.wheel()
        box.wheel.arm(0, at: Self.start.advanced(by: .seconds(2)))

        #expect(box.popAll(Self.start.advanced(by: .seconds(1))).isEmpty)
        #expect(box.popAll(Self.start).isEmpty)
        #expect(box.popAll(Self.start.advanced(by: .seconds(3))) == [0])
    }

    @Test("Behaves as a sorted list does", arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) throws {
        try seeded(seed) { random in
            let capacity = 64
            let box = try Self.wheel(capacity)
            var model = [UInt64](repeating: .max, count: capacity)
            var now = Self.start
            var operations = 0
            while operations < 35_000 {
                operations += 1
                let id = Int(random.next() % UInt64(capacity))
                switch random.next() % 10 {
                case 0...4:
                    let span = UInt64(1) << (random.next() % 44)
                    let deadline = now.advanced(byNanoseconds: random.next() % span)
                    box.wheel.arm(id, at: deadline)
                    model[id] = deadline.nanoseconds
                case 5:
                    box.wheel.disarm(id)
                    model[id] = .max
                case 6:
                    box.wheel.arm(id, at: .never)
                    model[id] = .max
                default:
                    let span = UInt64(1) << (random.next() % (random.chance(1, of: 20) ? 42 : 28))
                    now = now.advanced(byNanoseconds: random.next() % span)
                    try advance(box, to: now, &model, random)
                }
                guard operations % 8 == 0 else { continue }
                let next = model.min() ?? .max
                let hint = box.wheel.nanosecondsUntilNext(now: now)
                // Woken at the hint, everything due by then, rounded up to its tick, is not late.
                let latest = next == .max ? UInt64.max : (next / Self.tick + 1) * Self.tick
                let wake = hint.map { now.nanoseconds + $0 } ?? .max
                try #require(next == .max || wake <= max(latest, now.nanoseconds), "\(random)")
            }
        }
    }

    private func advance(
        _ box: WheelBox, to now: Instant, _ model: inout [UInt64], _ random: SeededRandom
    ) throws {
        for id in box.popAll(now) {
            // Fires no earlier than it should, and only what is armed.
            try #require(model[id] <= now.nanoseconds, "early: \(id), \(random)")
            model[id] = .max
        }
        for (id, deadline) in model.enumerated() where deadline != .max {
            try #require(
                now.nanoseconds < deadline + Self.tick, "late: \(id), \(random)")
        }
    }
}
