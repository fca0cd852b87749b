import EdgeCore
import EdgeHTTP
import EdgeHTTP1
import EdgeLimits
import EdgeRouting
import EdgeSystem
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// Workers that count in one memory, before an upstream that is never asked: what passes is
/// redirected.
private final class Limited {
    /// Descriptor of the memory, as the guardian keeps it.
    let file: FileDescriptor
    let options: Bench.Options

    static let start = Instant(nanoseconds: 1_000_000_000_000)

    /// - Parameter policies: all of them apply to `home.example`.
    init(_ policies: LimitPolicy..., hasUpstream: Bool = false) throws {
        file = try MemoryFile.make(
            name: "limits", byteCount: LimitMemoryLayout.byteCount(trackedClients: 1024))
        let target = try TextTemplate([.text(Array("/x".utf8))], view: [])
        let rules = RequestRules(
            head: nil, redirect: hasUpstream ? nil : (target, 302), limitPlan: 0)
        var host = Router.Host(pattern: "home.example", site: 0, pool: 0)
        host.policy = 0
        var options = Bench.Options()
        options.routing = Routing(
            views: [(0, ClientView(name: "", index: 0))], isDivided: false,
            places: ViewTable([.only], listeners: [], interfaces: [:]),
            router: Router([Router.View(hosts: [host])]),
            access: AccessRules([[RuleConfiguration()]]),
            profiles: [ServerProfile(fallback: nil)], rules: [rules])
        options.limits = LimitPlans(
            policies, places: [LimitPlace(policies: Array(policies.indices))])
        self.options = options
    }

    /// As a proxy that begins maps it.
    func memory() throws -> LimitMemory {
        try LimitMemory(descriptor: file.raw, now: Self.start, seed: (1, 2))
    }

    /// A worker of a proxy of its own.
    func bench() throws -> Bench {
        var options = options
        options.limitMemory = try memory()
        return try Bench(options)
    }

    static func policy(
        _ count: UInt64 = 120, per span: Duration = .seconds(10),
        _ change: (inout LimitPolicy) -> Void = { _ in }
    ) throws -> LimitPolicy {
        var policy = LimitPolicy(name: "public")
        policy.rates[.requests] = try RateLimit(count, per: span)
        change(&policy)
        return policy
    }
}

@Suite("Request limits of workers") struct RateLimitTests {
    private static let address = SocketAddress(ipv4: 0xC633_6401, port: 40_000)

    /// The statuses of `count` requests on one connection.
    private func statuses(_ bench: Bench, _ client: Int32, _ count: Int) -> [String] {
        (0..<count).map { _ in
            bench.send(client, bench.get())
            return String(bench.ring.takeSent(to: client).dropFirst(9).prefix(3))
        }
    }

    @Test("500 requests/s for 20 s against 120 per 10s: 360 ± 1 pass", arguments: [1, 2, 4])
    func exact(workers: Int) throws {
        let limited = try Limited(try Limited.policy())
        let benches = try (0..<workers).map { _ in try limited.bench() }
        let clients = benches.map { $0.client(from: Self.address) }

        for number in 0..<10_000 {
            // Every worker's clock goes on, one of them is asked.
            for (index, bench) in benches.enumerated() {
                if number % workers == index { bench.ring.receives(clients[index], bench.get()) }
                bench.quietTurn(after: .milliseconds(2))
                if number % workers == index { _ = bench.ring.takeSent(to: clients[index]) }
            }
        }

        for bench in benches { bench.settle() }
        let passed = benches.reduce(0) { $0 + $1.count(.responses3xx) }
        let refused = benches.reduce(0) { $0 + $1.count(.rateLimited) }
        #expect((359...361).contains(passed), "\(passed)")
        #expect(passed + refused == 10_000)
        for bench in benches { bench.inspect() }
    }

    @Test("Another proxy on the same memory goes on where the one before it ended")
    func successor() throws {
        let limited = try Limited(try Limited.policy(5))
        do {
            let first = try limited.bench()
            let client = first.client(from: Self.address)
            #expect(statuses(first, client, 6) == ["302", "302", "302", "302", "302", "429"])
        }

        let second = try limited.bench()
        let same = second.client(from: Self.address)
        let other = second.client(from: SocketAddress(ipv4: 0xC633_6402, port: 1))

        #expect(statuses(second, same, 1) == ["429"])
        #expect(statuses(second, other, 1) == ["302"])
    }

    @Test("The refusal says when to come again, what the limit is and what is left")
    func refusal() throws {
        let bench = try Limited(try Limited.policy(2)).bench()
        let client = bench.client()
        _ = statuses(bench, client, 2)

        bench.send(client, bench.get())

        #expect(
            bench.ring.takeSent(to: client)
                == "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n"
                + "Cache-Control: no-store\r\nContent-Length: 13\r\nRetry-After: 5\r\n"
                + "RateLimit-Policy: \"public\";q=2;w=10\r\nRateLimit: \"public\";r=0;t=10\r\n\r\n"
                + "rate_limited\n")
        #expect(bench.count(.rateLimited) == 1)
        bench.tick(.seconds(5))
        #expect(statuses(bench, client, 2) == ["302", "429"])
    }

    @Test("Streams are counted as requests; gRPC is told RESOURCE_EXHAUSTED")
    func streams() throws {
        let bench = try Limited(try Limited.policy(1)).bench()
        let client = try WirePeer(clientOf: bench)
        client.get()

        let second = client.get()
        let call = client.post("/a.B/C", [("content-type", "application/grpc")])

        let head = try #require(client[second].heads.first)
        #expect(head.hasPrefix("HTTP/1.1 429 "))
        #expect(head.contains("retry-after: 10\r\n"))
        #expect(head.contains("ratelimit-policy: \"public\";q=1;w=10\r\n"))
        let trailers = try #require(client[call].heads.first)
        #expect(trailers.contains("grpc-status: 8\r\n"))
        #expect(trailers.contains("grpc-message: rate_limited\r\n"))
        #expect(trailers.contains("retry-after: 10\r\n"))
    }

    @Test("What a request costs is said by its method and path, and no spelling is cheaper")
    func costs() throws {
        let policy = try Limited.policy(10) {
            $0.costs = [
                LimitPolicy.Cost(methods: ["POST"], path: "/login", cost: 4),
                LimitPolicy.Cost(path: "/health", cost: 0),
            ]
        }
        let bench = try Limited(policy).bench()
        let client = bench.client()
        func status(_ method: String, _ path: String) -> String {
            bench.send(
                client,
                "\(method) \(path) HTTP/1.1\r\nHost: home.example\r\nContent-Length: 0\r\n\r\n")
            return String(bench.ring.takeSent(to: client).dropFirst(9).prefix(3))
        }

        #expect(status("POST", "/login?x=1") == "302")
        #expect(status("POST", "/./login") == "302")
        #expect(status("POST", "/%6cogin") == "429")
        #expect(status("GET", "/health") == "302")
        #expect(status("GET", "/login") == "302")
        #expect(status("GET", "/") == "302")
        #expect(status("GET", "/") == "429")
        #expect(status("GET", "/health/live") == "302")
        #expect(status("GET", "/health/%2e%2e/") == "429")
    }

    @Test(
        "Who has the same header or cookie is one client, who has none is counted by address",
        arguments: [
            (LimitPolicy.Key.field("x-api-key"), "X-API-Key: %"),
            (.cookie("key"), "Cookie: a=b; key=%"),
        ])
    func texts(key: LimitPolicy.Key, line: String) throws {
        let bench = try Limited(try Limited.policy(2) { $0.key = key }).bench()
        let one = bench.client(from: Self.address)
        let two = bench.client(from: SocketAddress(ipv4: 0xC633_6402, port: 1))
        func status(_ client: Int32, _ value: String?) -> String {
            let field = value.map { line.replacing("%", with: $0) + "\r\n" } ?? ""
            bench.send(client, "GET / HTTP/1.1\r\nHost: home.example\r\n\(field)\r\n")
            return String(bench.ring.takeSent(to: client).dropFirst(9).prefix(3))
        }

        #expect(status(one, "alice") == "302")
        #expect(status(two, "alice") == "302")
        #expect(status(one, "alice") == "429")
        #expect(status(one, "bob") == "302")
        #expect([nil, nil, nil].map { status(two, $0) } == ["302", "302", "429"])
        #expect(status(one, nil) == "302")
    }

    @Test("In shadow mode all pass, and what would have been refused is counted")
    func shadow() throws {
        let bench = try Limited(try Limited.policy(2) { $0.isShadow = true }).bench()
        let client = bench.client()

        #expect(statuses(bench, client, 5) == Array(repeating: "302", count: 5))
        #expect(bench.count(.requestsOverShadowLimit) == 3)
        #expect(bench.count(.rateLimited) == 0)
    }

    @Test("An IPv6 client is its /64")
    func networks() throws {
        let bench = try Limited(try Limited.policy(1)).bench()
        func client(_ high: UInt64, _ low: UInt64) -> Int32 {
            bench.client(from: SocketAddress(ipv6High: high, low: low, port: 1))
        }
        let net: UInt64 = 0x2001_0DB8_0000_0001

        #expect(statuses(bench, client(net, 1), 1) == ["302"])
        #expect(statuses(bench, client(net, 2), 1) == ["429"])
        #expect(statuses(bench, client(net + 1, 1), 1) == ["302"])
    }

    @Test("Who is allowed is not counted, who is denied gets 403")
    func lists() throws {
        let bench = try Limited(
            try Limited.policy(1) {
                $0.allowed = ["198.51.100.0/24"].compactMap { CIDR($0) }
                $0.denied = ["198.51.100.9", "203.0.113.0/24"].compactMap { CIDR($0) }
                $0.status = 503
            }
        ).bench()
        let friend = bench.client(from: SocketAddress(ipv4: 0xC633_6409, port: 1))
        let enemy = bench.client(from: SocketAddress(ipv4: 0xCB00_7101, port: 1))
        let other = bench.client()

        #expect(statuses(bench, friend, 3) == ["302", "302", "302"])
        #expect(statuses(bench, enemy, 1) == ["403"])
        #expect(statuses(bench, other, 2) == ["302", "503"])
    }

    @Test("Who is banned gets nothing until the ban ends")
    func bans() throws {
        let limited = try Limited(try Limited.policy())
        let bench = try limited.bench()
        let client = bench.client(from: Self.address)
        let memory = try #require(bench.options.limitMemory)
        let key = memory.bans.key(LimitPlans.generalBan, LimitSubject(client: Self.address))
        memory.bans.ban(key, for: .seconds(20), now: bench.now)

        bench.send(client, bench.get())
        let answer = bench.ring.takeSent(to: client)

        #expect(answer.hasPrefix("HTTP/1.1 429 "))
        #expect(answer.contains("Retry-After: 21\r\n") || answer.contains("Retry-After: 20\r\n"))
        #expect(answer.contains("Connection: close\r\n"))
        bench.tick(.seconds(21))
        let again = bench.client(from: Self.address)
        #expect(statuses(bench, again, 1) == ["302"])
    }

    @Test("Memory that another version has used, or that is too small, is refused")
    func memory() throws {
        let small = try MemoryFile.make(name: "small", byteCount: 4096)
        #expect(throws: LimitMemory.Failure.tooSmall) {
            _ = try LimitMemory(descriptor: small.raw, now: Limited.start, seed: (1, 2))
        }

        let limited = try Limited(try Limited.policy())
        try Descriptor.writeAll(limited.file.raw, [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(throws: LimitMemory.Failure.wrongLayout(.wrongLayout)) {
            _ = try limited.memory()
        }
    }
}
