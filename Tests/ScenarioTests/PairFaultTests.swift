internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// What breaks, as a client on the LAN sees it who opens a connection a hundred times a second.
/// `EDGED_FIGURES=1` prints what came out, `EDGED_LONG=1` keeps the uplink cut for 15 s.
@Suite("A pair of nodes when something breaks", .serialized)
struct PairFaultTests {
    private static let isLong = ProcessInfo.processInfo.environment["EDGED_LONG"] != nil
    /// Of a busy machine, beyond what the design promises.
    private static let allowance = Duration.milliseconds(400)

    /// Three intervals, the skew of the lower priority and 15 ms.
    private static func gap(_ milliseconds: Int) -> Duration {
        .microseconds(milliseconds * 3000 + milliseconds * 156 * 1000 / 256 + 15_000)
    }

    @Test("The master's power fails, at each interval", arguments: isLong ? [100, 20, 10] : [20])
    func power(milliseconds: Int) throws {
        let run = try PairRun(interval: "\(milliseconds)ms")
        defer { run.end() }
        let lane = try run.lane(100, timeout: .seconds(3))
        usleep(500_000)

        try run.site.nodes[0].powerOff()
        try run.wait("lb-02 has the address") { try run.holder == 1 }
        // Who asked in the gap asks again after a second.
        usleep(1_500_000)
        let report = lane.stop()
        run.figure("power, \(milliseconds) ms (allowed \(Self.gap(milliseconds)))", report)

        #expect(report.longestGap < Self.gap(milliseconds) + Self.allowance, "\(report)")
        // What was under way, and nothing that began later.
        #expect(report.failedCount <= 3, "\(report)")
    }

    /// Who is hit, and by what.
    struct Blow: Sendable, CustomStringConvertible {
        enum Victim: String, Sendable { case proxy, guardian, both }
        let victim: Victim
        let signal: Int32

        var description: String { "\(signal == SIGKILL ? "SIGKILL" : "SIGSTOP") to \(victim)" }

        static var all: [Blow] {
            let usual = [
                Blow(victim: .proxy, signal: SIGSTOP), Blow(victim: .guardian, signal: SIGSTOP),
            ]
            let others = [
                Blow(victim: .proxy, signal: SIGKILL), Blow(victim: .guardian, signal: SIGKILL),
                Blow(victim: .both, signal: SIGKILL), Blow(victim: .both, signal: SIGSTOP),
            ]
            return isLong ? usual + others : usual
        }
    }

    @Test("Processes of the master are killed and stopped", arguments: Blow.all)
    func processes(blow: Blow) throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(100, timeout: .seconds(3))
        usleep(500_000)

        let guardian = try #require(run.balancers[0].process?.pid)
        let children = try RunningProcess.run("pgrep", ["-P", "\(guardian)"]).output
            .split(separator: "\n").compactMap { Int32($0) }
        let victims: [Int32] =
            switch blow.victim {
            case .proxy: children
            case .guardian: [guardian]
            case .both: [guardian] + children
            }
        for process in victims { kill(process, blow.signal) }
        usleep(2_000_000)
        if blow.signal == SIGSTOP {
            for process in victims { kill(process, SIGCONT) }
            usleep(1_500_000)
        }
        let report = lane.stop()
        run.figure("\(blow)", report)
        let status = try run.vip(1)

        if blow.victim == .proxy {
            // It is replaced where it is; nothing moves.
            #expect(try run.holder == 0)
            #expect(!status.contains("\"to\": \"master\""))
            #expect(report.longestGap < .seconds(2), "\(report)")
        } else {
            #expect(try run.site.nodes[1].holds(PairRun.address))
            #expect(report.longestGap < Self.gap(20) + Self.allowance, "\(report)")
        }
        if blow.signal == SIGSTOP, blow.victim != .proxy {
            // Who wakes up again finds another master, and leaves at once.
            try run.wait("one node has it") { try run.holder == 1 }
        }
        #expect(report.failedCount <= 8, "\(report)")
    }

    @Test(
        "The master's uplink is cut and heals, with and without carrier",
        arguments: isLong ? [true, false] : [false])
    func uplink(losesCarrier: Bool) throws {
        let run = try PairRun()
        defer { run.end() }
        let cable = run.site.cables[0]
        let lane = try run.lane(100, timeout: .seconds(3))
        usleep(500_000)

        try losesCarrier ? cable.cut() : cable.lose()
        try run.wait("lb-02 has the address") { try run.site.nodes[1].holds(PairRun.address) }
        usleep(Self.isLong ? 15_000_000 : 2_500_000)
        let during = lane.stop()
        let after = try run.lane(100, timeout: .seconds(3))
        usleep(300_000)
        try losesCarrier ? cable.restore() : cable.find()
        usleep(3_000_000)
        let healed = after.stop()
        run.figure("uplink cut, \(losesCarrier ? "carrier lost" : "carrier kept")", during)
        run.figure("uplink healed", healed)

        #expect(during.longestGap < Self.gap(20) + Self.allowance, "\(during)")
        #expect(during.failedCount <= 3, "\(during)")
        // Nobody notices that it heals: who has the address keeps it.
        try run.wait("one node has it") { try run.holder != nil }
        #expect(healed.longestGap < Self.allowance, "\(healed)")
        #expect(healed.failedCount == 0, "\(healed)")
    }

    @Test("A preferred node that starts and dies again and again moves the address once")
    func rebootLoop() throws {
        let run = try PairRun()
        defer { run.end() }
        let lane = try run.lane(50, timeout: .seconds(3))
        usleep(300_000)

        for round in 0..<(Self.isLong ? 20 : 3) {
            try run.killAll(0)
            usleep(round == 0 ? 600_000 : 100_000)
            try run.balancers[0].start()
            usleep(500_000)
        }
        let report = lane.stop()
        run.figure("reboot loop", report)
        let status = try run.vip(1)

        #expect(try run.holder == 1)
        #expect(status.components(separatedBy: "\"to\": \"master\"").count == 2, "\(status)")
        #expect(try !run.vip(0).contains("\"to\": \"master\""))
        #expect(report.failedCount <= 8, "\(report)")
        #expect(report.longestGap < Self.gap(20) + Self.allowance, "\(report)")
    }
}
