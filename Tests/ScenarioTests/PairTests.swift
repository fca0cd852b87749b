internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("A pair of nodes with an address between them", .serialized)
struct PairTests {
    /// Three intervals, the skew, and what a busy machine adds.
    private static let gap = Duration.milliseconds(400)

    @Test("SIGKILL to guardian and proxy: the other node has the address within a failover gap")
    func killed() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(50)
        usleep(500_000)

        try run.killAll(0)
        // The dead node's kernel still has it: who asks is answered by the one who has told last.
        try run.wait("lb-02 has the address") { try run.site.nodes[1].holds(PairRun.address) }
        usleep(1_000_000)
        let report = lane.stop()
        run.figure("killed", report)

        #expect(report.longestGap < Self.gap, "\(report)")
        #expect(report.failedCount <= 6, "\(report)")
        #expect(try run.vip(1).contains("the master is silent"))

        // What a crash has left is taken off by the next start, which takes nothing back.
        try run.balancers[0].start()
        try run.wait("lb-01 has nothing left") { try run.holder == 1 }
    }

    @Test("The power fails: the other node has the address within a failover gap")
    func powerless() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(50, timeout: .seconds(1))
        usleep(500_000)

        try run.site.nodes[0].powerOff()
        try run.wait("lb-02 has the address") { try run.holder == 1 }
        usleep(1_000_000)
        let report = lane.stop()
        run.figure("powerless", report)

        #expect(report.longestGap < Self.gap, "\(report)")
        // A connection that was under way, and those of the gap.
        #expect(report.failedCount <= 8, "\(report)")
    }

    @Test("A stop gives the address away first: no request fails")
    func stopped() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(40, timeout: .seconds(5))
        usleep(500_000)

        try run.balancers[0].stop()
        #expect(try run.holder == 1)
        usleep(500_000)
        let report = lane.stop()
        run.figure("stopped", report)

        #expect(report.failedCount == 0, "\(report)")
        #expect(try run.vip(1).contains("the master"))
        let book = try run.balancers[1].edgectl("incidents", "--markdown")
        #expect(book.contains("| failover | vip |"), "\(book)")
    }

    @Test("Drained, undrained, yielded: the address goes where it is sent, and no request fails")
    func ordered() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(40, timeout: .seconds(5))
        usleep(500_000)

        let drained = try run.balancers[0].edgectl("node", "drain")
        #expect(drained.contains("the addresses are on another node"), "\(drained)")
        #expect(try run.holder == 1)
        #expect(throws: KitError.self) { try run.balancers[1].edgectl("vip", "yield") }
        try run.balancers[0].edgectl("node", "undrain")
        try run.wait("lb-01 is ready again") { try !run.vip(1).contains("\"maintenance\": true") }
        usleep(300_000)
        #expect(try run.holder == 1)

        let yielded = try run.balancers[1].edgectl("vip", "yield")
        #expect(yielded == "the addresses are on another node\n")
        #expect(try run.holder == 0)
        usleep(300_000)
        let report = lane.stop()
        run.figure("ordered", report)

        #expect(report.failedCount == 0, "\(report)")
    }

    @Test("A reload with another interval, and an upgrade, move nothing")
    func kept() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(40)
        usleep(300_000)
        let before = try run.vip(0)

        for balancer in run.balancers {
            let path = balancer.directory.file("edged.yaml")
            let text = try String(contentsOfFile: path, encoding: .utf8)
            try text.replacingOccurrences(of: "interval: 20ms", with: "interval: 30ms")
                .write(toFile: path, atomically: true, encoding: .utf8)
            try balancer.edgectl("reload")
        }
        try run.wait("the interval is in use") {
            try run.vip(0).contains("\"interval_ms\": 30") && run.holder == 0
        }
        try run.balancers[0].edgectl("upgrade")
        try run.wait("the guardian is another program") {
            run.balancers[0].log.contains("the guardian is another program now")
        }
        usleep(1_000_000)
        let report = lane.stop()
        run.figure("kept", report)

        #expect(report.failedCount == 0, "\(report)")
        #expect(try run.holder == 0)
        #expect(try !run.vip(1).contains("\"to\": \"master\""))
        #expect(before.contains("\"state\": \"master\""))
        #expect(try run.vip(0).contains("\"state\": \"master\""))
    }
}
