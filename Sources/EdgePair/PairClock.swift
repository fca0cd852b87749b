package import EdgeCore

/// How far the peer's clock is from ours: asked with every ping, believed where the answer came
/// fastest, because that is how far it can be wrong (half of the way there and back).
package struct PairClock: Sendable, Equatable {
    private struct Sample: Sendable, Equatable {
        let roundTrip: UInt64
        let difference: Int64
    }

    private static let samplesMax = 8

    private var samples: [Sample] = []
    private var asked: (number: UInt64, at: Instant)?
    private let guess: Int64?

    package static func == (left: PairClock, right: PairClock) -> Bool {
        left.samples == right.samples && left.guess == right.guess
    }

    package init() { guess = nil }

    /// - Parameters:
    ///   - guess: the peer's clock as its hello says, some time ago.
    ///   - wall: ours, now.
    package init(guess: UInt64, wall: UInt64) { self.guess = Self.difference(guess, wall) }

    package mutating func asked(_ number: UInt64, now: Instant) { asked = (number, now) }

    package mutating func answered(_ number: UInt64, now: Instant, wall: UInt64, theirs: UInt64) {
        guard let asked, asked.number == number else { return }
        self.asked = nil
        let roundTrip = now.nanoseconds(since: asked.at)
        let then = theirs.addingReportingOverflow(roundTrip / 2)
        guard !then.overflow else { return }
        samples.append(
            Sample(roundTrip: roundTrip, difference: Self.difference(then.partialValue, wall)))
        if samples.count > Self.samplesMax { samples.removeFirst() }
    }

    private var best: Sample? { samples.min { $0.roundTrip < $1.roundTrip } }

    /// The peer's clock minus ours, in nanoseconds; nil before it has said hello.
    package var difference: Int64? { best?.difference ?? guess }

    /// There and back; nil before the first answer.
    package var roundTrip: Duration? { best.map { Duration(nanoseconds: $0.roundTrip) } }

    private static func difference(_ theirs: UInt64, _ ours: UInt64) -> Int64 {
        theirs >= ours
            ? Int64(clamping: theirs - ours) : -Int64(clamping: ours - theirs)
    }
}

extension PairMachine {
    /// The peer's clock minus ours, in nanoseconds; nil while there is no link.
    package var clockDifference: Int64? { open.flatMap { links[$0]?.clock.difference } }

    package var roundTrip: Duration? { open.flatMap { links[$0]?.clock.roundTrip } }
}
