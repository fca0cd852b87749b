import CEdge
import EdgeCore
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// A worker, the verdicts about its members and the hosts themselves in one virtual clock: hosts
/// refuse, fall silent, fail and come back at random, checks find out, traffic finds out sooner.
@Suite("Simulation: health, choice and retries together") struct SiteSimulationTests {
    private enum Host: CaseIterable {
        case works
        case refuses
        /// Neither answers nor acknowledges.
        case silent
        /// Answers 500 to all.
        case fails
    }

    private final class Site {
        let bench: Bench
        var health: UpstreamHealth
        var random: SeededRandom
        var rules: WalkRules
        /// By member's number; the first one always works.
        var hosts = [Host](repeating: .works, count: 5)
        var since = [Instant](repeating: Instant(nanoseconds: 0), count: 5)
        var checks: [(due: Instant, number: Int, outcome: CheckOutcome)] = []
        var clients: [Int32] = []
        var asking: Set<Int32> = []
        var served = 0
        var failed: [String] = []
        var broken: [String] = []
        private var heard = 0
        private var opened = 0
        private var published: UInt64 = 1

        init(_ random: SeededRandom, isLimited: Bool) throws {
            var options = Bench.Options()
            options.members = (1...4).map { Bench.member($0) }
            options.connectionsMax = 64
            options.raceAfter = .milliseconds(150)
            options.tellsFailures = 5
            options.retries.statuses = [500]
            options.memberMax = isLimited ? 2 : 0
            options.requestsMax = isLimited ? 9 : 0
            options.queueMax = isLimited ? 4 : 100
            options.retriesAlways = isLimited ? 20 : 10_000
            bench = try Bench(options)
            rules = WalkRules(bench)
            self.random = random
            let servers = options.members.map {
                UpstreamConfiguration.Server(host: .address($0.with(port: 0)), port: 8080)
            }
            health = UpstreamHealth(
                UpstreamConfiguration(
                    name: "app", servers: servers, tls: nil, connectTimeout: .seconds(3),
                    responseTimeout: .seconds(20), bodyTimeout: .seconds(30),
                    keepAlive: .seconds(60)),
                now: bench.now, seed: random.seed)
            clients = (0..<10).map { _ in bench.client() }
        }

        func number(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

        // MARK: - Steps

        func step() {
            if random.chance(1, of: 20) { change(2 + number(3)) }
            for client in clients where !asking.contains(client) && random.chance(1, of: 8) {
                bench.ring.receives(client, bench.get())
                asking.insert(client)
            }
            tick()
        }

        func tick(_ span: Duration = .milliseconds(20)) {
            bench.quietTurn(after: span)
            rules.look()
            lookAtChoice()
            serve()
            collect()
            judge()
            broken += bench.faults() + rules.broken
        }

        func change(_ host: Int, to state: Host? = nil) {
            let state = state ?? Host.allCases[number(4)]
            if state == .silent, hosts[host] != .silent { since[host] = bench.now }
            hosts[host] = state
            let hosts = hosts
            bench.ring.connectPolicy = { address in
                switch hosts[Site.number(address)] {
                case .works, .fails: 0
                case .refuses: -ECONNREFUSED
                case .silent: nil
                }
            }
        }

        static func number(_ address: SocketAddress) -> Int { Int(address.ipv4 & 0xFF) }

        /// What hosts do with their connections.
        private func serve() {
            for descriptor in bench.ring.openDescriptors {
                guard let address = bench.ring.address(of: descriptor), address.port == 8080,
                    !bench.ring.isConnecting(descriptor)
                else { continue }
                let host = Site.number(address)
                let isAsked = !bench.ring.sent(to: descriptor).isEmpty
                bench.ring.setSilence(
                    descriptor,
                    hosts[host] == .silent && isAsked
                        ? Duration(nanoseconds: bench.now.nanoseconds(since: since[host])) : nil)
                switch hosts[host] {
                case .works where isAsked && random.chance(1, of: 2):
                    _ = bench.ring.takeSent(to: descriptor)
                    bench.ring.receives(descriptor, Bench.ok)
                case .fails where isAsked:
                    _ = bench.ring.takeSent(to: descriptor)
                    bench.ring.receives(
                        descriptor, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
                case .refuses: bench.ring.fails(descriptor, ECONNRESET)
                case .works, .fails, .silent: break
                }
            }
        }

        /// What clients have got: one answer for each request.
        private func collect() {
            for client in asking {
                let text = bench.ring.takeSent(to: client)
                guard !text.isEmpty || bench.ring.isClosed(client) else { continue }
                asking.remove(client)
                if text.hasPrefix("HTTP/1.1 200"), text.hasSuffix("ok") {
                    served += 1
                } else {
                    failed.append(String(text.prefix(200)))
                }
            }
            clients.removeAll { bench.ring.isClosed($0) }
        }

        // MARK: - Verdicts

        private func judge() {
            let now = bench.now
            for event in bench.events.list.dropFirst(heard) {
                switch event {
                case .observed(_, let address, let seen):
                    health.observed(address, seen, now: now)
                case .summarised(_, let summaries): health.summarised(summaries, now: now)
                case .applied, .left, .counted, .admitted, .drained, .stopped, .failed,
                    .connectFailed, .limited:
                    break
                }
            }
            heard = bench.events.list.count
            for address in health.takeDueChecks(now: now) { check(address) }
            for check in checks where check.due <= now {
                health.checked(Bench.member(check.number), check.outcome, now: now)
            }
            checks.removeAll { $0.due <= now }
            health.advance(now: now)
            guard health.version != published else { return }
            published = health.version
            let view = Bench.view(bench.options, health.ranked)
            bench.worker.handle(
                .apply(
                    RuntimeSnapshot(
                        bench.worker.snapshot, epoch: bench.worker.snapshot.epoch + 1,
                        views: [0: view])))
        }

        private func check(_ address: SocketAddress) {
            let host = Site.number(address)
            let (span, outcome): (Duration, CheckOutcome) =
                switch hosts[host] {
                case .works: (.milliseconds(number(50)), .passed)
                case .refuses: (.zero, .failed(reason: "refused"))
                case .silent: (.seconds(1), .failed(reason: "timeout"))
                case .fails: (.milliseconds(number(50)), .failed(reason: "500"))
                }
            checks.append((bench.now.advanced(by: span), host, outcome))
        }

        /// A member that is out is asked only while nobody is up.
        private func lookAtChoice() {
            let ranked = bench.worker.snapshot.pools[0].view.members
            for descriptor in bench.ring.opened.dropFirst(opened) {
                guard let address = bench.ring.address(of: descriptor),
                    let member = ranked.first(where: { $0.address == address })
                else { continue }
                let isOut = member.state == .down || member.state == .ejected
                if isOut, ranked.contains(where: { $0.state == .up }) {
                    broken.append("\(address) is \(member.state), and another is up")
                }
            }
            opened = bench.ring.opened.count
        }

        /// All hosts work again; soon everybody knows, at the latest when the longest ejection
        /// (300 s) is over.
        func heal() {
            for host in 2...4 { change(host, to: .works) }
            for _ in 0..<1_000 { tick() }
            for _ in 0..<1_000 where !health.ranked.allSatisfy({ $0.state == .up }) {
                tick(.milliseconds(400))
            }
        }
    }

    /// With one host that works at any time.
    @Test("No request fails while one host works", arguments: 1...2)
    func nothingLost(seed: UInt64) throws {
        try seeded(seed) { random in
            let site = try Site(random, isLimited: false)
            for step in 0..<2_000 {
                site.step()
                try #require(site.broken.isEmpty, "step \(step), \(random)")
                try #require(site.failed.isEmpty, "step \(step), \(random)")
            }
            site.heal()
            #expect(site.asking.isEmpty && site.failed.isEmpty && site.broken.isEmpty, "\(random)")
            #expect(site.served > 500)
            #expect(site.health.ranked.allSatisfy { $0.state == .up }, "\(random)")
            #expect(site.bench.count(.upstreamRaces) > 0, "\(random)")
            #expect(site.bench.count(.upstreamRetries) > 0, "\(random)")
        }
    }

    @Test("Limits hold whatever fails, and everybody gets an answer", arguments: 11...12)
    func limits(seed: UInt64) throws {
        try seeded(seed) { random in
            let site = try Site(random, isLimited: true)
            for step in 0..<2_000 {
                site.step()
                try #require(site.broken.isEmpty, "step \(step), \(random)")
                let active = site.bench.worker.groups.reduce(0) { $0 + ($1?.active ?? 0) }
                try #require(active <= 9, "step \(step), \(random)")
            }
            site.heal()
            #expect(site.asking.isEmpty && site.broken.isEmpty, "\(random)")
            #expect(site.served > 500, "\(random)")
            #expect(site.failed.allSatisfy { $0.hasPrefix("HTTP/1.1 50") }, "\(random)")
            let before = site.failed.count
            for client in site.clients.prefix(8) {
                site.bench.ring.receives(client, site.bench.get())
                site.asking.insert(client)
            }
            for _ in 0..<50 { site.tick() }
            #expect(site.asking.isEmpty && site.failed.count == before, "\(random)")
        }
    }
}
