internal import EdgeCore
package import EdgeUpstream

/// What workers need to know of one upstream, whatever names its servers are asked for. Immutable;
/// shared by the pools of a snapshot, and by snapshots as long as nothing of it changes.
package final class UpstreamView: Sendable {
    /// Stable over snapshots as long as the name is the same.
    package let id: Int32
    package let name: String
    /// In the order of the configuration. Empty: no address known yet.
    package let members: [RankedMember]
    package let balance: BalancePolicy
    package let sticky: StickyPolicy?
    package let slowStart: Duration
    /// Failures in a row, on one worker, that the control thread is told of; 0: never.
    package let tellsFailures: Int
    package let retries: RetryPolicy
    /// Connections per member in this worker; 0: no limit.
    package let memberMax: Int
    /// Requests under way in this worker; 0: no limit.
    package let requestsMax: Int
    /// After which another member is tried as well; zero: never.
    package let raceAfter: Duration
    /// This worker's part of the attempts that the budget always has.
    package let retriesAlways: Int

    package init(
        id: Int32, name: String, members: [RankedMember], balance: BalancePolicy = .roundRobin,
        sticky: StickyPolicy? = nil, slowStart: Duration = .zero, tellsFailures: Int = 0,
        retries: RetryPolicy = RetryPolicy(), memberMax: Int = 0, requestsMax: Int = 0,
        raceAfter: Duration = .zero, retriesAlways: Int = 100
    ) {
        self.id = id
        self.name = name
        self.members = members
        self.balance = balance
        self.sticky = sticky
        self.slowStart = slowStart
        self.tellsFailures = tellsFailures
        self.retries = retries
        self.memberMax = memberMax
        self.requestsMax = requestsMax
        self.raceAfter = raceAfter
        self.retriesAlways = retriesAlways
    }

    /// Of keys and cookies: the same on all workers and nodes.
    var seed: UInt64 {
        name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// The same with other verdicts about its members.
    package func with(members: [RankedMember]) -> UpstreamView {
        UpstreamView(
            id: id, name: name, members: members, balance: balance, sticky: sticky,
            slowStart: slowStart, tellsFailures: tellsFailures, retries: retries,
            memberMax: memberMax, requestsMax: requestsMax,
            raceAfter: raceAfter, retriesAlways: retriesAlways)
    }
}
