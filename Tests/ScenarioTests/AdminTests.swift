internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    @Suite("Operating it")
    struct Admin {}
}

extension Scenarios.Admin {
    private func json(_ text: String) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(text.utf8))
        return try #require(value as? [String: Any])
    }

    private func curl(_ edged: Edged, _ path: String) throws -> (status: String, body: String) {
        let (_, output, _) = try RunningProcess.run(
            "curl",
            [
                "-sS", "--unix-socket", edged.directory.file("admin.sock"),
                "-w", "\n%{http_code}", "http://edged\(path)",
            ])
        let lines = output.components(separatedBy: "\n")
        return (lines.last ?? "", lines.dropLast().joined(separator: "\n"))
    }

    @Test("curl gets status, metrics and probes from the socket")
    func socket() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        _ = try edged.get()

        let status = try curl(edged, "/status")
        let metrics = try curl(edged, "/metrics")

        let reply = try json(status.body)
        #expect(status.status == "200")
        #expect(reply["state"] as? String == "serving")
        #expect((reply["workers"] as? [Any])?.count == 2)
        #expect(try reply["pid"] as? Int == Int(edged.proxyPID()))
        #expect(metrics.status == "200")
        #expect(metrics.body.contains("\nedged_requests_total 1\n"))
        #expect(try curl(edged, "/livez").status == "200")
        #expect(try curl(edged, "/readyz").status == "200")
        #expect(try curl(edged, "/nothing").status == "404")
    }

    @Test("metrics are what Prometheus reads")
    func metrics() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        _ = try edged.get()
        _ = try edged.get(host: "nobody.test")

        let answer = try edged.get(edged.admin, "/metrics")

        #expect(answer["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
        var types: [Substring: Substring] = [:]
        var seen: Set<Substring> = []
        for line in answer.text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("# TYPE ") {
                #expect(types.updateValue(words[3], forKey: words[2]) == nil, "\(line)")
            } else if !line.hasPrefix("#") {
                let name = line.prefix { $0 != "{" && $0 != " " }
                // A histogram's samples are its name and one of these.
                let family = ["_bucket", "_sum", "_count"].filter { name.hasSuffix($0) }
                    .map { name.dropLast($0.count) }.first { types[$0] == "histogram" }
                #expect(types[family ?? name] != nil, "\(line)")
                #expect(Double(words.last ?? "") != nil, "\(line)")
                #expect(seen.insert(line.prefix { $0 != " " }).inserted, "\(line)")
                #expect(name.hasPrefix("edged_"), "\(line)")
            }
        }
        #expect(try edged.metric("edged_responses_total", "2xx") == 1)
        #expect(try edged.metric("edged_responses_total", "4xx") == 1)
        #expect(try edged.failures("no_route") == 1)
    }

    @Test("each line of the daemon log has a time, a process and a level")
    func daemonLog() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let line = try Regex(
            #"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z edged-(guardian|proxy)"#
                + #"\[\d+\]: (notice|info): .+"#)

        let lines = edged.log.split(separator: "\n")

        #expect(lines.count >= 2)
        for text in lines { #expect(try line.wholeMatch(in: text) != nil, "\(text)") }
    }

    @Test("the admin port answers probes and metrics, and nothing else")
    func port() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        for (path, status) in [
            ("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/status", 404), ("/", 404),
            ("/reload", 404),
        ] {
            #expect(try edged.get(edged.admin, path).status == status, "\(path)")
        }
        let client = try RawClient(edged.admin)
        defer { client.close() }
        let answer = try client.get("/reload", host: "127.0.0.1", method: "POST")
        #expect((400..<500).contains(answer.status))
        #expect(!edged.log.contains("reload of"))
    }

    @Test("edgectl tells the state to people and programs")
    func status() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        _ = try edged.get()

        let text = try edged.edgectl("status")
        let program = try edged.edgectl("status", "--json")

        #expect(text.code == 0)
        #expect(text.output.contains("serving"))
        #expect(text.output.contains("127.0.0.1:\(upstream.port)"))
        #expect(program.code == 0)
        #expect(try json(program.output)["state"] as? String == "serving")
    }

    @Test("a failure stands in status by its reason")
    func reasons() throws {
        let edged = try Edged(oneSite("\"127.0.0.1:\(try freePort())\""))
        defer { edged.stop() }

        _ = try edged.get()

        #expect(try edged.edgectl("status").output.contains("upstream_connect_refused"))
    }

    @Test("edgectl exits with 3 without a daemon, 2 for what it does not know")
    func exitCodes() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let nobody = try RunningProcess.run(
            Edged.program("edgectl"),
            ["--socket", edged.directory.file("nothing.sock"), "status"])

        #expect(nobody.exit == .code(3))
        #expect(try edged.edgectl("frobnicate").code == 2)
        #expect(try edged.edgectl("status").code == 0)
    }

    @Test("only root and the configured group may use the socket")
    func socketMode() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }

        let stranger = try RunningProcess.run(
            "curl",
            ["-sS", "--unix-socket", edged.directory.file("admin.sock"), "http://edged/status"],
            ProcessOptions(user: "daemon"))

        #expect(stranger.exit == .code(7), "\(stranger.output)")
    }

    @Test("--check finds what is wrong without starting anything, and says where")
    func check() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let program = try Edged.program("edged")

        let good = try RunningProcess.run(program, ["--check", "-c", edged.configPath])
        try edged.configure(oneSite(upstream.server, more: "limitz: {}"))
        let bad = try RunningProcess.run(program, ["--check", "-c", edged.configPath])
        let usage = try RunningProcess.run(program, ["--frobnicate"])

        #expect(good.exit == .code(0), "\(good.errors)")
        #expect(bad.exit == .code(78))
        #expect(bad.errors.contains("\(edged.configPath):13:1: "), "\(bad.errors)")
        #expect(usage.exit == .code(64))
    }

    /// Runs the rest of its command line with io_uring's three system calls failing with an errno.
    private static let filter = """
        import ctypes, os, struct, sys
        libc = ctypes.CDLL(None, use_errno=True)
        def op(code, true, false, k): return struct.pack("HBBI", code, true, false, k)
        errno = int(sys.argv[1])
        program = b"".join([
            op(0x20, 0, 0, 0),                      # the call's number
            op(0x35, 0, 2, 425), op(0x25, 1, 0, 427),  # 425 to 427
            op(0x06, 0, 0, 0x00050000 | errno),
            op(0x06, 0, 0, 0x7fff0000)])
        buffer = ctypes.create_string_buffer(program)
        class Program(ctypes.Structure):
            _fields_ = [("count", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        what = Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
        assert libc.prctl(38, 1, 0, 0, 0) == 0      # no new privileges
        assert libc.prctl(22, 2, ctypes.byref(what), 0, 0) == 0
        os.execv(sys.argv[2], sys.argv[2:])
        """

    @Test("without io_uring it says what to change and exits with 71", arguments: [EPERM, ENOSYS])
    func noRing(errno: Int32) throws {
        let files = try TemporaryDirectory("filter")
        var options = Edged.Options()
        options.waitsForServing = false
        options.wrapper = ["python3", try files.write("filter.py", Self.filter), "\(errno)"]
        let edged = try Edged(oneSite("\"127.0.0.1:1\""), options)
        defer { edged.stop() }

        #expect(edged.process.waitForExit(within: .seconds(5)) == .code(71))
        #expect(edged.log.contains("io_uring"))
        #expect(edged.log.contains("sysctl") || edged.log.contains("seccomp"), "\(edged.log)")
    }
}
