import EdgeCore

/// Makes `LimitPlans` of what the configuration says.
struct LimitCompiler {
    typealias Plan = LimitPlans.Plan
    typealias Span = LimitPlans.Span
    typealias Text = LimitPlans.Text

    private(set) var limits: [CompiledLimit] = []
    private(set) var counts: [CompiledCount] = []
    private(set) var policies: [CompiledPolicy] = []
    private(set) var texts: [Text] = []
    private(set) var priceLists: [RequestCosts] = []
    /// Of each policy; 0: every request costs 1.
    private var prices: [UInt8] = []
    private(set) var former: [LimitPlans.Former] = []
    private(set) var formerUntil = Instant(nanoseconds: 0)
    private var hasNewRates = false
    private(set) var plans: [Plan] = []
    private(set) var hasLists = false
    private(set) var planPolicies: [Int32] = []
    /// So many rates back are debts taken over.
    static let formerMax = 4
    /// What a limit is now and what it was before, the latest first; by lineage.
    private var histories: [UInt64: [LimitPlans.Former]] = [:]
    /// Blocks of shared memory that ceilings have, by identity.
    private var ceilings: [UInt64: Int32] = [:]

    init(
        _ configured: [LimitPolicy], files: [String: AddressRanges], places: [LimitPlace],
        succeeding old: LimitPlans?, now: Instant
    ) {
        let longest = remember(old, now: now)
        let configured = Array(configured.prefix(LimitPlans.policiesMax))
        for policy in configured {
            prices.append(priceList(policy))
            policies.append(compile(policy, files))
            hasLists =
                hasLists || !policy.allowed.isEmpty || !policy.denied.isEmpty
                || !policy.allowFiles.isEmpty || !policy.denyFiles.isEmpty
        }
        for place in places.prefix(LimitPlans.plansMax) {
            plans.append(plan(place, configured))
        }
        if hasNewRates { formerUntil = max(formerUntil, now.advanced(byNanoseconds: longest)) }
    }

    /// What limits are and were until now. Debts under a former rate count as long as they were
    /// meant to, over as many plans as are made meanwhile.
    ///
    /// - Returns: how long debts under the rates of now last, in nanoseconds.
    private mutating func remember(_ old: LimitPlans?, now: Instant) -> UInt64 {
        guard let old else { return 0 }
        let isFormer = now < old.formerUntil
        if isFormer { formerUntil = old.formerUntil }
        var longest: UInt64 = 0
        for limit in old.limits {
            longest = max(longest, RateLimit.nanoseconds(limit.rate.span) * 2)
            guard histories[limit.lineage] == nil else { continue }
            var history = [LimitPlans.Former(identity: limit.identity, rate: limit.rate)]
            var index = isFormer ? limit.former : -1
            while index >= 0 {
                let before = old.former[Int(index)]
                history.append(before)
                index = before.next
            }
            histories[limit.lineage] = history
        }
        return longest
    }

    /// What the limit was under other rates, as an index into `former`; -1: nothing.
    private mutating func formerIndex(_ lineage: UInt64, _ identity: UInt64) -> Int32 {
        guard let history = histories[lineage] else { return -1 }
        if history.first?.identity != identity { hasNewRates = true }
        var next: Int32 = -1
        for entry in history.filter({ $0.identity != identity }).prefix(Self.formerMax).reversed() {
            former.append(
                LimitPlans.Former(identity: entry.identity, rate: entry.rate, next: next))
            next = Int32(former.count - 1)
        }
        return next
    }

    private mutating func compile(
        _ policy: LimitPolicy, _ files: [String: AddressRanges]
    ) -> CompiledPolicy {
        var errors: Int32 = -1
        if let limit = policy.errors?.limit {
            errors = Int32(limits.count)
            limits.append(
                make(policy, "errors", limit, scope: 0, Int32(policies.count)))
        }
        func lists(_ blocks: [CIDR], _ names: [String]) -> AddressLists {
            AddressLists([AddressRanges(blocks)] + names.compactMap { files[$0] })
        }
        return CompiledPolicy(
            name: policy.name, status: policy.status, isShadow: policy.isShadow,
            policyField: LimitFields.policy(policy.name, policy.rates[.requests]),
            banIdentity: LimitPlans.banIdentity(policy.name, isShadow: policy.isShadow),
            errorLimit: errors,
            errorStatuses: policy.errors?.statuses ?? [], ban: policy.errors?.ban ?? .zero,
            allowed: lists(policy.allowed, policy.allowFiles),
            denied: lists(policy.denied, policy.denyFiles),
            ipv4Bits: policy.ipv4Bits, ipv6Bits: policy.ipv6Bits)
    }

    private mutating func plan(
        _ place: LimitPlace, _ configured: [LimitPolicy]
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
                        scope: Self.scope(configured[number], place), Int32(number),
                        isPriced: thing == .requests))
            }
            if thing == .requests {
                for number in ordered {
                    guard let rate = configured[number].ceiling else { continue }
                    limits.append(
                        make(
                            configured[number], "ceiling", rate,
                            scope: Self.scope(configured[number], place), Int32(number),
                            isPriced: true, isCeiling: true))
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
        case .field(let name): text = .field(Array(name.utf8))
        case .cookie(let name): text = .cookie(Array(name.utf8))
        }
        if let known = texts.firstIndex(of: text) { return (.text, UInt8(known)) }
        // The configuration refuses more; what is beyond is counted by address.
        guard texts.count < LimitPlans.textsMax else { return (.client, 0) }
        texts.append(text)
        return (.text, UInt8(texts.count - 1))
    }

    private mutating func priceList(_ policy: LimitPolicy) -> UInt8 {
        // The configuration refuses more; without prices each request costs 1.
        guard !policy.costs.isEmpty, priceLists.count < LimitPlans.priceListsMax else { return 0 }
        priceLists.append(RequestCosts(policy.costs))
        return UInt8(priceLists.count)
    }

    private mutating func make(
        _ policy: LimitPolicy, _ word: String, _ rate: RateLimit, scope: UInt64, _ number: Int32,
        isPriced: Bool = false, isCeiling: Bool = false
    ) -> CompiledLimit {
        let (whose, text) = isCeiling ? (.everybody, 0) : self.whose(policy)
        let name = "\(policy.name) \(word) \(policy.ipv4Bits) \(policy.ipv6Bits) \(policy.key)"
        let lineage = LimitHash.stable(name) ^ scope
        // Not `^`: the same number in both would go.
        let stated = LimitHash.stable("\(rate.quantity) \(rate.period) \(rate.burst)")
        let identity = lineage &* 0x9E37_79B9_7F4A_7C15 &+ stated
        var ceiling: Int32 = -1
        if isCeiling {
            // Those beyond what there is memory for share blocks, and count each other's clients.
            ceiling = ceilings[identity] ?? Int32(ceilings.count % CellLayout.ceilingsMax)
            ceilings[identity] = ceiling
        }
        return CompiledLimit(
            identity: identity, lineage: lineage, rate: rate, whose: whose,
            ipv4Bits: policy.ipv4Bits, ipv6Bits: policy.ipv6Bits, text: text,
            prices: isPriced ? prices[Int(number)] : 0,
            countsRefused: policy.countsRefused, isShadow: policy.isShadow, policy: number,
            ceiling: ceiling, former: formerIndex(lineage, identity))
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
