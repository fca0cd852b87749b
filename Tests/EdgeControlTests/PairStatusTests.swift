import EdgeControlAPI
import Testing

@testable import EdgeControl

@Suite("The pair, as it is shown", .serialized) struct PairStatusTests {
    @Test("What a daemon says of it is read as it was written; an older one says nothing")
    func wire() throws {
        #expect(try PairStatus(json: Samples.pair.json) == Samples.pair)
        #expect(try StatusReply(json: Samples.status.json).pair == Samples.pair)
        #expect(try StatusReply(json: Samples.bare.json).pair == nil)
    }

    @Test("The status has a part of it where there is another node")
    func text() {
        var text = StatusText(Samples.status)
        let rendered = text.render()

        #expect(
            rendered.contains(
                """

                pair
                  lb-02 at 192.0.2.12:8947  linked for 1 min 10 s
                  version                   0.1.0, link 1
                  clock                     -3 ms, there and back in 210 us
                  ticket keys               the other node's seal on both
                  differs                   configuration: 01 here, 02 there

                """), "\(rendered)")
        var bare = StatusText(Samples.bare)
        #expect(!bare.render().contains("pair"))
        var lost = Samples.pair
        lost.state = .lost
        lost.why = "connect: ECONNREFUSED"
        #expect(
            lost.text(now: 935) == """
                lb-02 at 192.0.2.12:8947  no link for 5 s (connect: ECONNREFUSED)
                differs                   configuration: 01 here, 02 there
                this node's certificate   AB:01
                the other node's          CD:02

                """)
    }

    @Test("Findings are a lost link, missing files, and every difference")
    func findings() {
        var pair = Samples.pair
        #expect(pair.findings == ["pair: configuration: 01 here, 02 there"])
        pair.drift = []
        #expect(pair.findings.isEmpty)
        pair.state = .lost
        #expect(pair.findings == ["pair: no link to lb-02"])
        pair.state = .unpaired
        pair.why = "no such file"
        #expect(pair.findings == ["pair: not paired: no such file"])
    }

    @Test("A doctor looks at it only where there is another node")
    func doctor() {
        func verdict(_ change: (inout PairStatus) -> Void) -> DoctorCheck? {
            var reply = Samples.bare
            var pair = Samples.pair
            change(&pair)
            reply.pair = pair
            return StatusDoctor(reply).checks.first { $0.name == "pair" }
        }

        #expect(!StatusDoctor(Samples.bare).checks.contains { $0.name == "pair" })
        #expect(verdict { $0.drift = [] }?.verdict == .fine)
        #expect(verdict { _ in }?.verdict == .warning)
        #expect(verdict { $0.state = .unpaired }?.remedy == "edgectl pair init, on both nodes")
    }

    @Test("Its metrics have each counter, and each kind of difference as 0 or 1")
    func metrics() {
        var metrics = MetricsText()
        metrics.pair(Samples.pair, drifts: [("clock", false), ("configuration", true)])

        for line in [
            "edged_pair_up 1", "edged_pair_since_seconds 930",
            "edged_pair_drift{kind=\"clock\"} 0", "edged_pair_drift{kind=\"configuration\"} 1",
            "edged_pair_clock_difference_milliseconds 3", "edged_pair_links_total 2",
        ] { #expect(metrics.text.contains(line + "\n"), "\(line)") }
    }

    @Test("A reload of both is asked for alone, and answered as any reload")
    func reload() throws {
        let done = ReloadReply(
            outcome: .refused, diagnostics: ["refused by lb-02; nothing has changed"], epoch: 4,
            milliseconds: 9)
        let site = AdminSite { $0.pairReload = .success(done) }
        defer { site.stop() }
        let client = ControlClient(path: site.path)

        #expect(try client.reloadPair() == done)

        let alone = AdminSite()
        defer { alone.stop() }
        #expect(throws: ControlFailure.self) {
            _ = try ControlClient(path: alone.path).reloadPair()
        }
    }
}
