import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import EdgeLimits
import EdgeRouting
import EdgeSystem
import EdgeTLS
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// A worker whose host bans for errors; `/x` of it has no upstream, so that we say 404 ourselves.
private func bench(
    _ change: (inout LimitPolicy) throws -> Void = { _ in },
    access: RuleConfiguration = RuleConfiguration(), isOfView: Bool = false
) throws -> Bench {
    let file = try MemoryFile.make(
        name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 1024))
    var policy = LimitPolicy(name: "public")
    policy.errors = LimitPolicy.Errors(
        limit: try RateLimit(3, per: .seconds(60)), statuses: [403...404], ban: .seconds(20))
    try change(&policy)
    let rules = RequestRules(head: nil, limitPlan: 0)
    var host = Router.Host(pattern: "home.example", site: 0, pool: 0)
    host.policy = 0
    host.paths = [Router.Path(prefix: "/x", pool: -1, policy: 0)]
    var options = Bench.Options()
    options.routing = Routing(
        views: [(0, ClientView(name: "", index: 0))], isDivided: false,
        places: ViewTable([.only], listeners: [], interfaces: [:]),
        router: Router([Router.View(hosts: [host])]), access: AccessRules([[access]]),
        profiles: [ServerProfile(fallback: nil)], rules: [rules],
        connections: ConnectionPlans(arrivals: isOfView ? [[0]] : []))
    options.limits = LimitPlans([policy], places: [LimitPlace(policies: [0])])
    options.limitMemory = try LimitMemory(
        descriptor: file.raw, now: Instant(nanoseconds: 1_000_000_000_000), seed: (1, 2))
    return try Bench(options)
}

extension Bench {
    /// The status of a request, which the upstream answers with `answer` if it is asked.
    fileprivate func status(
        _ client: Int32, _ path: String = "/", _ answer: String = Bench.notFound
    ) -> String {
        let asked = ring.opened.count
        let idle = count(Counter.upstreamConnectionsIdle)
        send(client, get(path))
        if ring.opened.count > asked || count(Counter.upstreamConnectionsIdle) < idle {
            send(upstream, answer)
        }
        return String(ring.takeSent(to: client).dropFirst(9).prefix(3))
    }

    fileprivate static let notFound = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"

    /// All that was told of limits so far.
    fileprivate var news: [LimitNews] {
        events.list.compactMap { if case .limited(let news) = $0 { news } else { nil } }
    }

    fileprivate func figures(_ policy: String) -> LimitNews.Figures {
        news.flatMap(\.policies).filter { $0.name == policy }
            .reduce(into: LimitNews.Figures()) { $0 += $1.figures }
    }
}

@Suite("Error answers that ban") struct ErrorBanTests {
    private static let address = SocketAddress(ipv4: 0xC633_6401, port: 40_000)

    @Test("Malformed requests ban who sends them, where the view says so")
    func malformed() throws {
        let bench = try bench(
            { policy in
                policy.errors = LimitPolicy.Errors(
                    limit: try RateLimit(3, per: .seconds(60)), statuses: [400...400],
                    ban: .seconds(20))
            }, isOfView: true)
        let other = bench.client()
        for _ in 0..<4 {
            let client = bench.client(from: Self.address)
            bench.send(client, "GET / HTTP/1.1\r\nHost : home.example\r\n\r\n")
            #expect(bench.ring.takeSent(to: client).hasPrefix("HTTP/1.1 400"))
        }

        let refused = bench.client(from: Self.address)

        #expect(bench.ring.wasReset(refused))
        #expect(bench.count(.clientBadRequest) == 4)
        #expect(bench.status(other, "/", Bench.ok) == "200")
        bench.pass(.seconds(21))
        #expect(!bench.ring.wasReset(bench.client(from: Self.address)))
    }

    @Test("An upstream's errors ban who brings them about, until the ban ends")
    func upstream() throws {
        let bench = try bench()
        let client = bench.client(from: Self.address)
        let other = bench.client()

        #expect((0..<4).map { _ in bench.status(client) } == ["404", "404", "404", "404"])
        #expect(bench.status(client) == "429")
        #expect(bench.status(other) == "404")
        // Another connection of his is no better.
        #expect(bench.status(bench.client(from: Self.address)) == "429")
        bench.pass(.seconds(21))
        #expect(bench.status(bench.client(from: Self.address), "/", Bench.ok) == "200")
    }

    @Test("Requests for hosts that nobody has are charged and held against who makes them")
    func unknownHosts() throws {
        let bench = try bench(
            { $0.rates[.requests] = try RateLimit(5, per: .seconds(60)) }, isOfView: true)
        let client = bench.client(from: Self.address)
        let other = bench.client()
        func status(_ client: Int32) -> String {
            bench.send(client, "GET / HTTP/1.1\r\nHost: nosuch.example\r\n\r\n")
            return String(bench.ring.takeSent(to: client).dropFirst(9).prefix(3))
        }

        let found = (0..<5).map { _ in status(client) }

        // The fourth error bans; whoever is banned keeps no connection.
        #expect(found == ["404", "404", "404", "404", "429"], "\(found)")
        #expect(status(other) == "404")
    }

    @Test("A ban is told at once, by client, policy and span, and once only")
    func told() throws {
        let bench = try bench()
        let client = bench.client(from: Self.address)
        for _ in 0..<4 { _ = bench.status(client) }
        // The refusal closes the connection.
        for _ in 0..<2 { #expect(bench.status(bench.client(from: Self.address)) == "429") }

        #expect(
            bench.news.flatMap(\.banned) == [
                LimitNews.Banned(
                    client: ClientNetwork(Self.address), policy: "public", span: .seconds(20),
                    isShadow: false)
            ])
        bench.pass(.seconds(1))
        let figures = bench.figures("public")
        #expect(figures.bans == 1)
        #expect(figures.refused == 2)
        #expect(figures.admitted == 4)
        let top = try #require(bench.news.flatMap(\.refused).first)
        #expect("\(top.key.client)" == "198.51.100.1")
        #expect(top.count == 2)
        let before = bench.news.count
        bench.pass(.seconds(3))
        #expect(bench.news.count == before)
    }

    @Test("Our own errors count as well, those of the limiter and statuses not named do not")
    func own() throws {
        let bench = try bench { $0.rates[.requests] = try RateLimit(5, per: .seconds(25)) }
        let client = bench.client(from: Self.address)
        let five = "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
        #expect((0..<2).map { _ in bench.status(client, "/", five) } == ["500", "500"])
        #expect((0..<3).map { _ in bench.status(client, "/x") } == ["404", "404", "404"])

        // 429 for the rate, then.
        #expect((0..<9).allSatisfy { _ in bench.status(client, "/x") == "429" })

        #expect(bench.news.flatMap(\.banned).isEmpty)
        bench.pass(.seconds(6))
        #expect(bench.status(bench.client(from: Self.address), "/x") == "404")
    }

    @Test("Who is kept out by a policy's list is not banned for that by its errors")
    func denied() throws {
        let bench = try bench { $0.denied = [CIDR(Self.address, bits: 32)].compactMap { $0 } }
        for _ in 0..<9 { #expect(bench.status(bench.client(from: Self.address)) == "403") }

        #expect(bench.news.flatMap(\.banned).isEmpty)
        bench.pass(.seconds(1))
        #expect(bench.figures("public").refused == 9)
    }

    @Test("Whom a policy in shadow mode would keep out is served, and counted")
    func shadowDenied() throws {
        let bench = try bench {
            $0.denied = [CIDR(Self.address, bits: 32)].compactMap { $0 }
            $0.isShadow = true
        }
        let client = bench.client(from: Self.address)

        #expect((0..<3).map { _ in bench.status(client, "/", Bench.ok) } == ["200", "200", "200"])

        bench.pass(.seconds(1))
        #expect(bench.figures("public").shadow == 3)
        #expect(bench.figures("public").refused == 0)
        #expect(bench.count(.requestsOverShadowLimit) == 3)
    }

    @Test("An answer that the client does not wait for counts; a request without one does not")
    func impatient() throws {
        let bench = try bench()
        for _ in 0..<3 {
            let client = bench.client(from: Self.address)
            bench.send(client, bench.get())
            bench.send(
                bench.upstream, "HTTP/1.1 404 Not Found\r\nContent-Length: 200\r\n\r\nno")
            bench.ring.fails(client, 104)
            bench.settle()
        }
        for _ in 0..<5 {
            let client = bench.client(from: Self.address)
            bench.send(client, bench.get())
            bench.ring.fails(client, 104)
            bench.settle()
        }
        let client = bench.client(from: Self.address)
        #expect(bench.status(client) == "404")
        #expect(bench.status(client) == "429")
    }

    @Test("Streams' errors ban their connection's client")
    func streams() throws {
        let bench = try bench()
        let client = try WirePeer(clientOf: bench)

        let heads = (0..<5).map { _ in
            let stream = client.get("/x")
            return client[stream].heads.first?.prefix(12)
        }

        #expect(heads.prefix(4).allSatisfy { $0 == "HTTP/1.1 404" })
        #expect(heads.last == "HTTP/1.1 429")
    }

    @Test("In shadow mode nobody is banned, and each ban that would have been is told once")
    func shadow() throws {
        let bench = try bench { $0.isShadow = true }
        let client = bench.client(from: Self.address)

        #expect((0..<20).allSatisfy { _ in bench.status(client) == "404" })

        #expect(bench.news.flatMap(\.banned).map(\.isShadow) == [true])
    }

    @Test("Many bans at once are told with the next second's word, and the rest is counted")
    func many() throws {
        let bench = try bench { $0.errors?.limit = try RateLimit(1, per: .seconds(60)) }
        let clients = LimitTally.bansMax + Worker.bansToldMax + 5
        for number in 0..<UInt32(clients) {
            let client = bench.client(from: SocketAddress(ipv4: 0x0100_0000 + number, port: 1))
            _ = bench.status(client, "/x")
            _ = bench.status(client, "/x")
            bench.ring.fails(client, 104)
            bench.settle()
        }
        let atOnce = bench.news.flatMap(\.banned).count
        bench.pass(.seconds(2))

        #expect(atOnce == Worker.bansToldMax)
        #expect(bench.news.flatMap(\.banned).count == atOnce + LimitTally.bansMax)
        #expect(bench.news.reduce(0) { $0 + $1.bannedMore } == 5)
        #expect(bench.figures("public").bans == UInt64(clients))
    }
}
