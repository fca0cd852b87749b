internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Client lanes", .serialized)
struct LaneTests {
    /// A lane of 50 requests/s over 0.4 s against `steps`.
    private func failures(
        _ steps: [PeerStep], timeout: Duration = .milliseconds(300)
    ) throws -> LaneReport {
        let server = try ScriptedUpstream(steps)
        defer { server.stop() }
        var options = LaneOptions(
            server.address, host: "x", pace: .perSecond(50), expectedBody: "good",
            duration: .milliseconds(400))
        options.timeout = timeout
        // A busy machine makes a run void, and a void run says nothing.
        var report = HTTPLane.run(options)
        for _ in 0..<4 where report.isVoid { report = HTTPLane.run(options) }
        return report
    }

    private static let cases: [(String, [PeerStep], LaneFailure)] = [
        ("another body", [.readRequest, .respond(200, "evil")], .wrongBody),
        ("another status", [.readRequest, .respond(503, "good")], .unexpectedStatus(503)),
        ("RST instead of an answer", [.readRequest, .reset], .reset),
        (
            "RST inside the answer",
            [
                .readRequest, .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngo"),
                .pause(.milliseconds(30)), .reset,
            ], .reset
        ),
        ("FIN instead of an answer", [.readRequest, .close], .closedEarly),
        (
            "FIN inside the answer",
            [
                .readRequest, .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngo"), .close,
            ], .closedEarly
        ),
        (
            "FIN inside a chunk",
            [
                .readRequest, .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngo"),
                .close,
            ], .closedEarly
        ),
        ("silence", [.readRequest, .hold], .timeout),
        ("no HTTP", [.readRequest, .send("hello\r\n\r\n")], .malformed),
    ]

    @Test("every way to fail is recorded as what it is", arguments: 0..<9)
    func kinds(at: Int) throws {
        let (what, steps, expected) = Self.cases[at]

        let report = try failures(steps)

        #expect(report.records.count == 20, "\(what): \(report)")
        #expect(report.failureCounts == [expected: 20], "\(what): \(report)")
        #expect(!report.isVoid, "\(report)")
    }

    @Test("nobody listening is refused")
    func refused() throws {
        let port = try freePort()

        let report = HTTPLane.run(
            LaneOptions(
                .loopback(port), host: "x", pace: .perSecond(50), duration: .milliseconds(200)))

        #expect(report.failureCounts == [.refused: 10])
        #expect(
            report.longestGap
                == Duration(
                    nanoseconds: report.end.nanoseconds(
                        since: report.begin)))
    }

    @Test("good answers in any framing pass, slowly sent ones too")
    func good() throws {
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n"
        let bodies: [[PeerStep]] = [
            [.readRequest, .respond(200, "good")],
            [.readRequest, .send(chunked)],
            [.readRequest, .send("HTTP/1.0 200 OK\r\n\r\ngood"), .close],
            [
                .readRequest,
                .sendSlowly(Array(chunked.utf8), piece: 9, pause: .milliseconds(2)),
            ],
        ]
        for steps in bodies {
            let report = try failures(steps, timeout: .seconds(3))

            #expect(report.failedCount == 0, "\(report)")
            #expect(report.records.count == 20)
        }
    }

    @Test("keep-alive uses connections again and counts those that end while idle")
    func keepAlive() throws {
        let twice: [PeerStep] = [
            .readRequest, .respond(200, "good"), .readRequest, .respond(200, "good"),
            .close,
        ]
        let server = try ScriptedUpstream(twice)
        defer { server.stop() }

        let report = HTTPLane.run(
            LaneOptions(
                server.address, host: "x", pace: .perSecond(10), keepsAlive: true,
                expectedBody: "good", duration: .seconds(1)))

        #expect(report.failedCount == 0, "\(report)")
        #expect(report.connectionsOpened == 5, "\(report)")
        #expect(report.idleClosed >= 4, "\(report)")
        #expect(report.records.filter(\.wasReused).count == 5)
    }

    @Test("a closed loop over verified TLS, stopped from outside")
    func closedLoopTLS() throws {
        let mint = try CertificateMint()
        let identity = try mint.intermediate().leaf("site.example")
        let server = try ScriptedUpstream(tls: ServerTLS(identity), answering: "good")
        defer { server.stop() }
        let tls = try ClientTLS(serverName: "site.example", trusting: mint.rootPEM)

        let lane = HTTPLane(
            LaneOptions(
                server.address, host: "site.example", tls: tls, pace: .connections(2),
                keepsAlive: true, expectedBody: "good"))
        for _ in 0..<500 where lane.progress.finished < 50 { usleep(2000) }
        let report = lane.stop()

        #expect(report.failedCount == 0, "\(report)")
        #expect(report.records.count >= 50)
        #expect(report.connectionsOpened == 2)
        #expect(server.connections.allSatisfy { $0.serverName == "site.example" })
    }

    @Test("a certificate for another name fails each request")
    func wrongName() throws {
        let mint = try CertificateMint()
        let server = try ScriptedUpstream(tls: ServerTLS(mint.leaf("a.example")), answering: "x")
        defer { server.stop() }

        let report = HTTPLane.run(
            LaneOptions(
                server.address, host: "b.example",
                tls: try ClientTLS(serverName: "b.example", trusting: mint.rootPEM),
                pace: .perSecond(20), duration: .milliseconds(200)))

        #expect(report.failedCount == 4)
        for record in report.failures {
            guard case .tls(let text) = record.failure else {
                Issue.record("\(report)")
                continue
            }
            #expect(text.contains("certificate verify failed"))
        }
    }

    @Test("a lane runs inside a virtual network, and a dead host costs time-outs, not resets")
    func namespace() throws {
        let network = try VirtualNetwork()
        let hub = try network.addSwitch("hub")
        let client = try network.addHost("client")
        let host = try network.addHost("server")
        try network.connect(client, to: hub, addresses: ["10.78.0.1/24"])
        let link = try network.connect(host, to: hub, addresses: ["10.78.0.2/24"])
        let server = try ScriptedUpstream(
            on: SocketAddress("10.78.0.2:80")!, namespace: host.namespace, answering: "good")
        defer { server.stop() }

        var options = LaneOptions(
            server.address, host: "x", namespace: client.namespace, pace: .perSecond(50),
            keepsAlive: true, expectedBody: "good")
        options.timeout = .milliseconds(300)
        let lane = HTTPLane(options)
        for _ in 0..<500 where lane.progress.finished < 10 { usleep(2000) }
        let cut = Instant.now()
        try link.cut()
        for _ in 0..<1000 where lane.progress.failed < 5 { usleep(2000) }
        let report = lane.stop()

        let before = report.records.filter { $0.finished < cut }
        #expect(before.count >= 10 && before.allSatisfy { $0.failure == nil })
        #expect(Set(report.failureCounts.keys) == [.timeout], "\(report)")
        #expect(report.longestGap >= .milliseconds(300))
        network.tearDown()
    }

    @Test("a client that was late itself declares its run void")
    func void() {
        let at = Instant(nanoseconds: 5_000_000_000)
        func report(lag: Duration) -> LaneReport {
            LaneReport(
                name: "x", begin: at, end: at, records: [], idleClosed: 0, connectionsOpened: 0,
                lagMax: lag)
        }

        #expect(!report(lag: .milliseconds(100)).isVoid)
        #expect(report(lag: .milliseconds(101)).isVoid)
        #expect(report(lag: .milliseconds(101)).description.hasPrefix("VOID"))
    }

    @Test("percentiles and gaps count from the schedule")
    func figures() {
        let base = Instant(nanoseconds: 1_000_000_000)
        let records = (0..<100).map { index in
            let scheduled = base.advanced(by: .milliseconds(10 * index))
            return LaneRecord(
                index: index, scheduled: scheduled, sent: scheduled,
                finished: scheduled.advanced(by: .milliseconds(index == 99 ? 50 : 1)),
                status: 200, bodyHash: "", noted: nil,
                failure: (40..<60).contains(index) ? .refused : nil, wasReused: false)
        }

        let report = LaneReport(
            name: "x", begin: base, end: base.advanced(by: .milliseconds(1000)),
            records: records, idleClosed: 0, connectionsOpened: 100, lagMax: .zero)

        #expect(report.failedCount == 20)
        #expect(report.longestGap == .milliseconds(210))
        #expect(report.p50 == .milliseconds(1))
        #expect(report.percentile(1) == .milliseconds(50))
        #expect(report.between(base, base.advanced(by: .milliseconds(100))).records.count == 10)
    }

    @Test("windows tell when clients felt something, and for how long")
    func windows() {
        let base = Instant(nanoseconds: 1_000_000_000)
        func record(_ index: Int, latency: Int, _ failure: LaneFailure? = nil) -> LaneRecord {
            let scheduled = base.advanced(by: .milliseconds(20 * index))
            return LaneRecord(
                index: index, scheduled: scheduled, sent: scheduled,
                finished: scheduled.advanced(by: .milliseconds(latency)), status: 200,
                bodyHash: "", noted: index % 2 == 0 ? "one" : "two", failure: failure,
                wasReused: false)
        }
        func report(_ records: [LaneRecord]) -> LaneReport {
            LaneReport(
                name: "x", begin: base, end: base.advanced(by: .milliseconds(500)),
                records: records, idleClosed: 0, connectionsOpened: 1, lagMax: .zero)
        }
        // Five in each window of 100 ms: good, slow, good, none at all, one failed.
        let first = report((0..<15).map { record($0, latency: $0 == 7 ? 250 : 5) })
        let second = report((20..<25).map { record($0, latency: 5, $0 == 21 ? .refused : nil) })

        let joined = LaneReport.joined("both", [second, first])

        #expect(joined?.windows().map(\.requests) == [5, 5, 5, 5])
        #expect(joined?.windows().map(\.failed) == [0, 0, 0, 1])
        #expect(joined?.worstWindow?.p99 == .milliseconds(250))
        #expect(joined?.slowSpan(above: .milliseconds(100)) == .milliseconds(200))
        #expect(joined?.slowSpan(above: .milliseconds(300)) == .milliseconds(100))
        #expect(joined?.servers == ["one": 11, "two": 9])
        #expect(joined?.connectionsOpened == 2)
    }
}
