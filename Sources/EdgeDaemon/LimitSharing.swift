internal import EdgeCore
internal import EdgeLimits
internal import EdgePair
internal import EdgeProxy

/// What the nodes of a pair tell each other of what their clients have used up. Sans-IO: it is told
/// what happened and when, and says which messages are due. Nothing of it is waited for, and what
/// does not come over only means that each node counts for itself.
///
/// *While there is a link* each node tells what it has admitted (`costs`), and the other one adds
/// it; what it has been told is never told back. *When there is a link again* each tells what is
/// still owed by whom it remembers (`debts`), its own and what it had been told, and the other one
/// takes the larger: so a node that comes back with nothing knows as much as the one that stayed.
/// Requests under way are not shared.
struct LimitSharing {
    /// Of this node's life.
    struct Counts: Equatable {
        /// Costs that were told, and that came.
        var told: UInt64 = 0
        var taken: UInt64 = 0
        /// That there was no room for on the way; see also `AdmittedRing.lost`.
        var lost: UInt64 = 0
        /// Costs and debts under limits that are not the same here.
        var unknown: UInt64 = 0
        /// Debts that came.
        var debts: UInt64 = 0
        /// Batches that came again, and that never came.
        var repeated: UInt64 = 0
        var missed: UInt64 = 0
    }

    /// Between two batches.
    static let period = Duration.milliseconds(50)
    /// What is unsent of the link while nothing more is added to it.
    static let unsentMax = 512 << 10
    /// Bytes that may be told at once, and per second: half of what the other node takes.
    static let allowanceMax = 1 << 20
    static let allowancePerSecond = 300 << 10
    private static let costBytes = 28

    private let memory: LimitMemory
    private let incarnation: UInt64
    private var plans = LimitPlans()
    private var numbers: [UInt64: Int] = [:]
    private var book = CostBook()
    private var sequence = BatchSequence()
    private var batch: UInt64 = 0
    private(set) var isLinked = false
    private var allowance: Int
    private var allowedAt: Instant
    private var told: PairTextKey?
    private var known = Counts()

    /// - Parameters:
    ///   - incarnation: random, not 0, new for each side of a link.
    ///   - allowance: bytes that may be told at once for now.
    init(
        memory: LimitMemory, incarnation: UInt64, now: Instant,
        allowance: Int = LimitSharing.allowanceMax
    ) {
        invariant(incarnation != 0, "an incarnation is told from none")
        self.memory = memory
        self.incarnation = incarnation
        self.allowance = allowance
        allowedAt = now
    }

    var counts: Counts {
        var counts = known
        counts.lost &+= book.lost
        return counts
    }

    /// There is something to be told.
    var hasCosts: Bool { book.pendingCount > 0 }

    /// What counts from now on.
    mutating func use(_ plans: LimitPlans) {
        self.plans = plans
        numbers = plans.numbersByIdentity
    }

    // MARK: - Telling

    /// A worker has admitted this.
    mutating func admitted(_ entry: AdmittedJournal.Entry) {
        book.admitted(entry, isTold: isLinked)
    }

    /// There is a link: what the other node is told at once. What was admitted before is in it.
    mutating func opened(now: Instant) -> [PairMessage] {
        isLinked = true
        book.forgetPending()
        let key = memory.rates.textKey
        let mine = PairTextKey(
            high: key.high, low: key.low, age: now.nanoseconds(since: key.since))
        told = mine
        var debts: [PairDebt] = []
        book.recent { key in
            let debt = memory.rates.debt(memory.rates.key(key.identity, key.subject), now: now)
            guard debt > 0 else { return }
            debts.append(
                PairDebt(
                    identity: key.identity, high: key.subject.high, low: key.subject.low,
                    nanoseconds: min(RateLimit.nanoseconds(debt), PairMessage.debtMax)))
        }
        var messages = [PairMessage.textKey(mine)]
        for start in stride(from: 0, to: debts.count, by: PairMessage.costsMax) {
            let end = min(start + PairMessage.costsMax, debts.count)
            messages.append(.debts(Array(debts[start..<end])))
        }
        return messages
    }

    mutating func closed() {
        isLinked = false
        told = nil
        book.forgetPending()
    }

    /// What is to be told now; the caller sees to the `period`.
    ///
    /// - Parameter unsent: bytes that the other node has not taken yet.
    mutating func batches(now: Instant, unsent: Int) -> [PairMessage] {
        let span = min(now.nanoseconds(since: allowedAt), 10_000_000_000)
        allowance = min(
            Self.allowanceMax,
            allowance + Int(span / 1_000) * Self.allowancePerSecond / 1_000_000)
        allowedAt = now
        guard isLinked, unsent <= Self.unsentMax else { return [] }
        var messages: [PairMessage] = []
        while book.pendingCount > 0 {
            let room = min(allowance / Self.costBytes, PairMessage.costsMax)
            guard room > 0 else { break }
            let entries = book.take(room)
            batch += 1
            allowance -= entries.count * Self.costBytes
            for entry in entries { known.told &+= UInt64(entry.cost) }
            messages.append(
                .costs(
                    PairCosts(
                        incarnation: incarnation, number: batch,
                        entries: entries.map {
                            PairCost(
                                identity: $0.identity, high: $0.subject.high,
                                low: $0.subject.low, cost: $0.cost)
                        })))
        }
        return messages
    }

    // MARK: - Being told

    mutating func take(_ costs: PairCosts, now: Instant) {
        switch sequence.receive(incarnation: costs.incarnation, number: costs.number) {
        case .merge: break
        case .mergeAfterGap(let missing): known.missed &+= missing
        case .repeated:
            known.repeated &+= 1
            return
        }
        for entry in costs.entries {
            guard let number = numbers[entry.identity] else {
                known.unknown &+= 1
                continue
            }
            let subject = LimitSubject(high: entry.high, low: entry.low)
            plans.merge(number, subject, cost: entry.cost, now: now, in: memory.rates)
            book.remember(CostBook.Key(identity: entry.identity, subject: subject))
            known.taken &+= UInt64(entry.cost)
        }
    }

    mutating func take(_ debts: [PairDebt], now: Instant) {
        for debt in debts {
            guard numbers[debt.identity] != nil else {
                known.unknown &+= 1
                continue
            }
            let subject = LimitSubject(high: debt.high, low: debt.low)
            memory.rates.raise(
                memory.rates.key(debt.identity, subject),
                toDebt: RateLimit.ticks(nanoseconds: debt.nanoseconds), now: now)
            book.remember(CostBook.Key(identity: debt.identity, subject: subject))
            known.debts &+= 1
        }
    }

    /// The key that has been used longer counts on both; of two that are as old, the larger.
    mutating func take(_ theirs: PairTextKey, now: Instant) {
        guard let mine = told, (theirs.high, theirs.low) != (mine.high, mine.low) else { return }
        guard
            (theirs.age, theirs.high, theirs.low) > (mine.age, mine.high, mine.low)
        else { return }
        let age = min(theirs.age, now.nanoseconds)
        memory.rates.use(
            LimitTable.TextKey(
                high: theirs.high, low: theirs.low,
                since: Instant(nanoseconds: now.nanoseconds - age)))
    }
}
