/// What one node has admitted of somebody since it last said so: the other one counts it, too. Same
/// numbers on both nodes as long as their configurations say the same of the limit.
package struct PairCost: Sendable, Equatable {
    /// Which limit: its name, scope and rate.
    package var identity: UInt64
    /// Whom it counts: the leading bits of an address, or a hash under the pair's key.
    package var high: UInt64
    package var low: UInt64
    /// Never 0.
    package var cost: UInt32

    package init(identity: UInt64, high: UInt64, low: UInt64, cost: UInt32) {
        self.identity = identity
        self.high = high
        self.low = low
        self.cost = cost
    }
}

/// One batch of costs. Batches are numbered, so that one that comes again changes nothing and one
/// that never comes is known.
package struct PairCosts: Sendable, Equatable {
    /// Random, another for each life of the sender's side of the link; never 0.
    package var incarnation: UInt64
    /// From 1.
    package var number: UInt64
    /// At least one, at most `PairMessage.costsMax`.
    package var entries: [PairCost]

    package init(incarnation: UInt64, number: UInt64, entries: [PairCost]) {
        self.incarnation = incarnation
        self.number = number
        self.entries = entries
    }
}

/// How long it would take until somebody had nothing used up any more: a span, for the nodes'
/// clocks need not agree, and a maximum, for it may be told twice.
package struct PairDebt: Sendable, Equatable {
    package var identity: UInt64
    package var high: UInt64
    package var low: UInt64
    /// 1…`PairMessage.debtMax`.
    package var nanoseconds: UInt64

    package init(identity: UInt64, high: UInt64, low: UInt64, nanoseconds: UInt64) {
        self.identity = identity
        self.high = high
        self.low = low
        self.nanoseconds = nanoseconds
    }
}

/// 128 random bits under which both nodes hash what clients say of themselves (values of fields
/// and cookies), so that it is the same number on both and nobody else can compute it. Each tells
/// its own when there is a link, and the older one is used from then on: so it outlives either.
package struct PairTextKey: Sendable, Equatable {
    package var high: UInt64
    package var low: UInt64
    /// For how long it has been used, in nanoseconds.
    package var age: UInt64

    package init(high: UInt64, low: UInt64, age: UInt64) {
        self.high = high
        self.low = low
        self.age = age
    }
}

extension PairMessage {
    /// Costs and debts in one message, at most.
    package static let costsMax = 2_000
    /// Longest debt, in nanoseconds: a day.
    package static let debtMax: UInt64 = 86_400_000_000_000

    static func write(_ costs: PairCosts, to writer: inout PairWriter) {
        let entries = costs.entries.prefix(costsMax)
        writer.number(costs.incarnation)
        writer.number(costs.number)
        writer.number(UInt16(entries.count))
        for entry in entries {
            writer.number(entry.identity)
            writer.number(entry.high)
            writer.number(entry.low)
            writer.number(entry.cost)
        }
    }

    static func write(_ debts: [PairDebt], to writer: inout PairWriter) {
        let debts = debts.prefix(costsMax)
        writer.number(UInt16(debts.count))
        for debt in debts {
            writer.number(debt.identity)
            writer.number(debt.high)
            writer.number(debt.low)
            writer.number(debt.nanoseconds)
        }
    }

    static func costs(_ reader: inout PairReader) throws(PairViolation) -> PairCosts {
        let incarnation: UInt64 = try reader.number()
        let number: UInt64 = try reader.number()
        let count = try reader.count(upTo: costsMax)
        guard incarnation != 0, number != 0, count > 0 else { throw reader.violation }
        var entries: [PairCost] = []
        for _ in 0..<count {
            let identity: UInt64 = try reader.number()
            let high: UInt64 = try reader.number()
            let low: UInt64 = try reader.number()
            let cost: UInt32 = try reader.number()
            guard cost > 0 else { throw reader.violation }
            entries.append(PairCost(identity: identity, high: high, low: low, cost: cost))
        }
        return PairCosts(incarnation: incarnation, number: number, entries: entries)
    }

    static func debts(_ reader: inout PairReader) throws(PairViolation) -> [PairDebt] {
        let count = try reader.count(upTo: costsMax)
        guard count > 0 else { throw reader.violation }
        var debts: [PairDebt] = []
        for _ in 0..<count {
            let identity: UInt64 = try reader.number()
            let high: UInt64 = try reader.number()
            let low: UInt64 = try reader.number()
            let nanoseconds: UInt64 = try reader.number()
            guard nanoseconds > 0, nanoseconds <= debtMax else { throw reader.violation }
            debts.append(
                PairDebt(identity: identity, high: high, low: low, nanoseconds: nanoseconds))
        }
        return debts
    }
}
