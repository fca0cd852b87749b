internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Upstreams that fail")
    struct Upstreams {}
}

extension Scenarios.Upstreams {
    /// A server that refuses.
    private func refusing() throws -> String { "\"127.0.0.1:\(try freePort())\"" }

    @Test("a member that refuses costs no request while another serves")
    func nextMember() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(refusing(), upstream.server, refusing()))
        defer { edged.stop() }

        for _ in 0..<12 {
            #expect(try edged.get(method: "POST", body: "x").text == "ok")
        }
        #expect(try edged.metric("edged_upstream_connect_failures_total") > 0)
    }

    @Test("a member that dies under load costs no request")
    func memberDies() throws {
        let dying = try Nginx()
        let staying = try Nginx()
        let edged = try Edged(oneSite(dying.server, staying.server))
        defer { edged.stop() }
        let lane = HTTPLane(
            LaneOptions(
                edged.http, host: "app.test", target: "/echo", pace: .perSecond(200),
                keepsAlive: true))

        usleep(200_000)
        dying.stop()
        usleep(500_000)
        let report = lane.stop()

        let reasons = try edged.edgectl("status").output
        #expect(report.failedCount == 0, "\(report)\n\(reasons)")
    }

    @Test("when all members refuse the answer says so")
    func allRefuse() throws {
        let edged = try Edged(oneSite(refusing(), refusing()))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 502)
        #expect(answer.text == "upstream_connect_refused\n")
        #expect(try edged.failures("upstream_connect_refused") == 1)
    }

    @Test("a connect that takes too long is a 504")
    func connectTimeout() throws {
        // A listener whose queue is full drops what comes: its clients hear nothing.
        let listener = try TestSocket.listen(on: .loopback(), backlog: 0)
        defer { close(listener) }
        let address = try TestSocket.localAddress(of: listener)
        var fillers: [RawClient] = []
        for _ in 0..<8 {
            guard let one = try? RawClient(address, within: .milliseconds(100)) else { break }
            fillers.append(one)
        }
        let edged = try Edged(
            oneSite("\"\(address)\"", settings: "timeouts: { connect: 300ms }"))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(fillers.count < 8)
        #expect(answer.status == 504)
        #expect(answer.text == "upstream_connect_timeout\n")
    }

    @Test("a TLS handshake that takes too long is a 504")
    func handshakeTimeout() throws {
        let upstream = try ScriptedUpstream([.hold])
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(
                upstream.server, settings: "tls: { ca: root.pem }, timeouts: { connect: 300ms }"))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 504)
        #expect(answer.text == "upstream_connect_timeout\n")
    }

    @Test("an answer that does not begin in time is a 504")
    func headTimeout() throws {
        let upstream = try ScriptedUpstream([.readRequest, .hold])
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, settings: "timeouts: { response: 200ms }"))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 504)
        #expect(answer.text == "upstream_head_timeout\n")
        #expect(upstream.wait { $0.first?.requests.count == 1 })
    }

    @Test("an answer's head that drips on for ever is a 504 in time")
    func drippingHead() throws {
        let upstream = try ScriptedUpstream([
            .readRequest,
            .sendSlowly(
                Array(("HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: 40)).utf8),
                piece: 1, pause: .milliseconds(30)), .hold,
        ])
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, settings: "timeouts: { response: 300ms }"))
        defer { edged.stop() }

        #expect(try edged.get().status == 504)
    }

    struct Cut: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let head: String
        let body: String
        let ending: PeerStep
        init(_ name: String, _ head: String, _ body: String, _ ending: PeerStep) {
            testDescription = name
            self.head = head
            self.body = body
            self.ending = ending
        }
    }

    static let cuts = [
        Cut("short of its length", "Content-Length: 100\r\n", "half", .close),
        Cut("reset before its length", "Content-Length: 100\r\n", "half", .reset),
        Cut("without its last chunk", "Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n", .close),
        Cut("in a chunk", "Transfer-Encoding: chunked\r\n", "8\r\nhalf", .close),
        Cut("with a broken chunk", "Transfer-Encoding: chunked\r\n", "4\r\nhalfx\r\n", .hold),
        Cut("reset before its end", "", "half", .reset),
    ]

    @Test("an answer that is cut is seen as cut by the client", arguments: cuts, [false, true])
    func truncated(cut: Cut, overTLS: Bool) throws {
        let upstream = try ScriptedUpstream([
            // What is broken before anything of it was sent on is a 502 instead.
            .readRequest, .send("HTTP/1.1 200 OK\r\n\(cut.head)\r\n"),
            .pause(.milliseconds(50)), .send(cut.body), .pause(.milliseconds(50)), cut.ending,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = overTLS ? try edged.connectTLS() : try edged.connect()
        defer { client.close() }

        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        let end = client.readToEnd()
        let text = String(decoding: client.received, as: UTF8.self)

        #expect(end != nil)
        #expect(text.hasPrefix("HTTP/1.1 200 "))
        #expect(!text.hasSuffix("0\r\n\r\n"))
        // Where neither length nor last chunk tells, only the way it ends can.
        let isTold = text.contains("Content-Length: 100") || text.contains("chunked")
        #expect(isTold || end != .closed, "\(String(describing: end))")
    }

    @Test(
        "an answer that is none is a 502",
        arguments: [
            "garbage\r\n\r\n", "HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 2000 X\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: 1\0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: 70_000) + "\r\n\r\n",
        ])
    func garbage(text: String) throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .send(text), .pause(.milliseconds(200)), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let answer = try edged.get()

        #expect(answer.status == 502)
        #expect(answer.text == "upstream_bad_response\n")
    }

    @Test("an upstream that closes instead of answering is a 502", arguments: ["GET", "POST"])
    func closesEarly(method: String) throws {
        let upstream = try ScriptedUpstream([.readRequest, .close])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let answer = try edged.get(method: method)

        #expect(answer.status == 502)
        #expect(answer.text == "upstream_closed_early\n")
        #expect(upstream.requests.count == 1)
    }

    @Test("bytes behind an answer reach nobody, and their connection is not used again")
    func surplus() throws {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        let upstream = try ScriptedUpstream([
            .readRequest, .send(answer + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<3 { #expect(try client.get("/", host: "app.test").text == "ok") }

        #expect(upstream.connectionCount == 3)
        #expect(eventually { (try? edged.failures("upstream_surplus_bytes")) == 3 })
    }

    @Test("bytes behind an answer are never the answer to a request that was waiting")
    func surplusWhilePipelining() throws {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        let upstream = try ScriptedUpstream([
            .readRequest, .send(answer + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        let request = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
        try client.send(String(repeating: request, count: 8))
        let bodies = try (0..<8).map { _ in try client.readResponse().text }

        #expect(bodies == Array(repeating: "ok", count: 8))
        #expect(upstream.connectionCount == 8)
    }

    @Test("bytes on an idle connection end it")
    func bytesWhileIdle() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .respond(200, "ok"), .pause(.milliseconds(40)),
            .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), .again,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<3 {
            #expect(try client.get("/", host: "app.test").text == "ok")
            usleep(120_000)
        }
        #expect(upstream.connectionCount == 3)
    }

    @Test(
        "a used connection that dies in silence costs no idempotent request",
        arguments: [("GET", 200), ("PUT", 200), ("POST", 502)])
    func silentDeath(method: String, status: Int) throws {
        let upstream = try ScriptedUpstream { index in
            index == 0
                ? [.readRequest, .respond(200, "ok"), .readRequest, .reset]
                : [.readRequest, .respond(200, "ok"), .again]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        #expect(try client.get("/", host: "app.test").text == "ok")
        let answer = try client.get("/", host: "app.test", method: method, body: "x")

        #expect(answer.status == status)
        #expect(upstream.connectionCount == (status == 200 ? 2 : 1))
    }

    @Test("a request is tried again at another member than the one that has just failed it")
    func retriedElsewhere() throws {
        let dying = try ScriptedUpstream { index in
            index == 0
                ? [
                    .readRequest, .respond(200, "dying"), .readRequest,
                    .pause(.milliseconds(200)), .reset,
                ] : [.reset]
        }
        let staying = try ScriptedUpstream(answering: "staying")
        defer {
            dying.stop()
            staying.stop()
        }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(dying.server, staying.server), options)
        defer { edged.stop() }
        let first = try edged.connect()
        let second = try edged.connect()
        defer {
            first.close()
            second.close()
        }

        // In turn: one, two, one. The second client moves the turn on to the dying one again.
        let bodies = try (0..<2).map { _ in try first.get("/", host: "app.test").text }
        try first.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(dying.wait { $0.first?.requests.count == 2 })
        let other = try second.get("/", host: "app.test").text
        let answer = try first.readResponse()

        #expect(bodies == ["dying", "staying"])
        #expect(other == "staying")
        #expect(answer.status == 200, "\(answer.text)")
        #expect(answer.text == "staying")
    }

    @Test("an idle connection that the upstream closes costs nothing, not even a POST")
    func closedWhileIdle() throws {
        let upstream = try ScriptedUpstream([
            .readRequest, .respond(200, "ok"), .pause(.milliseconds(20)), .close,
        ])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<4 {
            let answer = try client.get("/", host: "app.test", method: "POST", body: "x")
            #expect(answer.status == 200)
            usleep(80_000)
        }
        #expect(upstream.connectionCount == 4)
    }

    @Test("requests are spread evenly over the members")
    func roundRobin() throws {
        let members = try (0..<3).map { try ScriptedUpstream(answering: "\($0)") }
        defer { for member in members { member.stop() } }
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(
            oneSite(members.map(\.server).joined(separator: ", ")), options)
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<30 { _ = try client.get("/", host: "app.test") }

        #expect(members.map(\.requests.count) == [10, 10, 10])
    }

    @Test("interim answers are passed on, a bounded number")
    func interim() throws {
        let upstream = try ScriptedUpstream { index in
            let count = index == 0 ? 2 : 100
            let hints = String(
                repeating: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", count: count)
            return [.readRequest, .send(hints), .respond(200, "ok", fields: ["Connection: close"])]
        }
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(
            eventually {
                _ = client.read(within: .milliseconds(20))
                return client.received.suffix(2) == Array("ok".utf8)[...]
            })
        let text = String(decoding: client.received, as: UTF8.self)
        _ = try client.readResponse()
        let flooded = try client.get("/", host: "app.test")

        #expect(text.components(separatedBy: "HTTP/1.1 103 ").count == 3)
        #expect(flooded.status == 502)
    }
}
