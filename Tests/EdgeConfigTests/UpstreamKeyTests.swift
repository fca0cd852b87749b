import EdgeUpstream
import Testing

@testable import EdgeConfig

@Suite("Servers, balancing and retries, as configured")
struct UpstreamKeyTests {
    private static func load(_ text: String) throws -> Configuration {
        try Configuration.load(ConfigurationBundle(text)).0
    }

    private static func upstream(_ keys: String) throws -> UpstreamConfiguration {
        try load(Sample.upstream(keys)).upstreams[0]
    }

    private static func servers(_ list: String) -> String {
        Sample.minimal.replacing("[\"10.0.0.1:80\"]", with: list)
    }

    @Test("What is not written is what the policies begin with")
    func defaults() throws {
        let upstream = try Self.load(Sample.minimal).upstreams[0]

        #expect(upstream.balance == .roundRobin)
        #expect(upstream.sticky == nil)
        #expect(upstream.ejection == EjectionPolicy())
        #expect(upstream.slowStart == .zero)
        #expect(upstream.failsOpen)
        #expect(upstream.retries == RetryPolicy())
        #expect(upstream.requestsMax == nil)
        #expect(upstream.raceAfter == .milliseconds(150))
        #expect(try Self.load(Sample.minimal).dns == DNSConfiguration())
        #expect(try Self.load(Sample.minimal).stateDirectory == nil)
    }

    @Test("Servers are strings and mappings, mixed; services say their ports themselves")
    func mixed() throws {
        let servers = try Self.load(
            Self.servers(
                """
                [ a.example:1, { address: "b.example:2", weight: 3, backup: yes },
                  { srv: _HTTPS._tcp.c.example }, "[2001:db8::1]:4" ]
                """)
        ).upstreams[0].servers

        #expect(servers.count == 4)
        #expect(
            servers.prefix(3) == [
                .init(host: .name("a.example"), port: 1),
                .init(host: .name("b.example"), port: 2, weight: 3, isBackup: true),
                .init(host: .service("_https._tcp.c.example"), port: 0),
            ])
        #expect(servers[3].port == 4 && servers[3].weight == 1 && !servers[3].isBackup)
    }

    @Test(
        "Servers that cannot be meant are refused, with their place",
        arguments: [
            ("[{}]", "5:20: upstreams.app.servers[0] has no 'address' ('address: host:port', or"),
            ("[]", "upstreams.app.servers is an empty list"),
            ("a:1", "upstreams.app.servers must be a list, not a string"),
            ("[[a:1]]", "upstreams.app.servers[0] must be a string, not a list"),
            ("[{ address: a }]", "'a' has no port (host:port)"),
            (
                "[{ address: \"a:1\", wieght: 2 }]",
                "unknown key 'wieght' in upstreams.app.servers[0"
            ),
            ("[{ address: \"a:1\", weight: 0 }]", "weight is out of range: '0' (1 to 256)"),
            (
                "[{ address: \"a:1\", backup: yes }]",
                "5:10: upstreams.app: every server is a backup"
            ),
            ("[{ srv: _a._b.c, weight: 2 }]", "servers[0].weight has no effect with 'srv'"),
            ("[{ srv: _a._b.c, address: \"a:1\" }]", "servers[0] has 'address' and 'srv'"),
            ("[{ srv: a.example }]", "'a.example' is not a name of SRV records (service and proto"),
            ("[{ srv: _a.b.example }]", "is not a name of SRV records"),
            ("[a:1, { address: \"A:1\", weight: 2 }]", "upstreams.app has the same server twice"),
        ])
    func refusedServers(list: String, reason: String) {
        let found = errors(Self.servers(list))

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }

    @Test(
        "Balancing by each word",
        arguments: [
            ("balance: round-robin", .roundRobin), ("balance: least-requests", .leastRequests),
            ("balance: fastest", .fastest), ("balance: hash", .hash(.client)),
            ("balance: hash, hash: client", .hash(.client)),
            ("balance: hash, hash: header X-User", .hash(.header("x-user"))),
            ("balance: hash, hash: \"cookie Session\"", .hash(.cookie("Session"))),
        ] as [(String, BalancePolicy)])
    func balance(keys: String, policy: BalancePolicy) throws {
        #expect(try Self.upstream(keys).balance == policy)
    }

    @Test("What is written about traffic's own verdicts counts, each key for itself")
    func verdicts() throws {
        let upstream = try Self.upstream(
            """
            ejection: { failures: 1, rate: 2, requests: 3, latency: 4, first: 5s, last: 6s,
              share: 7 }, slow_start: 8s, all_down: closed, sticky: { cookie: EDGED },
              limits: { requests: 9, connections: 10 }
            """)

        #expect(
            upstream.ejection
                == EjectionPolicy(
                    consecutive: 1, failurePercent: 2, requestsMin: 3, latencyFactor: 4,
                    first: .seconds(5), last: .seconds(6), sharePercent: 7))
        #expect(upstream.slowStart == .seconds(8))
        #expect(!upstream.failsOpen)
        #expect(upstream.sticky == StickyPolicy(cookie: "EDGED"))
        #expect(upstream.requestsMax == 9 && upstream.memberConnectionsMax == 10)
        #expect(try Self.upstream("ejection: off").ejection == nil)
        #expect(try Self.upstream("ejection: { first: 10m }").ejection?.last == .seconds(600))
    }

    @Test("What is written about retries counts, each key for itself")
    func retries() throws {
        let upstream = try Self.upstream(
            """
            retries: { attempts: 1, statuses: [503, 502-504, 429], budget: 0, per_try: 2s,
              overall: 3s, hedge: 1s, race: 0s }
            """)

        #expect(
            upstream.retries
                == RetryPolicy(
                    attempts: 1, statuses: [429, 502, 503, 504], budgetPercent: 0,
                    perTry: .seconds(2), overall: .seconds(3), hedgeAfter: .seconds(1)))
        #expect(upstream.raceAfter == .zero)
    }

    @Test("A check asks for its own name, else for traffic's, else for that of the first site")
    func checkName() throws {
        func name(_ keys: String, hosts: String = "a.example") throws -> String? {
            try Self.load(
                Sample.upstream(keys).replacing("hosts: a.example", with: "hosts: \(hosts)")
            ).checkName(upstream: 0)
        }

        #expect(try name("tls: { name: b.c }, health: { name: d.e }") == "d.e")
        #expect(try name("tls: { name: b.c }") == "b.c")
        #expect(try name("tls: {}") == "a.example")
        #expect(try name("tls: { verify: none }", hosts: "[\"*.a.b\", c.d]") == "c.d")
        #expect(try name("tls: { verify: none }", hosts: "\"*\"") == nil)
        #expect(try name("health: { preset: kube-apiserver, name: f.g }") == "f.g")
        #expect(try name("health: { preset: kube-apiserver }") == nil)
        #expect(try name("health: off") == nil)
    }

    @Test("DNS and the state folder")
    func dns() throws {
        let configuration = try Self.load(
            Sample.minimal + "dns: { refresh: 9s, stale: 2h, hosts: yes }\nstate: var\n")

        #expect(
            configuration.dns
                == DNSConfiguration(refresh: .seconds(9), stale: .seconds(7200), usesHosts: true))
        #expect(configuration.stateDirectory == "var")
        #expect(try Self.load(Sample.minimal + "dns: { stale: unlimited }\n").dns.stale == nil)
    }

    @Test("Names without a state folder are a warning, addresses are not")
    func stateless() throws {
        func warnings(_ text: String) throws -> Int {
            try Configuration.load(ConfigurationBundle(text)).warnings.count
        }

        #expect(try warnings(Self.servers("[a.example:1]")) == 1)
        #expect(try warnings(Self.servers("[{ srv: _a._b.c }]")) == 1)
        #expect(try warnings(Self.servers("[a.example:1]") + "state: /var/lib/edged\n") == 0)
        #expect(try warnings(Sample.minimal) == 0)
    }

    @Test("A resolver that only services are asked of is used")
    func serviceResolver() throws {
        let (_, warnings) = try Configuration.load(
            ConfigurationBundle(
                Self.servers("[{ srv: _a._b.c.d }]")
                    + "state: /s\nresolvers: { r: { servers: [10.0.0.2], domains: [c.d] } }\n"))

        #expect(warnings.isEmpty)
    }

    @Test(
        "What cannot be meant is refused, with its place",
        arguments: [
            ("balance: random", "balance cannot be 'random' (one of: round-robin, least-requests"),
            ("hash: client", "5:42: upstreams.app.hash has no effect without 'balance: hash' (set"),
            ("hash: client, balance: fastest", "without 'balance: hash' (it is fastest)"),
            ("balance: hash, hash: header", "'header' is nothing to hash ('client', 'header X-"),
            ("balance: hash, hash: \"header X U\"", "'header X U' is nothing to hash"),
            ("balance: hash, hash: \"cookie a;b\"", "'a;b' is not the name of a cookie"),
            ("balance: hash, hash: address", "'address' is nothing to hash"),
            ("sticky: {}", "upstreams.app.sticky has no 'cookie'"),
            ("sticky: { cookie: \"a=b\" }", "'a=b' is not the name of a cookie"),
            ("sticky: { cookie: __Host-a }", "cookie cannot begin with '__host-'"),
            ("sticky: EDGED", "upstreams.app.sticky must be a mapping, not a string"),
            ("ejection: no", "upstreams.app.ejection must be a mapping or 'off', not a boolean"),
            ("ejection: { failures: 0 }", "failures is out of range: '0' (1 to 1000)"),
            ("ejection: { latency: 1 }", "latency of 1 takes out every member slower than most"),
            ("ejection: { share: 0 }", "share is out of range: '0' (1 to 100)"),
            ("ejection: { first: 3s, last: 2s }", "last is less than upstreams.app.ejection.first"),
            ("slow_start: 10", "has no unit"),
            ("all_down: fail", "all_down cannot be 'fail' (one of: open, closed)"),
            ("retries: { attempts: 11 }", "attempts is out of range: '11' (0 to 10)"),
            ("retries: { statuses: 200 }", "statuses is out of range: '200' (400 to 599)"),
            ("retries: { attempts: 0, statuses: 503 }", "no effect with 'attempts: 0'"),
            ("retries: { per_try: 61s }", "per_try is more than timeouts.response (at most 1m)"),
            ("retries: { per_try: 3s, overall: 2s }", "overall is less than per_try (at least 3s)"),
            ("retries: { hedge: 60s }", "hedge is not reached: the attempt ends before (less than"),
            ("retries: { hedge: 5s, per_try: 5s }", "hedge is not reached"),
            ("retries: { race: 11s }", "race is out of range: '11s' (0s to 10s)"),
            ("retries: { tries: 1 }", "unknown key 'tries' in upstreams.app.retries"),
            ("limits: { requests: 0 }", "limits.requests is out of range: '0' ('auto' or 1 to 100"),
        ])
    func refused(keys: String, reason: String) {
        let found = errors(Sample.upstream(keys))

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }

    @Test(
        "What needs to know requests is refused where bytes are passed on",
        arguments: [
            ("sticky: { cookie: a }", "sticky"), ("balance: hash, hash: cookie a", "hash"),
            ("balance: hash, hash: header a", "hash"), ("retries: { statuses: 503 }", "retries"),
            ("retries: { hedge: 1s }", "retries"), ("retries: { per_try: 1s }", "retries"),
        ])
    func relayed(keys: String, key: String) {
        func relay(_ keys: String) -> [String] {
            errors(
                Sample.upstream(keys).replacing(
                    "protocol: http }", with: "protocol: tcp, upstream: app }"))
        }

        let found = relay(keys)
        #expect(
            found.count == 1
                && found[0].contains(
                    "upstreams.app.\(key) has no effect on a tcp listener's connections (listener "
                        + "'web' passes bytes on as they are)"),
            "\(found)")
        #expect(relay("balance: hash, retries: { attempts: 1, race: 0s }") == [])
    }

    @Test(
        "DNS that cannot be meant is refused",
        arguments: [
            ("dns: { refresh: 500ms }", "dns.refresh is out of range: '500ms' (1s to 1h)"),
            ("dns: { stale: 4s }", "dns.stale is less than dns.refresh (at least 5s"),
            ("dns: { hosts: maybe }", "dns.hosts cannot be 'maybe'"),
            ("dns: { stale: ever }", "'ever' is not a duration"),
            ("state: []", "state must be a string, not a list"),
        ])
    func refusedDNS(text: String, reason: String) {
        let found = errors(Sample.minimal + text + "\n")

        #expect(found.count == 1 && found[0].contains(reason), "\(found)")
    }
}
