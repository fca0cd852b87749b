import EdgeCore
import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("The addresses that move, over the admin socket") struct VIPTests {
    private static func site(_ change: (inout AdminSite.Script) -> Void = { _ in }) -> AdminSite {
        AdminSite { script in
            script.status.vip = OperationSamples.vip
            change(&script)
        }
    }

    @Test("Replies are read as they were written")
    func roundTrip() throws {
        let vip = OperationSamples.vip
        #expect(try VIPReply(json: JSONValue(parsing: Array(vip.json.text.utf8))) == vip)
        var status = Samples.status
        status.vip = vip
        #expect(try StatusReply(json: JSONValue(parsing: Array(status.json.text.utf8))) == status)
        let news = GuardianNews(vip: vip, incidents: OperationSamples.incidents.incidents)
        #expect(try GuardianNews(json: JSONValue(parsing: Array(news.json.text.utf8))) == news)
    }

    @Test("Status, and an order with its answer")
    func routes() throws {
        let site = Self.site()
        defer { site.stop() }
        let client = ControlClient(path: site.path, timeout: .seconds(5))

        #expect(try client.vip() == OperationSamples.vip)
        #expect(try client.yieldVIP(isForced: false) == OperationSamples.yielded)
        #expect(try client.yieldVIP(isForced: true).isMoved)
        #expect(site.read(\.orders) == ["yield", "yield force"])
    }

    @Test("Addresses that stay are told with the reason, in a reply of their own")
    func stayed() throws {
        let stayed = VIPYieldReply(isMoved: false, lines: ["no peer"], milliseconds: 3)
        let site = Self.site { $0.yield = .success(stayed) }
        defer { site.stop() }

        #expect(
            try ControlClient(path: site.path, timeout: .seconds(5)).yieldVIP(isForced: false)
                == stayed)
    }

    @Test("Without failover there is nothing to show, and nothing to move")
    func none() {
        let site = AdminSite {
            $0.yield = .failure(OrderRefusal("no address moves between nodes"))
        }
        defer { site.stop() }
        let client = ControlClient(path: site.path, timeout: .seconds(5))

        #expect(throws: ControlFailure.self) { try client.vip() }
        #expect(throws: ControlFailure.self) { try client.yieldVIP(isForced: false) }
    }

    @Test("A question that is misspelt is refused", arguments: ["?force=no", "?forced=yes", "?x"])
    func misspelt(query: String) throws {
        let site = Self.site()
        defer { site.stop() }

        let (_, output) = shell(
            "curl -s -o /dev/null -w %{http_code} -X POST --unix-socket \(site.path) "
                + "'http://localhost/vip/yield\(query)'")
        #expect(output == "400")
        #expect(site.read(\.orders).isEmpty)
    }

    @Test("For a person: who has what, why, since when, and what the others say")
    func text() {
        #expect(
            OperationSamples.vip.text == """
                node     lb-01
                fitness  fit
                thread   real-time priority 20

                addresses
                  name     state   since  addresses                    interface        priority  why
                  lan      master  1 min  192.168.1.13/24 fd00::13/64  eth0             101       the master is silent
                  storage  fault   10 s   10.0.9.13/24                 eth1 no_carrier  101       link is down

                  storage waits: link down

                nodes
                  name   heard  fitness               states             version  differs
                  lb-02  now    degraded (upstreams)  lan backup, ready  0.1.0    configuration, clock by -2500 ms

                moves
                  1970-01-01 00:15:40  lan  backup → master  the master is silent

                """)
    }

    @Test("edgectl says whether somebody should look at it")
    func findings() {
        let site = Self.site()
        defer { site.stop() }
        let program = "\(EdgeCtlTests.program) --socket \(site.path)"

        #expect(shell("\(program) vip status >/dev/null").status == 5)
        #expect(shell("\(program) vip").output == OperationSamples.vip.text)
        #expect(shell("\(program) vip yield").output == "the addresses are on another node\n")
        #expect(shell("\(program) status").output.contains("the master is silent"))
    }

    @Test("Metrics have a series per group, and one per state")
    func metrics() {
        var metrics = MetricsText()
        metrics.failover(OperationSamples.vip)

        for line in [
            "edged_failover_state{group=\"lan\",state=\"master\"} 1",
            "edged_failover_state{group=\"lan\",state=\"backup\"} 0",
            "edged_failover_state{group=\"storage\",state=\"fault\"} 1",
            "edged_failover_since_seconds{group=\"lan\"} 940",
            "edged_failover_events_total{group=\"lan\",event=\"take_overs\"} 1",
            "edged_failover_fit 1", "edged_failover_maintenance 0",
            "edged_failover_peer_up{peer=\"lb-02\"} 1",
            "edged_failover_thread_total{event=\"packets_sent\"} 3000",
        ] {
            #expect(metrics.text.contains(line + "\n"), "\(line)")
        }
    }
}
