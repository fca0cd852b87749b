internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Another program on the same listeners, with the real one.
    @Suite("Upgrade")
    struct Upgrade {}
}

extension Scenarios.Upgrade {
    /// A copy of the program by another name, which a test may replace.
    private static func site(_ body: String) throws -> (Edged, String) {
        let folder = try TemporaryDirectory("program", othersMayEnter: true)
        let path = folder.file("edged")
        try install(try Edged.program("edged"), at: path)
        var options = Edged.Options()
        options.program = path
        options.keeps = [folder]
        return (try Edged(body, options), path)
    }

    /// As a package manager does: a new file takes the name.
    private static func install(_ program: String, at path: String) throws {
        let fresh = path + ".new"
        unlink(fresh)
        if link(program, fresh) != 0 {
            try FileManager.default.copyItem(atPath: program, toPath: fresh)
        }
        guard rename(fresh, path) == 0 else { throw KitError("rename: errno \(errno)") }
    }

    private static let idleBody = "\ntimeouts: { drain: 4s }"

    @Test("three upgrades under load: nobody is refused, no request fails, what is open goes on")
    func underLoad() throws {
        let upstream = try Nginx()
        let (edged, path) = try Self.site(oneSite(upstream.server) + Self.idleBody)
        defer { edged.stop() }
        let guardian = edged.process.pid
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        let lanes = [
            LaneOptions(
                edged.https, host: "app.test", target: "/echo", tls: tls, pace: .perSecond(100)),
            LaneOptions(
                edged.http, host: "app.test", target: "/echo", pace: .perSecond(200),
                keepsAlive: true),
        ].map { HTTPLane($0) }

        var pids = [try edged.proxyPID()]
        for _ in 0..<3 {
            try Self.install(try Edged.program("edged"), at: path)
            let mark = edged.process.mark
            edged.process.signal(SIGUSR2)
            try edged.process.waitForLine(
                containing: "the guardian is another program now", after: mark)
            pids.append(try edged.waitForProxy(otherThan: pids.last ?? 0))
        }
        let reports = lanes.map { $0.stop() }

        for report in reports {
            #expect(report.records.count > 5)
            #expect(report.failedCount == 0, "\(report)")
        }
        #expect(Set(pids).count == 4, "each has a proxy of its own")
        #expect(edged.process.pid == guardian && edged.process.isRunning)
        // Counters go on over all of them.
        #expect(
            try edged.metric("edged_requests_total") >= reports.reduce(0) { $0 + $1.records.count })
        try edged.reload(oneSite(upstream.server) + "\ntimeouts: { drain: 5s }")
        #expect(try edged.get("/echo").status == 200)
    }

    @Test("a tunnel stays with the proxy it was made with until the drain's end")
    func tunnel() throws {
        let upstream = try ScriptedUpstream([
            .readHead,
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    + "Connection: Upgrade\r\n\r\n"), .pause(.milliseconds(1500)),
            .send("still here"),
            .hold,
        ])
        defer { upstream.stop() }
        let (edged, _) = try Self.site(oneSite(upstream.server) + Self.idleBody)
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }
        let answer = try client.get(
            "/", host: "app.test", extra: ["Upgrade: websocket", "Connection: Upgrade"])
        #expect(answer.status == 101)
        let old = try edged.proxyPID()

        let result = try edged.edgectl("upgrade")
        #expect(result.code == 0, "\(result)")
        #expect(try edged.waitForProxy(otherThan: old) != old)
        #expect(kill(old, 0) == 0, "it has a tunnel")
        _ = client.read()
        #expect(String(decoding: client.received, as: UTF8.self) == "still here")

        #expect(eventually(within: .seconds(8)) { kill(old, 0) != 0 }, "the drain has an end")
        #expect(client.readToEnd() != nil)
    }

    @Test("a program that does not start is abandoned, and says why")
    func abandoned() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let (edged, path) = try Self.site(oneSite(upstream.server))
        defer { edged.stop() }
        let pid = try edged.proxyPID()

        try Self.install("/bin/false", at: path)
        let refused = try edged.edgectl("upgrade")
        #expect(refused.code == 1)
        #expect(refused.errors.contains("the new program refuses: exit code 1"), "\(refused)")

        // It checks well and its proxy ends at once.
        let script = edged.directory.file("half")
        try edged.directory.write(
            "half", "#!/bin/sh\n[ \"$1\" = --check ] || exit 71\n")
        chmod(script, 0o755)
        try Self.install(script, at: path)
        let half = try edged.edgectl("upgrade")
        #expect(half.code == 1)
        #expect(half.errors.contains("the new proxy ended with exit code 71"), "\(half)")

        #expect(try edged.proxyPID() == pid)
        #expect(try edged.get().text == "ok")
    }

    @Test("a reload on trial is taken back by itself, or stays when it is confirmed")
    func trial() throws {
        let first = try ScriptedUpstream(answering: "first")
        let second = try ScriptedUpstream(answering: "second")
        defer {
            first.stop()
            second.stop()
        }
        let edged = try Edged(oneSite(first.server))
        defer { edged.stop() }

        try edged.configure(oneSite(second.server))
        let trial = try edged.edgectl("reload", "--confirm", "1s")
        #expect(trial.code == 0, "\(trial)")
        #expect(try edged.get().text == "second")
        #expect(try edged.edgectl("reload").code == 4, "one on trial is not built upon")
        #expect(eventually(within: .seconds(8)) { (try? edged.get().text) == "first" })
        #expect(try edged.edgectl("confirm").code == 1)

        #expect(try edged.edgectl("reload", "--confirm", "1s").code == 0)
        let confirmed = try edged.edgectl("confirm")
        #expect(confirmed.code == 0, "\(confirmed)")
        // It is the only one that was ever taken back.
        usleep(1_500_000)
        let log = edged.process.standardError
        #expect(log.components(separatedBy: "the reload before is taken back").count == 2)
        #expect(try edged.get().text == "second")
    }

    @Test("errors that burst after a reload on trial take it back at once")
    func burst() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let broken = try ScriptedUpstream([.readRequest, .respond(500, "broken"), .again])
        defer {
            upstream.stop()
            broken.stop()
        }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        try edged.configure(oneSite(broken.server))
        #expect(try edged.edgectl("reload", "--confirm", "10m").code == 0)
        for _ in 0..<20 { _ = try edged.get() }

        #expect(eventually(within: .seconds(8)) { (try? edged.get().status) == 200 })
    }

    @Test("listeners come and go under load, and connections of the others are not touched")
    func listeners() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let more = SocketAddress.loopback(try freePort())
        let lane = HTTPLane(
            LaneOptions(
                edged.http, host: "app.test", target: "/echo", pace: .perSecond(200),
                keepsAlive: true))
        let idle = try edged.connectTLS()
        defer { idle.close() }
        #expect(try idle.get("/echo", host: "app.test").status == 200)
        let text = try edged.directory.read("edged.yaml")
        let line = "  - { name: more, address: 127.0.0.1, port: \(more.port), protocol: http }\n"
        let with = text.replacing("certificates: {", with: line + "certificates: {")

        for _ in 0..<5 {
            try edged.directory.write("edged.yaml", with)
            #expect(try edged.edgectl("reload").code == 0)
            let kept = try RawClient(more)
            defer { kept.close() }
            #expect(try kept.get("/echo", host: "app.test").status == 200)

            try edged.directory.write("edged.yaml", text)
            #expect(try edged.edgectl("reload").code == 0)
            // Who is there already is served once more, and told to go.
            let last = try kept.get("/echo", host: "app.test")
            #expect(last.status == 200)
            #expect(last.all("connection") == ["close"])
            #expect(eventually { (try? RawClient(more)) == nil })
        }

        let report = lane.stop()
        #expect(report.failedCount == 0, "\(report)")
        #expect(report.idleClosed == 0, "\(report)")
        #expect(try idle.get("/echo", host: "app.test").status == 200)
    }
}
