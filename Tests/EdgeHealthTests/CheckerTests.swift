import EdgeCore
import EdgeHealth
import EdgeTesting
import EdgeUpstream
import Testing

@Suite("Checks of real sockets", .serialized) struct CheckerTests {
    private let site: CheckSite

    init() throws { site = try CheckSite() }

    @Test("tcp passes where somebody listens and fails where nobody does")
    func tcp() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }

        let report = try #require(site.report(.tcp, at: server.address))
        #expect(report.outcome == .passed && !report.isInconclusive)
        #expect(try #require(report.connectTime) <= report.duration)
        #expect(report.certificateNotAfter == nil && report.certificateProblem == nil)

        let refused = site.report(.tcp, at: .loopback(try freePort()))
        #expect(refused?.outcome == failed("connection refused"))
        #expect(refused?.connectTime == nil)
    }

    @Test("a policy's port replaces the member's")
    func port() throws {
        let server = try ScriptedUpstream(answering: "hello")
        defer { server.stop() }

        let report = site.report(
            http, at: .loopback(try freePort()), port: server.port)

        #expect(report?.outcome == .passed)
        #expect(server.requests.first?["Host"] == "127.0.0.1:\(server.port)")
    }

    @Test("http: a real answer decides, and the connection is closed behind it")
    func overHTTP() throws {
        let server = try ScriptedUpstream { index in
            [.readRequest, .respond(index == 0 ? 204 : 503, fields: ["X: y"]), .readRequest]
        }
        defer { server.stop() }

        #expect(site.report(http, at: server.address)?.outcome == .passed)
        #expect(site.report(http, at: server.address)?.outcome == failed("status 503"))

        #expect(server.wait { $0.count == 2 && $0.allSatisfy { $0.ending != nil } })
        let request = try #require(server.requests.first)
        #expect(request.startLine == "GET /healthz HTTP/1.1")
        #expect(request["Connection"] == "close" && request["User-Agent"] == "edged-check")
    }

    @Test("a connection begins with a PROXY header where the upstream wants one")
    func proxyHeader() throws {
        let server = try ScriptedUpstream([.readRequest, .hold])
        defer { server.stop() }

        #expect(site.report(.tcp, at: server.address, sendsProxyHeader: true)?.outcome == .passed)

        let header: [UInt8] =
            [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x20, 0, 0, 0]
        #expect(server.wait { $0.first?.received == header })

        site.begin(http, at: server.address, sendsProxyHeader: true)
        #expect(
            site.turn { server.connections.count == 2 && server.connections[1].received.count > 40 }
        )
        let received = try #require(server.connections.last?.received)
        #expect(received.starts(with: header + Array("GET /healthz HTTP/1.1\r\n".utf8)))
    }

    // MARK: - Peers that do not answer

    static let silences: [(String, [PeerStep], HealthPolicy.Kind)] = [
        ("says nothing", [.hold], http),
        ("takes the request and says nothing", [.readRequest, .hold], http),
        ("stops in the head", [.readRequest, .send("HTTP/1.1 200 OK\r\nA: b"), .hold], http),
        (
            "sends its head slowly for ever",
            [
                .readRequest,
                .sendSlowly(
                    Array(("HTTP/1.1 200 OK\r\nA: " + String(repeating: "b", count: 9000)).utf8),
                    piece: 1, pause: .milliseconds(2)),
            ], http
        ),
        (
            "stops in the content",
            [
                .readRequest, .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwel"),
                .hold,
            ], .http(HealthPolicy.Request(bodyContains: "well"))
        ),
        ("sends settings and no more", [.send(RawFrame.settings().bytes), .hold], http2),
    ]

    @Test("a peer that does not finish fails within the timeout", arguments: silences.indices)
    func silent(index: Int) throws {
        let (_, steps, kind) = Self.silences[index]
        let server = try ScriptedUpstream(steps)
        defer { server.stop() }

        let report = try #require(
            site.report(kind, at: server.address, timeout: .milliseconds(150)))

        #expect(report.outcome == failed("no answer within 150ms"))
        #expect(report.duration >= .milliseconds(150) && report.duration < .seconds(2))
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("a peer that does not answer the handshake fails within the timeout")
    func silentTLS() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }
        let tls = CheckTLS(trust: .unverified, name: "a.example")

        let report = site.report(.tls, at: server.address, tls: tls, timeout: .milliseconds(100))

        #expect(report?.outcome == failed("no TLS handshake within 100ms"))
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("an endless answer is given up long before the timeout")
    func endless() throws {
        let line = Array(String(repeating: "x", count: 4096).utf8)
        let head = Array("HTTP/1.1 200 OK\r\n\r\n".utf8)
        let server = try ScriptedUpstream { _ in
            [.readRequest, .send(head)] + [PeerStep](repeating: .send(line), count: 1000)
        }
        defer { server.stop() }
        let kind = HealthPolicy.Kind.http(HealthPolicy.Request(bodyContains: "well"))

        let report = site.report(kind, at: server.address)

        #expect(report?.outcome == failed("body lacks the text"))
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("a reset is told from an end")
    func ends() throws {
        let server = try ScriptedUpstream { index in
            index == 0 ? [.readRequest, .reset] : [.readRequest, .close]
        }
        defer { server.stop() }

        #expect(site.report(http, at: server.address)?.outcome == failed("connection reset"))
        #expect(
            site.report(http, at: server.address)?.outcome
                == failed("connection closed without an answer"))
    }

    @Test("an answer counts that came before the connection was reset")
    func answeredThenReset() throws {
        let server = try ScriptedUpstream([
            .readRequest, .respond(200, "ok"), .pause(.milliseconds(50)), .reset,
        ])
        defer { server.stop() }

        #expect(site.report(http, at: server.address)?.outcome == .passed)
    }

    // MARK: - Many

    @Test("no more than 64 run at once; the others wait, and their time begins with their turn")
    func many() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }
        let count = Checker.concurrentMax + 30
        for _ in 0..<count { site.begin(http, at: server.address, timeout: .milliseconds(200)) }

        #expect(site.checker.runningCount == Checker.concurrentMax)
        #expect(site.checker.waitingCount == 30)
        #expect(site.reports.isEmpty)
        #expect(site.turn(until: Checker.concurrentMax))
        #expect(site.checker.runningCount <= 30)
        #expect(site.turn(until: count))

        #expect(site.reports.count == count)
        #expect(site.reports.allSatisfy { $0.outcome == failed("no answer within 200ms") })
        #expect(site.checker.runningCount == 0 && site.checker.waitingCount == 0)
        #expect(server.connectionCount == count)
        #expect(try heldConnections(to: server.port) == 0)
    }

    @Test("closing ends each check exactly once and gives all descriptors back")
    func closing() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }
        let count = Checker.concurrentMax + 5
        for _ in 0..<count { site.begin(http, at: server.address) }
        #expect(site.turn { server.connectionCount == Checker.concurrentMax })

        site.close()
        site.close()

        #expect(site.reports.count == count)
        #expect(site.reports.allSatisfy { $0.isInconclusive })
        #expect(try heldConnections(to: server.port) == 0)
        site.begin(.tcp, at: server.address)
        #expect(site.reports.count == count)
        #expect(site.turn(until: count + 1))
        #expect(site.reports.last?.outcome == failed("the check was given up"))
        #expect(server.connectionCount == Checker.concurrentMax)
    }

    @Test("a completion may begin the next check, and close")
    func reentrant() throws {
        let loop = site.loop
        var words: [CheckOutcome] = []
        let checker = Checker(loop: loop)
        let target = Checker.Target(
            address: .loopback(try freePort()), upstream: "test",
            policy: HealthPolicy(kind: .tcp), tls: nil, sendsProxyHeader: false)

        checker.check(target) { first in
            words.append(first.outcome)
            checker.check(target) { second in
                words.append(second.outcome)
                checker.check(target) { words.append($0.outcome) }
                checker.close()
            }
        }
        #expect(words.isEmpty)
        #expect(site.turn { words.count == 3 })

        #expect(
            words == [
                failed("connection refused"), failed("connection refused"),
                failed("the check was given up"),
            ])
    }

    @Test("a checker that goes ends its checks")
    func gone() throws {
        let server = try ScriptedUpstream([.hold])
        defer { server.stop() }
        var reports = 0
        var checker: Checker? = Checker(loop: site.loop)
        checker?.check(
            Checker.Target(
                address: server.address, upstream: "test", policy: HealthPolicy(kind: http),
                tls: nil, sendsProxyHeader: false)
        ) { _ in reports += 1 }
        #expect(site.turn { server.connectionCount == 1 })

        checker = nil

        #expect(reports == 1)
        #expect(try heldConnections(to: server.port) == 0)
    }
}
