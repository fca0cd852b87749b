package import EdgeCore

/// What one worker's limits do, by policy and by who is refused, until somebody asks. One thread's;
/// of bounded size.
package struct LimitTally: Sendable {
    /// Rows of those who are refused.
    package static let clientsMax = 128
    /// Bans that are told singly between two words.
    package static let bansMax = 64

    private struct Key: Sendable, Hashable {
        var client: ClientNetwork
        /// -1: an administrator's ban.
        var policy: Int32
        var isShadow: Bool
    }

    /// By policy's index.
    private var figures: [LimitNews.Figures]
    private var top: TopTable<Key>
    private var banned: [(client: ClientNetwork, policy: Int32)] = []
    private var bannedMore = 0
    /// Something was counted since the last word.
    private var isDirty = false

    package init() {
        figures = Array(repeating: LimitNews.Figures(), count: LimitPlans.policiesMax)
        top = TopTable(capacity: Self.clientsMax)
    }

    /// A request has passed all policies of its place.
    // hot: a few additions per policy
    package mutating func admitted(_ plan: Int32, _ caller: LimitCaller, by plans: LimitPlans) {
        guard plan >= 0 else { return }
        isDirty = true
        let span = plans.plans[Int(plan)].policies
        for index in Int(span.first)..<Int(span.first) + Int(span.count) {
            let number = plans.planPolicies[index]
            if caller.isExempt(number) { continue }
            figures[Int(number)].admitted &+= 1
        }
    }

    /// - Parameter policy: index of who refused; -1: an administrator's ban.
    package mutating func refused(
        _ client: SocketAddress, by policy: Int32, of plans: LimitPlans, isShadow: Bool = false,
        now: Instant
    ) {
        // An index from before other policies were taken into use has no name any more.
        guard policy < plans.policies.count else { return }
        isDirty = true
        guard policy >= 0 else {
            top.note(
                Key(client: ClientNetwork(client), policy: -1, isShadow: false), now: now)
            return
        }
        if isShadow {
            figures[Int(policy)].shadow &+= 1
        } else {
            figures[Int(policy)].refused &+= 1
        }
        let (ipv4Bits, ipv6Bits) = plans.networkBits(of: policy)
        let network = ClientNetwork(client, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits)
        top.note(Key(client: network, policy: policy, isShadow: isShadow), now: now)
    }

    /// - Parameter policies: as `LimitPlans.noteAnswer` returns them.
    package mutating func banned(
        _ client: SocketAddress, by policies: UInt64, of plans: LimitPlans
    ) {
        isDirty = true
        var rest = policies
        while rest != 0 {
            let policy = Int32(rest.trailingZeroBitCount)
            rest &= rest - 1
            figures[Int(policy)].bans &+= 1
            guard banned.count < Self.bansMax else {
                bannedMore += 1
                continue
            }
            let (ipv4Bits, ipv6Bits) = plans.networkBits(of: policy)
            banned.append(
                (ClientNetwork(client, ipv4Bits: ipv4Bits, ipv6Bits: ipv6Bits), policy))
        }
    }

    /// All of it, under the names of `plans`, which were in use; begins anew.
    ///
    /// - Returns: nil: nothing has happened.
    package mutating func take(_ plans: LimitPlans) -> LimitNews? {
        guard isDirty else { return nil }
        isDirty = false
        var news = LimitNews()
        for (index, policy) in plans.policies.enumerated()
        where figures[index] != LimitNews.Figures() {
            news.policies.append((policy.name, figures[index]))
            figures[index] = LimitNews.Figures()
        }
        func name(_ policy: Int32) -> String {
            policy >= 0 ? plans.policies[Int(policy)].name : ""
        }
        news.refused = top.rows.map { row in
            TopTable<LimitNews.Refused>.Row(
                key: LimitNews.Refused(
                    client: row.key.client, policy: name(row.key.policy),
                    isShadow: row.key.isShadow),
                count: row.count, surplus: row.surplus, first: row.first, last: row.last)
        }
        news.banned = banned.map { ban in
            let policy = plans.policies[Int(ban.policy)]
            return LimitNews.Banned(
                client: ban.client, policy: policy.name, span: policy.ban,
                isShadow: policy.isShadow)
        }
        news.bannedMore = bannedMore
        top.removeAll()
        banned.removeAll(keepingCapacity: true)
        bannedMore = 0
        return news
    }
}

extension LimitPlans {
    /// What is one client to a policy.
    package func networkBits(of policy: Int32) -> (ipv4: UInt8, ipv6: UInt8) {
        (policies[Int(policy)].ipv4Bits, policies[Int(policy)].ipv6Bits)
    }
}
