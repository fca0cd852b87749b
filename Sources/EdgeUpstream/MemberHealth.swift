import EdgeCore

/// What is known of one address, and why it is a member. Sans-IO; what depends on other members is
/// `UpstreamHealth`'s.
///
///     unknown ──1 pass──────────► up ◄──rise passes── down
///        │  fall failures          │  fall failures    ▲
///        └─────────────────────────┴───────────────────┘
///     any of them ──standby──► standby ──1 pass──► up
///
/// An *ejection* lies over the verdict: traffic has failed, and for a time nobody looks at the
/// verdict. It ends with its time, or with a passed check if it was about connecting; not so if
/// passed checks have ended the last `fruitlessMax` and no request was answered in between: checks
/// and traffic do not ask the same. An administrator's word lies over both.
struct MemberHealth: Sendable {
    enum Verdict: Sendable {
        case unknown, up, standby, down
    }

    struct Ejection: Sendable {
        let began: Instant
        let until: Instant
        /// A passed check that has begun since says that it is over.
        let isConnectivity: Bool
    }

    /// That an entry of `servers:` stands for this address.
    struct Claim: Sendable, Equatable {
        /// Index into the configuration's servers.
        var server: Int
        /// Nil: the entry's.
        var weight: Int?
        var isBackup: Bool?
        /// Part of the newest valid answer. A claim that is not is kept until something better is
        /// there.
        var isProposed = true
        /// DNS answers, and this address is in the answer.
        var isConfirmed = true
        /// Only a suspicious answer has it.
        var isSuspicious = false
    }

    let address: SocketAddress
    var claims: [Claim]
    /// The DNS name of the first claim, kept when that has ended; empty for a configured address.
    var source = ""
    var clock: CheckClock
    var window = TrafficWindow()
    private(set) var verdict: Verdict
    private(set) var ejection: Ejection?
    private(set) var admin = AdminState.ready
    /// In a row; the other is zero.
    private(set) var passes = 0
    private(set) var failures = 0
    /// A passed check, or an answer to traffic.
    private(set) var lastSuccess: Instant?
    private(set) var rampedFrom = Instant(nanoseconds: 0)
    /// Why the state is what it is.
    private(set) var reason = ""
    private(set) var lastFailure: String?
    private(set) var remedy: String?
    private(set) var checksPassed: UInt64 = 0
    private(set) var checksFailed: UInt64 = 0
    private(set) var lastCheck: Instant?
    private(set) var ejections: UInt64 = 0
    /// What was told last, and since when it is so.
    private(set) var told: MemberState
    private(set) var since: Instant
    /// Failures to connect in the last ten seconds; at most three.
    private var strikes: [Instant] = []
    /// Since when a success would count in its favour: joined, or back from an ejection.
    private var trialFrom: Instant
    /// Ejections in a row, and when they are forgotten.
    private var level = 0
    private var levelUntil = Instant(nanoseconds: 0)
    /// Ejections for connections in a row without an answer to traffic since.
    private var fruitless = 0

    static let fruitlessMax = 3
    static let strikesMax = 3
    static let strikeSpan = Duration.seconds(10)

    init(address: SocketAddress, claim: Claim, isChecked: Bool, now: Instant) {
        self.address = address
        claims = [claim]
        clock = CheckClock(now: now)
        verdict = isChecked ? .unknown : .up
        told = .unknown
        since = now
        trialFrom = now
        told = state
    }

    // MARK: - Checks

    /// One pass more.
    ///
    /// - Parameters:
    ///   - rise: passes that make a down member up.
    ///   - ramps: members that come back begin with a part of their traffic.
    mutating func passed(remedy: String?, rise: Int, ramps: Bool, now: Instant) {
        checksPassed += 1
        lastCheck = now
        passes += 1
        failures = 0
        self.remedy = remedy
        lastSuccess = now
        endConnectivityEjection(ramps: ramps, now: now)
        switch verdict {
        case .unknown, .standby:
            verdict = .up
            reason = "check passed"
        case .down where passes >= rise:
            verdict = .up
            reason = passes > 1 ? "\(passes) checks passed" : "check passed"
            returned(ramps: ramps, now: now)
        case .down, .up: break
        }
    }

    /// It lives, and another has the traffic: at once.
    mutating func stoodBy(ramps: Bool, now: Instant) {
        checksPassed += 1
        lastCheck = now
        passes = 0
        failures = 0
        remedy = nil
        endConnectivityEjection(ramps: ramps, now: now)
        guard verdict != .standby else { return }
        verdict = .standby
        reason = "another member is active"
    }

    /// - Parameter fall: failures in a row that make it down.
    mutating func failed(_ words: String, fall: Int, now: Instant) {
        checksFailed += 1
        lastCheck = now
        passes = 0
        failures += 1
        lastFailure = words
        if failures >= fall { goDown() }
    }

    /// Its failures so far are enough after all.
    mutating func goDown() {
        guard verdict != .down else { return }
        verdict = .down
        reason = lastFailure ?? "check failed"
    }

    /// The verdict may change with the next outcome: ask soon.
    func isUnsettled(rise: Int) -> Bool {
        switch verdict {
        case .unknown: true
        case .up: failures > 0 || passes < rise || ejection?.isConnectivity == true
        case .standby: failures > 0 || ejection?.isConnectivity == true
        case .down: passes > 0
        }
    }

    /// Nobody asks any more: nothing speaks against it.
    mutating func presumeUp() {
        guard verdict != .up else { return }
        verdict = .up
        passes = 0
        failures = 0
        remedy = nil
        reason = "no checks"
    }

    // MARK: - Traffic

    mutating func served(now: Instant) {
        lastSuccess = now
        fruitless = 0
    }

    mutating func noteFailure(_ words: String) { lastFailure = words }

    /// One more failure to connect.
    ///
    /// - Returns: it is enough: the third in ten seconds, or the first of a member that has not
    ///   worked since it is there.
    mutating func strike(now: Instant) -> Bool {
        strikes.removeAll { now.nanoseconds(since: $0) > Self.strikeSpan.nanoseconds }
        if strikes.count == Self.strikesMax { strikes.removeFirst() }
        strikes.append(now)
        guard let lastSuccess, lastSuccess >= trialFrom else { return true }
        return strikes.count == Self.strikesMax
    }

    /// Takes it out for a time that doubles with each ejection.
    ///
    /// - Precondition: not ejected.
    mutating func eject(
        _ policy: EjectionPolicy, isConnectivity: Bool, reason words: String,
        random: inout SplitMix64, now: Instant
    ) {
        if now >= levelUntil {
            level = 0
            fruitless = 0
        }
        if isConnectivity { fruitless += 1 }
        let first = max(policy.first.nanoseconds, 1)
        let (grown, overflow) = first.multipliedReportingOverflow(by: 1 << UInt64(min(level, 40)))
        let span = min(overflow ? .max : grown, max(policy.last.nanoseconds, first))
        let until = now.advanced(byNanoseconds: span)
            .advanced(byNanoseconds: random.tenth(of: span))
        ejection = Ejection(began: now, until: until, isConnectivity: isConnectivity)
        ejections += 1
        level += 1
        let (memory, isLong) = span.multipliedReportingOverflow(by: 10)
        levelUntil = until.advanced(byNanoseconds: isLong ? .max : memory)
        reason = words
        lastFailure = words
    }

    /// Its time is over, or there is no reason any more. Counters begin anew.
    mutating func endEjection(reason words: String, ramps: Bool, now: Instant) {
        guard ejection != nil else { return }
        ejection = nil
        window.clear()
        strikes.removeAll()
        trialFrom = now
        if verdict != .down {
            reason = words
            returned(ramps: ramps, now: now)
        }
    }

    /// A check that began before the ejection knows nothing about it.
    private mutating func endConnectivityEjection(ramps: Bool, now: Instant) {
        guard let ejection, ejection.isConnectivity, clock.began ?? now >= ejection.began,
            fruitless <= Self.fruitlessMax
        else { return }
        endEjection(reason: "check passed", ramps: ramps, now: now)
    }

    private mutating func returned(ramps: Bool, now: Instant) {
        if ramps { rampedFrom = now }
    }

    // MARK: - Words

    mutating func administer(_ state: AdminState) {
        guard state != admin else { return }
        admin = state
        reason = "administrator"
    }

    /// - Returns: the state told before, if there is another now.
    mutating func tell(now: Instant) -> MemberState? {
        let old = told
        guard old != state else { return nil }
        told = state
        since = now
        return old
    }

    /// In one word, the strongest first.
    var state: MemberState {
        switch admin {
        case .maint: return .maintenance
        case .drain: return .draining
        case .ready: break
        }
        if verdict == .down { return .down }
        if ejection != nil { return .ejected }
        switch verdict {
        case .unknown: return .unknown
        case .standby: return .standby
        case .up, .down: return claims.contains { $0.isProposed && $0.isConfirmed } ? .up : .stale
        }
    }

    /// Why the state is not `old` any more.
    func reason(since old: MemberState) -> String {
        switch (old, state) {
        case (.up, .stale): "DNS does not confirm its address"
        case (.stale, .up): "DNS confirms its address"
        default: reason
        }
    }

    /// Down or ejected.
    var isOut: Bool { verdict == .down || ejection != nil }

    /// Ejected, and its newest check does not say that it had to be.
    var isOutForTrafficAlone: Bool {
        guard let ejection, verdict != .down else { return false }
        return !ejection.isConnectivity
            || failures == 0 && lastCheck.map { $0 > ejection.began } == true
    }

    /// Seen working, or presumed to without checks; what may take another's place.
    var isUsable: Bool { admin == .ready && verdict == .up && ejection == nil }

    /// Nothing speaks against it.
    var isPromising: Bool {
        admin == .ready && !isOut && (verdict != .unknown || failures == 0)
    }

    var isSuspicious: Bool { claims.allSatisfy(\.isSuspicious) }
}
