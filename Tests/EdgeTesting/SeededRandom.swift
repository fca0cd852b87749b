internal import Foundation

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast and the same on every machine, so that a
/// seed is a test case. Put `\(random)` into the comment of an expectation: it names the seed.
package struct SeededRandom: RandomNumberGenerator, Sendable, CustomStringConvertible {
    /// What this sequence began with.
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// True in `numerator` of `denominator` cases.
    package mutating func chance(_ numerator: Int, of denominator: Int) -> Bool {
        Int.random(in: 0..<denominator, using: &self) < numerator
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    package var description: String { "seed \(seed) (EDGE_TEST_SEED=\(seed) repeats it)" }
}

/// Runs `body` with a generator and prints the seed if it throws. `EDGE_TEST_SEED` replaces
/// `seed`, to repeat one case.
package func seeded<Result>(
    _ seed: UInt64, _ body: (inout SeededRandom) throws -> Result
) rethrows -> Result {
    let wanted = ProcessInfo.processInfo.environment["EDGE_TEST_SEED"].flatMap { UInt64($0) }
    var random = SeededRandom(seed: wanted ?? seed)
    do {
        return try body(&random)
    } catch {
        print("failed with \(random): \(error)")
        throw error
    }
}
