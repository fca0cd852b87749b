import EdgeCore

/// What is at the start of a table's memory, and how much of it there is.
///
/// Layout (version 1), 64-bit words in the machine's order: magic, version, kind, buckets (log2),
/// tick (log2 of nanoseconds), base (nanoseconds of the monotonic clock), two words of hash key,
/// three of the key for texts (0: none of its own), then counters; 64 words in all. 64 blocks of 32
/// words for ceilings (`FairShare`). Then the buckets, 16 words (128 bytes) each. The magic is
/// written last: memory without it is not ready.
package struct CellLayout: Sendable, Equatable {
    /// Which question the table answers; each has its own meaning of a cell's low bits.
    package enum Kind: UInt64, Sendable {
        /// `LimitTable`: until when somebody has used up what he gets; ticks of 512 ns.
        case rates = 1
        /// `BanTable`: until when somebody is not served; ticks of 1.05 ms.
        case bans = 2
        /// `ConcurrencyTable`: how many there are.
        case counts = 3

        /// Log2 of a tick in nanoseconds.
        var tickShift: UInt64 {
            switch self {
            case .rates: 9
            case .bans: 20
            case .counts: 0
            }
        }
    }

    /// What can be wrong with memory that another process has prepared.
    package enum Failure: Error, Equatable {
        /// Smaller than its header says, or not a whole table.
        case wrongSize
        /// Another program's, another version's, or not ready yet.
        case wrongLayout
    }

    static let magic: UInt64 = 0x314D_494C_4547_4445  // "EDGELIM1"
    static let version: UInt64 = 1
    static let headerWords = 64
    static let ceilingsMax = 64
    static let ceilingWords = 32
    static let bucketBase = headerWords + ceilingsMax * ceilingWords
    /// A state word and 15 cells: two cache lines.
    static let bucketWords = 16

    /// Where the header's words are.
    enum Word {
        static let magic = 0
        static let version = 1
        static let kind = 2
        static let bucketBits = 3
        static let tickShift = 4
        static let base = 5
        static let key0 = 6
        static let key1 = 7
        static let textHigh = 8
        static let textLow = 9
        static let textSince = 10
        static let counters = 16
    }

    package let kind: Kind
    /// Log2 of the number of buckets: 0…24.
    package let bucketBits: Int

    /// A table in which so many keys leave three quarters free, 32 bytes each: 1,048,576 keys are
    /// 32 MiB.
    ///
    /// - Parameter keys: 1…67,108,864; what is beyond is cut. Rounded up to a power of two.
    package init(_ kind: Kind, keys: Int) {
        self.kind = kind
        var bits = 0
        while bits < 24, 4 << bits < keys { bits += 1 }
        bucketBits = bits
    }

    package var bucketCount: Int { 1 << bucketBits }

    /// Keys that have a cell at a time, at most.
    package var cellCount: Int { bucketCount * (Self.bucketWords - 1) }

    var wordCount: Int { Self.bucketBase + bucketCount * Self.bucketWords }

    /// Bytes of the memory. No multiple of a page.
    package var byteCount: Int { wordCount * 8 }

    /// What an existing table says of itself.
    init(reading cells: LimitCells) throws(Failure) {
        guard cells.count >= Self.bucketBase else { throw .wrongSize }
        guard cells.load(Word.magic) == Self.magic, cells.load(Word.version) == Self.version,
            let kind = Kind(rawValue: cells.load(Word.kind)),
            cells.load(Word.tickShift) == kind.tickShift, cells.load(Word.bucketBits) <= 24
        else { throw .wrongLayout }
        self.kind = kind
        bucketBits = Int(cells.load(Word.bucketBits))
        guard cells.count >= wordCount else { throw .wrongSize }
    }

    /// Makes a table of zeroed memory.
    func write(to cells: LimitCells, base: Instant, key: LimitHash) {
        invariant(cells.count >= wordCount, "memory is as large as its layout says")
        cells.store(Word.version, Self.version)
        cells.store(Word.kind, kind.rawValue)
        cells.store(Word.bucketBits, UInt64(bucketBits))
        cells.store(Word.tickShift, kind.tickShift)
        cells.store(Word.base, base.nanoseconds)
        cells.store(Word.key0, key.key0)
        cells.store(Word.key1, key.key1)
        cells.store(Word.magic, Self.magic)
    }
}
