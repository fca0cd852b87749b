import EdgeCore

/// Small values under keys, in memory that threads and processes share: what `LimitTable`,
/// `BanTable` and `ConcurrencyTable` are made of. No lock: a thread or process that stops anywhere
/// stops nobody, and leaves nothing that has to be repaired.
///
/// A key is a keyed 64-bit hash. Its high bits choose a bucket of 128 bytes, its low 24 bits are
/// its *tag*. A bucket is a state word and 15 cells. A cell is one word, changed whole:
///
///     tag (24 bits) | claim (1) | value (39)
///
/// A value above `now` (modulo 2^39, as a signed difference) is *live*, any other *idle*: an idle
/// cell may be anybody's. Zero is a cell that nobody has used. There is no clean-up.
///
/// **One cell per key.** Threads that look for a new key at the same time must end with one cell.
/// Who finds none reads the state word *first*, looks through the bucket, turns an idle cell into a
/// *claim* of the tag, and then has to move the state word's sequence on by one from what he read.
/// Who fails looks again. Who succeeds invalidates all other claims of the tag that he has seen and
/// makes his own one a cell. Whoever succeeds later has seen this claim, for it was written before
/// the sequence moved, and either finds the cell or invalidates the claim: so two never become
/// cells. A claim that is left behind is an idle cell.
///
/// **Wrap of time.** The state word also says in which *age* (2^35 ticks; 4.9 h of 512 ns) idle
/// values were last moved up to the present. A value is at most `valueMax` ahead, less than 5 ages;
/// so who comes in the same age reads differences of less than 8 ages rightly, and who finds a
/// bucket 6 or more ages old knows that all in it is over.
package struct CellTable: Sendable {
    /// Furthest that a value may be ahead of now, in ticks: 4.75 ages; 23.2 h of 512 ns.
    package static let valueMax: UInt64 = 19 << 33

    static let valueBits: UInt64 = 39
    static let valueMask: UInt64 = (1 << valueBits) - 1
    static let claimBit: UInt64 = 1 << valueBits
    static let tagShift: UInt64 = 40
    private static let ageShift: UInt64 = 35
    /// All that was live so many ages ago is over.
    private static let agesMax: UInt64 = 6
    private static let sequenceMask: UInt64 = (1 << 48) - 1
    /// How long ago (ticks; 0.5 s of 512 ns) a new or moved value ended: no clock of a thread is
    /// so far behind another's that it takes it for a live one.
    private static let past: UInt64 = 1 << 20
    /// Where time begins, so that nothing lies before it.
    private static let origin: UInt64 = 1 << 32
    /// Attempts until a cell is held; only insertions into one bucket at the same moment fail.
    private static let attemptsMax = 256

    /// What is counted, shared by all that use the table.
    package enum Event: Int, Sendable, CaseIterable {
        /// Keys that got a cell.
        case inserted
        /// Live cells given to another key, because all 15 were live: who had the least to lose.
        case evicted
        /// Keys that got no cell, because all 15 were live.
        case full
        /// Keys that got no cell within all attempts.
        case contested
    }

    package let layout: CellLayout
    package let hash: LimitHash
    let cells: LimitCells
    private let base: UInt64
    private let tickShift: UInt64
    private let bucketShift: UInt64

    /// Makes a table of zeroed memory, or uses one that is there.
    ///
    /// - Parameters:
    ///   - memory: aligned to 128 bytes, live as long as any copy of this value.
    ///   - creating: layout, start of time and hash key of a new table; nil: it is there.
    init(
        _ memory: UnsafeMutableRawPointer, byteCount: Int,
        creating new: (layout: CellLayout, base: Instant, hash: LimitHash)?
    ) throws(CellLayout.Failure) {
        cells = unsafe LimitCells(memory, count: byteCount / 8)
        if let new {
            guard byteCount >= new.layout.byteCount else { throw .wrongSize }
            new.layout.write(to: cells, base: new.base, key: new.hash)
        }
        layout = try CellLayout(reading: cells)
        base = cells.load(CellLayout.Word.base)
        tickShift = layout.kind.tickShift
        bucketShift = UInt64(64 - layout.bucketBits)
        hash = LimitHash(
            key0: cells.load(CellLayout.Word.key0), key1: cells.load(CellLayout.Word.key1))
    }

    /// How often it has happened since the table was made.
    package func count(_ event: Event) -> UInt64 {
        cells.load(CellLayout.Word.counters + event.rawValue)
    }

    func note(_ event: Event) { cells.add(CellLayout.Word.counters + event.rawValue, 1) }

    /// The table's time: whole ticks since it was made, and what precedes that.
    @inline(__always)
    func ticks(_ now: Instant) -> UInt64 {
        let age = now.nanoseconds > base ? now.nanoseconds &- base : 0
        return Self.origin &+ age &>> tickShift
    }

    /// How far the value of a cell that is no claim is ahead of `ticks`; 0 if it is idle.
    // hot: no branch: what it depends on may still be on its way from memory
    @inline(__always)
    static func lead(_ cell: UInt64, _ ticks: UInt64) -> UInt64 {
        // The difference of 39 bits, with its sign.
        let difference = Int64(bitPattern: (cell &- ticks) &<< 25) &>> 25
        return UInt64(bitPattern: difference & ~(difference &>> 63))
    }

    /// The cell with the same tag and a value `lead` ahead of `ticks`.
    @inline(__always)
    static func moved(_ cell: UInt64, _ ticks: UInt64, lead: UInt64) -> UInt64 {
        cell & ~(valueMask | claimBit) | (ticks &+ min(lead, valueMax)) & valueMask
    }
}

// MARK: - Finding

extension CellTable {
    /// A key's cell as it was a moment ago: `index` is to be replaced from `value`.
    struct Place {
        var index: Int
        var value: UInt64
    }

    @inline(__always)
    static func tag(of key: UInt64) -> UInt64 {
        let tag = key & 0xFF_FFFF
        // 0 is what an unused cell has.
        return tag == 0 ? 1 : tag
    }

    /// The first word of the key's bucket.
    @inline(__always)
    func bucket(of key: UInt64) -> Int {
        let number = layout.bucketBits == 0 ? 0 : key &>> bucketShift
        return CellLayout.bucketBase + Int(truncatingIfNeeded: number) * CellLayout.bucketWords
    }

    /// The cells of a bucket in the order in which a key looks at them: those of the first cache
    /// line in a circle from one that its hash chooses, then those of the second line. In a table
    /// that is not too full most keys are where they look first: one line, and the processor
    /// guesses rightly and goes on with the request while memory is being fetched.
    ///
    /// - Parameter step: 0…14.
    @inline(__always)
    static func cell(_ step: Int, of key: UInt64) -> Int {
        guard step < 7 else { return step &+ 1 }
        let cell = step &+ 1 &+ Int(truncatingIfNeeded: ((key &>> 24) & 0xFFFF) &* 7 &>> 16)
        return cell > 7 ? cell &- 7 : cell
    }

    /// Fetches what a decision about the key will read, for one that is made soon: memory that has
    /// not been looked at for a while is the most of what a decision costs.
    // hot: one load, whose value nobody waits for
    @inline(__always)
    package func touch(_ key: UInt64) { _ = cells.load(bucket(of: key)) }

    /// The key's cell; nil if it has none.
    // hot: two cache lines, no writes but once per age
    @inline(__always)
    func find(_ key: UInt64, _ ticks: UInt64) -> Place? {
        let start = bucket(of: key)
        let tag = Self.tag(of: key)
        let state = cells.load(start)
        if _slowPath(!isPresent(state, ticks)) { renew(start, state, ticks) }
        for step in 0..<CellLayout.bucketWords - 1 {
            let index = start &+ Self.cell(step, of: key)
            let value = cells.load(index)
            // Tag and no claim.
            if value &>> Self.valueBits == tag &<< 1 { return Place(index: index, value: value) }
        }
        return nil
    }

    /// The key's cell, made if it has none.
    ///
    /// - Parameter evicts: a bucket with nothing but live cells gives up the one that is least
    ///   ahead; else there is no cell.
    /// - Returns: nil if all are live, or others were faster each time; both are counted.
    // hot: `find`, and three locked instructions for a new key
    @inline(__always)
    func place(_ key: UInt64, _ ticks: UInt64, evicts: Bool) -> Place? {
        if let place = find(key, ticks) { return place }
        return insert(key, ticks, evicts: evicts)
    }

    @inline(never)
    private func insert(_ key: UInt64, _ ticks: UInt64, evicts: Bool) -> Place? {
        let start = bucket(of: key)
        let tag = Self.tag(of: key)
        for _ in 0..<Self.attemptsMax {
            let state = cells.load(start)
            guard isPresent(state, ticks) else {
                renew(start, state, ticks)
                continue
            }
            var view = BucketView(tag: tag, ticks: ticks)
            for step in 0..<CellLayout.bucketWords - 1 {
                let index = start + Self.cell(step, of: key)
                view.look(at: index, cells.load(index))
            }
            if let place = view.found { return place }
            guard let victim = view.claim ?? view.idle ?? (evicts ? view.least : nil) else {
                note(.full)
                return nil
            }
            let place = take(victim, tag, state, start)
            guard let place, invalidate(tag, state, in: start, but: place.index) else { continue }
            let new = Self.fresh(tag, layout.kind == .counts ? 0 : ticks &- Self.past)
            guard cells.replace(place.index, place.value, with: new) else { continue }
            note(.inserted)
            if view.claim == nil, view.idle == nil { note(.evicted) }
            return Place(index: place.index, value: new)
        }
        note(.contested)
        return nil
    }

    /// Turns `victim` into a claim, and moves the sequence on.
    private func take(
        _ victim: Place, _ tag: UInt64, _ state: UInt64, _ start: Int
    ) -> Place? {
        let sequence = state & Self.sequenceMask
        // Made of what it follows: no claim looks like an earlier one of the same cell.
        let mark = (victim.value ^ sequence &<< 1) &* 0x9E37_79B9_7F4A_7C15 &>> 25
        let claim = tag &<< Self.tagShift | Self.claimBit | mark
        guard cells.replace(victim.index, victim.value, with: claim) else { return nil }
        let next = state & ~Self.sequenceMask | (sequence &+ 1) & Self.sequenceMask
        guard cells.replace(start, state, with: next) else { return nil }
        return Place(index: victim.index, value: claim)
    }

    /// Other claims of the tag will not become cells any more.
    ///
    /// - Returns: false if one has become a cell.
    private func invalidate(
        _ tag: UInt64, _ state: UInt64, in start: Int, but own: Int
    ) -> Bool {
        let void = Self.claimBit | state & Self.valueMask
        for index in start + 1..<start + CellLayout.bucketWords where index != own {
            let value = cells.load(index)
            guard value &>> Self.tagShift == tag else { continue }
            guard value & Self.claimBit != 0, cells.replace(index, value, with: void)
            else { return false }
        }
        return true
    }

    private static func fresh(_ tag: UInt64, _ ticks: UInt64) -> UInt64 {
        tag &<< tagShift | ticks & valueMask
    }
}

// MARK: - Ages

extension CellTable {
    @inline(__always)
    private func isPresent(_ state: UInt64, _ ticks: UInt64) -> Bool {
        let behind = (ticks &>> Self.ageShift &- state &>> 48) & 0xFFFF
        // A thread whose clock is a little behind finds the next age already there.
        return behind == 0 || behind >= 0x8000
    }

    /// Moves idle values up to the present, before they could be taken for future ones.
    @inline(never)
    private func renew(_ start: Int, _ state: UInt64, _ ticks: UInt64) {
        let age = ticks &>> Self.ageShift & 0xFFFF
        let isOver = (age &- state &>> 48) & 0xFFFF >= Self.agesMax
        for index in start + 1..<start + CellLayout.bucketWords {
            let value = cells.load(index)
            guard value != 0, value & Self.claimBit == 0,
                isOver || Self.lead(value, ticks) == 0, layout.kind != .counts
            else { continue }
            // Somebody else was faster: what is here now may be of this age.
            guard cells.load(start) == state else { return }
            let moved = value & ~Self.valueMask | (ticks &- Self.past) & Self.valueMask
            _ = cells.replace(index, value, with: moved)
        }
        let sequence = (state &+ 1) & Self.sequenceMask
        _ = cells.replace(start, state, with: age &<< 48 | sequence)
    }
}

/// What a look through a bucket has found for one tag.
private struct BucketView {
    let tag: UInt64
    let ticks: UInt64
    /// The tag's cell.
    private(set) var found: CellTable.Place?
    /// Somebody began to make one.
    private(set) var claim: CellTable.Place?
    /// Nobody's; never used, else over for longest.
    private(set) var idle: CellTable.Place?
    /// Of the live ones, the one that is least ahead.
    private(set) var least: CellTable.Place?
    private var idleFor: UInt64 = 0
    private var leastLead: UInt64 = .max

    init(tag: UInt64, ticks: UInt64) {
        self.tag = tag
        self.ticks = ticks
    }

    mutating func look(at index: Int, _ value: UInt64) {
        let place = CellTable.Place(index: index, value: value)
        let isClaim = value & CellTable.claimBit != 0
        if value &>> CellTable.tagShift == tag {
            if !isClaim { found = found ?? place } else { claim = claim ?? place }
            return
        }
        let lead = value == 0 || isClaim ? 0 : CellTable.lead(value, ticks)
        if lead > 0 {
            if lead < leastLead { (least, leastLead) = (place, lead) }
            return
        }
        let ago = (ticks &- value) & CellTable.valueMask
        let rank = value == 0 || isClaim ? .max : ago
        if idle == nil || rank > idleFor { (idle, idleFor) = (place, rank) }
    }
}
