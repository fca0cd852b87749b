internal import EdgeCore

extension Balancer {
    /// What is known of the member at one index.
    struct Seat: Sendable {
        /// The newest member's here, also after it has left; nil: there was none.
        var address: SocketAddress?
        /// Keyed hash of the address.
        var token: UInt64 = 0
        /// 0: no current member.
        var weight = 0
        var rank = MemberRank.never
        /// Whether requests that a cookie binds to it may be sent to it.
        var takesBound = false
        var rampedFrom = Instant(nanoseconds: 0)
        /// Requests under way, those of a former member at this index included.
        var load = 0
        /// The weight in 1/1024, less while it ramps up; at least 1 for a member.
        var share = 0
        /// `share` in the choice that is being made; 0: not a candidate.
        var part = 0
        /// What is due to it in turns, in the unit of `share`: of all members together about 0.
        var credit = 0
        var latency = PeakLatency()

        static let unit = 1024

        mutating func seat(_ member: RankedMember, token: UInt64) {
            if address != member.address {
                address = member.address
                self.token = token
                credit = 0
                latency = PeakLatency()
            }
            weight = min(max(member.weight, 1), 256)
            rank = member.rank
            rampedFrom = member.rampedFrom
            share = weight * Self.unit
            // A backup keeps its clients; one that nobody has seen working gets none by a cookie.
            takesBound = rank < .never && !(rank == .fallback && member.state == .unknown)
        }

        mutating func vacate() {
            weight = 0
            share = 0
            rank = .never
            takesBound = false
        }

        /// Sets the share for the present: a tenth of the weight at first, then linearly up to all
        /// of it.
        ///
        /// - Returns: whether it will be another later.
        mutating func ramp(now: Instant, over nanoseconds: UInt64) -> Bool {
            let whole = weight * Self.unit
            let elapsed = now.nanoseconds(since: rampedFrom)
            guard weight > 0, rampedFrom.nanoseconds > 0, elapsed < nanoseconds else {
                share = whole
                return false
            }
            let grown = 0.1 + 0.9 * Double(elapsed) / Double(nanoseconds)
            share = max(Int(Double(whole) * grown), 1)
            return true
        }
    }

    /// The candidates of one choice.
    struct Field {
        var count = 0
        /// Sum of the parts.
        var total = 0
        /// Requests under way on all of them.
        var load = 0
        /// The last one's index.
        var last = 0
        var smallest = Int.max
        var largest = 0

        var isUniform: Bool { smallest == largest }
    }
}
