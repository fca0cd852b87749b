import EdgeCore
import EdgeHTTP
import EdgeRouting
import EdgeSystem
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeLimits
@testable import EdgeProxy

/// A worker whose only view names policies; `home.example` leads to a pool.
final class GuardedBench {
    let bench: Bench
    let memory: LimitMemory
    private let options: Bench.Options

    static let clients = (0..<8).map { SocketAddress(ipv4: 0xC633_6400 + UInt32($0), port: 40_000) }

    /// - Parameters:
    ///   - policies: of the view, all of them.
    ///   - site: the others, of the site.
    ///   - isPassthrough: the site is passed on.
    init(
        _ policies: [LimitPolicy], site: [LimitPolicy] = [], isPassthrough: Bool = false,
        certificates: CertificateStore = CertificateStore(entries: []), log: AccessLog? = nil
    ) throws {
        let file = try MemoryFile.make(
            name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 1024))
        memory = try LimitMemory(
            descriptor: file.raw, now: Instant(nanoseconds: 1_000_000_000_000), seed: (1, 2),
            countedKeys: 64)
        var options = Bench.Options()
        options.certificates = certificates
        options.accessLog = log
        options.limitMemory = memory
        options.connectionsMax = 32
        options.version = .http1
        self.options = options
        Self.use(policies, site, isPassthrough: isPassthrough, &options)
        bench = try Bench(options)
    }

    private static func use(
        _ policies: [LimitPolicy], _ site: [LimitPolicy], isPassthrough: Bool,
        _ options: inout Bench.Options
    ) {
        var host = Router.Host(pattern: "home.example", site: 0, pool: 0)
        host.policy = 0
        host.isPassthrough = isPassthrough
        let all = policies + site
        let named = Array(policies.indices)
        let own = Array(policies.count..<all.count)
        options.routing = Routing(
            views: [
                (0, ClientView(name: "", index: 0, looksAtHellos: isPassthrough))
            ], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: [host])]),
            access: AccessRules([[RuleConfiguration()]]),
            profiles: [ServerProfile(fallback: "home.example")],
            rules: [RequestRules(head: nil, limitPlan: 2)],
            connections: ConnectionPlans(
                arrivals: [Array(repeating: 0, count: 4)],
                sites: own.isEmpty ? [] : [[.init(own: 1, all: 2)]],
                judgesHellos: !own.isEmpty || policies.contains { $0.limitsHandshakes }))
        options.limits = LimitPlans(
            all,
            places: [
                LimitPlace(policies: named), LimitPlace(policies: own),
                LimitPlace(policies: named + own),
            ])
    }

    /// A reload with other policies.
    func apply(_ epoch: UInt64, _ policies: [LimitPolicy]) {
        var options = options
        Self.use(policies, [], isPassthrough: false, &options)
        bench.worker.handle(.apply(Bench.snapshot(epoch, options, options.members)))
    }

    /// - Returns: nil if the connection was reset at once.
    func client(_ number: Int = 0, _ listener: Int32 = Bench.listener) -> Int32? {
        let client = bench.client(listener, from: Self.clients[number])
        guard bench.ring.isClosed(client) else { return client }
        #expect(bench.ring.wasReset(client) && bench.ring.sent(to: client).isEmpty)
        return nil
    }

    /// The status of a request that is answered at once; "200" for one that goes to the upstream,
    /// which answers it.
    func status(_ client: Int32) -> String {
        for upstream in bench.ring.opened { _ = bench.ring.takeSent(to: upstream) }
        bench.send(client, bench.get())
        let own = bench.ring.takeSent(to: client)
        guard own.isEmpty else { return String(own.dropFirst(9).prefix(3)) }
        let asked = bench.ring.opened.first { !bench.ring.takeSent(to: $0).isEmpty }
        bench.send(asked ?? -1, Bench.ok)
        return String(bench.ring.takeSent(to: client).dropFirst(9).prefix(3))
    }

    func leave(_ client: Int32) {
        bench.ring.ends(client)
        bench.settle()
    }

    static func policy(
        _ name: String = "public", _ change: (inout LimitPolicy) throws -> Void
    ) rethrows -> LimitPolicy {
        var policy = LimitPolicy(name: name)
        try change(&policy)
        return policy
    }
}

@Suite("Limits on connections") struct ConnectionLimitTests {
    private func rate(
        _ thing: LimitedThing, _ count: UInt64, per span: Duration = .seconds(10)
    ) throws -> LimitPolicy {
        try GuardedBench.policy { $0.rates[thing] = try RateLimit(count, per: span) }
    }

    @Test("Connections beyond the rate are reset at once, others' are not")
    func newConnections() throws {
        let guarded = try GuardedBench([try rate(.connections, 3)])
        let bench = guarded.bench

        let taken = (0..<5).map { _ in guarded.client() != nil }

        #expect(taken == [true, true, true, false, false])
        #expect(guarded.client(1) != nil)
        #expect(bench.count(.connectionsRefused) == 2)
        #expect(bench.count(ReasonCode.rateLimited) == 2)
        #expect(bench.count(.connectionsAccepted) == 4)
        bench.tick(.milliseconds(3_400))
        #expect(guarded.client() != nil)
        #expect(guarded.client() == nil)
    }

    @Test("So many at a time: whichever way one ends, there is room for another")
    func concurrent() throws {
        let guarded = try GuardedBench([GuardedBench.policy { $0.counts[.connections] = 2 }])
        let bench = guarded.bench
        let ends: [(Int32) -> Void] = [
            { guarded.leave($0) },
            {
                bench.ring.fails($0, 104)
                bench.settle()
            },
            { bench.send($0, "nonsense\r\n\r\n") },
            {
                bench.send($0, "GET / HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
            },
            { _ in bench.pass(.seconds(80)) },
        ]
        for end in ends {
            let first = try #require(guarded.client())
            _ = try #require(guarded.client())
            #expect(guarded.client() == nil)
            #expect(guarded.memory.counts.total == 2)

            end(first)
            // Closed on both sides, or given up.
            guarded.leave(first)
            bench.pass(.seconds(3))

            #expect(guarded.client() != nil)
            bench.pass(.seconds(80))
            bench.expectEmpty()
            #expect(guarded.memory.counts.total == 0)
        }
    }

    @Test("Limits of one place stack: what one refuses is charged to none")
    func stacked() throws {
        let guarded = try GuardedBench([
            try GuardedBench.policy("wide") {
                $0.ipv4Bits = 24
                $0.counts[.connections] = 3
                $0.rates[.connections] = try RateLimit(4, per: .seconds(1000))
            },
            GuardedBench.policy("own") { $0.counts[.connections] = 1 },
        ])

        let first = try #require(guarded.client(0))
        for _ in 0..<10 { #expect(guarded.client(0) == nil) }
        #expect(guarded.client(1) != nil && guarded.client(2) != nil)
        #expect(guarded.client(3) == nil)
        guarded.leave(first)
        // Refused connections have cost the rate nothing: the fourth passes, the fifth does not.
        let fourth = try #require(guarded.client(3))
        guarded.leave(fourth)
        #expect(guarded.client(4) == nil)
        #expect(guarded.memory.counts.total == 4)
    }

    @Test("Who is on the list of denied or banned is reset; a ban that comes later ends all he has")
    func standing() throws {
        let guarded = try GuardedBench([
            try GuardedBench.policy {
                $0.denied = [try #require(CIDR("198.51.100.7"))]
                $0.rates[.requests] = try RateLimit(1000, per: .seconds(1))
            }
        ])
        let bench = guarded.bench
        #expect(guarded.client(7) == nil)
        #expect(bench.count(ReasonCode.clientForbidden) == 1)
        let client = try #require(guarded.client(1))
        #expect(guarded.status(client) == "200")
        let stream = try WirePeer(clientOf: bench, from: GuardedBench.clients[1])

        let key = guarded.memory.bans.key(
            LimitPlans.generalBan, LimitSubject(client: GuardedBench.clients[1]))
        guarded.memory.bans.ban(key, for: .seconds(60), now: bench.now)

        #expect(guarded.client(1) == nil)
        #expect(guarded.client(2) != nil)
        bench.send(client, bench.get())
        let answer = bench.ring.takeSent(to: client)
        #expect(answer.hasPrefix("HTTP/1.1 429 ") && answer.contains("Connection: close\r\n"))
        #expect(bench.ring.isSendingShut(client))
        let id = stream.get()
        #expect(stream[id].heads.first?.hasPrefix("HTTP/1.1 429 ") == true)
        #expect(stream.peer.recorder.goAway != nil)
        bench.pass(.seconds(61))
        #expect(guarded.client(1) != nil)
    }

    @Test("In shadow mode all are taken, and what would have been refused is counted")
    func shadow() throws {
        let guarded = try GuardedBench([
            try GuardedBench.policy {
                $0.isShadow = true
                $0.counts[.connections] = 2
                $0.rates[.connections] = try RateLimit(3, per: .seconds(10))
                $0.denied = [try #require(CIDR("198.51.100.0/24"))]
            }
        ])

        for _ in 0..<5 { #expect(guarded.client() != nil) }

        #expect(guarded.bench.count(.connectionsOverShadowLimit) == 3)
        #expect(guarded.bench.count(.connectionsRefused) == 0)
    }

    @Test("A tcp listener's connections are limited before its server is asked")
    func relayed() throws {
        let guarded = try GuardedBench([GuardedBench.policy { $0.counts[.connections] = 1 }])
        let bench = guarded.bench
        let client = try #require(guarded.client(0, Bench.tcpListener))
        #expect(bench.ring.opened.count == 1)

        #expect(guarded.client(0, Bench.tcpListener) == nil)
        #expect(bench.ring.opened.count == 1)

        bench.ring.connects(bench.upstream)
        bench.settle()
        guarded.leave(client)
        bench.ring.ends(bench.upstream)
        bench.settle()
        #expect(guarded.client(0, Bench.tcpListener) != nil)
    }

    @Test("A site that is passed on limits who asks for it, before its server is asked")
    func passthrough() throws {
        let guarded = try GuardedBench(
            [],
            site: [
                try GuardedBench.policy {
                    $0.counts[.connections] = 1
                    $0.rates[.handshakes] = try RateLimit(2, per: .seconds(1000))
                    $0.denied = [try #require(CIDR("198.51.100.7"))]
                }
            ], isPassthrough: true)
        let bench = guarded.bench
        func begin(_ number: Int) throws -> Int32 {
            let client = try #require(guarded.client(number, Bench.tlsListener))
            bench.ring.receives(client, HelloBuilder.browser("home.example").bytes)
            bench.settle()
            return client
        }

        let first = try begin(0)
        #expect(bench.ring.opened.count == 1 && !bench.ring.isClosed(first))
        for number in [0, 7] {
            let other = try begin(number)
            #expect(bench.ring.wasReset(other) && bench.ring.sent(to: other).isEmpty)
        }
        #expect(bench.ring.opened.count == 1)
        bench.ring.connects(bench.upstream)
        bench.settle()
        guarded.leave(first)
        bench.ring.ends(bench.upstream)
        bench.settle()
        #expect(guarded.memory.counts.total == 0)
        // The second hello of the two that the rate allows.
        let second = try begin(0)
        #expect(!bench.ring.isClosed(second) && bench.ring.opened.count == 2)
        bench.ring.fails(second, 104)
        bench.settle()
        #expect(bench.ring.wasReset(try begin(0)))
        #expect(bench.ring.opened.count == 2)
    }

    @Test("The log says which policy has refused")
    func logged() throws {
        let book = try LogBook()
        let guarded = try GuardedBench([try rate(.connections, 1)], log: book.log)
        #expect(guarded.client() != nil && guarded.client() == nil)

        let lines = try book.lines(of: guarded.bench)

        #expect(lines.count == 1)
        let line = try #require(lines.first)
        #expect(line["kind"] as? String == "refused")
        #expect(line["client"] as? String == "198.51.100.0")
        #expect(line["reason"] as? String == "rate_limited")
        #expect(line["policy"] as? String == "public")
    }

    @Test("A connection that is refused before it has a view is logged without one")
    func loggedNowhere() throws {
        let book = try LogBook()
        var options = Bench.Options()
        options.connectionsMax = 1
        options.accessLog = book.log
        let bench = try Bench(options)
        _ = bench.client()
        #expect(bench.ring.wasReset(bench.client()))

        let line = try #require(try book.lines(of: bench).first)

        #expect(line["kind"] as? String == "refused")
        #expect(line["reason"] as? String == "connection_limit")
        #expect(line["view"] == nil && line["policy"] == nil)
    }
}
