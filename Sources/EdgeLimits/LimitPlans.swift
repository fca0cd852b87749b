package import EdgeCore

/// Where policies are named: the view, site and path of a request, as stable numbers, and the
/// policies that they name, outermost first.
package struct LimitPlace: Sendable, Hashable {
    /// `LimitHash.stable` of names that do not change with a reload; 0: none.
    package var view: UInt64
    package var site: UInt64
    package var path: UInt64
    /// Indexes into the configuration's policies; one that is named twice counts once.
    package var policies: [Int]

    package init(view: UInt64 = 0, site: UInt64 = 0, path: UInt64 = 0, policies: [Int]) {
        self.view = view
        self.site = site
        self.path = path
        self.policies = policies
    }
}

/// All limits, compiled for workers: a *plan* per place says which limits stand in the way of which
/// thing, as ranges of flat arrays. Immutable; a reload makes new ones.
///
/// In a plan limits are in the order narrow to wide, ceilings last: who is refused by his own limit
/// has taken nothing of what is everybody's.
package struct LimitPlans: Sendable {
    /// Texts that limits count by, at most.
    package static let textsMax = 4
    package static let plansMax = 1 << 16
    /// A bit each in `LimitCaller`.
    package static let policiesMax = 64

    /// Where a worker has to look for a text.
    package enum Text: Sendable, Hashable {
        case field(String)
        case cookie(String)
    }

    struct Span: Sendable {
        var first: Int32 = 0
        var count: Int32 = 0
    }

    struct Plan: Sendable {
        /// By `LimitedThing.rawValue`.
        var rates: [7 of Span]
        /// By `CountedThing.rawValue`.
        var counts: [2 of Span]
        /// In `planPolicies`.
        var policies: Span
    }

    package private(set) var limits: [CompiledLimit] = []
    package private(set) var counts: [CompiledCount] = []
    package private(set) var policies: [CompiledPolicy] = []
    /// What is to be hashed of a request (`LimitHash.hash`) before it is asked about, 0 if it is
    /// not there.
    package private(set) var texts: [Text] = []
    /// Limits of the configuration before, of those that go on with another rate.
    private(set) var former: [(identity: UInt64, rate: RateLimit)] = []
    /// Until then debts under former rates count.
    private(set) var formerUntil = Instant(nanoseconds: 0)
    private(set) var plans: [Plan] = []
    /// Some policy lets somebody pass, or does not serve him.
    private(set) var hasLists = false
    private(set) var planPolicies: [Int32] = []
    /// Blocks of shared memory that ceilings have, by identity.
    private var ceilings: [UInt64: Int32] = [:]

    package init() {}

    /// - Parameters:
    ///   - files: the blocks of each policy's files, as `allowFiles` and `denyFiles` name them.
    ///   - places: a plan each, in that order.
    ///   - old: what applied until now; its debts are taken over.
    package init(
        _ configured: [LimitPolicy], files: [String: [CIDR]] = [:], places: [LimitPlace],
        succeeding old: LimitPlans? = nil, now: Instant = Instant(nanoseconds: 0)
    ) {
        var rates: [UInt64: (identity: UInt64, rate: RateLimit)] = [:]
        var longest: UInt64 = 0
        for limit in old?.limits ?? [] {
            rates[limit.lineage] = (limit.identity, limit.rate)
            longest = max(longest, RateLimit.nanoseconds(limit.rate.span) * 2)
        }
        let configured = Array(configured.prefix(Self.policiesMax))
        for policy in configured {
            policies.append(compile(policy, files, former: rates))
            hasLists =
                hasLists || !policy.allowed.isEmpty || !policy.denied.isEmpty
                || !policy.allowFiles.isEmpty || !policy.denyFiles.isEmpty
        }
        for place in places.prefix(Self.plansMax) {
            plans.append(plan(place, configured, former: rates))
        }
        if !former.isEmpty { formerUntil = now.advanced(byNanoseconds: longest) }
    }

    // MARK: - Compiling

    private mutating func compile(
        _ policy: LimitPolicy, _ files: [String: [CIDR]],
        former rates: [UInt64: (identity: UInt64, rate: RateLimit)]
    ) -> CompiledPolicy {
        var errors: Int32 = -1
        if let limit = policy.errors?.limit {
            errors = Int32(limits.count)
            limits.append(
                make(policy, "errors", limit, scope: 0, Int32(policies.count), former: rates))
        }
        func ranges(_ blocks: [CIDR], _ names: [String]) -> AddressRanges {
            AddressRanges(blocks + names.flatMap { files[$0] ?? [] })
        }
        return CompiledPolicy(
            name: policy.name, status: policy.status, isShadow: policy.isShadow,
            policyField: LimitFields.policy(policy.name, policy.rates[.requests]),
            banIdentity: LimitHash.stable("ban \(policy.name)"), errorLimit: errors,
            errorStatuses: policy.errors?.statuses ?? [], ban: policy.errors?.ban ?? .zero,
            costs: RequestCosts(policy.costs),
            allowed: ranges(policy.allowed, policy.allowFiles),
            denied: ranges(policy.denied, policy.denyFiles),
            ipv4Bits: policy.ipv4Bits, ipv6Bits: policy.ipv6Bits)
    }

    private mutating func plan(
        _ place: LimitPlace, _ configured: [LimitPolicy],
        former rates: [UInt64: (identity: UInt64, rate: RateLimit)]
    ) -> Plan {
        var plan = Plan(
            rates: .init(repeating: Span()), counts: .init(repeating: Span()), policies: Span())
        var numbers: [Int] = []
        for number in place.policies
        where configured.indices.contains(number) && !numbers.contains(number) {
            numbers.append(number)
        }
        plan.policies = Span(first: Int32(planPolicies.count), count: Int32(numbers.count))
        planPolicies += numbers.map { Int32($0) }
        // Everybody's last.
        let ordered = numbers.sorted {
            let (left, right) = (configured[$0], configured[$1])
            return Self.breadth(left) < Self.breadth(right)
        }
        for thing in LimitedThing.allCases {
            let first = limits.count
            for number in ordered {
                guard let rate = configured[number].rates[thing] else { continue }
                limits.append(
                    make(
                        configured[number], thing.word, rate,
                        scope: Self.scope(configured[number], place), Int32(number), former: rates))
            }
            if thing == .requests {
                for number in ordered {
                    guard let rate = configured[number].ceiling else { continue }
                    limits.append(
                        make(
                            configured[number], "ceiling", rate,
                            scope: Self.scope(configured[number], place), Int32(number),
                            isCeiling: true, former: rates))
                }
            }
            plan.rates[Int(thing.rawValue)] = Span(
                first: Int32(first), count: Int32(limits.count - first))
        }
        for thing in CountedThing.allCases {
            let first = counts.count
            for number in ordered {
                guard let most = configured[number].counts[thing] else { continue }
                counts.append(
                    make(
                        configured[number], thing.word, most,
                        scope: Self.scope(configured[number], place), Int32(number)))
            }
            plan.counts[Int(thing.rawValue)] = Span(
                first: Int32(first), count: Int32(counts.count - first))
        }
        return plan
    }

    /// Narrow ones are small.
    private static func breadth(_ policy: LimitPolicy) -> Int {
        switch policy.key {
        case .client: 128 - Int(policy.ipv6Bits)
        case .field, .cookie: 200
        case .everybody: 300
        }
    }

    private static func scope(_ policy: LimitPolicy, _ place: LimitPlace) -> UInt64 {
        switch policy.scope {
        case .policy: 0
        case .view: place.view
        case .site: place.site
        case .path: place.path
        }
    }

    private mutating func whose(_ policy: LimitPolicy) -> (CompiledLimit.Whose, text: UInt8) {
        let text: Text
        switch policy.key {
        case .client: return (.client, 0)
        case .everybody: return (.everybody, 0)
        case .field(let name): text = .field(name)
        case .cookie(let name): text = .cookie(name)
        }
        if let known = texts.firstIndex(of: text) { return (.text, UInt8(known)) }
        // The configuration refuses more; what is beyond is counted by address.
        guard texts.count < Self.textsMax else { return (.client, 0) }
        texts.append(text)
        return (.text, UInt8(texts.count - 1))
    }

    private mutating func make(
        _ policy: LimitPolicy, _ word: String, _ rate: RateLimit, scope: UInt64, _ number: Int32,
        isCeiling: Bool = false, former rates: [UInt64: (identity: UInt64, rate: RateLimit)]
    ) -> CompiledLimit {
        let (whose, text) = isCeiling ? (.everybody, 0) : self.whose(policy)
        let name = "\(policy.name) \(word) \(policy.ipv4Bits) \(policy.ipv6Bits) \(policy.key)"
        let lineage = LimitHash.stable(name) ^ scope
        // Not `^`: the same number in both would go.
        let stated = LimitHash.stable("\(rate.quantity) \(rate.period) \(rate.burst)")
        let identity = lineage &* 0x9E37_79B9_7F4A_7C15 &+ stated
        var index: Int32 = -1
        if let old = rates[lineage], old.identity != identity {
            index = Int32(former.count)
            former.append(old)
        }
        var ceiling: Int32 = -1
        if isCeiling {
            // Those beyond what there is memory for share blocks, and count each other's clients.
            ceiling = ceilings[identity] ?? Int32(ceilings.count % CellLayout.ceilingsMax)
            ceilings[identity] = ceiling
        }
        return CompiledLimit(
            identity: identity, lineage: lineage, rate: rate, whose: whose,
            ipv4Bits: policy.ipv4Bits, ipv6Bits: policy.ipv6Bits, text: text,
            countsRefused: policy.countsRefused, isShadow: policy.isShadow, policy: number,
            ceiling: ceiling, former: index)
    }

    private mutating func make(
        _ policy: LimitPolicy, _ word: String, _ most: UInt32, scope: UInt64, _ number: Int32
    ) -> CompiledCount {
        let (whose, text) = self.whose(policy)
        let name = "\(policy.name) \(word) \(policy.ipv4Bits) \(policy.ipv6Bits) \(policy.key)"
        return CompiledCount(
            identity: LimitHash.stable(name) ^ scope, most: most, whose: whose,
            ipv4Bits: policy.ipv4Bits, ipv6Bits: policy.ipv6Bits, text: text,
            isShadow: policy.isShadow, policy: number)
    }
}
