import EdgeCore

/// What all workers together have seen of one member in the last ten seconds. Fixed size; a summary
/// counts in the second in which it comes.
struct TrafficWindow: Sendable {
    static let seconds = 10

    struct Totals: Sendable {
        var requests = 0
        var failures = 0
        /// Nanoseconds.
        var latencySum: UInt64 = 0
    }

    private var slots = [Totals](repeating: Totals(), count: Self.seconds)
    /// Number of the newest second that has a slot.
    private var newest: UInt64 = 0

    mutating func add(_ summary: MemberSummary, now: Instant) {
        forget(now)
        let slot = Int(newest % UInt64(Self.seconds))
        slots[slot].requests += summary.requests
        slots[slot].failures += summary.failures
        slots[slot].latencySum &+= summary.latencySum
    }

    mutating func totals(now: Instant) -> Totals {
        forget(now)
        return slots.reduce(into: Totals()) { sum, slot in
            sum.requests += slot.requests
            sum.failures += slot.failures
            sum.latencySum &+= slot.latencySum
        }
    }

    mutating func clear() {
        for slot in slots.indices { slots[slot] = Totals() }
    }

    /// Empties the slots of seconds that are over. At most ten steps.
    private mutating func forget(_ now: Instant) {
        let second = now.nanoseconds / 1_000_000_000
        guard second > newest else { return }
        for step in 1...min(second - newest, UInt64(Self.seconds)) {
            slots[Int((newest + step) % UInt64(Self.seconds))] = Totals()
        }
        newest = second
    }
}

/// Finds members that do worse than they may, or than the others do.
enum OutlierDetector {
    enum Finding: Equatable {
        /// So many percent of its requests have failed.
        case failures(percent: Int)
        /// Its answers take so many times as long as the median member's.
        case latency(times: Int)

        var reason: String {
            switch self {
            case .failures(let percent): "\(percent) % of its requests failed"
            case .latency(let times): "its answers take \(times) times as long as others'"
            }
        }
    }

    /// Answers faster than this are never too slow, whatever the others do.
    static let latencyMin = Duration.milliseconds(5)

    /// What is wrong with each member; nil: nothing, or too few requests to say.
    static func findings(
        _ members: [TrafficWindow.Totals], policy: EjectionPolicy
    ) -> [Finding?] {
        let median = medianLatency(members, requestsMin: policy.requestsMin)
        return members.map { totals in
            guard totals.requests >= max(policy.requestsMin, 1) else { return nil }
            let (percent, _) = (totals.failures * 100).quotientAndRemainder(
                dividingBy: totals.requests)
            if policy.failurePercent > 0, percent >= policy.failurePercent {
                return .failures(percent: percent)
            }
            guard policy.latencyFactor > 0, let median else { return nil }
            let mean = totals.latencySum / UInt64(totals.requests)
            let times = mean / max(median, 1)
            guard times >= UInt64(policy.latencyFactor), mean >= latencyMin.nanoseconds else {
                return nil
            }
            return .latency(times: Int(clamping: times))
        }
    }

    /// Of the members' means, the lower one of two in the middle; nil with less than two.
    private static func medianLatency(
        _ members: [TrafficWindow.Totals], requestsMin: Int
    ) -> UInt64? {
        let means = members.filter { $0.requests >= max(requestsMin, 1) }
            .map { $0.latencySum / UInt64($0.requests) }.sorted()
        return means.count < 2 ? nil : means[(means.count - 1) / 2]
    }
}
