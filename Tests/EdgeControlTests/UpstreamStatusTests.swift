import Testing

@testable import EdgeControlAPI

@Suite("Upstreams in status") struct UpstreamStatusTests {
    private static func lines(_ reply: StatusReply) -> [Substring] {
        var text = StatusText(reply)
        return text.render().split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// Without the members that only newer daemons say.
    private static func older(_ json: JSONValue, without names: Set<String>) -> JSONValue {
        switch json {
        case .object(let members):
            .object(
                members.filter { !names.contains($0.name) }.map {
                    .init($0.name, older($0.value, without: names))
                })
        case .array(let elements): .array(elements.map { older($0, without: names) })
        default: json
        }
    }

    @Test("what an older daemon does not say is not known")
    func older() throws {
        let news: Set = [
            "resolvers", "policy", "available", "total", "all_down", "reason", "weight", "backup",
            "admin", "checks_passed", "checks_failed", "ejections", "certificate_not_after",
            "connections", "latency_microseconds",
        ]
        let json = Self.older(
            UpstreamsReply(now: 1, upstreams: Samples.status.upstreams).json,
            without: news.union(["since"]))

        let reply = try UpstreamsReply(json: json)

        let member = try #require(reply.upstreams.first?.members.last)
        #expect(member == MemberStatus(address: "192.0.2.6:443", source: "", state: "down"))
        #expect(reply.upstreams[0].available == nil && reply.upstreams[0].policy == [])
        #expect(
            try StatusReply(json: Self.older(Samples.bare.json, without: ["resolvers"]))
                == Samples.bare)
    }

    @Test("what is of a wrong type is named")
    func strict() {
        let json = JSONValue.object([
            .init("address", .string("a")), .init("source", .string("")),
            .init("state", .string("up")), .init("backup", .integer(1)),
        ])
        #expect(throws: WireFailure.wrongType("backup")) { try MemberStatus(json: json) }
        #expect(throws: WireFailure.missing("member")) {
            try MemberReply(
                json: .object([.init("upstream", .string("a")), .init("order", .string("maint"))]))
        }
    }

    @Test("replies about members survive the wire", arguments: MemberOrder.allCases)
    func wire(order: MemberOrder) throws {
        let reply = MemberReply(
            upstream: "ingress", order: order, member: Samples.status.upstreams[0].members[1],
            available: 0)
        #expect(try MemberReply(json: JSONValue(parsing: Array(reply.json.text.utf8))) == reply)
    }

    @Test("trouble comes first: members that do not work, certificates, degraded resolvers")
    func trouble() throws {
        var reply = Samples.status
        reply.upstreams[0].members[0].state = "standby"
        let lines = Self.lines(reply)

        let trouble = try #require(lines.firstIndex(of: "trouble"))
        let listeners = try #require(lines.firstIndex(of: "listeners"))
        #expect(trouble < listeners)
        #expect(
            lines[trouble..<listeners].dropLast() == [
                "trouble",
                "  what                    state        for    why",
                "  ingress 192.0.2.6:443   down         1 min  no answer within 1s",
                "  ingress 192.0.2.6:443   certificate         ends in 1 d",
                "  resolver 192.0.2.54:53  degraded            lost names it knew: "
                    + "w1.home.example w2.home.example",
            ])
    }

    @Test("nothing is called trouble where nothing is to be done")
    func quiet() {
        var reply = Samples.status
        reply.resolvers = []
        for state in ["up", "standby", "configured", "resolved"] {
            reply.upstreams[0].members = [MemberStatus(address: "a:1", source: "", state: state)]
            #expect(!Self.lines(reply).contains("trouble"), "\(state)")
        }
    }

    @Test(
        "every other state is trouble",
        arguments: ["unknown", "down", "ejected", "draining", "maintenance", "unresolved", "stale"])
    func states(state: String) {
        var reply = Samples.bare
        reply.upstreams = [
            UpstreamStatus(
                name: "app", tls: false,
                members: [MemberStatus(address: "", source: "a.example", state: state)])
        ]
        #expect(Self.lines(reply).contains { $0.hasPrefix("  app a.example  \(state)") })
    }

    @Test(
        "an upstream without a member says what becomes of requests",
        arguments: [("open", "the last that worked are used"), ("closed", "answers 503")])
    func allDown(mode: String, words: String) {
        var reply = Samples.bare
        reply.upstreams = [UpstreamStatus(name: "app", tls: false, allDown: mode)]
        #expect(
            Self.lines(reply).contains { $0.hasPrefix("  app   all down") && $0.hasSuffix(words) })
    }

    @Test("many names of a degraded resolver are counted")
    func manyNames() {
        var reply = Samples.bare
        reply.resolvers = [
            ResolverStatus(
                group: "g", server: "s", answered: 0, failed: 0,
                degraded: [.init(reason: "odd", names: (1...7).map { "n\($0)" })])
        ]
        #expect(Self.lines(reply).contains { $0.hasSuffix("odd: n1 n2 n3 n4 n5 and 2 more") })
    }

    @Test("the list of upstreams has policies, weights, connections and latencies")
    func list() {
        let lines = UpstreamsReply(now: 1000, upstreams: Samples.status.upstreams).text
            .split(separator: "\n")

        #expect(lines.first == "policies")
        #expect(lines.contains("  ingress  1 of 2  round-robin, check http /up"))
        #expect(lines.contains { $0.hasSuffix("down   1 min  2 backup  4     1.2 ms") }, "\(lines)")
    }
}
