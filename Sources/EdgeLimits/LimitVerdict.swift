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
    /// A bit per policy: it lets him pass, whatever he does.
    package let exempt: UInt64
    /// A bit per policy: it does not serve him.
    package let denied: UInt64

    init(_ address: SocketAddress, exempt: UInt64, denied: UInt64) {
        self.address = address
        self.exempt = exempt
        self.denied = denied
        texts = .init(repeating: 0)
    }

    @inline(__always)
    func isExempt(_ policy: Int32) -> Bool { exempt &>> UInt64(policy) & 1 == 1 }
}
