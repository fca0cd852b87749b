internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Guardian and proxy")
    struct Guardian {}
}

extension Scenarios.Guardian {
    private static func status(_ pid: Int32) throws -> [String: String] {
        let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        return text.split(separator: "\n").reduce(into: [:]) {
            let parts = $1.split(separator: ":", maxSplits: 1)
            $0[String(parts[0])] = parts.last?.trimmingCharacters(in: .whitespaces)
        }
    }

    private static func user(of pid: Int32) throws -> Int {
        try status(pid)["Uid"]?.split(separator: "\t").first.flatMap { Int($0) } ?? -1
    }

    @Test("the proxy is an ordinary user without rights, and cannot get any")
    func unprivileged() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let nobody = try #require(getpwnam(Edged.user)).pointee

        let status = try Self.status(edged.proxyPID())

        let uid = "\(nobody.pw_uid)", gid = "\(nobody.pw_gid)"
        #expect(status["Uid"]?.split(separator: "\t").map(String.init) == [uid, uid, uid, uid])
        #expect(status["Gid"]?.split(separator: "\t").map(String.init) == [gid, gid, gid, gid])
        #expect(status["CapEff"] == "0000000000000000")
        #expect(status["CapPrm"] == "0000000000000000")
        #expect(status["CapInh"] == "0000000000000000")
        #expect(status["CapAmb"] == "0000000000000000")
        #expect(status["NoNewPrivs"] == "1")
        #expect(try Self.user(of: edged.process.pid) == 0)
    }

    @Test("an ordinary user can run it all")
    func ordinaryUser() throws {
        var options = Edged.Options()
        options.changesUser = false
        options.process.user = Edged.user
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let client = try edged.connectTLS()
        defer { client.close() }

        #expect(try client.get("/", host: "app.test").text == "ok")
        #expect(try edged.edgectl("reload").code == 0)
        #expect(try Self.status(edged.process.pid)["CapEff"] == "0000000000000000")
    }

    @Test("a proxy that is killed refuses nobody")
    func killed() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let tls = try ClientTLS(serverName: "app.test", trusting: edged.mint.rootPEM)
        let plain = HTTPLane(
            LaneOptions(edged.http, host: "app.test", target: "/echo", pace: .perSecond(200)))
        let secure = HTTPLane(
            LaneOptions(
                edged.https, host: "app.test", target: "/echo", tls: tls, pace: .perSecond(50)))
        usleep(200_000)
        let old = try edged.proxyPID()

        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)
        usleep(200_000)
        let reports = [plain.stop(), secure.stop()]

        for report in reports {
            let counts = report.failureCounts
            #expect(counts[.refused] == nil, "\(report)")
            #expect(counts[.timeout] == nil, "\(report)")
            // What it had in hand is lost; a new connection waits for the next proxy.
            #expect(report.failedCount <= 4, "\(report)")
            #expect(report.longestGap < .seconds(1), "\(report)")
        }
    }

    @Test("300 clients that come while no proxy runs are all served by the next")
    func gap() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let old = try edged.proxyPID()
        var clients: [RawClient] = []

        kill(old, SIGKILL)
        #expect(
            eventually {
                kill(old, 0) != 0
                    || !FileManager.default.isReadableFile(
                        atPath: "/proc/\(old)/exe")
            })
        for _ in 0..<300 {
            let client = try edged.connect()
            try client.send("GET /echo HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            clients.append(client)
        }
        let served = clients.filter { (try? $0.readResponse())?.status == 200 }.count
        for client in clients { client.close() }

        #expect(served == 300)
        #expect(try edged.proxyPID() != old)
    }

    @Test("counters survive the proxy")
    func countersSurvive() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        for _ in 0..<5 { _ = try edged.get() }
        let old = try edged.proxyPID()

        kill(old, SIGKILL)
        _ = try edged.waitForProxy(otherThan: old)

        #expect(try edged.metric("edged_requests_total") == 5)
        #expect(eventually { (try? edged.metric("edged_connections_open")) == 0 })
    }

    @Test("a proxy that keeps dying is started later each time, as the log tells")
    func backOff() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        var spans: [Duration] = []

        for _ in 0..<6 {
            let old = try edged.proxyPID()
            let begin = Instant.now()
            kill(old, SIGKILL)
            _ = try edged.waitForProxy(otherThan: old)
            spans.append(Duration(nanoseconds: Instant.now().nanoseconds(since: begin)))
        }

        // Three times at once, then after 100, 200 and 400 ms.
        #expect(spans[5] > .milliseconds(390), "\(spans)")
        #expect(spans[5] < .milliseconds(1500), "\(spans)")
        #expect(spans[0] < spans[5] && spans[2] < spans[5], "\(spans)")
        #expect(try edged.get().text == "ok")
    }

    @Test("without a proxy the guardian tells why, refuses clients in time, and recovers")
    func repair() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(
            oneSite(upstream.server, more: "timeouts: { serve_deadline: 500ms }"))
        defer { edged.stop() }
        let old = try edged.proxyPID()
        let file = edged.directory.file("certs/app.pem")
        rename(file, file + ".away")

        let begin = Instant.now()
        kill(old, SIGKILL)
        let isRefused = eventually(within: .seconds(3)) {
            guard let client = try? edged.connect() else { return true }
            client.close()
            return false
        }
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
        let (code, raw, _) = try RunningProcess.run(
            "curl",
            ["-sS", "--unix-socket", edged.directory.file("admin.sock"), "http://a/status"])

        #expect(isRefused)
        #expect(span > .milliseconds(400) && span < .milliseconds(900), "\(span)")
        #expect(code == .code(0))
        #expect(raw.contains("no certificate in this folder"), "\(raw)")

        rename(file + ".away", file)
        _ = try edged.waitForProxy(otherThan: old)
        #expect(try edged.get().text == "ok")
    }

    @Test("edgectl understands the guardian's status, and exits with 5")
    func edgectlWithoutProxy() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let old = try edged.proxyPID()
        let file = edged.directory.file("certs/app.pem")
        rename(file, file + ".away")

        kill(old, SIGKILL)
        let isBackingOff = eventually(within: .seconds(3)) {
            edged.log.components(separatedBy: "ended: exit code 78").count > 3
        }
        let result = try edged.edgectl("status")

        #expect(isBackingOff)
        #expect(result.code == 5, "\(result.errors)")
        #expect(result.output.contains("not serving"), "\(result.output)")
        #expect(result.output.contains("exit code 78"), "\(result.output)")
    }

    @Test("a proxy that is stopped by a signal serves again soon")
    func suspended() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        kill(try edged.proxyPID(), SIGSTOP)
        let begin = Instant.now()
        let answer = try edged.get()

        #expect(answer.text == "ok")
        #expect(Instant.now().nanoseconds(since: begin) < 1_500_000_000)
    }

    /// Stops one thread until it is killed, in a way that SIGCONT does not end.
    private static let hang = """
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        thread = int(sys.argv[1])
        assert libc.ptrace(0x4206, thread, None, None) == 0     # seize
        assert libc.ptrace(0x4207, thread, None, None) == 0     # interrupt
        os.waitpid(thread, 0x40000000)
        print("held", flush=True)
        while not os.WIFSIGNALED(os.waitpid(thread, 0x40000000)[1]): pass
        """

    @Test("a worker that hangs is found and the proxy replaced; who waits for it is served")
    func hung() throws {
        let upstream = try Nginx()
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let old = try edged.proxyPID()
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(old)/task")
        let worker = try #require(
            tasks.first {
                let name = try? String(
                    contentsOfFile: "/proc/\(old)/task/\($0)/comm", encoding: .utf8)
                return name?.hasPrefix("worker-1") == true
            })
        let script = try edged.directory.write("hang.py", Self.hang)

        let holder = try RunningProcess("python3", [script, worker])
        defer { holder.stop() }
        try holder.waitForLine(containing: "held", on: .output)
        let begin = Instant.now()
        let lane = HTTPLane(
            LaneOptions(edged.http, host: "app.test", target: "/echo", pace: .perSecond(50)))
        _ = try edged.waitForProxy(otherThan: old)
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
        let report = lane.stop()

        #expect(edged.log.contains("worker 1 of proxy \(old) hangs"))
        #expect(span < .seconds(3), "\(span)")
        #expect(report.failureCounts[.refused] == nil, "\(report)")
        #expect(report.failureCounts[.timeout] == nil, "\(report)")
        #expect(report.failedCount <= 4, "\(report)")
    }

    @Test("TERM finishes what is in flight, closes what is idle, takes nothing new, exits with 0")
    func terminate() throws {
        let quick = try ScriptedUpstream(answering: "quick")
        let slow = try ScriptedUpstream([
            .readRequest, .pause(.milliseconds(600)), .respond(200, "late"), .again,
        ])
        defer {
            quick.stop()
            slow.stop()
        }
        let edged = try Edged(
            """
            sites:
              - { hosts: app.test, upstream: quick }
              - { hosts: slow.test, upstream: slow }
            upstreams:
              quick: { servers: [\(quick.server)], health: off }
              slow: { servers: [\(slow.server)], health: off }
            """, .init(certificates: ["app": ["app.test", "slow.test"]]))
        defer { edged.stop() }
        let idle = try edged.connectTLS()
        let busy = try edged.connectTLS()
        #expect(try idle.get("/", host: "app.test").text == "quick")
        try busy.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
        #expect(slow.wait { $0.first?.requests.count == 1 })

        edged.process.signal(SIGTERM)
        let idleEnd = idle.readToEnd(within: .milliseconds(400))
        let isRefused = eventually(within: .milliseconds(400)) {
            (try? edged.connect().close()) == nil
        }
        let answer = try busy.readResponse()
        let busyEnd = busy.readToEnd()
        idle.close()
        busy.close()

        #expect(idleEnd == .closed)
        #expect(isRefused)
        #expect(answer.text == "late")
        #expect(answer["connection"] == "close")
        #expect(busyEnd == .closed)
        #expect(edged.process.waitForExit(within: .seconds(2)) == .code(0))
    }

    @Test("a second TERM ends everything at once")
    func terminateTwice() throws {
        let upstream = try ScriptedUpstream([.readRequest, .hold])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let busy = try edged.connect()
        defer { busy.close() }
        try busy.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(upstream.wait { $0.first?.requests.count == 1 })

        edged.process.signal(SIGTERM)
        let early = edged.process.waitForExit(within: .milliseconds(300))
        edged.process.signal(SIGTERM)

        #expect(early == nil)
        #expect(edged.process.waitForExit(within: .seconds(1)) == .code(0))
    }

    @Test("what is not finished in time is cut by the drain deadline")
    func drainDeadline() throws {
        let upstream = try ScriptedUpstream([.readRequest, .hold])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "timeouts: { drain: 300ms }"))
        defer { edged.stop() }
        let busy = try edged.connect()
        defer { busy.close() }
        try busy.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        #expect(upstream.wait { $0.first?.requests.count == 1 })

        edged.process.signal(SIGTERM)

        #expect(edged.process.waitForExit(within: .milliseconds(1500)) == .code(0))
        #expect(busy.readToEnd() != nil)
    }

    @Test("a first start with what cannot be used exits with 78", arguments: ["key", "YAML"])
    func badStart(fault: String) throws {
        var options = Edged.Options()
        options.waitsForServing = false
        if fault == "key" { options.certificates = [:] }
        let body = oneSite("\"127.0.0.1:1\"", more: fault == "key" ? "" : "limitz: {}")
        let edged = try Edged(body, options)
        defer { edged.stop() }

        #expect(edged.process.waitForExit(within: .seconds(5)) == .code(78))
        #expect(edged.log.contains(fault == "key" ? "no certificate" : "limitz"))
    }

    @Test("a port that is taken is told, and nothing is started")
    func portTaken() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        var options = Edged.Options()
        options.waitsForServing = false
        options.listeners = [
            "{ name: taken, address: 127.0.0.1, port: \(upstream.port), protocol: http }"
        ]
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }

        #expect(edged.process.waitForExit(within: .seconds(5)) == .code(71))
        #expect(edged.log.contains("\(upstream.port)"), "\(edged.log)")
    }

    @Test("a proxy whose guardian is gone takes no new client and leaves")
    func orphan() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server, more: "timeouts: { drain: 300ms }"))
        defer { edged.stop() }
        let proxy = try edged.proxyPID()

        edged.process.signal(SIGKILL)

        #expect(eventually { ProcessFigures(of: proxy) == nil })
    }
}
