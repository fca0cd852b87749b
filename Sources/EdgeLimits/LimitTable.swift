package import EdgeCore

/// Who has used up what he gets, and until when (GCRA): one 64-bit word per key, in memory that all
/// workers and, during an upgrade, two proxies share. It survives the proxy.
///
/// Decisions are exact whoever makes them at the same time: a charge replaces the word that it was
/// computed from, or is computed again. When a bucket has nothing but live keys, the one with the
/// least debt is forgiven it (counted as `evicted`); no key is ever unlimited, for each is charged
/// to a cell before it is admitted.
package struct LimitTable: Sendable {
    package let table: CellTable

    /// Attempts to replace a word that others replace, too.
    private static let attemptsMax = 1024

    /// Memory for so many keys; 32 bytes each. See `CellLayout`.
    package static func layout(keys: Int) -> CellLayout { CellLayout(.rates, keys: keys) }

    /// Makes a table of zeroed memory.
    ///
    /// - Parameters:
    ///   - memory: aligned to 128 bytes (a mapping is), live as long as any copy of this value.
    ///   - base: the present; times are kept relative to it.
    ///   - hash: with 128 random bits, new for each table.
    /// - Throws: `.wrongSize`.
    package init(
        creatingIn memory: UnsafeMutableRawPointer, byteCount: Int, layout: CellLayout,
        base: Instant, hash: LimitHash
    ) throws(CellLayout.Failure) {
        guard layout.kind == .rates else { throw .wrongLayout }
        unsafe table = try CellTable(
            memory, byteCount: byteCount, creating: (layout, base, hash))
        // Else it is made again for each text.
        use(textKey)
    }

    /// Uses a table that another process has made.
    ///
    /// - Throws: `.wrongLayout` if it is none, `.wrongSize` if it is cut.
    package init(
        in memory: UnsafeMutableRawPointer, byteCount: Int
    ) throws(CellLayout.Failure) {
        unsafe table = try CellTable(memory, byteCount: byteCount, creating: nil)
        guard table.layout.kind == .rates else { throw .wrongLayout }
    }

    /// Of a text, so that nobody can choose two texts that count as one; see `textKey`.
    package func hash(_ text: Span<UInt8>) -> UInt64 { textHash.hash(text) }

    /// Has a key's cell fetched from memory, for a decision that is near.
    @inline(__always)
    package func touch(_ key: UInt64) { table.touch(key) }

    /// The cell of a limit and whom it counts.
    @inline(__always)
    package func key(_ identity: UInt64, _ subject: LimitSubject) -> UInt64 {
        table.hash.hash(identity, subject)
    }
}

/// Whether a cost passes, and the debt of its key after that, in ticks of 512 ns: numbers for
/// people are the limit's to make (`RateLimit.remaining`, `wait`).
package struct LimitDecision: Sendable, Equatable {
    package var isAdmitted: Bool
    package var debt: UInt64
}

extension LimitTable {
    /// What may happen to a cost besides being refused.
    package enum Charge: Sendable {
        /// Refused costs are not charged.
        case ifAdmitted
        /// They are, up to another span: who goes on above the rate goes on being refused, as with
        /// HAProxy's counters.
        case always
        /// Nothing is refused: what has happened already, or is only watched.
        case unconditionally
    }

    /// Asks whether `cost` passes, and charges it.
    ///
    /// - Parameters:
    ///   - key: see `key(_:_:)`.
    ///   - initialDebt: of a key that has none yet; see `LimitTable.debt(inheritedFrom:)`.
    // hot: no allocation; at most two cache lines; one locked instruction for a known key
    package func admit(
        _ key: UInt64, _ limit: RateLimit, cost: UInt32 = 1, now: Instant,
        charge: Charge = .ifAdmitted, initialDebt: UInt64 = 0
    ) -> LimitDecision {
        let ticks = table.ticks(now)
        let added = limit.ticks(cost)
        var floor = initialDebt
        for _ in 0..<Self.attemptsMax {
            guard let place = table.place(key, ticks, evicts: true) else { break }
            let debt = max(CellTable.lead(place.value, ticks), floor)
            var after = debt &+ added
            let isAdmitted = after <= limit.span
            if !isAdmitted {
                switch charge {
                case .ifAdmitted:
                    return LimitDecision(isAdmitted: false, debt: debt)
                case .always:
                    // Never less than it was: others may have charged what they did not ask about.
                    after = max(debt, min(after, limit.span &+ limit.span))
                case .unconditionally: break
                }
            }
            let moved = CellTable.moved(place.value, ticks, lead: after)
            if moved == place.value || table.cells.replace(place.index, place.value, with: moved) {
                return LimitDecision(
                    isAdmitted: isAdmitted || isForced(charge),
                    debt: min(after, CellTable.valueMax))
            }
            // What was inherited is in the word that has been written meanwhile.
            floor = 0
        }
        // Nobody was ever as unlucky; without a cell nobody passes.
        table.note(.contested)
        return LimitDecision(isAdmitted: false, debt: limit.span)
    }

    @inline(__always)
    private func isForced(_ charge: Charge) -> Bool {
        if case .unconditionally = charge { true } else { false }
    }

    /// Takes a charge back: something else has refused the request.
    // hot: one locked instruction
    package func refund(_ key: UInt64, _ limit: RateLimit, cost: UInt32 = 1, now: Instant) {
        let ticks = table.ticks(now)
        let added = limit.ticks(cost)
        update(key, ticks, inserting: false) { $0 > added ? $0 - added : 0 }
    }

    /// What the other node has admitted: TAT = max(TAT, now) + cost × interval. Debts of both
    /// together may exceed the burst; they are kept in full.
    package func merge(_ key: UInt64, _ limit: RateLimit, cost: UInt32, now: Instant) {
        let added = limit.ticks(cost)
        update(key, table.ticks(now), inserting: true) { $0 + added }
    }

    /// The other node's remaining debt, as a maximum: charging it twice changes nothing.
    package func raise(_ key: UInt64, toDebt debt: UInt64, now: Instant) {
        guard debt > 0 else { return }
        update(key, table.ticks(now), inserting: true) { max($0, debt) }
    }

    /// Forgives a key its debt.
    package func reset(_ key: UInt64, now: Instant) {
        update(key, table.ticks(now), inserting: false) { _ in 0 }
    }

    /// A key's debt in ticks; 0: it has none.
    // hot: no locked instruction
    package func debt(_ key: UInt64, now: Instant) -> UInt64 {
        let ticks = table.ticks(now)
        return table.find(key, ticks).map { CellTable.lead($0.value, ticks) } ?? 0
    }

    @inline(__always)
    private func update(
        _ key: UInt64, _ ticks: UInt64, inserting: Bool, _ debt: (UInt64) -> UInt64
    ) {
        for _ in 0..<Self.attemptsMax {
            let place =
                inserting
                ? table.place(key, ticks, evicts: true) : table.find(key, ticks)
            guard let place else { return }
            let before = CellTable.lead(place.value, ticks)
            let after = min(debt(before), CellTable.valueMax)
            guard after != before else { return }
            let moved = CellTable.moved(place.value, ticks, lead: after)
            if table.cells.replace(place.index, place.value, with: moved) { return }
        }
        table.note(.contested)
    }
}
