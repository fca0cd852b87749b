internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// What a client has used up counts on both nodes. `EDGED_LONG=1` floods for 20 s;
    /// `EDGED_FIGURES=1` prints what came out.
    @Suite("Limits of two nodes")
    struct PairLimits {}
}

extension Scenarios.PairLimits {
    private static let isLong = ProcessInfo.processInfo.environment["EDGED_LONG"] != nil

    private static func sites(_ server: String) -> String {
        """
        sites:
          - { hosts: app.test, upstream: app, rate_limits: public }
          - { hosts: lan.test, upstream: app }
        upstreams:
          app: { servers: [\(server)], health: off }

        """
    }

    private static func limits(_ requests: String) -> String {
        "rate_limits:\n  public: { requests: \(requests) }\n"
    }

    private static func linked(_ requests: String) throws -> LinkedNodes {
        let upstream = try ScriptedUpstream(answering: "ok")
        return try LinkedNodes(limits(requests), sites: { _ in sites(upstream.server) })
    }

    private func statuses(_ node: Edged, _ count: Int) throws -> [Int] {
        try (0..<count).map { _ in try node.get().status }
    }

    private func taken(_ node: Edged) -> Int {
        (try? node.metric("edged_pair_limit_costs_taken_total")) ?? 0
    }

    private func debts(_ node: Edged) -> Int {
        (try? node.metric("edged_pair_limit_debts_taken_total")) ?? 0
    }

    @Test("A client at 119 of 120 is limited at the 121st, on whichever node")
    func boundary() throws {
        let run = try Self.linked("120 per 1h")
        defer { run.stop() }
        let nodes = [run.first, run.second]
        for (index, last) in [[0, 0], [0, 1], [1, 0], [1, 1]].enumerated() {
            let source = SocketAddress("127.0.0.\(10 + index):0")
            func statuses(_ node: Int, _ count: Int) throws -> [Int] {
                let client = try RawClient(nodes[node].http, from: source)
                defer { client.close() }
                return try (0..<count).map { _ in
                    try client.get("/", host: "app.test").status
                }
            }
            let before = nodes.map(taken)
            #expect(try statuses(0, 119).allSatisfy { $0 == 200 })
            #expect(eventually { taken(nodes[1]) == before[1] + 119 })

            #expect(try statuses(last[0], 1) == [200])
            let other = 1 - last[0]
            let told = before[other] + (other == 1 ? 120 : 1)
            #expect(eventually { taken(nodes[other]) == told })
            #expect(try statuses(last[1], 2) == [429, 429])
            #expect(try nodes[last[1]].get(host: "lan.test").status == 200)
        }
        // What has been told is not told back.
        #expect(taken(nodes[0]) + taken(nodes[1]) == 480)
    }

    @Test("What a client has used up goes over with the clients, and outlives either node")
    func outlives() throws {
        let run = try Self.linked("5 per 1h")
        defer { run.stop() }
        #expect(try statuses(run.first, 6) == [200, 200, 200, 200, 200, 429])
        #expect(eventually { taken(run.second) == 5 })
        #expect(try statuses(run.second, 1) == [429])

        // The first node's power fails; it comes back with nothing.
        run.first.stop()
        #expect(try statuses(run.second, 1) == [429])
        try run.first.restart()
        try #require(run.isLinked)
        #expect(eventually { debts(run.first) == 1 })
        #expect(try statuses(run.first, 1) == [429])

        // An upgrade, and another rate, here and there.
        try #require(run.first.edgectl("upgrade").code == 0)
        try #require(run.isLinked)
        #expect(try statuses(run.first, 1) == [429])
        for (node, isFirst) in [(run.first, true), (run.second, false)] {
            try node.configure(run.body(Self.limits("10 per 1h"), isFirst: isFirst))
        }
        let result = try run.first.edgectl("reload", "--pair")
        #expect(result.code == 0, "\(result.output) \(result.errors)")
        #expect(try statuses(run.second, 6) == [200, 200, 200, 200, 200, 429])
        #expect(eventually { (try? statuses(run.first, 1)) == [429] })
    }

    @Test("Without the link each node counts for itself, and nobody waits for it")
    func alone() throws {
        let run = try Self.linked("3 per 1h")
        defer { run.stop() }
        run.second.stop()
        #expect(try statuses(run.first, 4) == [200, 200, 200, 429])
        try run.second.restart()
        try #require(run.isLinked)
        #expect(eventually { debts(run.second) == 1 })
        #expect(try statuses(run.second, 1) == [429])
    }

    @Test("Bans and liftings hold on both nodes, and what both refuse is shown on either")
    func bans() throws {
        let run = try Self.linked("1 per 1h")
        defer { run.stop() }
        #expect(try statuses(run.first, 2) == [200, 429])
        #expect(try run.second.edgectl("limits", "ban", "127.0.0.1", "--for", "1h").code == 0)
        #expect(eventually { isBanned(run.first) })
        #expect(
            eventually(within: .seconds(10)) {
                (try? run.second.edgectl("limits", "top", "--json").output.contains("127.0.0.1"))
                    == true
            })

        // It comes back with nothing, and is told.
        run.second.stop()
        try run.second.restart()
        try #require(run.isLinked)
        #expect(eventually { isBanned(run.second) })

        #expect(try run.first.edgectl("limits", "unban", "127.0.0.1").code == 0)
        #expect(eventually { !isBanned(run.second) })
        #expect(!isBanned(run.first))
    }

    private func isBanned(_ node: Edged) -> Bool {
        (try? node.edgectl("limits", "show", "--json").output.contains(#""client": "127.0.0.1""#))
            == true
    }

    @Test("A pair that is taken out of the configuration ends the link, and shares again once back")
    func takenOut() throws {
        let run = try Self.linked("3 per 1h")
        defer { run.stop() }
        let alone = run.body(Self.limits("3 per 1h"), isFirst: false)
            .split(separator: "\n").filter { !$0.hasPrefix("pair:") }.joined(separator: "\n")
        try run.second.reload(alone)
        #expect(
            eventually {
                (try? run.first.edgectl("pair", "status").output.contains("another certificate"))
                    == true
            })
        #expect(try statuses(run.second, 4) == [200, 200, 200, 429])
        #expect(try statuses(run.first, 1) == [200])

        try run.second.reload(run.body(Self.limits("3 per 1h"), isFirst: false))

        // It was not told of what it admitted while nobody wanted to know, but of what came then.
        try #require(run.isLinked)
        #expect(eventually { debts(run.second) == 1 })
        #expect(try statuses(run.first, 2) == [200, 200])
        #expect(eventually { taken(run.second) == 2 })
        #expect(try run.first.metric("edged_pair_strangers_total") == 0)
    }

    // MARK: - A flood

    private struct Flood {
        var passed = 0
        var refused = 0
        var failed = 0
        var others = 0
        var span = Duration.zero
    }

    /// 500 requests per second, spread evenly; meanwhile a client on the LAN and one from
    /// elsewhere, ten times a second each.
    private func flood(_ nodes: [Edged], for span: Duration) throws -> Flood {
        var flood = Flood()
        let clients = try nodes.map { try $0.connect() }
        let elsewhere = try nodes.map {
            try RawClient($0.http, from: SocketAddress("127.0.0.77:0"))
        }
        defer { for client in clients + elsewhere { client.close() } }
        func others(_ node: Int) {
            for (client, host) in [(clients[node], "lan.test"), (elsewhere[node], "app.test")] {
                let status = try? client.get("/", host: host).status
                flood.others += 1
                if status != 200 { flood.failed += 1 }
            }
        }
        let begun = Instant.now()
        let count = span.nanoseconds / 2_000_000
        for number in 0..<count {
            let due = begun.advanced(byNanoseconds: number * 2_000_000)
            let now = Instant.now()
            if now < due { usleep(UInt32(due.nanoseconds(since: now) / 1_000)) }
            let node = Int(number) % nodes.count
            switch try clients[node].get("/", host: "app.test").status {
            case 200: flood.passed += 1
            case 429: flood.refused += 1
            default: flood.failed += 1
            }
            // Less than what the other client may have.
            if number % 100 == 0 { others(Int(number / 100) % nodes.count) }
        }
        flood.span = Duration(nanoseconds: Instant.now().nanoseconds(since: begun))
        return flood
    }

    private static var floodSpan: Duration { isLong ? .seconds(20) : .seconds(2) }

    /// What may pass in that time on one node.
    private func allowed(_ flood: Flood) -> Int {
        120 + Int(flood.span.nanoseconds * 12 / 1_000_000_000)
    }

    private func figure(_ what: String, _ flood: Flood) {
        guard ProcessInfo.processInfo.environment["EDGED_FIGURES"] != nil else { return }
        print(
            "\(what): \(flood.passed) passed, \(flood.refused) refused in \(flood.span); "
                + "exact is \(allowed(flood)); others: \(flood.others), failed \(flood.failed)")
    }

    @Test(
        "500 requests/s against 120 per 10s on one node: exact",
        arguments: isLong ? [1, 2, 4] : [2])
    func oneNode(workers: Int) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        options.workers = workers
        let edged = try Edged(
            Self.sites(upstream.server) + Self.limits("120 per 10s"), options)
        defer { edged.stop() }

        let flood = try flood([edged], for: Self.floodSpan)
        figure("one node, \(workers) workers", flood)

        #expect(abs(flood.passed - allowed(flood)) <= 1, "\(flood)")
        #expect(flood.failed == 0 && flood.others > 0)
    }

    @Test("500 requests/s against 120 per 10s, spread over both nodes: at most 15 more pass")
    func twoNodes() throws {
        let run = try Self.linked("120 per 10s")
        defer { run.stop() }

        let flood = try flood([run.first, run.second], for: Self.floodSpan)
        figure("two nodes", flood)

        #expect(flood.passed >= allowed(flood) - 1, "\(flood)")
        #expect(flood.passed <= allowed(flood) + 15, "\(flood)")
        #expect(flood.failed == 0 && flood.others > 0)
    }
}
