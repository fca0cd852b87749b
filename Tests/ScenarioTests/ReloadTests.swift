internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Reload")
    struct Reload {}
}

extension Scenarios.Reload {
    enum Way: CaseIterable { case signal, edgectl }

    @Test("SIGHUP and edgectl put new upstreams into use", arguments: Way.allCases)
    func upstreams(way: Way) throws {
        let first = try ScriptedUpstream(answering: "first")
        let second = try ScriptedUpstream(answering: "second")
        defer {
            first.stop()
            second.stop()
        }
        let edged = try Edged(oneSite(first.server))
        defer { edged.stop() }
        #expect(try edged.get().text == "first")
        let pid = try edged.proxyPID()

        try edged.configure(oneSite(second.server))
        switch way {
        case .signal:
            let mark = edged.process.mark
            edged.process.signal(SIGHUP)
            try edged.process.waitForLine(containing: "reload: committed", after: mark)
        case .edgectl:
            let result = try edged.edgectl("reload")
            #expect(result.code == 0)
            #expect(result.output.hasPrefix("reloaded in "))
        }

        #expect(try edged.get().text == "second")
        #expect(try edged.proxyPID() == pid)
    }

    @Test("new sites are found and old ones are not")
    func sites() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        try edged.reload(oneSite(upstream.server).replacing("app.test", with: "new.test"))

        #expect(try edged.get(host: "new.test").status == 200)
        #expect(try edged.get(host: "app.test").status == 404)
    }

    @Test("new certificates are served to new connections; open ones go on")
    func certificates() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let old = try edged.connectTLS()
        defer { old.close() }
        let renewed = try edged.mint.leaf("app.test")

        try edged.writeCertificate("app", renewed)
        try edged.reload()
        let new = try edged.connectTLS()
        defer { new.close() }

        #expect(new.serverFingerprint == renewed.fingerprint)
        #expect(old.serverFingerprint != renewed.fingerprint)
        #expect(try old.get("/", host: "app.test").text == "ok")
    }

    @Test("what is in flight to an upstream that goes away is finished there")
    func inFlight() throws {
        let old = try ScriptedUpstream([
            .readRequest, .pause(.milliseconds(300)), .respond(200, "old"), .again,
        ])
        let new = try ScriptedUpstream(answering: "new")
        defer {
            old.stop()
            new.stop()
        }
        let edged = try Edged(oneSite(old.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }
        try client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(old.wait { $0.first?.requests.count == 1 })

        try edged.reload(
            """
            sites:
              - { hosts: app.test, upstream: fresh }
            upstreams:
              fresh: { servers: [\(new.server)], health: off }
            """)

        #expect(try client.readResponse().text == "old")
        #expect(try client.get("/", host: "app.test").text == "new")
        #expect(old.wait { $0.first?.ending != nil }, "a retired pool keeps no connection")
    }

    @Test("a tunnel outlives the site it was opened for")
    func tunnel() throws {
        let upstream = try ScriptedUpstream([
            .readHead,
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    + "Connection: Upgrade\r\n\r\n"), .pause(.milliseconds(500)),
            .send("still here"),
            .hold,
        ])
        let other = try ScriptedUpstream(answering: "other")
        defer {
            upstream.stop()
            other.stop()
        }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }
        let answer = try client.get(
            "/", host: "app.test", extra: ["Upgrade: websocket", "Connection: Upgrade"])
        #expect(answer.status == 101)

        try edged.reload(oneSite(other.server).replacing("app.test", with: "new.test"))
        _ = client.read()

        #expect(String(decoding: client.received, as: UTF8.self) == "still here")
    }

    struct Refused: CustomTestStringConvertible, Sendable {
        let name: String
        /// What the message must contain; `FILE` is the configuration's path.
        let expected: String
        let change: @Sendable (Edged, String) throws -> Void
        var testDescription: String { name }
    }

    static let refused = [
        Refused(name: "broken YAML", expected: "FILE:") { edged, body in
            try edged.configure(body + "\nlimits: [")
        },
        Refused(name: "an unknown key", expected: "FILE:14:1: ") { edged, body in
            try edged.configure(body + "\nlimitz: {}")
        },
        Refused(name: "an undefined upstream", expected: "FILE:") { edged, body in
            try edged.configure(body.replacing("upstream: app", with: "upstream: nobody"))
        },
        Refused(name: "a port that another process has", expected: "another process") {
            edged, body in
            // That of the upstream.
            let digits = body.split(separator: "127.0.0.1:").last?.prefix { $0.isNumber }
            let text = try edged.directory.read("edged.yaml")
            try edged.directory.write(
                "edged.yaml",
                text.replacing("port: \(edged.http.port)", with: "port: \(digits ?? "1")"))
        },
        Refused(name: "no certificate", expected: "certs") { edged, _ in
            unlink(edged.directory.file("certs/app.pem"))
        },
        Refused(name: "a missing authority", expected: "gone.pem") { edged, body in
            try edged.configure(
                body.replacing("health: off", with: "health: off, tls: { ca: gone.pem }"))
        },
    ]

    @Test("what cannot be used is refused with its place, and the old goes on", arguments: refused)
    func refusedConfiguration(item: Refused) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }
        #expect(try client.get("/", host: "app.test").text == "ok")

        try item.change(edged, body)
        let result = try edged.edgectl("reload")

        #expect(result.code == 4)
        let wanted = item.expected.replacing("FILE", with: edged.configPath)
        #expect(result.errors.contains(wanted), "\(result.errors)")
        #expect(try client.get("/", host: "app.test").text == "ok")
        let other = try edged.connectTLS()
        #expect(try other.get("/", host: "app.test").text == "ok")
        other.close()
        #expect(try edged.edgectl("status").code == 0)
    }

    @Test("twenty reloads cost no request and no idle connection")
    func twentyReloads() throws {
        let upstream = try Nginx()
        let body = oneSite(upstream.server)
        let edged = try Edged(body)
        defer { edged.stop() }
        let idle = try edged.connectTLS()
        defer { idle.close() }
        #expect(try idle.get("/echo", host: "app.test").status == 200)
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        let fresh = HTTPLane(
            LaneOptions(
                edged.https, host: "app.test", target: "/echo", tls: tls, pace: .perSecond(100)))
        let kept = HTTPLane(
            LaneOptions(
                edged.http, host: "app.test", target: "/echo", pace: .perSecond(200),
                keepsAlive: true))

        for round in 0..<20 {
            try edged.reload(
                oneSite(upstream.server, more: "limits: { header_fields: \(100 + round) }"))
        }
        let reports = [fresh.stop(), kept.stop()]

        for report in reports {
            #expect(report.records.count > 20)
            #expect(report.failedCount == 0, "\(report)")
            #expect(report.idleClosed == 0, "\(report)")
        }
        #expect(try idle.get("/echo", host: "app.test").status == 200)
        #expect(try edged.metric("edged_snapshot_epoch") >= 21)
    }

    @Test("a certificate is renewed under load without a failed handshake")
    func renewalUnderLoad() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        let lane = HTTPLane(
            LaneOptions(
                edged.https, host: "app.test", target: "/echo", tls: tls, pace: .perSecond(150)))

        for _ in 0..<8 {
            try edged.writeCertificate("app", edged.mint.leaf("app.test"))
            try edged.reload()
        }
        let report = lane.stop()

        #expect(report.failedCount == 0, "\(report)")
    }
}
