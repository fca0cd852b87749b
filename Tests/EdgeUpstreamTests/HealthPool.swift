import EdgeCore

@testable import EdgeUpstream

/// An upstream's verdicts with a clock of their own, which expectations may change. Members are
/// numbers: n is 10.0.0.n.
final class HealthPool {
    var health: UpstreamHealth
    var now: Instant

    /// When every pool begins.
    static let start = Instant(nanoseconds: 1_000_000_000_000)

    init(_ configuration: UpstreamConfiguration, seed: UInt64 = 1) {
        now = Self.start
        health = UpstreamHealth(configuration, now: Self.start, seed: seed)
    }

    /// Configured addresses, checked.
    convenience init(
        _ members: Int..., change: (inout UpstreamConfiguration) -> Void = { _ in }
    ) {
        self.init(Self.configuration(members.map { Self.server($0) }, change: change))
    }

    /// One name, without addresses as yet.
    static func named(
        _ change: (inout UpstreamConfiguration) -> Void = { _ in }
    ) -> HealthPool {
        HealthPool(configuration([name], change: change))
    }

    // MARK: - Material

    static let name = named("ingress.example")

    static func named(_ name: String) -> UpstreamConfiguration.Server {
        UpstreamConfiguration.Server(host: .name(name), port: 80)
    }

    static func address(_ number: Int) -> SocketAddress {
        SocketAddress(ipv4: 0x0A00_0000 + UInt32(number), port: 80)
    }

    static func server(
        _ number: Int, weight: Int = 1, isBackup: Bool = false
    ) -> UpstreamConfiguration.Server {
        UpstreamConfiguration.Server(
            host: .address(address(number).with(port: 0)), port: 80, weight: weight,
            isBackup: isBackup)
    }

    static func configuration(
        _ servers: [UpstreamConfiguration.Server],
        change: (inout UpstreamConfiguration) -> Void = { _ in }
    ) -> UpstreamConfiguration {
        var configuration = UpstreamConfiguration(
            name: "pool", servers: servers, tls: nil, connectTimeout: .seconds(5),
            responseTimeout: .seconds(30), bodyTimeout: .seconds(30), keepAlive: .seconds(60))
        change(&configuration)
        return configuration
    }

    // MARK: - Events

    func wait(_ span: Duration) {
        now = now.advanced(by: span)
        health.advance(now: now)
    }

    func propose(
        _ numbers: Int..., confirmed: Bool = true, suspicious: Bool = false,
        for server: UpstreamConfiguration.Server = HealthPool.name
    ) {
        health.propose(
            Proposal(
                addresses: numbers.map { Proposal.Proposed(address: Self.address($0)) },
                isConfirmed: confirmed, isSuspicious: suspicious),
            for: server, now: now)
    }

    func check(_ number: Int, _ outcome: CheckOutcome) {
        health.checked(Self.address(number), outcome, now: now)
    }

    func pass(_ numbers: Int...) {
        for number in numbers { check(number, .passed) }
    }

    /// As often as it takes.
    func fail(_ numbers: Int...) {
        for number in numbers {
            for _ in 0..<(health.configuration.health?.fall ?? 0) {
                check(number, .failed(reason: "connection refused"))
            }
        }
    }

    func observe(_ number: Int, _ observation: MemberObservation) {
        health.observed(Self.address(number), observation, now: now)
    }

    /// What one worker has counted of each.
    func summarise(_ rows: [Int: (requests: Int, failures: Int, milliseconds: UInt64)]) {
        health.summarised(
            rows.sorted { $0.key < $1.key }.map { number, row in
                MemberSummary(
                    address: Self.address(number), requests: row.requests, failures: row.failures,
                    latencySum: UInt64(row.requests) * row.milliseconds * 1_000_000)
            }, now: now)
    }

    func administer(_ number: Int, _ state: AdminState) -> Bool {
        health.administer(Self.address(number), state, now: now)
    }

    func reconfigure(_ configuration: UpstreamConfiguration) {
        health.reconfigure(configuration, now: now)
    }

    // MARK: - What is known

    /// Numbers of the members whose check is due.
    func due() -> [Int] { health.takeDueChecks(now: now).map(Self.number) }

    func member(_ number: Int) -> RankedMember? {
        health.ranked.first { $0.address == Self.address(number) }
    }

    func rank(_ number: Int) -> MemberRank? { member(number)?.rank }

    func state(_ number: Int) -> MemberState? { member(number)?.state }

    func report(_ number: Int) -> MemberHealthReport? {
        health.report.first { $0.address == Self.address(number) }
    }

    func numbers(_ rank: MemberRank) -> [Int] {
        health.ranked.filter { $0.rank == rank }.map { Self.number($0.address) }
    }

    var preferred: [Int] { numbers(.preferred) }
    var everyone: [Int] { health.ranked.map { Self.number($0.address) } }
    var version: UInt64 { health.version }
    var nextDue: Instant { health.nextDue }
    func takeNews() -> [HealthNews] { health.takeNews() }
    func takeRequests() -> Set<String> { health.takeResolutionRequests() }

    static func number(_ address: SocketAddress) -> Int { Int(address.ipv4 & 0xFFFF) }
}
