package import EdgeCore

/// One SRV record (RFC 2782).
package struct ServiceRecord: Sendable, Hashable {
    package let priority: UInt16
    package let weight: UInt16
    package let port: UInt16
    /// Lower case, without a final dot.
    package let target: String

    package init(priority: UInt16, weight: UInt16, port: UInt16, target: String) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }

    static func canonicalOrder(_ left: ServiceRecord, _ right: ServiceRecord) -> Bool {
        (left.priority, left.target, left.port, left.weight)
            < (right.priority, right.target, right.port, right.weight)
    }
}

/// What came back for a service.
package enum ServiceAnswer: Sendable, Equatable {
    /// TTL in seconds.
    case records([ServiceRecord], ttl: UInt32)
    /// A valid answer without records.
    case empty
    case failed(QueryFailure)
}

/// One service and the hosts that offer it. Sans-IO, by the rules of `NameMachine`: no failure, no
/// empty answer and no "service not available" (a target of ".", RFC 2782) takes anything away.
/// New targets take over once one has an address, and each has been asked for or a moment has
/// passed; until then those before them are proposed.
package struct ServiceMachine: Sendable {
    /// Records kept; what sorts behind is left out.
    package static let recordsMax = 64

    package let name: String
    package private(set) var schedule: QuerySchedule
    package private(set) var confirmation = Confirmation()
    /// In use. Canonical order.
    package private(set) var records: [ServiceRecord] = []
    /// Of the newest answer, while their addresses are being asked for.
    package private(set) var candidates: [ServiceRecord] = []
    /// How long those without an address are waited for; `.never` if they are not.
    package private(set) var patienceEnd = Instant.never
    package private(set) var lastFailure: QueryFailure?
    /// Whether there was something on disk at the start.
    package private(set) var isRestored = false
    /// Patience with the candidates is over.
    private var isImpatient = false

    package init(name: String, now: Instant) {
        self.name = name
        schedule = QuerySchedule(isLiteral: false, now: now)
    }

    /// Names to be asked for their addresses.
    package var targets: Set<String> { Set((records + candidates).map(\.target)) }

    package var state: NameState {
        if records.isEmpty { return .unresolved }
        if confirmation.isExpired { return .expired }
        return confirmation.isNewest ? .fresh : .stale
    }

    package mutating func restore(_ known: [ServiceRecord], age: Duration, now: Instant) {
        guard records.isEmpty else { return }
        records = Self.canonical(known)
        guard !records.isEmpty else { return }
        isRestored = true
        confirmation.restored(age: age, now: now)
    }

    package mutating func asked(now: Instant) { schedule.asked(now: now) }

    package mutating func answered(
        _ answer: ServiceAnswer, now: Instant, timing: NameTiming, random: inout SplitMix64
    ) {
        switch Self.usable(answer) {
        case .records(let list, let ttl):
            if candidates.isEmpty { patienceEnd = now.advanced(by: timing.patience) }
            candidates = list == records ? [] : list
            if candidates.isEmpty {
                isImpatient = false
                patienceEnd = .never
            }
            confirmation.confirmed(now: now)
            lastFailure = nil
            schedule.succeeded(ttl: ttl, now: now, timing: timing, random: &random)
        case .empty: failed(.empty, now: now, timing: timing, random: &random)
        case .failed(let failure): failed(failure, now: now, timing: timing, random: &random)
        }
        confirmation.advance(now: now, timing: timing)
    }

    private mutating func failed(
        _ failure: QueryFailure, now: Instant, timing: NameTiming, random: inout SplitMix64
    ) {
        lastFailure = failure
        if failure != .cancelled { confirmation.missed() }
        schedule.failed(failure, now: now, timing: timing, random: &random)
    }

    /// Lets new targets take over if they can.
    ///
    /// - Parameters:
    ///   - isAsked: whether a target has been asked for, with whatever success.
    ///   - hasAddress: whether there is an address to propose for it.
    package mutating func settle(
        now: Instant, isAsked: (String) -> Bool, hasAddress: (String) -> Bool
    ) {
        guard !candidates.isEmpty else { return }
        if patienceEnd <= now {
            isImpatient = true
            patienceEnd = .never
        }
        if !records.isEmpty {
            guard isImpatient || candidates.allSatisfy({ isAsked($0.target) }),
                candidates.contains(where: { hasAddress($0.target) })
            else { return }
        }
        records = candidates
        candidates = []
        isImpatient = false
        patienceEnd = .never
    }

    package mutating func hurry(now: Instant, timing: NameTiming) {
        schedule.hurry(now: now, timing: timing)
    }

    package mutating func advance(now: Instant, timing: NameTiming) {
        confirmation.advance(now: now, timing: timing)
        schedule.bound(now: now, timing: timing)
    }

    private static func usable(_ answer: ServiceAnswer) -> ServiceAnswer {
        guard case .records(let list, let ttl) = answer else { return answer }
        let usable = canonical(list)
        return usable.isEmpty ? .empty : .records(usable, ttl: ttl)
    }

    static func canonical(_ records: [ServiceRecord]) -> [ServiceRecord] {
        let usable = Set(
            records.lazy.filter { $0.port != 0 && (1...254).contains($0.target.utf8.count) })
        return Array(usable.sorted(by: ServiceRecord.canonicalOrder).prefix(recordsMax))
    }
}
