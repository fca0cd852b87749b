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
///
/// A class, and one for each worker (`init(copyOf:)`): whoever asks counts references to it and to
/// its arrays, and counts that several threads share cost more than the limits themselves.
package final class LimitPlans: Sendable {
    /// Texts that limits count by, at most.
    package static let textsMax = 4
    /// Policies with prices of their own (`LimitPolicy.costs`), at most.
    package static let priceListsMax = 4
    package static let plansMax = 1 << 16
    /// A bit each in `LimitCaller`.
    package static let policiesMax = 64

    /// Where a worker has to look for a text.
    package enum Text: Sendable, Hashable {
        /// By its name in lower case.
        case field([UInt8])
        case cookie([UInt8])
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

    package let limits: [CompiledLimit]
    package let counts: [CompiledCount]
    package let policies: [CompiledPolicy]
    /// What is to be hashed of a request (`LimitHash.hash`) before it is asked about, 0 if it is
    /// not there.
    package let texts: [Text]
    /// What requests cost, where that is not 1; `CompiledLimit.prices` refers to them from 1 on.
    package let priceLists: [RequestCosts]
    /// A limit as it was under another rate.
    struct Former: Sendable {
        var identity: UInt64
        var rate: RateLimit
        /// Index of what it was before that; -1: nothing.
        var next: Int32 = -1
    }

    /// What limits were that go on with another rate.
    let former: [Former]
    /// Until then debts under former rates count.
    let formerUntil: Instant
    let plans: [Plan]
    /// Something of a request's head decides: what it costs, or whom it counts for.
    package var asksHeads: Bool { !texts.isEmpty || !priceLists.isEmpty }
    /// Some policy lets somebody pass, or does not serve him.
    let hasLists: Bool
    /// Some policy bans for errors.
    package let hasErrorLimits: Bool
    let planPolicies: [Int32]

    /// Nothing is limited.
    package convenience init() { self.init([], places: []) }

    /// - Parameters:
    ///   - files: the blocks of each policy's files, as `allowFiles` and `denyFiles` name them.
    ///   - places: a plan each, in that order.
    ///   - old: what applied until now; its debts are taken over.
    package init(
        _ configured: [LimitPolicy], files: [String: AddressRanges] = [:], places: [LimitPlace],
        succeeding old: LimitPlans? = nil, now: Instant = Instant(nanoseconds: 0)
    ) {
        let compiler = LimitCompiler(
            configured, files: files, places: places, succeeding: old, now: now)
        limits = compiler.limits
        counts = compiler.counts
        policies = compiler.policies
        texts = compiler.texts
        priceLists = compiler.priceLists
        former = compiler.former
        formerUntil = compiler.formerUntil
        plans = compiler.plans
        hasLists = compiler.hasLists
        hasErrorLimits = policies.contains { $0.errorLimit >= 0 }
        planPolicies = compiler.planPolicies
    }

    /// The same, in memory that no other thread counts references to.
    package init(copyOf other: LimitPlans) {
        limits = other.limits.map { $0 }
        counts = other.counts.map { $0 }
        policies = other.policies.map { $0 }
        texts = other.texts.map { $0 }
        priceLists = other.priceLists.map { $0 }
        former = other.former.map { $0 }
        formerUntil = other.formerUntil
        plans = other.plans.map { $0 }
        hasLists = other.hasLists
        hasErrorLimits = other.hasErrorLimits
        planPolicies = other.planPolicies.map { $0 }
    }
}
