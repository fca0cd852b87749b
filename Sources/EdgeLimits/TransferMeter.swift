/// One direction of a transfer whose bytes are charged: what has been charged, and what its turn
/// leaves it. A transfer in debt uses its turn up before it pauses, and has another one behind the
/// pause; so transfers under one limit move the same, in whatever pieces their bytes come.
///
///     turn left ─ used up, in debt ─▶ (pause) ─ resumed ─▶ turn left
package struct TransferMeter: Sendable, Equatable, BitwiseCopyable {
    /// Bytes that have been charged.
    package private(set) var charged: UInt64
    /// Bytes of a turn; 0: the direction is not charged.
    package let turn: Int
    /// Bytes that may still be moved before a debt counts.
    package private(set) var left = 0

    /// - Parameters:
    ///   - turn: see `LimitPlans.turn`.
    ///   - least: of a turn, bytes: what is read at a time whatever the limit.
    ///   - moved: that nobody is charged for.
    package init(turn: Int, least: Int, moved: UInt64 = 0) {
        self.turn = turn == 0 ? 0 : max(turn, least)
        charged = moved
    }

    package var isOn: Bool { turn > 0 }

    /// Bytes to be charged: what is new of the `total` that has been moved.
    package mutating func take(of total: UInt64) -> UInt32 {
        guard total > charged else { return 0 }
        let amount = UInt32(clamping: total - charged)
        charged += UInt64(amount)
        return amount
    }

    /// A turn is charged before it is moved.
    ///
    /// - Returns: bytes to be charged.
    package mutating func prepay() -> UInt32 {
        let amount = UInt32(clamping: turn)
        charged += UInt64(amount)
        return amount
    }

    /// Bytes that were charged in advance, and not moved: it is over.
    package func unused(of total: UInt64) -> UInt32 {
        charged > total ? UInt32(clamping: charged - total) : 0
    }

    /// Whether the transfer pauses.
    ///
    /// - Parameters:
    ///   - amount: bytes that have just been charged.
    ///   - wait: what that says; 0: there is no debt.
    package mutating func pauses(after amount: UInt32, wait: UInt64) -> Bool {
        left = max(0, left - Int(amount))
        return wait > 0 && left == 0
    }

    /// The pause is over.
    package mutating func resume() { left = turn }

    /// Bytes that may be read at a time.
    package var round: Int { left > 0 ? left : turn }
}
