import EdgeCore
import Testing

@testable import EdgeUpstream

/// Random events of all kinds against all promises, after each step.
@Suite("Health under random events") struct UpstreamHealthSimulationTests {
    private static let names = [HealthPool.name, HealthPool.named("other.example")]

    private static func configuration(_ random: inout SplitMix64) -> UpstreamConfiguration {
        var servers = names.filter { _ in Int.random(in: 0..<4, using: &random) > 0 }
        for number in 1...3 where Bool.random(using: &random) {
            servers.append(
                HealthPool.server(
                    number, weight: number, isBackup: Bool.random(using: &random)))
        }
        if servers.isEmpty { servers = [names[0]] }
        servers.shuffle(using: &random)
        let dice = Int.random(in: 0..<10, using: &random)
        return HealthPool.configuration(servers) {
            if dice == 0 { $0.health = nil }
            if dice == 1 { $0.health?.kind = .activeMember(HealthPolicy.Request()) }
            if dice == 2 { $0.ejection = nil }
            if dice == 3 { $0.failsOpen = false }
            $0.ejection?.latencyFactor = dice % 3
            $0.ejection?.sharePercent = dice * 10
            $0.slowStart = dice % 2 == 0 ? .zero : .seconds(10)
        }
    }

    private static let outcomes: [CheckOutcome] = [
        .passed, .passed, .passed, .alive(remedy: "token"), .standby, .failed(reason: "refused"),
        .failed(reason: "timeout"), .failed(reason: "503"),
    ]

    private static let observations: [MemberObservation] = [
        .connectRefused, .connectTimedOut, .connectFailed, .tlsFailed, .unreachable,
        .consecutiveFailures(3), .consecutiveFailures(5), .consecutiveFailures(50),
    ]

    @Test("Whatever happens, all promises hold", arguments: 0..<10 as Range<UInt64>)
    func walk(seed: UInt64) {
        var random = SplitMix64(seed: seed &* 7919 &+ 3)
        let pool = HealthPool(Self.configuration(&random), seed: seed)

        for step in 0..<2000 {
            let kept = Self.disturb(pool, &random)
            let broken = kept ?? Self.brokenPromise(pool)
            #expect(broken == nil, "seed \(seed), step \(step)")
            if broken != nil { return }
        }
        Self.heal(pool)

        let words = pool.health.ranked.map(\.state.word)
        #expect(words.allSatisfy { $0 == "up" || $0 == "stale" }, "seed \(seed): \(words)")
        #expect(!pool.preferred.isEmpty)
    }

    /// One random event.
    ///
    /// - Returns: nil, or the promise about changes that it has broken.
    private static func disturb(_ pool: HealthPool, _ random: inout SplitMix64) -> String? {
        var before = pool.health
        var broken: String?
        let words = Dictionary(
            uniqueKeysWithValues: before.members.map { ($0.address, $0.admin) }
                + before.absentees.map { ($0.address, $0.word) })
        func compare() {
            let isSame = before.ranked == pool.health.ranked
            if isSame != (before.version == pool.version) {
                broken = "the version grows exactly when the members change"
            }
            before = pool.health
        }
        var isAdministered = false
        let someone = pool.everyone.randomElement(using: &random) ?? 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<12:
            resolve(pool, &random)
            if before.ranked.contains(where: isUsable),
                !pool.health.ranked.contains(where: isUsable)
            {
                broken = "an answer of DNS has taken the last that works"
            }
        case 12..<45:
            for number in pool.due() {
                guard let outcome = outcomes.randomElement(using: &random) else { continue }
                if Int.random(in: 0..<10, using: &random) == 0 {
                    pool.health.notChecked(HealthPool.address(number), now: pool.now)
                } else {
                    pool.check(number, outcome)
                }
                compare()
            }
        case 45..<60:
            if let observation = observations.randomElement(using: &random) {
                pool.observe(someone, observation)
            }
        case 60..<70:
            var rows: [Int: (requests: Int, failures: Int, milliseconds: UInt64)] = [:]
            for number in pool.everyone {
                let requests = Int.random(in: 0...40, using: &random)
                rows[number] = (
                    requests, Int.random(in: 0...requests, using: &random),
                    UInt64.random(in: 1...100, using: &random)
                )
            }
            pool.summarise(rows)
        case 70..<75:
            isAdministered = true
            _ = pool.administer(
                someone, AdminState.allCases.randomElement(using: &random) ?? .maint)
        case 75..<77:
            // Servers are named otherwise, and DNS says the same addresses of them.
            let proposals = [
                (HealthPool.name, Proposal(addresses: [.init(address: HealthPool.address(1))]))
            ]
            pool.health.reconfigure(configuration(&random), proposals: proposals, now: pool.now)
        case 77..<79: pool.wait(.seconds(Int.random(in: 60...7200, using: &random)))
        case 79 where Int.random(in: 0..<4, using: &random) == 0:
            pool.health.propose(.expired, for: names[0], now: pool.now)
        default: pool.wait(.milliseconds(Int.random(in: 0...1500, using: &random)))
        }
        compare()
        for member in pool.health.members {
            guard let word = words[member.address], word != member.admin else { continue }
            if !isAdministered { broken = "an administrator's word is lost" }
        }
        return broken
    }

    /// A good answer, another one, a foreign address, last-known-good, or none (NXDOMAIN).
    private static func resolve(_ pool: HealthPool, _ random: inout SplitMix64) {
        guard let name = names.randomElement(using: &random) else { return }
        let base = Int.random(in: 0..<8, using: &random) * 4
        let count = Int.random(in: 1...6, using: &random)
        let numbers = Int.random(in: 0..<60, using: &random) == 0 ? 0..<90 : base..<(base + count)
        func answer(_ numbers: [Int], confirmed: Bool = true, suspicious: Bool = false) {
            pool.health.propose(
                Proposal(
                    addresses: numbers.map {
                        Proposal.Proposed(address: HealthPool.address($0 + 1))
                    }, isConfirmed: confirmed, isSuspicious: suspicious),
                for: name, now: pool.now)
        }
        switch Int.random(in: 0..<10, using: &random) {
        case 0: answer([])
        case 1: answer([500 + base], suspicious: true)
        case 2: answer(Array(numbers), confirmed: false)
        default: answer(numbers.shuffled(using: &random))
        }
    }

    private static func isUsable(_ member: RankedMember) -> Bool {
        member.state == .up || member.state == .stale
    }

    /// Nil, or what does not hold.
    private static func brokenPromise(_ pool: HealthPool) -> String? {
        let health = pool.health
        let ranked = health.ranked
        if Set(ranked.map(\.address)).count != ranked.count { return "an address twice" }
        let names = health.configuration.servers.count { !$0.sourceName.isEmpty }
        let fixed = health.configuration.servers.count - names
        if ranked.count > names * UpstreamHealth.addressesMax + fixed { return "too many members" }
        let preferred = ranked.filter { $0.rank == .preferred }
        let isOut: (RankedMember) -> Bool = { $0.state == .down || $0.state == .ejected }
        if preferred.contains(where: isOut) != health.isFailingOpen { return "fail-open unsaid" }
        if preferred.contains(where: isOut), ranked.contains(where: isUsable) {
            return "a member that is out is preferred to one that is up"
        }
        if preferred.contains(where: isOut), !health.configuration.failsOpen {
            return "a member that is out is preferred without fail-open"
        }
        for member in ranked {
            if member.state == .maintenance, member.rank != .never { return "maintenance" }
            if member.state == .draining, member.rank < .boundOnly { return "drained" }
            if member.state == .standby, member.rank == .preferred,
                preferred.contains(where: isUsable)
            {
                return "a standby beside one that is up"
            }
        }
        let ready = ranked.filter { $0.state != .maintenance && $0.state != .draining }
        if health.configuration.failsOpen, !ready.isEmpty, preferred.isEmpty {
            return "nobody is preferred"
        }
        let isAnyLeft = health.members.contains { $0.admin == .ready && $0.isOutForTrafficAlone }
        if !health.configuration.failsOpen, preferred.isEmpty, isAnyLeft {
            return "nobody is preferred, and one passes its checks"
        }
        let ejected = health.members.count { $0.ejection?.isConnectivity == false }
        if ejected > health.ejectionsMax { return "too many are ejected" }
        return nil
    }

    /// Everybody works, and DNS is right again: within a bounded time all are up.
    private static func heal(_ pool: HealthPool) {
        for name in names { pool.propose(1, 2, for: name) }
        for number in pool.everyone { _ = pool.administer(number, .ready) }
        let end = pool.now.advanced(by: .seconds(400))
        for _ in 0..<200_000 where pool.now < end {
            for number in pool.due() { pool.pass(number) }
            let next = min(pool.nextDue, end)
            pool.wait(
                next > pool.now ? Duration(nanoseconds: next.nanoseconds(since: pool.now)) : .zero)
        }
    }
}
