package import EdgeCore

/// One limit as it stands for one client.
package struct ClientLimit: Sendable, Equatable {
    /// Index into `LimitPlans.policies`.
    package var policy: Int32
    /// `requests`, `ceiling`, `errors`, …
    package var thing: String
    package var rate: RateLimit
    /// Of the burst.
    package var remaining: UInt64
    /// Nanoseconds until one more passes; 0: now.
    package var wait: UInt64
    /// Places that count it apart; what is said is of the one with the least left.
    package var places: Int
}

/// What administrators ask and order about one client. Not for the data path: walks all limits.
extension LimitPlans {
    /// Policies that apply at a place, outermost first.
    package func policies(of plan: Int32) -> [Int] {
        guard plan >= 0, Int(plan) < plans.count else { return [] }
        let span = plans[Int(plan)].policies
        return planPolicies[Int(span.first)..<Int(span.first) + Int(span.count)].map { Int($0) }
    }

    /// There is a place where somebody is limited.
    package var hasPlaces: Bool { !planPolicies.isEmpty }

    /// How a client stands with each limit that counts him by his address.
    ///
    /// - Parameter policy: index; nil: all.
    package func limits(
        of client: SocketAddress, policy: Int32? = nil, now: Instant, in table: LimitTable
    ) -> [ClientLimit] {
        var rows: [ClientLimit] = []
        var seen: Set<UInt64> = []
        for (thing, index) in namedLimits {
            let limit = limits[index]
            guard policy == nil || limit.policy == policy, let subject = subject(of: client, index),
                seen.insert(limit.identity).inserted
            else { continue }
            let key = table.key(limit.identity, subject)
            let debt = table.debt(key, now: now)
            let row = ClientLimit(
                policy: limit.policy, thing: thing, rate: limit.rate,
                remaining: limit.rate.remaining(debt: debt),
                wait: limit.rate.wait(debt: debt, cost: 1) ?? 0, places: 1)
            let known = rows.firstIndex {
                $0.policy == row.policy && $0.thing == thing && $0.rate == row.rate
            }
            guard let known else {
                rows.append(row)
                continue
            }
            rows[known].places += 1
            guard row.remaining < rows[known].remaining else { continue }
            (rows[known].remaining, rows[known].wait) = (row.remaining, row.wait)
        }
        return rows
    }

    /// Forgives a client what he has used up of all limits that count him by his address, of what
    /// was before them, and of his parts of ceilings.
    ///
    /// - Parameter policy: index; nil: all.
    /// - Returns: how many limits held something against him.
    package func reset(
        _ client: SocketAddress, policy: Int32? = nil, now: Instant, in table: LimitTable
    ) -> Int {
        var count = 0
        var seen: Set<UInt64> = []
        func forgive(_ identity: UInt64, _ subject: LimitSubject) {
            guard seen.insert(identity).inserted else { return }
            let key = table.key(identity, subject)
            guard table.debt(key, now: now) > 0 else { return }
            table.reset(key, now: now)
            count += 1
        }
        for (index, limit) in limits.enumerated() where policy == nil || limit.policy == policy {
            if limit.ceiling >= 0 {
                forgive(
                    Self.shareIdentity(limit.identity),
                    LimitSubject(
                        client: client, ipv4Bits: limit.ipv4Bits, ipv6Bits: limit.ipv6Bits))
            }
            guard let subject = subject(of: client, index) else { continue }
            var former = limit.former
            while former >= 0 {
                forgive(self.former[Int(former)].identity, subject)
                former = self.former[Int(former)].next
            }
            forgive(limit.identity, subject)
        }
        return count
    }

    /// Where a client's part of a ceiling is counted.
    @inline(__always)
    static func shareIdentity(_ identity: UInt64) -> UInt64 { identity ^ 0x7368_6172_65 }

    /// Whom a limit counts when it counts the client; nil: it counts all together.
    private func subject(of client: SocketAddress, _ index: Int) -> LimitSubject? {
        let limit = limits[index]
        let policy = policies[Int(limit.policy)]
        if policy.errorLimit == Int32(index) { return policy.banned(client) }
        return limit.whose == .everybody ? nil : limit.subject(client: client, text: 0)
    }

    /// Every limit with what it limits.
    private var namedLimits: [(thing: String, index: Int)] {
        var named = policies.filter { $0.errorLimit >= 0 }.map { ("errors", Int($0.errorLimit)) }
        for plan in plans {
            for thing in LimitedThing.allCases {
                let span = plan.rates[Int(thing.rawValue)]
                for index in Int(span.first)..<Int(span.first) + Int(span.count) {
                    named.append((limits[index].ceiling >= 0 ? "ceiling" : thing.word, index))
                }
            }
        }
        return named
    }
}
