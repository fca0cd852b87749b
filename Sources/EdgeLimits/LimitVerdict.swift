package import EdgeCore

/// What came of asking all limits that stand in the way of something.
package struct LimitVerdict: Sendable, Equatable, BitwiseCopyable {
    /// Index into `LimitPlans.limits` of the one that refused; -1: none.
    package var refusedBy: Int32 = -1
    /// That limit's debt of the client, in ticks, for `LimitFields`; if none refused, of the limit
    /// with the least left.
    package var debt: UInt64 = 0
    /// What was asked for.
    package var cost: UInt32 = 1
    /// The limit with the least left of its burst, if none refused; -1: there is no limit.
    package var tightest: Int32 = -1
    /// The first limit in shadow mode that would have refused; -1: none.
    package var shadow: Int32 = -1
    /// Refused because all clients together want more than there is, and this one its part.
    package var isUnfair = false
    /// Key of the first limit that was asked, for `LimitTable.touch`; 0: there is none.
    package var key: UInt64 = 0

    package var isAdmitted: Bool { refusedBy < 0 }

    package init() {}
}

/// What came of charging bytes that have been moved.
package struct LimitPause: Sendable, Equatable, BitwiseCopyable {
    /// Until more may be moved; 0: at once.
    package var nanoseconds: UInt64 = 0
    /// The first limit in shadow mode that would have asked for a pause; -1: none.
    package var shadow: Int32 = -1

    package init() {}
}

/// What came of asking all that is counted while it lasts.
package struct CountVerdict: Sendable, Equatable, BitwiseCopyable {
    /// Index into `LimitPlans.counts` of the one that refused; -1: none.
    package var refusedBy: Int32 = -1
    /// The first in shadow mode of which there are more than it allows; -1: none.
    package var shadow: Int32 = -1

    package var isAdmitted: Bool { refusedBy < 0 }

    package init() {}
}

/// Who somebody is to the limits of one `LimitPlans`: made by it once per connection, and again
/// after a reload.
package struct LimitCaller: Sendable, BitwiseCopyable {
    /// The true client.
    package var address: SocketAddress
    /// Hashes of `LimitPlans.texts`; 0: not there.
    package var texts: [4 of UInt64]
    /// What the request costs by each of `LimitPlans.priceLists`, from 1 on; the first is 1.
    package var prices: [5 of UInt32]
    /// A bit per policy: it lets him pass, whatever he does.
    package let exempt: UInt64
    /// A bit per policy: it does not serve him.
    package let denied: UInt64

    init(_ address: SocketAddress, exempt: UInt64, denied: UInt64) {
        self.address = address
        self.exempt = exempt
        self.denied = denied
        texts = .init(repeating: 0)
        prices = .init(repeating: 1)
    }

    /// What `cost` is to a limit.
    @inline(__always)
    func cost(_ limit: CompiledLimit, _ cost: UInt32) -> UInt32 {
        cost &* prices[Int(limit.prices)]
    }

    @inline(__always)
    func isExempt(_ policy: Int32) -> Bool { exempt &>> UInt64(policy) & 1 == 1 }
}
