package import EdgeCore

/// Whether somebody is served at all, before anything is counted.
package enum LimitStanding: Sendable, Equatable, BitwiseCopyable {
    case welcome
    /// On the list of this policy (index).
    case denied(policy: Int32)
    /// By this policy, -1: by an administrator; for so many more nanoseconds.
    case banned(policy: Int32, remaining: UInt64)
}

extension LimitPlans {
    /// Identity of bans that administrators make: they hold wherever there is a plan.
    package static let generalBan = LimitHash.stable("ban")

    /// Identity of the bans that a policy makes: the same as long as it has its name.
    package static func banIdentity(_ policy: String, isShadow: Bool = false) -> UInt64 {
        LimitHash.stable(isShadow ? "shadow ban \(policy)" : "ban \(policy)")
    }

    /// What the policies' lists say of a client.
    // hot: once per connection; no allocation; O(policies × log blocks)
    package func caller(_ address: SocketAddress) -> LimitCaller {
        var exempt: UInt64 = 0
        var denied: UInt64 = 0
        guard hasLists else { return LimitCaller(address, exempt: 0, denied: 0) }
        for index in policies.indices {
            if policies[index].allowed.contains(address) { exempt |= 1 << UInt64(index) }
            if policies[index].denied.contains(address) { denied |= 1 << UInt64(index) }
        }
        return LimitCaller(address, exempt: exempt, denied: denied & ~exempt)
    }

    /// Asked when a connection or a request comes.
    // hot: no allocation; one load while nobody has ever been banned
    package func standing(
        _ plan: Int32, _ caller: LimitCaller, now: Instant, in bans: BanTable
    ) -> LimitStanding {
        guard plan >= 0 else { return .welcome }
        let hasBans = bans.table.count(.inserted) > 0
        if hasBans {
            let key = bans.key(Self.generalBan, LimitSubject(client: caller.address))
            let left = bans.remaining(key, now: now)
            if left > 0 { return .banned(policy: -1, remaining: left) }
        }
        let span = plans[Int(plan)].policies
        for index in Int(span.first)..<Int(span.first) + Int(span.count) {
            let number = planPolicies[index]
            if caller.isExempt(number) { continue }
            let isDenied = caller.denied >> UInt64(number) & 1 == 1
            if isDenied, !policies[Int(number)].isShadow { return .denied(policy: number) }
            guard hasBans, policies[Int(number)].errorLimit >= 0, !policies[Int(number)].isShadow
            else { continue }
            let policy = policies[Int(number)]
            let left = bans.remaining(
                bans.key(policy.banIdentity, policy.banned(caller.address)), now: now)
            if left > 0 { return .banned(policy: number, remaining: left) }
        }
        return .welcome
    }

    /// The policy in shadow mode that would keep a client out, were it none; -1: none. To be asked
    /// only of those whom some list denies.
    package func shadowDenial(_ plan: Int32, _ caller: LimitCaller) -> Int32 {
        for number in policies(of: plan)
        where caller.denied >> UInt64(number) & 1 == 1 && policies[number].isShadow {
            return Int32(number)
        }
        return -1
    }

    /// Counts an answer that a client brought about, if its status is one that counts, and bans
    /// him when there were too many.
    ///
    /// - Returns: a bit per policy that has banned him just now, for the log and the other node. In
    ///   shadow mode it is told once per ban, too, and nothing happens to him.
    // hot: a comparison for answers that do not count
    package func noteAnswer(
        _ plan: Int32, status: UInt16, _ caller: LimitCaller, now: Instant, in table: LimitTable,
        bans: BanTable
    ) -> UInt64 {
        guard plan >= 0, status >= 400 else { return 0 }
        let span = plans[Int(plan)].policies
        var banned: UInt64 = 0
        for index in Int(span.first)..<Int(span.first) + Int(span.count) {
            let number = planPolicies[index]
            let policy = policies[Int(number)]
            guard policy.errorLimit >= 0, !caller.isExempt(number),
                policy.errorStatuses.contains(where: { $0.contains(status) })
            else { continue }
            let limit = limits[Int(policy.errorLimit)]
            let subject = policy.banned(caller.address)
            let decision = table.admit(
                table.key(limit.identity, subject), limit.rate, now: now)
            guard !decision.isAdmitted else { continue }
            let key = bans.key(policy.banIdentity, subject)
            // Who is banned has his last requests end: nothing gets longer by that.
            guard bans.remaining(key, now: now) == 0 else { continue }
            if bans.ban(key, for: policy.ban, now: now) { banned |= 1 << UInt64(number) }
        }
        return banned
    }
}

/// What a connection or request holds of concurrency limits, until it `leave`s. All zero: nothing.
package struct HeldCounts: Sendable, BitwiseCopyable {
    /// Limits that can hold something at a time; the configuration refuses more.
    package static let countMax = 4

    fileprivate var keys: [4 of UInt64] = .init(repeating: 0)
    fileprivate var count: UInt8 = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }
}

extension LimitPlans {
    /// One more of what is counted while it lasts, under all limits of the plan or none.
    ///
    /// - Parameter held: filled; to be given to `leave` exactly once, whatever happens to the plan.
    // hot: no allocation
    package func enter(
        _ plan: Int32, _ thing: CountedThing, _ caller: LimitCaller, in table: ConcurrencyTable,
        held: inout HeldCounts
    ) -> CountVerdict {
        var verdict = CountVerdict()
        guard plan >= 0 else { return verdict }
        let span = plans[Int(plan)].counts[Int(thing.rawValue)]
        for index in Int(span.first)..<Int(span.first) + Int(span.count) {
            let limit = counts[index]
            if caller.isExempt(limit.policy) { continue }
            guard held.count < UInt8(HeldCounts.countMax) else {
                // More places than a connection can have, but for one whose second hello names
                // another site: not for nothing.
                if limit.isShadow { continue }
                leave(&held, in: table)
                verdict.refusedBy = Int32(index)
                return verdict
            }
            let subject = limit.subject(
                client: caller.address, text: caller.texts[Int(limit.text)])
            let key = table.key(limit.identity, subject)
            guard table.enter(key, most: limit.isShadow ? .max : limit.most) else {
                // No room in the table: that refuses nobody who is only watched.
                if limit.isShadow { continue }
                leave(&held, in: table)
                verdict.refusedBy = Int32(index)
                return verdict
            }
            if limit.isShadow, verdict.shadow < 0, table.count(key) > UInt64(limit.most) {
                verdict.shadow = Int32(index)
            }
            held.keys[Int(held.count)] = key
            held.count += 1
        }
        return verdict
    }

    /// Gives back what is held, and forgets it.
    package func leave(_ held: inout HeldCounts, in table: ConcurrencyTable) {
        for index in 0..<Int(held.count) { table.leave(held.keys[index]) }
        held = HeldCounts()
    }
}
