import EdgeCore

/// Fair parts of a ceiling, while it is scarce: how many clients there are is estimated by linear
/// counting (Whang et al. 1990) in 512 bits of the table's memory, per window of a second.
///
/// While a ceiling's debt is above half of its span, a client may use the rate divided by the
/// clients of the last window, or of this one if they are more already; so who asks for less than
/// his part is served, and the debt of all together stays where there is room. Below half nobody
/// is held back.
///
/// A block of 32 words: window, clients of the window before, bits of this one that are set (two
/// threads may count one too few), 5 spare, then two sets of 8 words
/// of bits (the window's lowest bit says which is in use), 8 spare.
struct FairShare {
    private static let bitWords = 8
    private static let bits = 512
    private static let windowShift: UInt64 = 21  // of ticks of 512 ns: 1.07 s

    private let cells: LimitCells
    private let base: Int

    init(_ table: LimitTable, ceiling: Int32) {
        invariant(
            ceiling >= 0 && ceiling < CellLayout.ceilingsMax, "a ceiling has a block of memory")
        cells = table.table.cells
        base = CellLayout.headerWords + Int(ceiling) * CellLayout.ceilingWords
    }

    /// Counts a client, and tells how many there are.
    ///
    /// - Parameter key: the client's, evenly distributed.
    /// - Returns: at least 1.
    // hot: under pressure only; no allocation
    func clients(including key: UInt64, ticks: UInt64) -> UInt64 {
        let window = ticks >> Self.windowShift
        let known = cells.load(base)
        if known != window { begin(window, after: known) }
        let bit = Int(truncatingIfNeeded: key & 511)
        let word = base + 8 + Int(window & 1) * Self.bitWords + bit / 64
        if cells.load(word) >> UInt64(bit % 64) & 1 == 0 {
            cells.set(word, bits: 1 << UInt64(bit % 64))
            cells.store(base + 2, cells.load(base + 2) + 1)
        }
        return max(1, cells.load(base + 1), cells.load(base + 2))
    }

    /// One thread counts the window before and clears the bits for the next one.
    private func begin(_ window: UInt64, after known: UInt64) {
        guard window > known, cells.replace(base, known, with: window) else { return }
        let bits = base + 8
        var count: UInt64 = 1
        // Not the window just before: then nobody was under pressure, and nobody is known.
        if window == known + 1 { count = Self.estimate(ones(bits + Int(known & 1) * 8)) }
        for word in 0..<Self.bitWords {
            // A client that another thread has counted already is counted again with its next.
            cells.store(bits + Int(window & 1) * Self.bitWords + word, 0)
        }
        cells.store(base + 1, count)
        cells.store(base + 2, 0)
    }

    private func ones(_ start: Int) -> Int {
        (start..<start + Self.bitWords).reduce(0) { $0 + cells.load($1).nonzeroBitCount }
    }

    /// -512 × ln(unset / 512), without floating point: the harmonic sum that it approximates.
    static func estimate(_ ones: Int) -> UInt64 {
        // Each further bit takes 512 / unset new clients on average; in 1/256.
        let capped = min(ones, bits - 1)
        var sum: UInt64 = 0
        for set in 0..<capped { sum += UInt64(bits * 256 / (bits - set)) }
        return max(1, (sum + 128) / 256)
    }
}
