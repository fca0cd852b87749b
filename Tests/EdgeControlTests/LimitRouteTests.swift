import EdgeCore
import EdgeTesting
import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

enum LimitSamples {
    static let limits = LimitsReply(
        now: 1000,
        policies: [
            LimitPolicyStatus(
                name: "public",
                limits: ["requests 120 per 10s", "errors 20 per 1m of 404, ban 1h"],
                views: ["public"], admitted: 5_000, refused: 700, bans: 3, bannedNow: 1),
            LimitPolicyStatus(
                name: "watched", isShadow: true, limits: ["requests 5 per 1s"], views: ["lan"],
                admitted: 9, shadow: 4),
        ],
        bans: [
            BanStatus(client: "198.51.100.7", policy: "public", made: 400, until: 4000),
            BanStatus(client: "2001:db8::/64", made: 900, until: 90_000, node: "lb-02"),
        ], bansUnlisted: 2,
        files: [
            LimitFileStatus(path: "/etc/drop.txt", blocks: 1200, read: 950),
            LimitFileStatus(
                path: "/etc/offices.txt", blocks: 3, read: 100,
                problem: "line 2: 'x' is no address and no block"),
        ])

    static let top = LimitTopReply(
        now: 1000, windowSeconds: 900,
        rows: [
            LimitTopRow(
                client: "198.51.100.7", policy: "public", refused: 900, surplus: 20, first: 400,
                last: 998),
            LimitTopRow(
                client: "192.0.2.9", policy: "watched", isShadow: true, refused: 4, first: 990,
                last: 995),
            LimitTopRow(client: "2001:db8::/64", policy: nil, refused: 2, first: 900, last: 901),
        ])

    static let client = LimitClientReply(
        client: "198.51.100.7", bannedMilliseconds: 3_500_001,
        policies: [
            ClientPolicyStatus(
                policy: "public", bannedMilliseconds: 60_000,
                limits: [
                    ClientLimitStatus(
                        thing: "requests", rate: "120 per 10s", remaining: 0, burst: 120,
                        waitMilliseconds: 84)
                ]),
            ClientPolicyStatus(policy: "offices", isExempt: true),
            ClientPolicyStatus(policy: "dropped", isDenied: true),
        ])
}

@Suite("Limits and bans over the admin socket")
struct LimitRouteTests {
    @Test("What is said survives the wire")
    func wire() throws {
        #expect(try LimitsReply(json: LimitSamples.limits.json) == LimitSamples.limits)
        #expect(try LimitTopReply(json: LimitSamples.top.json) == LimitSamples.top)
        #expect(try LimitClientReply(json: LimitSamples.client.json) == LimitSamples.client)
    }

    @Test("Orders reach the daemon as they were given")
    func orders() throws {
        let site = AdminSite()
        defer { site.stop() }
        let client = ControlClient(path: site.path)
        let orders: [LimitOrder] = [
            .ban(client: "2001:db8::1/64", seconds: 3600), .unban(client: "192.0.2.1"),
            .reset(client: "192.0.2.1", policy: nil),
            .reset(client: "192.0.2.1", policy: "a&b"),
        ]

        let replies = try orders.map { try client.order($0) }

        #expect(site.read(\.limitOrders) == orders)
        #expect(replies.map(\.order) == ["ban", "unban", "reset", "reset"])
        #expect(replies[0].until == 4600)
        #expect(try client.limits() == LimitSamples.limits)
        #expect(try client.limitTop() == LimitSamples.top)
        #expect(try client.limitClient("::1").client == "::1")
    }

    @Test("What is missing or senseless is refused, and nothing is ordered")
    func refused() throws {
        let site = AdminSite { $0.limitRefusal = OrderRefusal("no policy applies") }
        defer { site.stop() }
        func status(_ method: String, _ target: String) throws -> String {
            let answer = try talk(
                site.path,
                "\(method) \(target) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return String(answer.dropFirst(9).prefix(3))
        }

        #expect(try status("POST", "/limits/ban?address=1.2.3.4") == "400")
        #expect(try status("POST", "/limits/ban?address=1.2.3.4&seconds=0") == "400")
        #expect(try status("POST", "/limits/ban?address=1.2.3.4&seconds=999999999") == "400")
        #expect(try status("POST", "/limits/unban") == "400")
        #expect(try status("GET", "/limits/client") == "400")
        #expect(try status("GET", "/limits/client?address=here") == "400")
        #expect(try status("GET", "/limits/ban?address=1.2.3.4&seconds=5") == "405")
        #expect(site.read(\.limitOrders).isEmpty)
        #expect(try status("POST", "/limits/ban?address=1.2.3.4&seconds=5") == "409")
    }

    @Test("People read who is banned, for how long, and what a client has left")
    func texts() {
        let limits = LimitSamples.limits.text
        #expect(limits.contains("198.51.100.7   public            50 min"))
        #expect(limits.contains("2001:db8::/64  an administrator  1 d"))
        #expect(limits.contains("line 2: 'x' is no address and no block"))
        #expect(LimitSamples.top.text.contains("198.51.100.7   880 to 900  public"))
        #expect(LimitSamples.top.text.contains("watched (shadow)"))
        let client = LimitSamples.client.text
        #expect(client.hasPrefix("198.51.100.7: banned by an administrator for 58 min 21 s\n"))
        #expect(client.contains("banned for 1 min"))
        #expect(client.contains("0 of 120 left  next in 1 s"))
        #expect(client.contains("kept out"))
        #expect(LimitsReply(now: 1, policies: []).text == "no policy\n")
        #expect(
            LimitTopReply(now: 1, windowSeconds: 900, rows: []).text
                == "nobody was refused in the last 15 min\n")
    }

    @Test("Of a view or a policy only what belongs to it is shown, and administrators' bans")
    func filtered() {
        let lan = LimitSamples.limits.of(view: "lan", policy: nil)
        #expect(lan.policies.map(\.name) == ["watched"])
        #expect(lan.bans.map(\.client) == ["2001:db8::/64"])
        let named = LimitSamples.limits.of(view: nil, policy: "public")
        #expect(named.policies.map(\.name) == ["public"])
        #expect(named.bans.count == 2)
        #expect(LimitSamples.limits.of(view: nil, policy: nil) == LimitSamples.limits)
    }

    @Test("Each policy has its series, whatever it is called")
    func metrics() {
        var metrics = MetricsText()
        var limits = LimitSamples.limits
        limits.policies[1].name = "a\"b"
        metrics.limits(limits, fileFailures: 7)

        let lines = metrics.text.split(separator: "\n")
        #expect(lines.contains("edged_limit_refused_total{policy=\"public\"} 700"))
        #expect(lines.contains("edged_limit_over_shadow_total{policy=\"a\\\"b\"} 4"))
        #expect(lines.contains("edged_limit_banned{policy=\"public\"} 1"))
        #expect(lines.contains("edged_limit_banned_by_administrators 1"))
        #expect(lines.contains("edged_limit_files_unusable 1"))
        #expect(lines.contains("edged_limit_file_failures_total 7"))
    }
}
