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
    /// Makes the keys of members' tokens: nobody outside knows which address a cookie stands for.
    package let secret: KeyedHash
    /// Of keys and cookies: the same on all workers, and for one secret.
    let seed: UInt64
    let keys: KeyedHash
    let keySource: KeySource
    /// The field's name in lower case, or the cookie's.
    let keyName: [UInt8]
    /// Empty: no cookie of ours.
    let cookieName: [UInt8]

    /// What of a request decides about its member.
    enum KeySource {
        case nothing, client, header, cookie
    }

    package init(
        id: Int32, name: String, members: [RankedMember], balance: BalancePolicy = .roundRobin,
        sticky: StickyPolicy? = nil, slowStart: Duration = .zero, tellsFailures: Int = 0,
        retries: RetryPolicy = RetryPolicy(), memberMax: Int = 0, requestsMax: Int = 0,
        raceAfter: Duration = .zero, retriesAlways: Int = 100,
        secret: KeyedHash = KeyedHash(seed: 0)
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
        self.secret = secret
        seed = Array(name.utf8).withUnsafeBytes { secret.hash($0) }
        keys = KeyedHash(seed: seed)
        cookieName = sticky.map { Array($0.cookie.utf8) } ?? []
        switch balance {
        case .roundRobin, .leastRequests, .fastest: (keySource, keyName) = (.nothing, [])
        case .hash(.client): (keySource, keyName) = (.client, [])
        case .hash(.header(let name)): (keySource, keyName) = (.header, Array(name.utf8))
        case .hash(.cookie(let name)): (keySource, keyName) = (.cookie, Array(name.utf8))
        }
    }

    /// Something of each request's head decides about its member.
    var readsRequests: Bool { keySource != .nothing || !cookieName.isEmpty }

    /// The same with other verdicts about its members.
    package func with(members: [RankedMember]) -> UpstreamView {
        UpstreamView(
            id: id, name: name, members: members, balance: balance, sticky: sticky,
            slowStart: slowStart, tellsFailures: tellsFailures, retries: retries,
            memberMax: memberMax, requestsMax: requestsMax,
            raceAfter: raceAfter, retriesAlways: retriesAlways, secret: secret)
    }
}
