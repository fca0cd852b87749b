internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Nothing that an operator does may fail a request.
    @Suite("Operations under load")
    struct Steady {}
}

extension Scenarios.Steady {
    private static let reloads = SteadyRun.isLong ? 50 : 10
    private static let rotations = SteadyRun.isLong ? 50 : 10
    private static let upgrades = SteadyRun.isLong ? 5 : 1
    private static let kills = SteadyRun.isLong ? 3 : 1

    @Test("reloads and rotations fail nothing, and whatever was opened before is alive behind them")
    func reloadsAndRotations() throws {
        let run = try SteadyRun()
        defer { run.end() }
        try run.startStreams()
        try run.startIdle(40)
        try run.startLanes()
        if SteadyRun.isLong { try run.startFlood(seconds: 600) }

        var spans: [Duration] = []
        for round in 1...Self.reloads {
            spans.append(try timed { try run.reload(round) })
            // What a reload breaks may show a little later.
            pass(.milliseconds(100))
        }
        let rotations = try (0..<Self.rotations).map { try run.rotate($0) }
        pass(.milliseconds(300))
        let flood = run.stopFlood()
        let reports = run.stopLanes()
        let streams = run.streams.map { $0.stop() }
        let live = run.liveIdle()

        SteadyRun.show(
            "operations",
            reports.map { "\($0)" } + streams.map { "\($0)" } + [
                "flood: \(flood.requests) requests, \(flood.trouble ?? "0 failed")",
                "idle connections alive: \(live) of \(run.idleCount)",
                "\(spans.count) reloads, longest \((spans.max() ?? .zero).milliseconds)",
                "\(rotations.count) rotations, longest "
                    + "\((rotations.max() ?? .zero).milliseconds)",
            ])
        for report in reports {
            #expect(report.failedCount == 0, "\(report)")
            #expect(report.idleClosed == 0, "\(report)")
            #expect(report.records.count > 100)
        }
        for stream in streams { #expect(stream.failure == nil, "\(stream)") }
        #expect(live == run.idleCount)
        #expect(flood.trouble == nil)
    }

    @Test("an upgrade fails no request, new connections and kept ones alike")
    func upgrades() throws {
        let run = try SteadyRun()
        defer { run.end() }
        try run.startStreams(mayEnd: true)
        try run.startLanes()
        pass(.milliseconds(500))

        var begins: [Instant] = []
        let spans = try (0..<Self.upgrades).map { round in
            // The one before the last finishes its connections meanwhile.
            if round > 1 { pass(.seconds(5)) }
            begins.append(Instant.now())
            return try timed { try run.upgrade(round) }
        }
        // What the last one leaves is cut then.
        pass(SteadyRun.drain + .seconds(1))
        let reports = run.stopLanes()
        let streams = run.streams.map { $0.stop() }

        SteadyRun.show(
            "upgrade",
            reports.map { "\($0)" } + streams.map { "\($0)" }
                + streams.flatMap(\.lives).map { "\($0)" }
                + spans.map { "took \($0.milliseconds)" })
        for stream in streams {
            #expect(stream.failure == nil, "\(stream)")
            #expect(stream.lives.count <= Self.upgrades, "\(stream)")
            for life in stream.lives {
                // HTTP/2 is told to leave, requests of HTTP/1.1 with their answer; what has no end
                // of its own has until the deadline.
                #expect(life.gap < .seconds(1), "\(stream.name): \(life)")
                guard stream.name != "h1", stream.name != "h2" else { continue }
                if stream.name == "websocket" { #expect(life.reason.contains("1012")) }
                let upgrade = begins.first { $0 > life.opened }
                let lasted = upgrade.map { life.ended.nanoseconds(since: $0) } ?? 0
                #expect(
                    lasted > (SteadyRun.drain - .milliseconds(500)).nanoseconds,
                    "\(stream.name): \(life)")
            }
        }
        for report in reports {
            #expect(report.failedCount == 0, "\(report)")
            #expect(report.longestGap < .seconds(1), "\(report)")
        }
    }

    @Test("a killed proxy costs what it had under way, and refuses nobody")
    func kills() throws {
        let run = try SteadyRun()
        defer { run.end() }
        try run.startStreams(mayEnd: true)
        try run.startLanes()
        pass(.milliseconds(500))

        for _ in 0..<Self.kills {
            try run.killProxy()
            pass(.milliseconds(700))
        }
        let reports = run.stopLanes()
        let streams = run.streams.map { $0.stop() }

        SteadyRun.show("killed proxy", reports.map { "\($0)" } + streams.map { "\($0)" })
        for stream in streams {
            // Who opens another connection at once is taken and answered.
            #expect(stream.failure == nil, "\(stream)")
            #expect(stream.lives.count == Self.kills, "\(stream)")
        }
        for report in reports {
            for (failure, _) in report.failureCounts {
                // A connection that was taken has died with the process.
                #expect(failure == .reset || failure == .closedEarly, "\(report)")
            }
            // What was under way: a few milliseconds of each lane.
            #expect(report.failedCount <= 12 * Self.kills, "\(report)")
            #expect(report.longestGap < .seconds(2), "\(report)")
        }
    }
}
